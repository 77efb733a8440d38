from __future__ import annotations

import math

import pytest

from wdlab.lab import Predictions
from wdlab.lab.controls import VIEW
from wdlab.lab.predict import UNSETTLED
from wdlab.lab.questions import NONE_MADE
from wdlab.lab.scores import blind, brier
from wdlab.stats import Effect


@pytest.mark.parametrize(
    ("right", "confidence", "options", "expected"),
    [
        (True, 1.0, 2, 0.0),
        (False, 1.0, 2, 2.0),
        (True, 0.5, 2, 0.5),
        (False, 0.5, 2, 0.5),
        (True, 0.8, 2, 0.04 + 0.04),
        (False, 0.8, 2, 0.64 + 0.64),
        (True, 0.6, 3, 0.16 + 0.04 + 0.04),
        (False, 0.6, 3, 0.36 + 0.64 + 0.04),
        (True, 0.25, 4, 0.5625 + 3 * 0.0625),
        (False, 0.7, 4, 0.49 + 0.81 + 2 * 0.01),
    ],
)
def test_the_score_is_the_one_computed_by_hand(right: bool, confidence: float, options: int, expected: float) -> None:
    assert brier("a", confidence, "a" if right else "b", options) == pytest.approx(expected)


@pytest.mark.parametrize("options", [2, 3, 5])
def test_blind_guessing_scores_the_same_whatever_is_true(options: int) -> None:
    assert brier("a", 1 / options, "a", options) == pytest.approx(blind(options))
    assert brier("a", 1 / options, "b", options) == pytest.approx(blind(options))


@pytest.mark.parametrize("confidence", [0.3, 1.1, float("nan"), "0.9"])
def test_a_confidence_below_a_guess_or_above_one_is_refused(confidence: object) -> None:
    with pytest.raises(ValueError, match=r"give a finite number in \[0\.5, 1\]"):
        brier("a", confidence, "a", 2)  # type: ignore[arg-type]


@pytest.fixture
def predictions() -> Predictions:
    made = Predictions()
    made.ask("q", "Which?", ["early", "late", "<b>both</b>"])
    return made


def test_commit_by_button_locks_the_answer(predictions: Predictions) -> None:
    asked = predictions.ask("q", "Which?", ["early", "late", "<b>both</b>"])
    assert asked.choices.value is None
    asked.button.click()
    assert "Choose one of the answers first" in asked.message.value
    assert not asked.locked
    asked.choices.value, asked.slider.value = "late", 1.0
    asked.button.click()
    assert (asked.answer, asked.confidence) == ("late", 1.0)
    assert asked.choices.disabled and asked.slider.disabled and asked.button.disabled
    assert "Committed: late (100% sure)" in asked.message.value
    with pytest.raises(ValueError, match="comes too late: 'q' is already committed"):
        predictions.commit("q", "early", 1.0)


def test_the_slider_runs_from_a_guess_to_certainty(predictions: Predictions) -> None:
    asked = predictions.ask("q", "Which?", ["early", "late", "<b>both</b>"])
    assert (asked.slider.min, asked.slider.max) == (pytest.approx(1 / 3), 1.0)
    asked.choices.value, asked.slider.value = "early", asked.slider.min
    asked.button.click()
    assert asked.confidence == pytest.approx(1 / 3)


def test_commit_by_code_is_commit_by_button(predictions: Predictions) -> None:
    predictions.commit("q", "early", 0.8)
    asked = predictions.ask("q", "Which?", ["early", "late", "<b>both</b>"])
    assert (asked.choices.value, asked.slider.value, asked.button.disabled) == ("early", 0.8, True)


def test_reveal_shows_the_answer_beside_the_truth(predictions: Predictions) -> None:
    predictions.commit("q", "early", 0.6)
    outcome = predictions.reveal("q", "late", "31.2% against 28.2% <here>")
    assert outcome.score == pytest.approx(1.04)
    shown = outcome._repr_html_()
    assert "early (60% sure)" in shown
    assert "late. 31.2% against 28.2% &lt;here&gt;" in shown
    assert "Brier score 1.04 (0 is best, blind guessing gives 0.67)" in shown


def test_a_reveal_before_a_commit_locks_without_scolding(predictions: Predictions) -> None:
    outcome = predictions.reveal("q", "late")
    assert NONE_MADE in outcome._repr_html_()
    assert outcome.score is None
    asked = predictions.ask("q", "Which?", ["early", "late", "<b>both</b>"])
    assert asked.button.disabled
    assert asked.choices.value is None
    with pytest.raises(ValueError, match="already revealed"):
        predictions.commit("q", "late", 1.0)


def test_a_second_reveal_takes_the_new_measurement(predictions: Predictions) -> None:
    predictions.commit("q", "early", 1.0)
    assert predictions.reveal("q", "late").score == 2.0
    assert predictions.reveal("q", "early").score == 0.0


MORE = ["less", "about the same", "more"]


def between(low: float, high: float) -> Effect:
    return Effect((low + high) / 2, low, high, ())


@pytest.mark.parametrize(
    ("low", "high", "truth"), [(-2.0, -1.1, "less"), (-0.9, 0.9, "about the same"), (1.1, 9.0, "more")]
)
def test_an_interval_within_one_option_settles_the_question(low: float, high: float, truth: str) -> None:
    predictions = Predictions()
    asked = predictions.ask("size", "Larger?", MORE)
    predictions.commit("size", "more", 1.0)
    outcome = predictions.settle("size", MORE, between(low, high), (-1.0, 1.0), "It was so.")
    assert (outcome.truth, asked.truth, outcome.because) == (truth, truth, "It was so.")
    assert outcome.score == (0.0 if truth == "more" else 2.0)


@pytest.mark.parametrize(("low", "high"), [(-1.5, -0.5), (-9.0, 9.0), (0.0, 1.0), (1.0, 2.0), (math.nan, math.nan)])
def test_an_interval_that_reaches_a_border_scores_nobody(low: float, high: float) -> None:
    predictions = Predictions()
    asked = predictions.ask("size", "Larger?", MORE)
    predictions.commit("size", "more", 1.0)
    outcome = predictions.settle("size", MORE, between(low, high), (-1.0, 1.0), "It was so.")
    assert (outcome.score, asked.score, asked.truth) == (None, None, None)
    assert all(text in str(outcome) for text in ("more (100% sure)", UNSETTLED, "It was so."))
    assert "not yet known" in predictions.score()._repr_html_()


@pytest.mark.parametrize("committed", [True, False])
def test_a_measurement_that_settles_nothing_takes_an_earlier_truth_back(committed: bool) -> None:
    predictions = Predictions()
    asked = predictions.ask("size", "Larger?", MORE)
    if committed:
        predictions.commit("size", "more", 1.0)
    open_, told = str(predictions.score()), asked.message.value
    predictions.settle("size", MORE, between(1.5, 2.5), (-1.0, 1.0), "It was so.")
    assert str(predictions.score()) != open_ and asked.button.disabled
    predictions.settle("size", MORE, between(-0.5, 1.5), (-1.0, 1.0))
    assert str(predictions.score()) == open_ and predictions.score().mean is None
    assert (asked.truth, asked.because, asked.message.value) == (None, "", told)
    assert all(part.disabled == committed for part in (asked.choices, asked.slider, asked.button))
    assert predictions.settle("size", MORE, between(1.5, 2.5), (-1.0, 1.0)).score == (0.0 if committed else None)


@pytest.mark.parametrize("found", [between(5.0, 6.0), between(0.0, 2.0)], ids=["settled", "unsettled"])
def test_settling_asks_for_the_questions_own_options_and_for_borders_that_rise(found: Effect) -> None:
    predictions = Predictions()
    predictions.ask("size", "Larger?", MORE)
    predictions.ask_number("angle", "By how much?", 0, 10)
    for borders in ((1.0,), (1.0, -1.0), (1.0, 1.0), (math.nan, 1.0), (-1.0, math.inf)):
        with pytest.raises(ValueError, match=r"^borders=.*: 3 options need 2, each above the last\.$"):
            predictions.settle("size", MORE, found, borders)
    for options in (["a", "b", "c"], MORE[:2], [*MORE, "more"]):
        with pytest.raises(ValueError, match=r"give what 'size' offers: less / about the same / more\.$"):
            predictions.settle("size", options, found, (-1.0, 1.0))
    with pytest.raises(ValueError, match="give what 'angle' offers: between 0 and 10"):
        predictions.settle("angle", MORE, found, (-1.0, 1.0))
    with pytest.raises(ValueError, match="name='p' is unknown"):
        predictions.settle("p", MORE, found, (-1.0, 1.0))
    assert predictions.settle("size", MORE[::-1], between(5.0, 6.0), (-1.0, 1.0)).truth == "less"


def test_the_score_table_holds_every_question(predictions: Predictions) -> None:
    predictions.ask("sure", "Sure?", ["yes", "no"])
    predictions.ask("silent", "Silent?", ["yes", "no"])
    predictions.commit("q", "early", 0.6)
    predictions.commit("sure", "yes", 0.8)
    predictions.reveal("q", "early")
    predictions.reveal("sure", "no")
    score = predictions.score()
    assert score.mean == pytest.approx((0.24 + 1.28) / 2)
    assert score.blind == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert "worse than blind guessing (0.58)" in score.words
    assert "1 of 2 answers were right, and you were 70% sure on average" in score.words
    shown = score._repr_html_()
    assert shown.count("<tr>") == 4
    assert NONE_MADE in shown and "not yet known" in shown
    assert "Silent? Your answer: no prediction was made." in str(score)


@pytest.mark.parametrize(("confidence", "said"), [(0.5, "the same as"), (0.9, "better than")])
def test_the_score_is_compared_with_blind_guessing(confidence: float, said: str) -> None:
    predictions = Predictions()
    predictions.ask("q", "Q?", ["a", "b"])
    predictions.commit("q", "a", confidence)
    predictions.reveal("q", "a")
    assert f"{said} blind guessing" in predictions.score().words


def test_without_any_answer_there_is_no_score(predictions: Predictions) -> None:
    assert predictions.score().mean is None
    assert "No prediction was scored" in predictions.score().words


def test_a_question_asked_again_keeps_its_answer_and_a_new_one_does_not(predictions: Predictions) -> None:
    predictions.commit("q", "early", 0.6)
    assert predictions.ask("q", "Which?", ["early", "late", "<b>both</b>"]).answer == "early"
    assert predictions.ask("q", "Which now?", ["early", "late"]).answer is None


@pytest.mark.parametrize("options", [["only"], ["same", "same"], "ab", []])
def test_options_must_be_two_different_texts(options: object) -> None:
    with pytest.raises(ValueError, match="give at least two different answers"):
        Predictions().ask("q", "Q?", options)  # type: ignore[arg-type]


def test_what_is_unknown_is_named_with_the_nearest(predictions: Predictions) -> None:
    with pytest.raises(ValueError, match="name='p' is unknown"):
        predictions.reveal("p", "early")
    with pytest.raises(ValueError, match="truth='erly' is unknown; did you mean 'early'"):
        predictions.reveal("q", "erly")
    with pytest.raises(ValueError, match="answer='latte' is unknown; did you mean 'late'"):
        predictions.commit("q", "latte", 0.9)


def test_a_cell_keeps_the_question_without_a_kernel(predictions: Predictions) -> None:
    stored = predictions.ask("q", "Which?", ["early", "late", "<b>both</b>"])._repr_mimebundle_()
    assert stored[VIEW]["model_id"]
    assert "<li>&lt;b&gt;both&lt;/b&gt;</li>" in stored["text/html"]
    assert "Which?" in stored["text/plain"]
