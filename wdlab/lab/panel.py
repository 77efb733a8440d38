"""The dials as widgets: made, labelled, laid out, and kept at what a `Dials` says."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import ipywidgets as widgets

from wdlab.decay import COUPLINGS
from wdlab.lab.controls import (
    labelled,
    log_slider,
    row,
    share_slider,
    size_options,
    size_slider,
    stack,
    toggles,
    weakly,
    window_slider,
)
from wdlab.lab.dials import DATA, SCHEDULES, SPOKEN, TIMINGS, Dials, idle
from wdlab.lab.rule import note, rule
from wdlab.lab.usual import NAMED, OFFLINE, usual
from wdlab.tasks import Task, Vision

EVERY = (
    "task", "optimizer", "timing", "coupling", "weight_decay", "lr", "seeds", "schedule", "label_noise", "train_size",
    "augment",
)  # fmt: skip
"""The dials that can be shown, from top to bottom."""
SIZES = {"mnist1d": (250, 500, 1000, 2000, 4000, 8000), "fashion": (250, 500, 1000, 2000, 4000)}
"""Stops of the dial for the training set's size, all within what the source holds."""
WHEN = {"early": "early: first 25%", "late": "late: last 50%"}
OWN = "its own"
MANY = 4  # dials beyond which they stand in several columns

ASKS = {
    "task": ("Task", "what is learned"),
    "optimizer": ("Optimizer", "SGD has momentum 0.9, plain SGD none"),
    "timing": ("When does weight decay act?", ""),
    "window": ("Window of decay", "start and end"),
    "coupling": ("Where does it enter the optimizer?", ""),
    "weight_decay": ("Strength λ", "of weight decay"),
    "lr": ("Learning rate", "at the start of the run"),
    "seeds": ("Seeds", "trained side by side, drawn as a band"),
    "schedule": ("The learning rate", "over the run"),
    "label_noise": ("Label noise", "share of training labels drawn at random"),
    "train_size": ("Training examples", "the number of steps stays"),
    "augment": ("Training examples are", "in every pass"),
}

Turned = Callable[[str, Any], None]


class Panel:
    """Widgets for every dial, of which `shown` can be seen; `turned` is called with the name and value of one touched.

    `controls` holds them by name; "window" belongs to "timing".
    """

    def __init__(self, task: Task, dials: Dials, shown: Sequence[str], turned: Turned) -> None:
        self._turned = turned
        self._following = False
        # The Lab's own task is None to the dials; to toggle buttons None is no choice at all.
        self._own = next((name for name, known in NAMED.items() if known == task), OWN)
        names, data = dict.fromkeys((self._own, *OFFLINE)), task if isinstance(task, Vision) else Vision()
        start = usual(task).starts[dials.optimizer]
        self.controls: dict[str, Any] = {
            "task": toggles([(task.name if name == OWN else name, name) for name in names], self._own),
            "optimizer": toggles([(SPOKEN[name], name) for name in SPOKEN], dials.optimizer),
            "timing": toggles([(WHEN.get(name, name), name) for name in TIMINGS], dials.timing),
            "window": window_slider(*dials.ends),
            "coupling": toggles([("l2", "l2")], "l2"),
            "weight_decay": log_slider(dials.weight_decay, *start.lambdas),
            "lr": log_slider(dials.lr, *start.lrs),
            "seeds": widgets.IntSlider(
                value=1, min=1, max=5, continuous_update=False, layout=widgets.Layout(width="auto")
            ),
            "schedule": toggles([(name, name) for name in SCHEDULES], dials.schedule),
            "label_noise": share_slider(data.label_noise),
            "train_size": size_slider(data.train_size, SIZES.get(data.source, ())),
            "augment": toggles([("as they are", False), ("changed at random", True)], bool(data.augment)),
        }
        self.explanation = widgets.HTML()
        self._lay_out(shown)
        for control in self.controls.values():
            control.observe(weakly(self._on_change), "value")
        self.follow(dials, task)

    def _lay_out(self, shown: Sequence[str]) -> None:
        made = {name: [labelled(control, *ASKS[name])] for name, control in self.controls.items()}
        made["timing"] += made.pop("window")
        made["coupling"].append(self.explanation)
        wide = {"flex": "1 1 300px", "max_width": "480px", "min_width": "0"} if len(shown) > MANY else {}
        self._boxes = {name: stack(made[name], **wide) for name in EVERY if name in shown}
        self.box = (row if wide else stack)(list(self._boxes.values()), grid_gap="0 24px" if wide else "0")
        self.hidden = [part for name in EVERY if name not in shown for part in made[name]]

    @property
    def columns(self) -> bool:
        """Whether the dials are so many that they stand side by side."""
        return len(self.box.children) > MANY

    def _on_change(self, change: dict[str, Any]) -> None:
        if not self._following:
            name = next(name for name, control in self.controls.items() if control is change["owner"])
            value = None if change["new"] == self._own and name == "task" else change["new"]
            self._turned(name, short(value) if isinstance(value, float) else value)

    def follow(self, dials: Dials, task: Task) -> None:
        """Let every widget show the dials, and the data of `task`, which they make of the Lab's own, if it has any.

        The window shows when decay acts, whatever the timing is called.
        """
        self._following = True
        try:
            self._follow(dials, task)
        finally:
            self._following = False

    def _follow(self, dials: Dials, task: Task) -> None:
        controls = self.controls
        name = dials.task or self._own
        if name not in {value for _, value in controls["task"].options}:  # its data must be fetched first
            controls["task"].options = [*controls["task"].options, (name, name)]
        plain = {"task": name, "optimizer": dials.optimizer, "timing": dials.timing, "window": dials.ends}
        for name, value in (plain | {"schedule": dials.schedule}).items():
            controls[name].value = value
        allowed = [(name, name) for name in COUPLINGS if name not in idle(dials.optimizer)]
        if controls["coupling"].options != tuple(allowed):
            controls["coupling"].options = allowed
        controls["coupling"].value = dials.coupling
        said = f'<div style="line-height:1.4">{escape(note(dials.optimizer, dials.coupling))}</div>'
        self.explanation.value = said + rule(dials.optimizer, dials.coupling)
        start = usual(task).starts[dials.optimizer]
        _reach(controls["weight_decay"], dials.weight_decay, *start.lambdas)
        _reach(controls["lr"], dials.lr, *start.lrs)
        controls["seeds"].max = max(controls["seeds"].max, dials.seeds)
        controls["seeds"].value = dials.seeds
        for name in set(DATA) & set(self._boxes):
            self._boxes[name].layout.display = None if isinstance(task, Vision) else "none"
        if isinstance(task, Vision):
            self._follow_data(task)

    def _follow_data(self, task: Vision) -> None:
        size = self.controls["train_size"]
        options = tuple(size_options({*SIZES.get(task.source, ()), task.train_size}))
        if size.options != options:
            size.options = options
        size.value, self.controls["label_noise"].value = task.train_size, task.label_noise
        self.controls["augment"].value = bool(task.augment)


def short(value: float) -> float:
    """Return what a slider's readout shows, so that a run can be repeated by typing its label."""
    return float(f"{value:.2g}")


def _reach(slider: Any, value: float, low: int, high: int) -> None:
    """Set a log slider whose powers go from `low` to `high`, and further where that does not reach."""
    exponent = math.log10(value)
    low, high = min(low, math.floor(exponent)), max(high, math.ceil(exponent))
    slider.min, slider.max = min(slider.min, low), max(slider.max, high)
    if short(slider.value) != value:
        slider.value = value
    slider.min, slider.max = low, high
