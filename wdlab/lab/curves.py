"""The Lab's picture: curves over the run (test error, weight norm, training loss ...), and the same in words.

Everything is drawn by artists made once. A frame in the middle of a run redraws only what moves, over a kept copy of
the rest.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.collections import PolyCollection
from matplotlib.image import imsave
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullLocator,
    PercentFormatter,
    ScalarFormatter,
)
from matplotlib.transforms import blended_transform_factory

from wdlab.figures.style import GRID, INK
from wdlab.lab.controls import DASHES, DPI, PALETTE, QUIET, SHADE, figure_png, new_figure
from wdlab.lab.quantities import PANELS, QUANTITIES, Quantity, power, quantity, title
from wdlab.lab.trial import Band, Trial, named

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.text import Text

WIDTH = 6.8  # inches
TOP, BOTTOM, PANEL = 0.58, 0.435, 1.43  # inches above, below, and of a panel with what is between
TALLER = 0.35  # by which the first panel is taller than the others
FONT = 10.0  # points
SMALL = 8.8  # points of the smallest print: it can still be read from the last row, where a projector shows the picture
BOLD, FAINT = 2.4, 1.2  # line widths of the current runs and of the earlier ones
LEFT, RIGHT = 0.085, 0.65  # where the panels begin and end; labels stand to their right
ROOM, BOLD_ROOM = 27, 25  # characters of FONT that fit there
HEADING = 42  # ... and above the panels
LINES = 2  # of a heading, and of a label beside few others: the table and the text beside the picture say all
FEW = 3  # labels that have room for so many lines each
SPAN: dict[str, Any] = {"facecolor": SHADE, "edgecolor": QUIET, "lw": 0.5}
QUICK = 110  # dots an inch while a run goes on; at rest the picture is sharper
MARKS = 6  # of events that can be seen at a time


class Curves:
    """The figure with a panel for each of `names`; `show` gives it new data, `png` and `frame` draw it."""

    def __init__(self, names: Sequence[str] = PANELS) -> None:
        height = TOP + BOTTOM + PANEL * (len(names) + TALLER)
        self.figure = new_figure(WIDTH, height)
        ratios = {"height_ratios": [1 + TALLER, *[1] * (len(names) - 1)]}
        axes = self.figure.subplots(len(names), 1, sharex=True, squeeze=False, gridspec_kw=ratios)[:, 0]
        self.figure.subplots_adjust(LEFT, BOTTOM / height, RIGHT, 1 - TOP / height, hspace=0.32)
        self._panels = [_Panel(one, name) for one, name in zip(axes, names, strict=True)]
        self._panels[-1].name_x_axis()
        up = 1 - 0.2 / height
        middle = 1 - 0.155 / height
        self._heading = self.figure.text(LEFT, middle, "", color=INK, weight="bold", va="center", linespacing=1.1)
        self._key = Rectangle((RIGHT + 0.005, up), 0.03, 0.13 / height, **SPAN, transform=self.figure.transFigure)
        self.figure.add_artist(self._key)
        self._when = self.figure.text(0, up, "", size=FONT, color=INK)
        self._shaded: list[tuple[float, float]] | None = None
        self._stage: tuple[object, Any] = (None, None)  # what the still parts look like, and their pixels

    def show(self, trials: Sequence[Trial], planned: Trial) -> None:
        """Draw `trials`, the latest bold; before there is any, the span in which the `planned` one will decay."""
        current = trials[-1] if trials else planned
        self._shade(current.spans)
        heading = str(current.dials) if trials else "Press Run to see the curves grow"
        heading, size = fitted(heading, HEADING, FONT + 0.5)
        self._heading.set(text=heading, fontsize=size)
        names = named(trials)
        for panel in self._panels:
            panel.show(trials, names, current)

    def png(self) -> bytes:
        """Return the picture in full sharpness."""
        self._stage = (None, None)
        return figure_png(self.figure)

    def frame(self) -> bytes:
        """Return the picture as fast as can be: the same lines, fewer dots."""
        canvas: Any = self.figure.canvas
        self.figure.dpi = QUICK
        moving = sorted((a for p in self._panels for a in p.moving if a.get_visible()), key=lambda a: a.get_zorder())
        still = [(panel.axes.get_ylim(), panel.axes.get_title("left")) for panel in self._panels]
        look = (self._heading.get_text(), tuple(self._shaded or ()), *still)
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


class _Pen:
    """The artists that draw one run in one panel: its line, its band, its second curve, its label and its leader."""

    def __init__(self, axes: Axes, colour: str) -> None:
        beside = blended_transform_factory(axes.transAxes, axes.transAxes)
        self.colour = colour
        (self.line,) = axes.plot([], [], color=colour, solid_capstyle="round")
        (self.leader,) = axes.plot([], [], color=colour, lw=FAINT, transform=beside, clip_on=False)
        (self.second,) = axes.plot([], [], color=colour, zorder=3)
        (self.dots,) = axes.plot([], [], color=colour, marker="D", ms=4.5, mec="white", ls="none", zorder=5)
        (self.tip,) = axes.plot([], [], color=colour, marker="o", ms=6, ls="none", zorder=5)
        self.band = PolyCollection([], facecolor=colour, alpha=0.18, lw=0, zorder=2)
        axes.add_collection(self.band, autolim=False)
        self.label: Text = axes.text(1.045, 0, "", color=INK, va="center", linespacing=1.1, transform=beside)
        self.artists = (self.line, self.leader, self.second, self.dots, self.tip, self.band, self.label)

    def draw(
        self, trial: Trial, curve: Band, second: Band, ends: tuple[float, float], label: tuple[str, float], dash: int
    ) -> None:
        """Draw `trial`, whose line ends at the height ends[0], with its `label`, a text and its size, at ends[1]."""
        width, there = BOLD if trial.fresh else FAINT, bool(trial.steps)
        curve = _since(curve, trial.born / trial.run.steps)
        self.line.set_data(curve.x, curve.mean)
        self.line.set(visible=True, lw=width, ls=DASHES[dash], zorder=4 if trial.fresh else 3)
        self.second.set_data(second.x, second.mean)
        self.second.set(visible=bool(second.x), lw=0.8 + width / 2, ls=(0, (1, 1.5 + dash)))
        self.band.set_verts(_outline(curve) if len(trial.runs) > 1 else [])
        self.band.set_visible(len(trial.runs) > 1 and there)
        self.leader.set_data([1.005, 1.035], ends)
        self.leader.set(visible=there, lw=width)
        weight = "bold" if trial.fresh else "normal"
        self.label.set(text=label[0], fontsize=label[1], y=ends[1], visible=there, weight=weight)
        at = [event.step / trial.run.steps for event in trial.events]
        points = [(x, y) for x, y in zip(curve.x, curve.mean, strict=True) if x in at]
        self.dots.set_data([x for x, _ in points], [y for _, y in points])
        self.dots.set_visible(bool(points))
        self.tip.set_data(curve.x[-1:], curve.mean[-1:])
        self.tip.set_visible(trial.fresh and there and trial.done < 1)


def dashes(trials: Sequence[Trial]) -> list[int]:
    """Return which of DASHES draws each of `trials`: the run of now solid, then its forks, the others as they look.

    The bold ones differ in it, and so do the faint ones: no two lines differ in colour alone.
    """
    fresh = [trial for trial in trials if trial.fresh]
    return [fresh.index(trial) if trial.fresh else trial.look for trial in trials]


def fitted(text: str, room: int, size: float = FONT, lines: int = LINES) -> tuple[str, float]:
    r"""Return `text`, where `room` characters of `size` fit into a line, and how large to print it, at least SMALL.

    What does not fit so goes on in the next line, and ends with "…" where there are no more than `lines`.

    >>> fitted("early, lr 0.05", 10, SMALL), fitted("early, lr 0.05", 10, SMALL, lines=1)
    (('early, lr\n0.05', 8.8), ('early, lr…', 8.8))
    """
    rows = textwrap.wrap(text, int(room * size / SMALL), max_lines=lines, placeholder="…", break_on_hyphens=False)
    return "\n".join(rows), max(SMALL, size * min(1.0, room / max(map(len, rows))))


def _since(curve: Band, start: float) -> Band:
    """The points from `start` on: what came before a fork belongs to the run that was forked."""
    kept = [place for place, x in enumerate(curve.x) if x >= start]
    return Band(*([column[place] for place in kept] for column in (curve.x, curve.mean, curve.low, curve.high)))


def _outline(curve: Band) -> list[list[tuple[float, float]]]:
    upper = list(zip(curve.x, curve.high, strict=True))
    return [upper + list(zip(curve.x, curve.low, strict=True))[::-1]] if curve.x else []


class _Panel:
    """One of the axes, with a pen for each run it can hold and marks for what was done by hand."""

    def __init__(self, axes: Axes, name: str) -> None:
        self.axes, self.name, self.quantity = axes, name, QUANTITIES[name]
        self._dress()
        self._pens = [_Pen(axes, colour) for colour in PALETTE]
        self.lines: list[Line2D] = [pen.line for pen in self._pens]
        over = blended_transform_factory(axes.transData, axes.transAxes)
        look: dict[str, Any] = {"color": INK, "lw": 1.0, "ls": (0, (3, 2)), "transform": over, "zorder": 2.5}
        self._marks = [axes.plot([], [], **look)[0] for _ in range(MARKS)]
        words: dict[str, Any] = {"size": SMALL, "color": INK, "transform": over, "zorder": 6, "va": "top"}
        words["bbox"] = {"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 0.8}
        self._words = [axes.text(0, 0, "", **words) for _ in range(MARKS)]
        self.moving: list[Artist] = [artist for pen in self._pens for artist in pen.artists]
        self.moving += [*self._marks, *self._words]
        self._spans: list[Artist] = []

    def _dress(self) -> None:
        axes = self.axes
        self._title = axes.set_title(title(self.quantity, ["sgd"]), loc="left", size=FONT, color=INK, pad=4)
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.tick_params(labelsize=FONT - 1, labelcolor=QUIET, color=GRID, length=3, labelbottom=False)
        axes.spines[:].set_color(GRID)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=GRID, lw=0.7)
        axes.set_axisbelow(True)
        if self.quantity.log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: power(value)))
            axes.yaxis.set_minor_locator(NullLocator())
            return
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        self._dress_numbers()

    def _dress_numbers(self) -> None:
        if not self.quantity.log:
            share = PercentFormatter(1.0, decimals=0)
            self.axes.yaxis.set_major_formatter(share if self.quantity.share else ScalarFormatter())

    def _take(self, wanted: Quantity) -> None:
        """Draw `wanted` from now on, which is this panel's curve as the task at hand tells it."""
        different = wanted.share != self.quantity.share
        self.quantity = wanted
        if different:
            self._dress_numbers()

    def name_x_axis(self) -> None:
        self.axes.tick_params(labelbottom=True)
        self.axes.set_xlabel("part of the run", size=FONT, color=QUIET, labelpad=2)

    def shade(self, wanted: Iterable[tuple[float, float]]) -> None:
        for artist in self._spans:
            artist.remove()
        self._spans = [self.axes.axvspan(start, stop, **SPAN, zorder=0.5) for start, stop in wanted]

    def show(self, trials: Sequence[Trial], names: Sequence[str], current: Trial) -> None:
        _set_visible(self.moving, False)
        self._take(quantity(self.name, current.run.task))
        optimizers = [trial.run.optimizer.name for trial in trials or [current]]
        self._title.set_text(title(self.quantity, optimizers))
        curves = [self._drawable(self.quantity.of(trial)) for trial in trials]
        seconds = [self._drawable(trial.curve(self.quantity.beside)) for trial in trials]
        self._set_limits(trials, [*curves, *seconds])
        lasts = [self.quantity.last(trial) for trial in trials]
        labels = self._say(trials, lasts, names)
        gap = self._line_height() * max((1 + text.count("\n") for text, _ in labels), default=1)
        heights = spread([self._height(last) for last in lasts], gap)
        for trial, curve, second, last, height, label, dash in zip(
            trials, curves, seconds, lasts, heights, labels, dashes(trials), strict=True
        ):
            end = self._height(last) if trial.done == 1 else height
            self._pens[trial.look].draw(trial, curve, second, (end, height), label, dash)
        self._mark(current)

    def _drawable(self, curve: Band) -> Band:
        """Return what of a curve can be drawn: a logarithmic axis holds nothing that is not above 0."""
        if not self.quantity.log or min(curve.low, default=1.0) > 0:
            return curve
        kept = [place for place, low in enumerate(curve.low) if low > 0]
        return Band(*([column[place] for place in kept] for column in (curve.x, curve.mean, curve.low, curve.high)))

    def _mark(self, current: Trial) -> None:
        """Draw a line at each step at which something was done to the current run."""
        first = self.axes.get_subplotspec()
        for place, event in enumerate(current.events[-MARKS:]):
            x = event.step / current.run.steps
            self._marks[place].set_data([x, x], [0, 1])
            self._marks[place].set_visible(True)
            if first is not None and first.is_first_row():
                right = x > 0.75  # there the words stand on the other side
                self._words[place].set(text=event.what, x=x + (-0.008 if right else 0.008), y=0.98 - 0.11 * (place % 3))
                self._words[place].set(visible=True, ha="right" if right else "left")

    def _say(self, trials: Sequence[Trial], lasts: Sequence[float], names: Sequence[str]) -> list[tuple[str, float]]:
        """Return the labels and their sizes: last value and name, or names alone where one has no room for both."""
        told = [self.quantity.tell(value) if math.isfinite(value) else "–" for value in lasts]
        texts = [f"{value}  {name}" for value, name in zip(told, names, strict=True)]
        rooms = [BOLD_ROOM if trial.fresh else ROOM for trial in trials]
        if any(fitted(text, room)[0] != text for text, room in zip(texts, rooms, strict=True)):
            texts = list(names)
        lines = LINES if len(trials) <= FEW else 1
        return [fitted(text, room, lines=lines) for text, room in zip(texts, rooms, strict=True)]

    def _line_height(self) -> float:
        height = self.axes.figure.get_figheight()  # type: ignore[union-attr]  # it is not a subfigure
        return FONT * 1.3 / (self.axes.get_position().height * height * 72)

    def _height(self, value: float) -> float:
        """Return where a value lies in the panel: 0 at the bottom, 1 at the top."""
        if not math.isfinite(value):
            return 0.5
        low, high = self.axes.get_ylim()
        if self.quantity.log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, low))
        return min(max((value - low) / (high - low), 0.0), 1.0)

    def _set_limits(self, trials: Sequence[Trial], curves: Sequence[Band]) -> None:
        values = [value for curve in curves for value in (*curve.low, *curve.high)]
        low, high = self.quantity.limits(values, trials) if values else self.quantity.empty
        self.axes.set_ylim(low, high)
        if self.quantity.log:
            decades = round(math.log10(high / low))
            self.axes.yaxis.set_major_locator(LogLocator(numticks=decades + 1 if decades < 5 else 4))


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


COUNTS = ("no", "one", "two", "three", "four", "five")


def in_words(trials: Sequence[Trial], planned: Trial, names: Sequence[str] = PANELS) -> str:
    """Return what the picture of the curves called `names` shows as text, from the measured numbers."""
    words = [quantity(name, (trials[-1] if trials else planned).run.task).words for name in names]
    if not trials:
        panels = f"{COUNTS[len(names)].capitalize()} empty panel{'s' if len(names) > 1 else ''}"
        return f"{panels}: {', '.join(words)}. {_when(planned)}"
    current = trials[-1]
    listed = f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]
    seeds = f", means and ranges of {len(current.runs)} seeds" if len(current.runs) > 1 else ""
    said = [
        f"Curves of {listed} over the run{seeds}.",
        f"Current run ({current.dials}), {current.done:.0%} done: {_numbers(current, names)}. {_when(current)}",
        *(f"Step {event.step}: {event.what}." for event in current.events),
    ]
    told = named(trials)
    earlier = zip(told[:-1], trials[:-1], strict=True)
    said += [f"Earlier run {label}: {_numbers(trial, names)}." for label, trial in earlier]
    return " ".join(said)


def _when(trial: Trial) -> str:
    shaded = " and ".join(f"{start:.0%} to {stop:.0%}" for start, stop in trial.spans)
    return f"Decay acts from {shaded} of the run, shaded." if shaded else "Decay never acts."


def _numbers(trial: Trial, names: Sequence[str]) -> str:
    if not trial.histories:
        return "nothing measured yet"
    said = ", ".join(quantity(name, trial.run.task).told(trial) for name in names)
    for what, steps in (("it diverged", trial.diverged), ("its game raised", trial.broken)):
        if steps:
            said += f", then {what} at step {', '.join(map(str, steps))}"
    return said
