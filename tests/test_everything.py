"""tests/everything.py, on parts that do nothing."""

from __future__ import annotations

import sys

import psutil
import pytest

from tests import everything

SLEEP = 3.25  # seconds


def seconds_told(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.partition("=== seconds of each part ===")[2]


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser's part alone is chosen, and what it starts takes longer than it may."""
    monkeypatch.setattr(sys, "argv", ["everything.py", "browser"])
    monkeypatch.setattr(
        everything, "PARTS", {"browser": ["-c", f"import subprocess; subprocess.run(['sleep', '{SLEEP}'])"]}
    )
    monkeypatch.setitem(everything.LIMITS, "browser", 0.1)


@pytest.mark.usefixtures("browser")
def test_a_part_that_takes_too_long_is_ended_and_fails_on_ci(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", "true")
    assert everything.main() == 1
    seconds, _, _, verdict = seconds_told(capsys).split()
    assert verdict == "FAILED" and float(seconds) < SLEEP
    running = [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]
    assert ["sleep", str(SLEEP)] not in running, "what it started goes on"
    monkeypatch.setitem(everything.LIMITS, "browser", 60.0)
    assert everything.main() == 0


@pytest.mark.usefixtures("browser")
def test_a_part_may_take_longer_at_home(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("CI", raising=False)
    assert everything.main() == 0
    assert "passed" in seconds_told(capsys)


def test_the_browser_is_among_the_parts_that_have_a_limit() -> None:
    assert {"browser"} <= set(everything.LIMITS) <= set(everything.PARTS)
    assert 300 == everything.GOAL <= everything.LIMITS["browser"] <= 600
