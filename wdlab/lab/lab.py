"""The Lab: turn the dials of weight decay, press Run, and watch what happens while it happens."""

from __future__ import annotations

import base64
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from wdlab.checks import known, whole
from wdlab.lab.controls import (
    alarm, figure_png, label, labelled, line, log_slider, picture, row, stack, unseen, window_slider,
)  # fmt: skip
from wdlab.lab.curves import Curves, Trial, in_words, labels
from wdlab.lab.dials import OWN, PRESETS, TIMINGS, Dials
from wdlab.lab.worker import Worker
from wdlab.run import Model, Run
from wdlab.tasks import TASKS, Vision
from wdlab.train import History, pick_device

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOW = ("timing", "weight_decay", "lr")
EARLIER = 6
"""Runs that stay in the picture besides the current one."""
EVALUATIONS = 40
WHEN = {"early": "early: first 25%", "late": "late: last 50%"}
VIEW = "application/vnd.jupyter.widget-view+json"
ABOUT = "Curves of test error, weight norm and effective learning rate; the same in words follows"


class Lab:
    """One live run at a time: dials on the left, curves that grow on the right; earlier runs stay to compare with.

    `task` is a name from `wdlab.tasks.TASKS` or a task, `model` a `wdlab.Model`, `steps` the length of a run (the
    task's own by default). `show` names the dials that can be seen. The cell that shows a Lab also keeps its picture
    and the picture's text, for readers without a kernel.

    With `block` the method `run` returns when the run is over, and raises what went wrong in it; None means: block
    where the environment variable WDLAB_HEADLESS is set. Raises ValueError for what is not allowed.

    >>> lab = Lab(model=Model(width=8), steps=2, block=True)
    >>> lab.run(timing="early", weight_decay=0.02)
    >>> lab.histories[-1].steps
    (0, 1, 2)
    >>> lab.close()
    """

    def __init__(
        self,
        task: str | Vision = "mnist1d",
        show: Sequence[str] = SHOW,
        model: Model | None = None,
        steps: int | None = None,
        seed: int = 0,
        device: str = "auto",
        block: bool | None = None,
    ) -> None:
        self.task = TASKS[known("task", task, TASKS)] if isinstance(task, str) else task
        self.model = model or Model()
        self.steps = self.task.steps if steps is None else whole("steps", steps, 1)
        self.shown = tuple(known("show", name, SHOW) for name in show)
        self.block = bool(os.environ.get("WDLAB_HEADLESS")) if block is None else block
        self._device = str(pick_device(device))
        self._dials = Dials(seed=seed)
        self._planned = self._trial(self._dials)
        self._trials: list[Trial] = []
        self._worker: Worker | None = None
        self._lock = threading.RLock()  # the picture is drawn by one thread at a time
        self._curves = Curves()
        self._copies: list[Any] = []  # displays of a headless run, whose stored picture follows the runs
        self._closed = False
        self._following = False
        self._make_widgets()
        self._draw()
        self._say("Choose when weight decay acts, then press Run.")
        self._end = weakref.finalize(self, _end, self._running_one, self._root)

    # What a notebook uses

    def run(self, **dials: object) -> None:
        """Turn `dials` (names of `Dials`: timing, window, weight_decay, lr, seed), then press Run.

        Refused in the status line while a run goes on. Raises ValueError for a dial or a value that is not allowed.
        """
        if self._closed:
            raise RuntimeError("this Lab is closed; make a new one.")
        if self.running:
            return self._refuse()
        try:
            self.dials = self._dials.turned(**dials)
        except ValueError as error:
            self.status.value = alarm(str(error))
            raise
        self._begin()
        if self.block:
            self._wait_for_it()

    def stop(self) -> None:
        """Let the step in progress be the run's last one; returns at once."""
        if self._worker is not None:
            self._worker.stop()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no run is going on, at most `timeout` seconds; return whether that is so."""
        return self._worker is None or self._worker.join(timeout)

    def clear(self) -> None:
        """Take earlier runs out of the picture; a run that is going on stays."""
        with self._lock:
            self._trials = self._trials[-1:] if self.running else []
            self._draw()
        if not self.running:
            self.progress.value = 0
            self._say("Cleared. Choose when weight decay acts, then press Run.")

    def close(self) -> None:
        """End the run, and take the widgets away."""
        self._closed = True
        self._end()

    @property
    def running(self) -> bool:
        """Whether a run is going on."""
        return self._worker is not None and not self._worker.join(0)

    @property
    def dials(self) -> Dials:
        """What the dials say now."""
        return self._dials

    @dials.setter
    def dials(self, dials: Dials) -> None:
        if dials.weight_decay == 0:
            raise ValueError(
                "weight_decay=0 is not allowed in the Lab, whose slider is logarithmic; for a run without decay give "
                "timing='never'."
            )
        self._trial(dials)  # whatever a run refuses is refused before a dial moves
        self._dials = dials
        self._set_widgets()

    @property
    def histories(self) -> tuple[History, ...]:
        """What the runs in the picture have left so far, oldest first; the last one may be going on."""
        return tuple(trial.history for trial in list(self._trials) if trial.history is not None)

    @property
    def figure(self) -> Figure:
        """The picture's figure, whose lines hold the numbers."""
        return self._curves.figure

    @property
    def alt(self) -> str:
        """What the picture shows, in words, from the measured numbers."""
        with self._lock:
            return in_words(self._trials, self._planned)

    # Widgets

    def _make_widgets(self) -> None:
        dials = self._dials
        self.timing = widgets.ToggleButtons(
            options=[(WHEN.get(name, name), name) for name in TIMINGS], value=dials.timing, style={"button_width": "auto"}
        )
        self.window = window_slider(*dials.ends)
        self.weight_decay = log_slider(dials.weight_decay, -4, -1)
        self.lr = log_slider(dials.lr, -3, 0)
        self.run_button = widgets.Button(description="Run", icon="play", button_style="primary")
        self.stop_button = widgets.Button(description="Stop", icon="stop", disabled=True)
        self.clear_button = widgets.Button(description="Clear", icon="eraser")
        self.progress = widgets.IntProgress(min=0, max=self.steps, layout=widgets.Layout(width="auto"))
        self.status = widgets.HTML()
        self.image = picture(b"", ABOUT, "700px")
        self.words = widgets.HTML()
        self._root = self._lay_out()
        self._listen()

    def _lay_out(self) -> Any:
        groups = {
            "timing": [
                labelled(self.timing, "When does weight decay act?"),
                labelled(self.window, "Window of decay", "both ends, as parts of the run"),
            ],
            "weight_decay": [labelled(self.weight_decay, "Strength λ", "of weight decay")],
            "lr": [labelled(self.lr, "Learning rate", "at the start; it falls during the run")],
        }
        dials = [part for name in SHOW if name in self.shown for part in groups[name]]
        buttons = row([self.run_button, self.stop_button, self.clear_button])
        for button in buttons.children:
            button.layout = widgets.Layout(width="86px")
        left = stack([*dials, buttons, self.progress, self.status], flex="1 1 270px", max_width="700px", min_width="0")
        right = stack([self.image, self.words], flex="3 1 460px", max_width="700px", min_width="0")
        return row([left, right], align_items="flex-start", width="100%")

    def _listen(self) -> None:
        for dial in (self.timing, self.window, self.weight_decay, self.lr):
            dial.observe(_weakly(self._turned), "value")
        self.run_button.on_click(_weakly(self._pressed_run))
        self.stop_button.on_click(_weakly(self._pressed_stop))
        self.clear_button.on_click(_weakly(self._pressed_clear))

    def _turned(self, change: dict[str, Any]) -> None:
        """Take over what the learner set; touching the window means an own window."""
        if self._following:
            return
        if change["owner"] is self.window:
            self._dials = self._dials.turned(window=self.window.value)
        elif change["owner"] is self.timing:
            self._dials = self._dials.turned(timing=self.timing.value)
        else:
            self._dials = self._dials.turned(weight_decay=self.weight_decay.value, lr=self.lr.value)
        self._set_widgets()
        if not self.running:
            self._preview()

    def _set_widgets(self) -> None:
        """Let every widget show the dials; the window shows when decay acts, whatever the timing is called."""
        self._following = True
        try:
            self.timing.value = self._dials.timing
            self.window.value = self._dials.ends
            for slider, value in ((self.weight_decay, self._dials.weight_decay), (self.lr, self._dials.lr)):
                _reach(slider, value)
        finally:
            self._following = False

    def _preview(self) -> None:
        self._planned = self._trial(self._dials)
        if not self._trials:
            self._draw()
        self._say(f"Next run: {self._dials}.")

    def _pressed_run(self, _: object) -> None:
        if self.running:
            self._refuse()
        else:
            self._begin()

    def _pressed_stop(self, _: object) -> None:
        self.stop()

    def _pressed_clear(self, _: object) -> None:
        self.clear()
