"""Verdicts as a picture: each effect's interval against the smallest effect that would matter."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from wdlab.claims import Verdict
from wdlab.figures.drawn import Drawn
from wdlab.figures.style import COLOURS, FAINT, name, panels


def forest(verdicts: Sequence[Verdict]) -> Drawn:
    """Draw each claim's effect and 95% interval with its control below, one row a claim, and the line it must pass."""
    rows = []
    for verdict in verdicts:
        control = verdict.control_outcome
        rows.append((verdict.id, "claim", verdict.effect, verdict.low, verdict.high, verdict.verdict, verdict.smallest))
        rows.append((verdict.id, "control", control.effect, control.low, control.high, verdict.control, verdict.smallest))
    data = pd.DataFrame(rows, columns=["id", "row", "effect", "low", "high", "verdict", "smallest"])
    figure, (axes,) = panels(1, width=8, height=0.8 + 0.55 * len(rows))
    for place, row in enumerate(data.itertuples()):
        colour = COLOURS[1] if row.row == "claim" else FAINT
        reach = [[row.effect - row.low], [row.high - row.effect]]
        axes.errorbar([row.effect], [-place], xerr=reach, fmt="o" if row.row == "claim" else "s", color=colour, capsize=4)
        axes.plot([row.smallest] * 2, [-place - 0.4, -place + 0.4], color=COLOURS[2], linewidth=2)
    axes.set_yticks([-place for place in range(len(rows))], [f"{row.id}\n{row.row}: {row.verdict}" for row in data.itertuples()])
    axes.axvline(0, color=FAINT, linewidth=0.8)
    name(axes, "Effects with 95% intervals; the orange bar is the smallest effect that counts", "effect", "")
    told = "; ".join(f"{v.id} {v.verdict}, control {v.control}" for v in verdicts)
    return Drawn(figure, f"Effects and intervals of {len(verdicts)} claims: {told}.", data)
