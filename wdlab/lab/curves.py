"""The Lab's picture: three curves over the run (test error, weight norm, training loss ...), and the same in words.

Everything is drawn by artists made once. A frame in the middle of a run redraws only what moves, over a kept copy of
the rest.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from matplotlib.image import imsave
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter
from matplotlib.transforms import blended_transform_factory

from wdlab.figures.style import GRID, INK
from wdlab.lab.controls import DASHES, DPI, PALETTE, QUIET, SHADE, figure_png, new_figure
from wdlab.lab.dials import Dials, labels

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.text import Text

    from wdlab.run import Run
    from wdlab.train import History

TITLES = {
    "test_error": "test error: share of wrong answers",
    "weight_norm": "weight norm  ‖w‖",
    "effective_lr": "effective learning rate  lr / ‖w‖²",
    "train_loss": "training loss (nats)",
}
"""The curves that can be shown, each with its title."""

PANELS = ("test_error", "weight_norm", "effective_lr")
"""The curves that are shown unless others are asked for, from top to bottom."""

WIDTH, HEIGHT = 6.8, 5.8  # inches
FONT = 10.0  # points
BOLD, FAINT = 2.4, 1.2  # line widths of the current run and of the earlier ones
LEFT, RIGHT = 0.085, 0.675  # where the panels begin and end; labels stand to their right
ROOM = 25  # characters that fit there
HEADING = 46  # characters that fit above the panels
SPAN: dict[str, Any] = {"facecolor": SHADE, "edgecolor": QUIET, "lw": 0.5}
QUICK = 110  # dots an inch while a run goes on; at rest the picture is sharper


@dataclass
class Trial:
    """One run in the Lab: what was asked for, the look it keeps, and what it has left behind so far."""

    dials: Dials
    run: Run
    look: int
    history: History | None = None

    @cached_property
    def spans(self) -> list[tuple[float, float]]:
        """The parts of the run in which decay acts."""
        return spans(self.run)

    @cached_property
    def last_lr(self) -> float:
        """The last multiplier of the learning rate."""
        return float(self.run.schedule.table(self.run.steps)[-1])

    @property
    def done(self) -> float:
        """The share of the run that is over."""
        return self.history.steps[-1] / self.run.steps if self.history else 0.0

    def curve(self, name: str) -> tuple[list[float], list[float]]:
        """Return a curve's x, as a share of the run, and y."""
        if self.history is None:
            return [], []
        return [step / self.run.steps for step in self.history.steps], list(self.history.curves[name])

    def last(self, name: str) -> float:
        """Return the last finite value of a curve, or nan."""
        return next((y for y in reversed(self.curve(name)[1]) if math.isfinite(y)), math.nan)


def spans(run: Run) -> list[tuple[float, float]]:
    """Return the parts of `run` in which decay acts, as (start, stop) shares, read off the table that training uses."""
    acts = run.decay.strength * run.decay.timing.table(run.steps) > 0
    edges = torch.nn.functional.pad(acts.to(torch.int8), (1, 1)).diff().nonzero().flatten()
    return [(start / run.steps, stop / run.steps) for start, stop in edges.view(-1, 2).tolist()]


class Curves:
    """The figure with a panel for each of three curves; `show` gives it new data, `png` and `frame` draw it."""

    def __init__(self, names: Sequence[str] = PANELS) -> None:
        self.figure = new_figure(WIDTH, HEIGHT)
        rows = self.figure.subplots(3, 1, sharex=True, gridspec_kw={"height_ratios": [1.35, 1, 1]})
        self.figure.subplots_adjust(left=LEFT, right=RIGHT, top=0.9, bottom=0.075, hspace=0.32)
        self._panels = [_Panel(axes, name) for axes, name in zip(rows, names, strict=True)]
        self._panels[-1].name_x_axis()
        self._heading = self.figure.text(LEFT, 0.965, "", size=FONT + 0.5, color=INK, weight="bold")
        self._key = Rectangle((RIGHT + 0.005, 0.963), 0.03, 0.022, **SPAN, transform=self.figure.transFigure)
        self.figure.add_artist(self._key)
        self._when = self.figure.text(0, 0.965, "", size=FONT, color=INK)
        self._shaded: list[tuple[float, float]] | None = None
        self._stage: tuple[object, Any] = (None, None)  # what the still parts look like, and their pixels

    def show(self, trials: Sequence[Trial], planned: Trial) -> None:
        """Draw `trials`, the last of them bold; before there is any, the span in which the `planned` one will decay."""
        current = trials[-1] if trials else planned
        self._shade(current.spans)
        heading = str(current.dials) if trials else "Press Run to see the curves grow"
        self._heading.set(text=heading, fontsize=(FONT + 0.5) * min(1.0, HEADING / len(heading)))
        names = labels([trial.dials for trial in trials])
        for panel in self._panels:
            panel.show(trials, names)

    def png(self) -> bytes:
        """Return the picture in full sharpness."""
        self._stage = (None, None)
        return figure_png(self.figure)

    def frame(self) -> bytes:
        """Return the picture as fast as can be: the same lines, fewer dots."""
        canvas: Any = self.figure.canvas
        self.figure.dpi = QUICK
        moving = sorted((a for p in self._panels for a in p.moving if a.get_visible()), key=lambda a: a.get_zorder())
        look = (self._heading.get_text(), tuple(self._shaded or ()), *(p.axes.get_ylim() for p in self._panels))
        if self._stage[0] != look:
            _set_visible(moving, False)
            canvas.draw()
            self._stage = (look, canvas.copy_from_bbox(self.figure.bbox))
            _set_visible(moving, True)
        canvas.restore_region(self._stage[1])
        for artist in moving:
            artist.draw(canvas.get_renderer())
        buffer = io.BytesIO()
        imsave(buffer, canvas.buffer_rgba(), format="png", pil_kwargs={"compress_level": 1})
        self.figure.dpi = DPI
        return buffer.getvalue()

    def _shade(self, wanted: list[tuple[float, float]]) -> None:
        if wanted == self._shaded:
            return
        self._shaded = wanted
        for panel in self._panels:
            panel.shade(wanted)
        self._when.set_text("decay acts" if wanted else "decay never acts")
        self._key.set_visible(bool(wanted))
        self._when.set_x(RIGHT + (0.045 if wanted else 0.005))


def _set_visible(artists: Iterable[Artist], visible: bool) -> None:
    for artist in artists:
        artist.set_visible(visible)


class _Panel:
    """One of the three axes: a line, a label and a leader for each run it can hold."""

    def __init__(self, axes: Axes, name: str) -> None:
        self.axes, self.name = axes, name
        _dress(axes, name)
        beside = blended_transform_factory(axes.transAxes, axes.transAxes)
        self.lines: list[Line2D] = []
        self._leaders: list[Line2D] = []
        self._labels: list[Text] = []
        for colour in PALETTE:
            self.lines += axes.plot([], [], color=colour, solid_capstyle="round")
            self._leaders += axes.plot([], [], color=colour, lw=FAINT, transform=beside, clip_on=False)
            self._labels.append(axes.text(1.045, 0, "", size=FONT, color=INK, va="center", transform=beside))
        (self._tip,) = axes.plot([], [], marker="o", ms=6, ls="none", zorder=5)
        self.moving: list[Artist] = [*self.lines, *self._leaders, *self._labels, self._tip]
        self._spans: list[Artist] = []

    def name_x_axis(self) -> None:
        self.axes.tick_params(labelbottom=True)
        self.axes.set_xlabel("part of the run", size=FONT, color=QUIET, labelpad=2)

    def shade(self, wanted: Iterable[tuple[float, float]]) -> None:
        for artist in self._spans:
            artist.remove()
        self._spans = [self.axes.axvspan(start, stop, **SPAN, zorder=0.5) for start, stop in wanted]

    def show(self, trials: Sequence[Trial], names: Sequence[str]) -> None:
        _set_visible(self.moving, False)
        self._set_limits(trials)
        heights = spread([self._height(trial) for trial in trials], gap=self._line_height())
        for trial, text, height in zip(trials, self._say(trials, names), heights, strict=True):
            self._show_one(trial, text, height, current=trial is trials[-1])

    def _show_one(self, trial: Trial, text: str, height: float, current: bool) -> None:
        line, leader, label = self.lines[trial.look], self._leaders[trial.look], self._labels[trial.look]
        x, y = trial.curve(self.name)
        line.set_data(x, y)
        line.set_linestyle(DASHES[0 if current else trial.look])
        line.set(visible=True, lw=BOLD if current else FAINT, zorder=4 if current else 3)
        end = self._height(trial) if trial.done == 1 else height
        leader.set_data([1.005, 1.035], [end, height])
        leader.set(visible=bool(x), lw=BOLD if current else FAINT)
        label.set(text=text, y=height, visible=bool(x), weight="bold" if current else "normal")
        label.set_fontsize(FONT * min(1.0, ROOM / max(len(text), 1)))
        if current and x and trial.done < 1:
            self._tip.set_data(x[-1:], y[-1:])
            self._tip.set(visible=True, color=PALETTE[trial.look])

    def _say(self, trials: Sequence[Trial], names: Sequence[str]) -> list[str]:
        """Return the labels: last value and name, or all of them without the value where one would be too long."""
        values = [trial.last(self.name) for trial in trials]
        told = [TELL[self.name](value) if math.isfinite(value) else "–" for value in values]
        longest = max((len(value) + 2 + len(name) for value, name in zip(told, names, strict=True)), default=0)
        if longest > ROOM + 4:
            return list(names)
        return [f"{value}  {name}" for value, name in zip(told, names, strict=True)]

    def _line_height(self) -> float:
        return FONT * 1.3 / (self.axes.get_position().height * HEIGHT * 72)

    def _height(self, trial: Trial) -> float:
        """Return where the trial's last value lies in the panel: 0 at the bottom, 1 at the top."""
        value = trial.last(self.name)
        if not math.isfinite(value):
            return 0.5
        low, high = self.axes.get_ylim()
        if self.name == "effective_lr":
            low, high, value = math.log(low), math.log(high), math.log(max(value, low))
        return min(max((value - low) / (high - low), 0.0), 1.0)

    def _set_limits(self, trials: Sequence[Trial]) -> None:
        values = [y for trial in trials for y in trial.curve(self.name)[1] if math.isfinite(y)]
        low, high = LIMITS[self.name](values, trials) if values else EMPTY[self.name]
        self.axes.set_ylim(low, high)
        if self.name == "effective_lr":
            decades = round(math.log10(high / low))
            self.axes.yaxis.set_major_locator(LogLocator(numticks=decades + 1 if decades < 5 else 4))


def _dress(axes: Axes, name: str) -> None:
    axes.set_title(TITLES[name], loc="left", size=FONT, color=INK, pad=4)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.tick_params(labelsize=FONT - 1, labelcolor=QUIET, color=GRID, length=3, labelbottom=False)
    axes.spines[:].set_color(GRID)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=GRID, lw=0.7)
    axes.set_axisbelow(True)
    if name == "effective_lr":
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _power(value)))
        axes.yaxis.set_minor_locator(NullLocator())
        return
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    if name == "test_error":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


# Where the axes end: near the numbers that are compared, in steps, so that a growing curve seldom moves them


def _error_limits(errors: Sequence[float], trials: Sequence[Trial]) -> tuple[float, float]:
    """Look closely at the low end, where runs are compared, but never lose the point that is being drawn."""
    best, now = min(errors), trials[-1].last("test_error")
    top = max(
        1.6 * best, 1.04 * now if trials[-1].done < 1 else 0.0, *(1.1 * trial.last("test_error") for trial in trials)
    )
    return math.floor(0.92 * best * 20) / 20, min(math.ceil(top * 20) / 20, 1.0)


def _norm_limits(norms: Sequence[float], _: Sequence[Trial]) -> tuple[float, float]:
    exponent = 10.0 ** math.floor(math.log10(max(1.1 * max(norms), 1e-30)))
    return 0.0, next(n * exponent for n in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 15) if n * exponent >= 1.1 * max(norms))


def _rate_limits(rates: Sequence[float], trials: Sequence[Trial]) -> tuple[float, float]:
    """Whole decades that also hold what the schedule has still to bring."""
    ends = [trial.curve("effective_lr")[1][0] * trial.last_lr / 3 for trial in trials if trial.history]
    low, high = min(*rates, *ends), max(rates)
    return 10.0 ** math.floor(math.log10(max(low, 1e-300))), 10.0 ** math.ceil(math.log10(max(1.1 * high, 1e-299)))


LIMITS = {
    "test_error": _error_limits,
    "weight_norm": _norm_limits,
    "effective_lr": _rate_limits,
    "train_loss": _norm_limits,
}
EMPTY = {"test_error": (0.0, 1.0), "weight_norm": (0.0, 20.0), "effective_lr": (1e-6, 1e-2), "train_loss": (0.0, 2.5)}
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _power(value: float) -> str:
    return "10" + str(round(math.log10(value))).translate(_RAISED)


def _scientific(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}·10{str(int(exponent)).translate(_RAISED)}"


TELL = {
    "test_error": "{:.1%}".format,
    "weight_norm": "{:.1f}".format,
    "effective_lr": _scientific,
    "train_loss": "{:.2f}".format,
}


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Return positions in [0, 1] as near to the `wanted` ones as a `gap` between neighbours allows (least squares).

    >>> spread([0.5, 0.5], gap=0.1)
    [0.45, 0.55]
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    blocks: list[list[float]] = []  # [sum, count]: neighbours that touch move as one
    for place, index in enumerate(order):
        blocks.append([wanted[index] - place * gap, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] >= blocks[-1][0] / blocks[-1][1]:
            total, count = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += count
    room = max(1 - (len(wanted) - 1) * gap, 0.0)
    level = [min(max(total / count, 0.0), room) for total, count in blocks for _ in range(int(count))]
    placed = {index: level[place] + place * gap for place, index in enumerate(order)}
    return [placed[index] for index in range(len(wanted))]


def in_words(trials: Sequence[Trial], planned: Trial, names: Sequence[str] = PANELS) -> str:
    """Return what the picture of the curves called `names` shows as text, from the measured numbers."""
    words = [WORDS[name][0] for name in names]
    if not trials:
        return f"Three empty panels: {', '.join(words)}. {_when(planned)}"
    current = trials[-1]
    said = [
        f"Curves of {', '.join(words[:-1])} and {words[-1]} over the run.",
        f"Current run ({current.dials}), {current.done:.0%} done: {_numbers(current, names)}. {_when(current)}",
    ]
    told = labels([trial.dials for trial in trials])
    earlier = zip(told[:-1], trials[:-1], strict=True)
    said += [f"Earlier run {label}: {_numbers(trial, names)}." for label, trial in earlier]
    return " ".join(said)


def _when(trial: Trial) -> str:
    shaded = " and ".join(f"{start:.0%} to {stop:.0%}" for start, stop in trial.spans)
    return f"Decay acts from {shaded} of the run, shaded." if shaded else "Decay never acts."


def _numbers(trial: Trial, names: Sequence[str]) -> str:
    if trial.history is None:
        return "nothing measured yet"
    said = ", ".join(f"{WORDS[name][0]} {trial.last(name):{WORDS[name][1]}}" for name in names)
    at = trial.history.diverged_at
    return said if at is None else f"{said}, then it diverged at step {at}"


WORDS = {
    "test_error": ("test error", ".1%"),
    "weight_norm": ("weight norm", ".1f"),
    "effective_lr": ("effective learning rate", ".1e"),
    "train_loss": ("training loss", ".2f"),
}
