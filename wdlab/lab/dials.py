"""What the Lab's dials say, as one frozen value: it makes the run, and it names the run by what differs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

from wdlab.checks import known, number, whole
from wdlab.decay import COUPLINGS, Decay, Timing
from wdlab.lab.usual import NAMED, Usual, usual
from wdlab.run import Model, Run, Schedule
from wdlab.tasks import TASKS, Task, Vision
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
    "warm-up and cosine": Schedule("cosine", final=1e-3, warmup=1 / 6),
}
"""Ways of the learning rate, exponential where it falls."""

DATA = ("label_noise", "train_size", "augment")
"""Dials that turn the data, which only tasks of vision have."""
MOST_SEEDS = 10
SPOKEN = {"sgd": "SGD", "plain_sgd": "plain SGD", "adam": "Adam"}


@dataclass(frozen=True)
class Dials:
    """Every dial of the Lab: `timing` by name, the own `window` as fractions of the run, lambda, lr and the seed.

    `window` counts only when `timing` is "own window". `schedule` is a name from SCHEDULES, `coupling` one from
    `wdlab.COUPLINGS`; `optimizer` is "sgd", with momentum 0.9, "plain_sgd", without, or "adam". Three dials turn the
    data of a task of vision: `label_noise`, the share of training labels drawn at random; `train_size`; and `augment`,
    whether examples are changed at random in every way there is for them. None leaves the data as the task has them,
    and `task` None the task as the Lab has it. `seeds` runs are trained side by side, from `seed` on. Raises ValueError
    for a value that is not allowed.
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
    optimizer: str = "sgd"
    coupling: str = "l2"
    seeds: int = 1
    task: str | None = None

    def __post_init__(self) -> None:
        known("timing", self.timing, TIMINGS)
        Timing.window(*_pair(self.window))
        number("weight_decay", self.weight_decay, 0)
        number("lr", self.lr, 0, above=True)
        whole("seed", self.seed)
        whole("seeds", self.seeds, 1, MOST_SEEDS)
        known("schedule", self.schedule, SCHEDULES)
        known("optimizer", self.optimizer, SPOKEN)
        known("coupling", self.coupling, COUPLINGS)
        if self.task is not None:
            known("task", self.task, NAMED)
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

    @classmethod
    def of(cls, task: Task, seed: int = 0) -> Dials:
        """Return the dials as they stand where a Lab for `task` is opened."""
        found = usual(task)
        start = found.starts[found.optimizer]
        lr, strength = start.optimizer.lr, start.weight_decay
        return cls(weight_decay=strength, lr=lr, seed=seed, schedule=found.schedule, optimizer=found.optimizer)

    def named(self, own: Task) -> Task:
        """Return the task these dials name, or the Lab's `own`."""
        return own if self.task is None else NAMED[self.task]

    def turned(self, own: Task = TASKS["mnist1d"], /, **changes: object) -> Dials:
        """Return these dials, of a Lab whose task is `own`, with some of them changed.

        `timing` may also be a `wdlab.Timing` that is one window; a `window` alone selects "own window". With another
        `optimizer` come the lr and the lambda that are usual with it, with another `task` its own data, and with one of
        another kind its optimizer and schedule, unless they are given too. Raises ValueError for a dial that does not
        exist or a value that is not allowed.

        >>> Dials().turned(window=(0.1, 0.3)).timing
        'own window'
        """
        for name in changes:
            known("dial", name, [field.name for field in fields(self)])
        if changes.get("task", self.task) != self.task:
            changes = self._with_task(own, changes)
        if changes.get("optimizer", self.optimizer) != self.optimizer:
            start = usual(replace(self, task=changes.get("task", self.task)).named(own))  # type: ignore[arg-type]
            changes = {**_numbers(start, changes["optimizer"]), **changes}
        if "optimizer" in changes and self.coupling in idle(str(changes["optimizer"])):
            changes = {"coupling": "l2", **changes}
        if "window" in changes:
            changes = {"timing": OWN, **changes, "window": _pair(changes["window"])}
        if isinstance(timing := changes.get("timing"), Timing):
            changes |= _named(timing)
        return replace(self, **changes)  # type: ignore[arg-type]  # the checks of __post_init__ look at each

    def _with_task(self, own: Task, changes: dict[str, object]) -> dict[str, object]:
        """Return `changes` with what another task brings along."""
        before, after = (usual(dials.named(own)) for dials in (self, replace(self, task=changes["task"])))  # type: ignore[arg-type]
        brought: dict[str, object] = {"train_size": None, "augment": None}
        if after is not before:
            brought |= {"label_noise": None, "optimizer": after.optimizer, "schedule": after.schedule}
            brought |= _numbers(after, changes.get("optimizer", after.optimizer))
        return brought | changes

    def runs(self, task: Task, model: Model, steps: int | None, evaluations: int | None = None) -> tuple[Run, ...]:
        """Return the runs these dials stand for, one a seed; they last `steps`, or as long as their task has it.

        A task to which the dials turn has a net of its own where it cannot learn with `model`.
        """
        start = usual(self.named(task))
        model = model if self.task is None or _learns(self.named(task), model) else start.model
        turned = self.turn(task)
        decay = Decay(float(self.weight_decay), self.when, self.coupling)
        optimizer = replace(start.starts[self.optimizer].optimizer, lr=float(self.lr))
        rest = (SCHEDULES[self.schedule], decay, self.seed, steps or turned.steps, evaluations or start.evaluations)
        first = Run(turned, model, optimizer, *rest)
        return tuple(replace(first, seed=self.seed + more) for more in range(self.seeds))

    def turn(self, task: Task) -> Task:
        """Return `task`, or the one these dials name, with the data they ask for.

        Raises ValueError where a dial of the data is turned for a task that has none.
        """
        task = self.named(task)
        changes = {name: getattr(self, name) for name in DATA if getattr(self, name) is not None}
        if not isinstance(task, Vision):
            if changes:
                name, value = next(iter(changes.items()))
                raise ValueError(f"{name}={value!r} is not allowed with task={task.name!r}, which has no such dial.")
            return task
        if "augment" in changes:
            changes["augment"] = KINDS[task.source] if self.augment else ()
        return replace(task, **changes)

    def differs(self, other: Dials) -> list[str]:
        """Return the names of the dials at which `other` asks for something else; a window counts as a timing."""
        names = [field.name for field in fields(self) if field.name not in ("timing", "window")]
        timing = ["timing"] if self.when != other.when else []
        return timing + [name for name in names if getattr(self, name) != getattr(other, name)]

    def parts(self) -> dict[str, str]:
        """Return what a label may say, by dial; what does not matter is left out."""
        start, stop = (f"{100 * end:.3g}" for end in self.ends)
        told = {"task": self.task or "own task", "optimizer": SPOKEN[self.optimizer]}
        told["timing"] = self.timing if self.timing in PRESETS else f"{start}–{stop}%" if start != stop else "never"
        if self.when.stop > self.when.start:
            told |= {"coupling": self.coupling, "weight_decay": f"λ {self.weight_decay:.2g}"}
        told |= {"lr": f"lr {self.lr:.2g}", "schedule": self.schedule}
        return told | self._data() | self._seeds()

    def _data(self) -> dict[str, str]:
        noise = "own labels" if self.label_noise is None else f"noise {self.label_noise:.3g}"
        size = "own size" if self.train_size is None else f"{self.train_size:,} examples"
        moved = {None: "own examples", False: "not augmented", True: "augmented"}[self.augment]
        return {"label_noise": noise, "train_size": size, "augment": moved}

    def _seeds(self) -> dict[str, str]:
        return {"seed": f"seed {self.seed}", "seeds": "1 seed" if self.seeds == 1 else f"{self.seeds} seeds"}

    def __str__(self) -> str:
        usual = Dials()
        loud = ("timing", "weight_decay", "lr")
        # What is as usual, or off (no noise, no augmentation), goes without saying.
        quiet = [
            name for name in self.parts() if name not in loud and getattr(self, name) in (getattr(usual, name), False)
        ]
        return ", ".join(text for name, text in self.parts().items() if name not in quiet)


def labels(several: Sequence[Dials], events: Sequence[str] = ()) -> list[str]:
    """Return a label for each of `several` runs that says only what differs between them; `events` come last.

    >>> labels([Dials("never"), Dials("early")]), labels([Dials("late"), Dials("late", lr=0.2)])
    (['never', 'early'], ['lr 0.1', 'lr 0.2'])
    """
    told = [dials.parts() for dials in several]
    names = dict.fromkeys(name for parts in told for name in parts)
    differs = [name for name in names if len(_values(told, name)) > 1]
    shown = [[parts[name] for name in differs or ["timing"] if name in parts] for parts in told]
    happened = events or [""] * len(told)
    return [
        ", ".join(part for part in (*(label or [parts["timing"]]), event) if part)
        for label, parts, event in zip(shown, told, happened, strict=True)
    ]


def idle(optimizer: str) -> tuple[str, ...]:
    """Return the couplings that do nothing under `optimizer`."""
    return () if optimizer == "adam" else ("second_moment",)


def _numbers(task: Usual, optimizer: object) -> dict[str, object]:
    found = task.starts[known("optimizer", optimizer, task.starts)]
    return {"lr": found.optimizer.lr, "weight_decay": found.weight_decay}


def _learns(task: Task, model: Model) -> bool:
    try:
        task.check(model)
    except ValueError:
        return False
    return True


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
