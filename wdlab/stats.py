"""Paired comparisons over seeds: effect, interval, and the refusal to compare what differs in two things."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import scipy  # its parts are loaded when first used: scipy.stats takes most of a second
from scipy.special import stdtrit

from wdlab.checks import known, number, whole
from wdlab.run import Run
from wdlab.sweeps import Results


@dataclass(frozen=True)
class Effect:
    """A mean over paired seeds with its interval [low, high] and the `values` it was made of."""

    mean: float
    low: float
    high: float
    values: tuple[float, ...]


def interval(values: Sequence[float], level: float = 0.95) -> Effect:
    """Return the mean of paired differences and its Student-t interval, mean +- t_{n-1} s / sqrt(n).

    Raises ValueError for fewer than two values. A value that is not finite (a run that diverged) leaves the mean and
    the interval undefined (NaN): nothing is dropped in silence.
    """
    number("level", level, 0, 1, above=True, below=True)
    if len(values) < 2:
        raise ValueError(f"values={list(values)!r} is not allowed; an interval needs at least two seeds.")
    x = np.asarray(values, dtype=float)
    mean, error = float(x.mean()), float(x.std(ddof=1) / math.sqrt(len(x)))
    reach = _student(level, len(x)) * error
    return Effect(mean, mean - reach, mean + reach, tuple(x.tolist()))


def _student(level: float, count: int) -> float:
    """How many standard errors Student's interval of a mean of `count` values reaches to each side."""
    return float(stdtrit(count - 1, (1 + level) / 2))


def bootstrap(values: Sequence[float], level: float = 0.95, resamples: int = 2000, seed: int = 0) -> Effect:
    """Return the mean of paired differences and its percentile bootstrap interval over seeds.

    As many seeds are drawn again with replacement, `resamples` times; the interval holds the middle `level` of their
    means. With a handful of seeds it is too short: it says what the seeds at hand would have given, and lacks the
    t-distribution's allowance for a spread that is itself only estimated. Verdicts rest on `interval`.

    Raises ValueError for fewer than two values. Values that are not finite leave mean and interval undefined (NaN).
    Source: Efron 1979.
    """
    number("level", level, 0, 1, above=True, below=True)
    if len(values) < 2:
        raise ValueError(f"values={list(values)!r} is not allowed; an interval needs at least two seeds.")
    x = np.asarray(values, dtype=float)
    drawn = np.random.default_rng(seed).integers(len(x), size=(whole("resamples", resamples, 1), len(x)))
    low, high = np.quantile(x[drawn].mean(1), [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Effect(float(x.mean()), low, high, tuple(x.tolist()))


def share(part: Sequence[float], whole: Sequence[float], level: float = 0.95) -> Effect:
    """Return mean(part) / mean(whole) over paired seeds with Fieller's interval.

    The interval holds every ratio r for which a t-test does not reject mean(part - r whole) = 0. Where `whole` itself
    may be 0 there is no such interval, and it is (-inf, inf). `values` are the ratios of the single seeds, which may be
    wild. Raises ValueError for fewer than two values or lists of different lengths. Source: Fieller 1954.

    >>> share([1.0, 1.1, 0.9], [2.0, 2.2, 1.8]).mean
    0.5
    """
    if len(part) != len(whole):
        raise ValueError(f"part has {len(part)} values and whole {len(whole)}; give one of each a seed.")
    top, bottom = interval(part, level), interval(whole, level)
    x, y = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    ratio = top.mean / bottom.mean if bottom.mean else math.nan
    values = tuple(a / b if b else math.nan for a, b in zip(x.tolist(), y.tolist(), strict=True))
    # (top - r bottom)^2 <= t^2 Var(top - r bottom) / n is a quadratic in r: a r^2 - 2 b r + c <= 0.
    t2 = _student(level, len(x)) ** 2 / len(x)
    var_x, cov, var_y = np.cov(x, y)[np.triu_indices(2)].tolist()
    a, b, c = bottom.mean**2 - t2 * var_y, top.mean * bottom.mean - t2 * cov, top.mean**2 - t2 * var_x
    if not a > 0:
        return Effect(ratio, -math.inf, math.inf, values)
    reach = math.sqrt(max(b * b - a * c, 0.0))
    return Effect(ratio, float((b - reach) / a), float((b + reach) / a), values)


def interquartile(groups: Sequence[Sequence[float]], level: float = 0.95, resamples: int = 2000) -> Effect:
    """Return the interquartile mean of all values, the mean of their middle half, with its bootstrap interval.

    `groups` are strata, such as games or cells of a grid: values are drawn anew within each, as many as it has. The
    interval is that between the percentiles of `resamples` such means, from a generator that always starts the same.
    `values` are all values. Raises ValueError for a group without values. Source: Agarwal et al. 2021.

    >>> interquartile([[0, 10, 20, 1000]]).mean
    15.0
    """
    number("level", level, 0, 1, above=True, below=True)
    if not groups or not all(len(group) for group in groups):
        raise ValueError(f"groups={groups!r:.80} is not allowed; give one value or more in each group.")
    arrays, draw = [np.asarray(group, dtype=float) for group in groups], np.random.default_rng(0)
    drawn = np.concatenate([draw.choice(x, (resamples, len(x))) for x in arrays], axis=1)
    low, high = np.quantile(scipy.stats.trim_mean(drawn, 0.25, axis=1), [(1 - level) / 2, (1 + level) / 2])
    everything = np.concatenate(arrays)
    return Effect(float(scipy.stats.trim_mean(everything, 0.25)), float(low), float(high), tuple(everything.tolist()))


def kendall(x: Sequence[float], y: Sequence[float]) -> float:
    """Return Kendall's tau-b: how often pairs that differ in x differ the same way in y, from -1 to 1.

    Infinite values are larger than all others and tie with one another; with a NaN, or without any pair that differs,
    there is no tau (NaN). By scipy.stats.kendalltau.

    >>> round(kendall([1, 2, 3], [10, 30, 20]), 3)
    0.333
    """
    return float(scipy.stats.kendalltau(x, y).statistic)


def kendall_over_seeds(x: Sequence[float], y: Sequence[float], seeds: Sequence[int], level: float = 0.95) -> Effect:
    """Return the mean over seeds of Kendall's tau among the runs of one seed, with its Student-t interval.

    `seeds` names the seed of each entry. Runs of different seeds are not compared: they differ in data and in initial
    weights too. `values` are the taus of the seeds, in the order of the seeds. With few seeds the interval may reach
    beyond -1 or 1, where tau cannot go. Raises ValueError for lists of different lengths or fewer than two seeds.
    """
    if not len(x) == len(y) == len(seeds):
        raise ValueError(f"x, y and seeds have {len(x)}, {len(y)} and {len(seeds)} entries; give one of each a run.")
    left, right, owner = np.asarray(x, dtype=float), np.asarray(y, dtype=float), np.asarray(seeds)
    taus = [kendall(left[owner == one].tolist(), right[owner == one].tolist()) for one in np.unique(owner)]
    return interval(taus, level)


def judge(effect: Effect, smallest: float) -> str:
    """Return the verdict on "the effect is above `smallest`", read off the whole interval.

    supported: the interval lies above `smallest`; not supported: it lies below; inconclusive: it holds `smallest`, or
    is undefined.
    """
    if effect.low > smallest:
        return "supported"
    return "not supported" if effect.high < smallest else "inconclusive"


def without_one(values: Sequence[float], smallest: float) -> list[str]:
    """Return the verdict that is left when one value is left out, for each in turn: how much hangs on a single seed.

    Fewer values make wider intervals, so some of what is lost is lost to their number. Raises ValueError for fewer
    than three values.

    >>> without_one([0.5, 0.51, 0.5, 0.52], smallest=0.3)
    ['supported', 'supported', 'supported', 'supported']
    """
    if len(values) < 3:
        raise ValueError(f"values={list(values)!r} is not allowed; to leave one out takes at least three seeds.")
    rests = ([*values[:place], *values[place + 1 :]] for place in range(len(values)))
    return [judge(interval(rest), smallest) for rest in rests]


def paired(results: Results, factor: str, a: object, b: object, metric: str = "test_accuracy") -> Effect:
    """Return the effect of `factor` = a against b on `metric`: mean over seeds of metric(a) - metric(b).

    `factor` is a dotted field of a Run, such as "decay.timing"; the arms are the runs that have a, and those that have
    b. Raises ValueError when an arm is empty, a seed is missing or doubled, or the arms differ in anything beside
    `factor`, and prints the difference.
    """
    arms = [_arm(results, factor, value, metric) for value in (a, b)]
    first, second = ({run.seed: run for run, _ in arm} for arm in arms)
    if set(first) != set(second):
        raise ValueError(f"{factor}: the two arms have different seeds, {sorted(first)} and {sorted(second)}.")
    for seed in first:
        surplus = [
            line for line in differences(first[seed], second[seed]) if not line.startswith((f"{factor}:", f"{factor}."))
        ]
        if surplus:
            raise ValueError(f"the arms of {factor} differ in more than that: {'; '.join(surplus)}.")
    worth = [{run.seed: value for run, value in arm} for arm in arms]
    return interval([worth[0][seed] - worth[1][seed] for seed in sorted(first)])


def _arm(results: Results, factor: str, value: object, metric: str) -> list[tuple[Run, float]]:
    known("metric", metric, [str(column) for column in results.table.columns])
    rows = zip(results.runs, results.table[metric], strict=True)
    found = [(run, float(worth)) for run, worth in rows if _field(run, factor) == value]
    if not found:
        there = sorted({str(_field(run, factor)) for run in results.runs})
        raise ValueError(f"{factor}={value!s} is in none of the runs; they have {', '.join(there)}.")
    if len({run.seed for run, _ in found}) < len(found):
        twins = [run for run, _ in found if run.seed == found[0][0].seed]
        surplus = "; ".join(differences(twins[0], twins[-1])) or "nothing"
        raise ValueError(f"{factor}={value!s} names several runs of one seed, which also differ in {surplus}.")
    return found


def _field(run: Run, dotted: str) -> object:
    value: Any = run
    for name in dotted.split("."):
        known("factor", name, [field.name for field in fields(value)])
        value = getattr(value, name)
    return value


def differences(a: Any, b: Any, prefix: str = "") -> list[str]:
    """Return one line "field: value of a against value of b" for each field in which two runs differ.

    >>> from wdlab import Run
    >>> differences(Run(seed=1), Run(seed=2))
    ['seed: 1 against 2']
    """
    lines = []
    for field in fields(a):
        left, right, name = getattr(a, field.name), getattr(b, field.name), prefix + field.name
        if left == right:
            continue
        nested = is_dataclass(left) and type(left) is type(right) and field.name != "timing"
        lines += differences(left, right, f"{name}.") if nested else [f"{name}: {left!s} against {right!s}"]
    return lines
