"""Claims of chapter 08: couplings of weight decay over a grid of learning rates and lambdas, in translation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd

from wdlab.claims.claim import SCALES, Claim, Level, Measure, Setting
from wdlab.decay import COUPLINGS
from wdlab.grids import NEAR, NONE, WORD_CHANCE, cells, good_shares, grid, of, tabulate
from wdlab.run import Model, Optimizer, Run, Schedule
from wdlab.sweeps import Results, sweep
from wdlab.tasks import IWSLT, TASKS, TRANSLATIONS, Translation, bleu

PAPER = "after Bjorck et al. 2021 ({}); task, network, measure and threshold are ours"
EPS = 1e-4
"""One eps for all couplings. Adaptive decay is divided by sqrt(v) + eps and overshoots zero where lr lambda is above
twice that. With this eps it may do so in one cell of the grid alone, that of the largest lr and lambda."""
LAMBDAS = (1e-5, 1e-4, 1e-3, 1e-2)
STRENGTHS: dict[str, tuple[float, ...]] = {
    NONE: (0.0,),
    "l2": LAMBDAS,
    "decoupled": (0.01, 0.1, 1.0, 10.0),
    "adaptive": LAMBDAS,
}
"""As many powers of ten for each coupling; on seeds from 10,000 on the best of each is the third."""
ALL = {**STRENGTHS, **dict.fromkeys(("first_moment", "second_moment", "own_buffers"), LAMBDAS)}
EVERY: dict[str, tuple[float, ...]] = {name: ALL[name] for name in (NONE, *COUPLINGS)}
"""The same for every coupling there is."""
RATES = {"ci": (0.003, 0.01), "demo": (0.003, 0.01, 0.03), "paper": (1.5e-4, 5e-4, 1.5e-3)}
"""Learning rates by scale, on both sides of the best; "gpu" has those of "demo"."""
HALF = (0.0, 0.5)
"""The part of a run in which decay's share of the steps is read: while there is most to learn. Later the gradients of a
net that has learned are small, and decay has a large share that does no harm."""


def translating(scale: str) -> Run:
    """Return the run chapter 08 rests on: a small transformer on number words, at `scale` paper IWSLT'14.

    One layer on each side, 48 wide: chosen on one seed, 10,000, on which at its best it came as far as two layers of 64
    under l2 and decoupled decay. The time saved pays for seeds.
    """
    adam, cosine = Optimizer("adam", 0.01, betas=(0.9, 0.98), eps=EPS), Schedule("cosine", final=1e-3, warmup=1 / 6)
    if scale == "ci":
        little = Translation(train_size=100, test_size=60, batch_size=25)
        return Run(little, Model("transformer", 16, 1), adam, cosine, steps=40, evaluations=4)
    if scale == "paper":  # lr, climb, betas and size are those of fairseq's example; eps is ours
        climb = Schedule("inverse_sqrt", warmup=4000 / IWSLT.updates)
        return Run(IWSLT, Model("transformer", 512, 6), replace(adam, lr=5e-4), climb, evaluations=10)
    return Run(TRANSLATIONS["translation"], Model("transformer", 48, 1), adam, cosine, steps=300, evaluations=4)


def seeing(scale: str) -> Run:
    """Return the same for vision: the BatchNorm MLP on MNIST-1D under Adam, for few passes."""
    steps = (2 if scale == "ci" else 12) * TASKS["mnist1d"].epoch
    return replace(translating("demo"), task=TASKS["mnist1d"], model=Model(width=64), steps=steps)


def rates(scale: str) -> tuple[float, ...]:
    """Return the learning rates of the grid."""
    return RATES.get(scale, RATES["demo"])


def strengths(scale: str, every: bool = False) -> dict[str, tuple[float, ...]]:
    """Return the lambdas of each coupling: powers of ten, at ci scale every other one; with `every` of all there are.

    Without it of the four that the claims on scores rest on.
    """
    asked = EVERY if every else STRENGTHS
    return {name: some[1::2] if scale == "ci" and name != NONE else some for name, some in asked.items()}


def over_the_grid(base: Run, scale: str, seeds: Sequence[int], every: bool = False) -> list[Run]:
    """Return `base` once a seed and cell of the grid: between any two only seed, lr, lambda and coupling differ."""
    return grid(base, strengths(scale, every), rates(scale), seeds)


def undamped(base: Run, seed: int, eps: float = 1e-8) -> list[Run]:
    """Return `base` at Adam's usual eps, once for each coupling with the third of its lambdas."""
    small = replace(base, optimizer=replace(base.optimizer, eps=eps))
    third = {name: some[2:3] or some for name, some in STRENGTHS.items()}
    return grid(small, third, (base.optimizer.lr,), (seed,))


def trained(runs: Sequence[Run], device: str = "cpu") -> Results:
    """Return the results of `runs` with their nets, for whoever wants to hear them translate."""
    return sweep(runs, device=device, networks=True)


def bleu_of_best(results: Results, runs: pd.DataFrame, task: Translation) -> pd.DataFrame:
    """Return the best run of each seed and coupling in `runs`, with BLEU on the test pairs of `task` for its score.

    `runs` is the table of `results`, which hold their nets. A run that diverged says nothing, and scores 0.
    """
    best = runs.loc[runs.groupby(["seed", "coupling"], sort=False)["score"].idxmax()]
    histories = [results.histories[place] for place in best.index]
    nets = [h.network for h in histories if h.network is not None and h.diverged_at is None]
    said = iter(bleu(nets, task))
    return best.assign(score=[next(said) if math.isnan(at) else 0.0 for at in best["diverged_at"]])


def metric(scale: str) -> str:
    """Return what a cell is scored by: sentences right; where hardly any is, the chance given to the true words."""
    return "test_accuracy" if scale in ("demo", "gpu") else WORD_CHANCE


@lru_cache(maxsize=8)
def _table(setting: Setting) -> pd.DataFrame:
    runs = over_the_grid(translating(setting.scale), setting.scale, setting.seeds, every=True)
    return tabulate(trained(runs, setting.device), metric(setting.scale), HALF)


def _each_seed(setting: Setting) -> list[pd.DataFrame]:
    """The table of the grid, seed by seed."""
    table = _table(setting)
    return [table[table["seed"] == seed] for seed in setting.seeds]


# What is compared


def _at_best(a: str, b: str) -> Measure:
    """The best score of coupling a minus that of b, each the best of its cells."""

    def measure(setting: Setting) -> list[float]:
        best = [runs.groupby("coupling")["score"].max() for runs in _each_seed(setting)]
        return [float(one[a] - one[b]) for one in best]

    return measure


def room(runs: pd.DataFrame, a: str = "decoupled", b: str = "l2") -> float:
    """Return which share of its cells coupling a has within 5 points of the best of both, minus that of b."""
    found = good_shares(pd.concat([of(runs, a), of(runs, b)]))
    return found[a] - found[b]


def weakest(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of the smallest lambda of each coupling."""
    return runs[runs["weight_decay"] == runs.groupby("coupling")["weight_decay"].transform("min")]


def drowned(runs: pd.DataFrame, near: float = NEAR) -> pd.DataFrame:
    """Return the cells of `runs`, all of one coupling, with `role`: "best" of its lr, "drowned", or "".

    A cell is drowned when its lambda is above that of the best cell of its learning rate, and its score more than
    `near` below. So it is decay that is too strong there; a learning rate that is too small drowns nothing.
    """
    found = cells(runs).sort_values(["lr", "weight_decay"])
    best = found.loc[found.groupby("lr")["score"].idxmax()].set_index("lr")
    top, where = (found["lr"].map(best[column]) for column in ("score", "weight_decay"))
    lost = (found["weight_decay"] > where) & (found["score"] < top - near)
    role = lost.map({True: "drowned", False: ""}).where(found["weight_decay"] != where, "best")
    return found.assign(role=role)


def surplus(runs: pd.DataFrame, near: float = NEAR) -> float:
    """Return decay's share of a step in the drowned cells minus that in the best of the same lr, of one coupling.

    A mean over the learning rates that have drowned cells; NaN where none has.
    """
    each = []
    for _, cell in drowned(runs, near).groupby("lr"):
        shares = {role: part["decay_share"].mean(skipna=False) for role, part in cell.groupby("role")}
        each += [shares["drowned"] - shares["best"]] if "drowned" in shares else []
    return float(np.mean(each)) if each else math.nan


def cut(runs: pd.DataFrame, a: str = "l2", b: str = "first_moment") -> float:
    """Return by which share the objective's part of a step is shorter under coupling a than under coupling b.

    Read in the cells that l2 spoils (see `drowned`), at the same lr and lambda, as 1 minus the geometric mean of a/b.
    l2 and first_moment differ in one number: whether decay enters v as well. NaN where there is no such cell, and where
    a run diverged before its first reading.
    """
    found = drowned(of(runs, "l2"))
    rows = pd.MultiIndex.from_frame(found[found["role"] == "drowned"][["lr", "weight_decay"]])
    each = [of(runs, name).groupby(["lr", "weight_decay"])["objective_step"].mean() for name in (a, b)]
    ratios = [np.log(one / other) for one, other in zip(*(part.reindex(rows) for part in each), strict=True)]
    return 1 - math.exp(float(np.mean(ratios))) if ratios else math.nan


def _seen(of_runs: Callable[[pd.DataFrame], float], coupling: str = "") -> Measure:
    """What is read off the grid of each seed, of one coupling alone where it is named."""
    return lambda setting: [of_runs(of(runs, coupling) if coupling else runs) for runs in _each_seed(setting)]


def _levels(smallest: float) -> dict[str, Level]:
    """As many seeds at demo scale as about four minutes of two cores train over the whole grid: fixed before a look."""
    return {scale: Level(seeds, smallest) for scale, seeds in zip(SCALES, (2, 4, 10, 3), strict=True)}


CLAIMS = (
    Claim(
        "adaptive-is-not-worse",
        "Each at the best learning rate and lambda of the grid, adaptive decay is not worse than decoupled decay by 5 "
        "points or more: division by sqrt(v) is not the problem.",
        PAPER.format("adaptivity itself is not the problem"),
        "best score of adaptive decay minus best score of decoupled decay",
        _at_best("adaptive", "decoupled"),
        "no decay, at its best learning rate: it is worse, and 5 points must be fine enough to tell",
        _at_best(NONE, "decoupled"),
        _levels(-NEAR),
    ),
    Claim(
        "l2-is-harder-to-tune",
        "Over as many powers of ten of lambda and the same learning rates, decoupled decay comes within 5 points of "
        "the best of both in more cells than an l2 penalty, by over 5% of the grid.",
        PAPER.format("decoupled decay makes hyperparameters easier to tune"),
        "of the cells, by which decoupled decay has more within 5 points of the best of both",
        _seen(room),
        "the column of the smallest lambda, where there is hardly any decay to tune",
        _seen(lambda runs: room(weakest(runs))),
        _levels(0.05),
    ),
    Claim(
        "mixing-in-v-shortens-where-l2-fails",
        "Where an l2 penalty is so strong that it costs over 5 points, the objective's part of the steps in the first "
        "half of training is over 10% shorter than with the penalty in the first moment alone: what fills v drowns "
        "the objective.",
        PAPER.format("under an l2 penalty the l2 gradient can drown out the objective"),
        "share by which l2's part of the objective is shorter than first_moment's, in the cells that l2 spoils",
        _seen(cut),
        "the same cells under adaptive decay in place of l2: as first_moment's, its v hears the loss alone",
        _seen(lambda runs: cut(runs, "adaptive")),
        _levels(0.1),
    ),
)
