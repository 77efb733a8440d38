"""Progress and time left: a bar in a notebook, a line on a terminal, nothing in a pipe."""

from __future__ import annotations

import html
import sys
import time
from typing import Any, Protocol

DELAY = 0.5  # seconds before anything is shown, so that what is quick stays silent
INTERVAL = 0.25  # seconds between two pictures


class Progress(Protocol):
    """Whatever can be told how much of the work is done."""

    def update(self, done: int) -> None:
        """Say that `done` units of the total are finished."""

    def close(self) -> None:
        """Take the picture away."""


class Silent:
    """No picture: for pipes, logs and tests."""

    def update(self, done: int) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Nothing is there to take away."""


class Terminal:
    """One line on standard error, drawn by tqdm and wiped at the end."""

    def __init__(self, total: int, label: str) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=total, desc=label, leave=False, delay=DELAY, mininterval=INTERVAL, unit="")

    def update(self, done: int) -> None:
        """Move the line to `done`."""
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Wipe the line."""
        self._bar.close()


class Notebook:
    """An HTML bar under the running cell; at the end it gives way to one line saying how long the work took."""

    def __init__(self, total: int, label: str) -> None:
        self.total, self.label = total, html.escape(label)
        self._start = self._shown = time.monotonic()
        self._handle: Any = None

    def update(self, done: int) -> None:
        """Redraw the bar when it is time to."""
        now = time.monotonic()
        if now - self._start < DELAY or now - self._shown < INTERVAL:
            return
        self._shown = now
        spent = now - self._start
        left = f"about {spent / done * (self.total - done):.0f} s left" if done else "starting"
        self._show(f'<progress max="{self.total}" value="{done}"></progress> {self.label}: {left}')

    def close(self) -> None:
        """Leave the time the work took."""
        if self._handle is not None:
            self._show(f"<small>{self.label}: {time.monotonic() - self._start:.1f} s</small>")

    def _show(self, picture: str) -> None:
        from IPython.display import HTML, display

        if self._handle is None:
            self._handle = display(HTML(picture), display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(HTML(picture))  # type: ignore[no-untyped-call]


def progress(total: int, label: str) -> Progress:
    """Return the progress display that suits where Python runs."""
    if _in_notebook():
        return Notebook(total, label)
    # Without a console, as under pythonw, there is no standard error at all.
    return Terminal(total, label) if sys.stderr is not None and sys.stderr.isatty() else Silent()


def _in_notebook() -> bool:
    if "IPython" not in sys.modules:
        return False
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    return shell is not None and hasattr(shell, "kernel")
