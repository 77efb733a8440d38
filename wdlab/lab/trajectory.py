"""The Trajectory: where decay leads an optimizer on a loss in two weights, drawn anew at every turn of a dial."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import pandas as pd
import torch
from torch import Tensor

from wdlab.checks import known, number
from wdlab.decay import Decay, Timing
from wdlab.figures.convex import diverges_at, trajectories
from wdlab.lab.controls import alarm, labelled, line, log_slider, picture, row, stack, unseen
from wdlab.lab.instant import Instant
from wdlab.tasks.convex import Quadratic, adamw_rest, descend, gradient_noise, rest

STEPS = 300
MOMENTUM = 0.9
BETAS = (0.9, 0.95)  # a shorter memory than usual, so that 300 steps are enough to come to rest

PROBLEM = Quadratic(
    torch.tensor([[0.8, 0.3], [0.3, 0.5]], dtype=torch.float64), torch.tensor([1.9, 1.1], dtype=torch.float64)
)
START = torch.tensor([-1.5, 2.5], dtype=torch.float64)

OPTIMIZERS = ("SGD", "SGD with momentum", "Adam")
COUPLINGS = {"both": ("l2", "decoupled"), "l2": ("l2",), "decoupled": ("decoupled",)}
TIMINGS = {"always": Timing.always(), "first half": Timing.first(0.5), "never": Timing.never()}
NOISES = {"none": (0.0, 0.0), "equal": (1.0, 1.0), "unequal": (2.0, 0.2)}
"""Sizes of the gradient noise in the two weights."""

LOSS_REST, PENALTY_REST, ADAMW_REST = (
    "the minimum of the loss",
    "the minimum of loss + penalty",
    "AdamW's resting point",
)


@dataclass(frozen=True)
class Setting:
    """What the dials of a Trajectory say. Raises ValueError for a value that is not allowed."""

    optimizer: str = "SGD"
    coupling: str = "both"
    timing: str = "always"
    noise: str = "none"
    weight_decay: float = 0.3
    lr: float = 0.1

    def __post_init__(self) -> None:
        known("optimizer", self.optimizer, OPTIMIZERS)
        known("coupling", self.coupling, COUPLINGS)
        known("timing", self.timing, TIMINGS)
        known("noise", self.noise, NOISES)
        if number("weight_decay", self.weight_decay, 0) == 0:
            raise ValueError(
                "weight_decay=0 is not allowed in a Trajectory, whose slider is logarithmic; for no decay give "
                "timing='never'."
            )
        number("lr", self.lr, 0, above=True)

    def paths(self) -> dict[str, Tensor]:
        """Return the path [step, 2] of each coupling shown, all from the same start under the same noise."""
        noise = gradient_noise([0], STEPS, torch.tensor(NOISES[self.noise], dtype=torch.float64))[:, 0]
        name, momentum = ("adam", 0.0) if self.optimizer == "Adam" else ("sgd", 0.0)
        if self.optimizer == "SGD with momentum":
            momentum = MOMENTUM
        decays = {one: Decay(self.weight_decay, TIMINGS[self.timing], one) for one in COUPLINGS[self.coupling]}
        settings = {"lr": self.lr, "optimizer": name, "momentum": momentum, "betas": BETAS}
        return {
            one: descend(PROBLEM, decay, STEPS, start=START, noise=noise, **settings)  # type: ignore[arg-type]
            for one, decay in decays.items()
        }

    def marks(self) -> dict[str, Tensor]:
        """Return the points where paths may rest; AdamW's own only for Adam whose decay never ends."""
        found = {LOSS_REST: rest(PROBLEM), PENALTY_REST: rest(PROBLEM, self.weight_decay)}
        if self.optimizer == "Adam" and self.timing == "always" and "decoupled" in COUPLINGS[self.coupling]:
            found[ADAMW_REST] = adamw_rest(PROBLEM, self.weight_decay, torch.tensor(NOISES[self.noise]))
        return found

    def __str__(self) -> str:
        decay = "no decay" if self.timing == "never" else f"decay {self.timing}, λ {self.weight_decay:.2g}"
        return f"{self.optimizer}, {decay}, lr {self.lr:.2g}"


class Trajectory(Instant):
    """The paths of l2 and decoupled decay over the contours of a loss in two weights, redrawn when a dial is turned.

    Give a first setting by the names of `Setting`: optimizer ("SGD", "SGD with momentum", "Adam"), coupling ("both",
    "l2", "decoupled"), timing ("always", "first half", "never"), noise ("none", "equal", "unequal": that of the
    gradients), weight_decay, lr. The cell that shows a Trajectory also keeps its picture, for readers without a kernel.
    Raises ValueError for what is not allowed.

    >>> Trajectory(coupling="l2").told
    'l2 ends 0.00 from the minimum of loss + penalty.'
    """

    def __init__(self, **setting: Any) -> None:
        self.setting = self._turned(Setting(), setting)
        self._make_widgets()
        self._redraw()

    # Widgets

    def _make_widgets(self) -> None:
        names = {"optimizer": OPTIMIZERS, "coupling": COUPLINGS, "timing": TIMINGS, "noise": NOISES}
        asks = {
            "optimizer": ("Optimizer", ""),
            "coupling": ("Coupling", "where λw enters"),
            "timing": ("When does decay act?", ""),
            "noise": ("Gradient noise", "its size in the two weights: none, 1 and 1, or 2 and 0.2"),
            "weight_decay": ("Strength λ", "of weight decay"),
            "lr": ("Learning rate", "constant"),
        }
        self.dials: dict[str, Any] = {
            key: widgets.ToggleButtons(options=list(options), style={"button_width": "auto"})
            for key, options in names.items()
        }
        self.dials["weight_decay"] = log_slider(0.3, -3, 1)
        self.dials["lr"] = log_slider(0.1, -3, 1)
        self.status, self.words = widgets.HTML(), widgets.HTML()
        self.image = picture(b"", "720px")
        self._follow()
        for dial in self.dials.values():
            dial.observe(self._on_change, "value")
        left = stack([*(labelled(self.dials[key], *asks[key]) for key in asks)], flex="1 1 270px", min_width="0")
        right = stack([self.image, self.status, self.words], flex="3 1 460px", max_width="720px", min_width="0")
        self._root = row([left, right], align_items="flex-start", width="100%")

    def _set_dials(self) -> None:
        for key in ("weight_decay", "lr"):  # the slider becomes longer where it does not reach
            dial, exponent = self.dials[key], math.log10(getattr(self.setting, key))
            dial.min, dial.max = min(dial.min, math.floor(exponent)), max(dial.max, math.ceil(exponent))
        super()._set_dials()

    def _on_change(self, _: object) -> None:
        if self._following:
            return
        values = {key: dial.value for key, dial in self.dials.items()}
        rounded = {key: float(f"{values[key]:.2g}") for key in ("weight_decay", "lr")}
        self.setting = Setting(**values | rounded)
        self._redraw()

    # The picture

    def _redraw(self) -> None:
        self.paths, self.marks = self.setting.paths(), self.setting.marks()
        drawn = trajectories(PROBLEM, self.paths, self.marks, f"{self.setting}: {STEPS} steps")
        self.data: pd.DataFrame = drawn.data
        self.told = " ".join([*_apart(self.paths), *_from_rest(self.paths, self.marks)])
        self.alt = f"{drawn.alt} {self.told}"
        self.image.value = self._png = drawn.png()
        self.words.value = unseen(self.alt)
        self.status.value = alarm(self.told) if "diverges" in self.told else line(self.told, role="status")


def _apart(paths: dict[str, Tensor]) -> list[str]:
    """How far the two ends are apart, or which path diverges, in words."""
    gone = {label: step for label, path in paths.items() if (step := diverges_at(path)) is not None}
    told = [f"{label} diverges at step {step}: lower the learning rate or λ." for label, step in gone.items()]
    if gone or len(paths) < 2:
        return told
    first, second = paths.values()
    distance, along = _distance(first[-1], second[-1]), float((first - second).norm(dim=1).max())
    if along < 1e-9:
        return ["l2 and decoupled take the same path, to rounding."]
    if distance < 1e-9:
        return [f"l2 and decoupled end at the same point, to rounding; on the way they are up to {along:.2f} apart."]
    return [f"l2 and decoupled end {distance:.2f} apart; on the way they are up to {along:.2f} apart."]


def _from_rest(paths: dict[str, Tensor], marks: dict[str, Tensor]) -> list[str]:
    """For each path that ends, the nearest mark and how far it is."""
    told = []
    for label, path in paths.items():
        if diverges_at(path) is None:
            place = min(marks, key=lambda mark: _distance(path[-1], marks[mark]))
            told.append(f"{label} ends {_distance(path[-1], marks[place]):.2f} from {place}.")
    return told


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm())
