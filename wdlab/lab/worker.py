"""One run in a thread of its own that can be stopped between any two steps."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from wdlab.run import Run
from wdlab.train import History, Training

FRAME = 0.2  # seconds between two pictures, at least
LATE = 0.8  # ... and at most, however slow drawing is
SHARE = 3.0  # how many times longer it trains than it draws

Report = Callable[["Worker", History | None], bool]
"""Is given what the run has left so far, None before it has begun; returns whether anybody still wants to know."""


class Worker:
    """Trains `run` in a daemon thread and hands its history to `report` a few times a second.

    `report` and at last, whatever happened, `ended` are called in that thread. Then `history` is what the run has
    left, and `error` the exception that ended it, if one did. Nothing here refers to whoever watches: callbacks that
    hold it weakly let it be collected while the run goes on.
    """

    def __init__(self, run: Run, device: str, report: Report, ended: Callable[[Worker], None]) -> None:
        self.run, self.device = run, device
        self.error: Exception | None = None
        self.history: History | None = None
        self.step = 0
        self.over = False
        self._report, self._ended = report, ended
        self._began = time.monotonic()
        self._next = self._due = 0.0  # when the next picture is allowed, and when it is wise
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="wdlab-lab", daemon=True)

    def start(self) -> None:
        """Begin training."""
        self._thread.start()

    def stop(self) -> None:
        """Let the step in progress be the last; returns at once."""
        self._stopped.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the thread is gone, at most `timeout` seconds; return whether it is. An interrupt is heard."""
        if self._thread.ident is None or self._thread is threading.current_thread():
            return False
        end = math.inf if timeout is None else time.monotonic() + timeout
        while self._thread.is_alive() and (left := end - time.monotonic()) > 0:
            self._thread.join(min(left, 0.2))  # in slices: on Windows an endless wait cannot be interrupted
        return not self._thread.is_alive()

    @property
    def stopped(self) -> bool:
        """Whether somebody asked it to stop."""
        return self._stopped.is_set()

    @property
    def seconds(self) -> float:
        """How long the training itself has taken."""
        return time.monotonic() - self._began

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
        self._show(None)  # at once, for the first run on a machine has to make its data
        training = Training([self.run], self.device)
        self._began = time.monotonic()
        self._due = self._next  # the first point cannot come too soon
        wanted = True
        while wanted and not (training.done or self._stopped.is_set()):
            if time.monotonic() >= self._due:
                wanted = self._show(training) and int(training.diverged_at[0]) < 0
            training.advance(1)
            self.step = training.step
        self.history = training.histories()[0]
        time.sleep(max(self._next - time.monotonic(), 0.0))  # the last picture is a picture, too

    def _show(self, training: Training | None) -> bool:
        before = time.monotonic()
        wanted = self._report(self, training.histories()[0] if training else None)
        now = time.monotonic()
        self._next = before + FRAME
        self._due = max(self._next, now + min(SHARE * (now - before), LATE))
        return wanted
