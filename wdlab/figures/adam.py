"""Figures of chapter 07: where coordinates of unequal gradients end, and the two parts of the steps that led there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.ticker import NullLocator
from torch import Tensor

from wdlab.figures.drawn import Drawn
from wdlab.figures.style import FAINT, INK, looks, name, panels
from wdlab.stats import interval
from wdlab.tasks.unequal import Descent

READINGS = 50  # points of a line; each is a mean over the steps between
POINTS = 200  # of a path
PLACES = ((0.06, 0.15, 0.25, 0.70), (0.385, 0.15, 0.25, 0.70), (0.705, 0.15, 0.25, 0.70))
PARTS = {"objective": "Objective's part of a step", "decay": "Decay's part of a step"}
LEAST = 1e-6  # in units of lr; what is smaller lies on the edge of the picture
TICKS = (1e-6, 1e-4, 1e-2, 1)
BROKEN: dict[str, Any] = {"color": INK, "linestyle": (0, (5, 2)), "linewidth": 1.4}


def split_step(found: Descent, scales: Sequence[float], lr: float, title: str, rests: Sequence[float] = ()) -> Drawn:
    """Draw w and the two parts of the steps over training for the first setting of a descent, a line a scale.

    Each is a mean over seeds and over the steps between two points; parts are lengths, in units of lr. The broken lines
    are `rests`, where w should come to rest.
    """
    figure, axes = panels(3, width=3.5, height=3.3)
    figure.set_layout_engine("none")  # a fixed place for everything: quicker to draw, and a live picture never jumps
    for axis, where in zip(axes, PLACES, strict=True):
        axis.set_position(where)
    labels = scale_labels(scales)
    series = {"w": found.w[0, ..., 1:], "objective": found.objective[0].abs() / lr, "decay": found.decay[0].abs() / lr}
    rows, told = [], []
    for axis, (what, values) in zip(axes, series.items(), strict=True):
        for place, (label, look) in enumerate(zip(labels, looks(labels), strict=False)):
            steps, line = _windows(values[:, place].mean(0))
            shown = line if what == "w" else line.clamp(min=LEAST)
            axis.plot(steps, shown, label=label, markevery=(place * 3, 12), markersize=4, **look)
            rows.append(pd.DataFrame({"what": what, "scale": label, "step": steps, "value": line.numpy()}))
            told.append(f"{what}, {label}: from {float(line[0]):.3g} to {float(line[-1]):.3g}")
    for height in rests:
        axes[0].axhline(height, **BROKEN)
    axes[0].axhline(1, color=FAINT, linewidth=1)
    axes[0].set_ylim(-0.1, 1.25)
    name(axes[0], "w (the loss is least at 1)", "step", "")
    for axis, label in zip(axes[1:], PARTS.values(), strict=True):
        axis.set(yscale="log", ylim=(LEAST, 30))
        axis.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
        axis.yaxis.set_minor_locator(NullLocator())  # quicker to draw
        name(axis, f"{label} / lr", "step", "")
    axes[1].legend(
        frameon=False, fontsize=8, title="size of the gradient", title_fontsize=8, loc="lower right", ncols=2
    )
    figure.suptitle(title, fontsize=11, x=0.01, y=0.99, ha="left", color=INK)
    return Drawn(figure, f"{title}. {'; '.join(told)}.", pd.concat(rows, ignore_index=True))


def paths(curves: Mapping[str, Mapping[str, Tensor]], x: str = "step", y: str = "w") -> Drawn:
    """Draw one panel for each title in `curves`, and in it a line [step] for each label, wide lines below narrow ones.

    Lines that coincide are all seen; of long ones some 200 points are drawn. The grey line is at 1, where the loss is
    least.
    """
    figure, axes = panels(len(curves), width=4.0, height=3.2)
    low = min(float(line.min()) for group in curves.values() for line in group.values())
    high = max(float(line.max()) for group in curves.values() for line in group.values())
    rows, told = [], []
    for axis, (title, group) in zip(axes, curves.items(), strict=True):
        for place, ((label, values), look) in enumerate(zip(group.items(), looks(list(group)), strict=False)):
            every = max(len(values) // POINTS, 1)
            steps, line = range(0, len(values), every), values[::every].numpy()
            axis.plot(steps, line, label=label, color=look["color"], linewidth=max(4.5 - 1.4 * place, 1.0))
            rows.append(pd.DataFrame({"panel": title, "line": label, x: steps, y: line}))
            told.append(f"{title}, {label}: from {float(values[0]):.3g} to {float(values[-1]):.3g}")
        axis.axhline(1, color=FAINT, linewidth=1)
        axis.set_ylim(min(low, 0) - 0.1, high + 0.1)
        name(axis, title, x, y)
        axis.legend(
            frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=4, handlelength=1.2
        )
    return Drawn(figure, f"{y} against {x}. {'; '.join(told)}.", pd.concat(rows, ignore_index=True))


def drowning(ends: Mapping[str, Tensor], scales: Sequence[float], rests: Mapping[str, Sequence[float]]) -> Drawn:
    """Draw where w ends against the size of the gradients: ends[coupling] is [seed, scale], `rests` the closed forms.

    Points are means over seeds with their 95% intervals, side by side where they would coincide.
    """
    figure, (axes,) = panels(1, width=7.6, height=3.8)
    rows = []
    for place, ((coupling, values), look) in enumerate(zip(ends.items(), looks(list(ends)), strict=False)):
        found = [interval(column.tolist()) for column in values.T]
        reach = [[e.mean - e.low for e in found], [e.high - e.mean for e in found]]
        beside = [scale * 1.13 ** ((len(ends) - 1) / 2 - place) for scale in scales]  # the axis is turned
        marker: dict[str, Any] = {"linestyle": "none", "capsize": 3, "markersize": 6}
        axes.errorbar(beside, [e.mean for e in found], yerr=reach, label=coupling, **marker, **look)
        closed = rests.get(coupling)
        for at, x in enumerate(beside):
            if closed:
                axes.plot([x / 1.05, x * 1.05], [closed[at]] * 2, color=INK, linewidth=1.6, zorder=4)
        rows += [
            {"coupling": coupling, "scale": scale, "end": e.mean, "low": e.low, "high": e.high}
            | ({"closed_form": closed[at]} if closed else {})
            for at, (scale, e) in enumerate(zip(scales, found, strict=True))
        ]
    axes.axhline(1, color=FAINT, linewidth=1)
    axes.set(xscale="log", xlim=(max(scales) * 2.2, min(scales) / 2.2))
    axes.set_xticks(list(scales), scale_labels(scales))
    name(axes, "Where a coordinate ends (black: closed form)", "size of its gradient", "w; the loss is least at 1")
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    told = "; ".join(f"{row['coupling']} at {row['scale']:g}: {row['end']:.3f}" for row in rows)
    return Drawn(figure, f"Mean w at the end by coupling and size of the gradient. {told}.", pd.DataFrame(rows))


def scale_labels(scales: Sequence[float]) -> list[str]:
    """Return the sizes as they are read, told apart where they are equal."""
    if len(set(scales)) == len(scales):
        return [f"{scale:g}" for scale in scales]
    return [f"{scale:g} ({letter})" for scale, letter in zip(scales, "abcdefgh", strict=False)]


def _windows(values: Tensor) -> tuple[list[float], Tensor]:
    width = max(len(values) // READINGS, 1)
    means = values[: len(values) // width * width].reshape(-1, width).mean(1)
    return [width * (place + 0.5) for place in range(len(means))], means
