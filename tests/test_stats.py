"""Paired effects: against scipy, and the refusal to compare what differs in two things."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference

from wdlab import Decay, History, Model, Optimizer, Results, Run, Schedule, Timing
from wdlab.stats import (
    Effect,
    bootstrap,
    differences,
    interquartile,
    interval,
    judge,
    kendall,
    kendall_over_seeds,
    paired,
    share,
    without_one,
)

FIRST, NEVER = Timing.first(0.5), Timing.never()


def test_a_verdict_that_hangs_on_one_seed_is_told_from_one_that_does_not() -> None:
    """Without its outlier the rest is beyond the bar; without any other it stays undecided."""
    assert without_one([0.5, 0.51, -2.0, 0.52], 0.3) == ["inconclusive", "inconclusive", "supported", "inconclusive"]
    assert set(without_one([0.5, 0.51, 0.49, 0.52], 0.6)) == {"not supported"}
    with pytest.raises(ValueError, match="at least three seeds"):
        without_one([0.5, 0.6], 0.3)


def history(run: Run, accuracy: float) -> History:
    curves = {"lr": 0.1, "weight_decay": 0.0, "train_loss": 1.0, "test_loss": 1.0, "test_error": 1 - accuracy}
    curves |= {"weight_norm": 2.0, "effective_lr": 0.01, "rotation": 0.1}
    return History(run, (run.steps,), {name: (value,) for name, value in curves.items()})


def results(worth: dict[tuple[Timing, int], float], **changes: object) -> Results:
    runs = {key: Run(decay=Decay(0.01, key[0]), seed=key[1], steps=10) for key in worth}
    return Results(tuple(history(runs[key], value) for key, value in worth.items()))


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20).filter(lambda x: max(x) - min(x) > 1e-6))
def test_interval_is_that_of_a_one_sample_t_test(values: list[float]) -> None:
    found = interval(values)
    low, high = reference.ttest_1samp(values, 0).confidence_interval(0.95)
    assert found.low == pytest.approx(low, rel=1e-9, abs=1e-9)
    assert found.high == pytest.approx(high, rel=1e-9, abs=1e-9)


def test_interval_of_one_value_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two seeds"):
        interval([1.0])


def test_a_diverged_seed_leaves_the_effect_undefined() -> None:
    found = interval([0.1, math.nan, 0.2])
    assert math.isnan(found.mean) and judge(found, 0.0) == "inconclusive"


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.1, 0.3, "supported"), (-0.3, 0.0, "not supported"), (0.0, 0.3, "inconclusive"), (0.05, 0.3, "inconclusive")],
)
def test_judge_reads_the_whole_interval(low: float, high: float, verdict: str) -> None:
    assert judge(Effect((low + high) / 2, low, high, ()), 0.05) == verdict


def test_paired_pairs_by_seed_whatever_the_order() -> None:
    worth = {(FIRST, 1): 0.9, (NEVER, 0): 0.5, (FIRST, 0): 0.6, (NEVER, 1): 0.7}
    assert paired(results(worth), "decay.timing", FIRST, NEVER).values == pytest.approx((0.1, 0.2))


def test_paired_is_antisymmetric() -> None:
    worth = {(FIRST, 1): 0.9, (NEVER, 0): 0.5, (FIRST, 0): 0.6, (NEVER, 1): 0.7}
    there, back = (paired(results(worth), "decay.timing", *arms) for arms in ((FIRST, NEVER), (NEVER, FIRST)))
    assert there.mean == pytest.approx(-back.mean) and there.low == pytest.approx(-back.high)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model": Model(width=7)}, "model.width"),
        ({"optimizer": Optimizer(lr=0.3)}, "optimizer.lr"),
        ({"decay": Decay(0.5, NEVER)}, "decay.strength"),
    ],
)
def test_arms_that_differ_in_a_second_thing_are_refused(change: dict[str, object], told: str) -> None:
    seeds = (0, 1)
    first = [Run(decay=Decay(0.01, FIRST), seed=seed, steps=10) for seed in seeds]
    never = [Run(**{"decay": Decay(0.01, NEVER), "seed": seed, "steps": 10, **change}) for seed in seeds]
    with pytest.raises(ValueError, match=told):
        paired(Results(tuple(history(run, 0.5) for run in first + never)), "decay.timing", FIRST, NEVER)


def test_one_seed_twice_in_an_arm_is_refused() -> None:
    runs = [Run(decay=Decay(0.01, t), model=Model(width=w), seed=0, steps=10) for t in (FIRST, NEVER) for w in (4, 5)]
    with pytest.raises(ValueError, match=r"several runs of one seed.*model\.width"):
        paired(Results(tuple(history(run, 0.5) for run in runs)), "decay.timing", FIRST, NEVER)


def test_missing_arm_seed_metric_and_factor_are_named() -> None:
    some = results({(FIRST, 0): 0.9, (FIRST, 1): 0.9, (NEVER, 0): 0.5})
    for arguments, told in [
        (("decay.timing", FIRST, Timing.always()), "in none of the runs"),
        (("decay.timing", FIRST, NEVER), "different seeds"),
        (("decay.timing", FIRST, NEVER, "accuracy"), "test_accuracy"),
        (("decay.timng", FIRST, NEVER), "did you mean 'timing'"),
    ]:
        with pytest.raises(ValueError, match=told):
            paired(some, *arguments)  # type: ignore[arg-type]


def test_a_whole_part_of_a_run_can_be_the_factor() -> None:
    falling, flat = Schedule(), Schedule("constant")
    runs = [Run(schedule=schedule, seed=seed, steps=10) for schedule in (falling, flat) for seed in (0, 1)]
    found = Results(tuple(history(run, 0.5 + 0.1 * (run.schedule == falling)) for run in runs))
    assert paired(found, "schedule", falling, flat).mean == pytest.approx(0.1)


def test_differences_are_named_to_the_leaf() -> None:
    a, b = Run(seed=1, optimizer=Optimizer(lr=0.1)), Run(seed=2, optimizer=Optimizer(lr=0.2))
    assert differences(a, b) == ["optimizer.lr: 0.1 against 0.2", "seed: 1 against 2"]
    assert differences(a, a) == []


def test_a_share_is_exact_where_parts_are_exact() -> None:
    found = share([0.9, 1.0, 1.1], [1.8, 2.0, 2.2])
    assert (found.mean, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_a_share_holds_the_ratios_that_a_t_test_does_not_reject() -> None:
    part, whole = [0.9, 1.3, 0.7, 1.1, 1.2], [2.0, 2.3, 1.9, 1.7, 2.4]
    found = share(part, whole)

    def rejected(ratio: float) -> bool:
        apart = interval([a - ratio * b for a, b in zip(part, whole, strict=True)])
        return not apart.low <= 0 <= apart.high

    for end, outside in ((found.low, -1e-6), (found.high, 1e-6)):
        assert rejected(end + outside) and not rejected(end - outside)


def test_a_share_of_what_may_be_nothing_has_no_interval() -> None:
    found = share([1.0, 1.1, 0.9], [0.1, -0.1, 0.05])
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_a_share_needs_pairs() -> None:
    with pytest.raises(ValueError, match="one of each a seed"):
        share([1.0, 2.0], [1.0])


# Kendall's tau


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12))
def test_kendall_counts_pairs(points) -> None:
    pairs = list(itertools.combinations(points, 2))
    agree = sum(np.sign(a[0] - b[0]) * np.sign(a[1] - b[1]) for a, b in pairs)
    differ = [sum(a[k] != b[k] for a, b in pairs) for k in (0, 1)]
    found = kendall(*zip(*points, strict=True))
    if 0 in differ:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(agree / math.sqrt(differ[0] * differ[1]))


def test_infinite_measures_tie_and_undefined_ones_are_told() -> None:
    assert kendall([1.0, math.inf, math.inf], [1, 2, 3]) == pytest.approx(2 / math.sqrt(2 * 3))
    assert math.isnan(kendall([1.0, math.nan, 2.0], [1, 2, 3]))
    found = kendall_over_seeds([1.0, math.nan, 2.0, 3.0], [1, 2, 3, 4], [0, 0, 1, 1])
    assert math.isnan(found.mean) and math.isnan(found.low) and found.values[1] == pytest.approx(1)
    assert judge(found, 0.0) == "inconclusive"


def test_tau_over_seeds_compares_within_a_seed_only() -> None:
    x, seeds = np.tile(np.arange(5.0), 6), np.repeat(np.arange(6), 5)
    y = x - 100 * seeds  # seeds differ by more than anything else
    found = kendall_over_seeds(x.tolist(), y.tolist(), seeds.tolist())
    assert found.values == pytest.approx((1.0,) * 6) and (found.low, found.high) == pytest.approx((1, 1))
    assert kendall(x.tolist(), y.tolist()) < 0.5


def test_its_interval_is_over_seeds() -> None:
    found = kendall_over_seeds([1, 2, 3] * 3, [1, 2, 3, 1, 3, 2, 2, 3, 1], [7] * 3 + [8] * 3 + [9] * 3)
    expected = interval([1.0, 1 / 3, -1 / 3])
    assert (found.mean, found.low, found.high) == pytest.approx((expected.mean, expected.low, expected.high))


def test_lists_must_fit() -> None:
    with pytest.raises(ValueError, match="2, 2 and 1 entries"):
        kendall_over_seeds([1, 2], [1, 2], [0])
    with pytest.raises(ValueError, match="at least two seeds"):
        kendall_over_seeds([1, 2], [1, 2], [0, 0])


# The bootstrap


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=12).filter(lambda x: max(x) - min(x) > 1e-3))
@settings(max_examples=20, deadline=None)
def test_the_bootstrap_is_scipy_s(values: list[float]) -> None:
    found = bootstrap(values, resamples=4000)
    theirs = reference.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", random_state=1)
    low, high = theirs.confidence_interval
    tolerance = 0.1 * (max(values) - min(values))
    assert found.mean == pytest.approx(np.mean(values)) and found.values == tuple(values)
    assert (found.low, found.high) == pytest.approx((low, high), abs=tolerance)


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=12), st.floats(0.5, 2), st.floats(-5, 5))
def test_the_bootstrap_moves_and_stretches_with_its_values(values: list[float], times: float, plus: float) -> None:
    found, moved = bootstrap(values), bootstrap([times * x + plus for x in values])
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9
    assert (moved.low, moved.high) == pytest.approx((times * found.low + plus, times * found.high + plus), abs=1e-6)


def test_the_bootstrap_refuses_one_seed_and_does_not_hide_a_lost_one() -> None:
    with pytest.raises(ValueError, match="at least two seeds"):
        bootstrap([1.0])
    lost = bootstrap([0.1, math.nan, 0.2])
    assert math.isnan(lost.mean) and math.isnan(lost.low) and math.isnan(lost.high)


def test_the_interquartile_mean_is_that_of_the_middle_half() -> None:
    found = interquartile([[0.0, 10.0, 20.0, 1000.0], [12.0, 14.0, -500.0, 18.0]])
    assert found.mean == pytest.approx((10 + 12 + 14 + 18) / 4)
    assert found.low <= found.mean <= found.high and len(found.values) == 8
    assert interquartile([[3.0] * 5]) == Effect(3.0, 3.0, 3.0, (3.0,) * 5)


def test_the_bootstrap_draws_within_strata_and_always_the_same() -> None:
    apart = interquartile([[0.0] * 8, [100.0] * 8])
    assert apart.low == apart.high == apart.mean == 50.0, "drawn across strata their numbers would vary"
    values = [[1.0, 5.0, 2.0, 9.0, 4.0, 7.0]]
    assert interquartile(values) == interquartile(values)


def test_the_bootstrap_interval_covers_about_as_often_as_it_says() -> None:
    draw = np.random.default_rng(0)
    found = [interquartile([draw.normal(size=20)], resamples=300) for _ in range(200)]
    assert 0.85 < np.mean([one.low <= 0 <= one.high for one in found]) < 0.99


def test_an_empty_group_has_no_interquartile_mean() -> None:
    with pytest.raises(ValueError, match="one value or more in each group"):
        interquartile([[1.0], []])
