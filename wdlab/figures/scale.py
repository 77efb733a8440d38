"""Figures of chapter 02: walks that come to rest, closed forms beside what was measured, layers that turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from torch import Tensor

from wdlab.claims.chapter02 import Turning
from wdlab.figures.drawn import Drawn
from wdlab.figures.style import FAINT, INK, looks, name, panels
from wdlab.measures.equilibrium import Equilibrium, Walk

QUANTITIES = {"norm": "norm", "angle": "angle of a step (radians)"}
CLOSED: dict[str, Any] = {"color": INK, "linestyle": (0, (5, 2)), "linewidth": 1.6}
SMOOTH = 25  # steps that are averaged for a line


def overlaid(series: Mapping[str, Tensor], title: str, x: str, y: str, start: int = 0) -> Drawn:
    """Draw lines [step] that may coincide: the first is wide, the next ones narrower; `start` is the first place on x.

    A grey line marks zero where values change their sign.
    """
    figure, (axes,) = panels(1, width=6.4, height=3.4)
    told, rows = [], []
    for place, ((label, values), look) in enumerate(zip(series.items(), looks(list(series)), strict=False)):
        steps, width = range(start, start + len(values)), max(6.0 - 4.2 * place, 1.5)
        axes.plot(steps, values, label=label, linewidth=width, color=look["color"], solid_capstyle="round")
        ends = f"from {float(values[0]):.3g} to {float(values[-1]):.3g}"
        told.append(f"{label} goes {ends}, between {float(values.min()):.3g} and {float(values.max()):.3g}")
        rows.append(pd.DataFrame({"line": label, x: steps, y: values.numpy()}))
    data = pd.concat(rows, ignore_index=True)
    if data[y].min() < 0 < data[y].max():
        axes.axhline(0, color=FAINT, linewidth=1.2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    name(axes, title, x, y)
    if len(series) > 1:
        axes.legend(frameon=False, fontsize=9)
    return Drawn(figure, f"{title}, {y} against {x}: {'; '.join(told)}.", data)


def approach(walks: Mapping[str, Walk], form: Equilibrium, title: str) -> Drawn:
    """Draw norm and angle of walks over their steps, first seed and setting, with the closed form as a broken line.

    Each point of the angle is the mean of 10 steps.
    """
    figure, axes = panels(2, width=4.8)
    rows, told = [], []
    for axis, (key, label) in zip(axes, QUANTITIES.items(), strict=True):
        for (start, found), look in zip(walks.items(), looks(list(walks)), strict=False):
            steps, values = _smooth(getattr(found, key)[:, 0, 0], 10 if key == "angle" else 1)
            axis.plot(steps, values, label=start, markevery=0.15, markersize=5, **look)
            rows.append(pd.DataFrame({"walk": start, "step": steps, "what": key, "value": values.numpy()}))
            told.append(f"{key}, {start}: from {float(values[0]):.3g} to {float(values[-1]):.3g}")
        closed = getattr(form, key)
        axis.axhline(closed, label=f"closed form, {closed:.3g}", **CLOSED)
        told.append(f"{key}, closed form: {closed:.3g}")
        _logarithmic(axis, "y")
        name(axis, key.capitalize(), "step", label)
        axis.legend(frameon=False, fontsize=9)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", color=INK)
    return Drawn(figure, f"{title}. {'; '.join(told)}.", pd.concat(rows, ignore_index=True))


def equilibria(table: pd.DataFrame) -> Drawn:
    """Draw measured norms and angles against their closed forms, and by how much they miss, one mark a setting.

    `table` has the columns of `wdlab.claims.equilibrium_table`. A point on the grey diagonal is exact.
    """
    figure, axes = panels(3, width=4.2, height=3.6)
    kinds = list(dict.fromkeys(table["kind"]))
    for axis, (key, label) in zip(axes, QUANTITIES.items(), strict=False):
        ends = [table[f"closed_{key}"].min() * 0.7, table[f"closed_{key}"].max() * 1.4]
        axis.plot(ends, ends, color=FAINT, linewidth=1.2)
        for kind, look in zip(kinds, looks(kinds), strict=False):
            part = table[table["kind"] == kind]
            axis.plot(part[f"closed_{key}"], part[key], linestyle="none", markersize=8, label=kind, alpha=0.75, **look)
        _logarithmic(axis, "x", "y")
        name(axis, f"{key.capitalize()}, measured", f"{label}, closed form", label)
    misses = table.assign(**{key: 100 * (table[key] / table[f"closed_{key}"] - 1) for key in QUANTITIES})
    _draw_misses(axes[2], misses, kinds)
    axes[0].legend(frameon=False, fontsize=9)
    worst = {key: misses[key].abs().max() for key in QUANTITIES}
    told = "; ".join(
        f"{row.kind}, lr {row.lr:g}, lambda {row.weight_decay:g}: norm {row.norm:+.2f}%, angle {row.angle:+.2f}%"
        for row in misses.itertuples()
    )
    alt = (
        "Norm and angle of settled random walks against their closed forms. "
        f"The largest miss is {worst['norm']:.2g}% in norm and {worst['angle']:.2g}% in angle. {told}."
    )
    return Drawn(figure, alt, table)


def _draw_misses(axes: Axes, misses: pd.DataFrame, kinds: list[str]) -> None:
    axes.axhspan(-3, 3, color=FAINT, alpha=0.15, linewidth=0)
    axes.axhline(0, color=FAINT, linewidth=1.2)
    for kind, look in zip(kinds, looks(kinds), strict=False):
        part = misses[misses["kind"] == kind]
        for place, key in enumerate(QUANTITIES):
            x = [place + 0.12 * (step - 1.5) for step in range(len(part))]
            axes.plot(x, part[key], linestyle="none", markersize=7, alpha=0.75, **look)
    axes.set_xticks(range(len(QUANTITIES)), list(QUANTITIES))
    axes.set(xlim=(-0.5, 1.5), ylim=(-5, 5))
    name(axes, "Miss (band: 3%)", "", "measured over closed form, %")


def turning(layers: Mapping[str, Turning], forms: Mapping[str, Equilibrium], title: str) -> Drawn:
    """Draw angle and norm of each layer of a network over training, mean over members, with broken closed forms.

    `forms` has the names of `layers`. The angle of the closed form is one for all layers; the norm is each one's own.
    Each point is the mean of 25 steps.
    """
    figure, axes = panels(2, width=5.0, height=3.5)
    rows, told = [], []
    for (label, layer), look in zip(layers.items(), looks(list(layers)), strict=False):
        half, place = len(layer.norm) // 2, "layer " + label.removeprefix("weight_")
        for axis, key in zip(axes, ("angle", "norm"), strict=True):
            mean, closed = getattr(layer, key).mean(1), getattr(forms[label], key)
            axis.plot(*_smooth(mean, SMOOTH), label=place, markevery=0.15, markersize=5, **look)
            axis.axhline(closed, **(CLOSED if key == "angle" else CLOSED | {"color": look["color"]}))
            miss = float(mean[half:].mean()) / closed - 1
            told.append(f"{place}, {key}: {float(mean[half:].mean()):.3g}, closed form {closed:.3g} ({miss:+.1%})")
            rows.append({"layer": label, "what": key, "measured": float(mean[half:].mean()), "closed_form": closed})
    name(axes[0], "Angle of a step", "step", QUANTITIES["angle"])
    name(axes[1], "Norm of the layer", "step", "norm")
    for axis in axes:
        axis.set_ylim(bottom=0)
        axis.legend(frameon=False, fontsize=9)
    figure.suptitle(f"{title} (broken lines: closed form)", fontsize=11, x=0.01, ha="left", color=INK)
    return Drawn(figure, f"{title}. Means over the second half: {'; '.join(told)}.", pd.DataFrame(rows))


def _logarithmic(axes: Axes, *names: str) -> None:
    """Make axes "x" or "y" logarithmic, with few ticks and plain numbers."""
    for letter in names:
        axes.set(**{f"{letter}scale": "log"})
        axis = getattr(axes, f"{letter}axis")
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())


def _smooth(values: Tensor, width: int) -> tuple[list[float], Tensor]:
    """Return the means of `width` values each, and the steps they stand for; what is left over is dropped."""
    width = min(width, len(values))
    means = values[: len(values) // width * width].reshape(-1, width).mean(1)
    return [width * (place + 0.5) - 0.5 for place in range(len(means))], means
