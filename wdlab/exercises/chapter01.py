"""Exercises of notebook 01: what weight decay is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from torch import Generator, Tensor

from wdlab.decay import COUPLINGS, Decay, rates, sgd_
from wdlab.exercises.draws import between, dials, tensors
from wdlab.exercises.harness import Attempt, Case, Exercise, Function, check, check_value
from wdlab.exercises.report import Report
from wdlab.figures.drawn import Drawn
from wdlab.figures.style import looks, name, panels
from wdlab.tasks.convex import Quadratic, descend

LR, WEIGHT_DECAY, SLOWER = 0.1, 0.05, 0.02
MOMENTUM = 0.9


def check_same_shrink(weight_decay: object) -> Report:
    """Check the lambda which at lr 0.02 shrinks weights per step just as 0.05 does at lr 0.1."""
    return check_value(SAME_SHRINK, weight_decay)


def check_sgd_step(step: object) -> Report:
    """Check `step(w, g, lr, weight_decay)`, which returns w after one step of plain SGD with weight decay."""
    return check(SGD_STEP, step)


def check_momentum_step(step: object) -> Report:
    """Check `step(w, g, buffer, lr, momentum, weight_decay)`: SGD with momentum and decoupled decay.

    It returns the new w and the new buffer, where buffer <- momentum buffer + g, as in torch.
    """
    return check(MOMENTUM_STEP, step)


def check_torch_lambda(convert: object) -> Report:
    """Check `convert(lambda_paper, lr)`, which turns the AdamW paper's lambda into torch's weight_decay.

    The paper's step subtracts lambda w, torch's subtracts lr weight_decay w (Loshchilov and Hutter 2019, Algorithm 2,
    with a constant schedule).
    """
    return check(TORCH_LAMBDA, convert)


def check_same_rest(weight_decay: object) -> Report:
    """Check the decoupled lambda that rests, with momentum 0.9, where an l2 penalty of 0.05 does."""
    return check_value(SAME_REST, weight_decay)


# Numbers


def _constant(value: float) -> Function:
    return lambda: value


def _draw_shrink(found: Attempt) -> Drawn:
    """The weight norm over 200 steps without a gradient, for the old setting, the learner's and the right one."""
    yours = float((found.given or found.expected)[0])
    factors = {
        f"lr {LR:g}, λ {WEIGHT_DECAY:g}": 1 - LR * WEIGHT_DECAY,
        f"lr {SLOWER:g}, your λ {yours:.4g}": 1 - SLOWER * yours,
        f"lr {SLOWER:g}, λ {WEIGHT_DECAY:g} as before": 1 - SLOWER * WEIGHT_DECAY,
    }
    steps = torch.arange(201, dtype=torch.float64)
    figure, (axes,) = panels(1, width=6.4, height=3.0)
    for (label, factor), look in zip(factors.items(), looks(list(factors)), strict=False):
        axes.plot(steps, factor**steps, label=label, markevery=40, markersize=5, **look)
    name(axes, "Shrinking without a gradient", "step", "norm, of its start")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    told = "; ".join(f"{label}: {factor**200:.3g} of the norm is left" for label, factor in factors.items())
    data = pd.DataFrame({label: factor**steps for label, factor in factors.items()})
    return Drawn(figure, f"After 200 steps, {told}. The second should be as the first.", data)


def _draw_rest(found: Attempt) -> Drawn:
    """The path of one weight under the l2 penalty, and under decoupled decay of the learner's lambda."""
    one = torch.ones(1, 1, dtype=torch.float64)
    problem, yours = Quadratic(0.1 * one, 0.1 * one[0]), float((found.given or found.expected)[0])
    decays = {
        f"l2, λ {WEIGHT_DECAY:g}": Decay(WEIGHT_DECAY),
        f"decoupled, your λ {yours:.4g}": Decay(max(yours, 0.0), coupling="decoupled"),
    }
    paths = {label: descend(problem, decay, 200, lr=LR, momentum=MOMENTUM)[:, 0] for label, decay in decays.items()}
    figure, (axes,) = panels(1, width=6.4, height=3.0)
    for (label, path), look in zip(paths.items(), looks(list(paths)), strict=False):
        axes.plot(path, label=label, markevery=40, markersize=5, **look)
    name(axes, "One weight whose loss is least at 1", "step", "weight")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    told = "; ".join(f"{label} ends at {float(path[-1]):.3f}" for label, path in paths.items())
    return Drawn(figure, f"Paths of one weight. {told}. They should end at the same height.", pd.DataFrame(paths))


SAME_SHRINK = Exercise(
    title="The same shrinking at another learning rate",
    returns=("weight_decay",),
    reference=_constant(LR * WEIGHT_DECAY / SLOWER),
    cases=({},),
    mistakes={
        "lambda is left as it was, but it is lr x lambda that shrinks the weights": _constant(WEIGHT_DECAY),
        "lambda is made smaller with the learning rate; their product must stay": _constant(WEIGHT_DECAY * SLOWER / LR),
        "this is the product lr x lambda itself; divide it by the new learning rate": _constant(LR * WEIGHT_DECAY),
        "this is the factor 1 - lr x lambda; what is asked for is lambda": _constant(1 - LR * WEIGHT_DECAY),
    },
    draw=_draw_shrink,
)

SAME_REST = Exercise(
    title="The same resting point under momentum",
    returns=("weight_decay",),
    reference=_constant(WEIGHT_DECAY / (1 - MOMENTUM)),
    cases=({},),
    mistakes={
        "lambda is left as it was, but momentum makes the loss's step longer and not the decay's": _constant(
            WEIGHT_DECAY
        ),
        "the factor is turned over: decay must become stronger, not weaker": _constant(WEIGHT_DECAY * (1 - MOMENTUM)),
        "divided by momentum; a constant push fills the buffer to 1/(1 - momentum) of it": _constant(
            WEIGHT_DECAY / MOMENTUM
        ),
    },
    draw=_draw_rest,
)


# Steps


def _sgd(w: Tensor, g: Tensor, lr: float, weight_decay: float) -> Tensor:
    sgd_(w, g, None, rates(COUPLINGS["decoupled"].numbers, weight_decay), lr, 0.0)
    return w


def _momentum(
    w: Tensor, g: Tensor, buffer: Tensor, lr: float, momentum: float, weight_decay: float, coupling: str = "decoupled"
) -> tuple[Tensor, Tensor]:
    sgd_(w, g, buffer, rates(COUPLINGS[coupling].numbers, weight_decay), lr, momentum)
    return w, buffer


def _vectors(*rows: float | list[float]) -> list[Tensor]:
    return [torch.tensor(row if isinstance(row, list) else [row], dtype=torch.float64) for row in rows]


def _sgd_cases() -> list[Case]:
    first = [
        (2.0, 0.0, 0.5, 0.4),
        (2.0, 1.0, 0.5, 0.4),
        (-1.0, 0.5, 0.1, 0.2),
        (0.0, 1.0, 0.1, 0.2),
        (1.0, 1.0, 0.1, 0.0),
    ]
    return [
        dict(zip(("w", "g"), _vectors(w, g), strict=True)) | {"lr": lr, "weight_decay": decay}
        for w, g, lr, decay in first
    ]


def _drawn_sgd(draw: Generator) -> Case:
    return tensors(draw, "w", "g") | dials(draw, "lr", "weight_decay")


def _momentum_cases() -> list[Case]:
    first: list[tuple[list[Any], Mapping[str, float]]] = [
        ([2.0, 0.0, 0.0], {"lr": 0.5, "momentum": 0.5, "weight_decay": 0.4}),
        ([2.0, 1.0, 0.0], {"lr": 0.5, "momentum": 0.5, "weight_decay": 0.4}),
        ([2.0, 1.0, 3.0], {"lr": 0.5, "momentum": 0.5, "weight_decay": 0.4}),
        ([1.0, 1.0, -1.0], {"lr": 0.1, "momentum": 0.0, "weight_decay": 0.2}),
        ([1.0, 1.0, -1.0], {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0}),
    ]
    return [dict(zip(("w", "g", "buffer"), _vectors(*row), strict=True)) | dict(rest) for row, rest in first]


def _drawn_momentum(draw: Generator) -> Case:
    return tensors(draw, "w", "g", "buffer") | dials(draw, "lr", "momentum", "weight_decay")


SGD_STEP = Exercise(
    title="One step of SGD with weight decay",
    returns=("w",),
    reference=_sgd,
    cases=_sgd_cases(),
    drawn=_drawn_sgd,
    mistakes={
        "the sign of the decay: weights must shrink, and these grow": lambda w, g, lr, wd: w - lr * g + lr * wd * w,
        "lambda times lr twice: the decay is lr x lambda x w, with one lr": lambda w, g, lr, wd: (
            w - lr * g - lr * lr * wd * w
        ),
        "the decay forgets the learning rate: it is lr x lambda x w": lambda w, g, lr, wd: w - lr * g - wd * w,
        "decay after the step, of the new weight: both parts of the step use the old w": (
            lambda w, g, lr, wd: (1 - lr * wd) * (w - lr * g)
        ),
        "no decay at all": lambda w, g, lr, wd: w - lr * g,
        "decay alone, without the gradient of the loss": lambda w, g, lr, wd: w - lr * wd * w,
        "the sign of the gradient: this step climbs": lambda w, g, lr, wd: w + lr * g - lr * wd * w,
        "the gradient forgets the learning rate": lambda w, g, lr, wd: w - g - lr * wd * w,
        "decay twice as strong: the penalty is lambda/2 times the squared norm": lambda w, g, lr, wd: (
            w - lr * g - 2 * lr * wd * w
        ),
        "the step alone is returned, not the weights after it": lambda w, g, lr, wd: -lr * g - lr * wd * w,
    },
)


def _damped(w: Tensor, g: Tensor, buffer: Tensor, lr: float, momentum: float, wd: float) -> tuple[Tensor, Tensor]:
    buffer = momentum * buffer + (1 - momentum) * g
    return w - lr * buffer - lr * wd * w, buffer


def _lr_inside(w: Tensor, g: Tensor, buffer: Tensor, lr: float, momentum: float, wd: float) -> tuple[Tensor, Tensor]:
    buffer = momentum * buffer + lr * g
    return w - buffer - lr * wd * w, buffer


def _of_new_weight(
    w: Tensor, g: Tensor, buffer: Tensor, lr: float, momentum: float, wd: float
) -> tuple[Tensor, Tensor]:
    buffer = momentum * buffer + g
    return (w - lr * buffer) * (1 - lr * wd), buffer


def _changed(step: float = 1.0, decay: float = 1.0, new: bool = True, lr_power: int = 1) -> Function:
    """The right step with one thing changed: the weight of a part, the old buffer, or lr^power before the decay."""

    def wrong(w: Tensor, g: Tensor, buffer: Tensor, lr: float, momentum: float, wd: float) -> tuple[Tensor, Tensor]:
        after = momentum * buffer + g
        return w - step * lr * (after if new else buffer) - decay * lr**lr_power * wd * w, after

    return wrong


MOMENTUM_STEP = Exercise(
    title="SGD with momentum and decoupled decay",
    returns=("w", "buffer"),
    reference=_momentum,
    cases=_momentum_cases(),
    drawn=_drawn_momentum,
    mistakes={
        "decay inside the buffer: that is the l2 coupling; decoupled decay never enters the buffer": (
            lambda w, g, buffer, lr, momentum, wd: _momentum(w, g, buffer, lr, momentum, wd, "l2")
        ),
        "the sign of the decay: weights must shrink, and these grow": _changed(decay=-1),
        "lambda times lr twice: the decay is lr x lambda x w, with one lr": _changed(lr_power=2),
        "the decay forgets the learning rate: it is lr x lambda x w": _changed(lr_power=0),
        "decay after the step, of the new weight: both parts of the step use the old w": _of_new_weight,
        "no decay at all": _changed(decay=0),
        "the step uses the old buffer: update the buffer first": _changed(new=False),
        "the gradient is multiplied by 1 - momentum: torch's buffer is momentum x buffer + g": _damped,
        "the learning rate is inside the buffer: torch multiplies by it afterwards": _lr_inside,
        "the two results in the wrong order: first w, then the buffer": (
            lambda w, g, buffer, lr, momentum, wd: _momentum(w, g, buffer, lr, momentum, wd)[::-1]
        ),
        "the buffer is not passed on: return the new one": (
            lambda w, g, buffer, lr, momentum, wd: (_momentum(w, g, buffer.clone(), lr, momentum, wd)[0], buffer)
        ),
    },
)

TORCH_LAMBDA = Exercise(
    title="From the AdamW paper's lambda to torch's",
    returns=("weight_decay",),
    reference=lambda lambda_paper, lr: lambda_paper / lr,
    cases=[
        {"lambda_paper": 0.001, "lr": 0.1},
        {"lambda_paper": 1e-5, "lr": 0.001},
        {"lambda_paper": 0.0, "lr": 0.5},
        {"lambda_paper": 0.003, "lr": 0.02},
    ],
    drawn=lambda draw: {"lambda_paper": between(draw, 0.001, 0.02, 4), "lr": between(draw, 0.01, 0.5)},
    mistakes={
        "lambda times lr: torch multiplies by lr itself, so you must divide": lambda lam, lr: lam * lr,
        "the two are taken to be the same number": lambda lam, lr: lam,
        "divided by lr twice": lambda lam, lr: lam / lr**2,
        "the fraction is upside down": lambda lam, lr: lr / lam if lam else 0.0,
    },
)

EXERCISES = (SAME_SHRINK, SGD_STEP, MOMENTUM_STEP, SAME_REST, TORCH_LAMBDA)
