"""Numbers and sketches: what a learner types and draws, what is locked, how it is scored, what a cell keeps."""

from __future__ import annotations

import base64
import re
import time

import pytest

from wdlab.lab import Predictions
from wdlab.lab.controls import VIEW
from wdlab.lab.questions import LEAST, MOST, NONE_MADE
from wdlab.lab.scores import crps, crps_of_a_range, spread

MOMENTS = (0.0, 0.5, 1.0)


@pytest.fixture
def predictions() -> Predictions:
    made = Predictions()
    made.ask_number("n", "How <far>?", 0, 10, "degrees")
    made.ask_curve("c", "Draw it.", MOMENTS, 0, 20, "share", "norm", beside={"never": ([0, 1], [5, 19])})
    return made


def number(predictions: Predictions):
    return predictions.ask_number("n", "How <far>?", 0, 10, "degrees")


def curve(predictions: Predictions):
    return predictions.ask_curve("c", "Draw it.", MOMENTS, 0, 20, "share", "norm", beside={"never": ([0, 1], [5, 19])})


# Numbers


def test_a_number_is_typed_and_locked(predictions: Predictions) -> None:
    asked = number(predictions)
    asked.number.value, asked.plus_minus.value, asked.slider.value = " 2.5 ", "0.5", 0.8
    asked.button.click()
    assert (asked.answer, asked.within, asked.confidence) == (2.5, 0.5, pytest.approx(0.8))
    assert all(part.disabled for part in (asked.number, asked.plus_minus, asked.slider, asked.button))
    assert "Committed: 2.5 ± 0.5 degrees (80% sure)" in asked.message.value
    with pytest.raises(ValueError, match="comes too late: 'n' is already committed"):
        predictions.commit("n", 3, 0.5, within=1)


@pytest.mark.parametrize(
    ("typed", "width", "said"),
    [
        ("", "1", "Your number is missing or not a number"),
        ("about two", "1", "Your number is missing"),
        ("nan", "1", "Your number is missing"),
        ("inf", "1", "Your number is missing"),
        ("2,5", "1", "Your number is missing"),
        ("2", "", "Your plus-minus is missing"),
        ("2", "0", "type one, greater than 0"),
        ("2", "-1", "type one, greater than 0"),
    ],
)
def test_what_is_no_number_is_said_and_nothing_is_locked(
    predictions: Predictions, typed: str, width: str, said: str
) -> None:
    asked = number(predictions)
    asked.number.value, asked.plus_minus.value = typed, width
    asked.button.click()
    assert said in asked.message.value
    assert not asked.locked and not asked.button.disabled


def test_a_minus_sign_of_print_is_one(predictions: Predictions) -> None:
    asked = number(predictions)
    asked.number.value, asked.plus_minus.value = "−3", "1"
    asked.button.click()
    assert asked.answer == -3


def test_a_number_scores_the_distribution_it_says(predictions: Predictions) -> None:
    predictions.commit("n", 2.0, 0.6, within=1.0)
    outcome = predictions.reveal("n", 3.5, "From the measurement.")
    assert outcome.score == pytest.approx(crps(2.0, spread(1.0, 0.6), 3.5))
    blind = crps_of_a_range(0, 10, 3.5)
    assert f"Score {outcome.score:.2g} degrees (0 is best, knowing only the range gives {blind:.2g})" in str(outcome)
    shown = outcome._repr_html_()
    assert "2 ± 1 degrees (60% sure)" in shown and "3.5 degrees. From the measurement." in shown
    assert "How &lt;far&gt;?" in shown
    assert number(predictions).right == 0.0


@pytest.mark.parametrize("confidence", [0.0, 1.0, 0.96, float("nan")])
def test_a_number_is_never_certain(predictions: Predictions, confidence: float) -> None:
    with pytest.raises(ValueError, match=rf"give a finite number in \[{LEAST}, {MOST}\]"):
        predictions.commit("n", 2, confidence, within=1)
    assert not number(predictions).locked


def test_a_number_needs_its_plus_minus_and_others_have_none(predictions: Predictions) -> None:
    with pytest.raises(ValueError, match="within=nan is not allowed"):
        predictions.commit("n", 2, 0.5)
    with pytest.raises(ValueError, match="'c' does not ask for a number"):
        predictions.commit("c", [1, 2, 3], 0.5, within=1)


def test_both_ends_of_the_confidence_slider_can_be_committed() -> None:
    for end in ("min", "max"):
        asked = Predictions().ask_number("n", "?", 0, 1)
        asked.number.value, asked.plus_minus.value = "1", "1"
        asked.slider.value = getattr(asked.slider, end)
        asked.button.click()
        assert asked.confidence == pytest.approx(LEAST if end == "min" else MOST)


# Sketches


def test_a_line_is_drawn_with_sliders_and_locked(predictions: Predictions) -> None:
    asked = curve(predictions)
    asked.button.click()
    assert "Draw first: move at least one of the sliders" in asked.message.value and not asked.locked
    before = asked.image.value, asked.alt
    for slider, height in zip(asked.sliders, (5, 10, 12), strict=True):
        slider.value = height
    assert asked.data["sketch"].tolist() == [5, 10, 12]
    assert asked.image.value != before[0] and asked.alt != before[1]
    assert "5 at 0, 10 at 0.5, 12 at 1" in asked.alt and asked.alt in asked.words.value
    assert "never goes from 5 to 19" in asked.alt
    asked.slider.value = 0.7
    asked.button.click()
    assert (asked.answer, asked.confidence) == ((5, 10, 12), pytest.approx(0.7))
    assert all(part.disabled for part in (*asked.sliders, asked.slider, asked.button))
    assert "Committed: 5, 10, 12 ± 2 (70% sure)" in asked.message.value


def test_the_measured_curve_is_drawn_over_the_sketch_with_its_error(predictions: Predictions) -> None:
    predictions.commit("c", [5, 10, 12], 0.7)
    outcome = predictions.reveal("c", ([0.0, 0.25, 0.75, 1.0], [5.0, 8.0, 10.0, 17.0]), "Measured.")
    asked = curve(predictions)
    assert asked.data["measured"].tolist() == [5, 9, 17]
    assert asked.error == pytest.approx(2.0) and asked.right == pytest.approx(2 / 3)
    deviation = spread(2.0, 0.7)
    expected = [crps(a, deviation, t) for a, t in zip((5, 10, 12), (5, 9, 17), strict=True)]
    assert outcome.score == pytest.approx(sum(expected) / 3)
    assert "Off by 2 on average; in your band at 2 of 3 moments" in outcome.verdict
    assert "on average 2 apart" in asked.alt and asked.alt in asked.words.value
    lines = {line.get_label(): line for line in outcome.figure.figure.axes[0].lines}
    assert list(lines["measured"].get_ydata()) == [5, 8, 10, 17]
    assert list(lines["your sketch"].get_ydata()) == [5, 10, 12]
    assert f'alt="{asked.alt}"' in outcome._repr_html_()


def test_drawing_from_code_moves_the_sliders(predictions: Predictions) -> None:
    predictions.commit("c", [1, 2, 3], 0.5)
    assert [slider.value for slider in curve(predictions).sliders] == [1, 2, 3]


def test_without_a_sketch_the_measured_curve_is_shown_alone(predictions: Predictions) -> None:
    outcome = predictions.reveal("c", ([0, 1], [5, 7]))
    assert outcome.said == NONE_MADE and outcome.score is None
    assert "measured: 5 at 0, 6 at 0.5, 7 at 1" in outcome.figure.alt and "your sketch" not in outcome.figure.alt
    with pytest.raises(ValueError, match="already revealed"):
        predictions.commit("c", [1, 2, 3], 0.5)


@pytest.mark.parametrize(
    ("answer", "said"),
    [([1, 2], "give 3, one a moment"), ([1, 2, 21], "answer=21 is not allowed"), ([1, 2, None], "answer=None")],
)
def test_a_sketch_has_a_height_a_moment(predictions: Predictions, answer: list, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        predictions.commit("c", answer, 0.5)
    assert not curve(predictions).locked


@pytest.mark.parametrize(
    ("truth", "said"),
    [
        (([0, 1], [1, 2, 3]), "two lists of equal length"),
        (([0, 1], [1, float("nan")]), "of finite numbers"),
        (([0, 0.9], [1, 2]), "over all moments"),
        (([0, 1, 0.5], [1, 2, 3]), "over all moments"),
        (([0, 0.5, 0.5, 1], [1, 2, 3, 4]), "rises in x"),
    ],
)
def test_a_truth_is_a_curve_over_all_moments(predictions: Predictions, truth: tuple, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        predictions.reveal("c", truth)
    assert not curve(predictions).locked


@pytest.mark.parametrize("moments", [[0.5], [], [0, 0], [1, 0]])
def test_moments_follow_one_another(moments: list) -> None:
    with pytest.raises(ValueError, match="give at least two"):
        Predictions().ask_curve("c", "?", moments, 0, 1)


@pytest.mark.parametrize("make", [Predictions().ask_number, lambda *a: Predictions().ask_curve(*a[:2], [0, 1], *a[2:])])
def test_a_range_is_not_empty(make) -> None:
    with pytest.raises(ValueError, match="high=1 is not allowed; give a finite number greater than 1"):
        make("q", "?", 1, 1)


def test_a_stroke_is_seen_at_once(predictions: Predictions) -> None:
    asked = curve(predictions)
    start = time.process_time()
    asked.sliders[0].value = 3.0
    assert time.process_time() - start < 1.0  # 0.1 s of work, where nothing else is to be done


# Together


def test_asked_again_a_question_keeps_its_answer_and_another_does_not(predictions: Predictions) -> None:
    predictions.commit("n", 2, 0.5, within=1)
    assert number(predictions).answer == 2
    assert predictions.ask_number("n", "How <far>?", 0, 20, "degrees").answer is None
    predictions.commit("c", [1, 2, 3], 0.5)
    assert curve(predictions).answer == (1, 2, 3)
    assert predictions.ask("c", "Which?", ["a", "b"]).answer is None


def test_the_score_counts_what_is_right_or_wrong_and_says_how_little_few_answers_tell(predictions: Predictions) -> None:
    predictions.ask("q", "Which?", ["a", "b"])
    predictions.commit("q", "a", 0.8)
    predictions.commit("n", 2.0, 0.6, within=1.0)
    predictions.commit("c", [5, 10, 12], 0.7)
    predictions.reveal("q", "a")
    predictions.reveal("n", 2.5)
    predictions.reveal("c", ([0, 1], [5, 12]))
    score = predictions.score()
    assert score.mean == pytest.approx(0.08)
    assert "2 of 2 answers were right, and you were 70% sure on average" in score.words
    assert "2 answers are too few to tell much" in score.words
    shares = [q.score / q.blind for q in score.questions[:2]]
    assert f"Numbers and curves: {sum(shares) / 2:.2f} of what knowing only the range scores" in score.words
    assert score._repr_html_().count("<tr>") == 4


@pytest.mark.parametrize(("right", "said"), [(0, "surer than you were right"), (12, "knew more than you claimed")])
def test_with_many_answers_calibration_is_judged(right: int, said: str) -> None:
    predictions = Predictions()
    for place in range(12):
        predictions.ask(f"q{place}", f"{place}?", ["a", "b", "c"])
        predictions.commit(f"q{place}", "a", 0.6)
        predictions.reveal(f"q{place}", "a" if place < right else "b")
    assert said in predictions.score().words
    assert "too few" not in predictions.score().words


def test_a_cell_keeps_the_questions_without_a_kernel(predictions: Predictions) -> None:
    kept = number(predictions)._repr_mimebundle_()
    assert kept[VIEW]["model_id"] and "between 0 and 10 degrees" in kept["text/html"]
    assert "&lt;far&gt;" in kept["text/html"]
    kept = curve(predictions)._repr_mimebundle_()
    assert "at 0, 0.5, 1 (share), between 0 and 20" in kept["text/html"]
    outcome = predictions.reveal("c", ([0, 1], [5, 7]))
    png = re.search(r"base64,([^\"]+)", outcome._repr_html_())[1]
    assert base64.b64decode(png).startswith(b"\x89PNG")
