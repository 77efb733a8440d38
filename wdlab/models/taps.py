"""Convolutions three wide as matrix products: what each tap of the kernel sees, and the adjoint of that."""

from __future__ import annotations

from collections.abc import Iterator
from types import EllipsisType
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float


def outputs(size: int, stride: int) -> int:
    """Return how many outputs a kernel three wide with padding 1 has along an axis of `size`."""
    return (size - 1) // stride + 1


def spread(x: Float[Tensor, "member ..."], axis: int, stride: int, out: Tensor) -> Float[Tensor, "member tap ..."]:
    """Write into `out` what each of the three taps sees along `axis`: tap k of output o sees x at stride*o + k - 1.

    Nothing is written where a tap looks past the edge, so `out` must have been made of zeros. `axis` is negative.
    """
    for tap, output, seen in _pairs(x.shape[axis], stride):
        _part(out[:, tap], axis, output).copy_(_part(x, axis, seen))
    return out


def gather(taps: Float[Tensor, "member tap ..."], axis: int, stride: int, out: Tensor) -> Float[Tensor, "member ..."]:
    """Write into `out` the adjoint of `spread`: what every tap holds, added up where the tap looked."""
    if stride == 1:  # the tap in the middle looks everywhere
        out.copy_(taps[:, 1])
    else:
        out.zero_()
    for tap, output, seen in _pairs(out.shape[axis], stride):
        if tap == 1 and stride == 1:
            continue
        _part(out, axis, seen).add_(_part(taps[:, tap], axis, output))
    return out


def _pairs(size: int, stride: int) -> Iterator[tuple[int, slice, slice]]:
    """Yield each tap with the outputs for which it sees an input, and with those inputs."""
    for tap in range(3):
        first = 1 if tap == 0 else 0
        count = max(min((size - tap) // stride + 1, outputs(size, stride)) - first, 0)
        start = stride * first + tap - 1
        yield tap, slice(first, first + count), slice(start, start + stride * count, stride)


def _part(x: Tensor, axis: int, chosen: slice) -> Tensor:
    index: tuple[EllipsisType | slice, ...] = (..., chosen, *[slice(None)] * (-axis - 1))
    return x[index]
