"""Claims of chapter 04: the norm stays small, and what that is good for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from wdlab.claims.arms import (
    CONSTANT,
    EARLY,
    LATE,
    NEVER,
    gain,
    image_resnet,
    levels,
    network,
    norm_saved,
    sentence,
    signal_resnet,
    spread,
    trained,
)
from wdlab.claims.claim import Claim, Measure, Setting
from wdlab.decay import Timing
from wdlab.run import Match, Run
from wdlab.stats import paired
from wdlab.train import History

Base = Callable[[str], Run]


def copying(base: Run, norm: Timing | str | None = None, effective_lr: Timing | None = None) -> Match:
    """Return the match that copies from `base` under other timings of its decay; "start" is the norm it began with."""
    return Match(
        replace(base.decay, timing=norm) if isinstance(norm, Timing) else norm,
        replace(base.decay, timing=effective_lr) if effective_lr else None,
    )


def matched_gain(base: Run, setting: Setting, match: Match) -> tuple[float, ...]:
    """Return the test accuracy without decay but with `match`, minus that without either, seed by seed."""
    never = replace(base, decay=replace(base.decay, timing=NEVER))
    runs = [replace(never, seed=seed, match=one) for seed in setting.seeds for one in (match, Match())]
    return paired(trained(runs, setting), "match", match, Match()).values


def _past_half(base: Base, **copied: Timing) -> Measure:
    """Measure the gain of a run that copies minus half the gain of early decay: positive if it recovers over half."""

    def measure(setting: Setting) -> Sequence[float]:
        run = base(setting.scale)
        early = gain(run, setting, EARLY, NEVER)
        found = matched_gain(run, setting, copying(run, **copied))
        return [arm - whole / 2 for arm, whole in zip(found, early, strict=True)]

    return measure


def _no_gain(base: Base, effective_lr: Timing | None) -> Measure:
    """Measure minus the gain of weights held at the norm they began with, at the effective lr of `effective_lr`."""

    def measure(setting: Setting) -> Sequence[float]:
        run = base(setting.scale)
        return [-value for value in matched_gain(run, setting, copying(run, "start", effective_lr))]

    return measure


def turning_ratio(early: History, never: History) -> float:
    """Return log2 of how much further a step turns the weights in one run than in another, after decay has ended.

    It is the mean over the readings in the last three quarters of the run, where early decay is over.
    """
    over = [place for place, step in enumerate(early.steps) if step > early.run.steps / 4]
    pairs = [(early.curves["rotation"][place], never.curves["rotation"][place]) for place in over]
    if not all(b > 0 for _, b in pairs):
        return math.nan
    return sum(math.log2(a / b) if a > 0 else math.nan for a, b in pairs) / len(pairs)


def _turning(base: Base, constant: bool = False) -> Measure:
    def measure(setting: Setting) -> Sequence[float]:
        run = base(setting.scale)
        run = replace(run, schedule=CONSTANT) if constant else run
        found = trained(spread(run, setting.seeds, (EARLY, NEVER)), setting).histories
        return [turning_ratio(early, never) for early, never in zip(found[::2], found[1::2], strict=True)]

    return measure


def _norm(base: Base, constant: bool = False) -> Measure:
    def measure(setting: Setting) -> Sequence[float]:
        run = base(setting.scale)
        return norm_saved(replace(run, schedule=CONSTANT) if constant else run, setting)

    return measure


BJORCK = "Bjorck et al. 2021 (finding); the network, the measure and the threshold are ours"
ARM = "ours: the arms, the half and the controls are our operationalization of a finding of Bjorck et al. 2021"
HELD = "ours, after a point of Liu et al. 2021 (weight rescaling)"
RATE = "a learning rate that never falls, under which the norm has time to grow back"

# Where, in words, and with how many seeds. Convolutions are slow and no notebook has the minutes. `wdlab reproduce`
# tries these claims and puts them on record, with as many seeds as an hour on two cores allows for all of them.
FEW = {"ci": 4, "demo": 8, "gpu": 10}
_PLACES: tuple[tuple[str, Base, str, dict[str, int]], ...] = (
    ("", network, "", {}),
    ("-signals", signal_resnet, "In a 1-D ResNet on MNIST-1D: ", FEW),
    ("-images", image_resnet, "In a 2-D ResNet on Fashion-MNIST: ", FEW),
)


def _small(where: str, base: Base, told: str, seeds: dict[str, int]) -> Claim:
    return Claim(
        f"norm-stays-small{where}",
        sentence(
            told, "after decay in the first quarter the weight norm at the end is more than a quarter below never's."
        ),
        BJORCK,
        "of never's final weight norm, by which early decay's is smaller",
        _norm(base),
        RATE,
        _norm(base, constant=True),
        levels(0.25, **seeds),
    )


def _turns(where: str, base: Base, told: str, seeds: dict[str, int]) -> Claim:
    return Claim(
        f"steps-turn-further{where}",
        sentence(
            told, "after decay in the first quarter ended, a step turns the weights over twice as far as without decay."
        ),
        BJORCK,
        "log2 of the angle of a step, first 25% against never, in the last three quarters of the run",
        _turning(base),
        RATE,
        _turning(base, constant=True),
        levels(1.0, **seeds),
    )


def _copied_lr(where: str, base: Base, told: str, seeds: dict[str, int]) -> Claim:
    return Claim(
        f"effective-lr-is-enough{where}",
        sentence(
            told, "without decay, copying the effective learning rate of early decay recovers over half of its gain."
        ),
        ARM,
        "test accuracy: gain of the copy minus half the gain of early decay",
        _past_half(base, effective_lr=EARLY),
        "copying the effective learning rate of decay that comes late",
        _past_half(base, effective_lr=LATE),
        levels(0.0, **seeds),
    )


def _copied_norm(where: str, base: Base, told: str, seeds: dict[str, int]) -> Claim:
    return Claim(
        f"small-norm-is-enough{where}",
        sentence(
            told, "without decay, rescaling the weights to the norm of early decay recovers over half of its gain."
        ),
        ARM,
        "test accuracy: gain of the copy minus half the gain of early decay",
        _past_half(base, norm=EARLY),
        "the same norm, at the effective learning rate of never",
        _past_half(base, norm=EARLY, effective_lr=NEVER),
        levels(0.0, **seeds),
    )


def _small_alone(where: str, base: Base, told: str, seeds: dict[str, int]) -> Claim:
    return Claim(
        f"small-norm-alone-gains-little{where}",
        sentence(
            told,
            "weights held at the norm they began with, at the effective learning rate of never, gain less than one "
            "point of test accuracy over never.",
        ),
        HELD,
        "minus the test accuracy gained over never",
        _no_gain(base, NEVER),
        "the same weights at the effective learning rate that comes with their norm",
        _no_gain(base, None),
        levels(-0.01, **seeds),
    )


CLAIMS = (
    *(_small(*place) for place in _PLACES if place[0]),  # chapter 03 has the MLP
    *(_turns(*place) for place in _PLACES),
    *(_copied_lr(*place) for place in _PLACES),
    *(_copied_norm(*place) for place in _PLACES),
    *(_small_alone(*place) for place in _PLACES),
)
