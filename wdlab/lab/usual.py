"""What the Lab takes for each kind of task where nobody says otherwise: the net, the numbers, where the dials start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

from wdlab.claims import chapter08, chapter09
from wdlab.run import Model, Optimizer
from wdlab.tasks import DQN, GAMES, TASKS, TRANSLATIONS, Task, Translation, Vision

NAMED: dict[str, Task] = {**TASKS, **TRANSLATIONS, **GAMES}
"""The tasks that a Lab knows by name."""
OFFLINE = ("mnist1d", "fashion", "fashion_full", "translation", "cartpole")
"""Those whose data come with the package and whose runs are short: a Lab offers them."""


@dataclass(frozen=True)
class Start:
    """An optimizer with the lr and the lambda at which its dials start, and the powers of ten between which they go."""

    optimizer: Optimizer
    weight_decay: float
    lrs: tuple[int, int]
    lambdas: tuple[int, int]


@dataclass(frozen=True)
class Usual:
    """A net, the name of an optimizer among `starts`, a schedule's name, and how often a run is read on its way."""

    model: Model
    optimizer: str
    schedule: str
    starts: Mapping[str, Start]
    evaluations: int


_MOMENTUM, _PLAIN = Optimizer(), Optimizer(lr=1.0, momentum=0.0)
VISION = Usual(
    Model(),
    "sgd",
    "falls to 0.2%",
    {
        "sgd": Start(_MOMENTUM, 0.01, (-3, 0), (-4, -1)),
        "plain_sgd": Start(_PLAIN, 0.01, (-2, 1), (-4, -1)),
        "adam": Start(Optimizer("adam", 0.01), 0.01, (-4, -1), (-4, 1)),
    },
    evaluations=40,
)
_TRANSLATING = chapter08.translating("demo")
TRANSLATION = Usual(
    _TRANSLATING.model,
    "adam",
    "warm-up and cosine",
    {
        "sgd": Start(_MOMENTUM, 1e-3, (-3, 0), (-6, -1)),
        "plain_sgd": Start(_PLAIN, 1e-3, (-2, 1), (-6, -1)),
        "adam": Start(_TRANSLATING.optimizer, 1e-3, (-4, -1), (-6, 1)),
    },
    evaluations=20,
)
PLAYED = ("cartpole", "breakout")
"""The games that a Lab plays."""


@cache
def _playing(environment: str) -> Usual:
    """Asked late, for a `Run` on a game needs the packages of the extra `rl`."""
    run = chapter09.playing("demo") if environment == "cartpole" else chapter09.breaking("demo")
    starts = {
        "sgd": Start(replace(_MOMENTUM, lr=0.01), 1e-3, (-4, -1), (-6, -1)),
        "plain_sgd": Start(replace(_PLAIN, lr=0.1), 1e-3, (-3, 0), (-6, -1)),
        "adam": Start(run.optimizer, 1e-3, (-5, -2), (-6, 1)),
    }
    return Usual(run.model, "adam", "constant", starts, evaluations=20)


def usual(task: Task) -> Usual:
    """Return what is usual for `task`; raises ValueError for one that no Lab can train while somebody waits."""
    if isinstance(task, Vision):
        return VISION
    if isinstance(task, Translation):
        return TRANSLATION
    if isinstance(task, DQN) and task.environment in PLAYED:
        return _playing(task.environment)
    raise ValueError(
        f"task={task!r:.60} is not allowed in a Lab; give a wdlab.Vision, a wdlab.tasks.Translation, a DQN on "
        f"'cartpole' or 'breakout', or one of {', '.join(map(repr, NAMED))}."
    )
