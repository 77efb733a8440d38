"""A run in the Lab: what was asked for, what was done to it on its way, and what it has left behind so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from wdlab.lab.dials import Dials, labels
from wdlab.lab.usual import NAMED
from wdlab.run import Run
from wdlab.train import History, Training

SHORT = {"decay on": "on", "decay off": "off", "forked, decay on": "on", "forked, decay off": "off", "forked": "fork"}


@dataclass(frozen=True)
class Event:
    """What was done to a run by hand, in words of SHORT, and after how many steps."""

    step: int
    what: str


@dataclass(frozen=True)
class Band:
    """A curve over the seeds of a run: x as a share of the run, and of y the mean, the lowest and the highest."""

    x: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]

    def through(self, turn: Callable[[float], float]) -> Band:
        """Return this band with `turn`, a linear function, applied to every value."""
        ends = [sorted((turn(low), turn(high))) for low, high in zip(self.low, self.high, strict=True)]
        return Band(self.x, [turn(y) for y in self.mean], [low for low, _ in ends], [high for _, high in ends])


@dataclass(eq=False)
class Trial:
    """One run in the Lab, of one seed or several: its dials, the look it keeps, and its `histories`, one a seed.

    `decay` is lambda times timing at each step, as it was or will be; `born` is the step at which it was forked off
    another run, or 0. `fresh` ones were started, or forked, since Run was pressed last. `switched` says whether decay
    was switched on or off by hand.
    """

    dials: Dials
    runs: tuple[Run, ...]
    look: int = 0
    number: int = 0
    histories: tuple[History, ...] = ()
    events: tuple[Event, ...] = ()
    born: int = 0
    fresh: bool = True
    switched: bool | None = None
    decay: Tensor = field(default_factory=lambda: torch.zeros(0))

    def __post_init__(self) -> None:
        if not len(self.decay):
            self.decay = self.run.decay.strength * self.run.decay.timing.table(self.run.steps)

    @property
    def run(self) -> Run:
        """The run of the first seed."""
        return self.runs[0]

    @property
    def spans(self) -> list[tuple[float, float]]:
        """The parts of the run in which decay acts, as (start, stop) shares."""
        return spans(self.decay)

    @cached_property
    def fall(self) -> float:
        """The last multiplier of the learning rate over the first."""
        table = self.run.schedule.table(self.run.steps)
        return float(table[-1] / table[0])

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps at which it was read."""
        return self.histories[0].steps if self.histories else ()

    @property
    def done(self) -> float:
        """The share of the run that is over."""
        return self.steps[-1] / self.run.steps if self.steps else 0.0

    @property
    def diverged(self) -> list[int]:
        """The steps at which seeds diverged."""
        return [history.diverged_at for history in self.histories if history.diverged_at is not None]

    @property
    def broken(self) -> list[int]:
        """The steps at which games of seeds raised."""
        return [history.broken_at for history in self.histories if history.broken_at is not None]

    @property
    def told(self) -> str:
        """What was done to it by hand, and when."""
        return ", ".join(f"{event.what} at {event.step / self.run.steps:.0%}" for event in self.events)

    @property
    def sign(self) -> str:
        """What a label says of it: what was done since it was forked off, in few words."""
        own = [event for event in self.events if event.step >= self.born]
        return ", ".join(f"{SHORT.get(event.what, event.what)} at {event.step / self.run.steps:.0%}" for event in own)

    def acts(self, step: int) -> bool:
        """Whether decay acts in the step after `step` steps."""
        return bool(self.decay[min(step, len(self.decay) - 1)] > 0)

    def note(self, step: int, what: str, training: Training, switched: bool | None) -> None:
        """Keep in mind what was done to its `training` after `step` steps."""
        self.events = (*self.events, Event(step, what))
        self.decay, self.switched = training.decay_table[:, 0].cpu(), switched

    def has(self, name: str) -> bool:
        """Whether it has measured the curve called `name`."""
        return bool(self.histories) and name in self.histories[0].curves

    def curve(self, name: str) -> Band:
        """Return the points of a curve that have a finite value for one seed at least."""
        points: list[tuple[float, float, float, float]] = []
        if self.has(name):
            columns = zip(*(history.curves[name] for history in self.histories), strict=True)
            for step, column in zip(self.steps, columns, strict=True):
                if values := [value for value in column if math.isfinite(value)]:
                    points.append((step / self.run.steps, sum(values) / len(values), min(values), max(values)))
        x, mean, low, high = (list(column) for column in zip(*points, strict=True)) if points else ([], [], [], [])
        return Band(x, mean, low, high)

    def last(self, name: str) -> float:
        """Return the last value of a curve, a mean over seeds, or nan."""
        return next(reversed(self.curve(name).mean), math.nan)


def spans(decay: Tensor) -> list[tuple[float, float]]:
    """Return the parts of a run in which `decay` [step], lambda times timing, is above 0, as (start, stop) shares.

    >>> spans(torch.tensor([0.0, 0.1, 0.1, 0.0]))
    [(0.25, 0.75)]
    """
    edges = torch.nn.functional.pad((decay > 0).to(torch.int8), (1, 1)).diff().nonzero().flatten()
    return [(start / len(decay), stop / len(decay)) for start, stop in edges.view(-1, 2).tolist()]


def named(trials: Sequence[Trial]) -> list[str]:
    """Return a label for each of `trials` that says only what differs between them."""
    return labels([_with_task(trial) for trial in trials], [trial.sign for trial in trials])


def _with_task(trial: Trial) -> Dials:
    """Return the dials, which do not know what the Lab's own task is called, with its name."""
    name = trial.run.task.name
    return replace(trial.dials, task=name) if trial.dials.task is None and name in NAMED else trial.dials
