"""MNIST-1D: ten digit shapes as short noisy signals, made on the spot from a seed."""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import joblib
import numpy as np
import torch

from wdlab.checks import whole
from wdlab.data.arrays import Arrays
from wdlab.data.cache import cache_dir, cached_tensors

if TYPE_CHECKING:
    from torch import Tensor

CLASSES = 10
CHUNK = 10_000  # signals made at a time, and kept in a file of their own

logger = logging.getLogger(__name__)

_one_at_a_time = threading.RLock()  # the package draws from numpy's and Python's global generators


def mnist1d(samples: int = 10_000, seed: int = 42) -> Arrays:
    """Return MNIST-1D: `samples` signals of 40 points, as many of each digit, in an order fixed by the seed.

    Shapes: inputs [samples, 40] with mean 0 and std 1 over the whole array, labels [samples]. The first call
    takes about 0.5 ms an example; the arrays are then kept in `cache_dir()` and in memory, and each caller
    gets a copy. The package's own train and test parts are joined again: split as you need. Raises ValueError
    when samples is not a positive multiple of 10 or the seed is not in [0, 2**32). Source: Greydanus and
    Kobak, "Scaling Down Deep Learning with MNIST-1D" (ICML 2024), through their package `mnist1d`.

    >>> mnist1d(samples=20, seed=7).inputs.shape
    torch.Size([20, 40])
    """
    whole("seed", seed, 0, 2**32 - 1)
    if whole("samples", samples, CLASSES) % CLASSES:
        raise ValueError(
            f"samples={samples!r} is not allowed: each of the {CLASSES} digits gets the same number of "
            f"examples; give a multiple of {CLASSES}, say {samples - samples % CLASSES}."
        )
    with _one_at_a_time:
        kept = _load(samples, seed)
    return Arrays(kept["inputs"].clone(), kept["labels"].clone(), CLASSES)


def mnist1d_chunks(count: int, seed: int = 43) -> Arrays:
    """Return `count` times 10,000 signals of MNIST-1D, made with the seeds seed, seed + 1, ...

    Chunk i is `mnist1d(10_000, seed + i)`, kept by itself, so a larger set begins with the smaller ones. What is
    missing is made side by side, a process a core, at about 5 s a chunk and core. Like the package's own set each
    chunk is brought to mean 0 and std 1 by itself. Raises ValueError when count is not a whole number of at least 1.
    """
    seeds = range(seed, seed + whole("count", count, 1))
    missing = [one for one in seeds if not _path(CHUNK, one).exists()]
    calls = (joblib.delayed(_make)(CHUNK, one) for one in missing)
    made = dict(zip(missing, joblib.Parallel(max(1, min(len(missing), joblib.cpu_count())))(calls), strict=True))
    chunks = [_keep(CHUNK, one, made.get(one)) for one in seeds]
    inputs, labels = (torch.cat([chunk[name] for chunk in chunks]) for name in ("inputs", "labels"))
    return Arrays(inputs, labels, CLASSES)


@lru_cache(maxsize=4)
def _load(samples: int, seed: int) -> dict[str, Tensor]:
    return _keep(samples, seed)


def _keep(samples: int, seed: int, made: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Return what is kept on disk; else what was just `made`, or is made now, and keep it."""
    meta = {
        "data": "mnist1d",
        "package": importlib.metadata.version("mnist1d"),
        "samples": samples,
        "seed": seed,
    }
    return cached_tensors(_path(samples, seed), meta, lambda: made or _make(samples, seed))


def _path(samples: int, seed: int) -> Path:
    return cache_dir() / "data" / f"mnist1d-{samples}-{seed}.safetensors"


def _make(samples: int, seed: int) -> dict[str, Tensor]:
    logger.info("making MNIST-1D: %d examples, about %.0f s, once", samples, samples * 5e-4)
    with _one_at_a_time, _global_random_kept():
        # Here and not at the top: this import brings scipy and pyplot with it.
        package = importlib.import_module("mnist1d.data")
        arguments = package.get_dataset_args()
        arguments.num_samples, arguments.seed = samples, seed
        made = package.make_dataset(arguments)
    inputs = np.concatenate([made["x"], made["x_test"]])
    labels = np.concatenate([made["y"], made["y_test"]])
    return {"inputs": torch.from_numpy(inputs).float(), "labels": torch.from_numpy(labels).long()}


@contextmanager
def _global_random_kept() -> Iterator[None]:
    """Put numpy's and Python's global generators back: the package seeds both."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
