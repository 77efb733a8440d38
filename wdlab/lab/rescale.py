"""The Rescale: multiply the hidden weights of a trained network by a number; see what moves, and what cannot."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import ipywidgets as widgets
import matplotlib.style
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wdlab.checks import known, number
from wdlab.claims import trained_network
from wdlab.figures.style import COLOURS, FAINT, INK, dress, name
from wdlab.lab.controls import figure_png, labelled, line, new_figure, picture, row, stack, unseen
from wdlab.lab.instant import Instant
from wdlab.measures.scale import Scaled, at_scale
from wdlab.train import Training

EXAMPLES = 500
SEED = 10_000  # of the network that is trained when none is given: not one that a claim looks at
LOW, HIGH = 0.1, 10.0  # where the slider ends
LRS = {"SGD": 0.1, "Adam": 0.001}
BATCHNORM = ("on", "off")
REACH = (3e-3, 3e2)  # of the picture's axis; what lies beyond is drawn at its edge
TICKS = (0.01, 0.1, 1, 10, 100)
STILL = 0.01  # a change by less than this share counts as none: BatchNorm's eps leaves less

ROWS = {
    "weight norm ‖w‖": "norm",
    "gradient norm ‖g‖": "gradient_norm",
    "effective learning rate": "effective_lr",
    "angle of one step": "angle",
    "‖w‖ ‖g‖": "relative_gradient",
    "test loss": "loss",
    "test accuracy": "accuracy",
    "gradient's direction\n(cosine)": "direction",
}
"""What is shown, in the order of the picture, by the name of the column."""


@dataclass(frozen=True)
class Setting:
    """What the dials of a Rescale say. Raises ValueError for a value that is not allowed."""

    c: float = 1.0
    optimizer: str = "SGD"
    batchnorm: str = "on"

    def __post_init__(self) -> None:
        number("c", self.c, LOW, HIGH)
        known("optimizer", self.optimizer, LRS)
        known("batchnorm", self.batchnorm, BATCHNORM)

    def __str__(self) -> str:
        net = "with BatchNorm" if self.batchnorm == "on" else "without BatchNorm"
        return f"Hidden weights × {self.c:.2g}, network {net}, {self.optimizer}"


class Rescale(Instant):
    """A trained network whose hidden weights are multiplied by c: each quantity against its value at c = 1.

    Dials, by the names of `Setting`: c (0.1 to 10), optimizer ("SGD" with lr 0.1, "Adam" with lr 0.001; one first step
    of it, without decay), batchnorm ("on", "off": the counter-example, a network of its own). Give `networks`, two
    `wdlab.Training` of one member each by the names "on" and "off", to look at your own; otherwise small networks are
    trained on MNIST-1D in the blink it takes. Loss, accuracy and gradient are of the first 500 test examples. The cell
    that shows a Rescale also keeps its picture. Raises ValueError for what is not allowed.
    """

    def __init__(self, networks: dict[str, Training] | None = None, **setting: Any) -> None:
        self.setting = self._turned(Setting(), setting)
        self._networks = {} if networks is None else _checked(networks)
        self._at_one: dict[tuple[str, str], Scaled] = {}
        self._picture = _Picture()
        self._make_widgets()
        self._redraw()

    # Widgets

    def _make_widgets(self) -> None:
        asks = {
            "c": ("Multiply the hidden weights by c", "0.1 to 10"),
            "optimizer": ("Optimizer", "whose first step is taken: SGD at lr 0.1, Adam at 0.001"),
            "batchnorm": ("BatchNorm", "off is another network, trained alike without it"),
        }
        slider = widgets.FloatLogSlider(
            value=self.setting.c, base=10, min=math.log10(LOW), max=math.log10(HIGH), step=0.05, readout_format=".2g",
            continuous_update=False, layout=widgets.Layout(width="auto"),
        )  # fmt: skip
        toggles = {
            key: widgets.ToggleButtons(
                options=list(options), value=getattr(self.setting, key), style={"button_width": "auto"}
            )
            for key, options in (("optimizer", LRS), ("batchnorm", BATCHNORM))
        }
        self.dials: dict[str, Any] = {"c": slider, **toggles}
        self.status, self.words = widgets.HTML(), widgets.HTML()
        self.image = picture(b"", "720px")
        for dial in self.dials.values():
            dial.observe(self._on_change, "value")
        left = stack([*(labelled(self.dials[key], *asks[key]) for key in asks)], flex="1 1 270px", min_width="0")
        right = stack([self.image, self.status, self.words], flex="3 1 460px", max_width="720px", min_width="0")
        self._root = row([left, right], align_items="flex-start", width="100%")

    def _on_change(self, _: object) -> None:
        if self._following:
            return
        values = {key: dial.value for key, dial in self.dials.items()}
        self.setting = Setting(**values | {"c": min(max(float(f"{values['c']:.2g}"), LOW), HIGH)})
        self._redraw()

    # What is measured

    def _measured(self, c: float) -> Scaled:
        key = self.setting.batchnorm
        if key not in self._networks:
            self._networks[key] = default_network(key == "on")
        net, optimizer = self._networks[key], self.setting.optimizer
        inputs, labels = net.inputs[: net.task.test_size][:EXAMPLES], net.labels[: net.task.test_size][:EXAMPLES]
        return at_scale(net.model, inputs, labels, c, LRS[optimizer], optimizer.lower())

    def _table(self) -> pd.DataFrame:
        """One row a quantity: its value at c = 1 and now, and how many times the one the other is."""
        place = (self.setting.batchnorm, self.setting.optimizer)
        if place not in self._at_one:
            self._at_one[place] = self._measured(1.0)
        first, now = self._at_one[place], self._measured(self.setting.c)
        rows = []
        for label, column in ((label.replace("\n", " "), column) for label, column in ROWS.items()):
            before, after = _value(first, column, first), _value(now, column, first)
            rows.append({"quantity": label, "at 1": before, "now": after, "times": after / before if before else 1.0})
        return pd.DataFrame(rows)

    # The picture

    def _redraw(self) -> None:
        self.data = self._table()
        self.told = _told(self.data, self.setting)
        title = f"{self.setting}: each quantity, as times what it is at c = 1"
        quantities = "; ".join(
            f"{r.quantity} {_say(r['at 1'])} became {_say(r.now)}, times {r.times:.3g}" for _, r in self.data.iterrows()
        )
        self.alt = f"{title}. {quantities}. {self.told}"
        self.image.value = self._png = self._picture.draw(self.data, str(self.setting))
        self.words.value = unseen(self.alt)
        self.status.value = line(self.told, role="status")


@lru_cache(maxsize=2)
def default_network(norm: bool) -> Training:
    """Return the small network a Rescale looks at, trained for 200 steps of Adam: one member, float64, on the CPU."""
    return trained_network([SEED], norm)


class _Picture:
    """A dot for each quantity on a logarithmic axis; the artists are made once and moved."""

    def __init__(self) -> None:
        self.figure: Figure = new_figure(7.2, 3.9)
        with matplotlib.style.context("default"):
            self.axes: Axes = dress(self.figure.add_axes((0.235, 0.135, 0.50, 0.775)))
            self._make()

    def _make(self) -> None:
        axes, places = self.axes, range(len(ROWS))
        axes.set_xscale("log")
        axes.set(xlim=REACH, ylim=(-len(ROWS) + 0.5, 0.5))
        axes.set_yticks([-place for place in places], list(ROWS))
        axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
        axes.axvline(1, color=FAINT, linewidth=1.5)
        name(axes, "", "times its value at c = 1", "")
        self.title = self.figure.text(0.012, 0.945, "", fontsize=11, color=INK)
        self.lines = [axes.plot([1, 1], [-p, -p], linewidth=2.5)[0] for p in places]
        self.dots = [axes.plot([1], [-p], "o", markersize=9)[0] for p in places]
        self.texts = [
            axes.text(1.02, -p, "", transform=axes.get_yaxis_transform(), va="center", fontsize=9, color=INK)
            for p in places
        ]

    def draw(self, data: pd.DataFrame, title: str) -> bytes:
        """Return the picture of a table as PNG. Diamonds moved, circles did not; an arrow points beyond the edge."""
        self.title.set_text(title)
        for place, (_, found) in enumerate(data.iterrows()):
            times = float(found["times"])
            seen = min(max(times, REACH[0] * 1.15), REACH[1] / 1.15) if math.isfinite(times) else REACH[1] / 1.15
            moved = not abs(times - 1) < STILL
            shape = "o" if not moved else "D" if seen == times else "<" if times < 1 else ">"
            colour = COLOURS[1 if moved else 0]
            self.lines[place].set(xdata=[1, seen], color=colour)
            self.dots[place].set(xdata=[seen], color=colour, marker=shape)
            self.texts[place].set_text(f"{_say(found['at 1'])} → {_say(found['now'])}")
        return figure_png(self.figure)


def _value(scaled: Scaled, column: str, first: Scaled) -> float:
    """One number of a measured network; the direction is the cosine between its gradient and that at c = 1."""
    if column == "accuracy":
        return 1 - float(scaled.error)
    if column == "direction":
        return float(torch.cosine_similarity(scaled.gradient, first.gradient))
    return float(getattr(scaled, column))


def _told(data: pd.DataFrame, setting: Setting) -> str:
    if setting.c == 1:
        return "c is 1: nothing has moved yet. Turn it."
    still = [str(q) for q, t in zip(data["quantity"], data["times"], strict=True) if abs(t - 1) < STILL]
    by = data.set_index("quantity")["times"]
    turned = by["angle of one step"]
    stays = f"To within {STILL:.0%} these stayed: {', '.join(still)}." if still else "Nothing stayed as it was."
    return f"{stays} A step of {setting.optimizer} at the same lr now turns the weights {turned:.3g} times as far."


def _say(value: float) -> str:
    return f"{value:.3g}"


def _checked(networks: dict[str, Training]) -> dict[str, Training]:
    for key, training in networks.items():
        known("networks", key, BATCHNORM)
        if len(training.runs) != 1 or training.spec.norm != (key == "on"):
            raise ValueError(
                f"networks[{key!r}] is not allowed; give a Training of one run whose model has norm={key == 'on'}."
            )
    return dict(networks)
