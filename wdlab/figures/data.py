"""Figures of chapter 06: where weights end on different data, and what the gradients say they should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor

from wdlab.figures.drawn import Drawn
from wdlab.figures.style import COLOURS, FAINT, INK, looks, name, panels
from wdlab.measures.growth import Growth
from wdlab.stats import interval
from wdlab.sweeps import Results
from wdlab.tasks import of_vision

KIND_TITLES = {  # with the name of the axis below
    "weight_norm": ("Weight norm at the end", "weight norm"),
    "train_loss": ("Training loss at the end", "training loss (nats)"),
    "test_accuracy": ("Test accuracy at the end", "test accuracy"),
}
ENDS = ("weight_norm", "test_accuracy")  # drawn side by side or one below the other
SMOOTH = 20  # steps that a drawn gradient is the mean of: one batch's own says little
EVERY = 5  # steps between the points drawn
MEASURED: dict[str, Any] = {"linewidth": 3, "alpha": 0.45}
PREDICTED: dict[str, Any] = {"linestyle": (0, (4, 2))}


def noise_map(results: Mapping[str, Results]) -> Drawn:
    """Draw the final weight norm, and below it the test accuracy, against label noise.

    There is a column of panels for each entry and a line for each lr schedule. Each point is the mean over seeds with
    its 95% interval.
    """
    figure, axes = panels(len(results), width=5, height=3.2, rows=2)
    rows = []
    for panel, (metric, (title, found)) in zip(axes, product(ENDS, results.items()), strict=True):
        table = found.table.assign(schedule=[schedule_name(run.schedule) for run in found.runs])
        points = _points(panel, table, "label_noise", "schedule", metric)
        rows += [{"metric": metric, "data": title, **point} for point in points]
        name(panel, title, "share of labels drawn at random", f"{metric.replace('_', ' ')} at the end")
    data = pd.DataFrame(rows)
    norms, answers = (data[data["metric"] == metric] for metric in ENDS)
    for panel, shown in zip(axes, [norms] * len(results) + [answers] * len(results), strict=True):
        panel.set_ylim(0, 1.08 * shown["high"].max())
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, title="learning rate", frameon=False, fontsize=9, loc="outside right center")
    told = "; ".join(
        f"{r.data}, {r.schedule}, noise {r.label_noise:g}: norm {r.mean:.1f}, accuracy {answer:.3f}"
        for r, answer in zip(_each(norms), answers["mean"], strict=True)
    )
    alt = f"Final weight norm and test accuracy against label noise, by learning-rate schedule. {told}."
    return Drawn(figure, alt, data)


def set_sizes(results: Results) -> Drawn:
    """Draw final weight norm and test accuracy against the size of the training set, a line for each label noise."""
    table = results.table.assign(noise=[f"label noise {of_vision(run.task).label_noise:g}" for run in results.runs])
    figure, axes = panels(2, width=4.8, height=3.4)
    rows = []
    for panel, metric in zip(axes, ENDS, strict=True):
        rows += [{"metric": metric, **row} for row in _points(panel, table, "train_size", "noise", metric)]
        panel.set_xscale("log")
        sizes = sorted(set(table["train_size"]))
        panel.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=45)
        panel.minorticks_off()
        words = metric.replace("_", " ")
        name(panel, f"{words.capitalize()} at the end", "training examples (as many steps for all)", words)
    axes[0].legend(frameon=False, fontsize=9)
    data = pd.DataFrame(rows)
    told = "; ".join(
        f"{r.noise}, {r.train_size:,} examples: norm {r.mean:.1f}" for r in _each(data[data["metric"] == "weight_norm"])
    )
    return Drawn(figure, f"Final weight norm and test accuracy against the size of the training set. {told}.", data)


def kinds(results: Mapping[str, Results]) -> Drawn:
    """Draw final weight norm, training loss and test accuracy, a row for each entry: means with 95% intervals."""
    shown = tuple(KIND_TITLES)
    figure, axes = panels(len(shown), width=3.9, height=1.2 + 0.32 * len(results))
    rows = []
    for label, found in results.items():
        ends = {metric: interval(found.table[metric].tolist()) for metric in shown}
        rows.append({"data": label, **{metric: end.mean for metric, end in ends.items()}})
        for panel, end in zip(axes, ends.values(), strict=True):
            reach = [[end.mean - end.low], [end.high - end.mean]]
            panel.errorbar([end.mean], [1 - len(rows)], xerr=reach, fmt="o", color=COLOURS[0], capsize=3, markersize=5)
    data = pd.DataFrame(rows)
    places = [-place for place in range(len(rows))]
    for panel, metric in zip(axes, shown, strict=True):
        panel.set_yticks(places, list(results) if panel is axes[0] else [])
        panel.axvline(
            float(data[metric].iloc[0]), color=FAINT, linewidth=0.8
        )  # the first entry is what others compare with
        name(panel, *KIND_TITLES[metric], "")
    told = "; ".join(
        f"{r.data}: norm {r.weight_norm:.1f}, loss {r.train_loss:.2f}, accuracy {r.test_accuracy:.3f}"
        for r in _each(data)
    )
    return Drawn(figure, f"Weight norm, training loss and test accuracy at the end, by data. {told}.", data)


def growth(grown: Mapping[str, Growth]) -> Drawn:
    """Draw G = ||w|| ||grad|| over the run, and the norm measured and predicted from G, mean over members.

    G is the root of the sum of squares over the scale-invariant tensors, and of the mean over some steps.
    """
    figure, (left, right) = panels(2, width=5.6, height=3.6)
    for (label, found), look in zip(grown.items(), looks(list(grown)), strict=False):
        relative = smoothed(found.relative_gradient)[::EVERY]
        steps = range(0, EVERY * len(relative), EVERY)
        left.plot(steps, relative, label=label, markevery=0.25, markersize=5, **look)
        _norms(right, found, **look)
    left.set_ylim(bottom=0)
    name(left, "G = ‖w‖ ‖gradient‖", "step", f"root mean square over {SMOOTH} steps")
    name(right, "Norm of the weights that feed BatchNorm", "step", "norm")
    right.plot([], [], **MEASURED, color=INK, label="measured")
    right.plot([], [], **PREDICTED, color=INK, label="predicted from G")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=9, loc="outside right center")
    right.legend(frameon=False, fontsize=9)
    rows = [{"data": label, **_ends(found)} for label, found in grown.items()]
    told = "; ".join(
        f"{r['data']}: measured {r['measured']:.2f}, predicted {r['predicted']:.2f} ({r['relative error']:+.2%})"
        for r in rows
    )
    alt = f"Relative gradient over the run, and the final norm it predicts. {told}."
    return Drawn(figure, alt, pd.DataFrame(rows).set_index("data"))


def _norms(axes: Axes, found: Growth, color: str, marker: str) -> None:
    axes.plot(found.measured.mean(1), color=color, **MEASURED)
    axes.plot(found.predicted.mean(1), color=color, marker=marker, markevery=0.25, markersize=5, **PREDICTED)


def _ends(found: Growth) -> dict[str, Any]:
    """Return the norm at the end, measured and predicted, how far the second misses, and the whiteness."""
    measured, predicted = found.measured[-1], found.predicted[-1]
    return {
        "measured": float(measured.mean()),
        "predicted": float(predicted.mean()),
        "relative error": float((predicted / measured - 1).mean()),
        "whiteness": float(found.whiteness.mean()),
    }


def smoothed(relative_gradient: Tensor) -> list[float]:
    """Return the root mean square over members and the last few steps, [step], of G summed over tensors in square."""
    square = relative_gradient.square().sum(1).mean(1)
    total = torch.nn.functional.pad(square.cumsum(0), (1, 0))
    stop = torch.arange(1, len(total))
    start = (stop - SMOOTH).clamp(min=0)
    found: list[float] = ((total[stop] - total[start]) / (stop - start)).sqrt().tolist()
    return found


def schedule_name(schedule: Any) -> str:
    """Return how the learning rate goes, in words: "constant", "falls to 5%"."""
    return "constant" if schedule.name == "constant" else f"falls to {100 * schedule.final:.3g}%"


def _points(axes: Axes, table: pd.DataFrame, x: str, line: str, metric: str) -> list[dict[str, Any]]:
    """Draw the mean over seeds of `metric` against `x` with its interval, one line for each value of `line`."""
    rows = []
    lines: Sequence[str] = list(dict.fromkeys(table[line]))
    for label, look in zip(lines, looks(lines), strict=False):
        groups = table[table[line] == label].groupby(x)[metric]
        found = {place: interval(values.tolist()) for place, values in groups}
        ends = list(found.values())
        reach = [[end.mean - end.low for end in ends], [end.high - end.mean for end in ends]]
        places: Any = list(found)
        axes.errorbar(places, [end.mean for end in ends], yerr=reach, label=label, capsize=3, markersize=5, **look)
        rows += [{line: label, x: p, "mean": e.mean, "low": e.low, "high": e.high} for p, e in found.items()]
    return rows


def _each(data: pd.DataFrame) -> Any:
    return data.itertuples()
