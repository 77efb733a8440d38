"""The Perturb: move trained networks' weights by noise; see which kind of noise sees their scale, and which cannot."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import Any

import ipywidgets as widgets
import matplotlib.style
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from torch import Tensor

from wdlab.checks import known, number
from wdlab.claims import ALWAYS, NEVER, network
from wdlab.claims.chapter05 import learned_from, restored
from wdlab.figures.style import FAINT, INK, dress, looks, name
from wdlab.lab.controls import (
    figure_png,
    labelled,
    line,
    new_figure,
    picture,
    row,
    stack,
    toggles,
    unseen,
)
from wdlab.lab.instant import Instant
from wdlab.measures import Subject, rescale_, weight_norm
from wdlab.measures.complexity import weight_tensors
from wdlab.measures.sharpness import noise_sharpness
from wdlab.models import cross_entropy
from wdlab.run import Run
from wdlab.sweeps import sweep
from wdlab.tasks import evaluate
from wdlab.train import History, held_to

EXAMPLES = 500
PAIRS = 1  # one draw of noise, with both signs: its many thousand numbers average among themselves
SEED = 10_000  # of the networks that are trained when none are given: not one that a claim looks at
RANGES = {"size": (0.003, 1.0), "c": (0.5, 16.0)}  # where the sliders end
SIZES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # at which the curves are read
REACH = (1e-5, 30.0)  # of the picture's axis; what lies beyond is drawn at its edge
STILL = 0.02  # a change by less than this share counts as none: BatchNorm's eps leaves less
ALL = "all"
MOST = 4  # networks that have room beside the picture

KINDS = {
    "absolute": "Every weight gets noise of one and the same size.",
    "layer": "Every layer gets noise in proportion to the norm of its weights.",
    "filter": "Every output unit gets noise in proportion to the norm of the weights it reads.",
    "element": "Every weight gets noise in proportion to itself.",
}
"""The kinds of noise and what each of them does; all but the first are relative."""


@dataclass(frozen=True)
class Setting:
    """What the dials of a Perturb say; `to` is the network that c multiplies. Raises ValueError for what is wrong."""

    size: float = 0.01
    noise: str = "absolute"
    c: float = 1.0
    to: str = ALL

    def __post_init__(self) -> None:
        for dial, ends in RANGES.items():
            number(dial, getattr(self, dial), *ends)
        known("noise", self.noise, KINDS)

    def factor(self, label: str) -> float:
        """Return what the weights of the network called `label` are multiplied by."""
        return self.c if self.to in (ALL, label) else 1.0

    def __str__(self) -> str:
        whose = "all" if self.to == ALL else self.to
        kind = "absolute" if self.noise == "absolute" else f"{self.noise}-relative"
        return f"Noise: {kind}, size {self.size:.2g}" + ("" if self.c == 1 else f"; weights of {whose} × {self.c:.2g}")


class Perturb(Instant):
    """Trained networks whose weights get noise: by how much the loss rises, at each size of the noise.

    Dials, by the names of `Setting`: size (0.003 to 1), noise ("absolute", "layer", "filter", "element": the kinds of
    `wdlab.measures.sharpness.NOISES`), c (0.5 to 16: multiplies all weights that feed a BatchNorm), to ("all", or the
    network whose weights c multiplies). Give `networks`, up to four by label, each a `Run` or a `History` that
    holds its network; otherwise two of chapter 03's are trained in a few seconds, without decay and with. Rise and
    training loss are of the first 500 training examples, normalized by their own statistics; the error is that of the
    test. `data` has one row a network, `curves` one a network and size. The cell that shows a Perturb also keeps its
    picture. Raises ValueError for what is not allowed.
    """

    def __init__(self, networks: Mapping[str, Run | History] | None = None, **setting: Any) -> None:
        histories = _trained(networks) if networks is not None else default_networks()
        self.labels = tuple(histories)
        self.setting = self._turned(Setting(), setting)
        self._nets = {(label, 1.0): _Net(*_loaded(history)) for label, history in histories.items()}
        self._picture = _Picture(self.labels)
        self._make_widgets()
        for noise in KINDS:  # read beforehand, so that no turn needs more than one set of curves
            self._curves(replace(self.setting, noise=noise, c=1.0))
        self._redraw()

    def _turned(self, setting: Setting, dials: Mapping[str, Any]) -> Setting:
        known("to", dials.get("to", ALL), (ALL, *self.labels))
        turned: Setting = super()._turned(setting, dials)
        return turned

    # Widgets

    def _make_widgets(self) -> None:
        asks = {
            "noise": ("Kind of noise", ""),
            "size": ("Size of the noise", "0.003 to 1"),
            "c": ("Multiply the weights that feed BatchNorm by c", "0.5 to 16"),
            "to": ("... in", "the network whose weights c multiplies"),
        }
        self.dials: dict[str, Any] = {
            "noise": toggles([(kind, kind) for kind in KINDS], self.setting.noise),
            "size": _slider(self.setting.size, -2.55, 0.0),
            "c": _slider(self.setting.c, -0.35, 1.25),
            "to": toggles([(label, label) for label in (ALL, *self.labels)], self.setting.to),
        }
        self.sentence, self.status, self.words = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.image = picture(b"", "720px")
        for dial in self.dials.values():
            dial.observe(self._on_change, "value")
        shown = {key: labelled(self.dials[key], *asks[key]) for key in asks}
        shown["noise"] = stack([shown["noise"], self.sentence])
        left = stack(list(shown.values()), flex="1 1 270px", min_width="0")
        right = stack([self.image, self.status, self.words], flex="3 1 460px", max_width="720px", min_width="0")
        self._root = row([left, right], align_items="flex-start", width="100%")

    def _on_change(self, _: object) -> None:
        if self._following:
            return
        values = {key: dial.value for key, dial in self.dials.items()}
        for key, (low, high) in RANGES.items():
            values[key] = min(max(float(f"{values[key]:.2g}"), low), high)
        self.turn(**values)  # which also shows on the dials what became of them

    # What is measured

    def _net(self, label: str, c: float) -> _Net:
        if (label, c) not in self._nets:
            self._nets[label, c] = self._nets[label, 1.0].times(c)
        return self._nets[label, c]

    def _pairs(self, setting: Setting) -> list[tuple[str, _Net, _Net]]:
        """Each network by its label: as it was trained, and as it is now."""
        return [(label, self._net(label, 1.0), self._net(label, setting.factor(label))) for label in self.labels]

    def _curves(self, setting: Setting) -> pd.DataFrame:
        """One row a network and size: how far noise of that size raises the loss now, and at c = 1."""
        noise = setting.noise
        return pd.DataFrame(
            {"network": label, "size": size, "before": first.rise(noise, size), "rise": now.rise(noise, size)}
            for label, first, now in self._pairs(setting)
            for size in SIZES
        )

    def _table(self, setting: Setting) -> pd.DataFrame:
        """One row a network: what it is, and how far noise of the size chosen raises its loss now, and at c = 1."""
        noise, size = setting.noise, setting.size
        found = pd.DataFrame(
            {
                "network": label,
                "before": first.rise(noise, size),
                "rise": now.rise(noise, size),
                "norm": now.norm,
                "loss": now.loss,
                "error": now.error,
                "loss_before": first.loss,
                "error_before": first.error,
            }
            for label, first, now in self._pairs(setting)
        )
        return found.assign(times=found["rise"] / found["before"])

    # The picture

    def _redraw(self) -> None:
        self.data, self.curves = self._table(self.setting), self._curves(self.setting)
        self.told = _told(self.data, self.setting)
        self.alt = f"{self.setting}. {_in_words(self.data, self.curves)} {self.told}"
        self.image.value = self._png = self._picture.draw(self.data, self.curves, self.setting)
        self.sentence.value = line(KINDS[self.setting.noise])
        self.words.value = unseen(self.alt)
        self.status.value = line(self.told, role="status")


@lru_cache(maxsize=1)
def default_networks() -> Mapping[str, History]:
    """Return the two networks a Perturb looks at: chapter 03's, trained without decay and with."""
    base = replace(network("demo"), seed=SEED)
    return _trained(
        {f"decay {timing}": replace(base, decay=replace(base.decay, timing=timing)) for timing in (NEVER, ALWAYS)}
    )


class _Net:
    """A network at one scale: its norm, loss and error, and its rises, each measured once."""

    def __init__(self, subject: Subject, inputs: Tensor, labels: Tensor) -> None:
        self.subject, self.inputs, self.labels = subject, inputs, labels
        part = next(subject.parts())  # a copy, whose running statistics are nobody's
        seen, answers = part.examples()
        with held_to(1), torch.no_grad():
            self.norm = float(weight_norm(weight_tensors(part.model).values()))
            self.error = float(evaluate(part.model, inputs, labels)["test_error"])
            self.loss = float(cross_entropy(part.model.train()(seen), answers))
        self._rises: dict[tuple[str, float], float] = {}

    def times(self, c: float) -> _Net:
        """Return the network with the weights that feed a BatchNorm multiplied by c."""
        model = copy.deepcopy(self.subject.model)
        rescale_(model, c)
        return _Net(replace(self.subject, model=model), self.inputs, self.labels)

    def rise(self, noise: str, size: float) -> float:
        """Return the rise of the loss under noise, in nats."""
        if (noise, size) not in self._rises:
            with held_to(1):
                found = noise_sharpness(self.subject, self.subject.generator(), size, noise, PAIRS)
            self._rises[noise, size] = float(found)
        return self._rises[noise, size]


def _trained(networks: Mapping[str, Run | History]) -> dict[str, History]:
    """Return the networks as histories that hold them, training those that are runs."""
    if not 1 <= len(networks) <= MOST or ALL in networks:
        raise ValueError(f"networks={list(networks)!r} is not allowed; give 1 to {MOST} by label, none called {ALL!r}.")
    runs = [one for one in networks.values() if isinstance(one, Run)]
    found = iter(sweep(runs, device="cpu", networks=True).histories if runs else ())
    histories = {label: next(found) if isinstance(one, Run) else one for label, one in networks.items()}
    for label, history in histories.items():
        _check(label, history)
    return histories


def _check(label: str, history: object) -> None:
    if not isinstance(history, History) or history.network is None:
        wanted = "give a Run, or a History from sweep(..., networks=True)"
    elif history.diverged_at is not None:
        wanted = f"its loss was not finite at step {history.diverged_at}; give one that did not diverge"
    elif not history.run.model.norm:
        wanted = "give one with BatchNorm, Model(norm=True), for else c would change what it computes"
    else:
        return
    raise ValueError(f"networks[{label!r}] is not allowed: {wanted}.")


def _loaded(history: History) -> tuple[Subject, Tensor, Tensor]:
    """Return a history's network with its first training examples, and the test: in float64, on the CPU.

    In float32 the smallest rises would be rounding.
    """
    training = restored([history], dtype=torch.float64)
    test = slice(history.run.task.test_size)
    return learned_from(training), training.inputs[test], training.labels[test]


def _slider(value: float, low: float, high: float) -> Any:
    return widgets.FloatLogSlider(
        value=value, base=10, min=low, max=high, step=0.05, readout_format=".2g", continuous_update=False,
        layout=widgets.Layout(width="auto"),
    )  # fmt: skip


@dataclass(frozen=True)
class _Artists:
    """What the picture shows of one network."""

    before: Line2D
    curve: Line2D
    point: Line2D
    text: Text


class _Picture:
    """A curve for each network on two logarithmic axes, its values beside; the artists are made once and moved."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.figure: Figure = new_figure(7.2, 3.9)
        with matplotlib.style.context("default"):
            self.axes: Axes = dress(self.figure.add_axes((0.095, 0.135, 0.555, 0.775)))
            self._make()
            self.artists = [self._one(place, labels[place], look) for place, look in enumerate(looks(labels))]

    def _make(self) -> None:
        axes, low, high = self.axes, *RANGES["size"]
        axes.set(xscale="log", yscale="log", xlim=(low / 1.15, high * 1.15), ylim=REACH)
        axes.set_xticks(SIZES, [f"{size:g}" for size in SIZES])
        axes.minorticks_off()
        name(axes, "", "size of the noise", "rise of the loss (nats)")
        self.title = self.figure.text(0.012, 0.945, "", fontsize=11, color=INK)
        self.note = self.figure.text(0.67, 0.045, "broken: the network at c = 1", fontsize=9.2, color=INK)
        self.size = axes.axvline(low, color=FAINT, linewidth=1.5)

    def _one(self, place: int, label: str, look: Mapping[str, Any]) -> _Artists:
        """Make the artists of one network, with a heading of its own beside the axes."""
        plot, write, top = self.axes.plot, self.figure.text, 0.91 - 0.2 * place
        self.figure.add_artist(Line2D([0.683], [top - 0.016], **look, markersize=7))
        write(0.7, top, label, fontsize=9.5, fontweight="bold", color=look["color"], va="top")
        return _Artists(
            before=plot(SIZES, SIZES, color=look["color"], linewidth=1.2, linestyle=(0, (2, 2)))[0],
            curve=plot(SIZES, SIZES, **look, linewidth=2, markersize=5)[0],
            point=plot([1], [1], **look, markersize=12, markerfacecolor="none", markeredgewidth=2)[0],
            text=write(0.7, top - 0.044, "", fontsize=9.2, color=INK, va="top", linespacing=1.25),
        )

    def draw(self, data: pd.DataFrame, curves: pd.DataFrame, setting: Setting) -> bytes:
        """Return the picture of a table and its curves as PNG. Broken lines are the networks at c = 1."""
        self.title.set_text(str(setting))
        self.note.set_visible(setting.c != 1)
        self.size.set_xdata([setting.size, setting.size])
        for found, artists in zip(_rows(data), self.artists, strict=True):
            curve = curves[curves["network"] == found.network]
            artists.before.set_ydata([_within(rise) for rise in curve["before"]])
            artists.before.set_visible(setting.factor(found.network) != 1)
            artists.curve.set_ydata([_within(rise) for rise in curve["rise"]])
            artists.point.set(xdata=[setting.size], ydata=[_within(found.rise)])
            norm = f"‖w‖ {_say(found.norm)}, rise {_say(found.rise)} nats"
            artists.text.set_text("\n".join((norm, *_quality(found))))
        return figure_png(self.figure)


def _within(rise: float) -> float:
    """What is drawn of a rise; noise may also lower the loss, which no logarithm shows."""
    return min(max(rise, REACH[0] * 1.2), REACH[1] / 1.2)


# In words


def _told(data: pd.DataFrame, setting: Setting) -> str:
    if setting.c == 1:
        return f"c is 1: the weights are as they were trained. {_order(data)}".strip()
    return f"{_left_alone(data, setting)} {_moved(data, setting)} {_order(data)}".strip()


def _order(data: pd.DataFrame) -> str:
    """Whether the networks that noise calls flatter also test better."""
    nets = sorted(_rows(data), key=lambda found: float(found.rise))
    if len(nets) == 1:
        return ""
    if len(nets) == 2:
        flatter, other = nets
        if flatter.error <= other.error:
            return f"The lowest rise and the lowest test error are both those of {flatter.network}."
        return (
            f"The lowest rise is that of {flatter.network}, the lowest test error that of {other.network}: flatter is "
            "not better here."
        )
    pairs = list(combinations(nets, 2))
    better = sum(flatter.error < other.error for flatter, other in pairs)
    return f"In {better} of {len(pairs)} pairs of networks the one with the lower rise has the lower test error."


def _left_alone(data: pd.DataFrame, setting: Setting) -> str:
    """Whether multiplying changed what the networks compute."""
    loss = float((data["loss"] / data["loss_before"] - 1).abs().max())
    error = float((data["error"] - data["error_before"]).abs().max())
    what = "the networks compute" if setting.to == ALL else f"{setting.to} computes"
    told = f"left what {what} as it was, to within {STILL:.0%}"
    if max(loss, error) >= STILL:
        told = f"changed what {what}"
    moved = f"training loss moved by {loss:.1%}, test error by {100 * error:.1f} points"
    return f"× {setting.c:.2g} {told} ({moved})."


def _moved(data: pd.DataFrame, setting: Setting) -> str:
    """By how much it changed the rise."""
    told = [_looks(found) for found in _rows(data) if setting.factor(found.network) != 1]
    return f"To this noise {', '.join(told)}."


def _looks(found: Any) -> str:
    became = f"({_say(found.before)} became {_say(found.rise)})"
    if abs(found.times - 1) < STILL:
        return f"{found.network}'s rise stayed {became}"
    if min(found.before, found.rise) <= 0:  # far from a minimum a little noise may lower the loss
        return f"{found.network}'s rise changed {became}"
    way = f"{1 / found.times:.3g} times flatter" if found.times < 1 else f"{found.times:.3g} times sharper"
    return f"{found.network} looks {way} {became}"


def _in_words(data: pd.DataFrame, curves: pd.DataFrame) -> str:
    told = []
    for found in _rows(data):
        ends = curves.loc[curves["network"] == found.network, "rise"]
        told.append(
            f"{found.network}: rise of the loss {_say(found.rise)} nats, {_say(ends.iloc[0])} at size {SIZES[0]:g} to "
            f"{_say(ends.iloc[-1])} at {SIZES[-1]:g}; weight norm {_say(found.norm)}, {', '.join(_quality(found))}."
        )
    return " ".join(told)


def _rows(data: pd.DataFrame) -> list[Any]:
    return list(data.itertuples())


def _quality(found: Any) -> tuple[str, str]:
    return f"training loss {_say(found.loss)}", f"test error {found.error:.1%}"


def _say(value: float) -> str:
    return f"{value:.3g}"
