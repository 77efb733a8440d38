"""Data sets: each a function that returns `Arrays`, checked by a checksum and offline by default."""

from wdlab.data.arrays import Arrays, Pairs
from wdlab.data.cache import (
    DamagedFileError,
    cache_dir,
    cached_tensors,
    read_tensors,
    replacing,
    write_tensors,
)
from wdlab.data.cifar import cifar10, cifar100
from wdlab.data.fashion import fashion_mnist
from wdlab.data.mnist_1d import mnist1d, mnist1d_chunks
from wdlab.data.number_words import number_words

__all__ = [
    "Arrays",
    "DamagedFileError",
    "Pairs",
    "cache_dir",
    "cached_tensors",
    "cifar10",
    "cifar100",
    "fashion_mnist",
    "mnist1d",
    "mnist1d_chunks",
    "number_words",
    "read_tensors",
    "replacing",
    "write_tensors",
]
