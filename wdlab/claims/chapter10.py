"""Claims of chapter 10: what "easier to tune" comes to, over the grids of the chapters before; and SGD, relabelled."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd

from wdlab.claims import chapter08, chapter09
from wdlab.claims.chapter08 import weakest
from wdlab.claims.claim import SCALES, Claim, Level, Setting
from wdlab.decay import Decay
from wdlab.grids import NONE, grid, of, tabulate
from wdlab.run import Optimizer, Run
from wdlab.sweeps import Results, sweep
from wdlab.tuning import MOST, correlation, moved, over_the_product, search, trials_needed, trials_needed_elsewhere

logger = logging.getLogger(__name__)

PAPER = "after Bjorck et al. 2021 (hyperparameters are easier to tune under decoupled decay); grid and measure are ours"
HUTTER = "after Loshchilov and Hutter 2019 ({}); grid and statistic are ours"


@dataclass(frozen=True)
class Tuned:
    """A task with its grid: the run it rests on by scale, the runs of the grid, their scored table, the score's name.

    `seeds` is how many there are by scale, in the order of `SCALES`.
    """

    base: Callable[[str], Run]
    over: Callable[[Run, str, Sequence[int]], list[Run]]
    scored: Callable[[Results, str], pd.DataFrame]
    score: Callable[[str], str]
    seeds: tuple[int, int, int, int]

    def runs(self, scale: str, seeds: Sequence[int]) -> list[Run]:
        """Return the runs of the grid: between any two only seed, lr, lambda and coupling differ."""
        return self.over(self.base(scale), scale, seeds)


def _said(scale: str) -> str:
    return "exact match" if chapter08.metric(scale) == "test_accuracy" else "chance of a true word"


GRIDS = {
    "vision": Tuned(
        chapter08.seeing, chapter08.over_the_grid, lambda results, _: tabulate(results),
        lambda _: "test accuracy", (2, 10, 10, 10),
    ),
    "translation": Tuned(
        chapter08.translating, chapter08.over_the_grid,
        lambda results, scale: tabulate(results, chapter08.metric(scale)), _said, (2, 3, 10, 3),
    ),
    "rl": Tuned(
        chapter09.playing, chapter09.over_the_grid, lambda results, _: chapter09.scored(results),
        lambda _: "share of the best return", (2, 10, 20, 5),
    ),
}  # fmt: skip
"""The tasks over which ease of tuning is measured: those of the chapters before, run for run."""


def table(name: str, setting: Setting) -> pd.DataFrame:
    """Return the table of the grid called `name`, one row a run, as many of the setting's seeds as that grid has.

    A seed of which one run has no score, for its game raised, is left out whole, and a warning says so: a search over
    the cells that are left would be another search.
    """
    return _table(name, setting.scale, setting.seeds, setting.device).copy()


@lru_cache(maxsize=16)
def _table(name: str, scale: str, seeds: Sequence[int], device: str) -> pd.DataFrame:
    tuned = GRIDS[name]
    runs = tuned.runs(scale, seeds)
    where = "cpu" if runs[0].task.acts else device  # games run there, and so does notebook 09
    return _whole_seeds(name, tuned.scored(sweep(runs, where, label=name), scale))


def _whole_seeds(name: str, runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of those seeds of which every run has a score."""
    lost = set(runs.loc[runs["score"].isna(), "seed"])
    if lost:
        logger.warning(
            "%d of %d seeds of the grid of %s are left out: a run of theirs has no score, for its game raised.",
            len(lost), runs["seed"].nunique(), name,
        )  # fmt: skip
    return runs[~runs["seed"].isin(lost)]


def seeds_of(name: str, scale: str, seed_offset: int = 0) -> tuple[int, ...]:
    """Return the seeds with which a grid is tried at `scale`."""
    return tuple(range(seed_offset, seed_offset + GRIDS[name].seeds[SCALES.index(scale)]))


# SGD under two labels

HALVES = tuple(10 ** (-half / 2) for half in range(7))
"""Powers of ten and their halves, from 1 down to 1/1000: equal steps in lr and lambda, so that products meet."""
MOMENTA = {"plain SGD": 0.0, "SGD with momentum": 0.9}


def descending(scale: str, momentum: float) -> Run:
    """Return the BatchNorm MLP of the vision grid under SGD with an l2 penalty."""
    return replace(chapter08.seeing(scale), optimizer=Optimizer("sgd", 0.1, momentum=momentum), decay=Decay(0.01))


def over_halves(base: Run, seeds: Sequence[int]) -> list[Run]:
    """Return `base` over four learning rates and seven lambdas, half a power of ten apart, at every scale.

    With momentum b a gradient acts 1/(1 - b) times, so the learning rates are smaller by that.
    """
    rates = [lr * (1 - base.optimizer.momentum) for lr in HALVES[:4]]
    return grid(base, {"l2": HALVES}, sorted(rates), seeds)


def descended(name: str, setting: Setting) -> pd.DataFrame:
    """Return the table of the SGD grid called `name`, one of `MOMENTA`."""
    return _descended(name, setting).copy()


@lru_cache(maxsize=8)
def _descended(name: str, setting: Setting) -> pd.DataFrame:
    runs = over_halves(descending(setting.scale, MOMENTA[name]), setting.seeds)
    return tabulate(sweep(runs, setting.device, label=name))


def relabelled(run: Run) -> Run:
    """Return `run`, which has an l2 penalty, as decoupled decay in the units of the AdamW paper: lambda is lr lambda.

    In them w loses lambda lr_t / lr_0 of itself in step t. Under plain SGD the two are one (their Prop. 1).
    """
    product = run.optimizer.lr * run.decay.strength
    return replace(run, decay=Decay(product, run.decay.timing, "decoupled", "lr/lr0", run.decay.mask))


# What is compared


def needed(runs: pd.DataFrame, a: str = "l2", b: str = "decoupled") -> dict[str, float]:
    """Return by coupling how many random trials come within 5 percent of the best of the two, of the runs of one seed.

    Infinite where MOST trials do not.
    """
    found = trials_needed(search(pd.concat([of(runs, a), of(runs, b)])))
    return dict(zip(found["coupling"], found["trials"], strict=True))


def doublings(runs: pd.DataFrame, a: str = "l2", b: str = "decoupled") -> float:
    """Return log2 of how many times as many random trials coupling a needs as coupling b, of the runs of one seed.

    `needed` says what that is; more than MOST trials count as MOST.
    """
    found = needed(runs, a, b)
    return math.log2(min(found[a], MOST) / min(found[b], MOST))


def fair_doublings(runs: pd.DataFrame, a: str = "l2", b: str = "decoupled") -> list[float]:
    """Return `doublings` seed by seed where what one seed chose is judged by the others (`trials_needed_elsewhere`)."""
    found = trials_needed_elsewhere(search(pd.concat([of(runs, a), of(runs, b)])))
    many = found.assign(trials=found["trials"].clip(upper=MOST)).pivot(
        index="seed", columns="coupling", values="trials"
    )
    fair: list[float] = np.log2(many[a] / many[b]).tolist()
    return fair


def stiffness(runs: pd.DataFrame) -> float:
    """Return how far the best lambda of l2 moves when lr becomes ten times as large, minus that of decoupled decay.

    Both in powers of ten, whichever way; decoupled decay over lr lambda, as the paper that named it has it. The null is
    not 0: where lambda does not matter the slope over lr lambda is that of the window, and this is -1. A basin that the
    window cuts off lies in between. So below `smallest` is no sign that decoupled decay moves further.
    """
    return abs(moved(of(runs, "l2"))) - abs(moved(over_the_product(of(runs, "decoupled"))))


def stiffness_of_one_label(runs: pd.DataFrame) -> float:
    """Return the same with both over lambda, as PyTorch has it: lr is a factor of the decay of both."""
    return abs(moved(of(runs, "l2"))) - abs(moved(of(runs, "decoupled")))


def slant(runs: pd.DataFrame) -> float:
    """Return how much of a diagonal the basin is: minus the correlation of log lr and log lambda in its best cells."""
    return -correlation(runs)


def still_slanted(runs: pd.DataFrame) -> float:
    """Return how much of a diagonal, either way, the basin is over lr lambda: a correlation without its sign.

    Its null is not 0: a handful of good cells correlate by chance, and the sign that would average this out is gone.
    """
    return abs(correlation(over_the_product(runs)))


Table = Callable[[str, Setting], pd.DataFrame]


def _each(of_table: Table, name: str, measure: Callable[[pd.DataFrame], float]) -> Callable[[Setting], list[float]]:
    """What is read off the grid of each seed."""

    def measured(setting: Setting) -> list[float]:
        runs = of_table(name, setting)
        return [chapter09.told(measure, runs[runs["seed"] == seed]) for seed in setting.seeds]

    return measured


def _levels(seeds: Sequence[int], smallest: float) -> dict[str, Level]:
    return {scale: Level(many, smallest) for scale, many in zip(SCALES, seeds, strict=True)}


def _fewer_trials(name: str) -> Claim:
    """The claim that decoupled decay needs fewer trials.

    In reinforcement learning it can decide little: 5 percent of the best is less than single runs vary, so whose cell
    had the luckiest run sets the level, and the other coupling is often cut at MOST. Expect an interval of several
    doublings there. An inconclusive verdict says that these seeds cannot tell, not that the couplings are alike.
    """
    return Claim(
        f"fewer-trials-in-{name}",
        f"Over the grid of {name}, random search under decoupled decay comes within 5 percent of the best of both with "
        "fewer trials than under an l2 penalty: l2 needs at least 1.4 times as many.",
        PAPER,
        "doublings of the budget that l2 needs over decoupled decay (log2)",
        _each(table, name, doublings),
        "the column of the smallest lambda, where there is hardly any decay to tune",
        _each(table, name, lambda runs: doublings(weakest(runs))),
        _levels(GRIDS[name].seeds, 0.5),
    )


def _l2_moves(name: str) -> Claim:
    return Claim(
        f"l2-moves-in-{name}",
        f"Over the grid of {name}, the best lambda of l2 moves further when lr changes than that of decoupled decay in "
        "the AdamW paper's units, lr lambda: by over a quarter of a power of ten for each power of ten of lr.",
        HUTTER.format("decoupled decay makes the choice of lambda independent of lr"),
        "powers of ten that the best lambda moves a power of ten of lr, l2 minus decoupled",
        _each(table, name, stiffness),
        "both over lambda, as PyTorch has it: if the gain is one of units it is gone",
        _each(table, name, stiffness_of_one_label),
        _levels(GRIDS[name].seeds, 0.25),
    )


def _relabelling(id: str, name: str, source: str) -> Claim:
    return Claim(
        id,
        f"Under {name} with an l2 penalty the good basin is a diagonal: among the best third of the cells log lr and "
        "log lambda are correlated below -0.4.",
        source,
        "minus the correlation of log lr and log lambda",
        _each(descended, name, slant),
        "over lr lambda, at the products that every lr has, and whichever way: the diagonal must be gone",
        _each(descended, name, still_slanted),
        _levels((2, 10, 10, 10), 0.4),
    )


SLOPED = ("vision", "translation")
"""The grids with learning rates enough for a slope; reinforcement learning has two, half a power of ten apart."""

CLAIMS = (
    *(_fewer_trials(name) for name in GRIDS),
    *(_l2_moves(name) for name in SLOPED),
    _relabelling(
        "sgd-basin-is-diagonal",
        "plain SGD",
        HUTTER.format("under SGD the two are coupled, and Prop. 1: a new label takes the coupling away"),
    ),
    _relabelling(
        "momentum-basin-is-diagonal",
        "SGD with momentum",
        "ours, beyond Prop. 1 of Loshchilov and Hutter 2019: there l2 goes through the buffer of momentum",
    ),
)
COUPLINGS = tuple(name for name in chapter08.STRENGTHS if name != NONE)
"""The couplings that have a lambda to tune."""
