"""Exercises of notebook 08: decoupled decay in translation."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from wdlab.exercises.draws import between, distinct, pick, whole
from wdlab.exercises.harness import Case, Exercise, Function, check
from wdlab.exercises.report import Report

PAD, START, END = 0, 1, 2


def check_greedy(greedy: object) -> Report:
    """Check `greedy(table)`: decoding where each word depends on the word before alone.

    table[i, j] is the score of word j after word i. The sentence begins after START (1) and ends with END (2); what is
    returned are as many words as the table has rows, END among them and PAD (0) after it.
    """
    return check(GREEDY, greedy)


def check_new_lambda(new_lambda: object) -> Report:
    """Check `new_lambda(weight_decay, lr, new_lr, scaled_by_lr)`: the lambda of equal decay at another lr.

    Equal decay is the same share of w lost in a step. `scaled_by_lr` is True where w loses lr lambda w in a step, as in
    PyTorch, and False where it loses lambda w, whatever lr.
    """
    return check(NEW_LAMBDA, new_lambda)


def check_good_share(good_share: object) -> Report:
    """Check `good_share(scores, near)`: which share of a coupling's cells is within `near` of the best of all.

    scores[coupling, lr, lambda] is NaN where a run diverged. It returns one share a coupling; what diverged is a cell
    that is not good.
    """
    return check(GOOD_SHARE, good_share)


# Greedy decoding


def _follow(
    kept: bool = True, first: int = START, ends: bool = True, least: bool = False, filler: int = PAD
) -> Function:
    """Decode, with something wrong if asked: END left out, another first word, no end, the worst word, no PAD."""

    def decode(table: Tensor) -> Tensor:
        word, found = first, torch.full((len(table),), float(filler), dtype=torch.float64)
        for place in range(len(table)):
            word = int((table[word].argmin() if least else table[word].argmax()).item())
            found[place] = word if kept or word != END else PAD
            if word == END and ends:
                break
        return found

    return decode


def _one_shot(table: Tensor) -> Tensor:
    """The best word after each word, as if the sentence were the table read from top to bottom."""
    return table.argmax(1).to(torch.float64)


def _leading(*words: int, size: int = 4) -> Case:
    """A table in which each of `words` is the best one after the word before, and END after the last."""
    table = torch.tensor([0.1, 0.3, 0.2, 0.4, 0.0], dtype=torch.float64)[:size].repeat(size, 1)
    for before, word in zip((START, *words), (*words, END), strict=True):
        table[before, word] = 1.0
    return {"table": table}


def _drawn_table(draw: Generator) -> Case:
    """One word is best after each, and it is neither PAD nor START, which no sentence holds before its END."""
    size = whole(draw, 4, 6)
    low, high = distinct(draw, 2 * size, of=50), 0.5 + distinct(draw, size * (size - 2), of=50)
    return {"table": torch.cat([low.reshape(size, 2), high.reshape(size, size - 2)], 1)}


def _endless() -> Case:
    table = torch.zeros(4, 4, dtype=torch.float64)
    table[START, 3] = table[3, 3] = 1.0
    return {"table": table}


GREEDY = Exercise(
    title="Greedy decoding",
    returns=("words",),
    reference=_follow(),
    cases=[_leading(3), _leading(), _endless(), _leading(3, 4, size=5), _leading(4, 3, size=5)],
    drawn=_drawn_table,
    mistakes={
        "END belongs to the sentence: keep it": _follow(kept=False),
        "the sentence begins after START, which is word 1": _follow(first=PAD),
        "each word depends on the word chosen before it, not on its place": _one_shot,
        "it must stop at END: after it comes PAD, word 0": _follow(ends=False),
        "what follows END is PAD, word 0": _follow(filler=END),
        "the most likely word has the largest score": _follow(least=True),
    },
)


# The lambda of equal decay


def _by(power: float, always: bool = False) -> Function:
    def moved(weight_decay: float, lr: float, new_lr: float, scaled_by_lr: bool) -> float:
        return weight_decay * (new_lr / lr) ** power if scaled_by_lr or always else weight_decay

    return moved


NEW_LAMBDA = Exercise(
    title="The same decay at another learning rate",
    returns=("weight_decay",),
    reference=_by(-1),
    cases=[
        {"weight_decay": 0.3, "lr": lr, "new_lr": new, "scaled_by_lr": scaled}
        for scaled in (True, False)
        for lr, new in ((0.01, 0.02), (0.01, 0.001), (0.01, 0.01))
    ],
    drawn=lambda draw: {
        "weight_decay": between(draw, 0.05, 0.9),
        "lr": between(draw, 0.005, 0.1, 3),
        "new_lr": between(draw, 0.005, 0.1, 3),
        "scaled_by_lr": pick(draw, True, False),
    },
    mistakes={
        "the wrong way round: a larger lr decays more already": _by(1),
        "nothing changes only where lr is no factor of the decay": _by(0),
        "where lr is no factor of the decay, lambda stays": _by(-1, always=True),
        "the square root is for noise: the share lost is lr lambda": _by(-0.5),
        "the other way about: with the factor lr lambda must change, without it it stays": (
            lambda weight_decay, lr, new_lr, scaled_by_lr: weight_decay if scaled_by_lr else weight_decay * lr / new_lr
        ),
    },
)


# The good basin


def _share(own: bool = False, dropped: bool = False, relative: bool = False, summed: bool = False) -> Function:
    def share(scores: Tensor, near: float) -> Tensor:
        known = scores.nan_to_num(-math.inf)
        best = known.amax((1, 2), keepdim=True) if own else known.amax()
        good = known >= (best * (1 - near) if relative else best - near)
        total = (~scores.isnan()).sum((1, 2)) if dropped else scores[0].numel()
        return good.sum((1, 2)) if summed else good.sum((1, 2)) / total

    return share


def _scores(*couplings: list[list[float]], near: float = 0.05) -> Case:
    return {"scores": torch.tensor(couplings, dtype=torch.float64), "near": near}


def _drawn_grids(draw: Generator) -> Case:
    """Scores are hundredths and `near` lies between two, so that no cell is at the border; a few runs diverge."""
    scores = torch.randint(20, 96, (2, 2, 3), generator=draw).to(torch.float64) / 100
    scores[:, 1, whole(draw, 0, 2)] = math.nan
    return {"scores": scores, "near": whole(draw, 2, 30) / 100 + 0.005}


GOOD_SHARE = Exercise(
    title="How wide is the good basin?",
    returns=("share",),
    reference=_share(),
    cases=[
        _scores([[0.9, 0.7]]),
        _scores([[0.91, 0.5], [0.88, 0.87]], [[0.6, 0.6], [0.57, 0.6]]),
        _scores([[0.90, math.nan], [0.87, 0.2]], [[0.852, 0.86], [0.3, math.nan]]),
        _scores([[0.40, 0.36], [0.355, 0.1]], [[0.375, 0.1], [0.2, 0.37]]),
        _scores([[0.90, 0.82], [0.68, 0.3]], [[0.8, 0.76], [0.72, 0.6]], near=0.15),
    ],
    drawn=_drawn_grids,
    mistakes={
        "measured against its own best, a coupling that is good nowhere has the widest basin": _share(own=True),
        "cells that diverged are left out of the total: tuning meets them too": _share(dropped=True),
        "5 points, not 5 percent of the best": _share(relative=True),
        "a share, not a number of cells": _share(summed=True),
    },
)

EXERCISES = (GREEDY, NEW_LAMBDA, GOOD_SHARE)
