"""The Lab: turn the dials of weight decay, press Run, and watch what happens while it happens."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wdlab.checks import known, number, whole
from wdlab.lab import link as links
from wdlab.lab.controls import alarm, bundle, close_all, line, unseen
from wdlab.lab.curves import Curves, in_words
from wdlab.lab.desk import Desk
from wdlab.lab.dials import DATA, Dials
from wdlab.lab.live import FORKED, Live
from wdlab.lab.panel import EVERY, Panel
from wdlab.lab.quantities import PANELS, QUANTITIES, comparable
from wdlab.lab.table import table
from wdlab.lab.trial import Trial
from wdlab.lab.usual import NAMED, usual
from wdlab.lab.worker import Worker
from wdlab.run import Model
from wdlab.tasks import Task, Vision
from wdlab.train import History, pick_device

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SHOW = ("timing", "weight_decay", "lr")
EARLIER = 6
"""Runs that stay in the picture besides the current one."""
START = "Choose when weight decay acts, then press Run."
TURN = "Turn the dials, then press Run."
BUSY = "One run at a time: press Stop first, or wait for the end."
RESTS = "This run is paused: press Go on to continue it, or Stop before you press Run."


class Lab:
    """One live run at a time: dials beside curves that grow; earlier runs stay to compare with.

    `task` is "mnist1d", "fashion", "fashion_full", "cifar10" (once its data are there), "translation", "cartpole",
    "breakout" or a task of their kinds; `model` a `wdlab.Model` and `steps` the length of a run, both the task's own by
    default. `show` names the dials that can be seen: "task", "optimizer", "timing", "coupling", "weight_decay", "lr",
    "seeds", "schedule", and those of the data of vision, "label_noise", "train_size" and "augment"; or it is "all".
    `curves` names some of test_error, train_loss, weight_norm, effective_lr and step_parts, from top to bottom; a game
    is told by its return in place of an error. Where the dial turns to a task that is told otherwise, a new picture
    begins, and the table keeps all runs. The cell that shows a Lab also keeps its picture and the picture's text, for
    readers without a kernel.

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
        task: str | Task = "mnist1d",
        show: Sequence[str] | str = SHOW,
        model: Model | None = None,
        steps: int | None = None,
        seed: int = 0,
        device: str = "auto",
        block: bool | None = None,
        curves: Sequence[str] = PANELS,
    ) -> None:
        self.task = NAMED[known("task", task, NAMED)] if isinstance(task, str) else task
        self.model = model or usual(self.task).model
        self._asked_steps = None if steps is None else whole("steps", steps, 1)
        self.shown = EVERY if show == "all" else tuple(known("show", name, EVERY) for name in show)
        self.block = bool(os.environ.get("WDLAB_HEADLESS")) if block is None else block
        self._device = str(pick_device(device))
        self._dials = Dials.of(self.task, seed).turned(self.task, **_data_of(self.task, self.shown))
        self._first = self._dials  # where a Reset goes back to
        self.curves = _checked(curves)
        self._planned = self._trial(self._dials)
        self._trials: list[Trial] = []  # in the picture
        self._live: Live | None = None  # the run that goes on, or went on last, and its forks
        self._all: list[Trial] = []  # in the table
        self._workers: list[Worker] = []  # that may not be over: that run's, and what a Reset let go of
        self._lock = threading.RLock()  # the picture is drawn by one thread at a time
        self._copies: list[Any] = []  # displays of a headless run, whose stored picture follows the runs
        self._drawn: list[object] = []
        self._closed = False
        self._note = ""
        self.panel = Panel(self.task, self._dials, self.shown, self._turned)
        self.desk = Desk(self.panel, self._handlers(), self.curves, self.link())
        self._curves = Curves(self.curves)
        self.desk.name_curves(self.task)
        self._draw()
        self._invite()
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
        if live := self._going():
            live.worker.pause()
            self._follow()

    def resume(self) -> None:
        """End the rest."""
        if live := self._going():
            live.worker.go_on()
            self._follow()
            self._wait_if_blocking()

    def step(self, steps: int = 1) -> None:
        """Take `steps` steps of the run, then rest; without a run, begin one."""
        self._step(whole("steps", steps, 1))
        self._wait_if_blocking()

    def decay_now(self, on: bool = True) -> None:
        """Switch weight decay on or off in the run that goes on, from its next step to its end, whatever its timing.

        After a fork it is the fork that is switched. Raises ValueError for anything but True and False.
        """
        if not isinstance(on, bool):
            raise ValueError(f"on={on!r} is not allowed; give True or False.")
        if live := self._going():
            live.switch(on)
            self.desk.follow(True, live.worker.paused, on)

    def fork(self, **dials: object) -> None:
        """Copy the run at this step, to the last bit, and go on with both: the copy under the dials as they stand now.

        `dials` are turned first. Where none differs from the run's, the copy goes on with its decay switched. A fork
        may differ in timing, window, weight_decay, lr, schedule and coupling; its timing counts from the run's start.
        """
        live = self._going()
        if live is None:
            return
        self._turn_all(dials)
        if wrong := [name for name in live.trials[-1].dials.differs(self._dials) if name not in FORKED]:
            self._remark(f"A fork keeps the run's {', '.join(wrong)}: turn that back, or press Run for a new run.")
        else:
            live.fork(self._dials)

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
            kept = self._live.trials if self._live is not None and self.running else []
            self._trials, self._all = list(kept), list(kept)
            self._draw()
        if not self.running:
            self.desk.progress.value = 0
            self._invite()

    def reset(self) -> None:
        """Stop, forget every run, and put the dials back to where they were in the beginning."""
        self.stop()
        with self._lock:
            self._live = None
            self.clear()
            self.dials = self._first
            self._follow()
            self._invite()

    def close(self) -> None:
        """End the run, and take the widgets away."""
        self._closed = True
        self._end_run()
        self._end_widgets()

    @property
    def running(self) -> bool:
        """Whether a run is going on, or rests."""
        return self._live is not None and self._live.going

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
        if live := self._going():
            (live.worker.go_on if live.worker.paused else live.worker.pause)()
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
            self._adopt(self._dials.turned(self.task, **{name: value}))
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
            self.dials = self._dials.turned(self.task, **dials)
        except ValueError as error:
            self._say_error(str(error))
            raise

    def _adopt(self, dials: Dials) -> None:
        planned = self._trial(dials)  # whatever a run refuses is refused before a dial moves
        new = planned.spans != self._planned.spans
        self._dials, self._planned = dials, planned
        self.panel.follow(dials, planned.run.task)
        self.desk.name_curves(planned.run.task)
        self.desk.link.value = self.link()
        if new and not self._trials:
            with self._lock:
                self._draw()

    def _trial(self, dials: Dials) -> Trial:
        return Trial(dials, dials.runs(self.task, self.model, self._asked_steps))

    # A run, from its beginning to its end; what starts with _on is called in the run's own thread

    def _may_begin(self) -> bool:
        if self._closed:
            raise RuntimeError("this Lab is closed; make a new one.")
        if self._live is not None and self.running:
            self._remark(RESTS if self._live.worker.paused else BUSY)
        return not self.running

    def _going(self) -> Live | None:
        """Return the run that goes on; without one, say so."""
        if self.running:
            return self._live
        self._say("No run is going on: press Run first.")
        return None

    def _begin(self, until: int | None = None) -> None:
        trial = self._trial(self._dials)
        known = bool(self._trials) or not isinstance(trial.run.task, Vision)
        first = "" if known else " The first run on a machine also makes the data, which takes a few seconds."
        with self._lock:
            self._live = None
            self._keep(trial)
        self._note = ""
        self.desk.progress.value, self.desk.progress.max = 0, trial.run.steps
        self._say(f"Preparing: {trial.dials}.{first}")
        calls = (_loosely(weakref.WeakMethod(m)) for m in (self._seen, self._on_end, self._keep, self._remark))
        seen, ended, keep, remark = calls
        self._live = Live(trial, self._device, seen, ended, keep, remark, until, prompt=not self.block)
        worker = self._live.worker
        self._workers[:] = [*(earlier for earlier in self._workers if not earlier.over), worker]
        worker.start()
        self._follow()

    def _keep(self, trial: Trial) -> None:
        """Give `trial` a place among those that are shown, in the place of the oldest where there is none."""
        with self._lock:
            live = self._live.trials if self._live is not None else []
            there = [earlier for earlier in self._trials if earlier.histories or earlier in live]
            shown = [earlier for earlier in there if comparable(earlier, trial)]
            old = [earlier for earlier in shown if earlier not in live]
            for earlier in old:
                earlier.fresh = False
            for earlier in old[: max(len(shown) - EARLIER, 0)]:
                shown.remove(earlier)
            trial.look = min(set(range(EARLIER + 1)) - {earlier.look for earlier in shown})
            trial.number = 1 + max((earlier.number for earlier in self._all), default=0)
            self._trials = [*shown, trial]
            self._all = [*(earlier for earlier in self._all if earlier.histories or earlier in live), trial]

    def _step(self, steps: int) -> None:
        if not self.running and self._may_begin():
            self._begin(until=0)
        if live := self._going():
            live.worker.take(steps)
            self._follow()

    def _seen(self, live: Live) -> bool:
        """Show what is new, unless a Reset let go of it; return whether anybody looks."""
        with self._lock:
            if live is not self._live:
                return False
            live.take_over()
            if self._drawn != live.state:
                self._draw(quick=True)
            self.desk.progress.value = live.worker.step
            if not live.worker.busy:
                self._follow()
            if live.worker.histories and not live.worker.stopped:
                note = line(self._note, role="status") if self._note else ""
                self.desk.status.value = line(live.told()) + note
        return True

    def _on_end(self, live: Live) -> None:
        with self._lock:
            if live is not self._live:
                return
            try:
                live.take_over()
                self._draw()
            except Exception as error:  # told below, like any other
                live.worker.error = live.worker.error or error
            self.desk.progress.value = live.worker.step
            self.desk.follow(running=False, paused=False, decays=False)
            if wrong := live.told_wrong():
                self._say_error(wrong)
            else:
                self._say(live.told_end())

    def _wait_if_blocking(self) -> None:
        if not self.block:
            return
        self.wait()
        for copy in self._copies:
            copy.update(self._repr_mimebundle_(), raw=True)
        if self._live is not None and self._live.worker.error is not None:
            raise self._live.worker.error

    # Showing itself

    def _follow(self) -> None:
        """Let the buttons and the switch show where the run is."""
        live = self._live
        self.desk.follow(self.running, live is not None and live.worker.paused, live is not None and live.acts)

    def _invite(self) -> None:
        self._say(START if "timing" in self.shown else TURN)

    def _say(self, text: str) -> None:
        self.desk.status.value = line(text, role="status")

    def _say_error(self, text: str) -> None:
        self.desk.status.value = alarm(text)

    def _remark(self, text: str) -> None:
        """Say something that stays to be read while a run goes on."""
        self._note = text
        self._say(text)

    def _draw(self, quick: bool = False) -> None:
        self._drawn = self._live.state if self._live is not None else []
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


def _data_of(task: Task, shown: Sequence[str]) -> dict[str, object]:
    """Return how the dials of the data that can be seen stand at first."""
    if not isinstance(task, Vision):
        return {}
    given = {"label_noise": task.label_noise, "train_size": task.train_size, "augment": bool(task.augment)}
    return {name: given[name] for name in DATA if name in shown}


def _checked(curves: Sequence[str]) -> tuple[str, ...]:
    names = tuple(known("curves", name, QUANTITIES) for name in curves)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"curves={curves!r} is not allowed; give some of {', '.join(QUANTITIES)}, each once.")
    return names


def _loosely(method: weakref.WeakMethod[Callable[..., Any]]) -> Callable[[Any], Any]:
    """Return a callback that does not hold the Lab: without one it answers None, and its run ends."""

    def call(given: Any) -> Any:
        found = method()
        return None if found is None else found(given)

    return call


def _end(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.stop()
        worker.join(5.0)
