"""What cases are made of, most of them drawn: numbers of few digits, which a learner can check by hand."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Generator, Tensor

T = TypeVar("T")


def row(*values: float) -> Tensor:
    """Return these numbers as a vector."""
    return torch.tensor(values, dtype=torch.float64)


def tenths(draw: Generator, *shape: int) -> Tensor:
    """Return whole tenths from -3 to 3 without 0, so that an answer may divide by any of them."""
    size, sign = torch.randint(1, 31, shape, generator=draw), torch.randint(2, shape, generator=draw)
    return ((2 * sign - 1) * size).to(torch.float64) / 10


def distinct(draw: Generator, count: int, of: int = 100) -> Tensor:
    """Return `count` different hundredths, of the first `of` from 0 on, in no order."""
    return torch.randperm(of, generator=draw)[:count].to(torch.float64) / 100


def between(draw: Generator, low: float, high: float, digits: int = 2) -> float:
    """Return a number from `low` to `high`, rounded to so many digits after the point."""
    return round(low + (high - low) * float(torch.rand((), generator=draw, dtype=torch.float64)), digits)


def dials(draw: Generator, *names: str) -> dict[str, Any]:
    """Return for each of `names`, as lr and weight_decay, a number from 0.05 to 0.9."""
    return {name: between(draw, 0.05, 0.9) for name in names}


def whole(draw: Generator, low: int, high: int) -> int:
    """Return a whole number from `low` to `high`, both included."""
    return int(torch.randint(low, high + 1, (), generator=draw))


def pick(draw: Generator, *values: T) -> T:
    """Return one of `values`, all alike."""
    return values[whole(draw, 0, len(values) - 1)]


def tensors(draw: Generator, *names: str) -> dict[str, Any]:
    """Return for each of `names`, as w and g, `tenths` of one shape: two numbers, three, or two rows of three."""
    shape = pick(draw, (2,), (3,), (2, 3))
    return {name: tenths(draw, *shape) for name in names}


def window(draw: Generator) -> tuple[int, int, float, float]:
    """Return a step, the steps of its run, and two ends of a window as shares of the run, the earlier one first.

    Runs are powers of two long and the window's ends are whole steps, so that any way to compare them is exact.
    """
    steps = 2 ** whole(draw, 3, 6)
    start, stop = sorted(whole(draw, 0, steps) for _ in range(2))
    return whole(draw, 0, steps - 1), steps, start / steps, stop / steps
