"""The SplitStep: choose where lambda w enters Adam; see the rule, where four coordinates go, and what moves them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import ipywidgets as widgets
import pandas as pd

from wdlab.checks import known, number
from wdlab.decay import COUPLINGS
from wdlab.figures.adam import scale_labels, split_step
from wdlab.lab.controls import alarm, labelled, line, log_slider, picture, row, stack, toggles, unseen
from wdlab.lab.instant import Instant
from wdlab.lab.rule import rule
from wdlab.tasks.unequal import ONES, SCALES, Descent, descend, rest

STEPS, LR = 1000, 0.04  # fewer and longer steps than elsewhere, so that an answer comes at once
SEEDS = range(10_000, 10_128)  # of the noise; the picture shows means over them
GRADIENTS = {"unequal": SCALES, "all 1": ONES}
STARTS = {"0": 0.0, "the minimum": 1.0}
LOW, HIGH = 1e-5, 1.0  # where the slider of lambda ends
FAR = 5.0  # ten standard deviations away: nothing but a jump leads there


@dataclass(frozen=True)
class Setting:
    """What the dials of a SplitStep say. Raises ValueError for a value that is not allowed."""

    coupling: str = "l2"
    gradients: str = "unequal"
    start: str = "0"
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        known("coupling", self.coupling, COUPLINGS)
        known("gradients", self.gradients, GRADIENTS)
        known("start", self.start, STARTS)
        number("weight_decay", self.weight_decay, LOW, HIGH)

    @property
    def rests(self) -> list[float]:
        """Where the coordinates should come to rest; nothing where there is no formula."""
        scales = GRADIENTS[self.gradients]
        owned = COUPLINGS[self.coupling].a_own
        return [] if owned else [rest(self.coupling, scale, self.weight_decay) for scale in scales]

    def __str__(self) -> str:
        return f"{self.coupling}, λ {self.weight_decay:.2g}, gradients {self.gradients}, from {self.start}"


class SplitStep(Instant):
    """Adam on a quadratic whose four coordinates have gradients of different sizes, under any coupling of decay.

    It shows the update rule with the terms in which λw takes part marked, w over training, and the lengths of the two
    parts of its steps, from the loss and from decay (see `wdlab.decay.adam_parts`). Dials, by the names of `Setting`:
    coupling, gradients ("unequal": of sizes 1, 0.1, 0.01, 0.001; "all 1"), start ("0", "the minimum"),
    weight_decay (1e-5 to 1). The cell that shows a SplitStep also keeps its picture. Raises ValueError for what is not
    allowed.
    """

    def __init__(self, **setting: Any) -> None:
        self.setting = self._turned(Setting(), setting)
        self._make_widgets()
        self._redraw()

    # Widgets

    def _make_widgets(self) -> None:
        asks = {
            "coupling": ("Coupling", "where λw enters Adam"),
            "gradients": ("Gradients", "of sizes 1, 0.1, 0.01, 0.001, or all of size 1"),
            "start": ("Start", "where w begins"),
            "weight_decay": ("Strength λ", "of weight decay"),
        }
        options = {"coupling": [*COUPLINGS], "gradients": [*GRADIENTS], "start": [*STARTS]}
        self.dials: dict[str, Any] = {
            key: toggles([(name, name) for name in names], getattr(self.setting, key)) for key, names in options.items()
        }
        self.dials["weight_decay"] = log_slider(self.setting.weight_decay, math.log10(LOW), math.log10(HIGH))
        self.rule, self.status, self.words = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.image = picture(b"", "980px")
        for dial in self.dials.values():
            dial.observe(self._on_change, "value")
        first, *others = (labelled(self.dials[key], *asks[key]) for key in asks)
        dials = row([first, *others], grid_gap="0 24px")
        self._root = stack([dials, self.rule, self.image, self.status, self.words], max_width="980px", min_width="0")

    def _on_change(self, _: object) -> None:
        if self._following:
            return
        values = {key: dial.value for key, dial in self.dials.items()}
        rounded = min(max(float(f"{values['weight_decay']:.2g}"), LOW), HIGH)
        self.setting = Setting(**values | {"weight_decay": rounded})
        self._redraw()

    # The picture

    def _redraw(self) -> None:
        setting = self.setting
        scales = GRADIENTS[setting.gradients]
        self.descent = _descent(setting.coupling, setting.gradients, setting.start, setting.weight_decay)
        drawn = split_step(self.descent, scales, LR, str(setting), setting.rests)
        self.data: pd.DataFrame = drawn.data
        self.told, lost = _told(self.descent, setting)
        self.alt = f"{drawn.alt} {COUPLINGS[setting.coupling].says} {self.told}"
        self.rule.value = rule("adam", setting.coupling) + line(COUPLINGS[setting.coupling].says)
        self.image.value = self._png = drawn.png()
        self.words.value = unseen(self.alt)
        self.status.value = alarm(self.told) if lost else line(self.told, role="status")


@lru_cache(maxsize=64)
def _descent(coupling: str, gradients: str, start: str, weight_decay: float) -> Descent:
    return descend([(coupling, weight_decay)], SEEDS, GRADIENTS[gradients], start=STARTS[start], steps=STEPS, lr=LR)


def _told(found: Descent, setting: Setting) -> tuple[str, bool]:
    """What came of it in words, and whether a coordinate is lost: still far away in the last third of the steps."""
    reach = found.w[0].abs().nan_to_num(math.inf)  # [seed, scale, step + 1]
    labels = scale_labels(GRADIENTS[setting.gradients])
    lost = [label for label, far in zip(labels, reach[..., -(STEPS // 3) :].amax((0, 2)) > FAR, strict=True) if far]
    if lost:
        return f"Unstable for gradients of size {' and '.join(lost)}: {_why(setting.coupling)}", True
    ends = [f"{end:.2g}" for end in found.end[0].mean(0).tolist()]
    share = (found.decay[0].abs().mean((0, 2)) / found.objective[0].abs().mean((0, 2))).tolist()
    told = (
        f"w ends at {', '.join(ends)}. Decay's part of a step is {', '.join(f'{one:.2g}' for one in share)} times the "
    )
    told += "objective's, on average."
    if (peak := float(reach.max())) > FAR:
        thrown = int((reach.amax((1, 2)) > FAR).sum())
        told += (
            f" At first v is made of few gradients and may be far smaller than λw: in {thrown} of {len(SEEDS)} runs a "
            f"weight was thrown beyond {FAR:g}, the furthest to {peak:.2g}."
        )
    return told, False


def _why(name: str) -> str:
    where = COUPLINGS[name]
    if where.a_adapt:
        return "lr λ/√v is above 2 there, so decay overshoots 0. Lower λ."
    cause = "λw happened to cancel the gradient in v" if where.a_v else "v was still far smaller than λw"
    return f"{cause}, and a weight was thrown so far that it is not back yet."
