"""Fashion-MNIST: 6,000 of its images, shipped inside the package."""

from __future__ import annotations

import hashlib
import lzma
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

from torch.nn.functional import avg_pool2d

from wdlab.data.arrays import Arrays, from_records, standardize_
from wdlab.data.cache import DamagedFileError

if TYPE_CHECKING:
    from jaxtyping import Int64, UInt8
    from torch import Tensor

CLASSES = 10
SIZES = (7, 14, 28)
SIDE = 28

_FILE = "fashion_mnist_6000.xz"
# Of the unpacked records, so that it does not depend on the version of the compressor.
_SHA256 = "0b68489d074fe975360dbc88e847e1098da6b01c86b154d91d4c3a4c04fbe61b"


def fashion_mnist(size: int = 14) -> Arrays:
    """Return 6,000 images of Fashion-MNIST, 600 of each class, in a shuffled order that never changes.

    Shapes: inputs [6000, 1, size, size] with mean 0 and std 1 over the whole subset, labels [6000]. Sizes 14
    and 7 are averages over blocks of 2x2 and 4x4 pixels. The images are the first 600 of each class in the
    original's training file (`wdlab/data/_pack_fashion.py` made the shipped file). Raises ValueError for any
    other size and DamagedFileError when the shipped file is damaged. Source: Xiao, Rasul and Vollgraf,
    "Fashion-MNIST" (2017); MIT licence, Zalando SE: see LICENSE-fashion-mnist.txt beside this file.
    """
    if type(size) is not int or size not in SIZES:
        raise ValueError(f"size={size!r} is not allowed; give 7, 14 or 28 (the original's).")
    pixels, labels = _unpack()
    images = avg_pool2d(pixels.float(), SIDE // size)
    return Arrays(standardize_(images), labels.clone(), CLASSES)


@lru_cache(maxsize=1)
def _unpack() -> tuple[UInt8[Tensor, "example 1 28 28"], Int64[Tensor, " example"]]:
    path = resources.files("wdlab.data").joinpath(_FILE)
    try:
        records = lzma.decompress(path.read_bytes())
    except (OSError, lzma.LZMAError, EOFError) as error:
        raise DamagedFileError(f"{path} is missing or damaged ({error}); install wdlab again.") from error
    if hashlib.sha256(records).hexdigest() != _SHA256:
        raise DamagedFileError(f"{path} is damaged (its checksum is wrong); install wdlab again.")
    return from_records(records, 1, (1, SIDE, SIDE))
