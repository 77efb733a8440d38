"""Exercises of notebook 03: early weight decay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import stdtrit
from torch import Generator, Tensor

from wdlab.decay import COUPLINGS, Timing, is_decayed, rates, sgd_
from wdlab.exercises.draws import dials, pick, row, tenths, whole, window
from wdlab.exercises.harness import Attempt, Case, Exercise, Function, attempt, check, check_value
from wdlab.exercises.report import Report
from wdlab.figures.drawn import Drawn
from wdlab.figures.style import COLOURS, name, panels
from wdlab.figures.timing import lines
from wdlab.stats import interval

Numbers = np.ndarray[Any, np.dtype[np.float64]]


def check_same_dose(weight_decay: object) -> Report:
    """Check the lambda with which decay in the first quarter adds up to as much lr lambda as 0.01 throughout."""
    return check_value(SAME_DOSE, weight_decay)


def check_early_dials(dials: object) -> Report:
    """Check `dials(step, steps, fraction, lr, weight_decay)`: the learning rate and the lambda to use at `step`.

    lambda acts in the first `fraction` of the run and not after it; steps count from 0.
    """
    return check(EARLY_DIALS, dials)


def check_mask(mask: object) -> Report:
    """Check `mask(name, tensor)`: whether a parameter decays. Matrices and kernels do, nothing else does."""
    return check(MASK, mask)


def check_paired_effect(effect: object) -> Report:
    """Check `effect(a, b)`: mean, low and high of a - b over seeds, with Student's t interval at 95%.

    a and b are NumPy arrays; a[i] and b[i] are measured on the same seed.
    """
    return check(PAIRED_EFFECT, effect)


def check_training_step(step: object) -> Report:
    """Check `step(w, g, buffer, t, steps, fraction, lr, momentum, weight_decay)`: the new w and the new buffer.

    SGD with momentum and an l2 penalty (decay enters the buffer) that acts in the first `fraction` of the run only.
    """
    return check(TRAINING_STEP, step)


# One number

QUARTER, LASTING = 0.25, 0.01


def _constant(value: float) -> Function:
    return lambda: value


def _draw_dose(found: Attempt) -> Drawn:
    """The sum of lr lambda over 100 steps at lr 0.1, for decay throughout and for the learner's early decay."""
    yours = float((found.given or found.expected)[0])
    sums = {
        label: (0.1 * strength * timing.table(100)).cumsum(0).tolist()
        for label, strength, timing in (
            (f"λ = {LASTING:g} throughout", LASTING, Timing.always()),
            (f"λ = {yours:.4g} in the first quarter", yours, Timing.first(QUARTER)),
        )
    }
    return lines(sums, "The two should end at one height", "step", "sum of lr × λ so far")


SAME_DOSE = Exercise(
    title="The same dose, earlier",
    returns=("weight_decay",),
    reference=_constant(LASTING / QUARTER),
    cases=({},),
    mistakes={
        "turned over: decay that is shorter has to be stronger": _constant(LASTING * QUARTER),
        "the same λ in a quarter of the steps adds up to a quarter": _constant(LASTING),
        "multiplied by the three quarters that are missing: divide by the quarter that is left": _constant(3 * LASTING),
        "the quarter is squared: the sum is of lr λ, not of its square": _constant(LASTING / QUARTER**2),
        "twice instead of four times: the first quarter is not the first half": _constant(2 * LASTING),
    },
    draw=_draw_dose,
)


# The toggle. Fractions and lengths are such that the border falls on a whole step, exactly.

BORDERS: tuple[tuple[int, int, float], ...] = (
    *((0, 4, 0.5), (1, 4, 0.5), (2, 4, 0.5), (3, 4, 0.5), (1, 8, 0.25), (2, 8, 0.25)),
    *((0, 4, 0.0), (3, 4, 1.0), (10, 100, 0.75), (74, 100, 0.75), (75, 100, 0.75), (99, 100, 0.75)),
)
"""(step, steps, fraction)"""


def _drawn_border(draw: Generator, step: str = "step") -> dict[str, Any]:
    here, steps, _, fraction = window(draw)
    return {step: here, "steps": steps, "fraction": fraction}


def _on(step: int, steps: int, fraction: float) -> float:
    return Timing.first(fraction).at(step, steps)


def _dials(step: int, steps: int, fraction: float, lr: float, weight_decay: float) -> tuple[float, float]:
    return lr, weight_decay * _on(step, steps, fraction)


def _switched(rule: Function, lr_too: bool = False, decay_too: bool = True) -> Function:
    """A toggle by another `rule` of (step, steps, fraction), on lambda, on the learning rate, or on both."""

    def wrong(step: int, steps: int, fraction: float, lr: float, weight_decay: float) -> tuple[float, float]:
        on = float(rule(step, steps, fraction))
        return lr * (on if lr_too else 1.0), weight_decay * (on if decay_too else 1.0)

    return wrong


def _draw_dials(found: Attempt) -> Drawn:
    """Both dials over all steps of the run of the counter-example: the learner's and the expected ones."""
    case = dict(found.case)
    runs = [attempt(found.exercise, found.function, {**case, "step": step}) for step in range(case["steps"])]
    figure, axes = panels(2, width=4.4, height=2.6)
    columns: dict[str, list[float]] = {}
    for index, (panel, title) in enumerate(zip(axes, ("learning rate", "lambda"), strict=True)):
        expected = [float(run.expected[index]) for run in runs]
        yours = [float(run.given[index]) if run.given else math.nan for run in runs]
        panel.step(range(len(runs)), expected, where="mid", color=COLOURS[1], linewidth=5, alpha=0.5, label="expected")
        panel.plot(yours, "X", color=COLOURS[2], markersize=7 if len(runs) < 20 else 3, label="yours")
        top = max(0.01, *expected, *(value for value in yours if math.isfinite(value)))
        panel.set_ylim(-0.1 * top, 1.4 * top)
        name(panel, title, "step", "")
        columns |= {f"{title}, expected": expected, f"{title}, yours": yours}
    axes[1].legend(frameon=False)
    data = pd.DataFrame(columns)
    wrong = [run.case["step"] for run in runs if not run.right]
    alt = f"Both dials over a run of {len(runs)} steps. Yours differ from the expected ones at steps {_spans(wrong)}."
    return Drawn(figure, alt, data)


def _spans(steps: Sequence[int]) -> str:
    """Whole numbers as spans: 0 to 3, 7."""
    told, start = [], None
    for here, after in zip(steps, [*steps[1:], None], strict=True):
        start = here if start is None else start
        if after != here + 1:
            told.append(str(here) if start == here else f"{start} to {here}")
            start = None
    return ", ".join(told) or "none"


LATE = "late instead of early: decay must act before the border, not after it"
LONG = "off by one: steps count from 0, so the step at the border no longer decays (use < and not <=)"
LATE_START = "off by one at the start: step 0 decays too"
ALWAYS = "no toggle: decay acts at every step"

EARLY_DIALS = Exercise(
    title="The timing toggle",
    returns=("lr", "weight_decay"),
    reference=_dials,
    cases=[
        {"step": step, "steps": steps, "fraction": fraction, "lr": lr, "weight_decay": weight_decay}
        for step, steps, fraction in BORDERS
        for lr, weight_decay in [(0.1, 0.01) if steps < 100 else (0.3, 0.02)]
    ],
    drawn=lambda draw: _drawn_border(draw) | dials(draw, "lr", "weight_decay"),
    mistakes={
        LATE: _switched(lambda step, steps, fraction: step >= fraction * steps),
        LONG: _switched(lambda step, steps, fraction: step <= fraction * steps),
        LATE_START: _switched(lambda step, steps, fraction: 0 < step < fraction * steps),
        "one step short: decay ends a step before the border": _switched(
            lambda step, steps, fraction: step < fraction * steps - 1
        ),
        "the learning rate is switched instead of lambda: training itself would stop": _switched(
            lambda *at: _on(*at), lr_too=True, decay_too=False
        ),
        "the learning rate is switched along with lambda: training itself would stop": _switched(
            lambda *at: _on(*at), lr_too=True
        ),
        ALWAYS: _switched(lambda *_: True),
        "decay never acts": _switched(lambda *_: False),
        "step is compared with the fraction itself: it counts steps, so compare with fraction x steps": _switched(
            lambda step, steps, fraction: step < fraction
        ),
        "the multiplier is returned in place of lambda": (
            lambda step, steps, fraction, lr, weight_decay: (lr, _on(step, steps, fraction))
        ),
        "the two results in the wrong order: first lr, then lambda": lambda *given: _dials(*given)[::-1],
    },
    draw=_draw_dials,
)


# The mask

SHAPES: dict[str, tuple[int, ...]] = {
    "head.bias": (2,),
    "head.weight": (2, 3),
    "norm.weight": (3,),
    "norm.bias": (3,),
    "conv.weight": (2, 1, 2, 2),
    "signal.weight": (2, 2, 3),
    "downsample.1.weight": (3,),
    "scale": (),
}
"""Parameters as they are met in networks; a BatchNorm inside a Sequential has a number for a name."""


def _drawn_parameter(draw: Generator) -> Case:
    """A parameter of any number of axes, whose name tells as much as it does in networks."""
    axes = whole(draw, 0, 4)
    key = "2.weight" if axes > 1 else pick(draw, "norm.weight", "head.bias", "2.weight", "gain")
    return {"name": key, "tensor": tenths(draw, *(whole(draw, 1, 3) for _ in range(axes)))}


def _draw_mask(found: Attempt) -> Drawn:
    """All parameters, each with the learner's answer and the expected one."""
    made = [case for case in found.exercise.cases if case is not found.case]
    runs = [found, *(attempt(found.exercise, found.function, case) for case in made)]
    labels = [f"{run.case['name']} {tuple(run.case['tensor'].shape)}" for run in runs]
    expected = [bool(run.expected[0]) for run in runs]
    yours = [bool(run.given[0]) if run.given else None for run in runs]
    figure, (axes,) = panels(1, width=6.0, height=0.32 * len(runs) + 0.9)
    for place, (right, mine) in enumerate(zip(expected, yours, strict=True)):
        axes.plot(int(right), -place, "o", markersize=13, markerfacecolor="none", markeredgewidth=2, color=COLOURS[1])
        if mine is not None:
            axes.plot(int(mine), -place, "X", markersize=8, color=COLOURS[2])
    axes.set_yticks([-place for place in range(len(runs))], labels)
    axes.set_xticks([0, 1], ["stays", "decays"])
    axes.set_xlim(-0.5, 1.5)
    name(axes, "Circle: expected. Cross: yours.", "", "")
    data = pd.DataFrame({"parameter": labels, "expected": expected, "yours": yours})
    wrong = [label for label, right, mine in zip(labels, expected, yours, strict=True) if right != mine]
    return Drawn(figure, f"Which parameters decay. Yours differs from the expected mask for {'; '.join(wrong)}.", data)


MASK = Exercise(
    title="Which parameters decay",
    returns=("decays",),
    reference=lambda name, tensor: is_decayed("weights", name, tensor),
    cases=[{"name": key, "tensor": torch.ones(shape, dtype=torch.float64)} for key, shape in SHAPES.items()],
    drawn=_drawn_parameter,
    mistakes={
        "everything decays, biases and BatchNorm's scales too": lambda name, tensor: True,
        "nothing decays": lambda name, tensor: False,
        "BatchNorm's scales decay: they are called weight too, so look at the shape": (
            lambda name, tensor: name.endswith("weight")
        ),
        "BatchNorm's scales decay: not being a bias is not enough, so look at the shape": (
            lambda name, tensor: not name.endswith("bias")
        ),
        "BatchNorm's scales decay where their name does not tell (downsample.1.weight): look at the shape": (
            lambda name, tensor: name.endswith("weight") and "norm" not in name
        ),
        "kernels are left out: a convolution's weight has three or four axes": lambda name, tensor: tensor.ndim == 2,
        "matrices are left out: only kernels decay": lambda name, tensor: tensor.ndim > 2,
        "turned around: biases and scales decay, and matrices do not": lambda name, tensor: tensor.ndim < 2,
        "everything with an axis decays, biases too; a matrix has two or more": lambda name, tensor: tensor.ndim > 0,
    },
    draw=_draw_mask,
)


# The interval


def _arms() -> list[Case]:
    return [
        {"a": np.array([0.72, 0.74]), "b": np.array([0.70, 0.70])},
        {"a": np.array([0.8, 0.7, 0.9]), "b": np.array([0.7, 0.65, 0.85])},
    ]


def _drawn_arms(draw: Generator) -> Case:
    """Accuracies of two arms: the luck of a seed is common to both, and larger than what is each arm's own."""
    luck, *own = torch.randn(3, whole(draw, 4, 8), generator=draw, dtype=torch.float64)
    b = 0.70 + 0.03 * luck + 0.004 * own[0]
    return {"a": _rounded(b + 0.02 + 0.004 * own[1]), "b": _rounded(b)}


def _rounded(values: Tensor) -> Numbers:
    return np.round(values.numpy(), 3)


def _effect(a: Numbers, b: Numbers) -> tuple[float, float, float]:
    found = interval((a - b).tolist())
    return found.mean, found.low, found.high


def _other_effect(quantile: Function = lambda n: stdtrit(n - 1, 0.975), ddof: int = 1, root: bool = True) -> Function:
    """The paired interval with another quantile of n, another divisor of the variance, or without the root of n."""

    def wrong(a: Numbers, b: Numbers) -> tuple[float, float, float]:
        d = a - b
        reach = float(quantile(len(d))) * d.std(ddof=ddof) / (math.sqrt(len(d)) if root else 1.0)
        return d.mean(), d.mean() - reach, d.mean() + reach

    return wrong


def _unpaired(freedom: Function) -> Function:
    def wrong(a: Numbers, b: Numbers) -> tuple[float, float, float]:
        mean, n = a.mean() - b.mean(), len(a)
        reach = float(freedom(n)) * math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / n)
        return mean, mean - reach, mean + reach

    return wrong


def _draw_effect(found: Attempt) -> Drawn:
    """The learner's interval and the expected one, with the paired differences they are made of."""
    rows = {"expected": found.expected, "yours": found.given or found.expected}
    figure, (axes,) = panels(1, width=6.4, height=2.4)
    differences = found.case["a"] - found.case["b"]
    axes.plot(differences, np.full_like(differences, -2), "|", color=COLOURS[0], markersize=12)
    for place, (mean, low, high) in enumerate(map(_floats, rows.values())):
        axes.plot([low, high], [-place, -place], color=COLOURS[1 + place], linewidth=3)
        axes.plot(mean, -place, "o", color=COLOURS[1 + place])
    axes.axvline(0, color="#8c8c8c", linewidth=1)
    axes.set_yticks([0, -1, -2], ["expected", "yours", "differences"])
    axes.set_ylim(-2.6, 0.6)
    name(axes, "Effect with its 95% interval", "a - b", "")
    data = pd.DataFrame({label: _floats(values) for label, values in rows.items()}, index=["mean", "low", "high"])
    return Drawn(figure, "Effects with intervals, over the differences they are made of.", data)


def _floats(values: Sequence[Tensor]) -> list[float]:
    return [float(value) for value in values]


UNPAIRED = "unpaired: take the differences seed by seed first, so that what a seed does to both arms cancels"

PAIRED_EFFECT = Exercise(
    title="A paired effect with its interval",
    returns=("mean", "low", "high"),
    reference=_effect,
    cases=_arms(),
    drawn=_drawn_arms,
    mistakes={
        UNPAIRED: _unpaired(lambda n: stdtrit(2 * n - 2, 0.975)),
        f"{UNPAIRED} (and t has n - 1 degrees of freedom)": _unpaired(lambda n: stdtrit(n - 1, 0.975)),
        f"{UNPAIRED} (and take t in place of 1.96)": _unpaired(lambda n: 1.96),
        "the standard deviation in place of the standard error: divide by the root of n": _other_effect(root=False),
        "the normal quantile 1.96: with few seeds Student's t is wider": _other_effect(lambda n: 1.96),
        "the spread is divided by n and not by n - 1 (ddof=1)": _other_effect(ddof=0),
        "n degrees of freedom: n differences leave n - 1": _other_effect(lambda n: stdtrit(n, 0.975)),
        "a one-sided quantile: 95% between the two ends leave 2.5% on each side": _other_effect(
            lambda n: stdtrit(n - 1, 0.95)
        ),
        "the sign: the effect is a minus b": lambda a, b: _effect(b, a),
        "one standard error in place of the 95% interval: multiply by the quantile of t": _other_effect(lambda n: 1.0),
    },
    draw=_draw_effect,
)


# One training step


def _training_step(
    w: Tensor,
    g: Tensor,
    buffer: Tensor,
    t: int,
    steps: int,
    fraction: float,
    lr: float,
    momentum: float,
    weight_decay: float,
) -> tuple[Tensor, Tensor]:
    rate = rates(COUPLINGS["l2"].numbers, weight_decay * _on(t, steps, fraction))
    sgd_(w, g, buffer, rate, lr, momentum)
    return w, buffer


def _other_step(
    rule: Function = lambda t, steps, fraction: _on(t, steps, fraction),
    on_decay: bool = True,
    on_lr: bool = False,
    on_buffer: bool = False,
    coupling: str = "l2",
) -> Function:
    """The training step with another `rule` for the toggle, or with the toggle in another place."""

    def wrong(
        w: Tensor,
        g: Tensor,
        buffer: Tensor,
        t: int,
        steps: int,
        fraction: float,
        lr: float,
        momentum: float,
        weight_decay: float,
    ) -> tuple[Tensor, Tensor]:
        on = float(rule(t, steps, fraction))
        rate = rates(COUPLINGS[coupling].numbers, weight_decay * (on if on_decay else 1.0))
        sgd_(w, g, buffer, rate, lr * (on if on_lr else 1.0), momentum * (on if on_buffer else 1.0))
        return w, buffer

    return wrong


def _other_push(change: Function) -> Function:
    """The training step with what decay adds to the gradient changed: a function of lr and of lambda w."""

    def wrong(w: Tensor, g: Tensor, buffer: Tensor, t: int, *rest: float) -> tuple[Tensor, Tensor]:
        steps, fraction, lr, momentum, weight_decay = rest
        buffer = momentum * buffer + g + change(lr, weight_decay * _on(t, int(steps), fraction) * w)
        return w - lr * buffer, buffer

    return wrong


def _without_momentum(w: Tensor, g: Tensor, buffer: Tensor, t: int, *rest: float) -> tuple[Tensor, Tensor]:
    steps, fraction, lr, _, weight_decay = rest
    push = g + weight_decay * _on(t, int(steps), fraction) * w
    return w - lr * push, push


def _step_cases() -> list[Case]:
    half, other = {"lr": 0.5, "momentum": 0.8, "weight_decay": 0.4}, {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.2}
    borders = [(t, 4, 0.5, half) for t in range(4)]
    borders += [(2, 8, 0.25, half), (3, 8, 0.5, half), (3, 4, 1.0, other), (0, 4, 0.0, other)]
    return [
        {"w": row(2.0), "g": row(1.0), "buffer": row(3.0), "t": t, "steps": steps, "fraction": fraction, **hyper}
        for t, steps, fraction, hyper in borders
    ]


def _drawn_step(draw: Generator) -> Case:
    tensors = {key: tenths(draw, 2, 2) for key in ("w", "g", "buffer")}
    return {**tensors, **_drawn_border(draw, "t"), **dials(draw, "lr", "momentum", "weight_decay")}


TRAINING_STEP = Exercise(
    title="One training step with early decay",
    returns=("w", "buffer"),
    reference=_training_step,
    cases=_step_cases(),
    drawn=_drawn_step,
    mistakes={
        LATE: _other_step(lambda t, steps, fraction: t >= fraction * steps),
        LONG: _other_step(lambda t, steps, fraction: t <= fraction * steps),
        ALWAYS: _other_step(lambda *_: True),
        "decay never acts": _other_step(lambda *_: False),
        "the toggle is on the learning rate: it must switch lambda only": _other_step(on_decay=False, on_lr=True),
        "the toggle is on the learning rate too: it must switch lambda only": _other_step(on_lr=True),
        "the toggle empties the buffer too: momentum goes on when decay ends": _other_step(on_buffer=True),
        "decay outside the buffer: that is the decoupled coupling; here decay is part of the gradient": _other_step(
            coupling="decoupled"
        ),
        "the sign of the decay: weights must shrink, and these grow": _other_push(lambda lr, decay: -decay),
        "lambda times lr twice: lr multiplies the buffer, once, and decay is in it": _other_push(
            lambda lr, decay: lr * decay
        ),
        "momentum is missing: the buffer keeps momentum times what it held": _without_momentum,
        "the two results in the wrong order: first w, then the buffer": lambda *given: _training_step(*given)[::-1],
    },
)

EXERCISES = (SAME_DOSE, EARLY_DIALS, MASK, PAIRED_EFFECT, TRAINING_STEP)
