"""Exercises of notebook 04: the norm stays small."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Generator, Tensor

from wdlab.exercises.draws import between, pick, row, tensors, tenths, whole
from wdlab.exercises.harness import Case, Exercise, Function, check
from wdlab.exercises.report import Report


def check_share(share: object) -> Report:
    """Check `share(arm, never, early)`: the share of early's gain over never that an arm recovers.

    All three are NumPy arrays of accuracies, one a seed.
    """
    return check(SHARE, share)


def check_copied_lr(copied_lr: object) -> Report:
    """Check `copied_lr(lr, norm, leader_norm, optimizer)`: the lr that turns a tensor as lr turns the leader's."""
    return check(COPIED_LR, copied_lr)


def check_rescale(rescale: object) -> Report:
    """Check `rescale(w, leader)`: w, pointing where it did, with the norm of the leader's tensor."""
    return check(RESCALE, rescale)


def check_same_state(same_state: object) -> Report:
    """Check `same_state(w, buffer, lr, c)`: the state at c w from which SGD with momentum goes the same way."""
    return check(SAME_STATE, same_state)


# The share of a gain


def _drawn_arms(draw: Generator) -> Case:
    """Accuracies of three arms on the same seeds; both gain something on each of them."""
    count = whole(draw, 3, 6)
    never, early, arm = (torch.randint(*ends, (count,), generator=draw) for ends in ((600, 800), (20, 60), (1, 50)))
    return {
        "arm": (never + arm).numpy() / 1000,
        "never": never.numpy() / 1000,
        "early": (never + early).numpy() / 1000,
    }


SHARE = Exercise(
    title="The share of a gain",
    returns=("share",),
    reference=lambda arm, never, early: (arm - never).mean() / (early - never).mean(),
    cases=[
        {"arm": np.array([0.72, 0.76]), "never": np.array([0.70, 0.70]), "early": np.array([0.74, 0.76])},
        {"arm": np.array([0.71, 0.72, 0.73]), "never": np.array([0.70, 0.70, 0.70]), "early": np.array([0.74] * 3)},
    ],
    drawn=_drawn_arms,
    mistakes={
        "a mean of ratios: a seed on which early gains little then counts most; divide the mean gains": (
            lambda arm, never, early: ((arm - never) / (early - never)).mean()
        ),
        "a ratio of accuracies: take never away from both first": lambda arm, never, early: arm.mean() / early.mean(),
        "turned around: the arm's gain over early's": (
            lambda arm, never, early: (early - never).mean() / (arm - never).mean()
        ),
        "what is missing in place of what is there: this is 1 minus the share": (
            lambda arm, never, early: (early - arm).mean() / (early - never).mean()
        ),
        "the gain itself: divide it by early's": lambda arm, never, early: (arm - never).mean(),
        "the gain in units of never's accuracy: divide by early's gain": (
            lambda arm, never, early: (arm - never).mean() / never.mean()
        ),
    },
)


# The learning rate that copies another run's effective one


def _by_power(sgd: float, adam: float) -> Function:
    def answer(lr: float, norm: float, leader_norm: float, optimizer: str) -> float:
        return lr * math.pow(norm / leader_norm, sgd if optimizer == "sgd" else adam)

    return answer


COPIED_LR = Exercise(
    title="Copy the effective learning rate",
    returns=("lr",),
    reference=_by_power(2, 1),
    cases=[
        {"lr": lr, "norm": norm, "leader_norm": leader, "optimizer": optimizer}
        for optimizer in ("sgd", "adam")
        for lr, norm, leader in ((0.1, 2.0, 1.0), (0.1, 3.0, 3.0), (0.2, 8.0, 2.0), (0.01, 1.0, 4.0))
    ],
    drawn=lambda draw: {
        "lr": between(draw, 0.05, 0.9),
        "norm": between(draw, 0.5, 9.0, 1),
        "leader_norm": between(draw, 0.5, 9.0, 1),
        "optimizer": pick(draw, "sgd", "adam"),
    },
    mistakes={
        "turned around: the longer weights need the larger learning rate": _by_power(-2, -1),
        "the square is missing: under SGD the effective learning rate is lr / norm^2": _by_power(1, 1),
        "Adam's steps do not shrink as gradients do: there the effective learning rate is lr / norm": _by_power(2, 2),
        "the two optimizers are mixed up: the square belongs to SGD": _by_power(1, 2),
        "this is the learning rate unchanged: its effect depends on the norm": _by_power(0, 0),
        "this is the effective learning rate, not the learning rate that gives it": (
            lambda lr, norm, leader_norm, optimizer: lr / leader_norm ** (2 if optimizer == "sgd" else 1)
        ),
    },
)


# Rescaling


def _norm(w: Tensor) -> Tensor:
    return w.square().sum().sqrt()


RESCALE = Exercise(
    title="The leader's norm",
    returns=("w",),
    reference=lambda w, leader: w * _norm(leader) / _norm(w),
    cases=[
        {"w": row(3.0, 4.0), "leader": row(0.0, 1.0)},
        {"w": row(1.0, 0.0), "leader": row(3.0, 4.0)},
        {"w": row(-6.0, 8.0), "leader": row(-3.0, 4.0)},
    ],
    drawn=lambda draw: tensors(draw, "w", "leader"),
    mistakes={
        "this is the leader's tensor itself: only its norm is copied": lambda w, leader: leader,
        "this has norm 1: multiply by the leader's norm": lambda w, leader: w / _norm(w),
        "multiplied by the leader's norm, but not divided by w's own": lambda w, leader: w * _norm(leader),
        "turned around: this factor is w's norm over the leader's": lambda w, leader: w * _norm(w) / _norm(leader),
        "the norms are squared: take the root of the sum of squares": (
            lambda w, leader: w * _norm(leader) ** 2 / _norm(w) ** 2
        ),
        "the largest entry in place of the norm": lambda w, leader: w * leader.abs().max() / w.abs().max(),
        "the sum of absolute values in place of the norm": lambda w, leader: w * leader.abs().sum() / w.abs().sum(),
        "w is unchanged": lambda w, leader: w,
    },
)


# The same path at another scale


def _scaled(w_power: float = 1, buffer_power: float = -1, lr_power: float = 2) -> Function:
    def answer(w: Tensor, buffer: Tensor, lr: float, c: float) -> tuple[Tensor, Tensor, float]:
        return w * c**w_power, buffer * c**buffer_power, lr * c**lr_power

    return answer


def _drawn_state(draw: Generator) -> Case:
    w, buffer = tenths(draw, 3), tenths(draw, 3)
    return {"w": w, "buffer": buffer, "lr": between(draw, 0.05, 0.9), "c": between(draw, 0.3, 4.0, 1)}


SAME_STATE = Exercise(
    title="The same path at another scale",
    returns=("w", "buffer", "lr"),
    reference=_scaled(),
    cases=[{"w": row(3.0), "buffer": row(1.0), "lr": 0.5, "c": c} for c in (2.0, 0.5, 1.0)],
    drawn=_drawn_state,
    mistakes={
        "the learning rate stays: longer weights need a larger one, c^2 times": _scaled(lr_power=0),
        "the learning rate grows by c only: gradients at c w are smaller by c, so it takes c^2": _scaled(lr_power=1),
        "the learning rate is divided by c^2: longer weights need a larger one": _scaled(lr_power=-2),
        "the buffer stays: it is a sum of gradients, and gradients at c w are g / c": _scaled(buffer_power=0),
        "the buffer grows with the weights: it is a sum of gradients, and gradients at c w are g / c": _scaled(
            buffer_power=1
        ),
        "the buffer grows and the learning rate stays: this step is right, but later gradients are g / c": (
            _scaled(buffer_power=1, lr_power=0)
        ),
        "the buffer stays and the learning rate grows by c: this step is right, but later gradients are g / c": (
            _scaled(buffer_power=0, lr_power=1)
        ),
        "the weights are divided by c": _scaled(w_power=-1),
    },
)

EXERCISES = (COPIED_LR, RESCALE, SHARE, SAME_STATE)
