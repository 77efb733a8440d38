"""Learning rate times lambda under two sliders: a heat map a coupling, its good basin, and the runs of one cell."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import ipywidgets as widgets
import matplotlib
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from wdlab.checks import known, number
from wdlab.figures.style import BACKGROUND, COLOURS, FAINT, INK, dress, name
from wdlab.figures.timing import CURVE_TITLES
from wdlab.lab.controls import figure_png, new_figure, toggles
from wdlab.lab.explorer import Dial, Seen, check_alone
from wdlab.sweeps import Results
from wdlab.tasks import DQN, Task

AXES = ("lr", "weight_decay", "coupling", "seed")
"""What the runs of a grid may differ in."""
DIRECTIONS = ("higher", "lower")
TOLERANCE = 0.05
SEEDS = 10  # lines of single seeds that the picture has room for
OF_GAMES = {
    "test_accuracy": "return (share of {best:g})",
    "test_error": "missing return (share of {best:g})",
    "test_loss": "missing return (points)",
    "train_loss": "training loss",
}
"""Measurements in words for a game, which has no errors and no nats."""
WIDE = 10.0  # from worst to best: beyond it colours go by the logarithm
ALIKE = 0.05  # how far colours reach to both sides where all scores are the same


@dataclass(frozen=True)
class Setting:
    """What the dials say: the coupling whose heat map is shown, and the cell that is looked at."""

    coupling: str
    lr: float
    weight_decay: float


class Grid:
    """A view for the Explorer: the score of every learning rate and lambda, a heat map for each coupling.

    `results` may differ in lr, lambda, coupling and seed, and in nothing else; a cell's score is the mean of `metric`
    (a column of `Results.table`) over seeds, and none where a run diverged. `better` says whether "higher" or "lower"
    scores are good. The good basin holds the cells within `tolerance` of the coupling's best score, relative to it;
    its share is of all cells that were run, diverged ones among them. `curve` (a column of `Results.curves`) is shown
    for the runs of the cell. Each coupling may have lambdas of its own. Dials: coupling, lr, weight_decay. Data have
    one row a cell of the coupling. Raises ValueError for results that are no such grid.
    """

    def __init__(
        self, results: Results, metric: str = "test_accuracy", better: str = "higher", curve: str = "test_error",
        tolerance: float = TOLERANCE,
    ) -> None:  # fmt: skip
        known("metric", metric, results.table.columns)
        known("curve", curve, results.curves.columns)
        self.better, self.tolerance = known("better", better, DIRECTIONS), number("tolerance", tolerance, 0)
        check_alone(results, AXES)
        self.metric, self.curve, self.task = metric, curve, results.runs[0].task
        table = results.table
        self.couplings = tuple(dict.fromkeys(table["coupling"]))
        self.cells = {
            coupling: _cells(table[table["coupling"] == coupling], metric, better, tolerance)
            for coupling in self.couplings
        }
        told = results.curves
        keys = [told["coupling"], told["lr0"], told["lambda"]]
        self.curves = {key: part.pivot(index="step", columns="run", values=curve) for key, part in told.groupby(keys)}
        self._picture = _Picture(self)

    def start(self) -> Setting:
        """Return the best cell of the first coupling."""
        return self._at_best(self.couplings[0])

    def _at_best(self, coupling: str) -> Setting:
        best = self.best(coupling)
        found = self.cells[coupling].iloc[0] if best is None else best
        return Setting(coupling, float(found["lr"]), float(found["weight_decay"]))

    def best(self, coupling: str) -> pd.Series[Any] | None:
        """Return the row of the best cell, or None where all diverged."""
        cells = self.cells[coupling]
        return cells.loc[_best(cells["score"], self.better)] if cells["score"].notna().any() else None

    def values(self, coupling: str, axis: str) -> list[float]:
        """Return the learning rates or lambdas of a coupling, ascending."""
        return sorted(set(self.cells[coupling][axis].tolist()))

    def dials(self) -> dict[str, Dial]:
        """Return buttons for the coupling, and a slider for each axis of the heat map."""
        setting = self.start()
        return {
            "coupling": Dial(toggles([(one, one) for one in self.couplings], setting.coupling), "Coupling"),
            "lr": Dial(self._slider(setting, "lr"), "Learning rate", "up and down in the picture"),
            "weight_decay": Dial(self._slider(setting, "weight_decay"), "Strength λ", "left and right"),
        }

    def _slider(self, setting: Setting, axis: str) -> Any:
        return widgets.SelectionSlider(
            options=self.offered(setting)[axis], value=getattr(setting, axis), continuous_update=False,
            layout=widgets.Layout(width="auto"),
        )  # fmt: skip

    def offered(self, setting: Setting) -> dict[str, list[tuple[str, float]]]:
        """Return what the sliders offer under the coupling that is chosen."""
        return {
            axis: [(f"{value:.3g}", value) for value in self.values(setting.coupling, axis)]
            for axis in ("lr", "weight_decay")
        }

    def turned(self, setting: Setting, dials: Mapping[str, Any]) -> Setting:
        """Return the setting with some dials turned; a new coupling keeps the place in the grid.

        Raises ValueError for what is not allowed.
        """
        for dial in dials:
            known("dial", dial, [field.name for field in fields(Setting)])
        coupling = known("coupling", dials.get("coupling", setting.coupling), self.couplings)
        if coupling != setting.coupling:
            kept = {axis: self._same_place(setting, coupling, axis) for axis in ("lr", "weight_decay")}
            setting = replace(setting, coupling=coupling, **kept)
        made = replace(setting, **dials)
        for axis in ("lr", "weight_decay"):
            offered = self.values(coupling, axis)
            if number(axis, getattr(made, axis)) not in offered:
                raise ValueError(
                    f"{axis}={getattr(made, axis)!r} is not in the grid; give one of "
                    f"{', '.join(f'{value:g}' for value in offered)}."
                )
        return made

    def _same_place(self, setting: Setting, coupling: str, axis: str) -> float:
        here, there = self.values(setting.coupling, axis), self.values(coupling, axis)
        value = getattr(setting, axis)
        return value if value in there else there[min(here.index(value), len(there) - 1)]

    def see(self, setting: Setting) -> Seen:
        """Return the heat map of a coupling, with one cell's runs."""
        cells = self.cells[setting.coupling]
        chosen = (cells["lr"] == setting.lr) & (cells["weight_decay"] == setting.weight_decay)
        title = f"{setting.coupling}: {_words(self.metric, self.task)} over learning rate and λ"
        data = cells.assign(chosen=chosen)
        return Seen(self._picture.draw(setting, data, title), data, title, self._told(setting, data))

    def _told(self, setting: Setting, data: pd.DataFrame) -> str:
        cell = data[data["chosen"]]
        here = f"lr {setting.lr:g}, λ {setting.weight_decay:g}:"
        if cell.empty:
            told = f"{here} not run."
        elif cell["diverged"].item():
            told = f"{here} {cell['diverged'].item()} of {cell['seeds'].item()} runs diverged, no score."
        else:
            inside = "in" if cell["good"].item() else "outside"
            score = f"{_words(self.metric, self.task)} {cell['score'].item():.3g}"
            told = f"{here} {score} ({_seeds(cell)}), {inside} the good basin."
        best = self.best(setting.coupling)
        if best is None:
            return f"{told} All cells diverged."
        return (
            f"{told} Best: {best['score']:.3g} at lr {best['lr']:g}, λ {best['weight_decay']:g}. Good basin, within "
            f"{self.tolerance:.0%} of the best: {data['good'].sum()} of {len(data)} cells ({data['good'].mean():.0%}). "
            f"Diverged: {(data['diverged'] > 0).sum()} cells."
        )

    def scale(self) -> Normalize:
        """Return the scale of colours, one for all couplings, so that they can be compared."""
        scores = pd.concat([cells["score"] for cells in self.cells.values()]).dropna()
        low, high = (float(scores.min()), float(scores.max())) if len(scores) else (0.0, 1.0)
        if high == low:
            low, high = low - ALIKE, high + ALIKE
        return LogNorm(low, high) if low > 0 and high / low > WIDE else Normalize(low, high)


def _cells(table: pd.DataFrame, metric: str, better: str, tolerance: float) -> pd.DataFrame:
    """One row a cell: lr, weight_decay, score, seeds, diverged (how many of its runs), good."""
    rows = []
    for (lr, weight_decay), part in table.groupby(["lr", "weight_decay"]):
        lost = int(part["diverged_at"].notna().sum())
        score = float("nan") if lost else part[metric].mean(skipna=False)
        rows.append({"lr": lr, "weight_decay": weight_decay, "score": score, "seeds": len(part), "diverged": lost})
    cells = pd.DataFrame(rows)
    if cells["score"].isna().all():
        return cells.assign(good=False)
    best = cells["score"][_best(cells["score"], better)]
    reach = tolerance * abs(best)
    good = cells["score"] >= best - reach if better == "higher" else cells["score"] <= best + reach
    return cells.assign(good=good)


def _best(scores: pd.Series[float], better: str) -> Any:
    return scores.idxmax() if better == "higher" else scores.idxmin()


def _words(column: str, task: Task) -> str:
    return _of_game(column, task) or column.replace("_", " ")


def _of_game(column: str, task: Task) -> str:
    return OF_GAMES.get(column, "").format(best=task.best_return) if isinstance(task, DQN) else ""


def _seeds(cell: pd.DataFrame) -> str:
    count = cell["seeds"].item()
    return "1 seed" if count == 1 else f"mean of {count} seeds"


class _Picture:
    """A heat map and the curves of a cell; the artists are made once and moved."""

    def __init__(self, view: Grid) -> None:
        self.view = view
        self.figure: Figure = new_figure(8.2, 3.9)
        with matplotlib.style.context("default"):
            self.map: Axes = self.figure.add_axes((0.095, 0.225, 0.39, 0.665))
            bar: Axes = self.figure.add_axes((0.495, 0.225, 0.014, 0.665))
            self.side: Axes = dress(self.figure.add_axes((0.645, 0.225, 0.325, 0.665)))
            self._make_map(bar)
            self._make_side()
        self.title = self.figure.text(0.012, 0.945, "", fontsize=11, color=INK)
        self.figure.text(
            0.012, 0.03, "outlined: the good basin    ×: diverged    white: not run", fontsize=9, color=INK
        )

    def _make_map(self, bar: Axes) -> None:
        colours = matplotlib.colormaps["cividis" if self.view.better == "higher" else "cividis_r"]
        self.cells = self.map.imshow(
            np.ones((1, 1)), cmap=colours, norm=self.view.scale(), origin="lower", aspect="auto",
            interpolation="nearest",
        )  # fmt: skip
        self.map.set_facecolor(BACKGROUND)
        self.figure.colorbar(self.cells, cax=bar).ax.tick_params(labelsize=8)
        self.edges = [
            LineCollection([], colors=colour, linewidths=width)
            for colour, width in ((BACKGROUND, 5.5), (COLOURS[4], 2.8))
        ]
        for edge in self.edges:
            self.map.add_collection(edge)
        (self.lost,) = self.map.plot([], [], "x", color=INK, markersize=9, markeredgewidth=2)
        self.cursor = [
            Rectangle((0, 0), 0.66, 0.66, fill=False, edgecolor=colour, linewidth=width)
            for colour, width in ((BACKGROUND, 5.0), (INK, 2.2))
        ]
        for frame in self.cursor:
            self.map.add_patch(frame)
        name(self.map, "", "λ", "learning rate")

    def _make_side(self) -> None:
        (self.of_best,) = self.side.plot([], [], color=FAINT, linestyle="--", linewidth=2, label="the best cell")
        self.single = [self.side.plot([], [], color=COLOURS[0], linewidth=0.8, alpha=0.45)[0] for _ in range(SEEDS)]
        (self.mean,) = self.side.plot([], [], color=COLOURS[0], linewidth=2.4, label="this cell")
        curve, task = self.view.curve, self.view.task
        name(self.side, "", "step", _of_game(curve, task) or CURVE_TITLES.get(curve, _words(curve, task)).lower())
        values = np.concatenate([part.to_numpy().ravel() for part in self.view.curves.values()])
        values = values[np.isfinite(values)]
        if len(values):
            self.side.set_ylim(min(0.0, float(values.min())), 1.05 * float(np.quantile(values, 0.99)) + 1e-12)
        self.side.set_xlim(0, max(part.index[-1] for part in self.view.curves.values()))
        self.figure.legend(
            [self.mean, self.of_best], ["this cell: mean and single seeds", "the best cell"],
            loc="lower right", ncols=2, frameon=False, fontsize=9,
        )  # fmt: skip

    def draw(self, setting: Setting, data: pd.DataFrame, title: str) -> bytes:
        """Return the picture of one setting as PNG."""
        self.title.set_text(title)
        rates, strengths = (self.view.values(setting.coupling, axis) for axis in ("lr", "weight_decay"))
        self._draw_map(data, rates, strengths)
        x, y = strengths.index(setting.weight_decay), rates.index(setting.lr)
        for frame in self.cursor:
            frame.set_xy((x - 0.33, y - 0.33))
        self._draw_curves(setting)
        return figure_png(self.figure)

    def _draw_map(self, data: pd.DataFrame, rates: list[float], strengths: list[float]) -> None:
        shape = len(rates), len(strengths)
        y, x = data["lr"].map(rates.index), data["weight_decay"].map(strengths.index)
        score, good = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
        score[y, x], good[y, x] = data["score"], data["good"]
        self.cells.set_data(np.ma.masked_invalid(score))
        extent = (-0.5, shape[1] - 0.5, -0.5, shape[0] - 0.5)
        self.cells.set_extent(extent)
        self.map.set(xlim=extent[:2], ylim=extent[2:])
        for edge in self.edges:
            edge.set_segments(_outline(good))
        lost = data["diverged"] > 0
        self.lost.set_data(x[lost], y[lost])
        self.map.set_xticks(range(shape[1]), [f"{value:.3g}" for value in strengths], fontsize=8.5)
        self.map.set_yticks(range(shape[0]), [f"{value:.3g}" for value in rates], fontsize=8.5)

    def _draw_curves(self, setting: Setting) -> None:
        best = self.view.best(setting.coupling)
        top = None if best is None else (setting.coupling, best["lr"], best["weight_decay"])
        shown = self._runs((setting.coupling, setting.lr, setting.weight_decay))
        for artist, runs in ((self.of_best, self._runs(top)), (self.mean, shown)):
            artist.set_data(runs.index.to_numpy(), runs.mean(axis=1, skipna=False).to_numpy())
        for place, artist in enumerate(self.single):
            column = shown.iloc[:, place : place + 1]
            artist.set_data(shown.index.to_numpy()[: len(column.columns) * len(shown)], column.to_numpy().ravel())

    def _runs(self, key: tuple[Hashable, ...] | None) -> pd.DataFrame:
        """The curves of a cell's runs, one column each; none where it was not run."""
        found = self.view.curves.get(key) if key is not None else None
        return pd.DataFrame(index=pd.Index([], dtype=float)) if found is None else found


def _outline(good: np.ndarray) -> list[list[tuple[float, float]]]:
    """The sides at which a good cell meets one that is not."""
    framed = np.pad(good, 1)
    found = []
    for y, x in np.argwhere(good):
        for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            if not framed[y + 1 + dy, x + 1 + dx]:
                middle, along = (x + dx / 2, y + dy / 2), (dy / 2, dx / 2)
                ends = ((middle[0] + sign * along[0], middle[1] + sign * along[1]) for sign in (-1, 1))
                found.append([(float(a), float(b)) for a, b in ends])
    return found
