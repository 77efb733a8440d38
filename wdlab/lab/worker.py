"""One run in a thread of its own: it can be stopped, paused, stepped, turned and forked between any two steps."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from wdlab.run import Run
from wdlab.train import History, Training

FRAME = 0.2  # seconds between two pictures, at least
BEHIND = 0.9  # seconds that curves may be behind the training, with a tenth to spare
SHARE = 3.0  # how many times longer it trains than it draws
FADE = 0.98  # what one picture leaves of how slow an earlier step or picture was: half of it after 34

Report = Callable[["Worker"], bool]
"""Is called when there is something to see, at first before training has begun; returns whether anybody looks."""
Order = Callable[["Worker"], None]
"""Is called between two steps, in the thread of the run, and may turn or fork what trains."""


class Worker:
    """Trains `runs`, one a seed, in a daemon thread and calls `report` a few times a second.

    `report` and at last, whatever happened, `ended` are called in that thread. `trainings` holds the training and its
    forks, all at the same step, and `histories` what each has left; `error` is the exception that ended the run, if one
    did. At step `until`, and after `pause`, it rests. A `prompt` one takes a reading for every picture besides those
    that the runs ask for, so that no picture is old. Nothing here refers to whoever watches: callbacks that hold it
    weakly let it be collected while the run goes on.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        device: str,
        report: Report,
        ended: Callable[[Worker], None],
        until: int | None = None,
        prompt: bool = True,
    ) -> None:
        self.runs, self.device, self.until, self.prompt = runs, device, until, prompt
        self.error: Exception | None = None
        self.trainings: list[Training] = []
        self.histories: list[tuple[History, ...]] = []
        self.step = 0
        self.over = self.resting = False
        self._report, self._ended = report, ended
        self._worked = 0.0  # seconds of training, without the rests
        self._since: float | None = None
        self._next = self._due = 0.0  # when the next picture is allowed, and when it is wise
        self._slow_step = self._slow_picture = 0.0  # seconds of the slowest of late
        self._lock = threading.Lock()
        self._orders: deque[Order] = deque()
        self._asked = 0  # steps to take in a pause
        self._news = True  # something happened that no picture shows
        self._wake = threading.Event()
        self._stopped, self._paused = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="wdlab-lab", daemon=True)
        if until == 0:
            self._paused.set()

    # What others may do at any time; all of it returns at once

    def start(self) -> None:
        """Begin training."""
        self._thread.start()

    def stop(self) -> None:
        """Let the step in progress be the last."""
        with self._lock:
            self._stopped.set()
            self.resting = False
        self._wake.set()

    def pause(self) -> None:
        """Rest after the step in progress."""
        with self._lock:
            self._paused.set()
            self._news = True  # after it, for a picture drawn just before says that it runs, and takes the news away

    def go_on(self) -> None:
        """End the rest."""
        with self._lock:
            self._paused.clear()
            self.resting = False
        self._wake.set()

    def take(self, steps: int) -> None:
        """Rest after `steps` more steps, each with a reading."""
        with self._lock:
            self._paused.set()
            self._asked += steps
            self.resting = False
        self._wake.set()

    def ask(self, order: Order) -> None:
        """Have `order` carried out before the next step."""
        with self._lock:
            self._orders.append(order)
            self.resting = False
        self._wake.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the thread is gone, at most `timeout` seconds; return whether it is. An interrupt is heard."""
        return self._wait(lambda: False, timeout)

    def rest(self, timeout: float | None = None) -> bool:
        """Wait until the thread is gone or rests in a pause, as `join`; return whether it is so."""
        return self._wait(lambda: self.resting, timeout)

    def _wait(self, enough: Callable[[], bool], timeout: float | None) -> bool:
        if self._thread.ident is None or self._thread is threading.current_thread():
            return False
        end = math.inf if timeout is None else time.monotonic() + timeout
        while self._thread.is_alive() and not enough() and (left := end - time.monotonic()) > 0:
            self._thread.join(min(left, 0.05))  # in slices: on Windows an endless wait cannot be interrupted
        return not self._thread.is_alive() or enough()

    @property
    def stopped(self) -> bool:
        """Whether somebody asked it to stop."""
        return self._stopped.is_set()

    @property
    def paused(self) -> bool:
        """Whether it rests, or will after the step in progress."""
        return self._paused.is_set()

    @property
    def busy(self) -> bool:
        """Whether orders wait for the step in progress to end."""
        return bool(self._orders)

    @property
    def seconds(self) -> float:
        """How long the training itself has taken."""
        return self._worked + (0.0 if self._since is None else time.monotonic() - self._since)

    # In the thread

    def _work(self) -> None:
        try:
            self._train()
        except Exception as error:  # whatever it is, the learner sees it in the Lab
            self.error = error
        try:
            self._ended(self)
        finally:
            self.over = True

    def _train(self) -> None:
        wanted = self._show()  # at once, for the first run on a machine has to make its data
        self.trainings.append(Training(self.runs, self.device))
        self._since = time.monotonic()
        self._news = True  # the net as it begins
        self._due = self._next  # the first point cannot come too soon
        while wanted and not self.stopped and not self.trainings[0].done:
            self._obey()
            if self._may_rest():
                wanted = self._rest()
                continue
            if time.monotonic() >= self._due:
                wanted = self._show() and self._is_finite()
                continue  # what was asked for while it was drawn comes before the next step
            before = time.monotonic()
            self._advance()
            took = min(time.monotonic() - before, BEHIND)  # a step of more than that leaves no room as it is
            self._slow_step = max(self._slow_step, took)
        self._collect()
        time.sleep(max(self._next - time.monotonic(), 0.0))  # the last picture is a picture, too

    def _obey(self) -> None:
        while self._orders:
            self._orders[0](self)
            self._orders.popleft()
            self._news = True

    def _may_rest(self) -> bool:
        with self._lock:
            return self.paused and not self._asked

    def _rest(self) -> bool:
        """Show what is new, then wait until there is something to do; return whether anybody looks."""
        wanted = True
        if self._since is not None:
            self._worked, self._since = self.seconds, None
        for training in self.trainings:
            training.read()
        early = self._next - time.monotonic()
        if self._news and early > 0:
            self._wake.wait(early)
        elif self._news:
            wanted = self._show() and self._is_finite()
        else:
            with self._lock:
                self.resting = self.paused and not (self._orders or self._asked or self.stopped)
            self._wake.wait()
        self._wake.clear()
        return wanted

    def _advance(self) -> None:
        self._since = time.monotonic() if self._since is None else self._since
        with self._lock:
            self._asked = max(self._asked - 1, 0)
        for training in self.trainings:
            training.advance(1, read=self.paused)
        self.step = self.trainings[0].step
        self._news = True
        if self.step == self.until:
            self._paused.set()

    def _show(self) -> bool:
        before = time.monotonic()
        self._news = False
        self._collect(fresh=self.prompt)
        wanted = self._report(self)
        now = time.monotonic()
        self._next, spent = before + FRAME, now - before
        self._slow_step *= FADE
        self._slow_picture = max(FADE * self._slow_picture, spent) if self.trainings else 0.0
        self._due = max(self._next, now + self._wait_after(spent))
        return wanted

    def _wait_after(self, spent: float) -> float:
        """Return for how long to train after a picture that took `spent` seconds.

        What the next one shows is seen when it is drawn. So a step that ends right after a picture waits for this long,
        for the step that is under way then, and for the next picture, and all three fit into BEHIND even if both are
        as slow as the slowest of late. Where those are so slow that they cannot, training has half of the time. So
        curves are at most a second behind while slow steps and pictures come every few pictures; one that comes for the
        first time, or so seldom that it has faded by FADE, may be late by its own length, and costs later ones little.

        Of the tasks that come with the package only Breakout can be so slow: ten games that last all of their 1000
        frames would take about 0.8 s to read (ten of up to 180 frames took 0.14 s).
        """
        room = BEHIND - self._slow_step - self._slow_picture
        return min(SHARE * spent, max(room, spent))

    def _collect(self, fresh: bool = False) -> None:
        """Take over what has been measured; with `fresh` measure first."""
        if fresh:
            for training in self.trainings:
                training.read()
        self.histories = [tuple(training.histories()) for training in self.trainings]

    def _is_finite(self) -> bool:
        """Whether any member of any branch still trains."""
        return any(int(training.diverged_at.min()) < 0 for training in self.trainings)
