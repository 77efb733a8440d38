"""How far the curves are behind the training, on a clock that only the work itself moves: no other program can."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from itertools import chain, cycle, pairwise, repeat

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from wdlab.lab import worker
from wdlab.lab.worker import FRAME, Worker
from wdlab.run import Run

LIMIT = 1.0  # seconds


class Clock:
    """Stands for the module `time`: it goes on when somebody works or sleeps, and never else."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.0)


class Slow:
    """Stands for a training: its steps and its readings take as long as they are told to."""

    done = False

    def __init__(self, clock: Clock, steps: Iterator[float], reading: float) -> None:
        self.clock, self.lasts, self.reading = clock, steps, reading
        self.step, self.read_at, self.ended = 0, 0, {0: 0.0}
        self.shown: list[tuple[int, int]] = []  # for every picture the step of the training, and the one it shows

    def advance(self, steps: int, read: bool) -> None:
        self.clock.now += next(self.lasts)
        self.step += 1
        self.ended[self.step] = self.clock.now
        if self.step % 50 == 0:  # where the run asks for it
            self.read()

    def read(self) -> None:
        if self.read_at != self.step:
            self.clock.now += self.reading
            self.read_at = self.step

    def histories(self) -> list[int]:
        return [self.read_at]

    @property
    def diverged_at(self) -> object:
        return torch.full((1,), -1)


def watch(steps: Iterable[float], reading: float, pictures: list[float], until: float = 60.0):
    """Return, for every picture, its moment and how far the one before it was behind by then, and the training."""
    clock = Clock()
    training, lasts, seen = Slow(clock, iter(steps), reading), cycle(pictures), [(0.0, 0)]
    behind = []

    def report(one: Worker) -> bool:
        if one.histories:  # else it is the empty picture before training
            clock.now += next(lasts)
            first_unseen = training.ended.get(seen[-1][1] + 1)
            behind.append((clock.now, 0.0 if first_unseen is None else clock.now - first_unseen))
            seen.append((clock.now, one.histories[0][0]))
            training.shown.append((training.step, one.histories[0][0]))
        return clock.now < until

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "time", clock)
        patch.setattr(worker, "Training", lambda *_: training)
        Worker([Run()], "cpu", report, lambda _: None)._train()
    return behind, training


seconds = st.floats(0.0005, 0.3)


@settings(max_examples=150, deadline=None)
@given(st.lists(seconds, min_size=1, max_size=7), st.floats(0, 0.1), st.lists(seconds, min_size=1, max_size=7))
@example([0.25], 0.0, [0.3])
@example([0.01], 0.1, [0.3])
@example([0.01], 0.0, [0.2, 0.2, 0.2, 0.4])
def test_curves_are_never_more_than_a_second_behind(steps: list[float], reading: float, pictures: list[float]) -> None:
    """Wherever a step, two readings and two pictures, the slowest of each, fit into a second at all."""
    assume(max(steps) + 2 * reading + 2 * max(pictures) <= 0.9)
    behind, _ = watch(cycle(steps), reading, pictures)
    assert len(behind) > 10
    assert max(late for _, late in behind) <= LIMIT


def test_one_slow_picture_among_quick_ones_is_not_late_either() -> None:
    """Where an axis moves, all is drawn anew; that one picture takes ten times as long as the others."""
    behind, training = watch(repeat(0.02), 0.05, [0.03] * 9 + [0.4])
    assert max(late for _, late in behind) <= LIMIT
    assert training.step > 100


def test_pictures_come_at_most_five_a_second_and_leave_training_half_of_the_time() -> None:
    for pictures in ([0.001], [0.05], [0.4], [2.0]):
        behind, training = watch(repeat(0.01), 0.0, pictures, until=120.0)
        moments = [at for at, _ in behind]
        gaps = [b - a for a, b in pairwise(moments)]
        assert min(gaps) >= FRAME - 1e-9
        assert training.step * 0.01 >= 0.49 * (moments[-1] - moments[0])


def test_every_picture_shows_the_last_step() -> None:
    behind, training = watch(repeat(0.003), 0.001, [0.01], until=5.0)
    assert 0 < max(late for _, late in behind) < 0.3
    assert len(training.shown) > 5 and any(step % 50 for step, _ in training.shown)
    assert all(step == shown for step, shown in training.shown)


def share_of_training(hiccup: float, since: float, until: float) -> float:
    """Return the share of the time from `since` to `until` that training has after a first step of `hiccup` seconds."""
    _, training = watch(chain([hiccup], repeat(0.01)), 0.0, [0.2], until)
    return 0.01 * sum(since <= end for end in training.ended.values()) / (until - since)


def test_one_slow_step_slows_training_for_a_while_and_not_for_good() -> None:
    undisturbed = share_of_training(0.01, 60, 120)
    assert undisturbed > 0.7, "three quarters at best"
    assert share_of_training(2.0, 2, 12) < 0.55, "while it may come again"
    assert share_of_training(2.0, 60, 120) > 0.95 * undisturbed


def test_a_picture_that_is_drawn_while_pause_is_pressed_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test plays the worker's thread, which draws at the worst moment and may not begin to rest there."""

    class Late(threading.Event):
        def set(self) -> None:
            one._show()
            locked.append(one._lock.locked())
            super().set()

    told: list[bool] = []
    locked: list[bool] = []
    monkeypatch.setattr(worker, "FRAME", 0.0)
    one = Worker([Run()], "cpu", lambda one: told.append(one.paused) is None, lambda _: None)
    one._paused = Late()
    one.pause()
    one._wake.set()  # so that the rest does not wait
    one._rest()
    assert (told, locked) == ([False, True], [True])
