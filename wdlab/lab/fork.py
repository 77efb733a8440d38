"""The Fork: train a network to some step, copy it, and let the two go on with and without weight decay."""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from wdlab.checks import known, number, whole
from wdlab.decay import Decay, Timing
from wdlab.figures.branches import ALONE, branches
from wdlab.lab.controls import alarm, bundle, labelled, line, log_slider, picture, row, stack, unseen
from wdlab.lab.worker import Worker
from wdlab.run import Model, Run, Schedule
from wdlab.tasks import TASKS, Vision
from wdlab.train import History, Training, pick_device

if TYPE_CHECKING:
    from wdlab.figures.drawn import Drawn

SCHEDULES = {"falling": Schedule(), "constant": Schedule("constant")}
EVALUATIONS = 40
ON, OFF = "decay on", "decay off"
START = "Choose where to fork, then press Run."


@dataclass(frozen=True)
class Setting:
    """What the dials of a Fork say: decay `before` the fork ("on", "off"), the share of the run `at` which it forks.

    Raises ValueError for a value that is not allowed.
    """

    before: str = "on"
    at: float = 0.25
    schedule: str = "falling"
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        known("before", self.before, ("on", "off"))
        known("schedule", self.schedule, SCHEDULES)
        number("at", self.at, 0, 1)
        if number("weight_decay", self.weight_decay, 0) == 0:
            raise ValueError(
                "weight_decay=0 is not allowed in a Fork, whose slider is logarithmic; for a start without decay give "
                "before='off'."
            )

    def run(self, task: Vision, model: Model, steps: int, seed: int) -> Run:
        """Return the run up to the fork."""
        timing = Timing.always() if self.before == "on" else Timing.never()
        schedule, decay = SCHEDULES[self.schedule], Decay(self.weight_decay, timing)
        return Run(task, model, schedule=schedule, decay=decay, seed=seed, steps=steps, evaluations=EVALUATIONS)

    def __str__(self) -> str:
        return f"decay {self.before}, forked at {self.at:.0%}, {self.schedule} learning rate, λ {self.weight_decay:.2g}"


class Branching(Worker):
    """Trains a run up to step `at`, forks it there, and goes on with both: one has decay `strength`, the other none.

    `histories` holds what has been measured so far: one history up to the fork, then one a branch.
    """

    def __init__(
        self,
        run: Run,
        device: str,
        at: int,
        strength: float,
        report: Callable[[Worker, History | None], bool],
        ended: Callable[[Worker], None],
    ) -> None:
        super().__init__(run, device, report, ended)
        self.at, self.strength = at, strength
        self.histories: Mapping[str, History] = {}

    def _train(self) -> None:
        wanted = self._report(self, None)
        trainings = {ALONE: Training([self.run], self.device)}
        self._due = time.monotonic()
        while wanted and not self.stopped and not all(one.done for one in trainings.values()):
            if self.step == self.at and ALONE in trainings:
                trainings = self._fork(trainings[ALONE])
            for training in trainings.values():
                training.advance(1)
            self.step += 1
            if time.monotonic() >= self._due:
                wanted = self._show_all(trainings)
        self.histories = {name: training.histories()[0] for name, training in trainings.items()}
        self.history = next(iter(self.histories.values()))

    def _fork(self, training: Training) -> dict[str, Training]:
        """Return two copies in the same state to the last bit, between which decay is all that differs."""
        both = {ON: training.fork(), OFF: training.fork()}
        both[ON].turn(0, weight_decay=self.strength)
        both[OFF].turn(0, weight_decay=0.0)
        return both

    def _show_all(self, trainings: dict[str, Training]) -> bool:
        self.histories = {name: training.histories()[0] for name, training in trainings.items()}
        before = time.monotonic()
        wanted = self._report(self, next(iter(self.histories.values())))
        after = time.monotonic()
        self._due = after + max(0.2 - (after - before), 3 * (after - before))  # a quarter of the time goes to drawing
        return wanted and all(history.diverged_at is None for history in self.histories.values())


class Fork:
    """One network trained to a step of your choice, then continued twice from the same state: decay on and off.

    `task` is a name from `wdlab.tasks.TASKS` or a task, `steps` the length of the whole run (the task's own by
    default). The cell that shows a Fork also keeps its picture, for readers without a kernel. With `block` the method
    `run` returns when both branches have ended; None means: block where the environment variable WDLAB_HEADLESS is set.
    Raises ValueError for what is not allowed.

    >>> fork = Fork(model=Model(width=8), steps=4, block=True)
    >>> fork.run(at=0.5)
    >>> sorted(fork.histories)
    ['decay off', 'decay on']
    >>> fork.close()
    """

    def __init__(
        self,
        task: str | Vision = "mnist1d",
        model: Model | None = None,
        steps: int | None = None,
        seed: int = 0,
        device: str = "auto",
        block: bool | None = None,
    ) -> None:
        self.task = TASKS[known("task", task, TASKS)] if isinstance(task, str) else task
        self.model = model or Model()
        self.steps = self.task.steps if steps is None else whole("steps", steps, 2)
        self.seed = whole("seed", seed)
        self.block = bool(os.environ.get("WDLAB_HEADLESS")) if block is None else block
        self.setting = Setting()
        self._device = str(pick_device(device))
        self._worker: list[Branching] = []  # at most one
        self._lock = threading.RLock()
        self._following = False
        self._make_widgets()
        self._draw(None)
        self.status.value = line(START, role="status")
        self._end_run = weakref.finalize(self, _end, self._worker)

    # What a notebook uses

    def run(self, **dials: Any) -> None:
        """Turn `dials` (names of `Setting`), then press Run. Refused in the status line while a run goes on.

        Raises ValueError, and says so below the dials, for what is not allowed.
        """
        if self.running:
            return self._refuse()
        try:
            for name in dials:
                known("dial", name, [field.name for field in fields(Setting)])
            self.setting = replace(self.setting, **dials)
        except ValueError as error:
            self.status.value = alarm(str(error))
            raise
        self._set_widgets()
        self._begin()
        if self.block:
            self.wait()
            if self._worker[0].error is not None:
                raise self._worker[0].error

    def stop(self) -> None:
        """Let the step in progress be the last one; returns at once."""
        for worker in self._worker:
            worker.stop()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no run is going on, at most `timeout` seconds; return whether that is so."""
        return all(worker.join(timeout) for worker in self._worker)

    def close(self) -> None:
        """End the run, and take the widgets away."""
        self._end_run()
        self._root.close()

    @property
    def running(self) -> bool:
        """Whether a run is going on."""
        return any(not worker.over for worker in self._worker)

    @property
    def histories(self) -> Mapping[str, History]:
        """What the branches have left so far; before the fork the one run there is."""
        return self._worker[0].histories if self._worker else {}

    # Widgets

    def _make_widgets(self) -> None:
        style = {"button_width": "auto"}
        self.dials: dict[str, Any] = {
            "before": widgets.ToggleButtons(options=["on", "off"], style=style),
            "at": widgets.FloatSlider(
                min=0.05, max=0.95, step=0.05, readout_format=".0%", continuous_update=False,
                layout=widgets.Layout(width="auto"),
            ),
            "schedule": widgets.ToggleButtons(options=list(SCHEDULES), style=style),
            "weight_decay": log_slider(0.01, -4, -1),
        }  # fmt: skip
        self.run_button = widgets.Button(description="Run", icon="play", button_style="primary")
        self.stop_button = widgets.Button(description="Stop", icon="stop", disabled=True)
        self.progress = widgets.IntProgress(min=0, max=self.steps, layout=widgets.Layout(width="auto"))
        self.status, self.words = widgets.HTML(), widgets.HTML()
        self.image = picture(b"", "760px")
        self._set_widgets()
        asks = {
            "before": ("Decay before the fork", ""),
            "at": ("Fork after", "this share of the run"),
            "schedule": ("Learning rate", "falling to 0.2% of its start, or constant"),
            "weight_decay": ("Strength λ", "of weight decay, where it is on"),
        }
        dials = [labelled(self.dials[name], *ask) for name, ask in asks.items()]
        buttons = row([self.run_button, self.stop_button])
        left = stack([*dials, buttons, self.progress, self.status], flex="1 1 270px", max_width="700px", min_width="0")
        right = stack([self.image, self.words], flex="3 1 460px", max_width="760px", min_width="0", overflow="auto")
        self._root = row([left, right], align_items="flex-start", width="100%", grid_gap="12px")
        for dial in self.dials.values():
            dial.observe(self._on_change, "value")
        self.run_button.on_click(self._pressed_run)
        self.stop_button.on_click(lambda _: self.stop())

    def _set_widgets(self) -> None:
        self._following = True
        try:
            for name, dial in self.dials.items():
                value = getattr(self.setting, name)
                if name == "weight_decay":  # the slider becomes longer where it does not reach
                    exponent = math.log10(value)
                    dial.min, dial.max = min(dial.min, math.floor(exponent)), max(dial.max, math.ceil(exponent))
                if name == "at":
                    dial.min, dial.max = min(dial.min, value), max(dial.max, value)
                dial.value = value
        finally:
            self._following = False

    def _on_change(self, _: object) -> None:
        if self._following:
            return
        values = {name: dial.value for name, dial in self.dials.items()}
        self.setting = Setting(**values | {name: float(f"{values[name]:.2g}") for name in ("at", "weight_decay")})
        note = "that counts from the next run on" if self.running else "press Run"
        self.status.value = line(f"Turned: {self.setting}; {note}.", role="status")

    def _pressed_run(self, _: object) -> None:
        if self.running:
            self._refuse()
        else:
            self._begin()

    def _refuse(self) -> None:
        self.status.value = line("One run at a time: press Stop first, or wait for the end.", role="status")

    # A run

    def _begin(self) -> None:
        self._setting = self.setting
        run = self.setting.run(self.task, self.model, self.steps, self.seed)
        at = min(max(round(self.setting.at * self.steps), 1), self.steps - 1)
        self.progress.value, self.stop_button.disabled = 0, False
        self.status.value = line(f"Running: {self.setting}.", role="status")
        me = weakref.ref(self)  # so that a Fork nobody looks at ends its run
        worker = Branching(run, self._device, at, self.setting.weight_decay, _reporter(me), _ender(me))
        self._worker[:] = [worker]
        worker.start()

    def _on_progress(self, worker: Branching) -> None:
        self._draw(worker)
        self.progress.value = worker.step

    def _on_end(self, worker: Branching) -> None:
        try:
            self._draw(worker)
        except Exception as error:  # told below, like any other
            worker.error = worker.error or error
        self.progress.value, self.stop_button.disabled = worker.step, True
        diverged = [name for name, history in worker.histories.items() if history.diverged_at is not None]
        if worker.error is not None:
            told = f"The run ended with an error. {type(worker.error).__name__}: {worker.error}"
            self.status.value = alarm(told)
        elif diverged:
            self.status.value = alarm(f"Diverged: {', '.join(diverged)}. Lower λ, and run again.")
        elif worker.step < self.steps:
            self.status.value = line(f"Stopped at step {worker.step} of {self.steps}.", role="status")
        else:
            self.status.value = line(f"Done: {self._setting}. {self.told}", role="status")

    def _draw(self, worker: Branching | None) -> None:
        with self._lock:
            setting = self._setting if worker else self.setting
            drawn: Drawn = branches(worker.histories if worker else {}, setting.at, self.steps, str(setting))
            self.told, self.alt, self.data = _told(worker.histories if worker else {}), drawn.alt, drawn.data
            self.image.value = drawn.png()
            self.words.value = unseen(self.alt)

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        self._root.fork = self  # what a cell shows stays alive with its widgets
        return bundle(self._root, self.image.value, self.alt)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self._repr_mimebundle_(), raw=True)  # type: ignore[no-untyped-call]


def _told(histories: Mapping[str, History]) -> str:
    """What the branches ended with, in words."""
    if not {ON, OFF} <= set(histories):
        return ""
    norms = {name: histories[name].curves["weight_norm"][-1] for name in (ON, OFF)}
    errors = {name: histories[name].curves["test_error"][-1] for name in (ON, OFF)}
    return " ".join(f"With {name}: weight norm {norms[name]:.1f}, test error {errors[name]:.1%}." for name in (ON, OFF))


def _reporter(me: weakref.ref[Fork]) -> Callable[[Worker, History | None], bool]:
    def report(worker: Worker, history: History | None) -> bool:
        fork = me()
        if fork is not None and history is not None and isinstance(worker, Branching):
            fork._on_progress(worker)
        return fork is not None

    return report


def _ender(me: weakref.ref[Fork]) -> Callable[[Worker], None]:
    def ended(worker: Worker) -> None:
        fork = me()
        if fork is not None and isinstance(worker, Branching):
            fork._on_end(worker)

    return ended


def _end(workers: list[Branching]) -> None:
    for worker in workers:
        worker.stop()
        worker.join(5.0)
