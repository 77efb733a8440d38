"""Files that are whole or absent: atomic writes, checksums, and the folder where wdlab keeps what it made."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
import safetensors.torch
import torch
from safetensors import SafetensorError

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

_KEY = "wdlab"  # our one entry in the metadata of a safetensors file


class DamagedFileError(ValueError):
    """A file that does not hold what its checksum says; the message names the file."""


def cache_dir() -> Path:
    """Return the folder where wdlab keeps what it made: $WDLAB_CACHE, else the user's cache folder.

    The folder need not exist; whoever writes makes it.
    """
    chosen = os.environ.get("WDLAB_CACHE")
    return Path(chosen or platformdirs.user_cache_dir("wdlab", appauthor=False)).expanduser()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a new name beside `path`; what is written there takes the place of `path` when the block ends.

    A reader sees the old file or the new one, never a part, also when several processes write at once. When
    the block raises, `path` stays as it was. A process killed inside the block leaves a hidden file that ends
    in `.tmp` and that nobody reads. Folders are made as needed. Raises OSError when the disk says no.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        yield temporary
        # No fsync: after a power cut the checksum finds a file whose data never reached the disk.
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write tensors of any shape and `meta` (JSON types) as one safetensors file with a checksum, atomically.

    The same arguments always give the same bytes. Raises OSError when the disk says no, TypeError when
    `meta` is not JSON.
    """
    own = {name: tensors[name].detach().cpu().contiguous().clone() for name in sorted(tensors)}
    text = json.dumps(dict(meta))
    sealed = json.dumps({"sha256": _checksum(own, text), "meta": text})
    data = safetensors.torch.save(own, metadata={_KEY: sealed})
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the meta that `write_tensors` wrote, after checking the checksum.

    In the meta, tuples have become lists and keys strings, as JSON has it. Raises FileNotFoundError when
    there is no such file and DamagedFileError, naming the path, when its content is not what was written.
    """
    data = path.read_bytes()
    try:
        tensors = safetensors.torch.load(data)
        sealed = json.loads(_metadata(data)[_KEY])
        text, expected = sealed["meta"], sealed["sha256"]
        found, meta = _checksum(tensors, text), json.loads(text)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise DamagedFileError(f"{path} is damaged ({error}); delete it, it can be made again.") from error
    if found != expected:
        raise DamagedFileError(f"{path} is damaged (its checksum is wrong); delete it, it can be made again.")
    return tensors, meta


def cached_tensors(path: Path, meta: Mapping[str, Any], make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the tensors kept at `path` under this meta, or make them and keep them there.

    A damaged file is logged as a warning that names it, and remade. A folder that cannot be read or written
    is logged as a warning too, and the tensors are only in memory.
    """
    kept = _kept(path, meta)
    if kept is not None:
        return kept
    tensors = make()
    try:
        write_tensors(path, tensors, meta)
    except OSError as error:
        logger.warning(
            "%s cannot be written (%s), so it will be made again next time; "
            "set WDLAB_CACHE to a folder that can be written.",
            path,
            error,
        )
    return tensors


def _kept(path: Path, meta: Mapping[str, Any]) -> dict[str, Tensor] | None:
    try:
        tensors, found = read_tensors(path)
    except FileNotFoundError:
        return None
    except DamagedFileError as error:
        logger.warning("%s It is remade now.", error)
        return None
    except OSError as error:
        logger.warning("%s cannot be read (%s); its content is made again.", path, error)
        return None
    return tensors if found == dict(meta) else None


def _metadata(data: bytes) -> dict[str, str]:
    """The metadata of a safetensors file: 8 bytes of length, then JSON (safetensors.torch.load drops it)."""
    length = int.from_bytes(data[:8], "little")
    metadata: dict[str, str] = json.loads(data[8 : 8 + length])["__metadata__"]
    return metadata


def _checksum(tensors: Mapping[str, Tensor], meta: str) -> str:
    """SHA-256 over the meta and each tensor's name, dtype, shape and bytes."""
    digest = hashlib.sha256(json.dumps(meta).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
