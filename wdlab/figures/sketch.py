"""A curve that was guessed before it was measured, and predictions beside what came true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy  # its parts are loaded when first used

from wdlab.figures.drawn import Drawn
from wdlab.figures.style import COLOURS, FAINT, INK, name, panels

BAND = "#d6e2f5"
EDGES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # of the groups of confidences


def sketch(
    title: str, moments: Sequence[float], heights: Sequence[float] | None, within: float, limits: tuple[float, float],
    x: str = "", y: str = "", beside: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
    measured: tuple[Sequence[float], Sequence[float]] | None = None,
) -> Drawn:  # fmt: skip
    """Draw a guessed line with its band of `within` to either side, known curves `beside`, and what was `measured`.

    Data have one row a moment: moment, sketch, and the measured curve there. Without `heights` nothing was guessed.
    """
    figure, (axes,) = panels(1, width=6.4, height=3.3)
    figure.set_layout_engine("none")  # a fixed place for everything: a picture under a learner's hand never jumps
    axes.set_position((0.095, 0.155, 0.68, 0.80))
    for (label, curve), dashes in zip((beside or {}).items(), ("--", ":", "-."), strict=False):
        axes.plot(*curve, color=FAINT, linestyle=dashes, linewidth=2, label=label)
    if heights is not None:
        low, high = np.subtract(heights, within), np.add(heights, within)
        axes.fill_between(moments, low, high, color=BAND, label="your band", linewidth=0)
        axes.plot(moments, heights, "o-", color=COLOURS[0], linewidth=2, markersize=7, label="your sketch")
    if measured is not None:
        axes.plot(*measured, color=COLOURS[1], linewidth=3, label="measured")
    axes.set_ylim(*limits)
    name(axes, "", x, y)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    data = pd.DataFrame({"moment": list(moments)})
    data["sketch"] = np.nan if heights is None else list(heights)
    data["measured"] = np.nan if measured is None else np.interp(moments, *measured)
    return Drawn(figure, _sketch_in_words(title, data, within, beside or {}, y), data)


def _sketch_in_words(
    title: str, data: pd.DataFrame, within: float, beside: Mapping[str, tuple[Sequence[float], Sequence[float]]], y: str
) -> str:
    told = [f"{label} goes from {curve[1][0]:.3g} to {curve[1][-1]:.3g}" for label, curve in beside.items()]
    for column, words in (("sketch", f"your sketch, plus or minus {within:.3g}"), ("measured", "measured")):
        part = data.dropna(subset=[column])
        if len(part):
            values = zip(part["moment"], part[column], strict=True)
            told.append(f"{words}: " + ", ".join(f"{value:.3g} at {moment:g}" for moment, value in values))
    if data[["sketch", "measured"]].notna().all(axis=None):
        told.append(f"on average {(data['sketch'] - data['measured']).abs().mean():.2g} apart")
    return f"{title} A curve of {y or 'values'} at {len(data)} moments. {'; '.join(told)}."


def calibration(confidences: Sequence[float], right: Sequence[float]) -> Drawn:
    """Draw the share of answers that were right against the confidence stated, in groups, with exact 95% intervals.

    On the diagonal confidence is earned. Data have one row a group: answers, stated, right, low, high (Clopper and
    Pearson 1934).
    """
    frame = pd.DataFrame({"stated": list(confidences), "right": list(right)}, dtype=float)
    frame["group"] = pd.cut(frame["stated"], EDGES, include_lowest=True)
    rows = [_group(part) for _, part in frame.groupby("group", observed=True)]
    data = pd.DataFrame(rows, columns=["answers", "stated", "right", "low", "high"])
    figure, (axes,) = panels(1, width=5.6, height=3.6)
    axes.plot([0, 1], [0, 1], color=FAINT, linestyle="--", linewidth=1.5, label="as sure as right")
    reach = [data["right"] - data["low"], data["high"] - data["right"]]
    axes.errorbar(data["stated"], data["right"], yerr=reach, fmt="o", color=COLOURS[0], capsize=4, markersize=7)
    for found in data.itertuples():
        beside: dict[str, Any] = {"textcoords": "offset points", "fontsize": 9, "color": INK}
        axes.annotate(str(found.answers), (found.stated, found.right), (7, -4), **beside)
    axes.set(xlim=(0, 1.1), ylim=(-0.05, 1.05))
    name(
        axes,
        "Stated confidence and share right",
        "confidence stated; beside each dot, how many answers",
        "share that were right",
    )
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    told = "; ".join(f"{r.stated:.0%} sure: {r.right:.0%} right of {r.answers}" for r in data.itertuples())
    return Drawn(
        figure, f"Share of answers that were right by the confidence stated. {told or 'No answers yet'}.", data
    )


def _group(part: pd.DataFrame) -> dict[str, float]:
    count, hits = len(part), int(part["right"].sum())
    found = scipy.stats.binomtest(hits, count).proportion_ci()
    return {
        "answers": count,
        "stated": part["stated"].mean(),
        "right": hits / count,
        "low": float(found.low),
        "high": float(found.high),
    }
