"""One look for every figure: colours that survive grey and colour blindness, type that survives a projector."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

BACKGROUND = "#ffffff"  # opaque, so that a figure reads the same on a dark theme
INK = "#1f2328"
FAINT = "#7a828a"  # single seeds, lines at zero
GRID = "#dfe3e8"

COLOURS = ("#063185", "#ad6a00", "#007a54", "#111111", "#a22c1c", "#3d8ae6", "#7d1a63")
"""Line colours, in the order to use them, for figures and widgets alike. Each has a contrast of 3 or more with white
and with the widgets' shading; any two differ for the three kinds of colour blindness, and in lightness, so that
grey print keeps them apart."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")

_TYPE = {"title": 11, "label": 10, "tick": 9}


def panels(count: int, width: float = 4.2, height: float = 3.2, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a white figure with `rows` rows of `count` panels side by side, row after row, made without pyplot."""
    figure = Figure(figsize=(width * count, height * rows), layout="constrained", facecolor=BACKGROUND)
    return figure, [dress(axes) for axes in figure.subplots(rows, count, squeeze=False).flat]


def dress(axes: Axes) -> Axes:
    """Give `axes` the course's look: two spines, a faint grid, readable type."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=_TYPE["tick"])
    return axes


def name(axes: Axes, title: str, x: str, y: str) -> None:
    """Write the panel's title and the names of its axes."""
    axes.set_title(title, fontsize=_TYPE["title"], loc="left", color=INK)
    axes.set_xlabel(x, fontsize=_TYPE["label"])
    axes.set_ylabel(y, fontsize=_TYPE["label"])


def looks(labels: Sequence[object]) -> Iterator[dict[str, Any]]:
    """Yield a colour and a marker for each label; both differ, so that either alone tells lines apart."""
    for _, colour, marker in zip(labels, cycle(COLOURS), cycle(MARKERS), strict=False):
        yield {"color": colour, "marker": marker}
