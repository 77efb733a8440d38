"""The Fork, through its widgets: two branches from one state, of which only decay differs."""

import math
import time

import pytest

from wdlab.lab import Fork
from wdlab.lab.fork import OFF, ON, Setting
from wdlab.run import Model

SMALL = {"model": Model(width=8), "steps": 40}


@pytest.fixture
def fork():
    made = Fork(**SMALL, block=True)
    yield made
    made.close()


def curve(fork: Fork, branch: str, name: str = "weight_norm") -> list[float]:
    return list(fork.histories[branch].curves[name])


def test_both_branches_share_all_that_came_before_the_fork(fork: Fork) -> None:
    fork.run(at=0.5, weight_decay=0.1)
    at = next(place for place, step in enumerate(fork.histories[ON].steps) if step == 20)
    for name in ("weight_norm", "test_error", "train_loss", "test_loss"):
        on, off = curve(fork, ON, name), curve(fork, OFF, name)
        assert on[1 : at + 1] == off[1 : at + 1]
    assert curve(fork, ON)[-1] < curve(fork, OFF)[-1]
    assert fork.histories[ON].steps[-1] == fork.histories[OFF].steps[-1] == 40


@pytest.mark.parametrize("before", ["on", "off"])
def test_decay_acts_where_the_dials_say(fork: Fork, before: str) -> None:
    fork.run(before=before, at=0.5, weight_decay=0.1)
    for branch, after in ((ON, 0.1), (OFF, 0.0)):
        history = fork.histories[branch]
        told = dict(zip(history.steps, history.curves["weight_decay"], strict=True))
        assert told[5] == pytest.approx(0.1 if before == "on" else 0.0)
        assert told[30] == pytest.approx(after)


def test_the_buttons_and_sliders_do_it_too(fork: Fork) -> None:
    fork.dials["before"].value = "off"
    fork.dials["schedule"].value = "constant"
    fork.dials["at"].value = 0.75
    fork.dials["weight_decay"].value = 0.1
    assert fork.setting == Setting("off", 0.75, "constant", 0.1)
    before = fork.image.value
    fork.run_button.click()
    assert fork.wait(60)
    assert fork.image.value != before and "Done" in fork.status.value and fork.progress.value == 40
    assert fork.histories[ON].curves["lr"][-1] == pytest.approx(0.1), "a constant learning rate"
    fork.dials["schedule"].value = "falling"
    assert "press Run" in fork.status.value
    fork.run_button.click()
    assert fork.wait(60)
    assert fork.histories[ON].curves["lr"][-1] < 0.01


def test_the_picture_holds_the_numbers_and_says_them(fork: Fork) -> None:
    fork.run(at=0.25, weight_decay=0.1)
    ends = fork.data.groupby("branch")["weight_norm"].last()
    assert ends[ON] == curve(fork, ON)[-1] and ends[OFF] == curve(fork, OFF)[-1]
    assert f"weight norm {ends[ON]:.3g}" in fork.alt and fork.alt in fork.words.value
    assert bytes(fork.image.value).startswith(b"\x89PNG") and f"{ends[OFF]:.1f}" in fork.status.value


def test_stop_ends_the_run_and_a_second_run_is_refused() -> None:
    fork = Fork(model=Model(width=8), steps=100_000, block=False)
    fork.run(at=0.05)
    deadline = time.monotonic() + 30
    while fork.progress.value == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    fork.run(at=0.1)
    assert "One run at a time" in fork.status.value and fork.setting.at == 0.05
    fork.stop_button.click()
    assert fork.wait(30) and not fork.running
    assert "Stopped at step" in fork.status.value
    fork.close()


def test_what_diverges_is_said(fork: Fork) -> None:
    fork.run(before="off", at=0.5, weight_decay=1e6)
    assert "Diverged: decay on" in fork.status.value
    assert math.isfinite(curve(fork, OFF)[0])


def test_an_error_in_the_run_is_shown_and_raised(fork: Fork, monkeypatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no luck")

    monkeypatch.setattr("wdlab.train.Training.turn", broken)
    with pytest.raises(RuntimeError, match="no luck"):
        fork.run()
    assert "RuntimeError: no luck" in fork.status.value


@pytest.mark.parametrize(
    ("dials", "told"),
    [
        ({"at": 1.5}, "at=1.5 is not allowed"),
        ({"before": "maybe"}, "before='maybe' is unknown"),
        ({"schedule": "rising"}, "schedule='rising' is unknown"),
        ({"weight_decay": 0}, "weight_decay=0 is not allowed in a Fork"),
        ({"step": 3}, "dial='step' is unknown"),
    ],
)
def test_bad_dials_are_refused_and_said(fork: Fork, dials: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        fork.run(**dials)
    assert "is not allowed" in fork.status.value or "is unknown" in fork.status.value
    assert not fork.histories
