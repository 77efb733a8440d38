"""BlindTuning: a hidden coupling, trials by button and by code, the guess, the reveal and its scores."""

from __future__ import annotations

import base64
import math

import pandas as pd
import pytest

from tests.test_tuning import made
from wdlab.lab import BlindTuning
from wdlab.lab.scores import brier
from wdlab.tasks import generator
from wdlab.tuning import expected_best

CELLS = [(lr, strength) for lr in (0.01, 0.1) for strength in (1, 2, 3)]
SCORES = {"l2": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "decoupled": [0.9, 0.8, 0.7, 0.65, 0.55, 0.45]}
FACTOR = {"l2": 1e-3, "decoupled": 1.0}


@pytest.fixture
def runs() -> pd.DataFrame:
    return pd.concat(
        made({(lr, FACTOR[name] * s): score for (lr, s), score in zip(CELLS, scores, strict=True)}, name)
        for name, scores in SCORES.items()
    )


@pytest.fixture
def game(runs: pd.DataFrame) -> BlindTuning:
    return BlindTuning(runs, generator(10_000, "hidden"), ("l2", "decoupled"), trials=3, label="accuracy")


def hidden(game: BlindTuning) -> str:
    return "l2" if game._cells["score"].max() == 0.6 else "decoupled"


def other(name: str) -> str:
    return "decoupled" if name == "l2" else "l2"


def everything(game: BlindTuning) -> str:
    """All that a learner can read, on the screen, in the words and in the data."""
    buttons = [one.description for one in game.buttons.values()]
    return " ".join([game.alt, game.status.value, game.words.value, str(list(game.data.columns)), *buttons])


def test_the_generator_draws_the_coupling(runs: pd.DataFrame) -> None:
    drawn = [hidden(BlindTuning(runs, generator(seed, "hidden"), ("l2", "decoupled"))) for seed in range(12)]
    again = [hidden(BlindTuning(runs, generator(seed, "hidden"), ("l2", "decoupled"))) for seed in range(12)]
    assert drawn == again and set(drawn) == {"l2", "decoupled"}


def test_a_button_spends_a_trial_and_shows_the_score(game: BlindTuning) -> None:
    scores = SCORES[hidden(game)]
    before = game.image.value
    game.buttons[0.1, 2].click()
    assert game.setting.tried == ((0.1, 2),) and game.image.value != before
    assert game.buttons[0.1, 2].description == f"lr 0.1, λ 2: {scores[4]:.3f}" and game.buttons[0.1, 2].disabled
    assert f"accuracy {scores[4]:.3f} at lr 0.1, λ 2" in game.told and "2 trials are left" in game.told
    game.try_cell(0.01, 1)
    assert f"{max(scores[4], scores[0]):.3f}" in game.told and "1 trial is left" in game.told
    assert "(trial 2)" in game.alt


def test_nothing_gives_the_coupling_away_before_the_guess(game: BlindTuning) -> None:
    game.try_cell(0.1, 3)
    told = everything(game)
    assert "weight_decay" not in told and "0.001" not in told and "hidden" in told
    assert sum(game.data["score"].notna()) == 1
    assert not any(name in game.alt for name in SCORES)


def test_trials_run_out_and_then_only_the_guess_is_left(game: BlindTuning) -> None:
    for place in (1, 2, 3):
        game.try_cell(0.01, place)
    assert "No trial is left" in game.told and all(one.disabled for one in game.buttons.values())
    with pytest.raises(ValueError, match="all are spent"):
        game.try_cell(0.1, 1)
    assert 'role="alert"' in game.status.value and not game.button.disabled


@pytest.mark.parametrize(
    ("cell", "told"),
    [((0.01, 1), "tried already"), ((0.02, 1), "give lr one of 0.01, 0.1"), ((0.1, 4), "place from 1 to 3")],
)
def test_what_is_no_new_cell_costs_nothing(game: BlindTuning, cell: tuple[float, int], told: str) -> None:
    game.try_cell(0.01, 1)
    with pytest.raises(ValueError, match=told):
        game.try_cell(*cell)
    assert 'role="alert"' in game.status.value and game.setting.tried == ((0.01, 1),)


@pytest.mark.parametrize("right", [True, False])
def test_the_reveal_scores_the_guess_and_the_tuning(game: BlindTuning, right: bool) -> None:
    truth = hidden(game)
    scores = SCORES[truth]
    for place in (1, 3):
        game.try_cell(0.01, place)
    guess = truth if right else other(truth)
    game.dials["guess"].value, game.dials["confidence"].value = guess, 0.8
    game.button.click()
    assert game.over and f"It was {truth}" in game.told and f"{guess} is {'right' if right else 'wrong'}" in game.told
    assert f"Brier score {brier(guess, 0.8, truth, 2):.2f} at 80%" in game.told
    assert f"Your best of 2: {max(scores[0], scores[2]):.3f}" in game.told
    assert f"would expect {expected_best(scores, 2, replace=False):.3f}" in game.told
    assert f"the best of all 6 is {max(scores):.3f}" in game.told
    assert game.data["score"].notna().all() and "weight_decay" in game.data and f"was {truth}" in game.alt
    assert all(part.disabled for part in (*game.dials.values(), game.button, *game.buttons.values()))
    with pytest.raises(ValueError, match="comes too late"):
        game.try_cell(0.1, 1)


def test_a_guess_needs_a_coupling_and_a_confidence_that_is_none_of_another(game: BlindTuning) -> None:
    game.button.click()
    assert "Choose a coupling first" in game.status.value and not game.over
    with pytest.raises(ValueError, match="confidence"):
        game.guess("l2", 0.4)
    with pytest.raises(ValueError, match="coupling='adamw'"):
        game.guess("adamw", 0.9)
    assert not game.over
    game.guess("l2", 0.9)
    assert game.over and "Your best" not in game.told


def test_couplings_that_are_not_there_are_refused(runs: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="coupling='adaptive'"):
        BlindTuning(runs, generator(0, "hidden"))
    with pytest.raises(ValueError, match="two or more"):
        BlindTuning(runs, generator(0, "hidden"), ("l2",))


def test_a_small_grid_has_fewer_trials(runs: pd.DataFrame) -> None:
    assert BlindTuning(runs, generator(0, "hidden"), ("l2", "decoupled"), trials=8).trials == 6


def test_the_cell_keeps_the_picture_and_its_words(game: BlindTuning) -> None:
    game.try_cell(0.1, 1)
    kept = game._repr_mimebundle_()
    assert base64.b64decode(str(kept["image/png"])) == game.image.value and kept["text/plain"] == game.alt


def test_what_is_not_known_is_not_a_number(game: BlindTuning) -> None:
    assert all(math.isnan(score) for score in game.data["score"]) and "none of 6 cells is known yet" in game.alt
