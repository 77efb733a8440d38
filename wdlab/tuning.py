"""What a tuning budget buys: the expected best of k random trials over a grid, and where its good cells lie."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy.special import comb

from wdlab.checks import number, whole
from wdlab.grids import cells

PERCENT = 0.05
"""How far below the best of all a score may lie to count as good, as a share of the best."""
MOST = 64
"""The largest budget that is looked at; who needs more trials is said to need more than that."""
THIRD = 1 / 3
"""Which share of the cells counts as the best ones, among which lr and lambda are correlated."""


def expected_best(
    scores: Sequence[float], trials: int, replace: bool = True, paid: Sequence[float] | None = None
) -> float:
    """Return the expected best score of `trials` cells drawn at random from a grid with these `scores`.

    Exact, by order statistics: of n cells, m have at most the score s, and the best of k draws is at most s with
    probability (m/n)^k, or C(m, k) / C(n, k) where no cell is drawn twice (from k = n on, the best of all is certain).
    With `paid` the best of the draws is chosen by `scores`, and what it pays is taken from there: its score with a new
    seed, say. Cells that tie are chosen with equal chances. Raises ValueError for no scores, for one that is not
    finite, for `paid` of another length, and for fewer than one trial.

    >>> expected_best([0.0, 1.0], 1), expected_best([0.0, 1.0], 2), expected_best([0.0, 1.0], 2, replace=False)
    (0.5, 0.75, 1.0)
    """
    whole("trials", trials, 1)
    x = np.array([number("scores", score) for score in scores])
    if not len(x) or (paid is not None and len(paid) != len(x)):
        raise ValueError(f"scores={list(scores)!r:.80} is not allowed; give one score a cell, and one of `paid` each.")
    levels, place, count = np.unique(x, return_inverse=True, return_counts=True)
    chances = np.diff(_at_most(np.cumsum(count), len(x), trials, replace), prepend=0.0)
    worth = levels if paid is None else np.bincount(place, np.asarray(paid, dtype=float)) / count
    return float(chances @ worth)


def _at_most(below: np.ndarray, size: int, trials: int, replace: bool) -> np.ndarray:
    """The chance that the best of the draws is one of the `below` lowest cells of `size`."""
    if replace:
        found: np.ndarray = (below / size) ** trials
        return found
    drawn = min(trials, size)
    without: np.ndarray = comb(below, drawn) / comb(size, drawn)
    return without


def search(runs: pd.DataFrame, budgets: Iterable[int] = range(1, MOST + 1), near: float = PERCENT) -> pd.DataFrame:
    """Return one row a coupling, seed and budget: coupling, seed, trials, best, again, level.

    `runs` is a table of `wdlab.grids.tabulate`. `best` is the expected best score of so many random trials with that
    seed, drawn with replacement from the coupling's cells. `again` is what the cell that was chosen then scores with
    the other seeds, their mean: a best score is also a lucky one. NaN where there is one seed. `level` is what comes
    within `near`, as a share, of the best score of all couplings with that seed.
    """
    rows, several = [], list(budgets)
    level = {int(seed): (1 - near) * runs.loc[runs["seed"] == seed, "score"].max() for seed in runs["seed"].unique()}
    for coupling, part in runs.groupby("coupling", sort=False):
        scores = part.pivot(index=["lr", "weight_decay"], columns="seed", values="score")
        for seed in level:
            own, others = scores[seed].tolist(), scores.drop(columns=seed).mean(axis=1).tolist()
            for k in several:
                best, again = expected_best(own, k), expected_best(own, k, paid=others)
                row = {"coupling": coupling, "seed": seed, "trials": k, "best": best, "again": again}
                rows.append(row | {"level": level[seed]})
    return pd.DataFrame(rows)


def trials_needed(searched: pd.DataFrame) -> pd.DataFrame:
    """Return one row a coupling and seed of a table of `search`: coupling, seed, trials.

    `trials` is the smallest budget whose expected best reaches the level, infinite where none of them does.
    """
    reached = searched["trials"].where(searched["best"] >= searched["level"], math.inf)
    return reached.groupby([searched["coupling"], searched["seed"]], sort=False).min().reset_index()


def trials_needed_elsewhere(searched: pd.DataFrame, near: float = PERCENT) -> pd.DataFrame:
    """Return `trials_needed` without the luck of the draw: a cell is chosen with one seed and judged with the others.

    `trials` is the smallest budget whose `again` comes within `near`, as a share, of the most that any budget of any
    coupling brings with those other seeds. All seeds have nearly the same judges, so an interval over seeds leaves out
    most of the chance in the judges and is too narrow. NaN where there is one seed.
    """
    level = (1 - near) * searched.groupby("seed")["again"].transform("max")
    reached = searched["trials"].where(searched["again"] >= level, math.inf).where(searched["again"].notna())
    return reached.groupby([searched["coupling"], searched["seed"]], sort=False).min().reset_index()


def widths(runs: pd.DataFrame, near: float = PERCENT) -> pd.DataFrame:
    """Return one row a coupling and seed: which `share` of the coupling's cells is within `near` of the best of all.

    `near` is a share of the best score of that seed, whatever its coupling. A cell that diverged is not good.
    """
    rows = []
    for seed, part in runs.groupby("seed"):
        good = cells(part, near * part["score"].max()).groupby("coupling", sort=False)["good"].mean()
        rows += [{"coupling": coupling, "seed": seed, "share": share} for coupling, share in good.items()]
    return pd.DataFrame(rows)


def over_the_product(runs: pd.DataFrame) -> pd.DataFrame:
    """Return `runs` with lr lambda, the share of w that plain decay takes in a step, in the place of lambda.

    It is the lambda of the paper that named AdamW (Loshchilov and Hutter 2019), in which lr is no factor of the decay.
    """
    products = runs["lr"] * runs["weight_decay"]
    return runs.assign(weight_decay=[float(f"{one:.6g}") for one in products])  # equal products are equal numbers


def middles(runs: pd.DataFrame, near: float = PERCENT) -> dict[float, float]:
    """Return by lr where its best lambdas lie: the mean log10 lambda of the cells within `near` of the best of that lr.

    `runs` are all of one coupling; where lambda hardly matters the best one is any, and this is the middle of them. A
    learning rate that fails whatever lambda, with less than half of the best score of all, has none and is left out.
    """
    found = cells(runs)
    best = found.groupby("lr")["score"].transform("max")
    good = found[(found["score"] >= (1 - near) * best) & (best >= found["score"].max() / 2)]
    middle = np.log10(good["weight_decay"]).groupby(good["lr"]).mean()
    return {float(lr): float(value) for lr, value in zip(middle.index, middle, strict=True)}


def moved(runs: pd.DataFrame, near: float = PERCENT) -> float:
    """Return by how many powers of ten the best lambda of `runs` rises when lr becomes ten times as large.

    The least-squares slope of `middles` over log10 lr: of a basin that lies inside the grid 0 where it lies along an
    axis, -1 where lr lambda is what counts. The grid's window pulls it to its own middle: where a basin is cut off it
    is nearer to 0, and where lambda does not matter at all 0 over lambda and +1 over lr lambda, for there the window
    moves with lr. NaN where fewer than two learning rates have a best lambda. Our statistic.
    """
    found = middles(runs, near)
    if len(found) < 2:
        return math.nan
    return float(np.polyfit(np.log10(list(found)), list(found.values()), 1)[0])


def rectangle(runs: pd.DataFrame) -> pd.DataFrame:
    """Return those of `runs`, of one coupling, whose lambda every lr has: over lr lambda the rows of a grid overlap."""
    every = runs.groupby("weight_decay")["lr"].nunique() == runs["lr"].nunique()
    return runs[runs["weight_decay"].map(every)]


def correlation(runs: pd.DataFrame, share: float = THIRD) -> float:
    """Return the correlation of log lr and log lambda over the best `share` of the `rectangle` of `runs`.

    `runs` are all of one coupling. -1 is a basin along a diagonal on which lr lambda^c is constant for some c > 0, and
    0 one along an axis. Scores that are noise give 0 on average under either label; without the rectangle the cells
    over lr lambda are a diagonal themselves. NaN where the best cells have one lr or one lambda. Our statistic for what
    Loshchilov and Hutter (2019) show as heat maps.
    """
    full = cells(rectangle(runs))
    found = full.nlargest(math.ceil(share * len(full)), "score")
    x, y = np.log10(found["lr"]), np.log10(found["weight_decay"])
    return float(np.corrcoef(x, y)[0, 1]) if x.nunique() > 1 and y.nunique() > 1 else math.nan
