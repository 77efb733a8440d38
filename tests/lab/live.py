"""What tests of a live Lab share: how to wait for it, and what its picture shows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import wdlab
from wdlab.lab import Lab

SMALL = wdlab.Model(width=4, depth=1)
FOREVER = 200_000


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "wdlab-lab"]


def until(true: Callable[[], object], seconds: float = 20.0, pause: float = 0.01) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(pause)


def visible(lab: Lab, panel: int = 0) -> list:
    """The run lines of a panel that are shown and hold data."""
    return [line for line in lab._curves._panels[panel].lines if line.get_visible() and len(line.get_xdata())]


def shaded(lab: Lab) -> list[tuple[float, float]]:
    return [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in lab.figure.axes[1].patches]


def side_labels(lab: Lab, panel: int = 0) -> list[str]:
    return [pen.label.get_text() for pen in lab._curves._panels[panel]._pens if pen.label.get_visible()]
