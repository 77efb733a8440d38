"""A grid of learning rates and lambdas under several couplings: its cells, the best of them, the good basin around."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from wdlab.checks import known
from wdlab.decay import Decay
from wdlab.run import Run
from wdlab.sweeps import Results
from wdlab.train import History

NEAR = 0.05
"""How far below the best of all a cell of the good basin may lie, in units of the score."""
WORD_CHANCE = "word_chance"
"""The chance a net gives to each word of a true translation, as a geometric mean: for texts too long to get right."""
NONE = "none"
"""What a run without decay is called among couplings."""


def grid(base: Run, strengths: Mapping[str, Sequence[float]], lrs: Sequence[float], seeds: Sequence[int]) -> list[Run]:
    """Return `base` once a seed, coupling, lambda of that coupling, and lr; "none" among couplings is no decay.

    All else is `base`'s own, so that any two runs of a seed, a coupling and a lambda differ in nothing but lr, and so
    on.
    """
    decays = [
        Decay() if name == NONE else Decay(strength, coupling=name)
        for name, some in strengths.items()
        for strength in some
    ]
    return [
        replace(base, seed=seed, decay=decay, optimizer=replace(base.optimizer, lr=lr))
        for seed in seeds
        for decay in decays
        for lr in lrs
    ]


def tabulate(results: Results, metric: str = "test_accuracy", during: tuple[float, float] = (0.0, 1.0)) -> pd.DataFrame:
    """Return one row a run: coupling, lr, weight_decay, seed, score, diverged_at, decay_share, objective_step.

    `score` is the last reading of `metric`: a column of `Results.table` of which more is better, or WORD_CHANCE,
    exp(-test_loss). A run that diverged answers nothing any more: its score is 0 and it counts in every mean.
    `decay_share` and `objective_step` are read in the part `during` of the run. Raises ValueError for an unknown
    metric.
    """
    table = results.table.assign(**{WORD_CHANCE: np.exp(-results.table["test_loss"])})
    known("metric", metric, table.columns)
    found = table[["coupling", "lr", "weight_decay", "seed"]].copy()
    found["diverged_at"] = pd.to_numeric(table["diverged_at"])
    found["coupling"] = found["coupling"].where(found["weight_decay"] > 0, NONE)
    found["score"] = table[metric].where(table["diverged_at"].isna(), 0.0)
    found["decay_share"] = [decay_share(history, during) for history in results.histories]
    found["objective_step"] = [objective_step(history, during) for history in results.histories]
    return found


def decay_share(history: History, during: tuple[float, float] = (0.0, 1.0)) -> float:
    """Return which share of a step was decay's, decay / (decay + objective): a mean over the readings in `during`.

    The two are the lengths of the parts of a step (`History`); `during` = (a, b) are the steps above a and up to b of
    the run. NaN where the run diverged before the first of these readings.
    """
    shares = [decay / (decay + rest) for decay, rest in _parts(history, during) if decay + rest > 0]
    return float(np.mean(shares)) if shares else math.nan


def objective_step(history: History, during: tuple[float, float] = (0.0, 1.0)) -> float:
    """Return how far a step moves the weights for the gradient of the loss: a mean over the readings in `during`.

    NaN where the run diverged before the first of these readings.
    """
    lengths = [length for _, length in _parts(history, during) if math.isfinite(length)]
    return float(np.mean(lengths)) if lengths else math.nan


def _parts(history: History, during: tuple[float, float]) -> list[tuple[float, float]]:
    """The lengths (decay, objective) of the parts of a step at the readings in `during`."""
    first, last = (share * history.run.steps for share in during)
    parts = zip(history.steps, history.curves["decay_step"], history.curves["objective_step"], strict=True)
    return [(decay, rest) for step, decay, rest in parts if first < step <= last]


def cells(runs: pd.DataFrame, near: float = NEAR) -> pd.DataFrame:
    """Return one row a cell of the table `runs`: coupling, lr, weight_decay, and means over seeds.

    `score` and `decay_share` are the means, `seeds` how many, `diverged` how many of them diverged and `diverged_at`
    the first step at which one did; a share or a score that one seed does not have, the cell does not have. A cell
    is `good` when its score is within `near` of the best of all cells in `runs`, whatever their coupling: measured
    against its own best, a coupling that is good nowhere would look easiest to tune.
    """
    told = runs.groupby(["coupling", "lr", "weight_decay"], sort=False).agg(
        score=("score", lambda scores: scores.mean(skipna=False)),
        decay_share=("decay_share", lambda shares: shares.mean(skipna=False)),
        seeds=("seed", "count"),
        diverged=("diverged_at", "count"),
        diverged_at=("diverged_at", "min"),
    )
    found = told.reset_index()
    reached = found["score"] >= found["score"].max() - near
    return found.assign(good=reached & (found["diverged"] < found["seeds"]))


def good_shares(runs: pd.DataFrame, near: float = NEAR) -> dict[str, float]:
    """Return by coupling which share of its cells lies in the good basin (see `cells`)."""
    found = cells(runs, near).groupby("coupling", sort=False)["good"].mean()
    return {str(coupling): float(share) for coupling, share in found.items()}


def best_strengths(runs: pd.DataFrame) -> dict[float, float]:
    """Return by lr the lambda of the best cell of `runs`, all of one coupling; of several the smallest.

    An lr at which no cell has a score has no best.
    """
    ordered = cells(runs).dropna(subset="score").sort_values(["lr", "weight_decay"])
    rows = ordered.loc[ordered.groupby("lr")["score"].idxmax()]
    return dict(zip(rows["lr"].tolist(), rows["weight_decay"].tolist(), strict=True))


def decades_moved(runs: pd.DataFrame) -> float:
    """Return by how many powers of ten the best lambda rises from the smallest lr to the largest; below 0 it falls.

    NaN where one of the two has no best.
    """
    found = best_strengths(runs)
    least, most = (found.get(float(lr), math.nan) for lr in (runs["lr"].min(), runs["lr"].max()))
    return math.log10(most / least)


def of(runs: pd.DataFrame, coupling: str) -> pd.DataFrame:
    """Return the runs of one coupling; raises ValueError when there are none."""
    known("coupling", coupling, dict.fromkeys(runs["coupling"]))
    return runs[runs["coupling"] == coupling]
