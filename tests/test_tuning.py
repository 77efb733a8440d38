"""What a budget of random trials buys, and how a basin lies: against brute force, draws, and hand-made grids."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wdlab.tuning import (
    MOST,
    correlation,
    expected_best,
    middles,
    moved,
    over_the_product,
    rectangle,
    search,
    trials_needed,
    widths,
)

SCORES = [0.3, 0.9, 0.5, 0.5, 0.1]
PAID = [0.2, 0.6, 0.4, 0.1, 0.3]


def made(scores: dict[tuple[float, float], float], coupling: str = "l2", seed: int = 0) -> pd.DataFrame:
    rows = [{"lr": lr, "weight_decay": strength, "score": score} for (lr, strength), score in scores.items()]
    return pd.DataFrame(rows).assign(coupling=coupling, seed=seed, diverged_at=math.nan, decay_share=0.5)


def ridge(slope: float, height: float = 1.0) -> pd.DataFrame:
    """Scores that fall off by 0.2 a power of ten from the line log lambda = slope log lr - 2."""
    lrs, strengths = (0.01, 0.1, 1.0), [10.0**e for e in range(-4, 1)]
    return made(
        {
            (lr, strength): height - 0.2 * abs(math.log10(strength) + 2 - slope * (math.log10(lr) + 1))
            for lr in lrs
            for strength in strengths
        }
    )


@pytest.mark.parametrize("trials", [1, 2, 3, 4])
@pytest.mark.parametrize("replace", [True, False])
def test_the_expected_best_is_that_of_all_draws(trials: int, replace: bool) -> None:
    pick = itertools.product if replace else itertools.permutations
    draws = list(pick(SCORES, repeat=trials) if replace else pick(SCORES, trials))
    assert expected_best(SCORES, trials, replace) == pytest.approx(np.mean([max(draw) for draw in draws]))


@pytest.mark.parametrize("trials", [1, 2, 3])
@pytest.mark.parametrize("replace", [True, False])
def test_what_the_chosen_cell_pays_is_that_of_all_draws(trials: int, replace: bool) -> None:
    places = range(len(SCORES))
    draws = itertools.product(places, repeat=trials) if replace else itertools.permutations(places, trials)
    # Of cells that tie, whichever was drawn first is taken: over all orders each has its equal chance.
    found = np.mean([PAID[max(draw, key=lambda place: SCORES[place])] for draw in draws])
    assert expected_best(SCORES, trials, replace, PAID) == pytest.approx(found)


def test_the_expected_best_is_that_of_many_random_searches() -> None:
    draw = np.random.default_rng(0)
    best = np.asarray(SCORES)[draw.integers(len(SCORES), size=(200_000, 7))].max(1)
    assert expected_best(SCORES, 7) == pytest.approx(best.mean(), abs=5 * best.std() / len(best) ** 0.5)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=8), st.integers(1, 20))
def test_more_trials_never_hurt_and_no_repeats_are_better(scores: list[float], trials: int) -> None:
    found, more = expected_best(scores, trials), expected_best(scores, trials + 1)
    assert min(scores) - 1e-12 <= found <= more + 1e-12 and more <= max(scores) + 1e-12
    assert found <= expected_best(scores, trials, replace=False) + 1e-12
    assert expected_best(scores, 1) == pytest.approx(np.mean(scores))
    assert expected_best(scores, len(scores) + 1, replace=False) == pytest.approx(max(scores))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (([], 1), "one score a cell"),
        ((SCORES, 0), "trials=0"),
        (([0.1, math.nan], 1), "scores=nan"),
        ((SCORES, 1, True, [1.0]), "one of `paid` each"),
    ],
)
def test_what_is_not_allowed_is_named(arguments: tuple, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        expected_best(*arguments)


def two_seeds() -> pd.DataFrame:
    cells = [(0.1, 1.0), (0.1, 2.0), (0.2, 1.0), (0.2, 2.0)]
    tables = [
        made(dict(zip(cells, scores, strict=True)), coupling, seed)
        for coupling, seed, scores in [
            ("l2", 0, [0.1, 0.2, 0.3, 0.9]),
            ("l2", 1, [0.1, 0.2, 0.8, 0.3]),
            ("decoupled", 0, [0.9, 0.9, 0.9, 1.0]),
            ("decoupled", 1, [0.5, 0.5, 0.5, 0.5]),
        ]
    ]
    return pd.concat(tables, ignore_index=True)


def test_search_is_made_seed_by_seed_and_told_again_by_the_others() -> None:
    found = search(two_seeds(), [1, 3]).set_index(["coupling", "seed", "trials"])
    assert len(found) == 8
    assert found.loc[("l2", 0, 3), "best"] == pytest.approx(expected_best([0.1, 0.2, 0.3, 0.9], 3))
    assert found.loc[("l2", 0, 3), "again"] == pytest.approx(
        expected_best([0.1, 0.2, 0.3, 0.9], 3, paid=[0.1, 0.2, 0.8, 0.3])
    )
    assert found.loc[("l2", 1, 1), "again"] == pytest.approx(0.375), "one trial chooses nothing: the mean of the other"
    assert found["level"].xs(0, level="seed").unique() == pytest.approx([0.95])
    assert found["level"].xs(1, level="seed").unique() == pytest.approx([0.76])
    alone = two_seeds().query("seed == 0")
    assert search(alone, [1])["again"].isna().all()


def test_trials_needed_are_the_first_that_reach_the_level() -> None:
    runs = two_seeds()
    found = trials_needed(search(runs)).set_index(["coupling", "seed"])["trials"]
    assert found[("decoupled", 1)] == math.inf and found[("l2", 0)] == math.inf
    for key, scores, level in ((("l2", 1), [0.1, 0.2, 0.8, 0.3], 0.76), (("decoupled", 0), [0.9, 0.9, 0.9, 1], 0.95)):
        k = int(found[key])
        assert 1 < k <= MOST and expected_best(scores, k) >= level > expected_best(scores, k - 1)


def test_widths_are_measured_against_the_best_of_all_of_the_same_seed() -> None:
    found = widths(two_seeds()).set_index(["coupling", "seed"])["share"]
    assert found.to_dict() == {("l2", 0): 0.0, ("l2", 1): 0.25, ("decoupled", 0): 0.25, ("decoupled", 1): 0.0}
    lost = two_seeds().assign(diverged_at=3.0)
    assert (widths(lost)["share"] == 0).all()
    half = widths(two_seeds().assign(score=lambda runs: runs["score"] / 2))
    assert half["share"].tolist() == widths(two_seeds())["share"].tolist(), "a share of the best, not points"


@pytest.mark.parametrize("slope", [-1.0, 0.0, 1.0])
def test_the_best_lambda_moves_as_the_ridge_does(slope: float) -> None:
    assert moved(ridge(slope)) == pytest.approx(slope)
    assert moved(over_the_product(ridge(slope))) == pytest.approx(slope + 1)


def test_where_lambda_does_not_matter_the_window_is_what_moves() -> None:
    flat = ridge(0.0).assign(score=1.0)
    assert moved(flat) == pytest.approx(0) and moved(over_the_product(flat)) == pytest.approx(1)


def test_the_middle_is_of_cells_near_the_best_of_their_learning_rate() -> None:
    runs = made({(0.1, 0.01): 0.99, (0.1, 0.1): 1.0, (0.1, 1.0): 0.5, (1.0, 0.01): 0.2, (1.0, 0.1): 0.6, (1.0, 1.0): 0})
    assert middles(runs) == pytest.approx({0.1: -1.5, 1.0: -1.0})
    assert moved(runs) == pytest.approx(0.5)


def test_a_learning_rate_that_fails_has_no_best_lambda() -> None:
    runs = made({(0.1, 0.01): 1.0, (0.1, 0.1): 0.2, (1.0, 0.01): 0.01, (1.0, 0.1): 0.02})
    assert middles(runs) == {0.1: -2.0} and math.isnan(moved(runs))


def test_a_diagonal_is_correlated_and_a_new_label_takes_that_away() -> None:
    diagonal = ridge(-1.0)
    assert correlation(diagonal, 0.2) == pytest.approx(-1)
    assert math.isnan(correlation(over_the_product(diagonal), 0.2)), "one product is best at every learning rate"
    assert correlation(ridge(1.0), 0.2) == pytest.approx(1)
    assert correlation(over_the_product(diagonal), 1.0) > correlation(diagonal, 0.5)
    assert correlation(diagonal, 1.0) == pytest.approx(0), "all cells of a full grid: nothing is correlated"


def test_the_rectangle_has_the_lambdas_of_every_learning_rate() -> None:
    full = ridge(0.0)
    assert len(rectangle(full)) == len(full)
    shared = rectangle(over_the_product(full))
    assert sorted(shared["weight_decay"].unique()) == pytest.approx([1e-4, 1e-3, 1e-2])
    assert shared.groupby("weight_decay")["lr"].nunique().tolist() == [3, 3, 3]
    assert rectangle(full.query("lr == 1 or weight_decay > 0.5")).groupby("lr").size().tolist() == [1, 1, 1]


def test_products_that_are_equal_are_one_column() -> None:
    halves = [10 ** (-half / 2) for half in range(5)]
    runs = made({(lr, strength): 0.5 for lr in halves for strength in halves})
    assert over_the_product(runs)["weight_decay"].nunique() == 9
