"""The critical period under a slider: the moment at which decay is switched, its gain, and the runs behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import ipywidgets as widgets
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wdlab.checks import known, number
from wdlab.figures.style import COLOURS, FAINT, INK, dress, name
from wdlab.figures.timing import CURVE_TITLES, LOGARITHMIC, critical_period
from wdlab.lab.controls import figure_png, new_figure, toggles
from wdlab.lab.explorer import Dial, Seen, check_alone
from wdlab.sweeps import Results

SIDES = {"decay until t0": COLOURS[0], "decay from t0": COLOURS[1]}
SHOWN = ("weight_norm", "test_error", "effective_lr")


@dataclass(frozen=True)
class Setting:
    """What the dials say: the moment of the switch, as a share of training, and which curve of the runs is shown."""

    t0: float = 0.0
    curve: str = SHOWN[0]


class CriticalPeriod:
    """A view for the Explorer: decay until t0, and decay from t0 on, with gains over never and the runs' curves.

    `until` holds runs with windows [0, t0), `since` with [t0, 1), for the same moments (0 and 1 among them) and seeds,
    as for `figures.critical_period`, whose numbers these are. Dials: t0 (a moment), curve ("weight_norm", "test_error",
    "effective_lr"). Data have one row a side: side, t0, gain, low, high, and the shown curve's last value. Raises
    ValueError for results that are not such a pair.
    """

    def __init__(self, until: Results, since: Results, metric: str = "test_accuracy") -> None:
        results = dict(zip(SIDES, (until, since), strict=True))
        moments = {"decay until t0": _moments(until, "stop"), "decay from t0": _moments(since, "start")}
        _check(until, since, *moments.values())
        self.moments = tuple(sorted(set(moments["decay until t0"])))
        self.gains = critical_period(until, since, metric).data
        self.metric = metric.replace("_", " ")
        self.seeds = int(until.table["seed"].nunique())
        self.means = {side: _means(results[side], moments[side]) for side in SIDES}
        self._picture = _Picture(self)

    def start(self) -> Setting:
        """Return the setting half-way through the moments."""
        return Setting(self.moments[len(self.moments) // 2])

    def dials(self) -> dict[str, Dial]:
        """Return the slider of moments, and buttons for the curve."""
        moments = [(f"{moment:.0%}", moment) for moment in self.moments]
        slider = widgets.SelectionSlider(
            options=moments, value=self.moments[0], continuous_update=False, layout=widgets.Layout(width="auto")
        )
        curves = toggles([(CURVE_TITLES[curve].lower(), curve) for curve in SHOWN], SHOWN[0])
        return {
            "t0": Dial(slider, "Switch decay at t0", "the share of training that has passed"),
            "curve": Dial(curves, "Show of the runs", "mean over seeds"),
        }

    def offered(self, setting: Setting) -> dict[str, list[tuple[str, float]]]:
        """Return nothing: the moments are the same whatever is turned."""
        return {}

    def turned(self, setting: Setting, dials: Mapping[str, Any]) -> Setting:
        """Return the setting with some dials turned; raises ValueError for what is not allowed."""
        for dial in dials:
            known("dial", dial, [field.name for field in fields(Setting)])
        made = replace(setting, **dials)
        known("curve", made.curve, SHOWN)
        if number("t0", made.t0) not in self.moments:
            offered = ", ".join(f"{moment:g}" for moment in self.moments)
            raise ValueError(f"t0={made.t0!r} was not measured; give one of {offered}.")
        return made

    def see(self, setting: Setting) -> Seen:
        """Return gains and curves at one moment."""
        data = self.gains[self.gains["t0"] == setting.t0].reset_index(drop=True)
        last = [self.means[str(side)][setting.t0][setting.curve].iloc[-1] for side in data["side"]]
        data = data.assign(**{setting.curve: last})
        title = f"Decay until {setting.t0:.0%} of training, and from {setting.t0:.0%} on"
        return Seen(self._picture.draw(setting, data, title), data, title, self._told(setting, data))

    def _told(self, setting: Setting, data: pd.DataFrame) -> str:
        words = CURVE_TITLES[setting.curve].lower()
        told = [
            f"{'Until' if 'until' in str(row.side) else 'From'} {row.t0:.0%}: {row.gain:+.3f} ({row.low:+.3f} to "
            f"{row.high:+.3f}), {words} {getattr(row, setting.curve):.3g} at the end."
            for row in data.itertuples()
        ]
        always = self.gains.query("side == 'decay until t0' and t0 == 1")["gain"].item()
        ends = f"Decay throughout: {always:+.3f}."
        return f"Gain in {self.metric} over never, with 95% interval, {self.seeds} seeds. {' '.join(told)} {ends}"


def _moments(results: Results, end: str) -> list[float]:
    """The moment of each run's switch."""
    return [float(getattr(run.decay.timing, end)) for run in results.runs]


def _check(until: Results, since: Results, moments: list[float], others: list[float]) -> None:
    """Refuse what is no pair: other windows, other moments or seeds on one side, or runs that differ in more."""
    inside = {run.decay.timing.start for run in until.runs} | {1 - run.decay.timing.stop for run in since.runs}
    if {run.decay.timing.kind for run in (*until.runs, *since.runs)} != {"window"} or inside != {0.0}:
        raise ValueError("until and since are not allowed; give windows [0, t0) and windows [t0, 1).")
    cells = [sorted(zip(found, _seeds(side), strict=True)) for found, side in ((moments, until), (others, since))]
    if cells[0] != cells[1] or not {0.0, 1.0} <= set(moments):
        raise ValueError(
            f"until has the moments {sorted(set(moments))} and since {sorted(set(others))}, or they have other seeds; "
            "give both the same, 0 and 1 among the moments."
        )
    both = {history.run: history for history in (*until.histories, *since.histories)}  # always is on both sides
    check_alone(Results(tuple(both.values())), ("timing", "seed"))


def _seeds(results: Results) -> list[int]:
    return [run.seed for run in results.runs]


def _means(results: Results, moments: list[float]) -> dict[float, pd.DataFrame]:
    """The curves of each moment by step, as means over seeds."""
    table, place = results.curves, np.asarray(moments)
    by_moment = table.groupby(place[table["run"].to_numpy()])
    return {moment: by_moment.get_group(moment).groupby("step")[list(SHOWN)].mean(skipna=False) for moment in moments}


class _Picture:
    """Two panels, gains and curves; the artists are made once and moved."""

    def __init__(self, view: CriticalPeriod) -> None:
        self.view = view
        self.figure: Figure = new_figure(8.2, 3.9)
        with matplotlib.style.context("default"):
            self.left: Axes = dress(self.figure.add_axes((0.088, 0.235, 0.385, 0.655)))
            self.right: Axes = dress(self.figure.add_axes((0.575, 0.235, 0.395, 0.655)))
            self._make_left()
            self._make_right()
        self.title = self.figure.text(0.012, 0.945, "", fontsize=11, color=INK)
        self.figure.legend(
            [*self.lines.values(), *self.known], [*SIDES, "never", "always"],
            loc="lower center", ncols=4, frameon=False, fontsize=9.5,
        )  # fmt: skip

    def _make_left(self) -> None:
        for (side, part), marker in zip(self.view.gains.groupby("side", sort=False), "os", strict=True):
            reach = [part["gain"] - part["low"], part["high"] - part["gain"]]
            self.left.errorbar(
                part["t0"], part["gain"], yerr=reach, color=SIDES[str(side)], marker=marker, capsize=3, markersize=5
            )
        self.left.axhline(0, color=FAINT, linewidth=1)
        name(self.left, "", "t0, as a share of training", f"gain in {self.view.metric} over never")
        self.cut = self.left.axvline(0, color=FAINT, linestyle=":", linewidth=1.5)
        ring: dict[str, Any] = {"markersize": 14, "markerfacecolor": "none", "markeredgewidth": 2.2, "zorder": 4}
        self.rings = {
            side: self.left.plot([0], [0], marker, color=colour, **ring)[0]
            for (side, colour), marker in zip(SIDES.items(), "os", strict=True)
        }

    def _make_right(self) -> None:
        self.known = [
            self.right.plot([0], [1], color=colour, linestyle=dashes, linewidth=1.8)[0]
            for colour, dashes in ((FAINT, "--"), (INK, ":"))
        ]
        self.lines = {
            side: self.right.plot([0], [1], color=colour, marker=marker, markevery=0.2, markersize=5, linewidth=2.2)[0]
            for (side, colour), marker in zip(SIDES.items(), "os", strict=True)
        }
        self.switch = self.right.axvline(0, color=FAINT, linestyle=":", linewidth=1.5)
        name(self.right, "", "step", "")

    def draw(self, setting: Setting, data: pd.DataFrame, title: str) -> bytes:
        """Return the picture of one setting as PNG."""
        self.title.set_text(title)
        self.cut.set_xdata([setting.t0] * 2)
        for row in data.itertuples():
            self.rings[str(row.side)].set(xdata=[row.t0], ydata=[row.gain])
        means = self.view.means
        never, always = (means["decay until t0"][end][setting.curve] for end in (0.0, 1.0))
        chosen = [means[side][setting.t0][setting.curve] for side in SIDES]
        for artist, curve in zip((*self.known, *self.lines.values()), (never, always, *chosen), strict=True):
            artist.set_data(curve.index.to_numpy(), curve.to_numpy())
        self.switch.set_xdata([setting.t0 * never.index[-1]] * 2)
        self._scale(setting.curve, int(never.index[-1]))
        return figure_png(self.figure)

    def _scale(self, curve: str, steps: int) -> None:
        """One scale for all moments, so that what moves is the curve."""
        found = [one[curve].to_numpy() for means in self.view.means.values() for one in means.values()]
        values = np.concatenate(found)
        values = values[np.isfinite(values)]
        low, high = float(values.min()), float(values.max())
        logarithmic = curve in LOGARITHMIC and low > 0
        self.right.set_yscale("log" if logarithmic else "linear")
        self.right.set_ylim(*((low / 1.2, high * 1.2) if logarithmic else (0, 1.06 * high)))
        self.right.set_xlim(0, steps)
        self.right.set_ylabel(CURVE_TITLES[curve].lower(), fontsize=10)
