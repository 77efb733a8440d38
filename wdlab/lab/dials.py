"""What the Lab's dials say, as one frozen value: it makes the run, and it names the run by what differs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

from wdlab.checks import known, number, whole
from wdlab.decay import Decay, Timing
from wdlab.run import Model, Optimizer, Run, Schedule
from wdlab.tasks import Vision
from wdlab.tasks.augment import KINDS

PRESETS: dict[str, Timing] = {
    "never": Timing.never(),
    "always": Timing.always(),
    "early": Timing.first(0.25),
    "late": Timing.after(0.5),
}
"""Timings with a name of their own."""

OWN = "own window"
TIMINGS = (*PRESETS, OWN)

SCHEDULES: dict[str, Schedule] = {
    "falls to 0.2%": Schedule(),
    "falls to 5%": Schedule(final=0.05),
    "constant": Schedule("constant"),
}
"""Ways of the learning rate, exponential where it falls."""


@dataclass(frozen=True)
class Dials:
    """Every dial of the Lab: `timing` by name, the own `window` as fractions of the run, lambda, lr and the seed.

    `window` counts only when `timing` is "own window". `schedule` is a name from SCHEDULES. Three dials turn the data:
    `label_noise`, the share of training labels drawn at random; `train_size`; and `augment`, whether examples are
    changed at random in every way there is for them. None leaves the data as the task has them. Raises ValueError for
    a value that is not allowed.
    """

    timing: str = "always"
    window: tuple[float, float] = (0.25, 0.75)
    weight_decay: float = 0.01
    lr: float = 0.1
    seed: int = 0
    schedule: str = "falls to 0.2%"
    label_noise: float | None = None
    train_size: int | None = None
    augment: bool | None = None

    def __post_init__(self) -> None:
        known("timing", self.timing, TIMINGS)
        Timing.window(*self.window)
        number("weight_decay", self.weight_decay, 0)
        number("lr", self.lr, 0, above=True)
        whole("seed", self.seed)
        known("schedule", self.schedule, SCHEDULES)
        if self.label_noise is not None:
            number("label_noise", self.label_noise, 0, 1)
        if self.train_size is not None:
            whole("train_size", self.train_size, 1)
        if not isinstance(self.augment, bool | None):
            raise ValueError(f"augment={self.augment!r} is not allowed; give True, False or None.")

    @property
    def when(self) -> Timing:
        """The timing as `wdlab` knows it."""
        return PRESETS[self.timing] if self.timing in PRESETS else Timing.window(*self.window)

    @property
    def ends(self) -> tuple[float, float]:
        """Where decay starts and stops, as fractions of the run."""
        return self.when.start, self.when.stop

    def turned(self, **changes: object) -> Dials:
        """Return these dials with some of them changed.

        `timing` may also be a `wdlab.Timing` that is one window; a `window` alone selects "own window". Raises
        ValueError for a dial that does not exist or a value that is not allowed.

        >>> Dials().turned(window=(0.1, 0.3)).timing
        'own window'
        """
        for name in changes:
            known("dial", name, [field.name for field in fields(self)])
        if "window" in changes:
            changes = {"timing": OWN, **changes, "window": _pair(changes["window"])}
        if isinstance(timing := changes.get("timing"), Timing):
            changes |= _named(timing)
        return replace(self, **changes)  # type: ignore[arg-type]  # the checks of __post_init__ look at each

    def run(self, task: Vision, model: Model, steps: int, evaluations: int) -> Run:
        """Return the run these dials stand for."""
        decay = Decay(float(self.weight_decay), self.when)
        optimizer = Optimizer(lr=float(self.lr))
        schedule, task = SCHEDULES[self.schedule], self.turn(task)
        return Run(task, model, optimizer, schedule, decay, seed=self.seed, steps=steps, evaluations=evaluations)

    def turn(self, task: Vision) -> Vision:
        """Return `task` with the data these dials ask for."""
        kinds = None if self.augment is None else KINDS[task.source] if self.augment else ()
        asked = {"label_noise": self.label_noise, "train_size": self.train_size, "augment": kinds}
        changes = {name: value for name, value in asked.items() if value is not None}
        return replace(task, **changes)  # type: ignore[arg-type]  # each value has its own type

    def parts(self) -> dict[str, str]:
        """Return what a label may say, by dial; what does not matter is left out."""
        start, stop = (f"{100 * end:.3g}" for end in self.ends)
        told = {"timing": self.timing if self.timing in PRESETS else f"{start}–{stop}%"}
        if self.when.stop > self.when.start:
            told["weight_decay"] = f"λ {self.weight_decay:.2g}"
        told |= {"lr": f"lr {self.lr:.2g}", "schedule": self.schedule}
        return told | self._data() | {"seed": f"seed {self.seed}"}

    def _data(self) -> dict[str, str]:
        noise = "own labels" if self.label_noise is None else f"noise {self.label_noise:.3g}"
        size = "own size" if self.train_size is None else f"{self.train_size:,} examples"
        moved = {None: "own examples", False: "not augmented", True: "augmented"}[self.augment]
        return {"label_noise": noise, "train_size": size, "augment": moved}

    def __str__(self) -> str:
        usual = Dials()
        # What is as usual, or off (no noise, no augmentation), goes without saying.
        quiet = [n for n in ("seed", "schedule", *self._data()) if getattr(self, n) in (getattr(usual, n), False)]
        return ", ".join(text for name, text in self.parts().items() if name not in quiet)


def labels(several: Sequence[Dials]) -> list[str]:
    """Return a label for each of `several` runs that says only what differs between them.

    >>> labels([Dials("never"), Dials("early")]), labels([Dials("late"), Dials("late", lr=0.2)])
    (['never', 'early'], ['lr 0.1', 'lr 0.2'])
    """
    told = [dials.parts() for dials in several]
    differs = [field.name for field in fields(Dials) if len(_values(told, field.name)) > 1]
    shown = [", ".join(parts[name] for name in differs or ["timing"] if name in parts) for parts in told]
    return [label or parts["timing"] for label, parts in zip(shown, told, strict=True)]


def _values(told: Iterable[dict[str, str]], name: str) -> set[str]:
    return {parts[name] for parts in told if name in parts}


def _pair(window: object) -> tuple[float, float]:
    try:
        ends: tuple[object, ...] = tuple(window)  # type: ignore[arg-type]  # anything with two entries will do
    except TypeError:
        ends = ()
    if len(ends) != 2:
        raise ValueError(f"window={window!r} is not allowed; give two fractions of the run, (start, stop).")
    return number("start", ends[0], 0, 1), number("stop", ends[1], 0, 1)


def _named(timing: Timing) -> dict[str, object]:
    name = next((name for name, preset in PRESETS.items() if preset == timing), None)
    if name is not None:
        return {"timing": name}
    if timing.kind != "window":
        raise ValueError(
            f"timing={timing!r} is not allowed; the Lab's dial is one window: give Timing.window or a name."
        )
    return {"timing": OWN, "window": (timing.start, timing.stop)}
