"""How `fashion_mnist_6000.xz` was made: `python -m wdlab.data._pack_fashion --input FOLDER`.

FOLDER holds the original files of Fashion-MNIST, train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz
(Debian's package dataset-fashion-mnist installs them).

Chosen are the first 600 images of each class of the training file, in file order. They are then shuffled by
torch.randperm(6000) with a generator of seed 0. Written is one record an image, a label byte and then 28 x 28
pixel bytes row by row, all of it compressed by xz. Whoever runs this again gets the same records; another
version of the compressor may give other compressed bytes, so the checksum in fashion.py is of the records.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import logging
import lzma
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from wdlab.data import fashion
from wdlab.data.cache import replacing

PER_CLASS = 600

logger = logging.getLogger(__name__)


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Return the bytes of a gzipped idx file in its own shape.

    The header: two zero bytes, the type (8: bytes), the number of axes, then the length of each axis as a
    big-endian 32-bit number. Raises ValueError when the file is something else.
    """
    data = gzip.decompress(path.read_bytes())
    if data[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path} is not an idx file of bytes; give the original files of Fashion-MNIST.")
    axes = data[3]
    shape = np.frombuffer(data, dtype=">u4", count=axes, offset=4)
    return np.frombuffer(data, dtype=np.uint8, offset=4 + 4 * axes).reshape(shape.tolist())


def records(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8], per_class: int = PER_CLASS) -> bytes:
    """Return the chosen images as shuffled records of a label byte and the pixels.

    Shapes: images [n, height, width], labels [n]. Raises ValueError when a class has too few images.
    """
    first = [np.flatnonzero(labels == label)[:per_class] for label in range(fashion.CLASSES)]
    fewest = min(map(len, first))
    if fewest < per_class:
        raise ValueError(f"per_class={per_class} is not allowed: a class has only {fewest}; give at most that.")
    order = torch.randperm(fashion.CLASSES * per_class, generator=torch.Generator().manual_seed(0)).numpy()
    chosen = np.concatenate(first)[order]
    return np.column_stack([labels[chosen], images[chosen].reshape(len(chosen), -1)]).tobytes()


def compress(data: bytes) -> bytes:
    """Return the data as an xz file, by the settings that were smallest for these images."""
    settings = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 4, "lp": 0, "pb": 0}
    return lzma.compress(data, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, filters=[settings])


def main(arguments: Sequence[str] | None = None) -> None:
    """Pack the files of the folder named on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--input", type=Path, required=True, help="folder with the original train-*.gz files")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name(fashion._FILE))
    chosen = parser.parse_args(arguments)
    images = read_idx(chosen.input / "train-images-idx3-ubyte.gz")
    labels = read_idx(chosen.input / "train-labels-idx1-ubyte.gz")
    data = records(images, labels)
    packed = compress(data)
    with replacing(chosen.output) as temporary:
        temporary.write_bytes(packed)
    digest = hashlib.sha256(data).hexdigest()
    logger.info("%s: %d bytes; sha256 of the records: %s", chosen.output, len(packed), digest)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main()
