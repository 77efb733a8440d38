"""The Lab: turn the dials of weight decay, press Run, and watch what happens while it happens."""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from wdlab.checks import known, whole
from wdlab.lab.controls import (
    alarm,
    bundle,
    labelled,
    line,
    log_slider,
    picture,
    row,
    share_slider,
    size_options,
    size_slider,
    stack,
    toggles,
    unseen,
    window_slider,
)  # fmt: skip
from wdlab.lab.curves import PANELS, TITLES, Curves, Trial, in_words
from wdlab.lab.dials import SCHEDULES, TIMINGS, Dials
from wdlab.lab.worker import Worker
from wdlab.run import Model
from wdlab.tasks import TASKS, Vision, of_vision
from wdlab.train import History, pick_device

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOW = ("timing", "weight_decay", "lr")
DATA = ("label_noise", "train_size", "augment")
EVERY = (*SHOW, "schedule", *DATA)
"""The dials that can be shown, from top to bottom."""
EARLIER = 6
"""Runs that stay in the picture besides the current one."""
EVALUATIONS = 40
SIZES = {"mnist1d": (250, 500, 1000, 2000, 4000, 8000), "fashion": (250, 500, 1000, 2000, 4000)}
"""Stops of the dial for the training set's size, all within what the source holds."""
WHEN = {"early": "early: first 25%", "late": "late: last 50%"}
START = "Choose when weight decay acts, then press Run."


class Lab:
    """One live run at a time: dials on the left, curves that grow on the right; earlier runs stay to compare with.

    `task` is a name from `wdlab.tasks.TASKS` or a task, `model` a `wdlab.Model`, `steps` the length of a run (the
    task's own by default). `show` names the dials that can be seen: "timing", "weight_decay", "lr", "schedule", and
    those of the data, "label_noise", "train_size" and "augment". `curves` names three of test_error, weight_norm,
    effective_lr and train_loss, from top to bottom. The cell that shows a Lab also keeps its picture and the picture's
    text, for readers without a kernel.

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
        curves: Sequence[str] = PANELS,
    ) -> None:
        self.task = TASKS[known("task", task, TASKS)] if isinstance(task, str) else task
        self.model = model or Model()
        self.steps = self.task.steps if steps is None else whole("steps", steps, 1)
        self.shown = tuple(known("show", name, EVERY) for name in show)
        self.curves = tuple(known("curves", name, TITLES) for name in curves)
        if len(self.curves) != len(PANELS):
            raise ValueError(f"curves={self.curves!r} is not allowed; give {len(PANELS)} of {', '.join(TITLES)}.")
        self.block = bool(os.environ.get("WDLAB_HEADLESS")) if block is None else block
        self._device = str(pick_device(device))
        given = {"label_noise": self.task.label_noise, "train_size": self.task.train_size}
        given["augment"] = bool(self.task.augment)
        self._dials = Dials(seed=seed).turned(**{name: given[name] for name in DATA if name in self.shown})
        self._planned = self._trial(self._dials)
        self._trials: list[Trial] = []
        self._workers: list[Worker] = []  # at most one: the run that goes on, or the last one
        self._lock = threading.RLock()  # the picture is drawn by one thread at a time
        self._curves = Curves(self.curves)
        self._copies: list[Any] = []  # displays of a headless run, whose stored picture follows the runs
        self._closed = False
        self._following = False
        self._note = ""
        self._make_widgets()
        self._draw()
        self._say(START)
        self._end_run = weakref.finalize(self, _end, self._workers)  # also when Python ends
        self._end_widgets = weakref.finalize(self, _close_all, (self._root, *self._hidden))
        self._end_widgets.atexit = False

    # What a notebook uses

    def run(self, **dials: object) -> None:
        """Turn `dials` (names of `Dials`: timing, window, weight_decay, lr, label_noise ...), then press Run.

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
        for worker in self._workers:
            worker.stop()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no run is going on, at most `timeout` seconds; return whether that is so.

        Interrupting the kernel ends the waiting, and stops the run.
        """
        try:
            return all(worker.join(timeout) for worker in self._workers)
        except KeyboardInterrupt:
            self.stop()
            raise

    def clear(self) -> None:
        """Take earlier runs out of the picture; a run that is going on stays."""
        with self._lock:
            self._trials = self._trials[-1:] if self.running else []
            self._draw()
        if not self.running:
            self.progress.value = 0
            self._say(START)

    def close(self) -> None:
        """End the run, and take the widgets away."""
        self._closed = True
        self._end_run()
        self._end_widgets()

    @property
    def running(self) -> bool:
        """Whether a run is going on."""
        return any(not worker.over for worker in self._workers)

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
        self._adopt(dials)

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
            return in_words(self._trials, self._planned, self.curves)

    # Widgets

    def _make_widgets(self) -> None:
        dials = self._dials
        self.timing = toggles([(WHEN.get(name, name), name) for name in TIMINGS], dials.timing)
        self.window = window_slider(*dials.ends)
        self.weight_decay = log_slider(dials.weight_decay, -4, -1)
        self.lr = log_slider(dials.lr, -3, 0)
        self.schedule = toggles([(name, name) for name in SCHEDULES], dials.schedule)
        self.label_noise = share_slider(self.task.label_noise)
        self.train_size = size_slider(self.task.train_size, SIZES.get(self.task.source, ()))
        self.augment = toggles([("as they are", False), ("changed at random", True)], bool(self.task.augment))
        self.run_button = _button("Run", icon="play", button_style="primary")
        self.stop_button = _button("Stop", icon="stop", disabled=True)
        self.clear_button = _button("Clear", icon="eraser")
        self.progress = widgets.IntProgress(min=0, max=self.steps, layout=widgets.Layout(width="auto"))
        self.status = widgets.HTML()
        self.image = picture(b"", "700px")
        self.words = widgets.HTML()
        self._root = self._lay_out()
        self._listen()

    def _lay_out(self) -> Any:
        groups = {
            "timing": [
                labelled(self.timing, "When does weight decay act?"),
                labelled(self.window, "Window of decay", "start and end"),
            ],
            "weight_decay": [labelled(self.weight_decay, "Strength λ", "of weight decay")],
            "lr": [labelled(self.lr, "Learning rate", "at the start of the run")],
            "schedule": [labelled(self.schedule, "The learning rate", "over the run")],
            "label_noise": [labelled(self.label_noise, "Label noise", "share of training labels drawn at random")],
            "train_size": [labelled(self.train_size, "Training examples", "the number of steps stays")],
            "augment": [labelled(self.augment, "Training examples are", "in every pass")],
        }
        dials = [part for name in EVERY if name in self.shown for part in groups[name]]
        self._hidden = [part for name in EVERY if name not in self.shown for part in groups[name]]
        buttons = row([self.run_button, self.stop_button, self.clear_button])
        left = stack([*dials, buttons, self.progress, self.status], flex="1 1 270px", max_width="700px", min_width="0")
        right = stack([self.image, self.words], flex="3 1 460px", max_width="700px", min_width="0", overflow="auto")
        return row([left, right], align_items="flex-start", width="100%", grid_gap="12px")

    def _listen(self) -> None:
        for dial in (self.window, *(getattr(self, name) for name in EVERY)):
            dial.observe(_weakly(self._turned), "value")
        self.run_button.on_click(_weakly(self._pressed_run))
        self.stop_button.on_click(_weakly(self._pressed_stop))
        self.clear_button.on_click(_weakly(self._pressed_clear))

    def _turned(self, change: dict[str, Any]) -> None:
        """Take over what the learner set; touching the window means an own window."""
        if self._following:
            return
        dial = next(name for name in ("window", *EVERY) if getattr(self, name) is change["owner"])
        value = change["new"]
        self._adopt(self._dials.turned(**{dial: _short(value) if isinstance(value, float) else value}))
        if self.running:
            self._note = "The dials were turned: that counts from the next run on."
        else:
            self._say(f"Next run: {self._dials}.")

    def _adopt(self, dials: Dials) -> None:
        planned = self._trial(dials)  # whatever a run refuses is refused before a dial moves
        new = planned.spans != self._planned.spans
        self._dials, self._planned = dials, planned
        self._set_widgets()
        if new and not self._trials:
            with self._lock:
                self._draw()

    def _set_widgets(self) -> None:
        """Let every widget show the dials; the window shows when decay acts, whatever the timing is called."""
        self._following = True
        try:
            self.timing.value = self._dials.timing
            self.window.value = self._dials.ends
            for slider, value in ((self.weight_decay, self._dials.weight_decay), (self.lr, self._dials.lr)):
                _reach(slider, value)
            self.schedule.value = self._dials.schedule
            self._set_data_widgets(of_vision(self._planned.run.task))
        finally:
            self._following = False

    def _set_data_widgets(self, task: Vision) -> None:
        sizes = {size for _, size in self.train_size.options}
        if task.train_size not in sizes:
            self.train_size.options = size_options({*sizes, task.train_size})
        self.train_size.value, self.label_noise.value = task.train_size, task.label_noise
        self.augment.value = bool(task.augment)

    def _pressed_run(self, _: object) -> None:
        if self.running:
            self._refuse()
        else:
            self._begin()

    def _pressed_stop(self, _: object) -> None:
        self.stop()

    def _pressed_clear(self, _: object) -> None:
        self.clear()

    # A run, from its beginning to its end; what starts with _on is called in the run's own thread

    def _trial(self, dials: Dials) -> Trial:
        return Trial(dials, dials.run(self.task, self.model, self.steps, EVALUATIONS), look=0)

    def _begin(self) -> None:
        trial = self._trial(self._dials)
        with self._lock:
            kept = [earlier for earlier in self._trials if earlier.history is not None][-EARLIER:]
            trial.look = min(set(range(EARLIER + 1)) - {earlier.look for earlier in kept})
            self._trials = [*kept, trial]
        self._note = ""
        self.progress.value = 0
        self.stop_button.disabled = False
        first = "" if kept else " The first run on a machine also makes the data, which takes a few seconds."
        self._say(f"Preparing: {trial.dials}.{first}")
        me = weakref.ref(self)
        worker = Worker(
            trial.run, self._device, lambda *got: _tell(me, trial, *got), lambda *got: _finish(me, trial, *got)
        )
        self._workers[:] = [worker]
        worker.start()

    def _refuse(self) -> None:
        self._note = "One run at a time: press Stop first, or wait for the end."
        self.status.value = line(self._note, role="status")

    def _on_progress(self, trial: Trial, worker: Worker, history: History | None) -> None:
        new = history is None or trial.history is None or history.steps != trial.history.steps
        with self._lock:
            trial.history = history
            if new:
                self._draw(quick=True)
        self.progress.value = worker.step
        if history is not None and not worker.stopped:
            self._tell_progress(trial, worker)

    def _tell_progress(self, trial: Trial, worker: Worker) -> None:
        steps, error = trial.run.steps, trial.last("test_error")
        left = worker.seconds / worker.step * (steps - worker.step) if worker.step else 0.0
        told = f"Running: {trial.dials}. Step {worker.step} of {steps}, test error {error:.1%}"
        time_left = f", about {left:.0f} s left." if left >= 1 else "."
        self.status.value = line(told + time_left) + (line(self._note, role="status") if self._note else "")

    def _on_end(self, trial: Trial, worker: Worker) -> None:
        try:
            with self._lock:
                trial.history = worker.history or trial.history
                self._draw()
        except Exception as error:  # told below, like any other
            worker.error = worker.error or error
        self.progress.value = worker.step
        self.stop_button.disabled = True
        diverged = trial.history.diverged_at if trial.history else None
        if worker.error is not None:
            self.status.value = alarm(f"The run ended with an error. {type(worker.error).__name__}: {worker.error}")
        elif diverged is not None:
            self.status.value = alarm(
                f"Diverged at step {diverged}: the loss is no longer a finite number. Lower the learning rate or λ, "
                "and run again."
            )
        elif worker.step < trial.run.steps:
            self._say(f"Stopped at step {worker.step} of {trial.run.steps}: {trial.dials}. Run starts a new one.")
        else:
            self._say(
                f"Done: {trial.dials}. {_result(trial)} Turn a dial and run again: this run stays to compare with."
            )

    def _wait_for_it(self) -> None:
        self.wait()
        for copy in self._copies:
            copy.update(self._repr_mimebundle_(), raw=True)
        for worker in self._workers:
            if worker.error is not None:
                raise worker.error

    def _say(self, text: str) -> None:
        self.status.value = line(text, role="status")

    def _draw(self, quick: bool = False) -> None:
        self._curves.show(self._trials, self._planned)
        self.image.value = self._curves.frame() if quick else self._curves.png()
        self.words.value = unseen(self.alt)

    # Showing itself

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        self._root.lab = self  # what a cell shows stays alive with its widgets
        with self._lock:
            return bundle(self._root, self.image.value, self.alt)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        shown = display(self._repr_mimebundle_(), raw=True, display_id=True)  # type: ignore[no-untyped-call]
        if self.block and shown is not None:
            self._copies.append(shown)


def _tell(me: weakref.ref[Lab], trial: Trial, worker: Worker, history: History | None) -> bool:
    lab = me()
    if lab is not None:
        lab._on_progress(trial, worker, history)
    return lab is not None


def _finish(me: weakref.ref[Lab], trial: Trial, worker: Worker) -> None:
    if (lab := me()) is not None:
        lab._on_end(trial, worker)


def _button(name: str, **look: object) -> Any:
    return widgets.Button(description=name, layout=widgets.Layout(width="86px"), **look)


def _result(trial: Trial) -> str:
    return f"Test error {trial.last('test_error'):.1%}, weight norm {trial.last('weight_norm'):.1f}."


def _short(value: float) -> float:
    """What the slider's readout shows, so that a run can be repeated by typing its label."""
    return float(f"{value:.2g}")


def _reach(slider: Any, value: float) -> None:
    """Set a log slider, and widen it first where it does not reach."""
    if _short(slider.value) == value:
        return
    exponent = math.log10(value)
    slider.min, slider.max = min(slider.min, math.floor(exponent)), max(slider.max, math.ceil(exponent))
    slider.value = value


def _weakly(method: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return a callback that does not keep its owner alive: widgets live in a registry for as long as the kernel."""
    held = weakref.WeakMethod(method)

    def call(event: Any) -> None:
        found = held()
        if found is not None:
            found(event)

    return call


def _end(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.stop()
        worker.join(5.0)


def _close_all(several: Sequence[Any]) -> None:
    for widget in several:
        _close(widget)


def _close(widget: Any) -> None:
    """Close a widget and everything in it."""
    for child in getattr(widget, "children", ()):
        _close(child)
    for part in (getattr(widget, "style", None), widget.layout):
        if isinstance(part, widgets.Widget):
            part.close()
    widget.lab = None
    widget.close()
