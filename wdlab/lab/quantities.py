"""What the Lab can draw: each curve with its title, its words, its numbers as text, and where its axis ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from wdlab.lab.trial import Band, Trial
from wdlab.tasks import DQN, Task

Limits = Callable[[Sequence[float], Sequence[Trial]], tuple[float, float]]


@dataclass(frozen=True)
class Quantity:
    """One panel: the curve of a History it draws, and that of `beside`, dotted, if there is one.

    `short` names it on a button, `words` in a text, `spec` formats its numbers there and `tell` in a label; `limits`
    says where the axis ends, `empty` where it does before there is a number; `log` asks for a logarithmic one, `share`
    for one in percent. `shown` makes what is drawn of what was measured, where that is not the same.
    """

    curve: str
    title: str
    short: str
    words: str
    spec: str
    tell: Callable[[float], str]
    limits: Limits
    empty: tuple[float, float]
    log: bool = False
    share: bool = False
    beside: str = ""
    shown: Callable[[float], float] | None = None

    def of(self, trial: Trial) -> Band:
        """Return what is drawn of `trial`."""
        band = trial.curve(self.curve)
        return band if self.shown is None else band.through(self.shown)

    def last(self, trial: Trial) -> float:
        """Return the last value of that, a mean over seeds, or nan."""
        return next(reversed(self.of(trial).mean), math.nan)

    def told(self, trial: Trial) -> str:
        """Return its name and last value in words."""
        return f"{self.words} {self.last(trial):{self.spec}}"


# Where the axes end: near the numbers that are compared, in steps, so that a growing curve seldom moves them


def _error_limits(errors: Sequence[float], trials: Sequence[Trial]) -> tuple[float, float]:
    """Look closely at the low end, where runs are compared, but never lose the point that is being drawn."""
    lasts = [trial.last("test_error") for trial in trials]
    top = max(1.6 * min(errors), *(1.1 * last for last in lasts if math.isfinite(last)))
    return math.floor(0.92 * min(errors) * 20) / 20, min(math.ceil(top * 20) / 20, 1.0)


def _norm_limits(norms: Sequence[float], _: Sequence[Trial]) -> tuple[float, float]:
    exponent = 10.0 ** math.floor(math.log10(max(1.1 * max(norms), 1e-30)))
    return 0.0, next(n * exponent for n in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 15) if n * exponent >= 1.1 * max(norms))


def _return_limits(returns: Sequence[float], _: Sequence[Trial]) -> tuple[float, float]:
    low, high = _norm_limits([max(abs(points), 1.0) for points in returns], _)
    return (low if min(returns) >= 0 else -high), high


def _rate_limits(rates: Sequence[float], trials: Sequence[Trial]) -> tuple[float, float]:
    """Whole decades that also hold what the schedule has still to bring."""
    ends = [[*trial.curve("effective_lr").mean[:1], trial.fall / 3] for trial in trials]
    return _decades([*rates, *(math.prod(end) for end in ends if len(end) == 2)], max(rates))


def _part_limits(lengths: Sequence[float], _: Sequence[Trial]) -> tuple[float, float]:
    return _decades(lengths, max(lengths))


def _decades(lowest: Sequence[float], highest: float) -> tuple[float, float]:
    low, high = max(min(lowest), 1e-300), max(1.1 * highest, 1e-299)
    return 10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high))


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power(value: float) -> str:
    """Return a power of ten as text.

    >>> power(0.001)
    '10⁻³'
    """
    return "10" + str(round(math.log10(value))).translate(_RAISED)


def scientific(value: float) -> str:
    """Return a number as text.

    >>> scientific(0.00012)
    '1.2·10⁻⁴'
    """
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}·10{str(int(exponent)).translate(_RAISED)}"


QUANTITIES: dict[str, Quantity] = {
    "test_error": Quantity(
        "test_error", "test error: share of wrong answers", "error", "test error", ".1%", "{:.1%}".format,
        _error_limits, (0.0, 1.0), share=True,
    ),
    "train_loss": Quantity(
        "train_loss", "training loss (nats)", "loss", "training loss", ".2f", "{:.2f}".format,
        _norm_limits, (0.0, 2.5),
    ),
    "weight_norm": Quantity(
        "weight_norm", "weight norm  ‖w‖", "weight norm", "weight norm", ".1f", "{:.1f}".format,
        _norm_limits, (0.0, 20.0),
    ),
    "effective_lr": Quantity(
        "effective_lr", "effective learning rate  {}", "effective lr", "effective learning rate", ".1e", scientific,
        _rate_limits, (1e-6, 1e-2), log=True,
    ),
    "step_parts": Quantity(
        "decay_step", "last step: its decay part (line), the objective's (dots)", "parts of the step",
        "decay part of the step", ".1e", scientific, _part_limits, (1e-6, 1e-1), log=True, beside="objective_step",
    ),
}  # fmt: skip
"""The curves that can be shown, by name, as they are for classification."""

PANELS = ("test_error", "weight_norm", "effective_lr")
"""The curves that are shown unless others are asked for, from top to bottom."""


def quantity(name: str, task: Task) -> Quantity:
    """Return the curve called `name` as `task` tells it: a game by its mean return, all else by its test error."""
    found = QUANTITIES[name]
    if name != "test_error":
        return found
    if not isinstance(task, DQN):
        return replace(found, title=f"test error: share of {task.wrong}")
    return replace(
        found, title=f"return: mean of {task.test_size} test games of {task.name}", short="return", words="mean return",
        tell="{:.0f}".format, spec=".0f", limits=_return_limits, empty=(0.0, task.best_return), share=False,
        shown=lambda error: float(task.points(1 - error)),
    )  # fmt: skip


def comparable(one: Trial, other: Trial) -> bool:
    """Whether two runs can stand in one picture: their tasks tell the same of how good a net is."""
    titles = {quantity("test_error", trial.run.task).title for trial in (one, other)}
    return len(titles) == 1


def title(quantity: Quantity, optimizers: Sequence[str]) -> str:
    """Return the title of a panel for runs of `optimizers`: the effective lr is another formula under Adam."""
    formulas = {"sgd": "lr / ‖w‖²", "adam": "lr / ‖w‖"}
    several = len(set(optimizers)) > 1
    told = "lr / ‖w‖²; Adam: lr / ‖w‖" if several else formulas[optimizers[0]]
    return quantity.title.format(told)
