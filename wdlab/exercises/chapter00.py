"""Exercises of notebook 00: start here."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pandas as pd
import torch
from torch import Generator, Tensor

from wdlab.decay import COUPLINGS, Decay, Timing, rates, sgd_
from wdlab.exercises.draws import dials, tenths, window
from wdlab.exercises.harness import (
    UNTOUCHED,
    Attempt,
    Case,
    Exercise,
    Function,
    attempt,
    check,
    check_value,
    is_a,
    kind,
)
from wdlab.exercises.report import Report
from wdlab.figures.drawn import Drawn
from wdlab.figures.style import COLOURS, name, panels
from wdlab.run import Run

STEPS, START, STOP = 1200, 0.1, 0.25
FIRST_QUARTER = Run(decay=Decay(0.01, Timing.first(0.25)), seed=1)
"""The run that the last exercise starts from."""


def check_decayed_steps(steps: object) -> Report:
    """Check the number of steps in which decay acts: 1,200 steps, and a window from 10% to 25% of them."""
    return check_value(DECAYED_STEPS, steps)


def check_one_line(decayed: object) -> Report:
    """Check `decayed(w, lr, weight_decay)`: the weights after one step in which nothing but decay acts on them."""
    return check(ONE_LINE, decayed)


def check_multiplier(multiplier: object) -> Report:
    """Check `multiplier(step, steps, start, stop)`: 1 where decay acts and 0 where it does not.

    The window reaches from the share `start` of the run up to, and without, the share `stop`; steps count from 0.
    """
    return check(MULTIPLIER, multiplier)


def check_last_quarter(run: object) -> Report:
    """Check a `wdlab.Run` that decays in its last quarter, and else is `FIRST_QUARTER`."""
    if run is None or run is ...:
        return Report(None, LAST_QUARTER.title, UNTOUCHED)
    if not is_a(run, Run):
        return Report(False, LAST_QUARTER.title, f"A wdlab.Run is expected here, and this is {kind(run)}.")
    return check(LAST_QUARTER, lambda: in_numbers(cast(Run, run)))


def in_numbers(run: Run) -> tuple[float, ...]:
    """Return start and stop of decay (shares of the run), lambda, lr, seed, and the number of other differences."""
    table = run.decay.timing.table(run.steps)
    acts = table.nonzero().flatten().tolist()
    ends = (acts[0] / run.steps, (acts[-1] + 1) / run.steps) if acts else (0.0, 0.0)
    dials = (run.decay.strength * float(table.max()), run.optimizer.lr, float(run.seed))
    return (*ends, *dials, float(_others(run)))


def _others(run: Run) -> int:
    """How many fields differ from FIRST_QUARTER's, beside the timing, lambda, the learning rate and the seed."""
    like = replace(
        run,
        decay=replace(run.decay, timing=FIRST_QUARTER.decay.timing, strength=FIRST_QUARTER.decay.strength),
        optimizer=replace(run.optimizer, lr=FIRST_QUARTER.optimizer.lr),
        seed=FIRST_QUARTER.seed,
    )
    return sum(getattr(like, one) != getattr(FIRST_QUARTER, one) for one in like.__dataclass_fields__)


# A number of steps


def _constant(*values: float) -> Function:
    return lambda: values if len(values) > 1 else values[0]


def _draw_steps(found: Attempt) -> Drawn:
    """The window, and below it a bar as long as the learner's number of steps."""
    yours = float((found.given or found.expected)[0])
    figure, (axes,) = panels(1, width=6.4, height=2.2)
    axes.barh(1, (STOP - START) * STEPS, left=START * STEPS, color=COLOURS[1])
    axes.barh(0, yours, left=START * STEPS, color=COLOURS[2])
    axes.set_yticks([1, 0], ["decay acts", "yours"])
    axes.set_xlim(min(0, START * STEPS + yours) - 20, max(STEPS, START * STEPS + yours) + 20)
    name(axes, "The two should be of one length", "step", "")
    alt = (
        f"Two bars from {START:.0%} of {STEPS} steps on: the window, to {STOP:.0%}, and yours, {yours:.4g} steps long."
    )
    return Drawn(figure, alt, pd.DataFrame({"bar": ["yours"], "steps": [yours]}))


DECAYED_STEPS = Exercise(
    title="How many steps?",
    returns=("steps",),
    reference=_constant(round((STOP - START) * STEPS)),
    cases=({},),
    mistakes={
        "counted up to the end of the window: the steps before its start do not belong to it": _constant(STOP * STEPS),
        "these are the steps before the window": _constant(START * STEPS),
        "these are the steps after the window": _constant((1 - STOP) * STEPS),
        "these are the steps without decay": _constant((1 - STOP + START) * STEPS),
        "this is the share of the run, not the number of steps": _constant(STOP - START),
        "this is the share of the run in percent, not the number of steps": _constant(100 * (STOP - START)),
        "one too many: the step at the end of the window no longer belongs to it": _constant(
            round((STOP - START) * STEPS) + 1
        ),
    },
    draw=_draw_steps,
)


# The line


def _decayed(w: Tensor, lr: float, weight_decay: float) -> Tensor:
    sgd_(w, torch.zeros_like(w), None, rates(COUPLINGS["decoupled"].numbers, weight_decay), lr, 0.0)
    return w


def _drawn_line(draw: Generator) -> Case:
    return {"w": tenths(draw, 2, 3), **dials(draw, "lr", "weight_decay")}


ONE_LINE = Exercise(
    title="The line itself",
    returns=("w",),
    reference=_decayed,
    cases=[
        {"w": torch.tensor(w, dtype=torch.float64), "lr": lr, "weight_decay": weight_decay}
        for w, lr, weight_decay in (([2.0], 0.5, 0.4), ([-2.0], 0.5, 0.4), ([0.0], 0.5, 0.4), ([3.0, -1.0], 0.1, 0.0))
    ],
    drawn=_drawn_line,
    mistakes={
        "the sign: weights must shrink, and these grow": lambda w, lr, wd: w + lr * wd * w,
        "lambda times lr twice: a step takes away lr x lambda x w, with one lr": lambda w, lr, wd: w - lr * lr * wd * w,
        "the learning rate is forgotten: a step takes away lr x lambda x w": lambda w, lr, wd: w - wd * w,
        "lambda is forgotten: a step takes away lr x lambda x w": lambda w, lr, wd: w - lr * w,
        "the same is taken from every weight: decay takes a share of each": lambda w, lr, wd: w - lr * wd,
        "only the weight's sign counts here: decay takes a share of its size": lambda w, lr, wd: w - lr * wd * w.sign(),
        "this is the part that is taken away: return what is left": lambda w, lr, wd: lr * wd * w,
        "this is the change of the weights: return the weights after it": lambda w, lr, wd: -lr * wd * w,
        "half of the decay: the penalty is lambda/2 times w squared, and its derivative lambda times w": (
            lambda w, lr, wd: w - lr * wd * w / 2
        ),
        "divided by 1 + lr lambda: close to it, and not the same": lambda w, lr, wd: w / (1 + lr * wd),
    },
)


# The window. Its ends fall on whole steps, exactly.

BORDERS: tuple[tuple[int, int, float, float], ...] = (
    *(
        (0, 4, 0.0, 0.5),
        (2, 4, 0.0, 0.5),
        (3, 4, 0.0, 0.5),
        (0, 4, 0.5, 1.0),
        (0, 4, 0.25, 0.75),
        (1, 4, 0.25, 0.75),
        (2, 4, 0.25, 0.75),
    ),
    *((3, 4, 0.25, 0.75), (3, 4, 0.0, 1.0), (0, 4, 0.0, 0.0), (3, 4, 0.5, 1.0), (24, 100, 0.25, 0.5)),
    *((25, 100, 0.25, 0.5), (49, 100, 0.25, 0.5), (50, 100, 0.25, 0.5), (99, 100, 0.75, 1.0)),
)
"""(step, steps, start, stop)"""


def _acts(rule: Function) -> Function:
    """1 where `rule`, of the step and of the window's ends in steps, holds."""
    return lambda step, steps, start, stop: float(rule(step, start * steps, stop * steps))


def _draw_multiplier(found: Attempt) -> Drawn:
    """The multiplier at every step of the run of the counter-example: the learner's and the expected one."""
    case = dict(found.case)
    runs = [attempt(found.exercise, found.function, {**case, "step": step}) for step in range(case["steps"])]
    expected = [float(run.expected[0]) for run in runs]
    yours = [float(run.given[0]) if run.given else float("nan") for run in runs]
    figure, (axes,) = panels(1, width=6.4, height=2.4)
    axes.step(range(len(runs)), expected, where="mid", color=COLOURS[1], linewidth=5, alpha=0.5, label="expected")
    axes.plot(yours, "X", color=COLOURS[2], markersize=7 if len(runs) < 20 else 3, label="yours")
    name(axes, f"Decay from {case['start']:.0%} to {case['stop']:.0%} of the run", "step", "multiplier")
    axes.margins(y=0.3)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    wrong = ", ".join(str(run.case["step"]) for run in runs if not run.right)
    alt = f"The multiplier over a run of {len(runs)} steps. Yours differs from the expected one at the steps {wrong}."
    return Drawn(figure, alt, pd.DataFrame({"expected": expected, "yours": yours}))


MULTIPLIER = Exercise(
    title="The multiplier of λ",
    returns=("multiplier",),
    reference=lambda step, steps, start, stop: Timing.window(start, stop).at(step, steps),
    cases=[dict(zip(("step", "steps", "start", "stop"), border, strict=True)) for border in BORDERS],
    drawn=lambda draw: dict(zip(("step", "steps", "start", "stop"), window(draw), strict=True)),
    mistakes={
        "off by one at the end: the step at `stop` no longer belongs to the window (use < and not <=)": _acts(
            lambda step, start, stop: start <= step <= stop
        ),
        "off by one at the start: the step at `start` belongs to the window (use <= and not <)": _acts(
            lambda step, start, stop: start < step < stop
        ),
        "off by one at both ends: the window holds its start and not its end": _acts(
            lambda step, start, stop: start < step <= stop
        ),
        "turned around: 1 belongs inside the window and 0 outside": _acts(
            lambda step, start, stop: not start <= step < stop
        ),
        "the end of the window is forgotten": _acts(lambda step, start, stop: start <= step),
        "the start of the window is forgotten": _acts(lambda step, start, stop: step < stop),
        "start and stop are shares of the run: compare the step with start x steps and stop x steps": (
            lambda step, steps, start, stop: float(start <= step < stop)
        ),
        "decay acts at every step: the window is not looked at": _acts(lambda *_: True),
        "decay acts at no step: the window is not looked at": _acts(lambda *_: False),
    },
    draw=_draw_multiplier,
)


# One thing at a time

LAMBDA, LR, SEED = FIRST_QUARTER.decay.strength, FIRST_QUARTER.optimizer.lr, float(FIRST_QUARTER.seed)
TWO = "a second thing differs, so nobody could say which of the two made the difference"


def _draw_window(found: Attempt) -> Drawn:
    """Strength over the run: as expected, and the learner's."""
    figure, (axes,) = panels(1, width=6.4, height=2.4)
    rows = {"expected": found.expected, "yours": found.given or found.expected}
    told = []
    for (label, values), colour, width in zip(rows.items(), COLOURS[1:3], (6, 2), strict=False):
        start, stop, strength = (float(value) for value in values[:3])
        across, up = [0, start, start, stop, stop, 1], [0, 0, strength, strength, 0, 0]
        axes.plot(across, up, color=colour, linewidth=width, alpha=0.8, label=label)
        told.append(f"{label}: λ {strength:g} from {start:.0%} to {stop:.0%}")
    name(axes, "When decay acts", "share of the run", "λ")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    data = pd.DataFrame({label: [float(value) for value in values] for label, values in rows.items()})
    return Drawn(figure, f"When decay acts. {'; '.join(told)}.", data)


LAST_QUARTER = Exercise(
    title="One thing at a time",
    returns=("start", "stop", "weight_decay", "lr", "seed", "other differences"),
    reference=_constant(0.75, 1.0, LAMBDA, LR, SEED, 0.0),
    cases=({},),
    mistakes={
        "this is the first quarter still: change the timing": _constant(0.0, 0.25, LAMBDA, LR, SEED, 0.0),
        "these are the last three quarters: decay begins when three quarters have passed": _constant(
            0.25, 1.0, LAMBDA, LR, SEED, 0.0
        ),
        "these are the first three quarters": _constant(0.0, 0.75, LAMBDA, LR, SEED, 0.0),
        "this is the last half": _constant(0.5, 1.0, LAMBDA, LR, SEED, 0.0),
        "without λ there is no decay whose timing could matter": _constant(0.75, 1.0, 0.0, LR, SEED, 0.0),
        f"the seed differs, too: {TWO}": _constant(0.75, 1.0, LAMBDA, LR, 0.0, 0.0),
        f"λ is four times as large, too: {TWO}": _constant(0.75, 1.0, 4 * LAMBDA, LR, SEED, 0.0),
    },
    draw=_draw_window,
)

EXERCISES = (DECAYED_STEPS, ONE_LINE, MULTIPLIER, LAST_QUARTER)
