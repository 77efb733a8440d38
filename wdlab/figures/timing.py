"""Figures of the timing dial: runs as they go, where they end, and when decay matters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from wdlab.figures.drawn import Drawn
from wdlab.figures.style import FAINT, INK, looks, name, panels
from wdlab.run import Run
from wdlab.stats import interval
from wdlab.sweeps import Results

CURVE_TITLES = {
    "test_error": "Test error",
    "test_loss": "Test loss (nats)",
    "train_loss": "Training loss (nats)",
    "weight_norm": "Weight norm",
    "effective_lr": "Effective learning rate",
    "rotation": "Angle of one step (radians)",
    "objective_step": "Step's part from the loss (length)",
    "decay_step": "Step's part from decay (length)",
}
LOGARITHMIC = ("effective_lr", "train_loss", "rotation", "objective_step", "decay_step")


def curves(
    results: Results,
    shown: Sequence[str] = ("test_error", "weight_norm", "effective_lr"),
    label: Callable[[Run], str] | None = None,
) -> Drawn:
    """Draw the named curves over training, the mean over seeds: one line a timing, or one for each `label` of a run."""
    table = results.curves
    if label is not None:
        names = [label(run) for run in results.runs]
        table = table.assign(timing=[names[number] for number in table["run"]])
    mean = table.groupby(["timing", "step"], sort=False)[list(shown)].mean(skipna=False).reset_index()
    figure, axes = panels(len(shown))
    timings = list(dict.fromkeys(table["timing"]))
    for panel, curve in zip(axes, shown, strict=True):
        for timing, look in zip(timings, looks(timings), strict=False):
            part = mean[mean["timing"] == timing]
            panel.plot(part["step"], part[curve], label=timing, markevery=0.2, markersize=4, **look)
        name(panel, CURVE_TITLES[curve], "step", CURVE_TITLES[curve].lower())
        if curve in LOGARITHMIC:
            panel.set_yscale("log")
    axes[0].legend(title=None if label else "decay acts", frameon=False, fontsize=9)
    ends = mean.groupby("timing", sort=False).last()
    told = "; ".join(f"{t}: " + ", ".join(f"{_words(c)} {ends.loc[t, c]:.3g}" for c in shown) for t in timings)
    seeds = table["seed"].nunique()
    by = "" if label else " by timing of weight decay"
    alt = f"Training curves{by}, mean over {seeds} seeds. At the end, {told}.{_lost(results)}"
    return Drawn(figure, alt, mean)


def ends(results: Results, metric: str = "test_accuracy", label: str = "test accuracy") -> Drawn:
    """Draw where every run ends, one column a timing and one faint line a seed, with means and 95% intervals."""
    table = results.table
    timings = list(dict.fromkeys(table["timing"]))
    wide = table.pivot(index="seed", columns="timing", values=metric)[timings]
    figure, (left, right) = panels(2, width=5)
    _columns(left, wide)
    name(left, f"{label.capitalize()} at the end", "decay acts", label)
    _columns(right, table.pivot(index="seed", columns="timing", values="weight_norm")[timings])
    name(right, "Weight norm at the end", "decay acts", "weight norm")
    told = "; ".join(f"{timing} {wide[timing].mean(skipna=False):.3f}" for timing in timings)
    alt = f"Mean {label} by timing of weight decay over {len(wide)} seeds: {told}.{_lost(results)}"
    return Drawn(figure, alt, wide)


def _columns(axes: Axes, wide: pd.DataFrame) -> None:
    places = range(wide.shape[1])
    for _, row in wide.iterrows():
        axes.plot(places, row.to_numpy(), color=FAINT, linewidth=0.7, alpha=0.7)
    for place, column in zip(places, wide.columns, strict=True):
        _mean_and_interval(axes, place, wide[column].to_list(), color=INK)
    axes.set_xticks(list(places), [str(column) for column in wide.columns])


def _mean_and_interval(axes: Axes, x: float, values: Sequence[float], **look: Any) -> None:
    found = interval(values)
    reach = [[found.mean - found.low], [found.high - found.mean]]
    axes.errorbar([x], [found.mean], yerr=reach, fmt="o", markersize=6, capsize=4, linewidth=2, **look)


def critical_period(until: Results, since: Results, metric: str = "test_accuracy") -> Drawn:
    """Draw the gain over never against t0, for decay until t0 and decay from t0 on, paired by seed.

    Each point is the mean over seeds of metric(timing) - metric(never) with its 95% interval. Both sets of runs hold
    windows [0, t0) and [t0, 1) of the same seeds, so that `until` at t0 = 0 and `since` at t0 = 1 are never.
    """
    rows = [*_gains(until, "decay until t0", metric), *_gains(since, "decay from t0", metric)]
    data = pd.DataFrame(rows)
    figure, (axes,) = panels(1, width=7, height=3.8)
    for (side, part), look in zip(data.groupby("side", sort=False), looks(("until", "from")), strict=False):
        reach = [part["gain"] - part["low"], part["high"] - part["gain"]]
        axes.errorbar(part["t0"], part["gain"], yerr=reach, label=str(side), capsize=3, markersize=5, **look)
    axes.axhline(0, color=FAINT, linewidth=1)
    name(axes, "When does weight decay matter?", "t0, as a fraction of training", "gain in accuracy over never")
    axes.legend(frameon=False, loc="center right")
    told = "; ".join(f"{row.side} at t0 = {row.t0:g}: {row.gain:+.3f}" for row in data.itertuples())
    return Drawn(figure, f"Gain in test accuracy over no decay. {told}.", data)


def _gains(results: Results, side: str, metric: str) -> list[dict[str, Any]]:
    worth = {}
    for run, value in zip(results.runs, results.table[metric], strict=True):
        timing = run.decay.timing
        t0 = timing.stop if side == "decay until t0" else timing.start
        worth[t0, run.seed] = float(value)
    never = 0.0 if side == "decay until t0" else 1.0
    seeds = sorted({seed for _, seed in worth})
    rows = []
    for t0 in sorted({t0 for t0, _ in worth}):
        found = interval([worth[t0, seed] - worth[never, seed] for seed in seeds])
        rows.append({"side": side, "t0": t0, "gain": found.mean, "low": found.low, "high": found.high})
    return rows


def _lost(results: Results) -> str:
    """Say how many runs diverged; a mean over seeds that holds one is not drawn."""
    count = sum(history.diverged_at is not None for history in results.histories)
    return f" {count} runs diverged; a mean that would hold one is not shown." if count else ""


def _words(curve: str) -> str:
    return curve.replace("_", " ")


def lines(series: Mapping[str, Sequence[float]], title: str, x: str, y: str, first: int = 0) -> Drawn:
    """Draw one line an entry of `series` against its index, which begins at `first`, named directly."""
    figure, (axes,) = panels(1, width=7.6, height=3.4)
    for (label, values), look in zip(series.items(), looks(list(series)), strict=False):
        axes.plot(range(first, first + len(values)), values, label=label, markevery=0.2, markersize=4, **look)
    name(axes, title, x, y)
    figure.legend(frameon=False, fontsize=9, loc="outside right center")  # beside the lines: a long name would hide one
    told = "; ".join(f"{label} goes from {values[0]:.3g} to {values[-1]:.3g}" for label, values in series.items())
    return Drawn(
        figure, f"{title}, {y} against {x}: {told}.", pd.DataFrame(dict(series)).rename(index=lambda at: at + first)
    )
