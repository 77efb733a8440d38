"""Exercises of notebook 06: data grow the weights."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from wdlab.exercises.draws import between, row, tenths, whole
from wdlab.exercises.harness import Attempt, Case, Exercise, Function, check, check_value
from wdlab.exercises.report import Report
from wdlab.figures.drawn import Drawn
from wdlab.figures.timing import lines
from wdlab.measures.growth import norm_from_gradients


def check_times_as_long(factor: object) -> Report:
    """Check the number by which weights end up longer when G is 2.25 times as large, far from where they started."""
    return check_value(TIMES_AS_LONG, factor)


def check_longer(longer: object) -> Report:
    """Check `longer(norm, gradient, lr)`: the norm of scale-invariant weights after one step of plain SGD.

    `gradient` is the norm of the gradient, which is at a right angle to the weights.
    """
    return check(LONGER, longer)


def check_noisy_labels(noisy: object) -> Report:
    """Check `noisy(labels, threshold, drawn, noise)`: the labels to train on.

    `threshold` holds a number in [0, 1) for each example, `drawn` a label drawn uniformly from all classes.
    """
    return check(NOISY_LABELS, noisy)


def check_wrong_share(share: object) -> Report:
    """Check `share(noise, classes)`: the share of training labels that are wrong, on average."""
    return check(WRONG_SHARE, share)


def check_predicted_norm(predicted: object) -> Report:
    """Check `predicted(start, lr, G, momentum)`: the norm at the end of a run from the first norm, lr and G."""
    return check(PREDICTED_NORM, predicted)


# One number

STEEPER = 2.25


def _constant(value: float) -> Function:
    return lambda: value


def _draw_growth(found: Attempt) -> Drawn:
    """Two walks of 2,000 steps, one under the larger G, and the shorter one times the learner's number."""
    yours = float((found.given or found.expected)[0])
    rates = torch.full((2000,), 0.1, dtype=torch.float64)
    paths = {
        label: [(2 * G**2 * (rates[:steps] ** 2).sum().item()) ** 0.25 for steps in range(1, 2001)]
        for label, G in (("G as it is", 1.0), ("the larger G", STEEPER))
    }
    times = {f"G as it is, × {yours:.4g}": [yours * norm for norm in paths["G as it is"]]}
    del paths["G as it is"]
    return lines(paths | times, "The two should be one line", "step", "norm")


TIMES_AS_LONG = Exercise(
    title="Times as long",
    returns=("factor",),
    reference=_constant(STEEPER**0.5),
    cases=({},),
    mistakes={
        "this is by how much G grew: G enters squared, and the norm is a fourth root": _constant(STEEPER),
        "the fourth root of G: inside the root stands its square": _constant(STEEPER**0.25),
        "this is by how much G² grew: the norm is the fourth root of the sum": _constant(STEEPER**2),
        "turned over: a larger G makes weights longer": _constant(STEEPER**-0.5),
        "G changes nothing here, but the data act through it alone": _constant(1.0),
    },
    draw=_draw_growth,
)


# One step

LONGER = Exercise(
    title="One step longer",
    returns=("norm",),
    reference=lambda norm, gradient, lr: math.hypot(norm, lr * gradient),
    cases=[
        {"norm": norm, "gradient": gradient, "lr": lr}
        for norm, gradient, lr in (
            (4.0, 3.0, 1.0),
            (2.0, 3.0, 0.5),
            (10.0, 0.5, 0.1),
            (3.0, 0.0, 0.1),
            (1.0, 20.0, 0.3),
        )
    ],
    drawn=lambda draw: {
        "norm": between(draw, 0.5, 9.0, 1),
        "gradient": between(draw, 0.5, 20.0, 1),
        "lr": between(draw, 0.05, 0.9),
    },
    mistakes={
        "the lengths are added: the step is at a right angle to the weights, so the squares are": (
            lambda norm, gradient, lr: norm + lr * gradient
        ),
        "the step is subtracted: it makes weights longer, whatever its sign, for it is at a right angle to them": (
            lambda norm, gradient, lr: norm - lr * gradient
        ),
        "the squares are subtracted: here the new weights are the longest side of the triangle": (
            lambda norm, gradient, lr: math.sqrt(abs(norm**2 - (lr * gradient) ** 2))
        ),
        "the square of the norm is returned: take the root": lambda norm, gradient, lr: norm**2 + (lr * gradient) ** 2,
        "lr is not squared: the side of the triangle is lr times the gradient": (
            lambda norm, gradient, lr: math.sqrt(norm**2 + lr * gradient**2)
        ),
        "lr is forgotten: the step is lr times the gradient": lambda norm, gradient, lr: math.hypot(norm, gradient),
        "the gradient is not squared": lambda norm, gradient, lr: math.sqrt(norm**2 + lr**2 * gradient),
        "the norm stays: a right angle keeps the length only to first order": lambda norm, gradient, lr: norm,
    },
)


# Label noise


def _noisy(labels: Tensor, threshold: Tensor, drawn: Tensor, noise: float) -> Tensor:
    return torch.where(threshold < noise, drawn, labels)


def _labels(labels: list[int], threshold: list[float], drawn: list[int], noise: float) -> Case:
    return {
        "labels": torch.tensor(labels),
        "threshold": torch.tensor(threshold, dtype=torch.float64),
        "drawn": torch.tensor(drawn),
        "noise": noise,
    }


def _drawn_labels(draw: Generator) -> Case:
    """Thresholds lie between hundredths and the noise on one, so that none is at the border."""
    count = whole(draw, 3, 8)
    labels, drawn = (torch.randint(3, (count,), generator=draw) for _ in range(2))
    threshold = (torch.randint(100, (count,), generator=draw).to(torch.float64) * 10 + 5) / 1000
    noise = between(draw, 0.1, 0.9)
    return {"labels": labels, "threshold": threshold, "drawn": drawn, "noise": noise}


def _other_label(labels: Tensor, drawn: Tensor) -> Tensor:
    return torch.where(drawn == labels, (labels + 1) % 3, drawn)


def _first(labels: Tensor, noise: float) -> Tensor:
    return torch.arange(len(labels)) < noise * len(labels)


NOISY_LABELS = Exercise(
    title="Labels with noise",
    returns=("labels",),
    reference=_noisy,
    cases=[
        _labels([2, 1], [0.1, 0.9], [0, 2], 0.5),
        _labels([2, 1], [0.1, 0.9], [0, 0], 1.0),
        _labels([1, 2], [0.1, 0.9], [2, 0], 0.0),
        _labels([0, 1, 2, 1], [0.7, 0.2, 0.4, 0.9], [2, 1, 0, 0], 0.5),
        _labels([2, 0, 1, 2], [0.8, 0.6, 0.1, 0.3], [1, 0, 2, 0], 0.25),
    ],
    drawn=_drawn_labels,
    mistakes={
        "the wrong way round: labels whose threshold lies above the noise are replaced": (
            lambda labels, threshold, drawn, noise: torch.where(threshold < noise, labels, drawn)
        ),
        "the share that stays is replaced: compare with noise, not with 1 - noise": (
            lambda labels, threshold, drawn, noise: torch.where(threshold < 1 - noise, drawn, labels)
        ),
        "every label is replaced, whatever the noise": lambda labels, threshold, drawn, noise: drawn,
        "no label is replaced": lambda labels, threshold, drawn, noise: labels,
        "never the true label: one drawn from all classes may happen to be right": (
            lambda labels, threshold, drawn, noise: torch.where(threshold < noise, _other_label(labels, drawn), labels)
        ),
        "the first labels are replaced and not those that chance picks: compare each threshold": (
            lambda labels, threshold, drawn, noise: torch.where(_first(labels, noise), drawn, labels)
        ),
        "a mask is returned in place of labels": lambda labels, threshold, drawn, noise: threshold < noise,
        "labels are mixed like numbers: they are names, so each is either kept or replaced": (
            lambda labels, threshold, drawn, noise: (1 - noise) * labels + noise * drawn
        ),
    },
)

WRONG_SHARE = Exercise(
    title="How many labels are wrong",
    returns=("share",),
    reference=lambda noise, classes: noise * (classes - 1) / classes,
    cases=[{"noise": n, "classes": c} for n, c in ((0.5, 2), (1.0, 2), (0.5, 10), (1.0, 10), (0.25, 4), (0.0, 10))],
    drawn=lambda draw: {"noise": between(draw, 0.05, 0.95), "classes": whole(draw, 3, 20)},
    mistakes={
        "all that are drawn are counted: one in `classes` of them is right by chance": lambda noise, classes: noise,
        "those that are right by chance are returned, and not the others": lambda noise, classes: noise / classes,
        "the share of labels that are right is returned": lambda noise, classes: 1 - noise * (classes - 1) / classes,
        "the noise is forgotten: only that share is drawn anew": lambda noise, classes: (classes - 1) / classes,
        "chance is subtracted from the noise: it takes its part of the noise only": (
            lambda noise, classes: max(noise - 1 / classes, 0.0)
        ),
        "one class too few: chance picks the true one of all classes": (
            lambda noise, classes: noise * (1 - 1 / (classes - 1))
        ),
    },
)


# The whole run


def _predicted(start: float, lr: Tensor, G: Tensor, momentum: float) -> Tensor:
    first = torch.tensor([[start]], dtype=torch.float64)
    return norm_from_gradients(first, lr.unsqueeze(1), G.view(-1, 1, 1), momentum)[-1].squeeze()


def _other_prediction(
    factor: float = 2.0, reach: Function = lambda momentum: 1 / (1 - momentum), powers: tuple[int, int] = (2, 2),
    root: int = 4, first: int = 4, mean: bool = False,
) -> Function:  # fmt: skip
    """The prediction with another factor, another reach of momentum, other powers of lr and G, or another root."""

    def wrong(start: float, lr: Tensor, G: Tensor, momentum: float) -> float:
        pushes = (lr * reach(momentum)) ** powers[0] * G ** powers[1]
        walked = float(pushes.mean() if mean else pushes.sum())
        return float((start**first + factor * walked) ** (1 / root))

    return wrong


def _drawn_run(draw: Generator) -> Case:
    steps = whole(draw, 2, 6)
    lr, G = tenths(draw, steps).abs() / 5, tenths(draw, steps).abs()
    return {"start": between(draw, 0.5, 3.0, 1), "lr": lr, "G": G, "momentum": between(draw, 0.1, 0.9)}


PREDICTED_NORM = Exercise(
    title="The norm at the end",
    returns=("norm",),
    reference=_predicted,
    cases=[
        {"start": 1.0, "lr": row(1.0), "G": row(2.0), "momentum": 0.0},
        {"start": 1.0, "lr": row(0.5), "G": row(2.0), "momentum": 0.5},
        {"start": 2.0, "lr": row(0.4, 0.2), "G": row(3.0, 5.0), "momentum": 0.0},
        {"start": 2.0, "lr": row(0.4, 0.2, 0.1), "G": row(3.0, 5.0, 2.0), "momentum": 0.9},
    ],
    drawn=_drawn_run,
    mistakes={
        "the factor 2 is missing: the square of a sum has a middle term": _other_prediction(factor=1.0),
        "momentum is forgotten: in the long run it makes each push 1/(1 - momentum) times as long": _other_prediction(
            reach=lambda momentum: 1.0
        ),
        "momentum makes pushes longer and not shorter: divide lr by 1 - momentum": _other_prediction(
            reach=lambda momentum: 1 - momentum
        ),
        "1 - momentum must be squared along with lr": _other_prediction(reach=lambda momentum: (1 - momentum) ** -0.5),
        "1 - momentum^2 belongs to the length of one step; in the long run it is (1 - momentum)^2": _other_prediction(
            reach=lambda momentum: (1 - momentum**2) ** -0.5
        ),
        "the fourth power is returned: take the fourth root": _other_prediction(root=1),
        "the square root in place of the fourth": _other_prediction(root=2),
        "squares in place of fourth powers: that is the rule for the gradient itself, not for G": _other_prediction(
            factor=1.0, first=2, root=2
        ),
        "the first norm is forgotten": lambda start, lr, G, momentum: _other_prediction()(0.0, lr, G, momentum),
        "lr is not squared": _other_prediction(powers=(1, 2)),
        "G is not squared": _other_prediction(powers=(2, 1)),
        "the mean over the steps in place of the sum": _other_prediction(mean=True),
    },
)

EXERCISES = (TIMES_AS_LONG, LONGER, NOISY_LABELS, WRONG_SHARE, PREDICTED_NORM)
