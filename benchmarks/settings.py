"""What is trained: a table of nets, and the settings that are measured by default."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import plain as loop
import plain_dqn
import stacked as ensemble

from wdlab import Decay, Model, Optimizer, Run, Schedule, Timing
from wdlab.tasks import GAMES, TASKS, TRANSLATIONS

TIMINGS = (Timing.never(), Timing.always(), Timing.first(0.1), Timing.first(0.25), Timing.first(0.5), Timing.after(0.5))
SEED = 10_000  # seeds from here on are for looking around

Prepare = Callable[..., Callable[[], list[loop.Outcome]]]


@dataclass(frozen=True)
class Net:
    """A network on its task: `runs` of (count, width, steps), and how it is trained without wdlab.

    `plain` and `stacked` lay everything ready for runs on a device and return what trains them; None is not measured.
    """

    runs: Callable[[int, int, int], list[Run]]
    plain: Prepare = loop.prepare
    stacked: Prepare | None = ensemble.prepare
    operations: Callable[[list[Run]], int] | None = loop.operations


@dataclass(frozen=True)
class Setting:
    """So many members of a net of this width, trained for so many steps.

    `tested` is the number of test examples, for runs so short that the task's own test would take longer than they do.
    """

    net: str
    width: int
    members: int
    steps: int
    tested: int | None = None

    def runs(self) -> list[Run]:
        runs = NETS[self.net].runs(self.members, self.width, self.steps)
        if self.tested is None:
            return runs
        return [replace(run, task=replace(run.task, test_size=self.tested)) for run in runs]

    def __str__(self) -> str:
        return f"{self.net}, width {self.width}, {self.members} members, {self.steps} steps"


def vision(task: str, model: str, timings: bool = False) -> Callable[[int, int, int], list[Run]]:
    """Six lambdas that always act, or six `timings`; as many seeds as it takes, tested once at the end.

    Runs of six lambdas differ from the first step on. Timings are the course's usual comparison: the runs of a seed
    have a past in common, which a sweep trains once and no other way does.
    """
    decays = [Decay(0.01 / 2**power) for power in range(len(TIMINGS))]
    if timings:
        decays = [Decay(0.01, timing) for timing in TIMINGS]

    def runs(count: int, width: int, steps: int) -> list[Run]:
        settings = [(SEED + number // len(decays), decays[number % len(decays)]) for number in range(count)]
        net = Model(model, width)
        return [Run(TASKS[task], net, decay=decay, seed=s, steps=steps, evaluations=1) for s, decay in settings]

    return runs


def translation(count: int, width: int, steps: int) -> list[Run]:
    """Adam with the settings of the course, under l2 and decoupled decay by turns; tested on little."""
    task = replace(TRANSLATIONS["translation"], test_size=100)
    adam, climb = Optimizer("adam", 0.003, betas=(0.9, 0.98)), Schedule("cosine", warmup=1 / 6)
    decays = (Decay(1e-4), Decay(0.1, coupling="decoupled"))
    settings = [(SEED + number // 2, decays[number % 2]) for number in range(count)]
    return [Run(task, Model("transformer", width, 2), adam, climb, d, s, steps, evaluations=1) for s, d in settings]


def agents(game: str, model: Model) -> Callable[[int, int, int], list[Run]]:
    """DQN with the settings of the course, tested on one episode."""

    def runs(count: int, width: int, steps: int) -> list[Run]:
        task, net = replace(GAMES[game], test_size=1), replace(model, width=width)
        adam, decay = Optimizer("adam", 1e-3, eps=1.5e-4), Decay(0.1, coupling="decoupled")
        base = Run(task, net, adam, Schedule("constant"), decay, SEED, steps, evaluations=1)
        return [replace(base, seed=SEED + number) for number in range(count)]

    return runs


NETS: dict[str, Net] = {
    "mlp": Net(vision("mnist1d", "mlp")),
    "timings": Net(vision("mnist1d", "mlp", timings=True)),
    "signals": Net(vision("mnist1d", "resnet")),
    "images": Net(vision("fashion", "resnet")),
    "translation": Net(translation, operations=None),  # wdlab packs sentences, the others pad them: no common count
    "cartpole": Net(agents("cartpole", Model(depth=2, norm=False)), plain_dqn.prepare, None, None),
    "breakout": Net(agents("breakout", Model("convnet", depth=1, norm=False)), plain_dqn.prepare, None, None),
}

GROWTH = [Setting("mlp", 100, 2**power, 62) for power in range(8)]
GROWTH += [Setting("mlp", width, 12, 62) for width in (32, 64, 128, 256)]
GROWTH += [Setting("mlp", 100, 12, steps) for steps in (31, 62, 124, 248)]
# The more members the fewer steps, for the plain loop takes as long for each: (net, width, members times steps, least
# steps, tested). The MLP of width 100 is in the growth.
SIZES = [
    ("mlp", 64, 496, 31, 500),
    ("mlp", 256, 248, 16, 500),
    ("signals", 8, 32, 4, 500),
    ("images", 8, 16, 2, 250),
    ("translation", 64, 32, 2, 100),
    ("cartpole", 64, 40, 40, 1),
]
MEMBERS = [
    Setting(net, width, 2**k, max(work >> k, least), tested)
    for net, width, work, least, tested in SIZES
    for k in range(8)
]
