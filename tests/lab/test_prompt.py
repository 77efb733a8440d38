"""What a Lab promises to whoever waits, for every task that needs no download, as its dials stand at first.

Work is counted in seconds of this process, which a busy machine does not lengthen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest

from tests.lab.live import until, visible
from wdlab.lab import Lab, worker
from wdlab.lab.usual import NAMED, OFFLINE
from wdlab.train import Training

pytestmark = pytest.mark.usefixtures("quick", "pixels")
every = pytest.mark.parametrize("name", [*OFFLINE, "breakout"])


@pytest.fixture
def usual(make, name: str) -> Lab:
    """A Lab at its defaults, whose data are there."""
    NAMED[name].arrays()
    return make(task=name, model=None, steps=None, block=False)


def work(do: Callable[[], Any]) -> float:
    """Return the seconds that it takes this process."""
    start = time.process_time()
    do()
    return time.process_time() - start


@every
def test_the_first_picture_with_a_measurement_comes_within_a_second_of_run(usual: Lab, record_property) -> None:
    usual.desk.image.observe(lambda _: seen.append(time.process_time()) if visible(usual) else None, "value")
    seen: list[float] = []
    start = time.process_time()
    usual.desk.run.click()
    until(lambda: seen)
    usual.stop()
    worked = seen[0] - start
    record_property("first picture", f"{worked:.2f} s of work after Run")
    assert worked + worker.FRAME < 1.0, "what it works and what it may wait are 1 s where nothing else is to be done"
