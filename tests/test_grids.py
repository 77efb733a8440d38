"""Grids of learning rates and lambdas: the runs, their table, and what is read off it."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest

from wdlab import Decay, Model, Optimizer, Run, sweep
from wdlab.grids import (
    NONE,
    best_strengths,
    cells,
    decades_moved,
    decay_share,
    good_shares,
    grid,
    objective_step,
    of,
    tabulate,
)
from wdlab.stats import differences

BASE = Run(model=Model(width=8, depth=1), optimizer=Optimizer("adam", 0.01, eps=1e-4), steps=40, evaluations=4)
STRENGTHS = {NONE: (0.0,), "l2": (1e-3, 1e-1), "decoupled": (0.1, 1e12)}
LRS, SEEDS = (0.001, 0.01), (10_000, 10_001)


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return tabulate(sweep(grid(BASE, STRENGTHS, LRS, SEEDS), jobs=1))


def made(scores: dict[tuple[float, float], float]) -> pd.DataFrame:
    """Runs of one coupling and seed from scores by (lr, lambda)."""
    rows = [{"lr": lr, "weight_decay": strength, "score": score} for (lr, strength), score in scores.items()]
    return pd.DataFrame(rows).assign(coupling="l2", seed=0, diverged_at=math.nan, decay_share=0.5)


def test_a_grid_has_every_cell_of_every_coupling_once_a_seed() -> None:
    found = grid(BASE, STRENGTHS, LRS, SEEDS)
    assert len(found) == len(set(found)) == 2 * 2 * (1 + 2 + 2)
    assert {(run.optimizer.lr, run.seed) for run in found if run.decay == Decay()} == {
        (lr, seed) for lr in LRS for seed in SEEDS
    }
    alike = [run for run in found if run.decay == Decay(1e-3, coupling="l2") and run.seed == SEEDS[0]]
    assert differences(*alike) == ["optimizer.lr: 0.001 against 0.01"]
    assert replace(found[0], optimizer=BASE.optimizer, decay=BASE.decay, seed=BASE.seed) == BASE


def test_no_decay_is_a_coupling_of_its_own(runs: pd.DataFrame) -> None:
    assert dict(runs["coupling"].value_counts()) == {NONE: 4, "l2": 8, "decoupled": 8}
    assert (of(runs, NONE)["decay_share"] == 0).all() and of(runs, "l2")["decay_share"].between(0.01, 0.99).all()
    with pytest.raises(ValueError, match="coupling='adaptive' is unknown"):
        of(runs, "adaptive")


def test_what_diverged_counts_as_nothing_right_and_is_named(runs: pd.DataFrame) -> None:
    lost = runs[runs["diverged_at"].notna()]
    assert len(lost) >= 2 and (lost["score"] == 0).all() and (lost["weight_decay"] == 1e12).all()
    found = of(cells(runs), "decoupled").set_index(["lr", "weight_decay"])
    (cell,) = [row for key, row in found.iterrows() if row["diverged"] == 2][:1]
    assert cell["score"] == 0 and not cell["good"] and cell["seeds"] == 2
    assert cell["diverged_at"] == lost[lost["lr"] == cell.name[0]]["diverged_at"].min()


def test_a_cell_in_which_one_seed_diverged_is_half_as_good(runs: pd.DataFrame) -> None:
    some = of(runs, "l2").query("lr == 0.01 and weight_decay == 0.001").reset_index(drop=True)
    broken = some.assign(score=[some["score"][0], 0.0], diverged_at=[math.nan, 7.0])
    (cell,) = cells(broken).itertuples()
    assert cell.score == pytest.approx(some["score"][0] / 2) and (cell.diverged, cell.diverged_at) == (1, 7)


def test_a_score_is_the_last_reading_of_its_metric(runs: pd.DataFrame) -> None:
    results = sweep(grid(BASE, {"l2": (1e-3,)}, LRS, SEEDS), jobs=1)
    assert tabulate(results)["score"].tolist() == [1 - h.curves["test_error"][-1] for h in results.histories]
    assert tabulate(results, "weight_norm")["score"].tolist() == results.table["weight_norm"].tolist()
    chance = tabulate(results, "word_chance")["score"].tolist()
    assert chance == pytest.approx([math.exp(-h.curves["test_loss"][-1]) for h in results.histories])
    with pytest.raises(ValueError, match="metric='accuracy' is unknown"):
        tabulate(results, "accuracy")


def test_decays_share_is_the_mean_over_readings_of_its_part() -> None:
    (history,) = sweep([replace(BASE, decay=Decay(0.1, coupling="l2"))], jobs=1).histories
    decay, rest = (history.curves[name][1:] for name in ("decay_step", "objective_step"))
    expected = sum(d / (d + r) for d, r in zip(decay, rest, strict=True)) / 4
    assert math.isnan(history.curves["decay_step"][0]) and decay_share(history) == pytest.approx(expected)
    assert decay_share(history, (0.25, 0.5)) == pytest.approx(decay[1] / (decay[1] + rest[1]))
    lost = replace(history, curves={name: (math.nan,) * 5 for name in history.curves})
    assert math.isnan(decay_share(lost)) and math.isnan(decay_share(history, (0.3, 0.4)))


def test_a_share_that_one_seed_lacks_the_cell_lacks() -> None:
    some = pd.concat([made({(0.1, 1.0): 0.5}), made({(0.1, 1.0): 0.5}).assign(seed=1, decay_share=math.nan)])
    assert math.isnan(cells(some)["decay_share"].item()) and cells(some)["seeds"].item() == 2


def test_a_cell_without_the_score_of_one_seed_has_none_and_is_not_good() -> None:
    two = {(0.1, 1.0): 0.5, (0.1, 2.0): 0.5}
    found = cells(pd.concat([made(two), made({(0.1, 1.0): math.nan, (0.1, 2.0): 0.5}).assign(seed=1)]))
    assert found["score"].tolist() == pytest.approx([math.nan, 0.5], nan_ok=True)
    assert found["good"].tolist() == [False, True] and found["seeds"].tolist() == [2, 2]


def test_the_good_basin_is_within_five_points_of_the_best() -> None:
    scores = {(0.1, 1.0): 0.9, (0.1, 2.0): 0.851, (0.2, 1.0): 0.849, (0.2, 2.0): 0.1}
    assert good_shares(made(scores)) == {"l2": 0.5}
    assert good_shares(made(scores), near=0.06) == {"l2": 0.75}
    assert good_shares(made(dict.fromkeys(scores, 0.3))) == {"l2": 1}


def test_the_best_is_that_of_all_couplings() -> None:
    flat = made({(0.1, 1.0): 0.3, (0.1, 2.0): 0.31})
    better = made({(0.1, 1.0): 0.9, (0.1, 2.0): 0.1}).assign(coupling="decoupled")
    assert good_shares(flat) == {"l2": 1}, "alone it is good everywhere"
    assert good_shares(pd.concat([flat, better])) == {"l2": 0, "decoupled": 0.5}


def test_where_all_diverged_nothing_is_good() -> None:
    assert good_shares(made({(0.1, 1.0): 0.0, (0.1, 2.0): 0.0}).assign(diverged_at=3.0)) == {"l2": 0}


def test_the_best_lambda_and_how_far_it_moves() -> None:
    scores = {(0.1, 1.0): 0.5, (0.1, 10.0): 0.9, (0.2, 1.0): 0.7, (0.2, 10.0): 0.7, (0.4, 1.0): 0.8, (0.4, 10.0): 0.1}
    assert best_strengths(made(scores)) == {0.1: 10.0, 0.2: 1.0, 0.4: 1.0}
    assert decades_moved(made(scores)) == pytest.approx(-1)
    assert decades_moved(made({(lr, strength): s for (lr, strength), s in scores.items() if lr != 0.1})) == 0


def test_a_rate_at_which_nothing_has_a_score_has_no_best_lambda() -> None:
    scores = {(0.1, 1.0): math.nan, (0.1, 10.0): math.nan, (0.2, 1.0): 0.7, (0.2, 10.0): math.nan}
    assert best_strengths(made(scores)) == {0.2: 1.0}
    assert math.isnan(decades_moved(made(scores)))


def test_the_objectives_step_is_a_mean_over_the_readings_of_its_part() -> None:
    (history,) = sweep([replace(BASE, decay=Decay(0.1, coupling="l2"))], jobs=1).histories
    lengths = history.curves["objective_step"][1:]
    assert objective_step(history) == pytest.approx(sum(lengths) / 4)
    assert objective_step(history, (0.25, 0.5)) == pytest.approx(lengths[1])
    early = replace(history, curves={**history.curves, "objective_step": (math.nan, 2.0, 4.0, math.nan, math.nan)})
    assert objective_step(early) == 3.0 and math.isnan(objective_step(early, (0.5, 1.0)))
    assert tabulate(sweep([history.run], jobs=1))["objective_step"].tolist() == [objective_step(history)]
