"""Figures of chapter 01: paths on a quadratic, lines over the steps of a run, and what early decay leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor

from wdlab.figures.drawn import Drawn
from wdlab.figures.style import COLOURS, FAINT, INK, looks, name, panels
from wdlab.stats import interval
from wdlab.tasks.convex import Quadratic

MARKS = (("*", 15), ("X", 12), ("D", 17), ("s", 20))  # hollow and of different sizes, for they may coincide
REACH = 6.0  # how far from the origin a picture of paths may reach
FAR = 1e3  # where a path counts as diverged


def trajectories(
    problem: Quadratic, paths: Mapping[str, Tensor], marks: Mapping[str, Tensor], title: str = ""
) -> Drawn:
    """Draw paths [step, 2] over the contours of a quadratic in two weights, and marked points [2].

    The first path is a wide line and the next ones are narrower, so that paths that coincide are all seen. A path that
    diverges is drawn up to where it leaves. The origin, to which decay pulls, is where the two grey lines cross.
    """
    figure, (axes,) = panels(1, width=7.2, height=4.4)
    figure.set_layout_engine("none")  # a fixed place for everything: quicker to draw, and a live picture never jumps
    axes.set_position((0.085, 0.115, 0.555, 0.80))
    low, high = _view([*paths.values(), *(point.unsqueeze(0) for point in marks.values())])
    _contours(axes, problem, low, high)
    axes.axhline(0, color=FAINT, linewidth=1)
    axes.axvline(0, color=FAINT, linewidth=1)
    for place, (label, path) in enumerate(paths.items()):
        colour, width = COLOURS[place], max(6.0 - 4.2 * place, 1.2)
        seen = path[: diverges_at(path)]
        axes.plot(seen[:, 0], seen[:, 1], color=colour, linewidth=width, label=label, solid_capstyle="round")
        axes.plot(*seen[-1].tolist(), "o", color=colour, markersize=11 - 4 * place, markeredgecolor="white", zorder=3)
    for (label, point), (shape, size) in zip(marks.items(), MARKS, strict=False):
        hollow: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": INK, "markeredgewidth": 1.8}
        axes.plot(*point.tolist(), shape, markersize=size, label=label, linestyle="none", zorder=4, **hollow)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    name(axes, title or "Paths over the contours of the loss", "weight 1", "weight 2")
    axes.legend(frameon=False, fontsize=9, labelspacing=1.0, loc="center left", bbox_to_anchor=(1.0, 0.5))
    told = [f"{label} {_ends_at(path)}" for label, path in paths.items()]
    told += [f"{label} is at {_point(point)}" for label, point in marks.items()]
    data = pd.concat([_frame(label, path) for label, path in paths.items()], ignore_index=True)
    return Drawn(figure, f"{title or 'Paths over the contours of a quadratic loss'}: {'; '.join(told)}.", data)


def diverges_at(path: Tensor) -> int | None:
    """Return the first step at which a path [step, weight] is not finite or further than 1,000 away, or None."""
    gone = (~path.isfinite() | (path.abs() > FAR)).any(1).nonzero()
    return int(gone[0]) if len(gone) else None


def lines(curves: Mapping[str, Mapping[str, Tensor]], y: str) -> Drawn:
    """Draw one panel for each title in `curves`, and in it one line [step] for each label; `y` names the axis."""
    figure, axes = panels(len(curves), width=4.8)
    rows, told = [], []
    for panel, (title, group) in zip(axes, curves.items(), strict=True):
        for place, ((label, values), look) in enumerate(zip(group.items(), looks(list(group)), strict=False)):
            every = (len(values) * place // (8 * len(group)), max(len(values) // 8, 1))  # lines may coincide
            panel.plot(values, label=label, markevery=every, markersize=5, **look)
            told.append(f"{title}, {label}: from {float(values[0]):.3g} to {float(values[-1]):.3g}")
            rows.append(pd.DataFrame({"panel": title, "line": label, "step": range(len(values)), y: values.numpy()}))
        name(panel, title, "step", y)
        panel.set_ylim(bottom=0)
        panel.legend(frameon=False, fontsize=9)
    return Drawn(
        figure, f"{y.capitalize()} over the steps of a run. {'; '.join(told)}.", pd.concat(rows, ignore_index=True)
    )


def traces(shares: Mapping[str, Mapping[int, Tensor]]) -> Drawn:
    """Draw what early decay leaves behind against the length of the run: shares[label][steps] is a tensor [seed].

    Each point is the mean over seeds with its 95% interval.
    """
    figure, (axes,) = panels(1, width=7, height=3.6)
    rows = []
    for (label, by_steps), look in zip(shares.items(), looks(list(shares)), strict=False):
        found = {steps: interval(values.tolist()) for steps, values in by_steps.items()}
        reach = [[e.mean - e.low for e in found.values()], [e.high - e.mean for e in found.values()]]
        means = [e.mean for e in found.values()]
        axes.errorbar(list(found), means, yerr=reach, label=label, capsize=3, markersize=6, **look)
        rows += [{"what": label, "steps": n, "share": e.mean, "low": e.low, "high": e.high} for n, e in found.items()]
    axes.axhline(0, color=FAINT, linewidth=1)
    axes.set_xscale("log")
    name(
        axes, "What decay in the first half leaves behind", "length of the run (steps)", "share of full decay's effect"
    )
    axes.legend(frameon=False)
    told = "; ".join(f"{row['what']} after {row['steps']} steps: {row['share']:.2g}" for row in rows)
    alt = f"Effect of decay in the first half of a ridge regression, as a share of full decay's effect. {told}."
    return Drawn(figure, alt, pd.DataFrame(rows))


def _view(points: list[Tensor]) -> tuple[list[float], list[float]]:
    """The corners of a window around all that is finite and near, with a margin."""
    found = torch.cat([*points, torch.zeros(1, 2, dtype=torch.float64)])
    found = found[found.isfinite().all(1) & (found.abs() < REACH).all(1)]
    low, high = found.amin(0), found.amax(0)
    margin = 0.12 * (high - low) + 0.1
    return (low - margin).tolist(), (high + margin).tolist()


def _contours(axes: Axes, problem: Quadratic, low: list[float], high: list[float]) -> None:
    across, up = torch.meshgrid(
        *(torch.linspace(a, b, 80, dtype=torch.float64) for a, b in zip(low, high, strict=True)), indexing="xy"
    )
    height = problem.loss(torch.stack([across, up], -1))
    levels = np.linspace(0, float(height.max()) ** 0.5, 14)[1:] ** 2
    axes.contour(across, up, height, levels=levels, colors="#c4c4c4", linewidths=0.8)


def _ends_at(path: Tensor) -> str:
    gone = diverges_at(path)
    return f"ends at {_point(path[-1])}" if gone is None else f"diverges at step {gone}"


def _point(point: Tensor) -> str:
    return f"({float(point[0]):.2f}, {float(point[1]):.2f})"


def _frame(label: str, path: Tensor) -> pd.DataFrame:
    return pd.DataFrame({"path": label, "step": range(len(path)), "w1": path[:, 0].numpy(), "w2": path[:, 1].numpy()})
