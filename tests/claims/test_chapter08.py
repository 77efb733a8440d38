"""Claims of chapter 08: what their measures return, and that each fails when its reason is taken away."""

from __future__ import annotations

import itertools
import math

import pandas as pd
import pytest

from wdlab import claims
from wdlab.claims import CLAIMS, Setting, chapter08
from wdlab.claims.chapter08 import (
    EPS,
    EVERY,
    STRENGTHS,
    bleu_of_best,
    cut,
    drowned,
    over_the_grid,
    rates,
    room,
    seeing,
    strengths,
    surplus,
    trained,
    translating,
    undamped,
    weakest,
)
from wdlab.decay import COUPLINGS
from wdlab.grids import NONE, of, tabulate
from wdlab.stats import differences
from wdlab.tasks import bleu

SEEDS = (10_000, 10_001)
SETTING = Setting("ci", SEEDS, "cpu")
BASES = {"translating": translating, "seeing": seeing}


def runs(scores: dict[tuple[float, float], tuple[float, float]], coupling: str = "l2") -> pd.DataFrame:
    """A grid of one seed from (lr, lambda) -> (score, decay's share)."""
    rows = [
        {"lr": lr, "weight_decay": strength, "score": score, "decay_share": share, "objective_step": lr}
        for (lr, strength), (score, share) in scores.items()
    ]
    return pd.DataFrame(rows).assign(coupling=coupling, seed=0, diverged_at=math.nan)


GRID = {
    (0.1, 1.0): (0.30, 0.0), (0.1, 2.0): (0.90, 0.2), (0.1, 3.0): (0.86, 0.4), (0.1, 4.0): (0.50, 0.7),
    (0.2, 1.0): (0.91, 0.1), (0.2, 2.0): (0.80, 0.3), (0.2, 3.0): (0.70, 0.5), (0.2, 4.0): (0.10, 0.9),
    (0.3, 1.0): (0.10, 0.0), (0.3, 2.0): (0.10, 0.2), (0.3, 3.0): (0.10, 0.4), (0.3, 4.0): (0.20, 0.9),
}  # fmt: skip


def test_the_claims_come_after_those_of_the_chapters_before() -> None:
    names, own = list(CLAIMS), [claim.id for claim in chapter08.CLAIMS]
    first = names.index(own[0])
    assert names[first : first + len(own)] == own
    assert all(names.index(claim.id) < first for claim in claims.chapter07.CLAIMS)


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
@pytest.mark.parametrize("scale", claims.SCALES)
@pytest.mark.parametrize("every", [False, True])
def test_runs_of_a_grid_differ_in_seed_lr_and_decay_alone(scale: str, base: claims.claim.Callable, every: bool) -> None:
    found = over_the_grid(base(scale), scale, SEEDS, every)
    told = {line.split(":")[0] for run in found for line in differences(found[0], run)}
    assert told == {"seed", "optimizer.lr", "decay.strength", "decay.coupling"}
    assert {run.optimizer.eps for run in found} == {EPS}
    counts = pd.Series([run.decay.coupling if run.decay.strength else NONE for run in found]).value_counts()
    assert set(counts.index) == {NONE, *(COUPLINGS if every else set(STRENGTHS) - {NONE})}
    assert counts.drop(NONE).nunique() == 1 and counts["l2"] == counts[NONE] * len(strengths(scale)["l2"])


def test_every_coupling_has_as_many_powers_of_ten() -> None:
    steps = {name: [math.log10(b / a) for a, b in itertools.pairwise(some)] for name, some in EVERY.items()}
    assert all(found == pytest.approx([1, 1, 1]) for name, found in steps.items() if name != NONE)


def test_every_coupling_has_its_place_in_the_grid_of_the_four() -> None:
    base = translating("demo")
    every, four = (over_the_grid(base, "demo", SEEDS, every) for every in (True, False))
    assert set(four) < set(every) and len(set(every)) == len(every) == len(rates("demo")) * (1 + 6 * 4) * len(SEEDS)
    assert list(EVERY) == [NONE, *COUPLINGS] and all(EVERY[name] == some for name, some in STRENGTHS.items())
    assert len({EVERY[name] for name in EVERY if name not in (NONE, "decoupled")}) == 1, "l2's lambdas for the others"


def test_undamped_runs_differ_in_eps() -> None:
    base = translating("demo")
    for run in undamped(base, 10_000):
        told = {line.split(":")[0] for line in differences(run, base)}
        assert "optimizer.eps" in told and told <= {"optimizer.eps", "seed", "decay.strength", "decay.coupling"}
        assert run.decay.strength == 0 or run.decay.strength == sorted(STRENGTHS[run.decay.coupling])[2]
    assert {run.decay.coupling for run in undamped(base, 10_000) if run.decay.strength} == set(STRENGTHS) - {NONE}


@pytest.mark.parametrize("claim", chapter08.CLAIMS, ids=lambda claim: claim.id)
def test_seeds_are_measured_one_by_one(claim: claims.Claim) -> None:
    for measure in (claim.measure, claim.control):
        both, alone = measure(SETTING), measure(Setting("ci", SEEDS[1:], "cpu"))
        assert len(both) == 2 and both[1:] == pytest.approx(alone, rel=1e-6, abs=1e-9, nan_ok=True)


def test_room_is_measured_against_the_best_of_both() -> None:
    flat = {cell: (0.5, 0.1) for cell in GRID}
    both = pd.concat([runs(flat), runs(GRID, "decoupled")])
    assert room(both) == pytest.approx(3 / 12), "cells of decoupled from 0.86 up; none of l2"
    assert room(pd.concat([runs(flat), runs(flat, "decoupled")])) == 0
    assert room(both, "l2", "decoupled") == -room(both)


def test_without_decay_there_is_no_room_to_win() -> None:
    both = pd.concat(
        [runs(GRID), runs({cell: (s - 0.9 * (cell[1] > 1), d) for cell, (s, d) in GRID.items()}, "decoupled")]
    )
    assert room(both) < 0 == room(weakest(both))
    assert set(of(weakest(both), "l2")["weight_decay"]) == {1.0}


def test_cells_are_drowned_by_decay_and_not_by_a_learning_rate() -> None:
    found = drowned(runs(GRID)).set_index(["lr", "weight_decay"])["role"]
    assert {key for key, role in found.items() if role == "best"} == {(0.1, 2.0), (0.2, 1.0), (0.3, 4.0)}
    assert {key for key, role in found.items() if role == "drowned"} == {(0.1, 4.0), (0.2, 2.0), (0.2, 3.0), (0.2, 4.0)}


def test_roles_do_not_hang_on_the_order_of_the_runs_and_of_equal_cells_the_weakest_is_the_best() -> None:
    tied = {**GRID, (0.1, 3.0): GRID[0.1, 2.0], (0.3, 1.0): (0.20, 0.0)}
    roles = [
        drowned(table).set_index(["lr", "weight_decay"])["role"].to_dict()
        for table in (runs(tied), runs(tied).iloc[::-1], runs(tied).sample(frac=1, random_state=1))
    ]
    assert roles[0] == roles[1] == roles[2]
    assert {cell for cell, role in roles[0].items() if role == "best"} == {(0.1, 2.0), (0.2, 1.0), (0.3, 1.0)}
    assert {cell for cell, role in roles[0].items() if role == "drowned" and cell[0] == 0.3} == {(0.3, 2.0), (0.3, 3.0)}


def test_bleu_is_that_of_the_best_run_of_each_seed_and_coupling() -> None:
    base = translating("ci")
    results = trained(over_the_grid(base, "ci", SEEDS))
    table = tabulate(results, chapter08.metric("ci"))
    found = bleu_of_best(results, table, base.task)
    assert len(found) == 2 * len(STRENGTHS) and set(found["seed"]) == set(SEEDS)
    assert (
        table["score"][found.index] == table.groupby(["seed", "coupling"])["score"].transform("max")[found.index]
    ).all()
    some = found.index[3]
    assert found["score"][some] == pytest.approx(bleu([results.histories[some].network], base.task)[0])
    lost = table.assign(diverged_at=3.0)
    assert (bleu_of_best(results, lost, base.task)["score"] == 0).all()


def test_the_surplus_is_a_mean_over_learning_rates_that_drown() -> None:
    assert surplus(runs(GRID)) == pytest.approx(((0.7 - 0.2) + ((0.3 + 0.5 + 0.9) / 3 - 0.1)) / 2)
    assert math.isnan(surplus(runs({cell: (0.5, share) for cell, (_, share) in GRID.items()})))


def test_the_cut_is_that_of_the_objective_in_the_cells_that_l2_spoils() -> None:
    spoiled = {(0.1, 4.0): 0.5, (0.2, 2.0): 0.25, (0.2, 3.0): 0.5, (0.2, 4.0): 1.0}
    l2, other = runs(GRID), runs({cell: (0.9, 0.1) for cell in GRID}, "first_moment")
    l2["objective_step"] *= [spoiled.get(cell, 7.0) for cell in GRID]
    shuffled = pd.concat([other, l2]).sample(frac=1, random_state=0)
    assert cut(shuffled) == pytest.approx(1 - (0.5 * 0.25 * 0.5) ** (1 / 4))
    assert cut(shuffled, "first_moment", "l2") == pytest.approx(1 - (0.5 * 0.25 * 0.5) ** (-1 / 4))
    lost = other.assign(objective_step=[math.nan if cell == (0.2, 2.0) else 1.0 for cell in GRID])
    assert math.isnan(cut(pd.concat([l2, lost]))), "a partner without a reading is not left out in silence"
    flat = {cell: (0.5, share) for cell, (_, share) in GRID.items()}
    assert math.isnan(cut(pd.concat([runs(flat), other])))


def test_the_best_of_every_seed_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [runs(GRID, "adaptive"), runs({cell: (s - 0.2, d) for cell, (s, d) in GRID.items()}, "decoupled")]
    none = runs({(0.1, 0.0): (0.3, 0.0), (0.2, 0.0): (0.6, 0.0)}, NONE)
    table = pd.concat([*made, none])
    monkeypatch.setattr(chapter08, "_table", lambda _: pd.concat([table.assign(seed=seed) for seed in SEEDS]))
    claim = CLAIMS["adaptive-is-not-worse"]
    assert claim.measure(SETTING) == pytest.approx([0.2, 0.2]) and claim.control(SETTING) == pytest.approx([-0.11] * 2)
    verdict = claim.check("ci", 10_000, "cpu")
    assert verdict.holds and verdict.smallest == -0.05
