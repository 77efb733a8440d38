from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text

import wdlab
from tests.lab import projector
from wdlab.lab.curves import FONT, SMALL, Curves, fitted, in_words, spread
from wdlab.lab.dials import PRESETS, Dials
from wdlab.lab.quantities import QUANTITIES
from wdlab.lab.table import table, to_html
from wdlab.lab.trial import Event, Trial, spans
from wdlab.train import History


def trial(dials: Dials, look: int = 0, done: int = 4, of: int = 4, **curves: list[float]) -> Trial:
    runs = dials.runs(wdlab.TASKS["mnist1d"], wdlab.Model(width=4), steps=of, evaluations=of)
    made = {name: [0.9 / (1 + step) for step in range(done + 1)] for name in wdlab.train.CURVES} | curves
    history = History(runs[0], tuple(range(done + 1)), {name: tuple(values) for name, values in made.items()})
    return Trial(dials, runs, look, histories=(history,))


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
    assert spans(run.decay.strength * timing.table(run.steps)) == expected
    assert spans(0.0 * timing.table(run.steps)) == []


@given(st.lists(st.floats(0, 1), max_size=7), st.floats(0.01, 0.16))
def test_labels_never_overlap_and_keep_their_order(wanted: list[float], gap: float) -> None:
    placed = spread(wanted, gap)
    inside = sorted(placed)
    assert all(-1e-9 <= y <= 1 + 1e-9 for y in placed)
    assert all(b - a >= gap - 1e-9 for a, b in pairwise(inside))
    assert all(placed[i] < placed[j] for i in range(len(wanted)) for j in range(len(wanted)) if wanted[i] < wanted[j])


@pytest.mark.parametrize("current", [0, 1])
@pytest.mark.parametrize(
    "turned",
    [
        {"label_noise": 0.5, "train_size": 2000},
        {"optimizer": "adam", "coupling": "second_moment", "timing": "late"},
        {"schedule": "constant", "weight_decay": 1e-4},
        {"window": (0.31, 0.68), "lr": 0.003},
    ],
    ids=str,
)
def test_labels_end_inside_the_picture(turned: dict, current: int) -> None:
    curves = Curves()
    both = [trial(Dials("never"), 0), trial(Dials("never").turned(**turned), 1)]
    curves.show(both, both[current])
    curves.png()
    labels = [text for axes in curves.figure.axes for text in axes.texts if text.get_visible() and text.get_text()]
    assert len(labels) >= 6
    for text in labels:
        assert text.get_window_extent().x1 <= curves.figure.bbox.x1, text.get_text()


TURNS: dict[str, list] = {
    "optimizer": ["sgd", "adam"],
    "coupling": ["own_buffers", "l2"],
    "timing": ["late", "never"],
    "label_noise": [0.25, 0.5],
    "train_size": [2000, 4000],
    "schedule": ["constant", "falls to 5%"],
}


@pytest.mark.parametrize("names", [[*TURNS], ["timing"]], ids=["long", "short"])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_the_smallest_print_can_be_read_on_a_projector_and_labels_keep_apart(count: int, names: list[str]) -> None:
    """At least 9 points of CSS, which are the 12 pixels that tests/browser asks of the text around the picture."""
    curves, trials = Curves(list(QUANTITIES)), []
    for place in range(count):
        turned = {name: TURNS[name][place % 2] for name in names}
        trials.append(trial(Dials(seeds=3, lr=0.01 + place / 100).turned(**turned), place))
    trials[-1].events = (Event(1, "decay off"), Event(2, "forked, decay on"))
    curves.show(trials, trials[-1])
    curves.png()
    texts = [text for text in curves.figure.findobj(Text) if text.get_visible() and text.get_text()]
    assert min(text.get_fontsize() for text in texts) * projector.WIDTH / (curves.figure.get_figwidth() * 96) >= 9
    for panel in curves._panels:
        labels = [pen.label.get_window_extent() for pen in panel._pens if pen.label.get_visible()]
        assert len(labels) == count and not any(a.overlaps(b) for a, b in combinations(labels, 2))
        assert all(box.x1 <= curves.figure.bbox.x1 for box in labels)
    heading = curves._heading.get_window_extent()
    assert heading.y1 <= curves.figure.bbox.y1 and heading.x1 <= curves._when.get_window_extent().x0
    assert not heading.overlaps(curves._panels[0]._title.get_window_extent())


def test_what_has_no_room_goes_on_in_the_next_line_and_ends_with_dots() -> None:
    for text in ("never", "late, lr 0.01, fork at 50%", "Adam, late, second_moment, lr 0.01, 2,000 examples"):
        for lines in (1, 2):
            said, size = fitted(text, 20, lines=lines)
            assert said.count("\n") < lines and SMALL <= size <= FONT
            assert max(map(len, said.split("\n"))) * size <= 20 * FONT
            assert said.replace("\n", " ") == text or said.endswith("…")


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
    two.histories = trial(Dials("early"), 1, done=3).histories
    curves.show([one, two], two)
    assert quick != curves.frame()
    assert all(line.get_visible() for line in curves._panels[0].lines[:2])


def test_values_that_are_not_finite_are_survived_and_said() -> None:
    nan = [0.9, math.nan, math.nan]
    broken = trial(Dials(), done=2, test_error=nan, weight_norm=nan, effective_lr=nan)
    (history,) = broken.histories
    broken.histories = (History(broken.run, history.steps, history.curves, diverged_at=1),)
    curves = Curves()
    curves.show([broken], broken)
    curves.png()
    assert "diverged at step 1" in in_words([broken], broken)


def test_a_game_that_raised_is_said_and_has_a_column() -> None:
    one = trial(Dials(), done=2)
    (history,) = one.histories
    assert "raised" not in in_words([one], one) and table([one])["broken_at"].isna().all()
    one.histories = (replace(history, broken_at=7),)
    assert "then its game raised at step 7" in in_words([one], one) and "diverged" not in in_words([one], one)
    assert table([one])["broken_at"].tolist() == [7] and "broken at" in to_html(table([one, trial(Dials(), done=2)]))


def test_the_words_give_the_numbers_of_every_run() -> None:
    runs = [trial(Dials(name), look) for look, name in enumerate(PRESETS)]
    said = in_words(runs, runs[0])
    assert all(f"Earlier run {name}: test error 18.0%" in said for name in list(PRESETS)[:-1])
    assert "Current run (late, λ 0.01, lr 0.1), 100% done" in said
    assert "Decay acts from 50% to 100% of the run" in said
    assert "Decay never acts." in in_words([], runs[0])


def test_a_band_holds_every_seed_and_the_line_is_their_mean() -> None:
    one, two = (trial(Dials(seeds=2), test_error=[0.9, low, low, low, low]).histories[0] for low in (0.2, 0.4))
    both = trial(Dials(seeds=2))
    both.histories = (one, two)
    band = both.curve("test_error")
    assert band.mean == pytest.approx([0.9, 0.3, 0.3, 0.3, 0.3])
    assert (band.low, band.high) == ([0.9, *[0.2] * 4], [0.9, *[0.4] * 4])
    curves = Curves()
    curves.show([both], both)
    (outline,) = curves._panels[0]._pens[0].band.get_paths()
    assert {(x, round(y, 9)) for x, y in outline.vertices.tolist()} >= {
        (0.25, 0.2),
        (0.25, 0.4),
        (1.0, 0.2),
        (1.0, 0.4),
    }
    assert "means and ranges of 2 seeds" in in_words([both], both)
    alone = trial(Dials())
    curves.show([alone], alone)
    assert not curves._panels[0]._pens[0].band.get_visible()


def test_what_was_done_by_hand_is_marked_labelled_and_said() -> None:
    turned, plain = trial(Dials("never")), trial(Dials("never"), 1)
    turned.events = (Event(2, "decay on"),)
    curves = Curves()
    curves.show([plain, turned], turned)
    for panel in curves._panels:
        (mark,) = (mark for mark in panel._marks if mark.get_visible())
        assert mark.get_xdata() == [0.5, 0.5]
        assert list(panel._pens[0].dots.get_xdata()) == [0.5]
    assert [word.get_text() for word in curves._panels[0]._words if word.get_visible()] == ["decay on"]
    labels = [pen.label.get_text().split("  ")[1] for pen in curves._panels[0]._pens[:2]]
    assert labels == ["never, on at 50%", "never"]
    assert "Step 2: decay on." in in_words([plain, turned], turned)


@pytest.mark.parametrize("names", [["weight_norm"], list(QUANTITIES)])
def test_any_number_of_curves_can_be_drawn(names: list[str]) -> None:
    parts = {"decay_step": [math.nan, 0.0, 0.01, 0.02, 0.01], "objective_step": [math.nan, 0.1, 0.1, 0.1, 0.1]}
    one = trial(Dials(optimizer="adam"), **parts)
    curves = Curves(names)
    curves.show([one], one)
    assert len(curves.figure.axes) == len(names)
    assert curves.png() and curves.frame()
    assert "decay part of the step 1.0e-02" in in_words([one], one, names) or names == ["weight_norm"]


def test_the_two_parts_of_a_step_are_drawn_beside_each_other() -> None:
    parts = {"decay_step": [math.nan, 0.0, 0.01, 0.02, 0.01], "objective_step": [math.nan, 0.1, 0.2, 0.1, 0.1]}
    one = trial(Dials(optimizer="adam"), **parts)
    curves = Curves(["step_parts"])
    curves.show([one], one)
    pen = curves._panels[0]._pens[0]
    assert list(pen.line.get_ydata()) == [0.01, 0.02, 0.01]  # a step without decay has no place on a log axis
    assert list(pen.second.get_ydata()) == [0.1, 0.2, 0.1, 0.1]
    low, high = curves.figure.axes[0].get_ylim()
    assert low <= 0.01 and high >= 0.2
    stopped = trial(Dials("early"), **parts | {"decay_step": [math.nan, 0.1, 0.1, 0.0, 0.0]})
    curves.show([stopped], stopped)
    assert pen.label.get_text() == "0  early"
    without = trial(Dials("never"), decay_step=[math.nan, 0.0, 0.0, 0.0, 0.0])
    curves.show([without], without)
    assert len(pen.line.get_xdata()) == 0 and pen.label.get_text() == "0  never"


def test_the_effective_lr_names_the_formula_that_was_used() -> None:
    sgd, adam = trial(Dials()), trial(Dials(optimizer="adam"), 1)
    curves = Curves(["effective_lr"])
    for trials, said in (([sgd], "lr / ‖w‖²"), ([adam], "lr / ‖w‖"), ([sgd, adam], "lr / ‖w‖²; Adam: lr / ‖w‖")):
        curves.show(trials, trials[-1])
        assert curves.figure.axes[0].get_title("left").removeprefix("effective learning rate  ") == said
