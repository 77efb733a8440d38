"""Exercises of notebook 10: easier to tune."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from wdlab.exercises.draws import between, distinct, pick, row, whole
from wdlab.exercises.harness import Attempt, Case, Exercise, Function, check, check_value
from wdlab.exercises.report import Report
from wdlab.figures import Drawn, lines

GOOD, SURE = 1 / 6, 0.95
"""The share of a grid that is good, and how sure a random search is to be of meeting it."""


def check_enough(trials: object) -> Report:
    """Check the number of random trials of which, with a chance of 95%, at least one lies in a sixth of the grid."""
    return check_value(ENOUGH, trials)


def check_expected_best(expected_best: object) -> Report:
    """Check `expected_best(scores, trials)`: of the best of some random trials, each drawn from all cells alike.

    `scores` has one number a cell, in no order; a cell may be drawn again.
    """
    return check(EXPECTED_BEST, expected_best)


def check_width(width: object) -> Report:
    """Check `width(scores, near)`: which share of a coupling's cells is within a share `near` of the best of all.

    scores[coupling, seed, cell]; "of all" is of all couplings with the same seed. It returns the mean over seeds, one
    number a coupling.
    """
    return check(WIDTH, width)


def check_other_label(other_label: object) -> Report:
    """Check `other_label(lr, weight_decay, to_product)`: lambda under the other label of plain SGD.

    With `to_product` from PyTorch's lambda, of which w loses lr lambda in a step, to the AdamW paper's, of which it
    loses lambda; without it the way back.
    """
    return check(OTHER_LABEL, other_label)


# How many trials are enough


def _constant(value: float) -> Function:
    return lambda: value


_NEEDED = math.log(1 - SURE) / math.log(1 - GOOD)


def _draw_chance(found: Attempt) -> Drawn:
    """The chance that at least one trial is good, up to the learner's number of trials, beside the one asked for."""
    yours = float((found.given or found.expected)[0])
    up_to = range(min(max(math.ceil(yours), 1), 60) + 1)
    chances = {f"up to {yours:.4g} trials": [1 - (1 - GOOD) ** k for k in up_to], "asked for": [SURE] * len(up_to)}
    return lines(chances, "Yours should just reach the other", "random trials", "chance of a good one")


ENOUGH = Exercise(
    title="Enough trials",
    returns=("trials",),
    reference=_constant(float(math.ceil(_NEEDED))),
    cases=({},),
    mistakes={
        "so many give one good trial on average: some searches have two, and some none": _constant(1 / GOOD),
        "one too few: the chance there is just below 95%": _constant(float(math.floor(_NEEDED))),
        "a whole number is wanted, the first that is enough": _constant(_NEEDED),
        "the two shares are in each other's place": _constant(float(math.ceil(math.log(GOOD) / math.log(SURE)))),
    },
    draw=_draw_chance,
)


# The expected best


def _best(shift: float = 0.0, lowest: bool = False, power: float = 1.0, unsorted: bool = False) -> Function:
    """Order statistics, with something wrong if asked: ranks off by `shift`, the worst, another power, no sorting."""

    def expected(scores: Tensor, trials: int) -> Tensor:
        ranked = scores if unsorted else scores.sort(descending=lowest).values
        rank = torch.arange(1, len(scores) + 1, dtype=torch.float64)
        k = trials * power
        chance = ((rank - shift) / len(scores)).clamp(min=0) ** k - ((rank - 1 - shift) / len(scores)).clamp(min=0) ** k
        return (ranked * chance).sum()

    return expected


def _without(scores: Tensor, trials: int) -> Tensor:
    """The same where no cell is drawn twice."""
    ranked, drawn = scores.sort().values, min(trials, len(scores))
    total = math.comb(len(scores), drawn)
    chance = torch.tensor([math.comb(i, drawn - 1) / total for i in range(len(scores))], dtype=torch.float64)
    return (ranked * chance).sum()


def _scores(trials: int, *scores: float) -> Case:
    return {"scores": row(*scores), "trials": trials}


EXPECTED_BEST = Exercise(
    title="The expected best of k trials",
    returns=("expected",),
    reference=_best(),
    cases=[_scores(1, 0.6, 0.2), _scores(2, 0.6, 0.2), _scores(2, 0.3, 0.9, 0.5), _scores(9, 0.4, 0.1, 0.8, 0.7)],
    drawn=lambda draw: {"scores": distinct(draw, whole(draw, 4, 8)), "trials": whole(draw, 2, 9)},
    mistakes={
        "the cells are ranked first: scores come in no order": _best(unsorted=True),
        "this is the expected worst: rank from the lowest score up": _best(lowest=True),
        "here a cell may be drawn again: these are the chances without that": _without,
        "the ranks are one off: at most the i-th lowest has chance (i/n)^k, counted from 1": _best(shift=1.0),
        "the mean is what one trial gives, however many there are": lambda scores, trials: scores.mean(),
        "the best of all is what only very many trials are sure of": lambda scores, trials: scores.max(),
        "the mean of the best k cells is not the mean of the best of k": (
            lambda scores, trials: scores.sort(descending=True).values[:trials].mean()
        ),
    },
)


# How wide the good part is


def _share(own: bool = False, points: bool = False, pooled: bool = False, together: bool = False) -> Function:
    def share(scores: Tensor, near: float) -> Tensor:
        x = scores.mean(1, keepdim=True) if pooled else scores
        best = x.amax(2, keepdim=True) if own else x.amax((0, 2), keepdim=True)
        best = x.amax() if together else best
        good = x >= (best - near if points else (1 - near) * best)
        return good.to(torch.float64).mean((1, 2))

    return share


def _grid(*couplings: list[list[float]], near: float = 0.05) -> Case:
    return {"scores": torch.tensor(couplings, dtype=torch.float64), "near": near}


def _drawn_grids(draw: Generator) -> Case:
    """With one of these shares of a best in whole hundredths, the level is none, so no cell is at the border."""
    scores = torch.randint(20, 96, (2, 2, 3), generator=draw).to(torch.float64) / 100
    return {"scores": scores, "near": pick(draw, 0.03, 0.07, 0.11, 0.19, 0.31)}


WIDTH = Exercise(
    title="How wide is the good part?",
    returns=("share",),
    reference=_share(),
    cases=[
        _grid([[0.4, 0.37]], [[0.39, 0.2]]),
        _grid([[0.90, 0.70], [0.60, 0.58]], [[0.80, 0.86], [0.54, 0.60]]),
        _grid([[0.5, 0.48, 0.47, 0.2], [0.9, 0.87, 0.84, 0.3]], [[0.2, 0.2, 0.2, 0.19], [0.7, 0.7, 0.69, 0.71]]),
        _grid([[2.0, 1.9, 1.7, 1.5]], [[1.6, 1.8, 1.81, 1.0]], near=0.1),
    ],
    drawn=_drawn_grids,
    mistakes={
        "measured against its own best, a coupling that is good nowhere has the widest good part": _share(own=True),
        "a share of the best, not points: the level is (1 - near) times the best": _share(points=True),
        "first the share of each seed, then their mean: a mean of scores hides what single seeds do": (
            _share(pooled=True)
        ),
        "each seed has a best of its own: an easy seed is no reason to call the others bad": _share(together=True),
    },
)


# The other label


def _times(power: float, both: bool = True) -> Function:
    """Return lambda lr^power one way, and back by its inverse; without `both` the same factor either way."""

    def moved(lr: float, weight_decay: float, to_product: bool) -> float:
        return float(weight_decay * lr ** (power if to_product or not both else -power))

    return moved


OTHER_LABEL = Exercise(
    title="The other label",
    returns=("weight_decay",),
    reference=_times(1),
    cases=[
        {"lr": lr, "weight_decay": strength, "to_product": to_product}
        for to_product in (True, False)
        for lr, strength in ((0.1, 0.01), (0.5, 0.02), (1.0, 0.3))
    ],
    drawn=lambda draw: {
        "lr": between(draw, 0.05, 0.9),
        "weight_decay": between(draw, 0.01, 0.9),
        "to_product": pick(draw, True, False),
    },
    mistakes={
        "the wrong way round: the AdamW paper's lambda is the product": _times(-1),
        "the way back divides by what the way there multiplied": _times(1, both=False),
        "a label that changes nothing would make both grids the same picture": _times(0),
        "lr enters once: the step multiplies lambda w by it one time": _times(2),
    },
)

EXERCISES = (ENOUGH, EXPECTED_BEST, WIDTH, OTHER_LABEL)
