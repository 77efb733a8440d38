"""Claims of chapter 10: what their measures return, that SGD's relabelling is exact, and whose runs they rest on."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.test_tuning import made, ridge
from wdlab import claims, sweep
from wdlab.claims import CLAIMS, SCALES, Setting, chapter08, chapter09, chapter10
from wdlab.claims.chapter10 import (
    GRIDS,
    HALVES,
    MOMENTA,
    SLOPED,
    descended,
    descending,
    doublings,
    fair_doublings,
    needed,
    over_halves,
    relabelled,
    seeds_of,
    slant,
    stiffness,
    stiffness_of_one_label,
    still_slanted,
    table,
)
from wdlab.grids import of
from wdlab.stats import differences
from wdlab.tuning import MOST, correlation, over_the_product, search, widths

SEEDS = (10_000, 10_001)
SETTING = Setting("ci", SEEDS, "cpu")


def test_the_claims_come_last_and_each_grid_has_its_own() -> None:
    names, own = list(CLAIMS), [claim.id for claim in chapter10.CLAIMS]
    assert names[-len(own) :] == own
    assert {f"fewer-trials-in-{name}" for name in GRIDS} | {f"l2-moves-in-{name}" for name in SLOPED} < set(own)


@pytest.mark.parametrize("scale", ("demo", "gpu"))
def test_a_slope_is_claimed_where_there_are_three_learning_rates(scale: str) -> None:
    rates = {name: {run.optimizer.lr for run in GRIDS[name].runs(scale, SEEDS)} for name in GRIDS}
    assert {name for name, some in rates.items() if len(some) >= 3} == set(SLOPED)


@pytest.mark.parametrize("scale", SCALES)
def test_the_grids_are_those_of_the_chapters_before(scale: str) -> None:
    bases = {"vision": (chapter08, chapter08.seeing), "translation": (chapter08, chapter08.translating)}
    bases["rl"] = (chapter09, chapter09.playing)
    assert set(bases) == set(GRIDS)
    for name, (chapter, base) in bases.items():
        if (name, scale) != ("rl", "paper"):  # which asks for ale-py
            assert GRIDS[name].runs(scale, SEEDS) == chapter.over_the_grid(base(scale), scale, SEEDS)
    for name in GRIDS:
        many = len(seeds_of(name, scale))
        assert CLAIMS[f"fewer-trials-in-{name}"].levels[scale].seeds == many >= 2
        assert seeds_of(name, scale, 100) == tuple(range(100, 100 + many))


@pytest.mark.parametrize("claim", chapter10.CLAIMS, ids=lambda claim: claim.id)
def test_seeds_are_measured_one_by_one(claim: claims.Claim) -> None:
    for measure in (claim.measure, claim.control):
        both, alone = measure(SETTING), measure(Setting("ci", SEEDS[1:], "cpu"))
        assert len(both) == 2 and both[1:] == pytest.approx(alone, rel=1e-6, abs=1e-9, nan_ok=True)


def test_nobody_changes_a_kept_table() -> None:
    for mine in (table("vision", SETTING), descended("plain SGD", SETTING)):
        mine["score"] = 0.0
    assert (table("vision", SETTING)["score"] > 0).any() and (descended("plain SGD", SETTING)["score"] > 0).any()


@pytest.mark.parametrize("name", MOMENTA)
@pytest.mark.parametrize("scale", SCALES)
def test_learning_rates_and_lambdas_are_in_equal_steps_so_that_products_meet(name: str, scale: str) -> None:
    runs = over_halves(descending(scale, MOMENTA[name]), SEEDS)
    told = {line.split(":")[0] for run in runs for line in differences(runs[0], run)}
    assert told == {"seed", "optimizer.lr", "decay.strength"}
    lrs, strengths = ({pick(run) for run in runs} for pick in (lambda r: r.optimizer.lr, lambda r: r.decay.strength))
    assert len(runs) == 2 * len(lrs) * len(strengths)
    cells = pd.DataFrame([{"lr": run.optimizer.lr, "weight_decay": run.decay.strength} for run in runs])
    assert over_the_product(cells)["weight_decay"].nunique() == len(lrs) + len(strengths) - 1


def test_momentum_makes_the_learning_rates_smaller_by_what_it_adds() -> None:
    plain, heavy = ({run.optimizer.lr for run in over_halves(descending("demo", b), SEEDS)} for b in (0.0, 0.9))
    assert sorted(plain) == pytest.approx([10 * lr for lr in sorted(heavy)])
    assert max(plain) == HALVES[0]


def test_the_relabelling_is_exact_for_plain_sgd_and_for_it_alone() -> None:
    def gap(momentum: float) -> float:
        run = replace(descending("ci", momentum), seed=10_000)
        nets = [h.network for h in sweep([run, relabelled(run)], device="cpu", jobs=1, networks=True).histories]
        return max((nets[0][key] - nets[1][key]).abs().max().item() for key in nets[0] if key.startswith("weight"))

    assert gap(0.0) < 1e-4 < 1e-2 < gap(0.9)


def test_doublings_count_trials_and_are_cut_at_the_largest_budget() -> None:
    cells = [(0.1, 1.0), (0.1, 2.0), (0.2, 1.0), (0.2, 2.0)]
    wide = made(dict(zip(cells, [1.0, 1.0, 1.0, 0.0], strict=True)), "decoupled")
    narrow = made(dict(zip(cells, [1.0, 0.0, 0.0, 0.0], strict=True)), "l2")
    never = narrow.assign(score=narrow["score"] / 2)
    # 1 - (1/4)^k reaches 0.95 at k = 3, and 1 - (3/4)^k at k = 11
    assert doublings(pd.concat([wide, narrow])) == pytest.approx(math.log2(11 / 3))
    assert doublings(pd.concat([wide, never])) == pytest.approx(math.log2(MOST / 3))
    assert needed(pd.concat([wide, never])) == {"decoupled": 3, "l2": math.inf}
    assert doublings(pd.concat([wide, wide.assign(coupling="l2")])) == 0


def test_luck_counts_as_found_and_not_where_other_seeds_judge() -> None:
    """l2 has a cell that is good with one seed each; decoupled decay has one that is good with all of them."""
    cells = [(0.1, 1.0), (0.1, 2.0), (0.2, 1.0)]
    seeds = range(3)
    lucky = [made(dict(zip(cells, np.eye(3)[seed], strict=True)), "l2").assign(seed=seed) for seed in seeds]
    steady = [made(dict(zip(cells, [0.9, 0.0, 0.0], strict=True)), "decoupled").assign(seed=seed) for seed in seeds]
    runs = pd.concat([*lucky, *steady])
    as_found = [doublings(part) for _, part in runs.groupby("seed")]
    assert all(one < 0 for one in as_found), "as found l2's best is the best of both"
    assert fair_doublings(runs) == pytest.approx([math.log2(MOST / 8)] * 3), "1 - (2/3)^8 > 0.95 > 1 - (2/3)^7"
    assert np.isnan(fair_doublings(runs[runs["seed"] == 0])).all(), "one seed has nobody to be judged by"


def test_without_luck_both_ways_of_counting_agree() -> None:
    cells = [(0.1, 1.0), (0.1, 2.0), (0.2, 1.0), (0.2, 2.0)]
    wide = made(dict(zip(cells, [1.0, 1.0, 1.0, 0.0], strict=True)), "decoupled")
    narrow = made(dict(zip(cells, [1.0, 0.0, 0.0, 0.0], strict=True)), "l2")
    runs = pd.concat([part.assign(seed=seed) for part in (wide, narrow) for seed in (0, 1)])
    assert fair_doublings(runs) == pytest.approx([doublings(runs[runs["seed"] == seed]) for seed in (0, 1)])


def test_a_run_whose_game_raised_leaves_its_seed_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    both = pd.concat([ridge(-1.0).assign(coupling=name) for name in ("l2", "decoupled")])
    broken = both.assign(seed=1).reset_index(drop=True)
    broken.loc[0, "score"] = math.nan
    runs, setting = pd.concat([both.assign(seed=0), broken]), replace(SETTING, seeds=(0, 1))
    monkeypatch.setattr(chapter10, "sweep", lambda *_, **__: None)
    monkeypatch.setitem(GRIDS, "rl", replace(GRIDS["rl"], scored=lambda *_: runs))
    chapter10._table.cache_clear()
    with caplog.at_level(logging.WARNING):
        left = table("rl", setting)
    assert "1 of 2 seeds of the grid of rl are left out" in caplog.text
    assert set(left["seed"]) == {0} and len(left) == len(both) and left["score"].notna().all()
    assert set(search(left)["seed"]) == {0} and len(widths(left)) == 2, "where a NaN is refused"
    found = CLAIMS["fewer-trials-in-rl"].measure(setting)
    assert found[0] == 0 and math.isnan(found[1])
    chapter10._table.cache_clear()


def test_stiffness_compares_two_labels_and_its_control_one() -> None:
    diagonal, flat = ridge(-1.0), ridge(0.0)
    both = pd.concat([diagonal, diagonal.assign(coupling="decoupled")])
    assert stiffness(both) == pytest.approx(1) and stiffness_of_one_label(both) == pytest.approx(0)
    both = pd.concat([diagonal, flat.assign(coupling="decoupled")])
    assert stiffness(both) == pytest.approx(0) and stiffness_of_one_label(both) == pytest.approx(1)


def test_the_stiffness_of_a_flat_grid_is_not_zero() -> None:
    flat = ridge(0.0).assign(score=1.0)
    both = pd.concat([flat, flat.assign(coupling="decoupled")])
    assert stiffness(both) == pytest.approx(-1) and stiffness_of_one_label(both) == pytest.approx(0)


def test_the_slant_is_minus_the_correlation() -> None:
    assert slant(ridge(-1.0)) == -correlation(ridge(-1.0)) > 0.4


def halves(score: Callable[[float, float], float]) -> pd.DataFrame:
    """The cells of the SGD grid, their scores by log10 lr and log10 lambda."""
    return made(
        {(lr, strength): score(math.log10(lr), math.log10(strength)) for lr in HALVES[:4] for strength in HALVES}
    )


def test_noise_has_no_slant_under_either_label_but_its_size_is_not_zero() -> None:
    draw = np.random.default_rng(0)
    grids = [halves(lambda *_: draw.random()) for _ in range(100)]
    for found in ([slant(one) for one in grids], [slant(over_the_product(one)) for one in grids]):
        assert abs(np.mean(found)) < 4 * np.std(found) / len(found) ** 0.5 < 0.2
    assert 0.2 < np.mean([still_slanted(one) for one in grids]) < 0.4


LEANS = [(-1, (0.65, 1), (0, 0.3)), (1, (-1, -0.65), (0.65, 1)), (0, (-0.2, 0.2), (0.5, 1)), (-2, (0.7, 1), (0.5, 1))]


@pytest.mark.parametrize(("slope", "over_lambda", "over_product"), LEANS)
def test_the_control_is_gone_only_where_the_product_is_what_counts(
    slope: float, over_lambda: tuple[float, float], over_product: tuple[float, float]
) -> None:
    draw = np.random.default_rng(0)  # a little noise, so that cells which tie are taken by chance
    basins = [
        halves(lambda lr, strength: 0.01 * draw.normal() - abs(strength + 1.25 - slope * (lr + 0.75)))
        for _ in range(15)
    ]
    assert over_lambda[0] <= np.mean([slant(one) for one in basins]) <= over_lambda[1]
    assert over_product[0] <= np.mean([still_slanted(one) for one in basins]) <= over_product[1]


def test_beyond_plain_sgd_the_claim_is_ours() -> None:
    plain, heavy = (CLAIMS[f"{name}-basin-is-diagonal"].source for name in ("sgd", "momentum"))
    assert plain.startswith("after Loshchilov") and heavy.startswith("ours")


def test_the_claims_read_the_couplings_they_name() -> None:
    runs = table("vision", SETTING)
    some = runs[(runs["seed"] == SEEDS[0])]
    claim = CLAIMS["fewer-trials-in-vision"]
    assert claim.measure(SETTING)[0] == doublings(pd.concat([of(some, "l2"), of(some, "decoupled")]))
