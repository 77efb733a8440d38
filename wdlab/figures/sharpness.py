"""Figures of chapter 05: measures of trained nets, what scale does to them, and how they order test errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from wdlab.figures.drawn import Drawn
from wdlab.figures.style import COLOURS, FAINT, INK, MARKERS, looks, name, panels
from wdlab.measures import MEASURES
from wdlab.stats import Effect, bootstrap, kendall_over_seeds

DECADE = 10.0  # values that span more are drawn on a logarithmic axis
KINDS = {"norm": 0, "margin": 1, "loss": 3, "absolute": 4, "relative": 2}
"""The kinds of measures, from top to bottom, with the colour and marker of each."""


def scales(measured: Mapping[str, Sequence[float]], factors: Sequence[float]) -> Drawn:
    """Draw each of `measured`, read at every one of `factors`, as times what it is at factor 1, on logarithmic axes.

    The broken line is 1/c^2. Raises ValueError when 1 is not among the factors.
    """
    if 1 not in factors:
        raise ValueError(
            f"factors={list(factors)!r} is not allowed; 1 must be among them, for it is what others are compared to."
        )
    figure, (axes,) = panels(1, width=6.4, height=3.6)
    one = list(factors).index(1)
    times = {label: [value / values[one] for value in values] for label, values in measured.items()}
    axes.plot(factors, [c**-2 for c in factors], color=FAINT, linestyle=(0, (4, 3)), label="1/c²")
    for (label, ratios), look in zip(times.items(), looks(list(times)), strict=False):
        axes.plot(factors, ratios, label=label, markersize=6, **look)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(list(factors), [f"{c:g}" for c in factors])
    axes.minorticks_off()
    name(
        axes,
        "The same function, longer weights",
        "c, which multiplies the weights that feed BatchNorm",
        "times its value at c = 1",
    )
    axes.legend(frameon=False, fontsize=9)
    told = "; ".join(
        f"{label} {ratios[0]:.3g} at c = {factors[0]:g} and {ratios[-1]:.3g} at c = {factors[-1]:g}"
        for label, ratios in times.items()
    )
    data = pd.DataFrame({"c": list(factors), **times})
    return Drawn(figure, f"Measures as times their value at c = 1: {told}.", data)


def scatter(tables: Mapping[str, tuple[pd.DataFrame, str]], label: str = "timing") -> Drawn:
    """Draw test error against a measure: a panel an entry (its table and the measure's name), a look for each `label`.

    Each dot is one net, its test error less the mean of its seed's nets. The title holds the mean over seeds of
    Kendall's tau within a seed, with its 95% interval.
    """
    figure, axes = panels(len(tables), width=4.3, height=3.9)
    rows = []
    for panel, (title, (table, measure)) in zip(axes, tables.items(), strict=True):
        _nets(panel, table, measure, label)
        found = _tau(table, measure)
        told = f"{title}\ntau {found.mean:+.2f} ({found.low:+.2f} to {found.high:+.2f})"
        name(panel, told, words(measure), "test error minus its seed's mean")
        rows.append({"panel": title, "measure": measure, "tau": found.mean, "low": found.low, "high": found.high})
    handles, labels = axes[0].get_legend_handles_labels()
    asked = "decay acts" if label == "timing" else None
    figure.legend(handles, labels, title=asked, frameon=False, fontsize=9, loc="outside right center")
    told = "; ".join(f"{row['panel']}: mean tau within a seed {row['tau']:+.2f}" for row in rows)
    return Drawn(figure, f"Test error against a measure, one dot a net. {told}.", pd.DataFrame(rows))


def _nets(panel: Axes, table: pd.DataFrame, measure: str, label: str) -> None:
    centred = table["test_error"] - table.groupby("seed")["test_error"].transform("mean")
    groups = list(dict.fromkeys(table[label]))
    for group, look in zip(groups, _dots(groups), strict=True):
        chosen = table[label] == group
        panel.plot(table[measure][chosen], centred[chosen], linestyle="", markersize=6, label=str(group), **look)
    if table[measure].max() > DECADE * table[measure].min() > 0:
        panel.set_xscale("log")


def _tau(table: pd.DataFrame, measure: str) -> Effect:
    return kendall_over_seeds(table[measure].tolist(), table["test_error"].tolist(), table["seed"].tolist())


def taus(tables: Mapping[str, pd.DataFrame], names: Sequence[str] = tuple(MEASURES)) -> Drawn:
    """Draw the mean over seeds of each measure's Kendall's tau with test error, a panel a table, with 95% intervals.

    Right of the line a larger measure goes with a larger test error, as it should; left of it the measure is backwards.
    Colours and markers are the kinds of measures. Drawn are Student-t intervals over seeds; the data has those of the
    bootstrap over seeds beside them.
    """
    chosen = sorted(names, key=lambda one: list(KINDS).index(MEASURES[one].kind))
    figure, axes = panels(len(tables), width=0.8 + 8.8 / len(tables), height=1.0 + 0.27 * len(chosen))
    rows = []
    for panel, (title, table) in zip(axes, tables.items(), strict=True):
        for place, one in enumerate(chosen):
            rows.append({"nets": title, **_tau_row(panel, -place, table, one)})
        panel.axvline(0, color=INK, linewidth=1)
        panel.set_xlim(-1.05, 1.05)
        panel.set_yticks(
            [-place for place in range(len(chosen))], [words(one) for one in chosen] if panel is axes[0] else []
        )
        name(panel, title, "Kendall's tau with test error", "")
    handles, labels = axes[0].get_legend_handles_labels()
    shown = dict(zip(labels, handles, strict=True))
    figure.legend(shown.values(), shown, frameon=False, fontsize=9, loc="outside lower center", ncols=len(shown))
    data = pd.DataFrame(rows)
    told = "; ".join(
        f"{title}: "
        + ", ".join(f"{words(str(r.measure))} {r.tau:+.2f}" for r in data[data["nets"] == title].itertuples())
        for title in tables
    )
    return Drawn(figure, f"Kendall's tau between measures and test error. {told}.", data)


def _tau_row(panel: Axes, height: float, table: pd.DataFrame, measure: str) -> dict[str, object]:
    kind, found = MEASURES[measure].kind, _tau(table, measure)
    panel.plot([found.low, found.high], [height, height], color=COLOURS[KINDS[kind]], linewidth=2)
    panel.plot([found.mean], [height], MARKERS[KINDS[kind]], color=COLOURS[KINDS[kind]], markersize=6, label=kind)
    again = bootstrap(found.values)
    told = {"tau": found.mean, "low": found.low, "high": found.high, "boot_low": again.low, "boot_high": again.high}
    return {"measure": measure, "kind": kind, **told}


def words(measure: str) -> str:
    """Return the name of a measure as it is written in a figure."""
    return {"training_loss": "training loss (nats)"}.get(measure, measure.replace("_", " "))


def _dots(groups: Sequence[object]) -> list[dict[str, Any]]:
    """A colour and a marker for each of many groups; where colours come again, they are hollow."""
    count = len(COLOURS)
    return [
        {
            "color": COLOURS[i % count],
            "marker": MARKERS[(i + i // count) % len(MARKERS)],
            "markerfacecolor": COLOURS[i % count] if i < count else "none",
        }
        for i in range(len(groups))
    ]
