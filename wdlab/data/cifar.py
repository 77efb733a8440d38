"""CIFAR-10 and CIFAR-100, read from the official binary archives; downloaded only when asked."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import tarfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from wdlab.data.arrays import Arrays, from_records, standardize_
from wdlab.data.cache import DamagedFileError, cache_dir, replacing

if TYPE_CHECKING:
    from jaxtyping import Int64, UInt8
    from torch import Tensor

Progress = Callable[[int, int], None]

logger = logging.getLogger(__name__)

_HOME = "https://www.cs.toronto.edu/~kriz"
_SHAPE = (3, 32, 32)
_CHUNK = 1 << 20
_PATIENCE = 60.0  # seconds without a byte


@dataclass(frozen=True)
class _Archive:
    """One official archive: what it is called, how it is checked, which members hold what."""

    loader: str
    file: str
    md5: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    label_bytes: int
    classes: int


_CIFAR10 = _Archive(
    loader="cifar10",
    file="cifar-10-binary.tar.gz",
    md5="c32a1d4ab5d03f1284b67883e8d87530",
    train=tuple(f"cifar-10-batches-bin/data_batch_{batch}.bin" for batch in range(1, 6)),
    test=("cifar-10-batches-bin/test_batch.bin",),
    label_bytes=1,
    classes=10,
)
_CIFAR100 = _Archive(
    loader="cifar100",
    file="cifar-100-binary.tar.gz",
    md5="03b5dce01913d631647c71ecec9e9cb8",
    train=("cifar-100-binary/train.bin",),
    test=("cifar-100-binary/test.bin",),
    label_bytes=2,
    classes=100,
)


def cifar10(
    root: str | os.PathLike[str] | None = None,
    *,
    download: bool | None = None,
    progress: Progress | None = None,
) -> tuple[Arrays, Arrays]:
    """Return the training and the test part of CIFAR-10.

    Shapes: inputs [50000, 3, 32, 32] and [10000, 3, 32, 32], both standardized with each channel's mean and
    std over the training part; labels [50000] and [10000]. Read from cifar-10-binary.tar.gz in `root`
    (default: `cache_dir()/data`), in memory and without unpickling; 0.7 GB as float32.

    With download=True, or download=None and WDLAB_DOWNLOAD=1 in the environment, an absent file is fetched
    first; `progress(bytes so far, bytes in all or 0)` is then called as it comes. Raises FileNotFoundError
    when the file is absent and may not be fetched, OSError when fetching fails, DamagedFileError when the
    md5 is wrong. Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009).
    """
    return _load(_CIFAR10, root, download, progress)


def cifar100(
    root: str | os.PathLike[str] | None = None,
    *,
    download: bool | None = None,
    progress: Progress | None = None,
) -> tuple[Arrays, Arrays]:
    """Return the training and the test part of CIFAR-100 with its 100 fine labels.

    Shapes, arguments, errors and source as of `cifar10`; the file is cifar-100-binary.tar.gz.
    """
    return _load(_CIFAR100, root, download, progress)


def _load(
    archive: _Archive, root: str | os.PathLike[str] | None, download: bool | None, progress: Progress | None
) -> tuple[Arrays, Arrays]:
    folder = cache_dir() / "data" if root is None else Path(root).expanduser()
    path = folder / archive.file
    if not path.is_file():
        if not _may_download(download):
            raise FileNotFoundError(_how_to_get(archive, folder))
        _download(archive, path, progress)
    elif (found := _md5(path)) != archive.md5:
        raise DamagedFileError(
            f"{path} is damaged or another file: its md5 is {found}, expected is {archive.md5}; "
            f"delete it and get the binary version again."
        )
    return _read(archive, path)


def _read(archive: _Archive, path: Path) -> tuple[Arrays, Arrays]:
    members = _members(path, {*archive.train, *archive.test})
    (pixels, labels), (test_pixels, test_labels) = (
        _part(archive, path, [members.pop(name) for name in names]) for names in (archive.train, archive.test)
    )
    images, test_images = pixels.float(), test_pixels.float()
    standardize_(test_images, like=images)  # first, while the training images are still as they were
    standardize_(images)
    return Arrays(images, labels, archive.classes), Arrays(test_images, test_labels, archive.classes)


def _part(
    archive: _Archive, path: Path, batches: list[bytes]
) -> tuple[UInt8[Tensor, "example 3 32 32"], Int64[Tensor, " example"]]:
    try:
        parts = [from_records(batch, archive.label_bytes, _SHAPE) for batch in batches]
    except ValueError as error:
        raise DamagedFileError(f"{path} is damaged ({error}); delete it and get it again.") from error
    return torch.cat([images for images, _ in parts]), torch.cat([labels for _, labels in parts])


def _members(path: Path, names: set[str]) -> dict[str, bytes]:
    """The named members, in one pass (asking one by one unpacks more than once), never written to disk."""
    with tarfile.open(path, "r|gz") as tar:
        found = {
            member.name: file.read()
            for member in tar
            if member.name in names and (file := tar.extractfile(member)) is not None
        }
    missing = ", ".join(sorted(names - found.keys()))
    if missing:
        raise DamagedFileError(f"{path} lacks {missing}; delete it and get the binary version again.")
    return found


def _may_download(download: bool | None) -> bool:
    return os.environ.get("WDLAB_DOWNLOAD") == "1" if download is None else download


def _how_to_get(archive: _Archive, folder: Path) -> str:
    return (
        f"{archive.file} is not in {folder}, and nothing is downloaded unless you ask. "
        f"Either call {archive.loader}(download=True) or set WDLAB_DOWNLOAD=1 (about 160 MB), "
        f"or fetch {_HOME}/{archive.file} yourself and put it, still packed, into that folder; "
        f"{archive.loader}(root=...) names another folder."
    )


def _download(archive: _Archive, path: Path, progress: Progress | None) -> None:
    url = f"{_HOME}/{archive.file}"
    logger.info("downloading %s to %s", url, path)
    with replacing(path) as temporary:
        try:
            _fetch(url, temporary, progress)
        except (OSError, http.client.HTTPException) as error:
            raise OSError(
                f"{url} could not be downloaded to {path} ({error}); try again, or get the file "
                f"by other means and put it into {path.parent}."
            ) from error
        if (found := _md5(temporary)) != archive.md5:
            raise DamagedFileError(
                f"{path} was not kept: what came from {url} has md5 {found}, expected is {archive.md5}; "
                f"the download was cut short or changed, try again."
            )


def _fetch(url: str, path: Path, progress: Progress | None) -> None:
    with urllib.request.urlopen(url, timeout=_PATIENCE) as answer, path.open("wb") as file:
        total, done = int(answer.headers.get("Content-Length") or 0), 0
        while chunk := answer.read(_CHUNK):
            file.write(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done, total)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
