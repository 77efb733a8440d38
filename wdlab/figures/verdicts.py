"""Verdicts as a picture, each effect's interval against the smallest effect that would matter; and in a sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes

from wdlab.claims import Verdict
from wdlab.claims.record import span
from wdlab.figures.drawn import Drawn
from wdlab.figures.style import COLOURS, FAINT, INK, name, panels


class Row(NamedTuple):
    """One line of the picture: a claim, or its control."""

    id: str
    row: str
    effect: float
    low: float
    high: float
    verdict: str
    smallest: float


def forest(verdicts: Sequence[Verdict]) -> Drawn:
    """Draw each claim's effect and 95% interval with its control below, one row each, and the line it must pass."""
    rows = [row for verdict in verdicts for row in _rows(verdict)]
    figure, (axes,) = panels(1, width=9, height=1.0 + 0.5 * len(rows))
    for place, row in enumerate(rows):
        _draw(axes, -place, row)
    axes.set_yticks([-place for place in range(len(rows))], [_label(row) for row in rows])
    axes.axvline(0, color=FAINT, linewidth=0.8)
    name(axes, "Effects, 95% intervals, and the bar each must clear", "effect", "")
    told = "; ".join(map(_in_words, rows))
    return Drawn(figure, f"Effects and intervals of {len(verdicts)} claims: {told}.", pd.DataFrame(rows))


def stands(verdict: Verdict) -> bool:
    """Return whether a claim is supported and its control vanishes: it holds where it should, and only there."""
    return verdict.verdict == "supported" and verdict.control == "vanishes"


def what_stood(verdicts: Sequence[Verdict], of: str = "of this notebook") -> str:
    """Return a sentence of Markdown: how many of the claims `of` something stand, and what came out of each."""
    words = {v.id: f"supported, control {v.control}" if v.verdict == "supported" else v.verdict for v in verdicts}
    words |= {v.id: "stands" for v in verdicts if stands(v)}
    told = ", ".join(f"*{name}* ({word})" for name, word in words.items())
    return f"Of the {len(verdicts)} claims {of} {sum(map(stands, verdicts)) or 'none'} stood on these seeds: {told}."


def beside(verdicts: Sequence[Verdict]) -> str:
    """Return what a report that they all hold is, beside what came out here: "the same" where each of them stands."""
    count = sum(map(stands, verdicts))
    return {0: "what these runs do not show", len(verdicts): "the same"}.get(count, "more than these runs show")


def _in_words(row: Row) -> str:
    known = math.isfinite(row.effect)
    measured = span(row.effect, row.low, row.high) if known else "undefined (no number for a seed)"
    if row.row == "control":
        return f"its control {measured}, {row.verdict}"
    return f"{row.id} {measured}, bar {row.smallest:+.3g}, {row.verdict}"


def _rows(verdict: Verdict) -> tuple[Row, Row]:
    control, bar = verdict.control_outcome, verdict.smallest
    return (
        Row(verdict.id, "claim", verdict.effect, verdict.low, verdict.high, verdict.verdict, bar),
        Row(verdict.id, "control", control.effect, control.low, control.high, verdict.control, bar),
    )


def _label(row: Row) -> str:
    return f"{row.id}: {row.verdict}" if row.row == "claim" else f"control {row.verdict}"


def _draw(axes: Axes, height: float, row: Row) -> None:
    shape, colour = ("o", COLOURS[0]) if row.row == "claim" else ("s", FAINT)
    if not math.isfinite(row.effect):
        axes.text(row.smallest, height, "  no number for a seed", color=INK, va="center")
    reach = [[row.effect - row.low], [row.high - row.effect]]
    axes.errorbar([row.effect], [height], xerr=reach, fmt=shape, color=colour, capsize=4, linewidth=2)
    axes.plot([row.smallest] * 2, [height - 0.35, height + 0.35], color=COLOURS[1], linewidth=2.5)
