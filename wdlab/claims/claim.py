"""What a claim is, and what comes out of trying it.

A claim fixes, before any result is seen, what is compared, the direction, the smallest effect that would matter, and
the seeds. The effect is one number a seed; the verdict is read off its 95% interval (see `wdlab.stats.judge`). The
control is the same measurement where the claim must not hold.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import numpy as np
import torch

import wdlab
from wdlab.checks import known, whole
from wdlab.stats import interval, judge
from wdlab.store import source_digest
from wdlab.train import pick_device

SCALES = ("ci", "demo", "gpu", "paper")


@dataclass(frozen=True)
class Level:
    """What belongs to a scale: how many seeds a claim uses, and the smallest effect that would matter there."""

    seeds: int
    smallest: float


@dataclass(frozen=True)
class Setting:
    """Where a claim is tried: the scale, the seeds, the device."""

    scale: str
    seeds: tuple[int, ...]
    device: str


Measure = Callable[[Setting], Sequence[float]]


@dataclass(frozen=True)
class Outcome:
    """One measured effect with its interval and what it says about "above the smallest effect of interest"."""

    effect: float
    low: float
    high: float
    values: tuple[float, ...]
    verdict: str


@dataclass(frozen=True, repr=False)
class Verdict:
    """What came out of trying a claim; shows itself in a notebook and on a terminal.

    It `holds` when it is supported and its control is not: a claim that also holds where it must vanish says nothing.
    The control "vanishes" when its whole interval lies below `smallest`, so that nothing of interest is there, and not
    when one merely cannot tell: that is "inconclusive".

    `smallest` is what the interval must lie above; for a claim that nothing is lost it is negative, the largest loss
    that still counts as none. `values` is the effect, seed by seed. `seconds` is short where runs came from the store.
    """

    id: str
    statement: str
    unit: str
    smallest: float
    effect: float
    low: float
    high: float
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    holds: bool
    verdict: str
    control: str
    control_says: str
    control_outcome: Outcome
    seconds: float
    scale: str
    device: str
    versions: dict[str, str]

    @property
    def line(self) -> str:
        """The verdict in one line without times, the same at every repetition on one machine."""
        return (
            f"{self.id}: {self.verdict} (effect {self.effect:+.4g}, 95% interval {self.low:+.4g} to {self.high:+.4g}, "
            f"smallest of interest {self.smallest:+g}, {len(self.seeds)} seeds); control {self.control}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return the verdict as JSON types; numbers that are not finite become None."""
        told = asdict(self)
        return {key: _finite(value) for key, value in told.items()}

    def __repr__(self) -> str:
        return self.line

    def _repr_html_(self) -> str:
        control = self.control_outcome
        where = f"{_WHERE[control.verdict]} {self.smallest:+g}"
        rows = [
            ("claim", escape(self.statement)),
            ("verdict", f"<b>{self.verdict}</b>"),
            ("effect", f"{_sides(self.effect, self.low, self.high)} {escape(self.unit)}"),
            ("holds when the interval lies", f"above {self.smallest:+g} ({len(self.seeds)} paired seeds)"),
            ("control", escape(self.control_says)),
            ("in the control", f"<b>{self.control}</b>: {_sides(control.effect, control.low, control.high)}, {where}"),
        ]
        cells = (
            f"<tr><th style='text-align:left'>{head}</th><td style='text-align:left'>{text}</td></tr>"
            for head, text in rows
        )
        return f"<table>{''.join(cells)}</table>"


@dataclass(frozen=True)
class Claim:
    """An empirical statement: "`measure` is above the smallest effect of interest", and the `control` where it is not.

    `measure` and `control` return one number a seed. `source` says whose finding it is, `levels` holds the smallest
    effect and the number of seeds of each scale.
    """

    id: str
    statement: str
    source: str
    unit: str
    measure: Measure
    control_says: str
    control: Measure
    levels: Mapping[str, Level]

    def check(
        self, scale: str = "demo", seed_offset: int = 0, device: str = "auto", seeds: int | None = None
    ) -> Verdict:
        """Try the claim with seeds seed_offset, seed_offset + 1, ... and return the verdict with its control's.

        `seeds` may ask for fewer than the scale has, not for more. Raises ValueError for an unknown scale or device, a
        negative `seed_offset`, or a number of seeds outside [2, the scale's own].
        """
        level = self.levels[known("scale", scale, SCALES)]
        whole("seed_offset", seed_offset)
        count = level.seeds if seeds is None else whole("seeds", seeds, 2, level.seeds)
        setting = Setting(scale, tuple(range(seed_offset, seed_offset + count)), str(pick_device(device)))
        start = time.perf_counter()
        found = _outcome(self.measure(setting), level.smallest)
        control = _outcome(self.control(setting), level.smallest)
        return Verdict(
            id=self.id,
            statement=self.statement,
            unit=self.unit,
            smallest=level.smallest,
            effect=found.effect,
            low=found.low,
            high=found.high,
            seeds=setting.seeds,
            values=found.values,
            holds=found.verdict == "supported" and control.verdict != "supported",
            verdict=found.verdict,
            control=_control_word(control.verdict),
            control_says=self.control_says,
            control_outcome=control,
            seconds=time.perf_counter() - start,
            scale=scale,
            device=setting.device,
            versions=versions(),
        )


def versions() -> dict[str, str]:
    """Return the versions a result depends on; "numbers" is the source that decides what a run's numbers are."""
    return {
        "numbers": source_digest(),
        "wdlab": wdlab.__version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _outcome(values: Sequence[float], smallest: float) -> Outcome:
    found = interval(values)
    return Outcome(found.mean, found.low, found.high, found.values, judge(found, smallest))


_WHERE = {"supported": "all of it above", "not supported": "all of it below", "inconclusive": "not all on one side of"}


def _control_word(verdict: str) -> str:
    return {"supported": "does not vanish", "not supported": "vanishes", "inconclusive": "inconclusive"}[verdict]


def _sides(mean: float, low: float, high: float) -> str:
    return f"{mean:+.4g} (95% interval {low:+.4g} to {high:+.4g})"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return {key: _finite(item) for key, item in value.items()} if isinstance(value, dict) else value
