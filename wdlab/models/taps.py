"""Convolutions three wide as matrix products: shifted copies of the input, and the sum that is their adjoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float


def spread(x: Float[Tensor, "member ..."], axis: int, stride: int, out: Tensor) -> Float[Tensor, "member tap ..."]:
    """Write into `out` what each of the three taps of a kernel sees along `axis`: out[:, k] at o is x at s*o + k - 1.

    Where a tap looks past the edge nothing is written, so `out` must have been made of zeros.
    """
    for tap, seen, read in _edges(x.shape[axis], stride):
        _part(out[:, tap], axis, seen).copy_(_part(x, axis, read))
    return out


def gather(z: Float[Tensor, "member tap ..."], axis: int, stride: int, out: Tensor) -> Float[Tensor, "member ..."]:
    """Write into `out` the adjoint of `spread`: every tap's values summed up where they were read from."""
    out.copy_(z[:, 1]) if stride == 1 else out.zero_()
    for tap, seen, read in _edges(out.shape[axis], stride):
        if tap == 1 and stride == 1:
            continue
        _part(out, axis, read).add_(_part(z[:, tap], axis, seen))
    return out


def outputs(size: int, stride: int) -> int:
    """Return how many outputs a three-wide convolution with padding 1 has along an axis of `size`."""
    return (size - 1) // stride + 1


def _edges(size: int, stride: int) -> Iterator[tuple[int, slice, slice]]:
    """Yield each tap with the outputs at which it sees an input, and those inputs."""
    for tap in range(3):
        first = 1 if tap == 0 else 0
        end = min((size - tap) // stride + 1, outputs(size, stride))
        yield tap, slice(first, end), slice(stride * first + tap - 1, max(stride * (end - 1) + tap, 0), stride)


def _part(x: Tensor, axis: int, chosen: slice) -> Tensor:
    return x[(..., chosen, *[slice(None)] * (-1 - axis))]
