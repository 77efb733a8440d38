"""Exercises of notebook 02: scale does not matter, step size does."""

from __future__ import annotations

import math

import pandas as pd
import torch
from torch import Tensor

from wdlab.exercises.draws import between, pick, row, tensors, tenths
from wdlab.exercises.harness import Attempt, Exercise, Function, check, check_value, draw_values
from wdlab.exercises.report import Report
from wdlab.figures.drawn import Drawn
from wdlab.figures.style import COLOURS, FAINT, looks, name, panels
from wdlab.measures import effective_lr
from wdlab.measures.equilibrium import adamw_equilibrium, random_walk, sgd_equilibrium

LONGER = 5.0
"""By how much the weights of the first exercise are longer."""


def check_same_path(factor: object) -> Report:
    """Check the number by which SGD's learning rate must grow when scale-invariant weights are 5 times longer."""
    return check_value(SAME_PATH, factor)


def check_effective_lr(function: object) -> Report:
    """Check `function(lr, w, optimizer)`: lr / ||w||^2 for "sgd" and lr / ||w|| for "adam"."""
    return check(EFFECTIVE_LR, function)


def check_tangent(function: object) -> Report:
    """Check `function(g, w)`: what is left of g when its part along w is taken out, g - (g.w / w.w) w."""
    return check(TANGENT, function)


def check_equilibrium(function: object) -> Report:
    """Check `function(lr, weight_decay, momentum, relative_gradient)`: norm and angle to first order, SGD with l2."""
    return check(EQUILIBRIUM, function)


def check_decay_for_angle(function: object) -> Report:
    """Check `function(angle, lr, beta1)`: the lambda (as in torch) at which AdamW turns by `angle`, to first order."""
    return check(DECAY_FOR_ANGLE, function)


def _constant(value: float) -> Function:
    return lambda: value


# One number


def _draw_path(found: Attempt) -> Drawn:
    """The angle of each of 40 steps in a walk, for weights of norm 1 and 5 times longer ones at the learner's lr."""
    yours = float((found.given or found.expected)[0])
    walks = {
        "norm 1, lr 0.1": random_walk([0], [(0.1, 1e-9)], 40, momentum=0.0),
        f"norm {LONGER:g}, lr 0.1 × {yours:.4g}": random_walk(
            [0], [(0.1 * max(yours, 1e-9), 1e-9)], 40, momentum=0.0, start=LONGER
        ),
    }
    figure, (axes,) = panels(1, width=6.4, height=3.0)
    angles = {label: walk.angle[:, 0, 0].tolist() for label, walk in walks.items()}
    for (label, angle), look in zip(angles.items(), looks(list(angles)), strict=False):
        axes.plot(angle, label=label, markevery=8, markersize=5, **look)
    axes.set_ylim(bottom=0)
    name(axes, "How far each step turns the weights", "step", "angle (radians)")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    told = "; ".join(f"{label}: {angle[0]:.3g} in the first step" for label, angle in angles.items())
    return Drawn(figure, f"Angles of 40 steps. {told}. The two should be one line.", pd.DataFrame(angles))


SAME_PATH = Exercise(
    title="The same path with longer weights",
    returns=("factor",),
    reference=_constant(LONGER**2),
    cases=({},),
    mistakes={
        "this is right for Adam; under SGD the gradient shrinks, too": _constant(LONGER),
        "the learning rate is left as it was, so each step turns the weights less": _constant(1.0),
        "turned over: longer weights need a higher learning rate, not a lower one": _constant(LONGER**-2),
        "turned over, and with one power missing: longer weights need a higher learning rate": _constant(1 / LONGER),
        "twice instead of squared": _constant(2 * LONGER),
    },
    draw=_draw_path,
)


# The effective learning rate


def _effective(lr: float, w: Tensor, optimizer: str) -> float:
    return float(effective_lr(torch.tensor([lr], dtype=w.dtype), [w.unsqueeze(0)], optimizer))


def _power(sgd: float, adam: float, size: Function = lambda w: w.norm()) -> Function:
    """Lr / size^power, with a power for each optimizer."""

    def wrong(lr: float, w: Tensor, optimizer: str) -> float:
        return float(lr / size(w) ** (sgd if optimizer == "sgd" else adam))

    return wrong


EFFECTIVE_LR = Exercise(
    title="The effective learning rate",
    returns=("effective_lr",),
    reference=_effective,
    cases=[
        {"lr": 0.1, "w": row(3.0, 4.0), "optimizer": "sgd"},
        {"lr": 0.1, "w": row(3.0, 4.0), "optimizer": "adam"},
        {"lr": 0.5, "w": row(1.0, -2.0, 2.0), "optimizer": "sgd"},
        {"lr": 0.01, "w": torch.tensor([[1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64), "optimizer": "adam"},
    ],
    drawn=lambda draw: {
        "lr": between(draw, 0.05, 0.9),
        "w": tenths(draw, *pick(draw, (3,), (2, 3), (3, 4))),
        "optimizer": pick(draw, "sgd", "adam"),
    },
    mistakes={
        "the norm is not squared for SGD": _power(1, 1),
        "the norm is squared for Adam too; its step does not shrink with the gradient": _power(2, 2),
        "the two optimizers are exchanged": _power(1, 2),
        "multiplied by the norm: longer weights turn less, not more": _power(-2, -1),
        "the learning rate as it is: the weights' length is missing": _power(0, 0),
        "the sum of the weights in place of their norm": _power(2, 1, lambda w: w.sum()),
        "the mean square in place of the sum of squares": _power(2, 1, lambda w: w.square().mean().sqrt()),
        "the largest weight in place of the norm": _power(2, 1, lambda w: w.abs().max()),
    },
)


# The part at a right angle


def _along(g: Tensor, w: Tensor) -> Tensor:
    return (g * w).sum() / (w * w).sum() * w


def _draw_tangent(found: Attempt) -> Drawn:
    """For two weights: w, g, the learner's vector and the expected one as arrows from the origin, else the values."""
    if found.case["w"].numel() != 2:
        return draw_values(found)
    arrows = {"w": found.case["w"], "g": found.case["g"], "expected": found.expected[0]}
    arrows["yours"] = (found.given or found.expected)[0]
    figure, (axes,) = panels(1, width=4.6, height=3.6)
    for (label, arrow), colour, width in zip(arrows.items(), COLOURS, (1.5, 1.5, 5.0, 2.0), strict=False):
        x, y = (float(value) for value in arrow.flatten())
        axes.annotate("", (x, y), (0, 0), arrowprops={"arrowstyle": "->", "color": colour, "linewidth": width})
        axes.plot([x], [y], "o", color=colour, markersize=4, label=label)
    reach = 1.25 * max(float(arrow.abs().max()) for arrow in arrows.values()) + 0.1
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.axvline(0, color=FAINT, linewidth=0.8)
    name(axes, "The smallest counter-example", "weight 1", "weight 2")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    data = pd.DataFrame({label: arrow.flatten().tolist() for label, arrow in arrows.items()})
    told = " and ".join(f"{label} ({data[label][0]:.3g}, {data[label][1]:.3g})" for label in ("w", "g"))
    return Drawn(figure, f"Arrows from the origin: {told}. The expected one is at a right angle to w.", data)


TANGENT = Exercise(
    title="The part at a right angle to the weights",
    returns=("tangent",),
    reference=lambda g, w: g - _along(g, w),
    cases=[
        {"g": row(1.0, 1.0), "w": row(2.0, 0.0)},
        {"g": row(1.0, 2.0), "w": row(3.0, 4.0)},
        {"g": row(-1.0, 0.5), "w": row(0.0, 0.5)},
        {"g": row(1.0, 2.0, 3.0), "w": row(1.0, -1.0, 1.0)},
    ],
    drawn=lambda draw: tensors(draw, "g", "w"),
    mistakes={
        "the part along w is returned: it is the one to take out": _along,
        "the part along w is added: subtract it": lambda g, w: g + _along(g, w),
        "not divided by the squared norm of w: that is right for w of norm 1 only": lambda g, w: g - (g * w).sum() * w,
        "divided by the norm of w and not by its square": lambda g, w: g - (g * w).sum() / w.norm() * w,
        "divided by the squared norm of g: w is the direction to take out": lambda g, w: (
            g - (g * w).sum() / (g * g).sum() * w
        ),
        "number by number: the dot product is one number, the sum of all products": lambda g, w: (
            g - g * w / (w * w).sum() * w
        ),
        "w and g are exchanged: this is what is left of w": lambda g, w: w - _along(w, g),
        "nothing is taken out": lambda g, w: g,
    },
    draw=_draw_tangent,
)


# The equilibrium


def _sgd(lr: float, weight_decay: float, momentum: float, relative_gradient: float) -> tuple[float, float]:
    found = sgd_equilibrium(lr, weight_decay, momentum, relative_gradient=relative_gradient, first_order=True)
    return found.norm, found.angle


def _changed(
    norm_power: float = 0.25, norm_mu: int = 1, square: int = 2, half: float = 2.0, angle_mu: str = "(1+mu)",
    root: float = 0.5,
) -> Function:  # fmt: skip
    """The right equilibrium with one thing changed."""

    def wrong(lr: float, weight_decay: float, momentum: float, relative_gradient: float) -> tuple[float, float]:
        inside = lr * relative_gradient**square / (half * weight_decay * (1 - momentum) ** norm_mu)
        divisor = {"(1+mu)": 1 + momentum, "1": 1.0, "(1-mu)": 1 - momentum}[angle_mu]
        return inside**norm_power, (half * lr * weight_decay / divisor) ** root

    return wrong


def _decoupled(lr: float, weight_decay: float, momentum: float, relative_gradient: float) -> tuple[float, float]:
    found = sgd_equilibrium(lr, weight_decay, momentum, "decoupled", relative_gradient, first_order=True)
    return found.norm, found.angle


EQUILIBRIUM = Exercise(
    title="Where SGD settles",
    returns=("norm", "angle"),
    reference=_sgd,
    cases=[
        {"lr": 0.1, "weight_decay": 0.05, "momentum": 0.0, "relative_gradient": 1.0},
        {"lr": 0.1, "weight_decay": 0.05, "momentum": 0.5, "relative_gradient": 1.0},
        {"lr": 0.1, "weight_decay": 0.01, "momentum": 0.9, "relative_gradient": 2.0},
        {"lr": 0.03, "weight_decay": 0.02, "momentum": 0.9, "relative_gradient": 0.5},
    ],
    drawn=lambda draw: {
        "lr": between(draw, 0.02, 0.3),
        "weight_decay": between(draw, 0.005, 0.1, 3),
        "momentum": between(draw, 0.1, 0.9),
        "relative_gradient": between(draw, 0.5, 3.0, 1),
    },
    mistakes={
        "the norm is its own fourth power: take the fourth root": _changed(norm_power=1.0),
        "the norm is its own square: take the fourth root, not the square root": _changed(norm_power=0.5),
        "the angle is its own square: take the root": _changed(root=1.0),
        "momentum is missing from the norm": _changed(norm_mu=0),
        "momentum is missing from the angle": _changed(angle_mu="1"),
        "momentum is missing from both": _changed(norm_mu=0, angle_mu="1"),
        "1 - momentum in place of 1 + momentum in the angle": _changed(angle_mu="(1-mu)"),
        "this is the equilibrium of decoupled decay; an l2 penalty goes through the buffer": _decoupled,
        "the gradient is not squared": _changed(square=1),
        "the 2 is missing: decay shortens the squared norm by 2 lr lambda": _changed(half=1.0),
        "the two results in the wrong order: first the norm": lambda *given: _sgd(*given)[::-1],
    },
)


# The lambda for an angle


def _decay_for(angle: float, lr: float, beta1: float) -> float:
    return angle**2 * (1 + beta1) / (2 * lr * (1 - beta1))


def _draw_decay(found: Attempt) -> Drawn:
    """The angle that AdamW settles at for a range of lambda, the wanted one, and those of both answers."""
    angle, lr, beta1 = (float(found.case[key]) for key in ("angle", "lr", "beta1"))
    answers = {"expected": float(found.expected[0]), "yours": float((found.given or found.expected)[0])}
    top = 0.99 / lr
    shown = {key: min(max(value, 1e-9), top) for key, value in answers.items()}
    low, high = math.log10(min(shown.values())) - 0.5, math.log10(max(shown.values())) + 0.5
    strengths = [value for value in torch.logspace(low, high, 60, dtype=torch.float64).tolist() if value <= top]
    figure, (axes,) = panels(1, width=6.0, height=3.2)
    settled = [adamw_equilibrium(lr, value, 1, beta1).angle for value in strengths]
    axes.plot(strengths, settled, color=COLOURS[0], label="where AdamW settles")
    axes.axhline(angle, color=FAINT, linewidth=1.5, label="wanted")
    for (label, value), shape, colour in zip(shown.items(), "oX", COLOURS[1:], strict=False):
        reached = adamw_equilibrium(lr, value, 1, beta1).angle
        axes.plot([value], [reached], shape, color=colour, markersize=9, label=label)
    axes.set(xscale="log", yscale="log")
    name(axes, f"AdamW at lr {lr:g}, beta1 {beta1:g}", "lambda", "angle of a step (radians)")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return Drawn(figure, f"The angle AdamW settles at over lambda; wanted is {angle:g}.",
                 pd.DataFrame({"lambda": strengths, "angle": settled}))  # fmt: skip


DECAY_FOR_ANGLE = Exercise(
    title="The lambda for a wanted angle",
    returns=("weight_decay",),
    reference=_decay_for,
    cases=[
        {"angle": 0.1, "lr": 0.02, "beta1": 0.0},
        {"angle": 0.02, "lr": 0.01, "beta1": 0.5},
        {"angle": 0.01, "lr": 0.003, "beta1": 0.9},
        {"angle": 0.005, "lr": 0.001, "beta1": 0.95},
    ],
    drawn=lambda draw: {
        "angle": between(draw, 0.005, 0.1, 3),
        "lr": between(draw, 0.002, 0.05, 3),
        "beta1": between(draw, 0.1, 0.95),
    },
    mistakes={
        "beta1 is left out": lambda angle, lr, beta1: angle**2 / (2 * lr),
        "the fraction with beta1 is upside down": lambda angle, lr, beta1: (
            angle**2 * (1 - beta1) / (2 * lr * (1 + beta1))
        ),
        "this is the formula of SGD with momentum and an l2 penalty": lambda angle, lr, beta1: (
            angle**2 * (1 + beta1) / (2 * lr)
        ),
        "the angle is not squared": lambda angle, lr, beta1: angle * (1 + beta1) / (2 * lr * (1 - beta1)),
        "the learning rate is not divided by: this is lr x lambda": lambda angle, lr, beta1: (
            angle**2 * (1 + beta1) / (2 * (1 - beta1))
        ),
        "multiplied by the learning rate instead of divided": lambda angle, lr, beta1: (
            angle**2 * (1 + beta1) * lr / (2 * (1 - beta1))
        ),
        "the 2 is missing": lambda angle, lr, beta1: angle**2 * (1 + beta1) / (lr * (1 - beta1)),
    },
    draw=_draw_decay,
)

EXERCISES = (SAME_PATH, EFFECTIVE_LR, TANGENT, EQUILIBRIUM, DECAY_FOR_ANGLE)
