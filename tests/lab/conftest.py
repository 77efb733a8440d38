"""Labs for tests: small, on the CPU, and gone afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from tests.lab.live import SMALL, running
from wdlab.lab import Lab, curves, worker


@pytest.fixture
def pixels() -> None:
    """Asked for by tests that need real pictures."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A live notebook; without `pixels` the figure gets its data but is not drawn, which takes most of the time."""
    monkeypatch.delenv("WDLAB_HEADLESS", raising=False)
    if "pixels" not in request.fixturenames:
        numbers = count()
        monkeypatch.setattr(worker, "FRAME", 0.02)
        for name in ("png", "frame"):
            monkeypatch.setattr(curves.Curves, name, lambda _: b"picture %d" % next(numbers))


@pytest.fixture
def make() -> Iterator[Callable[..., Lab]]:
    made: list[Lab] = []

    def make(**options: object) -> Lab:
        made.append(Lab(**{"model": SMALL, "steps": 8, "device": "cpu", "block": True} | options))
        return made[-1]

    yield make
    for lab in made:
        lab.close()
    assert running() == []
