from __future__ import annotations

import base64
import gc
import math
import os
import subprocess
import sys
import time
import weakref
from html import escape

import pytest
from ipywidgets import Widget

import wdlab
from tests.lab.live import FOREVER, SMALL, running, shaded, side_labels, until, visible
from wdlab.lab import Dials, Lab, curves, worker
from wdlab.lab.controls import VIEW
from wdlab.lab.curves import BOLD, FAINT
from wdlab.lab.dials import PRESETS
from wdlab.lab.lab import EARLIER
from wdlab.train import Training

pytestmark = pytest.mark.usefixtures("quick")


# One run


def test_a_run_draws_what_it_measured(make) -> None:
    lab = make()
    lab.run(timing="early", weight_decay=0.02, lr=0.05)
    (history,) = lab.histories
    assert history.steps == tuple(range(9))
    for panel, name in enumerate(("test_error", "weight_norm", "effective_lr")):
        (line,) = visible(lab, panel)
        assert tuple(line.get_ydata()) == history.curves[name]
        assert list(line.get_xdata()) == [step / 8 for step in history.steps]
    assert lab.figure.axes[2].get_yscale() == "log"
    assert f"test error {history.curves['test_error'][-1]:.1%}" in lab.alt
    assert lab.alt in lab.desk.words.value
    assert lab.desk.status.value.count("Done: early, λ 0.02, lr 0.05")
    assert (lab.desk.progress.value, lab.desk.progress.max) == (8, 8)


def test_a_run_equals_the_librarys_own(make) -> None:
    lab = make(seed=3)
    lab.run(timing="late", weight_decay=0.1)
    training = Training([lab.histories[0].run], "cpu")
    training.advance(8)
    (mine,), (other,) = lab.histories, training.histories()
    assert mine.steps == other.steps
    assert all(mine.curves[name][1:] == other.curves[name][1:] for name in mine.curves)  # the first loss is nan


def test_the_buttons_run_and_return_at_once(make, pixels) -> None:
    lab = make(steps=FOREVER, block=False)
    start = time.monotonic()
    lab.desk.run.click()
    assert time.monotonic() - start < 0.5
    assert lab.running
    assert not lab.desk.stop.disabled
    until(lambda: visible(lab))
    start = time.monotonic()
    lab.desk.stop.click()
    assert time.monotonic() - start < 0.5
    assert lab.wait(20)
    assert not lab.running
    assert lab.desk.stop.disabled
    assert f"Stopped at step {lab.desk.progress.value} of {FOREVER}" in lab.desk.status.value


def test_stop_acts_within_a_step(make, monkeypatch) -> None:
    seen = []

    class Stopping(Training):
        def advance(self, steps: int = 1, read: bool = False) -> None:
            super().advance(steps, read)
            seen.append(self.step)
            if self.step == 5:
                lab.desk.stop.click()

    monkeypatch.setattr(worker, "Training", Stopping)
    lab = make()
    lab.run()
    assert seen == [1, 2, 3, 4, 5]
    assert lab.histories[0].steps == (0, 1, 2, 3, 4, 5)
    assert "Stopped at step 5 of 8" in lab.desk.status.value


def test_a_stop_before_the_first_step_is_heard(make, monkeypatch) -> None:
    class Late(Training):
        def __init__(self, *given: object) -> None:
            lab.stop()
            super().__init__(*given)

    monkeypatch.setattr(worker, "Training", Late)
    lab = make()
    lab.run()
    assert lab.histories[0].steps == (0,)


def test_a_second_run_is_refused_kindly(make) -> None:
    lab = make(steps=FOREVER, block=False)
    lab.desk.run.click()
    first = running()
    lab.desk.run.click()
    assert "One run at a time" in lab.desk.status.value
    until(lambda: "Step" in lab.desk.status.value)
    assert "One run at a time" in lab.desk.status.value  # it is not gone with the next frame
    lab.run(timing="never")
    assert lab.dials.timing == "always"
    assert running() == first
    lab.stop()
    assert lab.wait(20)
    lab.desk.run.click()
    until(lambda: len(lab.histories) == 2)


def test_the_first_picture_comes_soon_and_pictures_come_at_most_five_a_second(make, pixels, record_property) -> None:
    """Work is counted in seconds of this process, which a busy machine does not lengthen; the clock's are printed."""
    make().run()  # data and caches are warm, as after a notebook's set-up cell
    lab = make(model=wdlab.Model(), steps=2000, block=False)
    frames = []
    lab.desk.image.observe(lambda _: frames.append((time.monotonic(), len(visible(lab)), time.process_time())), "value")
    start, work = time.monotonic(), time.process_time()
    lab.desk.run.click()
    until(lambda: len(frames) > 2)
    time.sleep(0.7)
    lab.stop()
    lab.wait()
    spent = time.monotonic() - start
    first, worked = next((at - start, done - work) for at, lines, done in frames if lines)
    record_property("first picture", f"{first:.2f} s after Run, {worked:.2f} s of work (at most 1 s)")
    assert worked + worker.FRAME < 1.0, "what it works and what it may wait are 1 s where nothing else is to be done"
    assert len(frames) <= 5 * spent + 1


def test_an_exception_is_shown_escaped_and_the_lab_lives_on(make, monkeypatch) -> None:
    class Broken(Training):
        def advance(self, steps: int = 1, read: bool = False) -> None:
            raise RuntimeError("no <b>luck</b>")

    lab = make()
    with monkeypatch.context() as patch:
        patch.setattr(worker, "Training", Broken)
        with pytest.raises(RuntimeError, match="no <b>luck"):
            lab.run()
    assert "RuntimeError: no &lt;b&gt;luck&lt;/b&gt;" in lab.desk.status.value
    lab.run()
    assert "Done" in lab.desk.status.value


def test_an_exception_in_a_live_notebook_is_shown_and_not_raised(make, monkeypatch) -> None:
    monkeypatch.setattr(worker, "Training", lambda *_: 1 / 0)
    lab = make(block=False)
    lab.run()
    lab.wait()
    assert "ZeroDivisionError: division by zero" in lab.desk.status.value
    assert lab.histories == ()


def test_divergence_ends_the_run_and_is_said(make, pixels) -> None:
    lab = make(steps=3000, model=wdlab.Model(width=4, depth=2, norm=False))
    lab.run(lr=1e30)
    assert lab.histories[0].diverged_at is not None
    assert lab.histories[0].steps[-1] < 3000
    assert f"Diverged at step {lab.histories[0].diverged_at}" in lab.desk.status.value
    assert "diverged" in lab.alt


# Dials


def test_the_toggle_sets_the_window_the_run_and_the_shading(make) -> None:
    lab = make()
    for timing, preset in PRESETS.items():
        lab.clear()
        lab.panel.controls["timing"].value = timing
        assert lab.panel.controls["window"].value == (preset.start, preset.stop)
        expected = [(preset.start, preset.stop)] if timing != "never" else []
        assert shaded(lab) == expected  # seen before the run ...
        lab.run()
        assert shaded(lab) == expected  # ... and in it
        assert lab.histories[0].run.decay.timing == preset


def test_the_window_slider_turns_the_timing_and_the_actual_decay(make) -> None:
    lab = make()
    norms = []
    for window in ((0.0, 0.5), (0.5, 1.0)):
        lab.panel.controls["window"].value = window
        assert lab.panel.controls["timing"].value == "own window"
        lab.desk.run.click()
        lab.wait()
        history = lab.histories[-1]
        assert history.run.decay.timing == wdlab.Timing.window(*window)
        decayed = [
            step for step, decay in zip(history.steps[:-1], history.curves["weight_decay"], strict=False) if decay
        ]
        assert decayed == list(range(int(window[0] * 8), int(window[1] * 8)))
        assert shaded(lab) == [window]
        norms.append(history.curves["weight_norm"])
    assert norms[0] != norms[1]


def test_the_own_window_is_remembered(make) -> None:
    lab = make()
    lab.panel.controls["window"].value = (0.1, 0.3)
    lab.panel.controls["timing"].value = "late"
    assert lab.panel.controls["window"].value == (0.5, 1.0)
    lab.panel.controls["timing"].value = "own window"
    assert lab.panel.controls["window"].value == (0.1, 0.3)


def test_every_timing_and_dial_changes_the_weights(make) -> None:
    lab = make(steps=16)
    settings = [{"timing": name} for name in PRESETS] + [{"window": (0.25, 0.5)}]
    settings += [{"timing": "always", "weight_decay": 0.1}, {"timing": "always", "lr": 0.2}, {"seed": 1}]
    norms = set()
    for dials in settings:
        lab.run(**dials)
        norms.add(lab.histories[-1].curves["weight_norm"][-1])
    assert len(norms) == len(settings)


def test_sliders_turn_lambda_and_lr(make) -> None:
    lab = make()
    lab.panel.controls["weight_decay"].value, lab.panel.controls["lr"].value = 10**-2.75, 10**-0.25
    assert (lab.dials.weight_decay, lab.dials.lr) == (0.0018, 0.56)  # as the readouts say
    lab.run()
    assert (lab.histories[0].run.decay.strength, lab.histories[0].run.optimizer.lr) == (0.0018, 0.56)


def test_dials_given_by_code_move_the_widgets_even_past_their_ends(make) -> None:
    lab = make()
    lab.run(timing="late", weight_decay=2.0, lr=0.0005)
    assert (
        lab.panel.controls["timing"].value,
        lab.panel.controls["weight_decay"].value,
        lab.panel.controls["lr"].value,
    ) == ("late", 2.0, 0.0005)
    assert lab.histories[0].run.decay.strength == 2.0


def test_dials_turned_during_a_run_wait_for_the_next(make) -> None:
    lab = make(steps=FOREVER, block=False)
    lab.run(timing="early")
    lab.panel.controls["timing"].value = "never"
    until(lambda: "next run" in lab.desk.status.value and lab.histories)
    assert lab.histories[0].run.decay.timing == PRESETS["early"]
    assert shaded(lab) == [(0, 0.25)]


def test_bad_values_are_refused_where_the_learner_looks(make) -> None:
    lab = make()
    for dials in ({"lr": 0}, {"weight_decay": -1}, {"weight_decay": 0}, {"timing": "<i>"}, {"x": 1}):
        with pytest.raises(ValueError, match=r"is not allowed|is unknown") as caught:
            lab.run(**dials)
        assert escape(str(caught.value)) in lab.desk.status.value
        assert "<i>" not in lab.desk.status.value
        assert lab.dials == Dials()
    assert lab.histories == ()


def test_an_interrupt_while_waiting_stops_the_run(make, monkeypatch) -> None:
    def interrupt(*_: object) -> bool:
        raise KeyboardInterrupt

    lab = make(steps=FOREVER, block=False)
    lab.run()
    with monkeypatch.context() as patch:
        patch.setattr(worker.Worker, "rest", interrupt)
        with pytest.raises(KeyboardInterrupt):
            lab.wait()
    assert lab.wait(20)
    assert "Stopped" in lab.desk.status.value


def test_a_picture_that_cannot_be_drawn_is_an_error_like_any_other(make, monkeypatch) -> None:
    lab = make(block=False)
    monkeypatch.setattr(curves.Curves, "show", lambda *_: 1 / 0)
    lab.run()
    assert lab.wait(20)
    assert not lab.running
    assert "ZeroDivisionError" in lab.desk.status.value


@pytest.mark.parametrize(
    "options", [{"task": "mnist"}, {"show": ["couplings"]}, {"steps": 0}, {"seed": -1}, {"device": "abacus"}]
)
def test_a_lab_that_cannot_be_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(options))}="):
        Lab(**options)


def test_only_the_chosen_dials_are_shown(make) -> None:
    def inside(widget: Widget) -> set[Widget]:
        return {widget}.union(*(inside(child) for child in getattr(widget, "children", ())))

    lab = make(show=["lr"])
    assert lab.panel.controls["lr"] in inside(lab.desk.root)
    assert not {
        lab.panel.controls["timing"],
        lab.panel.controls["window"],
        lab.panel.controls["weight_decay"],
    } & inside(lab.desk.root)
    every = make()
    assert {
        every.panel.controls["timing"],
        every.panel.controls["window"],
        every.panel.controls["weight_decay"],
        every.panel.controls["lr"],
        every.desk.stop,
    } <= inside(every.desk.root)


# Earlier runs


def test_earlier_runs_stay_faint_labelled_and_capped(make) -> None:
    lab = make(steps=2)
    for seed in range(EARLIER + 3):
        lab.run(seed=seed)
    assert [history.run.seed for history in lab.histories] == list(range(2, EARLIER + 3))
    for panel in range(3):
        lines = visible(lab, panel)
        assert sorted(line.get_linewidth() for line in lines) == [FAINT] * EARLIER + [BOLD]
        assert len({line.get_color() for line in lines}) == EARLIER + 1
    labels = side_labels(lab)
    assert sorted(label.split("  ")[1] for label in labels) == [f"seed {seed}" for seed in range(2, EARLIER + 3)]


def test_a_run_keeps_its_colour(make) -> None:
    lab = make(steps=2)
    lab.run(timing="never")
    (before,) = visible(lab)
    colour = before.get_color()
    lab.run(timing="always")
    same = [line for line in visible(lab) if line.get_color() == colour]
    assert tuple(same[0].get_ydata()) == lab.histories[0].curves["test_error"]
    assert same[0].get_linewidth() == FAINT


def test_labels_hold_the_last_value(make) -> None:
    lab = make()
    lab.run(timing="never")
    lab.run(timing="early")
    for history, name in zip(lab.histories, ("never", "early"), strict=True):
        assert f"{history.curves['test_error'][-1]:.1%}  {name}" in side_labels(lab, 0)
        assert f"{history.curves['weight_norm'][-1]:.1f}  {name}" in side_labels(lab, 1)


def test_clear_takes_earlier_runs_away_but_not_the_one_that_goes_on(make) -> None:
    lab = make()
    lab.run()
    lab.desk.clear.click()
    assert (lab.histories, visible(lab)) == ((), [])
    lab.run()
    endless = make(steps=FOREVER, block=False)
    endless._trials = list(lab._trials)
    endless.run()
    until(lambda: len(endless.histories) == 2)
    endless.desk.clear.click()
    assert len(endless.histories) == 1
    assert endless.running


# Headless, display, and the end


def test_headless_runs_block(make, monkeypatch) -> None:
    monkeypatch.setenv("WDLAB_HEADLESS", "1")
    lab = make(block=None)
    lab.run()
    assert not lab.running
    assert lab.histories[0].steps[-1] == 8
    monkeypatch.delenv("WDLAB_HEADLESS")
    live = make(block=None, steps=FOREVER)
    live.run()
    assert live.running


def test_a_cell_keeps_view_picture_and_words(make, pixels) -> None:
    lab = make()
    lab.run()
    stored = lab._repr_mimebundle_()
    assert stored[VIEW] == {"version_major": 2, "version_minor": 0, "model_id": lab.desk.root.model_id}
    assert base64.b64decode(stored["image/png"]) == bytes(lab.desk.image.value)
    assert bytes(lab.desk.image.value).startswith(b"\x89PNG")
    assert stored["text/plain"] == lab.alt


def test_a_headless_cell_keeps_the_last_picture(make, monkeypatch, pixels) -> None:
    class Handle:
        def update(self, bundle: dict[str, object], raw: bool) -> None:
            shown.append(bundle)

    def display(bundle: dict[str, object], **_: object) -> Handle:
        shown.append(bundle)
        return Handle()

    shown: list[dict[str, object]] = []
    monkeypatch.setattr("IPython.display.display", display)
    lab = make()
    lab._ipython_display_()
    lab.run()
    assert [bundle["text/plain"] for bundle in shown] == [shown[0]["text/plain"], lab.alt]
    assert shown[0]["image/png"] != shown[1]["image/png"]


def test_close_ends_the_run_and_the_widgets(make) -> None:
    before = len(live_widgets())
    lab = make(steps=FOREVER, block=False)
    lab.run()
    until(lambda: lab.histories)
    lab.close()
    assert running() == []
    assert len(live_widgets()) == before
    lab.close()  # once more does no harm
    with pytest.raises(RuntimeError, match="closed"):
        lab.run()


def live_widgets() -> dict:
    from ipywidgets.widgets import widget

    found = getattr(widget, "_instances", None)  # ipywidgets 8; it may be empty
    return Widget.widgets if found is None else found


def test_a_forgotten_lab_takes_its_thread_along() -> None:
    lab = Lab(model=SMALL, steps=FOREVER, device="cpu", block=False)
    lab.run()
    assert running()
    gone = weakref.ref(lab)
    del lab
    until(lambda: gc.collect() >= 0 and gone() is None, pause=0.2)  # between collections its thread must get on
    until(lambda: not running())


def test_a_lab_shown_in_a_cell_is_kept_alive(make) -> None:
    lab = Lab(model=SMALL, steps=8, device="cpu")
    lab._repr_mimebundle_()
    kept = weakref.ref(lab)
    del lab
    gc.collect()
    assert kept() is not None
    kept().close()
    gc.collect()
    assert kept() is None


SCRIPT = """
import sys, threading, time
from wdlab.lab import Lab
lab = Lab(steps=200000, device="cpu", block=False)
lab.run()
while not lab.histories: time.sleep(0.01)
assert not any(name.startswith("matplotlib.pyplot") for name in sys.modules), "pyplot"
"""


def test_python_ends_cleanly_in_the_middle_of_a_run() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, env=os.environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Dials of the data


DATA_DIALS = ("schedule", "label_noise", "train_size", "augment")


def test_the_dials_of_the_data_turn_the_run(make) -> None:
    lab = make(show=DATA_DIALS)
    assert (lab.dials.label_noise, lab.dials.train_size, lab.dials.augment) == (0, 4000, False)
    lab.panel.controls["label_noise"].value, lab.panel.controls["train_size"].value = 0.5, 500
    lab.panel.controls["augment"].value, lab.panel.controls["schedule"].value = True, "constant"
    assert "Next run: always, λ 0.01, lr 0.1, constant, noise 0.5, 500 examples, augmented" in lab.desk.status.value
    lab.desk.run.click()
    lab.wait()
    run = lab.histories[0].run
    assert (run.task.label_noise, run.task.train_size) == (0.5, 500)
    assert run.task.augment == ("shift", "scale", "noise")
    assert run.schedule == wdlab.Schedule("constant")
    assert len({curve for curve in lab.histories[0].curves["lr"]}) == 1


def test_every_data_dial_changes_the_weights_and_steps_stay(make) -> None:
    lab = make(steps=12, show=DATA_DIALS)
    changes = [{}, {"label_noise": 0.5}, {"train_size": 250}, {"augment": True}, {"schedule": "constant"}]
    for change in changes:
        usual = {"label_noise": 0.0, "train_size": 4000, "augment": False, "schedule": "falls to 0.2%"}
        lab.run(**usual | change)
    norms = [history.curves["weight_norm"] for history in lab.histories]
    assert len({norm[0] for norm in norms}) == 1
    assert len({norm[-1] for norm in norms}) == len(changes)
    assert {history.steps[-1] for history in lab.histories} == {12}
    assert sorted(label.split("  ")[-1] for label in side_labels(lab, 0))  # all can be named


def test_data_dials_given_by_code_move_the_widgets(make) -> None:
    lab = make(show=DATA_DIALS)
    lab.run(label_noise=0.25, train_size=3000, schedule="falls to 5%", augment=True)
    assert (lab.panel.controls["label_noise"].value, lab.panel.controls["train_size"].value) == (0.25, 3000)
    assert (lab.panel.controls["schedule"].value, lab.panel.controls["augment"].value) == ("falls to 5%", True)
    assert ("3,000", 3000) in lab.panel.controls["train_size"].options


def test_data_dials_start_where_the_task_is(make) -> None:
    task = wdlab.Vision(label_noise=0.25, train_size=1500, augment=("shift",))
    lab = make(task=task, show=("label_noise", "train_size"))
    assert (lab.panel.controls["label_noise"].value, lab.panel.controls["train_size"].value) == (0.25, 1500)
    lab.run()
    assert lab.histories[0].run.task == task  # what is not shown stays as it is
    plain = make(task=task)
    plain.run()
    assert plain.histories[0].run.task == task


def test_more_examples_than_a_source_has_are_refused_in_the_status_line(make) -> None:
    lab = make(task="fashion", show=("train_size",), block=False)
    lab.run(train_size=5000)
    lab.wait()
    assert "train_size=5000 is not allowed" in lab.desk.status.value
    with pytest.raises(ValueError, match=r"label_noise=2 is not allowed"):
        lab.run(label_noise=2)
    with pytest.raises(ValueError, match=r"batch_size=128 is not allowed"):
        lab.run(train_size=100)
    assert lab.dials.train_size == 5000


def test_other_curves_can_be_asked_for(make, pixels) -> None:
    lab = make(curves=("weight_norm", "train_loss", "test_error"))
    assert "Three empty panels: weight norm, training loss, test error." in lab.alt
    lab.run()
    (history,) = lab.histories
    for panel, name in enumerate(lab.curves):
        (line,) = visible(lab, panel)
        measured = [value for value in history.curves[name] if math.isfinite(value)]  # the first loss is nan
        assert list(line.get_ydata()) == measured
    assert f"training loss {history.curves['train_loss'][-1]:.2f}" in lab.alt
    for wrong in ((), ("weight_norm", "weight_norm"), ("weight_norm", "train_loss", "loss")):
        with pytest.raises(ValueError, match=r"^curves="):
            Lab(curves=wrong)
