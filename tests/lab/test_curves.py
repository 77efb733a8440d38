from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wdlab
from wdlab.lab.curves import Curves, Trial, in_words, spans, spread
from wdlab.lab.dials import PRESETS, Dials
from wdlab.train import History


def trial(dials: Dials, look: int = 0, done: int = 4, of: int = 4, **curves: list[float]) -> Trial:
    run = dials.run(wdlab.TASKS["mnist1d"], wdlab.Model(width=4), steps=of, evaluations=of)
    made = {name: [0.9 / (1 + step) for step in range(done + 1)] for name in wdlab.train.CURVES} | curves
    history = History(run, tuple(range(done + 1)), {name: tuple(values) for name, values in made.items()})
    return Trial(dials, run, look, history)


@pytest.mark.parametrize(
    ("timing", "expected"),
    [
        (wdlab.Timing.never(), []),
        (wdlab.Timing.always(), [(0, 1)]),
        (wdlab.Timing.first(0.25), [(0, 0.25)]),
        (wdlab.Timing.after(0.5), [(0.5, 1)]),
        (wdlab.Timing.window(0.31, 0.68), [(0.3, 0.7)]),  # as the steps fall
        (wdlab.Timing.of(lambda step: float(step % 10 == 3)), [(0.15, 0.2), (0.65, 0.7)]),
    ],
)
def test_the_shaded_spans_are_those_in_which_steps_decay(timing: wdlab.Timing, expected: list) -> None:
    run = wdlab.Run(decay=wdlab.Decay(0.01, timing), steps=20)
    assert spans(run) == expected
    assert spans(wdlab.Run(decay=wdlab.Decay(0.0, timing), steps=20)) == []


@given(st.lists(st.floats(0, 1), max_size=7), st.floats(0.01, 0.16))
def test_labels_never_overlap_and_keep_their_order(wanted: list[float], gap: float) -> None:
    placed = spread(wanted, gap)
    inside = sorted(placed)
    assert all(-1e-9 <= y <= 1 + 1e-9 for y in placed)
    assert all(b - a >= gap - 1e-9 for a, b in pairwise(inside))
    assert all(placed[i] < placed[j] for i in range(len(wanted)) for j in range(len(wanted)) if wanted[i] < wanted[j])


def test_labels_with_room_stay_where_they_belong() -> None:
    assert spread([0.9, 0.1, 0.5], gap=0.2) == pytest.approx([0.9, 0.1, 0.5])


def test_the_current_point_is_always_in_view() -> None:
    curves = Curves()
    old, new = trial(Dials("never"), 0), trial(Dials("early"), 1, done=1)
    curves.show([old, new], new)
    for axes in curves.figure.axes:
        low, high = axes.get_ylim()
        assert low <= new.last("test_error") <= high
    curves.show([old, trial(Dials("early"), 1)], new)
    assert curves.figure.axes[0].get_ylim()[1] < 0.5  # and at the end the picture looks closely at the low end


def test_an_empty_picture_has_axes_that_make_sense() -> None:
    curves = Curves()
    for trials in ([], [trial(Dials())], []):
        curves.show(trials, trial(Dials()))
    assert [axes.get_ylim() for axes in curves.figure.axes] == [(0, 1), (0, 20), (1e-6, 1e-2)]


def test_the_quick_picture_shows_what_the_sharp_one_shows() -> None:
    curves = Curves()
    one, two = trial(Dials("never"), 0), trial(Dials("early"), 1, done=2)
    curves.show([one, two], two)
    quick, sharp = curves.frame(), curves.png()
    assert quick == curves.frame()
    assert sharp == curves.png()
    two.history = trial(Dials("early"), 1, done=3).history
    curves.show([one, two], two)
    assert quick != curves.frame()
    assert all(artist.get_visible() for artist in curves.figure.axes[0].lines[:2])


def test_values_that_are_not_finite_are_survived_and_said() -> None:
    nan = [0.9, math.nan, math.nan]
    broken = trial(Dials(), done=2, test_error=nan, weight_norm=nan, effective_lr=nan)
    broken.history = History(broken.run, broken.history.steps, broken.history.curves, diverged_at=1)
    curves = Curves()
    curves.show([broken], broken)
    curves.png()
    assert "diverged at step 1" in in_words([broken], broken)


def test_the_words_give_the_numbers_of_every_run() -> None:
    runs = [trial(Dials(name), look) for look, name in enumerate(PRESETS)]
    said = in_words(runs, runs[0])
    assert all(f"Earlier run {name}: test error 18.0%" in said for name in list(PRESETS)[:-1])
    assert "Current run (late, λ 0.01, lr 0.1), 100% done" in said
    assert "Decay acts from 50% to 100% of the run" in said
    assert "Decay never acts." in in_words([], runs[0])
