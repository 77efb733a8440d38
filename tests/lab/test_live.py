"""What can be done to a run on its way: pause, step, switch its decay, fork it, reset."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from statistics import median

import pytest
import torch

import wdlab
from tests.lab.live import FOREVER, SMALL, running, shaded, side_labels, until, visible
from wdlab.lab import Dials, Lab, worker
from wdlab.train import Training

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def trainings(monkeypatch) -> list[Training]:
    """Every Training that a Lab makes, and every fork of one."""
    made: list[Training] = []

    class Kept(Training):
        def __init__(self, *given: object) -> None:
            super().__init__(*given)
            made.append(self)

        def fork(self) -> Training:
            made.append(super().fork())
            return made[-1]

    monkeypatch.setattr(worker, "Training", Kept)
    return made


def acting(lab: Lab, history: int = -1) -> list[int]:
    """The steps before which a reading says that decay acts."""
    found = lab.histories[history]
    return [step for step, decay in zip(found.steps, found.curves["weight_decay"], strict=True) if decay > 0]


# Pause and step


def test_pause_rests_within_a_step_and_go_on_goes_on(make, trainings) -> None:
    lab = make(steps=FOREVER, block=False)
    lab.run()
    until(lambda: lab.histories)
    lab.desk.pause.click()
    assert lab.wait(20)
    at = trainings[0].step
    assert lab.running and lab.desk.pause.description == "Go on"
    until(lambda: f"Paused at step {at} of" in lab.desk.status.value)
    assert lab.histories[0].steps[-1] == at, "the last point is where it rests"
    time.sleep(0.2)
    assert trainings[0].step == at
    lab.desk.pause.click()
    assert lab.desk.pause.description == "Pause"
    until(lambda: trainings[0].step > at)


def test_a_run_can_be_paused_from_its_beginning_to_a_share(make) -> None:
    lab = make(steps=8)
    lab.run(until=0.5)
    assert lab.running and lab.histories[0].steps[-1] == 4
    lab.resume()
    assert not lab.running and lab.histories[0].steps[-1] == 8
    with pytest.raises(ValueError, match=r"^until=2 is not allowed"):
        lab.run(until=2)


def test_step_takes_one_step_each_with_a_point_of_its_own(make, trainings) -> None:
    lab = make(steps=400, block=False)
    lab.desk.step.click()
    assert lab.wait(20)
    assert trainings[0].step == 1 and lab.running
    for _ in range(3):
        lab.desk.step.click()
    assert lab.wait(20)
    assert lab.histories[0].steps == (0, 1, 2, 3, 4)
    lab.step(2)
    assert lab.wait(20) and trainings[0].step == 6
    lab.desk.pause.click()
    assert lab.wait(60) and not lab.running


def test_step_blocks_where_run_does(make) -> None:
    lab = make()
    lab.step(3)
    assert lab.histories[0].steps == (0, 1, 2, 3)
    with pytest.raises(ValueError, match=r"^steps=0"):
        lab.step(0)
    lab.resume()
    assert lab.histories[0].steps[-1] == 8


def test_pauses_and_steps_change_no_weight(make, trainings) -> None:
    straight, halting = make(steps=30), make(steps=30)
    straight.run()
    halting.run(until=0.2)
    halting.step(5)
    halting.step()
    halting.resume()
    assert torch.equal(trainings[0].weights, trainings[1].weights)


def test_run_is_refused_kindly_while_a_run_rests(make) -> None:
    lab = make(steps=FOREVER, block=False)
    lab.run(until=0.0)
    assert lab.wait(20)
    assert lab.histories[0].steps == (0,)
    lab.desk.run.click()
    assert "press Go on" in lab.desk.status.value
    lab.stop()
    assert lab.wait(20) and not lab.running
    assert "Stopped at step 0" in lab.desk.status.value


def test_stop_ends_a_rest(make) -> None:
    lab = make(steps=FOREVER, block=False)
    lab.run(until=0.0)
    assert lab.wait(20)
    lab.desk.stop.click()
    until(lambda: not lab.running)
    assert lab.desk.pause.disabled and lab.desk.stop.disabled and lab.desk.fork.disabled and lab.desk.decay.disabled


def test_a_resting_lab_that_is_forgotten_takes_its_thread_along() -> None:
    lab = Lab(model=SMALL, steps=FOREVER, device="cpu", block=False)
    lab.run(until=0.0)
    assert lab.wait(20) and running()
    gone = weakref.ref(lab)
    del lab
    until(lambda: gc.collect() >= 0 and gone() is None, pause=0.2)
    until(lambda: not running())


# Decay now


def test_decay_now_acts_within_a_step_and_is_marked(make, monkeypatch) -> None:
    class Switching(Training):
        def advance(self, steps: int = 1, read: bool = False) -> None:
            super().advance(steps, read)
            if self.step == 3:
                lab.desk.decay.value = not lab.desk.decay.value
            if self.step == 4:
                acted.append(self.decay_table[3].item())

    monkeypatch.setattr(worker, "Training", Switching)
    lab = make(steps=8)
    acted: list[float] = []
    lab.run(timing="always")
    assert acted == [0.0], "the next step is the first without decay"
    assert acting(lab) == [0, 1, 2, 3], "when step 3 was read, decay was still to come: then came the switch"
    assert shaded(lab) == [(0, 3 / 8)]
    (mark,) = (mark for mark in lab._curves._panels[0]._marks if mark.get_visible())
    assert mark.get_xdata() == [3 / 8, 3 / 8]
    assert "Step 3: decay off." in lab.alt and side_labels(lab)[0].endswith("always, off at 38%")


def test_a_switched_run_is_the_run_with_that_timing(make, trainings) -> None:
    """Decay off at half time is decay in the first half: the same weights to the last bit."""
    lab, other = make(steps=20), make(steps=20)
    lab.run(timing="always", weight_decay=0.1, until=0.5)
    lab.decay_now(False)
    lab.resume()
    other.run(window=(0.0, 0.5), weight_decay=0.1)
    assert torch.equal(trainings[0].weights, trainings[1].weights)
    lab.run(timing="never", until=0.5)
    lab.decay_now()
    lab.resume()
    other.run(timing="late")
    assert torch.equal(trainings[2].weights, trainings[3].weights)
    assert not torch.equal(trainings[0].weights, trainings[2].weights)


def test_a_switch_is_on_or_off(make) -> None:
    with pytest.raises(ValueError, match=r"^on='off' is not allowed; give True or False"):
        make().decay_now("off")


def test_the_switch_shows_whether_decay_acts_now(make) -> None:
    lab = make(steps=8)
    lab.run(timing="late", until=0.25)
    assert lab.desk.decay.value is False and "off" in lab.desk.decay.description
    lab.step(2)
    assert lab.desk.decay.value is True and "on" in lab.desk.decay.description
    lab.resume()
    assert lab.desk.decay.disabled and lab.desk.decay.description == "Decay now"
    assert lab.histories[-1].curves["weight_decay"][-1] > 0 and shaded(lab) == [(0.5, 1.0)], "showing it turns nothing"


def test_a_press_while_the_run_moves_the_switch_is_not_undone(make) -> None:
    """The test plays the run's thread, which has looked whether decay acts, and is about to show that it does not."""

    def press(_: object, proposal) -> bool:
        if not pressed:
            pressed.append(threading.Thread(target=lab.desk.decay.set_trait, args=("value", True)))
            pressed[0].start()
            pressed[0].join()
        return proposal.value

    lab, pressed = make(steps=8), []
    lab.run(timing="never", until=0.5)
    lab.desk.decay._register_validator(press, ("value",))
    lab._follow()
    lab.resume()
    assert pressed and [event.what for event in lab._trials[-1].events] == ["decay on"]


PRESSES = {
    "decay": lambda lab: lab.desk.decay.set_trait("value", not lab.desk.decay.value),
    "fork": lambda lab: lab.desk.fork.click(),
    "pause": lambda lab: lab.desk.pause.click(),
    "stop": lambda lab: lab.desk.stop.click(),
}


@pytest.mark.parametrize("press", PRESSES)
def test_what_is_pressed_while_a_picture_is_drawn_comes_before_the_next_step(make, trainings, press: str) -> None:
    def pressed(_: object) -> None:
        if trainings and trainings[0].step > 0 and not at:
            at.append(trainings[0].step)
            PRESSES[press](lab)

    at: list[int] = []
    lab = make(steps=FOREVER, block=False)
    lab.desk.image.observe(pressed, "value")
    lab.run()
    until(lambda: at)
    if press in ("decay", "fork"):
        until(lambda: lab._trials[-1].events)
        assert [event.step for event in lab._trials[-1].events] == at
    else:
        assert lab.wait(20) and trainings[0].step == at[0]


def test_what_needs_a_run_says_so_without_one(make) -> None:
    lab = make()
    for do in (lab.decay_now, lab.fork, lab.pause, lab.resume):
        do()
        assert "press Run first" in lab.desk.status.value


# Fork


def test_a_fork_goes_on_from_the_same_bits(make, trainings) -> None:
    lab = make(steps=20)
    lab.run(timing="always", weight_decay=0.1, until=0.5)
    lab.fork(timing="never")
    lab.resume()
    first, second = lab.histories
    at = first.steps.index(10)
    for name in ("weight_norm", "test_error", "test_loss"):
        assert first.curves[name][: at + 1] == second.curves[name][: at + 1]
    alone, other = make(steps=20), make(steps=20)
    alone.run(timing="always", weight_decay=0.1)
    other.run(window=(0, 0.5), weight_decay=0.1)
    original, copy, whole, half = trainings
    assert torch.equal(original.weights, whole.weights), "the run that was forked hears nothing of it"
    assert torch.equal(copy.weights, half.weights)
    assert sorted(label.split("  ")[-1] for label in side_labels(lab)) == ["always", "never, fork at 50%"]
    long, short = (line.get_xdata() for line in visible(lab))
    assert long[0] == 0 and short[0] == 0.5, "what came before belongs to the run that was forked"


@pytest.mark.parametrize(
    ("dials", "curve", "expected"),
    [
        ({"weight_decay": 0.03}, "weight_decay", 0.03),
        ({"lr": 0.05, "schedule": "constant"}, "lr", 0.05),
        ({"timing": "never"}, "weight_decay", 0.0),
        ({"lr": 0.2}, "lr", 0.2 * 0.002 ** (15 / 16)),
    ],
)
def test_both_branches_go_on_under_their_own_dials(make, dials, curve: str, expected: float) -> None:
    lab = make(steps=16)
    lab.run(timing="always", until=0.25)
    for name, value in dials.items():
        lab.panel.controls[name].value = value
    lab.desk.fork.click()
    lab.resume()
    first, second = (history.curves[curve] for history in lab.histories)
    assert first[:4] == second[:4] and first[-1] != second[-1]
    assert second[-1] == pytest.approx(expected)


def test_a_fork_under_another_coupling(make, trainings) -> None:
    lab, other = make(steps=16, show="all"), make(steps=16)
    lab.run(optimizer="adam", timing="never", until=0.5)
    lab.fork(timing="late", coupling="own_buffers")
    lab.resume()
    other.run(optimizer="adam", timing="late", coupling="own_buffers")
    assert torch.equal(trainings[1].weights, trainings[2].weights)
    assert not torch.equal(trainings[0].weights, trainings[1].weights)


def test_a_fork_under_the_same_dials_has_its_decay_switched(make) -> None:
    lab = make(steps=8)
    lab.run(timing="always", until=0.5)
    lab.desk.fork.click()
    assert lab.wait(20) and "forked, decay off" in lab.desk.words.value, "seen at once, while the run rests"
    lab.resume()
    assert acting(lab, 0)[-1] == 8 and acting(lab, 1)[-1] == 4
    assert "forked, decay off" in lab.alt and "always, off at 50%" in side_labels(lab)[1]


def test_a_switched_run_stays_switched_in_a_fork_that_turns_something_else(make) -> None:
    lab = make(steps=16)
    lab.run(timing="always", until=0.25)
    lab.decay_now(False)
    lab.fork(weight_decay=0.05)
    lab.resume()
    assert acting(lab, 0)[-1] == acting(lab, 1)[-1] == 4
    lab.run(timing="never", weight_decay=0.01, until=0.25)
    lab.decay_now()
    lab.fork(weight_decay=0.05)
    lab.resume()
    assert [history.curves["weight_decay"][-1] for history in lab.histories[-2:]] == pytest.approx([0.01, 0.05])


def test_the_switch_acts_on_the_fork(make) -> None:
    lab = make(steps=16)
    lab.run(timing="always", until=0.25)
    lab.fork(lr=0.05)
    lab.step(2)
    lab.decay_now(False)
    lab.resume()
    assert acting(lab, 0)[-1] == 16 and acting(lab, 1)[-1] == 6


def test_a_fork_during_training_is_a_fork(make, trainings) -> None:
    lab = make(steps=FOREVER, block=False)
    lab.run()
    until(lambda: lab.histories)
    lab.fork(timing="never")
    until(lambda: len(trainings) == 2 and len(lab.histories) == 2)
    until(lambda: lab.histories[1].steps[-1] > trainings[1].rows[0][0])
    lab.stop()
    assert lab.wait(20)
    assert trainings[0].step == trainings[1].step
    assert not torch.equal(trainings[0].weights, trainings[1].weights)


def test_what_a_fork_cannot_turn_is_refused_kindly(make) -> None:
    lab = make(steps=40)
    lab.run(until=0.5)
    lab.fork(seed=3)
    assert "keeps the run&#x27;s seed" in lab.desk.status.value and len(lab.histories) == 1
    lab.dials = Dials()
    for _ in range(5):
        lab.fork()
    lab.step()
    assert len(lab.histories) == 4 and "At most 4 branches" in lab.desk.status.value
    with pytest.raises(ValueError, match="lr=-1"):
        lab.fork(lr=-1)


def test_forks_find_a_place_among_many_runs(make) -> None:
    lab = make(steps=4)
    for seed in range(8):
        lab.run(seed=seed)
    lab.run(until=0.5)
    for _ in range(3):
        lab.fork()
        lab.step()
    assert len(lab.histories) == 7 and len({trial.look for trial in lab._trials}) == 7
    assert len(lab.table) == 12


def test_no_two_lines_of_forked_runs_differ_in_colour_alone(make) -> None:
    """Nor do those of earlier runs, nor the dotted ones."""
    lab = make(steps=8, curves=("weight_norm", "step_parts"))
    for seed in (1, 2, 3):
        lab.run(optimizer="adam", coupling="decoupled", seed=seed)
    lab.run(seed=4, until=0.25)
    for dials in ({"weight_decay": 0.1}, {"lr": 0.003}, {"timing": "never"}):
        lab.fork(**dials)
        lab.step()
    lab.resume()
    assert len(lab._trials) == 7 and sum(trial.fresh for trial in lab._trials) == 4
    for panel, count in zip(lab._curves._panels, (7, 14), strict=True):
        drawn = [line for pen in panel._pens for line in (pen.line, pen.second)]
        drawn = [line for line in drawn if line.get_visible() and len(line.get_xdata())]
        looks = {(str(line._unscaled_dash_pattern), line.get_linewidth()) for line in drawn}
        assert len(drawn) == len(looks) == count
        assert len({line.get_linewidth() for line in drawn}) == 2 * count // 7, "bold is what goes on"


# Seeds


def test_seeds_train_as_members_and_are_drawn_as_a_band(make, trainings) -> None:
    lab = make(steps=8, show=("seeds",))
    lab.panel.controls["seeds"].value = 3
    lab.desk.run.click()
    assert lab.wait(60)
    assert len(trainings) == 1 and [history.run.seed for history in lab.histories] == [0, 1, 2]
    errors = [history.curves["test_error"][-1] for history in lab.histories]
    (line,) = visible(lab)
    assert line.get_ydata()[-1] == pytest.approx(sum(errors) / 3)
    pen = lab._curves._panels[0]._pens[0]
    ends = [y for x, y in pen.band.get_paths()[0].vertices.tolist() if x == 1.0]
    assert (min(ends), max(ends)) == pytest.approx((min(errors), max(errors)))
    assert "3 seeds" in lab.desk.status.value


def test_seeds_are_switched_and_forked_together(make) -> None:
    lab = make(steps=8)
    lab.run(timing="always", seeds=2, until=0.5)
    lab.fork(timing="never")
    lab.resume()
    assert [history.curves["weight_decay"][-1] > 0 for history in lab.histories] == [True, True, False, False]


# Reset


def test_reset_forgets_runs_and_turns_the_dials_back(make) -> None:
    lab = make(steps=FOREVER, block=False)
    lab.run(timing="early", weight_decay=0.1)
    until(lambda: lab.histories)
    lab.desk.reset.click()
    assert not lab.running and lab.histories == () and visible(lab) == [] and len(lab.table) == 0
    assert lab.dials == Dials() and lab.panel.controls["timing"].value == "always"
    assert lab.desk.progress.value == 0 and lab.desk.stop.disabled
    until(lambda: not running())
    assert lab.histories == () and "press Run" in lab.desk.status.value, "the old run is not heard any more"
    lab.run()
    until(lambda: lab.histories)


# Promptness


def test_the_widgets_answer_while_a_run_goes_on(make, pixels, record_property) -> None:
    make().run()
    lab = make(model=wdlab.Model(), steps=FOREVER, block=False)
    lab.run()
    until(lambda: lab.histories)
    spent, worked = [], []
    for value in ("never", "early", "always"):
        start, work = time.monotonic(), time.process_time()
        lab.panel.controls["timing"].value = value
        lab.desk.decay.value = not lab.desk.decay.value
        spent.append(time.monotonic() - start)
        worked.append(time.process_time() - work)
    record_property("a dial answers", f"{max(spent):.2f} s at the latest while a run goes on")
    assert max(worked) < 0.3, "that of the run, which goes on meanwhile, included"
    assert max(spent) < 1.0


def test_many_steps_by_hand_are_at_most_five_pictures_a_second(make, pixels, trainings) -> None:
    make().run()
    lab = make(steps=400, block=False)
    frames = []
    lab.desk.image.observe(lambda _: frames.append(time.monotonic()), "value")
    start = time.monotonic()
    for _ in range(40):
        lab.desk.step.click()
        time.sleep(0.02)
    assert lab.wait(20)
    assert trainings[-1].step == 40 and lab.histories[-1].steps[-1] == 40
    assert len(frames) <= 5 * (time.monotonic() - start) + 1


def test_a_slow_run_is_read_in_between(make, pixels, monkeypatch, record_property) -> None:
    """Here every step takes 0.02 s, and the run asks for a reading every 1000.

    How far curves are behind is told, not asserted, for other programs may take any time from this one: that they are
    never more than a second behind is a matter of the worker's own reckoning, see test_worker.
    """

    class Slow(Training):
        def advance(self, steps: int = 1, read: bool = False) -> None:
            super().advance(steps, read)
            times[self.step] = time.monotonic()
            time.sleep(0.02)

    times = {0: time.monotonic()}
    monkeypatch.setattr(worker, "Training", Slow)
    lab = make(steps=40_000, block=False)
    lab.run()
    until(lambda: lab.histories)
    behind = []
    end = time.monotonic() + 3
    while time.monotonic() < end:
        last = lab.histories[0].steps[-1]
        behind.append(time.monotonic() - times[last + 1] if last + 1 in times else 0.0)
        time.sleep(0.05)
    behind.sort()
    record_property("curves behind", f"{behind[-1]:.2f} s at most, {median(behind):.2f} s in the median (at most 1 s)")
    until(lambda: len(lab.histories[0].steps) > 2, 60)
    assert lab.histories[0].steps[2] < 1000


def test_a_blocking_run_is_read_where_it_asks_for_it_and_nowhere_else(make, monkeypatch) -> None:
    """Nobody waits for a picture there, and what notebooks print must not depend on the machine."""

    class Slow(Training):
        def advance(self, steps: int = 1, read: bool = False) -> None:
            super().advance(steps, read)
            time.sleep(0.03)

    monkeypatch.setattr(worker, "Training", Slow)
    lab = make(steps=80)
    lab.run()
    assert lab.histories[0].steps == tuple(range(0, 81, 2))


def test_an_order_that_fails_is_shown_like_any_error(make, monkeypatch) -> None:
    lab = make(steps=8)
    lab.run(until=0.5)
    monkeypatch.setattr(Training, "turn", lambda *_, **__: 1 / 0)
    lab.decay_now(False)
    lab.wait(20)
    until(lambda: not lab.running)
    assert "ZeroDivisionError" in lab.desk.status.value
    assert threading.active_count() >= 1 and not running()
