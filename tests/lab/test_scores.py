"""The scores: their closed forms against their definitions, and that they are proper."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import integrate, stats

from wdlab.lab.scores import counts_to_expect, crps, crps_of_a_range, spread


@pytest.mark.parametrize(("mean", "deviation", "truth"), [(2.0, 0.7, 3.0), (0.0, 1.0, 0.0), (-1.0, 3.0, 4.0)])
def test_the_score_of_a_normal_is_its_integral(mean: float, deviation: float, truth: float) -> None:
    low = integrate.quad(lambda x: stats.norm.cdf(x, mean, deviation) ** 2, -40, truth)[0]
    high = integrate.quad(lambda x: stats.norm.sf(x, mean, deviation) ** 2, truth, 40)[0]
    assert crps(mean, deviation, truth) == pytest.approx(low + high, abs=1e-7)


@pytest.mark.parametrize("truth", [0.0, 2.0, 5.0, 10.0, 13.0, -1.0])
def test_the_score_of_a_range_is_its_integral(truth: float) -> None:
    x = np.linspace(-5, 20, 250_001)
    expected = np.trapezoid((np.clip(x / 10, 0, 1) - (x >= truth)) ** 2, x)
    assert crps_of_a_range(0, 10, truth) == pytest.approx(expected, abs=1e-3)


def test_who_is_nearly_certain_scores_the_distance() -> None:
    assert crps(2.0, 1e-9, 3.5) == pytest.approx(1.5)


@pytest.mark.parametrize(("within", "confidence"), [(0.5, 0.5), (1.0, 0.95), (2.0, 0.1)])
def test_the_spread_keeps_the_truth_within_with_that_confidence(within: float, confidence: float) -> None:
    deviation = spread(within, confidence)
    assert stats.norm.cdf(within, 0, deviation) - stats.norm.cdf(-within, 0, deviation) == pytest.approx(confidence)


@pytest.mark.parametrize(("within", "confidence"), [(0.0, 0.5), (-1.0, 0.5), (1.0, 1.0), (1.0, 0.0)])
def test_a_spread_needs_a_width_and_a_doubt(within: float, confidence: float) -> None:
    with pytest.raises(ValueError, match="is not allowed"):
        spread(within, confidence)


def test_saying_what_one_believes_scores_best() -> None:
    """On average over truths of a normal belief, no other mean, plus-minus or confidence does better."""
    truths = stats.norm.ppf((np.arange(2000) + 0.5) / 2000, 3.0, spread(1.0, 0.6))

    def expected(mean: float, within: float, confidence: float) -> float:
        return float(np.mean([crps(mean, spread(within, confidence), truth) for truth in truths]))

    honest = expected(3.0, 1.0, 0.6)
    others = [(2.7, 1.0, 0.6), (3.0, 1.5, 0.6), (3.0, 0.7, 0.6), (3.0, 1.0, 0.9), (3.0, 1.0, 0.3)]
    assert all(honest < expected(*other) for other in others)


@pytest.mark.parametrize("confidences", [[0.5], [0.7, 0.8, 0.9], [0.4, 0.4, 0.5, 0.9, 0.95]])
def test_the_counts_to_expect_hold_the_stated_share_of_the_chances(confidences: list[float]) -> None:
    chance = np.zeros(len(confidences) + 1)
    for outcome in itertools.product((0, 1), repeat=len(confidences)):
        factors = [c if hit else 1 - c for c, hit in zip(confidences, outcome, strict=True)]
        chance[sum(outcome)] += np.prod(factors)
    low, high = counts_to_expect(confidences, 0.9)
    assert chance[low : high + 1].sum() >= 0.9 - 1e-12
    assert chance[:low].sum() <= 0.05 + 1e-12 and chance[high + 1 :].sum() <= 0.05 + 1e-12
    assert chance[: low + 1].sum() > 0.05 and chance[high:].sum() > 0.05


def test_without_doubt_all_are_expected_right_and_without_answers_none() -> None:
    assert counts_to_expect([1.0, 1.0]) == (2, 2)
    assert counts_to_expect([]) == (0, 0)
