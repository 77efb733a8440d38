"""WHEN weight decay acts: a timing turns the steps of a run into multipliers of lambda."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from wdlab.checks import known, number, whole

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True)
class Timing:
    """The multiplier of lambda at each step of a run.

    Make one with `always`, `never`, `first`, `after`, `window`, `cyclical` or `of`; ends are fractions of the run in
    [0, 1]. A step s of T is inside [start, stop) when round(start T) <= s < round(stop T), so `first(f)` and
    `after(f)` split every run without overlap.

    Source: the timings early, late and always are those of Golatkar et al. (2019) and Bjorck et al. (2021).
    """

    kind: str
    start: float = 0.0
    stop: float = 1.0
    low: float = 0.0
    high: float = 1.0
    cycles: int = 1
    peak: float = 0.5
    function: Callable[[int], float] | None = field(default=None, repr=False)
    label: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        known("kind", self.kind, ("window", "cyclical", "function"))
        number("start", self.start, 0, 1)
        number("stop", self.stop, 0, 1)
        if self.stop < self.start:
            raise ValueError(f"stop={self.stop!r} is before start={self.start!r}; give start <= stop.")
        number("low", self.low, 0)
        number("high", self.high, self.low)
        number("peak", self.peak, 0, 1)
        whole("cycles", self.cycles, 1)
        if (self.kind == "function") != callable(self.function):
            raise ValueError(f"function={self.function!r} is not allowed; give a function of the step to Timing.of.")

    @staticmethod
    def always() -> Timing:
        """Decay at every step: the multiplier is 1."""
        return Timing("window", label="always")

    @staticmethod
    def never() -> Timing:
        """Decay at no step: the multiplier is 0."""
        return Timing("window", 0.0, 0.0, label="never")

    @staticmethod
    def first(fraction: float) -> Timing:
        """Decay in the first `fraction` of the run, then no more ("early")."""
        number("fraction", fraction, 0, 1)
        return Timing("window", 0.0, fraction, label=f"first {fraction:.3g}")

    @staticmethod
    def after(fraction: float) -> Timing:
        """Decay only once `fraction` of the run has passed ("late")."""
        number("fraction", fraction, 0, 1)
        return Timing("window", fraction, 1.0, label=f"after {fraction:.3g}")

    @staticmethod
    def window(start: float, stop: float) -> Timing:
        """Decay in [start, stop) of the run."""
        number("start", start, 0, 1)
        number("stop", stop, 0, 1)
        return Timing("window", start, stop, label=f"{start:.3g} to {stop:.3g}")

    @staticmethod
    def cyclical(low: float = 0.0, high: float = 1.0, cycles: int = 1, peak: float = 0.5) -> Timing:
        """Multiplier that climbs from `low` to `high` at `peak` of each cycle and falls back to `low`.

        Source: the triangle of L. N. Smith (2022), whose factor f is 1 / peak.
        """
        number("low", low, 0)
        number("high", high, low)
        return Timing(
            "cyclical", low=low, high=high, cycles=cycles, peak=peak, label=f"cyclical x{cycles} {low:.3g}..{high:.3g}"
        )

    @staticmethod
    def of(function: Callable[[int], float], label: str = "own function") -> Timing:
        """Multiplier given by any function of the step (a whole number from 0), finite and >= 0."""
        return Timing("function", function=function, label=label)

    @property
    def needs_steps(self) -> bool:
        """Whether the run's length must be known; only constant timings and functions of the step do without."""
        return self.kind == "cyclical" or (self.kind == "window" and 0 < self.stop - self.start < 1)

    def table(self, steps: int) -> Float[Tensor, " step"]:
        """Return the multipliers of a run of `steps` steps, float64 of shape [step].

        Raises ValueError when `steps` is not a whole number of at least 1 or a function returns a value that is
        negative or not finite.

        >>> Timing.first(0.5).table(4)
        tensor([1., 1., 0., 0.], dtype=torch.float64)
        """
        whole("steps", steps, 1)
        if self.kind == "function":
            return self._of_function(steps)
        if self.kind == "cyclical":
            return self._triangle(steps)
        step = torch.arange(steps)
        inside = (step >= _boundary(self.start, steps)) & (step < _boundary(self.stop, steps))
        return inside.to(torch.float64)

    def at(self, step: int, steps: int | None = None) -> float:
        """Return the multiplier at one `step`, counted from 0; after a run of `steps` its last one holds.

        Without `steps` the run has no end, which a timing in fractions does not allow. Raises ValueError as `table`.

        >>> Timing.first(0.5).at(1, steps=4), Timing.first(0.5).at(9, steps=4)
        (1.0, 0.0)
        """
        if steps is not None:
            step = min(step, whole("steps", steps, 1) - 1)
        if self.function is not None:
            return number(f"timing at step {step}", self.function(step), 0)
        if steps is None and not self.needs_steps:
            step, steps = 0, 1  # constant: any run will do
        return _table(self, whole("steps", steps, 1))[step].item()

    def _of_function(self, steps: int) -> Float[Tensor, " step"]:
        return torch.tensor([self.at(step) for step in range(steps)], dtype=torch.float64)

    def _triangle(self, steps: int) -> Float[Tensor, " step"]:
        # The last step closes the last cycle, as the last epoch does in Smith's schedule.
        done = torch.arange(steps, dtype=torch.float64) / max(steps - 1, 1) * self.cycles
        phase = torch.where(done < self.cycles, done % 1.0, torch.ones_like(done))
        up = phase / self.peak if self.peak > 0 else torch.ones_like(phase)
        down = (1 - phase) / (1 - self.peak) if self.peak < 1 else torch.ones_like(phase)
        low, high = torch.tensor([self.low, self.high], dtype=torch.float64)
        return torch.lerp(low, high, torch.minimum(up, down))  # exact at both ends, so never above high

    def __str__(self) -> str:
        return self.label or self.kind


@lru_cache(maxsize=64)
def _table(timing: Timing, steps: int) -> Tensor:
    """The table of a timing that is made of numbers, kept because an optimizer asks for one entry a step."""
    return timing.table(steps)


def _boundary(fraction: float, steps: int) -> int:
    return math.floor(fraction * steps + 0.5)
