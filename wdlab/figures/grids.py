"""Figures of chapter 08: a grid of learning rates and lambdas under each coupling, and what is read off it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from wdlab.figures.drawn import Drawn
from wdlab.figures.style import BACKGROUND, COLOURS, FAINT, INK, dress, looks, name, panels
from wdlab.grids import NEAR, NONE, best_strengths, cells, of
from wdlab.stats import Effect, interval

MAP = "cividis"
FRAME = COLOURS[4]
IN_A_ROW = 4  # heat maps; more would be too small to read
LIGHT = 0.5  # of the scale of colours, above which ink reads better than white


def heat_maps(runs: pd.DataFrame, label: str = "exact match", near: float = NEAR) -> Drawn:
    """Draw the mean score of every cell over learning rate and lambda, a panel for each coupling, on one colour scale.

    Four panels stand in a row. `runs` are those of `wdlab.grids.tabulate`. Cells within `near` of the best of all are
    framed. A cell in which runs diverged is crossed out and says how many of them, and at which step first; they count
    as 0.
    """
    found = cells(runs, near)
    groups = {str(coupling): part for coupling, part in found.groupby("coupling", sort=False)}
    figure, axes = _panels_in_rows([part["weight_decay"].nunique() for part in groups.values()])
    scale = Normalize(0.0, max(float(found["score"].max()), 1e-9))
    for place, (panel, (coupling, part)) in enumerate(zip(axes, groups.items(), strict=True)):
        _heat_map(panel, part, scale)
        name(panel, coupling, "" if coupling == NONE else "λ", "" if place % IN_A_ROW else "learning rate")
    bar = figure.colorbar(axes[0].images[0], ax=axes, shrink=0.9, pad=0.01)
    bar.set_label(f"{label} (framed: within {near:g} of the best)", fontsize=8.5)
    told = " ".join(_said(coupling, part, near) for coupling, part in groups.items())
    return Drawn(figure, f"Mean {label} over learning rate and lambda. {told}", found)


def _panels_in_rows(columns: list[int]) -> tuple[Figure, list[Axes]]:
    """Panels for so many columns of cells each, all cells of one width, IN_A_ROW panels to a row."""
    rows = [columns[first : first + IN_A_ROW] for first in range(0, len(columns), IN_A_ROW)]
    widest = max(map(sum, rows))
    figure = Figure(figsize=(1.9 + 0.82 * widest, 3.5 * len(rows)), layout="constrained", facecolor=BACKGROUND)
    cut, axes = figure.add_gridspec(len(rows), widest), []  # one for all panels, so that they share the colour bar
    for line, row in enumerate(rows):
        place = widest - sum(row)  # to the right, where the panels of a full row end too
        for width in row:
            axes.append(figure.add_subplot(cut[line, place : place + width]))
            place += width
    return figure, axes


def _heat_map(axes: Axes, part: pd.DataFrame, scale: Normalize) -> None:
    rates, strengths = (sorted(set(part[column])) for column in ("lr", "weight_decay"))
    score = np.full((len(rates), len(strengths)), np.nan)
    each: Any = part.itertuples()
    for cell in each:
        y, x = rates.index(cell.lr), strengths.index(cell.weight_decay)
        score[y, x] = cell.score
        _mark(axes, x, y, cell, not scale(cell.score) <= LIGHT)  # white where there is no score
    axes.imshow(np.ma.masked_invalid(score), cmap=MAP, norm=scale, origin="lower", aspect="auto")
    axes.set_xticks(range(len(strengths)), [f"{value:g}" for value in strengths], fontsize=8.5)
    axes.set_yticks(range(len(rates)), [f"{value:g}" for value in rates], fontsize=8.5)


def _mark(axes: Axes, x: int, y: int, cell: Any, light: bool) -> None:
    """Write what a cell holds, and frame or cross it."""
    text, size = (f"{cell.score:.2f}", 9.0) if cell.score == cell.score else ("no score", 6.5)
    if cell.diverged:
        many = "" if cell.diverged == cell.seeds else f"{cell.diverged} of {cell.seeds}\n"
        text, size = f"{text}\n{many}diverged\nat step {cell.diverged_at:.0f}", 6.5
        axes.plot([x - 0.45, x + 0.45], [y - 0.45, y + 0.45], color=FAINT, linewidth=1)
    axes.text(x, y, text, ha="center", va="center", fontsize=size, color=INK if light else BACKGROUND, zorder=4)
    if cell.good:
        for colour, width in ((BACKGROUND, 4.5), (FRAME, 2.4)):
            frame = Rectangle((x - 0.44, y - 0.44), 0.88, 0.88, fill=False, edgecolor=colour, linewidth=width, zorder=3)
            axes.add_patch(frame)


def _said(coupling: str, part: pd.DataFrame, near: float) -> str:
    best, lost = part.sort_values("score", na_position="first").iloc[-1], part[part["diverged"] > 0]
    told = f"{coupling}: best {best['score']:.3f} at lr {best['lr']:g}, lambda {best['weight_decay']:g}; "
    told += f"{part['good'].sum()} of {len(part)} cells within {near:g} of the best of all"
    marks = [
        f"lr {c.lr:g}, lambda {c.weight_decay:g}: {c.diverged} of {c.seeds} diverged at step {c.diverged_at:.0f}"
        for c in lost.itertuples()
    ]
    return "; ".join([told, *marks]) + "."


def best_scores(metrics: Mapping[str, pd.DataFrame]) -> Drawn:
    """Draw the best score of each coupling, a panel for each entry {label: runs}: the best cell of every seed.

    Points are means over seeds with their 95% intervals, where there are two seeds or more; single seeds are faint. A
    coupling with fewer cells to choose from has the smaller chance.
    """
    figure, axes = panels(len(metrics), width=4.6, height=3.2)
    rows = []
    for panel, (label, runs) in zip(axes, metrics.items(), strict=True):
        for place, coupling in enumerate(dict.fromkeys(runs["coupling"])):
            part = of(runs, coupling)
            each = part.groupby("seed")["score"].max().tolist()
            found = _interval(each)
            rows.append(
                {"metric": label, "coupling": coupling, "seeds": len(each)}
                | {"best": found.mean, "low": found.low, "high": found.high}
            )
            panel.plot(each, [-place] * len(each), "o", color=FAINT, markersize=4, alpha=0.5)
            reach = [[found.mean - found.low], [found.high - found.mean]]
            panel.errorbar([found.mean], [-place], xerr=reach, fmt="D", color=COLOURS[0], capsize=4, linewidth=2)
        couplings = list(dict.fromkeys(runs["coupling"]))
        panel.set_yticks([-place for place in range(len(couplings))], couplings)
        panel.set_ylim(0.6 - len(couplings), 0.6)
        name(panel, f"Best {label}", label, "")
    told = "; ".join(f"{r['metric']}, {r['coupling']}: {r['best']:.3f}" for r in rows)
    return Drawn(figure, f"Best score of each coupling. {told}.", pd.DataFrame(rows))


def _interval(values: list[float]) -> Effect:
    """The interval of several seeds; of one, the value itself."""
    return interval(values) if len(values) > 1 else Effect(values[0], values[0], values[0], tuple(values))


def best_lambdas(runs: pd.DataFrame) -> Drawn:
    """Draw the lambda of the best cell at each learning rate, a line for each coupling that has several lambdas.

    Large points are those of the mean score over seeds, faint ones those of single seeds.
    """
    figure, (axes,) = panels(1, width=6.4, height=3.6)
    couplings = [one for one in dict.fromkeys(runs["coupling"]) if of(runs, one)["weight_decay"].nunique() > 1]
    rows = []
    for coupling, look in zip(couplings, looks(couplings), strict=False):
        part = of(runs, coupling)
        found = best_strengths(part)
        for _, own in part.groupby("seed"):
            single = best_strengths(own)
            faint = {"color": look["color"], "marker": look["marker"], "alpha": 0.3, "linestyle": "none"}
            axes.plot(list(single), list(single.values()), markersize=5, **faint)
        axes.plot(list(found), list(found.values()), label=coupling, markersize=8, **look)
        rows += [{"coupling": coupling, "lr": lr, "weight_decay": best} for lr, best in found.items()]
    axes.set(xscale="log", yscale="log")
    rates = sorted(set(runs["lr"]))
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes.minorticks_off()
    name(axes, "Where the best λ lies", "learning rate", "best λ")
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    told = "; ".join(f"{row['coupling']} at lr {row['lr']:g}: {row['weight_decay']:g}" for row in rows)
    return Drawn(figure, f"Lambda of the best cell at each learning rate. {told}.", pd.DataFrame(rows))


def shares(runs: pd.DataFrame, label: str = "exact match") -> Drawn:
    """Draw the score of every cell against decay's share of a step, a panel for each coupling, a line for each lr.

    A line goes through the cells of one learning rate from the smallest lambda to the largest. Both are means over
    seeds; a cell whose runs diverged before a step was read has no share and is named in the words only.
    """
    found = cells(runs)
    couplings = [one for one in dict.fromkeys(found["coupling"]) if one != NONE]
    figure = Figure(figsize=(3.3 * len(couplings), 3.4), layout="constrained", facecolor=BACKGROUND)
    axes = [dress(panel) for panel in figure.subplots(1, len(couplings), squeeze=False, sharey=True)[0]]
    rates = sorted(set(found["lr"]))
    for panel, coupling in zip(axes, couplings, strict=True):
        part = of(found, coupling)
        for rate, look in zip(rates, looks(rates), strict=False):
            line = part[part["lr"] == rate].sort_values("weight_decay")
            panel.plot(line["decay_share"], line["score"], label=f"lr {rate:g}", markersize=6, **look)
        panel.axvline(0.5, color=FAINT, linewidth=1)
        panel.set_xlim(-0.03, 1.03)
        name(panel, coupling, "decay's share of a step", label if panel is axes[0] else "")
    axes[0].legend(frameon=False, fontsize=9)
    lost = found[found["decay_share"].isna() & (found["coupling"] != NONE)]
    told = [f"{c}: from {_ends(of(found, c)['decay_share'])}" for c in couplings]
    told += [
        f"{c.coupling}, lr {c.lr:g}, lambda {c.weight_decay:g}: diverged before a reading" for c in lost.itertuples()
    ]
    return Drawn(figure, f"{label.capitalize()} against decay's share of a step. {'; '.join(told)}.", found)


def _ends(values: pd.Series[float]) -> str:
    return f"{values.min():.2f} to {values.max():.2f}"
