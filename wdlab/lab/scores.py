"""How good a prediction was: proper scores, which are best for those who say what they believe."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri

from wdlab.checks import number

LEVEL = 0.9  # of the counts that calm answers would give


def brier(answer: str, confidence: float, truth: str, options: int) -> float:
    """Return the Brier score of an answer given with `confidence`, the rest spread evenly over the other options.

    sum over all options of (p - o)^2, where o is 1 for the truth and 0 otherwise: from 0 (certain and right) to 2
    (certain and wrong). Raises ValueError for a confidence below 1/options, which would be an answer for another
    option, or above 1. Source: Brier (1950), in its first form, for any number of options.

    >>> brier("early", 1.0, "early", options=2), brier("early", 0.5, "late", options=2)
    (0.0, 0.5)
    """
    number("confidence", confidence, 1 / options, 1)
    rest = (1 - confidence) / (options - 1)
    if answer == truth:
        return (1 - confidence) ** 2 + (options - 1) * rest**2
    return confidence**2 + (1 - rest) ** 2 + (options - 2) * rest**2


def blind(options: int) -> float:
    """Return the Brier score of giving every one of `options` the same probability: 1 - 1/options, whatever is true."""
    return 1 - 1 / options


def spread(within: float, confidence: float) -> float:
    """Return the standard deviation of the normal distribution that keeps `within` of its mean with `confidence`.

    Raises ValueError for a `within` that is not above 0 or a confidence outside (0, 1).
    """
    number("within", within, 0, above=True)
    number("confidence", confidence, 0, 1, above=True, below=True)
    return within / float(ndtri((1 + confidence) / 2))


def crps(answer: float, deviation: float, truth: float) -> float:
    """Return the continuous ranked probability score of a normal prediction, in the units of `answer`; 0 is best.

    The integral over all thresholds x of (P(X <= x) - [truth <= x])^2, hence the two-way Brier score of "is it below
    x?", summed over x; for deviation -> 0 it is |answer - truth|. With z = (truth - answer) / deviation it is
    deviation (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)). Source: Gneiting and Raftery (2007), section 4.2.

    >>> round(crps(2.0, 1e-9, 3.5), 6)
    1.5
    """
    z = (truth - answer) / deviation
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return deviation * (z * math.erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))


def crps_of_a_range(low: float, high: float, truth: float) -> float:
    """Return the continuous ranked probability score of knowing no more than that it lies somewhere in [low, high]."""
    inside, length = min(max(truth, low), high), high - low
    return abs(truth - inside) + ((inside - low) ** 3 + (high - inside) ** 3) / (3 * length**2)


def counts_to_expect(confidences: Sequence[float], level: float = LEVEL) -> tuple[int, int]:
    """Return how many of some answers are right, at the least and at the most, with probability `level`, if each is
    right as often as its confidence says.

    The chance of every count is exact (Poisson's binomial); each end leaves out at most (1 - level) / 2.

    >>> counts_to_expect([0.7, 0.8, 0.9])
    (1, 3)
    """
    chances = np.ones(1)
    for confidence in confidences:
        chances = np.convolve(chances, [1 - confidence, confidence])
    below, tail = np.cumsum(chances), (1 - level) / 2
    low = int(np.searchsorted(below, tail, side="right"))
    high = int(np.searchsorted(below, 1 - tail, side="left"))
    return min(low, len(confidences)), min(high, len(confidences))
