"""The Lab: turn the dials of weight decay, press Run, and watch what happens while it happens."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wdlab.checks import known, number, whole
from wdlab.decay import Timing
from wdlab.lab import link as links
from wdlab.lab.controls import alarm, bundle, close_all, line, unseen
from wdlab.lab.curves import Curves, in_words
from wdlab.lab.desk import Desk
from wdlab.lab.dials import SCHEDULES, Dials
from wdlab.lab.panel import EVERY, Panel
from wdlab.lab.quantities import PANELS, QUANTITIES
from wdlab.lab.table import table
from wdlab.lab.trial import Trial, named
from wdlab.lab.worker import Worker
from wdlab.run import Model
from wdlab.tasks import TASKS, Vision
from wdlab.train import History, Training, pick_device

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SHOW = ("timing", "weight_decay", "lr")
DATA = ("label_noise", "train_size", "augment")
FORKED = ("timing", "weight_decay", "lr", "schedule", "coupling")
"""Dials under which a fork may go on."""
EARLIER = 6
"""Runs that stay in the picture besides the current one."""
BRANCHES = 4
"""Runs that may go on at a time, forks included."""
EVALUATIONS = 40
START = "Choose when weight decay acts, then press Run."
BUSY = "One run at a time: press Stop first, or wait for the end."
RESTS = "This run is paused: press Go on to continue it, or Stop before you press Run."


class Lab:
    """One live run at a time: dials beside curves that grow; earlier runs stay to compare with.

    `task` is a name from `wdlab.tasks.TASKS` or a task, `model` a `wdlab.Model`, `steps` the length of a run (the
    task's own by default). `show` names the dials that can be seen: "task", "optimizer", "timing", "coupling",
    "weight_decay", "lr", "seeds", "schedule", and those of the data, "label_noise", "train_size" and "augment"; or it
    is "all". `curves` names some of test_error, train_loss, weight_norm, effective_lr and step_parts, from top to
    bottom. The cell that shows a Lab also keeps its picture and the picture's text, for readers without a kernel.

    With `block` the methods that train return when the run is over or rests, and raise what went wrong in it; None
    means: block where the environment variable WDLAB_HEADLESS is set. Raises ValueError for what is not allowed.

    >>> lab = Lab(model=Model(width=8), steps=4, block=True)
    >>> lab.run(timing="always", weight_decay=0.02, until=0.5)
    >>> lab.fork(timing="never")
    >>> lab.resume()
    >>> [history.curves["weight_decay"][-1] for history in lab.histories]
    [0.019999999552965164, 0.0]
    >>> lab.close()
    """

    def __init__(
        self,
        task: str | Vision = "mnist1d",
        show: Sequence[str] | str = SHOW,
        model: Model | None = None,
        steps: int | None = None,
        seed: int = 0,
        device: str = "auto",
        block: bool | None = None,
        curves: Sequence[str] = PANELS,
        dials: Dials | None = None,
    ) -> None:
        self.task = TASKS[known("task", task, TASKS)] if isinstance(task, str) else task
        self.model = model or Model()
        self._asked_steps = None if steps is None else whole("steps", steps, 1)
        self.shown = EVERY if show == "all" else tuple(known("show", name, EVERY) for name in show)
        self.block = bool(os.environ.get("WDLAB_HEADLESS")) if block is None else block
        self._device = str(pick_device(device))
        given = {"label_noise": self.task.label_noise, "train_size": self.task.train_size}
        given["augment"] = bool(self.task.augment)
        usual = Dials(seed=seed).turned(**{name: given[name] for name in DATA if name in self.shown})
        self._first = self._dials = dials or usual
        self.curves = _checked(curves)
        self._planned = self._trial(self._dials)
        self._trials: list[Trial] = []  # in the picture
        self._live: list[Trial] = []  # the run that went on last, and its forks
        self._all: list[Trial] = []  # in the table
        self._worker: Worker | None = None  # of the run that went on last
        self._workers: list[Worker] = []  # that may not be over: this one, and what a Reset let go of
        self._lock = threading.RLock()  # the picture is drawn by one thread at a time
        self._copies: list[Any] = []  # displays of a headless run, whose stored picture follows the runs
        self._drawn: list[object] = []
        self._closed = False
        self._note = ""
        self.panel = Panel(self.task, self._dials, self.shown, self._turned)
        self.desk = Desk(self.panel, self._handlers(), self.curves, self.link())
        self._curves = Curves(self.curves)
        self._draw()
        self._say(START)
        self._end_run = weakref.finalize(self, _end, self._workers)  # also when Python ends
        self._end_widgets = weakref.finalize(self, close_all, (self.desk.root, *self.panel.hidden))
        self._end_widgets.atexit = False

    # What a notebook uses

    def run(self, until: float | None = None, **dials: object) -> None:
        """Turn `dials` (names of `Dials`: timing, window, weight_decay, lr, coupling ...), then press Run.

        The run pauses when the share `until` of it is over. Refused in the status line while a run goes on. Raises
        ValueError for a dial or a value that is not allowed.
        """
        if self._may_begin():
            at = None if until is None else number("until", until, 0, 1)
            self._turn_all(dials)
            self._begin(None if at is None else round(at * self._planned.run.steps))
            self._wait_if_blocking()

    def stop(self) -> None:
        """Let the step in progress be the run's last one; returns at once."""
        for worker in self._workers:
            worker.stop()

    def pause(self) -> None:
        """Let the run rest after the step in progress; returns at once."""
        if worker := self._going():
            worker.pause()
            self._follow()

    def resume(self) -> None:
        """End the rest."""
        if worker := self._going():
            worker.go_on()
            self._follow()
            self._wait_if_blocking()

    def step(self, steps: int = 1) -> None:
        """Take `steps` steps of the run, then rest; without a run, begin one."""
        self._step(whole("steps", steps, 1))
        self._wait_if_blocking()

    def decay_now(self, on: bool = True) -> None:
        """Switch weight decay on or off in the run that goes on, from its next step to its end, whatever its timing.

        After a fork it is the fork that is switched.
        """
        if worker := self._going():
            me = weakref.ref(self)
            worker.ask(lambda worker: _call(me, Lab._on_switch, worker, on))
            self.desk.follow(True, worker.paused, on)

    def fork(self, **dials: object) -> None:
        """Copy the run at this step, to the last bit, and go on with both: the copy under the dials as they stand now.

        `dials` are turned first. Where none differs from the run's, the copy goes on with its decay switched. A fork
        may differ in timing, window, weight_decay, lr, schedule and coupling; its timing counts from the run's start.
        """
        worker = self._going()
        if worker is None:
            return
        self._turn_all(dials)
        asked = self._dials
        wrong = [name for name in self._live[-1].dials.differs(asked) if name not in FORKED]
        if wrong:
            self._remark(f"A fork keeps the run's {', '.join(wrong)}: turn that back, or press Run for a new run.")
        else:
            me = weakref.ref(self)
            worker.ask(lambda worker: _call(me, Lab._on_fork, worker, asked))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the run is over or rests in a pause, at most `timeout` seconds; return whether that is so.

        Interrupting the kernel ends the waiting, and stops the run.
        """
        try:
            return all(worker.rest(timeout) for worker in self._workers)
        except KeyboardInterrupt:
            self.stop()
            raise

    def clear(self) -> None:
        """Take earlier runs out of picture and table; a run that is going on stays."""
        with self._lock:
            self._live = self._live if self.running else []
            self._trials, self._all = list(self._live), list(self._live)
            self._draw()
        if not self.running:
            self.desk.progress.value = 0
            self._say(START)

    def reset(self) -> None:
        """Stop, forget every run, and put the dials back to where they were in the beginning."""
        self.stop()
        self._worker = None
        self.clear()
        self.dials = self._first
        self._follow()
        self._say(START)

    def close(self) -> None:
        """End the run, and take the widgets away."""
        self._closed = True
        self._end_run()
        self._end_widgets()

    @property
    def running(self) -> bool:
        """Whether a run is going on, or rests."""
        return self._worker is not None and not self._worker.over

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
        """What the runs in the picture have left so far, oldest first, one a seed; the last one may be going on."""
        return tuple(history for trial in list(self._trials) for history in trial.histories)

    @property
    def table(self) -> pd.DataFrame:
        """Every run since the Lab was opened, cleared or reset, one a row; see `wdlab.lab.table.table`."""
        return table(list(self._all))

    def to_csv(self, path: str | Path) -> None:
        """Write the table to a file."""
        self.table.to_csv(path, index=False)

    def link(self) -> str:
        """Return the setting of this Lab as a small JSON string: task, model, steps, what is shown, and the dials."""
        setting = (self.task, self.model, self._asked_steps, self.shown, self.curves, self._dials)
        return links.pack(links.Setting(*setting))

    @classmethod
    def from_link(cls, link: str, device: str = "auto", block: bool | None = None) -> Lab:
        """Open a Lab at exactly the setting of a `link`; raises ValueError for a string that no Lab has made."""
        said = links.unpack(link)
        made = cls(said.task, said.show, said.model, said.steps, device=device, block=block, curves=said.curves)
        try:
            made.dials = made._first = said.dials
        except ValueError:
            made.close()
            raise
        return made

    @property
    def figure(self) -> Figure:
        """The picture's figure, whose lines hold the numbers."""
        return self._curves.figure

    @property
    def alt(self) -> str:
        """What the picture shows, in words, from the measured numbers."""
        with self._lock:
            return in_words(self._trials, self._planned, self.curves)

    # What the widgets do

    def _handlers(self) -> dict[str, Callable[[Any], None]]:
        return {
            "run": self._pressed_run, "pause": self._pressed_pause, "step": self._pressed_step,
            "stop": self._pressed_stop, "reset": self._pressed_reset, "clear": self._pressed_clear,
            "fork": self._pressed_fork, "decay": self._pressed_decay, "curves": self._pressed_curves,
        }  # fmt: skip

    def _pressed_run(self, _: object) -> None:
        if self._may_begin():
            self._begin()

    def _pressed_pause(self, _: object) -> None:
        if worker := self._going():
            (worker.go_on if worker.paused else worker.pause)()
            self._follow()

    def _pressed_step(self, _: object) -> None:
        self._step(1)

    def _pressed_stop(self, _: object) -> None:
        self.stop()

    def _pressed_reset(self, _: object) -> None:
        self.reset()

    def _pressed_clear(self, _: object) -> None:
        self.clear()

    def _pressed_fork(self, _: object) -> None:
        self.fork()

    def _pressed_decay(self, on: bool) -> None:
        self.decay_now(on)

    def _pressed_curves(self, change: dict[str, Any]) -> None:
        names = self.desk.chosen
        if not names:  # one stays
            change["owner"].value = True
            return
        with self._lock:
            self.curves, self._curves = names, Curves(names)
            self._draw()
        self.desk.link.value = self.link()

    def _turned(self, name: str, value: object) -> None:
        """Take over what the learner set; touching the window means an own window."""
        try:
            self._adopt(self._dials.turned(**{name: value}))
        except ValueError as error:
            self._say_error(str(error))
            self.panel.follow(self._dials, self._planned.run.task)
            return
        if self.running:
            self._remark("The dials were turned: that counts for a Fork, and from the next run on.")
        else:
            self._say(f"Next run: {self._dials}.")

    def _turn_all(self, dials: dict[str, object]) -> None:
        try:
            self.dials = self._dials.turned(**dials)
        except ValueError as error:
            self._say_error(str(error))
            raise

    def _adopt(self, dials: Dials) -> None:
        planned = self._trial(dials)  # whatever a run refuses is refused before a dial moves
        new = planned.spans != self._planned.spans
        self._dials, self._planned = dials, planned
        self.panel.follow(dials, planned.run.task)
        self.desk.link.value = self.link()
        if new and not self._trials:
            with self._lock:
                self._draw()

    def _trial(self, dials: Dials) -> Trial:
        return Trial(dials, dials.runs(self.task, self.model, self._asked_steps, EVALUATIONS))

    # A run, from its beginning to its end; what starts with _on is called in the run's own thread

    def _may_begin(self) -> bool:
        if self._closed:
            raise RuntimeError("this Lab is closed; make a new one.")
        if self._worker is not None and self.running:
            self._remark(RESTS if self._worker.paused else BUSY)
        return not self.running

    def _going(self) -> Worker | None:
        """Return who trains the run that goes on; without one, say so."""
        if self.running:
            return self._worker
        self._say("No run is going on: press Run first.")
        return None

    def _begin(self, until: int | None = None) -> None:
        trial = self._trial(self._dials)
        first = "" if self._trials else " The first run on a machine also makes the data, which takes a few seconds."
        with self._lock:
            self._live = []
            self._keep(trial)
        self._note = ""
        self.desk.progress.value, self.desk.progress.max = 0, trial.run.steps
        self._say(f"Preparing: {trial.dials}.{first}")
        me = weakref.ref(self)
        self._worker = Worker(
            trial.runs, self._device, lambda worker: _report(me, worker), lambda worker: _finish(me, worker), until
        )
        self._workers[:] = [*(worker for worker in self._workers if not worker.over), self._worker]
        self._worker.start()
        self._follow()

    def _keep(self, trial: Trial) -> None:
        """Give `trial` a place among those that are shown, in the place of the oldest where there is none."""
        shown = [earlier for earlier in self._trials if earlier.histories]
        old = [earlier for earlier in shown if earlier not in self._live]
        for earlier in old:
            earlier.fresh = False
        for earlier in old[: max(len(shown) - EARLIER, 0)]:
            shown.remove(earlier)
        trial.look = min(set(range(EARLIER + 1)) - {earlier.look for earlier in shown})
        trial.number = 1 + max((earlier.number for earlier in self._all), default=0)
        self._live.append(trial)
        self._trials = [*shown, trial]
        self._all = [*(earlier for earlier in self._all if earlier.histories), trial]

    def _step(self, steps: int) -> None:
        if self._worker is None or not self.running:
            if not self._may_begin():
                return
            self._begin(until=0)
        if self._worker is not None:
            self._worker.take(steps)
        self._follow()

    def _on_switch(self, worker: Worker, on: bool) -> None:
        for training in worker.trainings:
            training.read()
        trial, training = self._live[-1], worker.trainings[-1]
        _turn(training, len(trial.runs), _changes((), trial.dials, on))
        with self._lock:
            trial.note(worker.step, f"decay {_word(on)}", training, on)

    def _on_fork(self, worker: Worker, dials: Dials) -> None:
        if len(self._live) >= BRANCHES:
            return self._remark(f"At most {BRANCHES} branches at a time.")
        for training in worker.trainings:
            training.read()
        parent, training = self._live[-1], worker.trainings[-1].fork()
        differs = parent.dials.differs(dials)
        on = parent.switched if differs else not parent.acts(worker.step)
        switched = None if "timing" in differs else on
        _turn(training, len(parent.runs), _changes(differs, dials, switched))
        trial = Trial(dials, parent.runs, events=parent.events, born=worker.step)
        trial.histories = tuple(training.histories())
        trial.note(worker.step, "forked" if differs else f"forked, decay {_word(bool(on))}", training, switched)
        with self._lock:
            worker.trainings.append(training)
            self._keep(trial)

    def _on_progress(self, worker: Worker) -> None:
        with self._lock:
            for trial, histories in zip(self._live, worker.histories, strict=False):  # before it trains there are none
                trial.histories = histories
            if self._drawn != self._state():
                self._draw(quick=True)
        self.desk.progress.value = worker.step
        if not worker.busy:
            self._follow()
        if worker.histories and not worker.stopped:
            self._tell_progress(worker)

    def _tell_progress(self, worker: Worker) -> None:
        trial = self._live[-1]
        at = f"step {worker.step} of {trial.run.steps}, test error {trial.last('test_error'):.1%}"
        left = worker.seconds / worker.step * (trial.run.steps - worker.step) if worker.step else 0.0
        if worker.paused:
            told = f"Paused at {at}: {trial.dials}. Step takes one step; Go on continues."
        else:
            told = f"Running: {trial.dials}. {at.capitalize()}"
            told += f", about {left:.0f} s left." if left >= 1 else "."
        self.desk.status.value = line(told) + (line(self._note, role="status") if self._note else "")

    def _on_end(self, worker: Worker) -> None:
        try:
            with self._lock:
                for trial, histories in zip(self._live, worker.histories, strict=False):
                    trial.histories = histories
                self._draw()
        except Exception as error:  # told below, like any other
            worker.error = worker.error or error
        self.desk.progress.value = worker.step
        self.desk.follow(running=False, paused=False, decays=False)
        self._tell_end(worker)

    def _tell_end(self, worker: Worker) -> None:
        trial = self._live[-1]
        diverged = [step for one in self._live for step in one.diverged]
        if worker.error is not None:
            self._say_error(f"The run ended with an error. {type(worker.error).__name__}: {worker.error}")
        elif diverged:
            many = len(self._live) * len(trial.runs)
            who = "Diverged" if many == 1 else f"{len(diverged)} of {many} diverged, the first"
            self._say_error(
                f"{who} at step {min(diverged)}: the loss is no longer a finite number. Lower the learning rate or λ, "
                "and run again."
            )
        elif worker.step < trial.run.steps:
            self._say(f"Stopped at step {worker.step} of {trial.run.steps}: {trial.dials}. Run starts a new one.")
        else:
            results = " ".join(_result(one, name) for one, name in zip(self._live, named(self._live), strict=True))
            self._say(f"Done: {results} Turn a dial and run again: this run stays to compare with.")

    def _wait_if_blocking(self) -> None:
        if not self.block:
            return
        self.wait()
        for copy in self._copies:
            copy.update(self._repr_mimebundle_(), raw=True)
        if self._worker is not None and self._worker.error is not None:
            raise self._worker.error

    # Showing itself

    def _follow(self) -> None:
        """Let the buttons and the switch show where the run is."""
        worker = self._worker
        acts = self._live[-1].acts(worker.step) if worker is not None and self._live else False
        self.desk.follow(self.running, worker is not None and worker.paused, acts)

    def _say(self, text: str) -> None:
        self.desk.status.value = line(text, role="status")

    def _say_error(self, text: str) -> None:
        self.desk.status.value = alarm(text)

    def _remark(self, text: str) -> None:
        """Say something that stays to be read while a run goes on."""
        self._note = text
        self._say(text)

    def _state(self) -> list[object]:
        """What the picture shows of the runs that go on."""
        return [(trial.number, trial.steps, trial.events) for trial in self._live]

    def _draw(self, quick: bool = False) -> None:
        self._drawn = self._state()
        self._curves.show(self._trials, self._planned)
        self.desk.image.value = self._curves.frame() if quick else self._curves.png()
        self.desk.words.value = unseen(self.alt)
        if not quick:
            self.desk.table.show(table(self._all))

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        self.desk.root.lab = self  # what a cell shows stays alive with its widgets
        with self._lock:
            return bundle(self.desk.root, self.desk.image.value, self.alt)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        shown = display(self._repr_mimebundle_(), raw=True, display_id=True)  # type: ignore[no-untyped-call]
        if self.block and shown is not None:
            self._copies.append(shown)


def _checked(curves: Sequence[str]) -> tuple[str, ...]:
    names = tuple(known("curves", name, QUANTITIES) for name in curves)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"curves={curves!r} is not allowed; give some of {', '.join(QUANTITIES)}, each once.")
    return names


def _changes(differs: Sequence[str], dials: Dials, switched: bool | None) -> dict[str, Any]:
    """Return what `Training.turn` needs to go on under `dials`, with decay `switched` by hand if that is not None."""
    changes: dict[str, Any] = {}
    if not differs or {"timing", "weight_decay"} & set(differs):
        timing = dials.when if switched is None else Timing.always() if switched else Timing.never()
        changes |= {"weight_decay": dials.weight_decay, "timing": timing}
    if {"lr", "schedule"} & set(differs):
        changes |= {"lr": dials.lr, "schedule": SCHEDULES[dials.schedule]}
    return changes | ({"coupling": dials.coupling} if "coupling" in differs else {})


def _turn(training: Training, members: int, changes: dict[str, Any]) -> None:
    for member in range(members):
        training.turn(member, **changes)


def _word(on: bool) -> str:
    return "on" if on else "off"


def _result(trial: Trial, name: str) -> str:
    who = name if trial.born or trial.events else str(trial.dials)
    return f"{who}. Test error {trial.last('test_error'):.1%}, weight norm {trial.last('weight_norm'):.1f}."


def _report(me: weakref.ref[Lab], worker: Worker) -> bool:
    """Tell a Lab that is still there, and still wants to know."""
    lab = me()
    if lab is None or lab._worker not in (None, worker):
        return False
    if lab._worker is worker:
        lab._on_progress(worker)
    return not worker.stopped


def _finish(me: weakref.ref[Lab], worker: Worker) -> None:
    if (lab := me()) is not None and lab._worker is worker:
        lab._on_end(worker)


def _call(me: weakref.ref[Lab], method: Callable[..., None], *given: object) -> None:
    if (lab := me()) is not None:
        method(lab, *given)


def _end(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.stop()
        worker.join(5.0)
