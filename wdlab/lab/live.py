"""The run that goes on in a Lab, and its forks: what can be done to them, and how they are told of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wdlab.decay import Timing
from wdlab.lab.dials import SCHEDULES, Dials
from wdlab.lab.quantities import quantity
from wdlab.lab.trial import Trial, named
from wdlab.lab.worker import Worker
from wdlab.train import Training

BRANCHES = 4
"""Runs that may go on at a time, forks included."""
FORKED = ("timing", "weight_decay", "lr", "schedule", "coupling")
"""Dials under which a fork may go on."""

Seen = Callable[["Live"], bool]


class Live:
    """A worker, and a `Trial` for each of its trainings: the run itself first, then its forks.

    `seen` and `ended` are called, in the run's thread, when there is something to see and when all is over; `keep` with
    the trial of a new fork, `remark` with what could not be done. None of them may hold a Lab. `until` and `prompt` are
    the worker's.
    """

    def __init__(
        self,
        trial: Trial,
        device: str,
        seen: Seen,
        ended: Callable[[Live], None],
        keep: Callable[[Trial], None],
        remark: Callable[[str], None],
        until: int | None = None,
        prompt: bool = True,
    ) -> None:
        self.trials = [trial]
        self._keep, self._remark = keep, remark
        self.worker = Worker(trial.runs, device, lambda _: seen(self), lambda _: ended(self), until, prompt)

    @property
    def going(self) -> bool:
        """Whether it trains, or rests."""
        return not self.worker.over

    @property
    def acts(self) -> bool:
        """Whether decay acts in the next step of the branch that was made last."""
        return self.trials[-1].acts(self.worker.step)

    @property
    def state(self) -> list[object]:
        """What a picture shows of it."""
        return [(trial.number, trial.steps, trial.events) for trial in self.trials]

    def take_over(self) -> None:
        """Give every trial what its training has measured."""
        for trial, histories in zip(self.trials, self.worker.histories, strict=False):  # at first there are none
            trial.histories = histories

    def switch(self, on: bool) -> None:
        """Switch the decay of the last branch before the next step."""
        self.worker.ask(lambda _: self._switch(on))

    def fork(self, dials: Dials) -> None:
        """Fork the last branch before the next step; the fork goes on under `dials`."""
        self.worker.ask(lambda _: self._fork(dials))

    # In the run's thread, between two steps

    def _switch(self, on: bool) -> None:
        self._read()
        trial, training = self.trials[-1], self.worker.trainings[-1]
        _turn(training, trial, _changes((), trial.dials, on))
        trial.note(self.worker.step, f"decay {_word(on)}", training, on)

    def _fork(self, dials: Dials) -> None:
        if len(self.trials) >= BRANCHES:
            return self._remark(f"At most {BRANCHES} branches at a time.")
        self._read()
        parent, training = self.trials[-1], self.worker.trainings[-1].fork()
        differs = parent.dials.differs(dials)
        on = parent.switched if differs else not self.acts
        switched = None if "timing" in differs else on
        _turn(training, parent, _changes(differs, dials, switched))
        trial = Trial(dials, parent.runs, events=parent.events, born=self.worker.step)
        trial.histories = tuple(training.histories())
        trial.note(self.worker.step, "forked" if differs else f"forked, decay {_word(bool(on))}", training, switched)
        self.worker.trainings.append(training)
        self.trials.append(trial)
        return self._keep(trial)

    def _read(self) -> None:
        """Give every curve a point where something is done."""
        for training in self.worker.trainings:
            training.read()

    # In words

    def told(self) -> str:
        """Return where it is."""
        trial, worker = self.trials[-1], self.worker
        at = f"step {worker.step} of {trial.run.steps}, {quantity('test_error', trial.run.task).told(trial)}"
        if worker.paused:
            return f"Paused at {at}: {trial.dials}. Step takes one step; Go on continues."
        left = worker.seconds / worker.step * (trial.run.steps - worker.step) if worker.step else 0.0
        time_left = f", about {left:.0f} s left." if left >= 1 else "."
        return f"Running: {trial.dials}. {at.capitalize()}{time_left}"

    def told_end(self) -> str:
        """Return how it ended."""
        trial, step = self.trials[-1], self.worker.step
        if step < trial.run.steps:
            return f"Stopped at step {step} of {trial.run.steps}: {trial.dials}. Run starts a new one."
        results = "; ".join(_result(one, name) for one, name in zip(self.trials, named(self.trials), strict=True))
        return f"Done: {results}. Turn a dial and run again: this run stays to compare with."

    def told_wrong(self) -> str:
        """Return what went wrong, or nothing."""
        if (error := self.worker.error) is not None:
            return f"The run ended with an error. {type(error).__name__}: {error}"
        diverged = [step for trial in self.trials for step in trial.diverged]
        if not diverged:
            return ""
        members = sum(len(trial.runs) for trial in self.trials)
        who = "Diverged" if members == 1 else f"{len(diverged)} of {members} diverged, the first"
        why = "the loss is no longer a finite number. Lower the learning rate or λ, and run again."
        return f"{who} at step {min(diverged)}: {why}"


def _changes(differs: Sequence[str], dials: Dials, switched: bool | None) -> dict[str, Any]:
    """Return what `Training.turn` needs to go on under `dials`, with decay `switched` by hand if that is not None."""
    changes: dict[str, Any] = {}
    if not differs or {"timing", "weight_decay"} & set(differs):
        timing = dials.when if switched is None else Timing.always() if switched else Timing.never()
        changes |= {"weight_decay": dials.weight_decay, "timing": timing}
    if {"lr", "schedule"} & set(differs):
        changes |= {"lr": dials.lr, "schedule": SCHEDULES[dials.schedule]}
    return changes | ({"coupling": dials.coupling} if "coupling" in differs else {})


def _turn(training: Training, trial: Trial, changes: dict[str, Any]) -> None:
    for member in range(len(trial.runs)):
        training.turn(member, **changes)


def _word(on: bool) -> str:
    return "on" if on else "off"


def _result(trial: Trial, name: str) -> str:
    who = name if trial.born or trial.events else str(trial.dials)
    return f"{who}: {', '.join(quantity(one, trial.run.task).told(trial) for one in ('test_error', 'weight_norm'))}"
