from __future__ import annotations

import pytest
import torch

import wdlab
from wdlab.lab.dials import OWN, PRESETS, TIMINGS, Dials, labels
from wdlab.tasks import TASKS


def test_the_presets_are_the_papers_timings() -> None:
    early, late = wdlab.Timing.first(0.25), wdlab.Timing.after(0.5)
    expected = {"never": wdlab.Timing.never(), "always": wdlab.Timing.always(), "early": early, "late": late}
    assert expected == PRESETS
    assert set(TIMINGS) == {*PRESETS, OWN}


def test_dials_make_the_run_they_say() -> None:
    dials = Dials(OWN, (0.2, 0.6), weight_decay=0.02, lr=0.3, seed=4)
    (run,) = dials.runs(TASKS["mnist1d"], wdlab.Model(width=8), steps=10, evaluations=5)
    assert (run.decay.strength, run.optimizer.lr, run.seed, run.steps, run.evaluations) == (0.02, 0.3, 4, 10, 5)
    assert torch.equal(run.decay.timing.table(10), wdlab.Timing.window(0.2, 0.6).table(10))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lr": -1}, "lr=-1 is not allowed"),
        ({"lr": float("nan")}, "lr=nan is not allowed"),
        ({"weight_decay": -0.1}, "weight_decay=-0.1 is not allowed"),
        ({"timing": "erly"}, "timing='erly' is unknown; did you mean 'early'"),
        ({"window": (0.5, 0.2)}, "stop=0.2 is before start=0.5"),
        ({"window": (0, 2)}, r"stop=2 is not allowed; give a finite number in \[0, 1\]"),
        ({"window": 0.5}, "window=0.5 is not allowed; give two fractions"),
        ({"window": (0, 0.5, 1)}, "give two fractions"),
        ({"timing": wdlab.Timing.cyclical()}, "the Lab's dial is one window"),
        ({"weight_deca": 1}, "dial='weight_deca' is unknown; did you mean 'weight_decay'"),
        ({"seed": 1.5}, "seed=1.5 is not allowed"),
    ],
)
def test_what_is_not_allowed_is_refused_in_the_librarys_words(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Dials().turned(**changes)


def test_a_timing_may_be_given_as_a_value() -> None:
    assert Dials().turned(timing=wdlab.Timing.first(0.25)).timing == "early"
    turned = Dials().turned(timing=wdlab.Timing.first(0.1))
    assert (turned.timing, turned.window) == (OWN, (0.0, 0.1))


def test_a_window_selects_the_own_window_unless_told_otherwise() -> None:
    assert Dials("never").turned(window=[0.1, 0.2]).timing == OWN
    assert Dials("never").turned(window=(0.1, 0.2), timing="late").timing == "late"


@pytest.mark.parametrize(
    ("dials", "expected"),
    [
        ([], []),
        ([Dials("early")], ["early"]),
        ([Dials("early"), Dials("early")], ["early", "early"]),
        ([Dials("never"), Dials(OWN, (0.2, 0.45))], ["never", "20–45%"]),
        ([Dials(lr=0.1), Dials(lr=0.056)], ["lr 0.1", "lr 0.056"]),
        ([Dials(weight_decay=0.01), Dials(weight_decay=0.1)], ["λ 0.01", "λ 0.1"]),
        ([Dials(seed=0), Dials(seed=1)], ["seed 0", "seed 1"]),
        ([Dials("early"), Dials("late", lr=1.0)], ["early, lr 0.1", "late, lr 1"]),
        ([Dials(OWN, (0.5, 0.5)), Dials("late")], ["never", "late"]),
        # lambda says nothing about a run without decay, whatever its dial stands at
        ([Dials("never", weight_decay=0.1), Dials("late")], ["never", "late"]),
        (
            [Dials("never", weight_decay=0.1), Dials("late"), Dials("late", weight_decay=0.1)],
            ["never", "late, λ 0.01", "late, λ 0.1"],
        ),
    ],
)
def test_a_label_says_only_what_differs(dials: list[Dials], expected: list[str]) -> None:
    assert labels(dials) == expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schedule": "constnat"}, "schedule='constnat' is unknown; did you mean 'constant'"),
        ({"label_noise": 1.5}, "label_noise=1.5 is not allowed"),
        ({"train_size": 0}, "train_size=0 is not allowed"),
        ({"augment": "shift"}, "augment='shift' is not allowed"),
    ],
)
def test_data_dials_are_checked(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Dials().turned(**changes)


def test_data_dials_turn_the_task_and_nothing_else() -> None:
    task = wdlab.Vision(label_noise=0.1, train_size=3000, augment=("noise",))
    assert Dials().turn(task) == task
    turned = Dials(label_noise=0.0, train_size=500, augment=False).turn(task)
    assert turned == wdlab.Vision(train_size=500)
    assert Dials(augment=True).turn(wdlab.TASKS["fashion"]).augment == ("shift", "mirror")


def test_labels_tell_data_apart() -> None:
    noisy, clean = Dials("never", label_noise=0.5), Dials("never", label_noise=0.0)
    assert labels([clean, noisy]) == ["noise 0", "noise 0.5"]
    assert labels([Dials("never"), noisy]) == ["own labels", "noise 0.5"]
    assert labels([clean, Dials("never", label_noise=0.0, schedule="constant")]) == ["falls to 0.2%", "constant"]
    assert labels([Dials(train_size=500), Dials(train_size=4000)]) == ["500 examples", "4,000 examples"]
    assert str(Dials("never")) == "never, lr 0.1"
    assert str(Dials("never", schedule="constant", train_size=4000)) == "never, lr 0.1, constant, 4,000 examples"
