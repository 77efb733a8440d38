"""Claims of chapter 09: their grid, their scores, seeds one by one, and what the measures say of made-up grids."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from wdlab import claims, sweep
from wdlab.claims import Setting, chapter09
from wdlab.claims.chapter09 import (
    EPS,
    STRENGTHS,
    WITHIN,
    breaking,
    few,
    gradients,
    late,
    over_the_grid,
    playing,
    room,
    room_by_window,
    scored,
    shifted,
    spoiled_surplus,
)
from wdlab.grids import NONE
from wdlab.stats import differences

SEEDS = (10_000, 10_001)
SETTING = Setting("ci", SEEDS, "cpu")


@pytest.mark.parametrize("base", [playing, breaking])
@pytest.mark.parametrize("scale", ["ci", "demo", "gpu"])
def test_runs_of_a_grid_differ_in_seed_lr_and_decay_alone(scale: str, base: claims.claim.Callable) -> None:
    found = over_the_grid(base(scale), scale, SEEDS)
    told = {line.split(":")[0] for run in found for line in differences(found[0], run)}
    assert told == {"seed", "optimizer.lr", "decay.strength", "decay.coupling"}
    assert {run.optimizer.eps for run in found} == {EPS}


def test_every_coupling_has_as_many_powers_of_ten() -> None:
    steps = {name: [math.log10(b / a) for a, b in itertools.pairwise(some)] for name, some in STRENGTHS.items()}
    assert all(found == pytest.approx([1, 1, 1]) for name, found in steps.items() if name != NONE)
    assert {len(some) for some in STRENGTHS.values()} == {1, 4}


def test_few_are_no_decay_and_two_lambdas_a_coupling() -> None:
    assert len(few(breaking("ci"), SEEDS)) == 2 * (1 + 3 * 2)


def test_the_score_is_the_mean_of_the_second_half() -> None:
    results = sweep(over_the_grid(playing("ci"), "ci", SEEDS[:1])[:3], jobs=1)
    table = scored(results)
    for history, score in zip(results.histories, table["score"], strict=True):
        steps, errors = np.array(history.steps), np.array(history.curves["test_error"])
        assert late(history) == score == pytest.approx(1 - errors[steps > history.run.steps / 2].mean())


@pytest.mark.parametrize("claim", chapter09.CLAIMS, ids=lambda claim: claim.id)
def test_seeds_are_measured_one_by_one(claim: claims.Claim) -> None:
    for measure in (claim.measure, claim.control):
        both, alone = measure(SETTING), measure(Setting("ci", SEEDS[1:], "cpu"))
        assert len(both) == 2 and both[1:] == pytest.approx(alone, rel=1e-5, abs=1e-6, nan_ok=True)


def cells_of(coupling: str, scores: list[float], seed: int = 0) -> pd.DataFrame:
    rows = [{"weight_decay": float(k + 1), "lr": 0.1, "score": score} for k, score in enumerate(scores)]
    return pd.DataFrame(rows).assign(coupling=coupling, seed=seed, diverged_at=math.nan, decay_share=0.1)


def test_room_is_measured_against_the_best_of_both() -> None:
    both = pd.concat([cells_of("l2", [0.5, 0.4, 0.1]), cells_of("decoupled", [0.55, 0.5, 0.47])])
    assert room(both, "decoupled") == pytest.approx(1 - 1 / 3)
    assert room(both, "l2", "decoupled") == -room(both, "decoupled")
    assert WITHIN == 0.1


def test_a_surplus_comes_from_shares_that_grow_whatever_spoils_the_score() -> None:
    grows = [0.1, 0.2, 0.6]
    both = pd.concat(
        [
            cells_of("l2", [0.5, 0.2, 0.2]).assign(decay_share=grows),
            cells_of("decoupled", [0.2, 0.5, 0.39]).assign(decay_share=grows),
        ]
    )
    assert spoiled_surplus(both, "l2") == pytest.approx(0.4 - 0.1)
    assert spoiled_surplus(both, "decoupled") == pytest.approx(0.6 - 0.2)
    kept = cells_of("l2", [0.5, 0.41, 0.41]).assign(decay_share=grows)
    assert math.isnan(spoiled_surplus(kept, "l2")), "a loss of 45 points spoils nothing"


def test_the_control_of_drowning_is_decoupled_decay(monkeypatch: pytest.MonkeyPatch) -> None:
    claim = claims.CLAIMS["l2-drowns-in-rl"]
    drowning = cells_of("l2", [0.5, 0.2, 0.2]).assign(decay_share=[0.1, 0.2, 0.6])
    level = cells_of("decoupled", [0.5, 0.2, 0.2]).assign(decay_share=0.3)
    monkeypatch.setattr(chapter09, "_table", lambda _: pd.concat([drowning, level]))
    alone = replace(SETTING, seeds=(0,))
    assert claim.measure(alone) == pytest.approx([0.3]) and claim.control(alone) == pytest.approx([0.0])


def test_a_window_loses_one_end() -> None:
    found = cells_of("l2", [0.5, 0.4, 0.1])
    kept = {drop: shifted(found, "l2", drop)["score"].tolist() for drop in ("none", "smallest", "largest")}
    assert kept == {"none": [0.5, 0.4, 0.1], "smallest": [0.4, 0.1], "largest": [0.5, 0.4]}
    with pytest.raises(ValueError, match="drop"):
        shifted(found, "l2", "middle")


def test_room_depends_on_where_the_windows_lie() -> None:
    """Two couplings that do the same: neither has more room, until one window is moved."""
    one = [cells_of(name, [0.5, 0.5, 0.1], seed) for name in ("l2", "decoupled") for seed in (0, 1)]
    found = room_by_window(pd.concat(one), "decoupled").set_index(["decoupled", "l2"])["effect"]
    assert found["none", "none"] == found["smallest", "smallest"] == found["largest", "largest"] == 0
    assert found["largest", "smallest"] == -found["smallest", "largest"] == pytest.approx(0.5)


def test_gradients_are_read_along_the_run() -> None:
    found = gradients(playing("ci"), readings=4, window=5)
    assert found["step"].tolist() == [0, 25, 50, 75]
    assert (found["size"] > 0).all() and found["still"].between(0, 1).all()
