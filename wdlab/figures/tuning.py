"""Figures of chapter 10: what a budget of trials buys, intervals by coupling, and one grid under two labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from wdlab.figures.drawn import Drawn
from wdlab.figures.grids import LIGHT, MAP
from wdlab.figures.style import BACKGROUND, COLOURS, FAINT, INK, looks, name, panels
from wdlab.stats import Effect, interval
from wdlab.tuning import correlation, over_the_product

MARKS = (1, 2, 4, 8, 16, 32, 64)
CROWDED = 7  # columns of a map above which every other one is named


def budgets(searches: Mapping[str, pd.DataFrame], trials: int | None = None) -> Drawn:
    """Draw the expected best score against the number of random trials, a panel a task, a line a coupling.

    `searches` holds tables of `wdlab.tuning.search` by the name of the task. Bands are 95% intervals over seeds of
    `best`, which flatters: it was chosen for being high. (`again` would have none, for what two seeds say of it rests
    on nearly the same other seeds.) The dashed line is the mean of the seeds' levels, what comes within 5% of the best
    of all; `trials` is marked where it is given.
    """
    figure, axes = panels(len(searches), width={1: 7.2, 2: 5.0}.get(len(searches), 4.0), height=3.5)
    rows = []
    for panel, (task, searched) in zip(axes, searches.items(), strict=True):
        rows += _budget(panel, task, searched)
        panel.axhline(searched["level"].mean(), color=FAINT, linestyle="--", linewidth=1.5)
        if trials is not None:
            panel.axvline(trials, color=INK, linewidth=1.2)
        panel.set_xscale("log", base=2)
        panel.set_xticks(MARKS, [str(mark) for mark in MARKS])
        name(panel, task, "random trials", "expected score of the best" if panel is axes[0] else "")
    axes[-1].legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    data = pd.DataFrame(rows)
    many = 8 if trials is None else trials
    told = "; ".join(
        f"{r.task}, {r.coupling}: {r.score:.3f} ({r.low:.3f} to {r.high:.3f})"
        for r in data[data["trials"] == many].itertuples()
    )
    levels = "; ".join(f"{task} {searched['level'].mean():.3f}" for task, searched in searches.items())
    title = "Expected score of the best of some random trials"
    return Drawn(figure, f"{title}, after {many}: {told}. Within 5% of the best of all: {levels}.", data)


def _budget(axes: Axes, task: str, searched: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    couplings = list(dict.fromkeys(searched["coupling"]))
    for coupling, look in zip(couplings, looks(couplings), strict=True):
        part = searched[searched["coupling"] == coupling]
        found = {int(str(k)): _interval(each.tolist()) for k, each in part.groupby("trials")["best"]}
        x, mean = list(found), [one.mean for one in found.values()]
        low, high = ([getattr(one, end) for one in found.values()] for end in ("low", "high"))
        axes.plot(x, mean, label=coupling, linewidth=2, markersize=6, markevery=[x.index(m) for m in MARKS if m in x],
                  **look)  # fmt: skip
        axes.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)
        rows += [
            {"task": task, "coupling": coupling, "trials": k, "score": one.mean, "low": one.low, "high": one.high}
            for k, one in found.items()
        ]
    return rows


def by_coupling(tables: Mapping[str, pd.DataFrame], column: str, label: str) -> Drawn:
    """Draw the mean of `column` with its 95% interval over seeds, a panel a task, a row a coupling.

    `tables` hold one row a coupling and seed by the name of the task. A number that is not finite is left out, and how
    many were is said.
    """
    figure, axes = panels(len(tables), width=4.6 if len(tables) < 3 else 3.8, height=2.8)
    rows = []
    for panel, (task, table) in zip(axes, tables.items(), strict=True):
        couplings = list(dict.fromkeys(table["coupling"]))
        for place, coupling in enumerate(couplings):
            every = table[table["coupling"] == coupling][column]
            each = every[np.isfinite(every)].tolist()
            found = _interval(each)
            panel.plot(each, [-place] * len(each), "o", color=FAINT, markersize=4, alpha=0.5)
            reach = [[found.mean - found.low], [found.high - found.mean]]
            panel.errorbar([found.mean], [-place], xerr=reach, fmt="D", color=COLOURS[0], capsize=4, linewidth=2)
            rows.append(
                {"task": task, "coupling": coupling, "mean": found.mean, "low": found.low, "high": found.high}
                | {"seeds": len(each), "left_out": len(every) - len(each)}
            )
        panel.set_yticks([-place for place in range(len(couplings))], couplings)
        panel.set_ylim(0.6 - len(couplings), 0.6)
        panel.xaxis.set_major_locator(MaxNLocator(5))
        name(panel, task, label, "")
    told = "; ".join(_in_words(row) for row in rows)
    return Drawn(figure, f"{label[0].upper()}{label[1:]}, means with 95% intervals. {told}.", pd.DataFrame(rows))


def _in_words(row: Mapping[str, Any]) -> str:
    told = f"{row['task']}, {row['coupling']}: {row['mean']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
    return told + (f", {row['left_out']} seeds left out" if row["left_out"] else "")


def _interval(values: list[float]) -> Effect:
    """The interval of several seeds; of one, the value itself; of none, nothing."""
    if len(values) > 1:
        return interval(values)
    (one,) = values or [math.nan]
    return Effect(one, one, one, tuple(values))


def two_labels(tables: Mapping[str, pd.DataFrame]) -> Drawn:
    """Draw the same cells twice, over learning rate and lambda and over learning rate and lr lambda, a row a table.

    Colours are mean scores over seeds, one scale a row; a dot marks the best cell of each learning rate, and the title
    says the `correlation` of log lr with the log of the other axis: over the best third of the columns that every
    learning rate has. White: not run.
    """
    figure = Figure(figsize=(9.6, 0.5 + 2.7 * len(tables)), layout="constrained", facecolor=BACKGROUND)
    rows = []
    for line, (title, runs) in zip(figure.subplots(len(tables), 2, squeeze=False), tables.items(), strict=True):
        means = runs.groupby(["lr", "weight_decay"])["score"].mean()
        scale = Normalize(float(means.min()), float(means.max()))
        for axes, axis, shown in zip(line, ("λ", "lr λ"), (runs, over_the_product(runs)), strict=True):
            rows.append({"grid": title, "axis": axis, "correlation": correlation(shown)} | _map(axes, shown, scale))
            name(axes, f"{title}: correlation {rows[-1]['correlation']:+.2f}", axis, "learning rate")
        figure.colorbar(line[0].images[0], ax=list(line), shrink=0.9, pad=0.01).set_label("score", fontsize=9)
    told = "; ".join(
        f"{r['grid']} over {r['axis']}: correlation {r['correlation']:+.2f}, best {r['best']:.3f} at lr {r['lr']:.2g} "
        f"and {r['axis']} {r['at']:.2g}"
        for r in rows
    )
    return Drawn(figure, f"One grid of runs under two labels. {told}.", pd.DataFrame(rows))


def _map(axes: Axes, runs: pd.DataFrame, scale: Normalize) -> dict[str, float]:
    """Draw one map and return its best cell."""
    score = runs.groupby(["lr", "weight_decay"])["score"].mean().unstack()
    axes.imshow(np.ma.masked_invalid(score), cmap=MAP, norm=scale, origin="lower", aspect="auto")
    best = np.nanargmax(score, axis=1)
    for colour, size in ((BACKGROUND, 10), (COLOURS[4], 6)):
        axes.plot(best, range(len(best)), "o", color=colour, markersize=size, linestyle="none")
    several = 2 if score.shape[1] > CROWDED else 1
    axes.set_xticks(
        range(0, score.shape[1], several), [f"{value:.2g}" for value in score.columns[::several]], fontsize=8.5
    )
    axes.set_yticks(range(score.shape[0]), [f"{value:.2g}" for value in score.index], fontsize=8.5)
    top = int(np.nanargmax(score.max(axis=1)))
    return {
        "best": float(score.to_numpy()[top, best[top]]),
        "lr": float(score.index[top]),
        "at": float(score.columns[best[top]]),
    }


def trials_map(told: pd.DataFrame, title: str, label: str = "score") -> Drawn:
    """Draw the cells of a hidden grid over learning rate and the place of lambda: those that are known, the rest as ?.

    `told` has one row a cell: lr, place (1 is the smallest lambda), score (NaN where it is not known) and trial, the
    number of the trial that asked for it (NaN where none did).
    """
    figure, (axes,) = panels(1, width=6.0, height=3.4)
    score = told.pivot(index="lr", columns="place", values="score")
    scale = Normalize(0.0, max(told["score"].max(skipna=True), 1e-9) if told["score"].notna().any() else 1.0)
    axes.imshow(np.ma.masked_invalid(score), cmap=MAP, norm=scale, origin="lower", aspect="auto")
    axes.grid(visible=False)
    rows: Any = told.itertuples()
    for cell in rows:
        text = "?" if math.isnan(cell.score) else f"{cell.score:.3f}"
        text += "" if math.isnan(cell.trial) else f"\ntrial {cell.trial:.0f}"
        dark = not math.isnan(cell.score) and scale(cell.score) < LIGHT
        x, y = list(score.columns).index(cell.place), list(score.index).index(cell.lr)
        axes.text(x, y, text, ha="center", va="center", fontsize=9.5, color=BACKGROUND if dark else INK)
    axes.set_xticks(range(score.shape[1]), [str(place) for place in score.columns])
    axes.set_yticks(range(score.shape[0]), [f"{lr:g}" for lr in score.index])
    name(axes, title, "λ, from the smallest to the largest", "learning rate")
    known: Any = told.dropna(subset=["score"]).sort_values("trial").itertuples()
    each = "; ".join(
        f"lr {c.lr:g}, λ {c.place}: {c.score:.3f}" + ("" if math.isnan(c.trial) else f" (trial {c.trial:.0f})")
        for c in known
    )
    found = f"{label} {each}" if each else f"none of {len(told)} cells is known yet"
    return Drawn(figure, f"{title}: {found}.", told)
