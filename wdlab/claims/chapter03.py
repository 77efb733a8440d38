"""Claims of chapter 03: when weight decay matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from wdlab.claims.arms import (
    ALWAYS,
    CONSTANT,
    EARLY,
    LATE,
    NEVER,
    gain,
    image_resnet,
    levels,
    network,
    norm_saved,
    of,
    signal_resnet,
    trained,
)
from wdlab.claims.claim import Claim, Setting
from wdlab.decay import Decay, Timing
from wdlab.run import Run
from wdlab.stats import paired
from wdlab.tasks import TASKS, Batches, convex

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

CONVEX = replace(TASKS["mnist1d"], name="mnist1d_200", train_size=200)
GOLATKAR = "Golatkar et al. 2019 (finding); comparison and thresholds are ours"
OURS = "ours, to tell timing from dose; that early decay matters most is the finding of Golatkar et al. 2019"


def _convex_gain(setting: Setting) -> Sequence[float]:
    """Return the gain in test accuracy of early decay over never for a convex model: a linear classifier."""
    return (linear_accuracy(setting.seeds, EARLY) - linear_accuracy(setting.seeds, NEVER)).tolist()


def linear_accuracy(
    seeds: Sequence[int], timing: Timing, strength: float = 0.1, steps: int = 2000
) -> Float[Tensor, " seed"]:
    """Return the test accuracy of a linear classifier trained by least squares to convergence on 200 signals a seed.

    The problem is convex: L(W) = mean |x'W - onehot(y)|^2 / 2, descended with momentum on the whole training set. The
    set is so small that lasting decay helps: were the model to remember early decay, it would show.
    """
    arrays = CONVEX.arrays()
    inputs, labels = arrays.inputs.double(), arrays.labels
    chosen = torch.stack(Batches(CONVEX, seeds, len(labels)).sets)
    x, answers = inputs[chosen], torch.nn.functional.one_hot(labels[chosen], arrays.classes).double()
    curvature, pull = x.mT @ x / CONVEX.train_size, answers.mT @ x / CONVEX.train_size
    lr = 1 / float(torch.linalg.eigvalsh(curvature).max())
    problem = convex.Quadratic(curvature.unsqueeze(1), pull)
    w = convex.descend(problem, Decay(strength, timing), steps, lr=lr, momentum=0.95)[-1]
    guessed = (inputs[: CONVEX.test_size] @ w.mT).argmax(-1)
    return (guessed == labels[: CONVEX.test_size]).double().mean(-1)


def dose(run: Run, timing: Timing) -> float:
    """Return sum_t lr_t lambda_t of `run` under `timing`: decay alone would multiply its weights by about exp(-dose).

    Momentum multiplies the dose of every timing by about 1 / (1 - momentum), and is left out. (Our operationalization.)
    """
    acting = timing.table(run.steps) * run.schedule.table(run.steps)
    return run.optimizer.lr * run.decay.strength * float(acting.sum())


def at_equal_dose(run: Run, timing: Timing, like: Timing = EARLY) -> Decay:
    """Return decay under `timing` with the lambda that gives it the dose `run` has under `like`.

    Raises ValueError for a timing that never acts, where the other does.
    """
    has, wanted = dose(run, timing), dose(run, like)
    if wanted and not has:
        raise ValueError(f"timing={timing!s} is not allowed: it has no dose at any lambda; give one that acts.")
    return replace(run.decay, strength=run.decay.strength * (wanted / has if has else 1.0), timing=timing)


def half_dose(run: Run) -> float:
    """Return the share of the steps of `run` in which decay throughout has given half of its dose, to one step."""
    given = run.schedule.table(run.steps).cumsum(0)
    return (int(torch.searchsorted(given, given[-1] / 2)) + 1) / run.steps


def _at_equal_dose(setting: Setting, a: Timing, b: Timing) -> Sequence[float]:
    """Return the test accuracy under timing a minus that under b; late decay has the dose of early decay."""
    base = network(setting.scale)
    arms = {timing: replace(base.decay, timing=timing) for timing in (a, b)} | {LATE: at_equal_dose(base, LATE)}
    runs = [replace(base, seed=seed, decay=arms[timing]) for seed in setting.seeds for timing in (a, b)]
    return paired(trained(runs, setting), "decay", arms[a], arms[b]).values


def _later_half(setting: Setting, late: Timing | None = None) -> Sequence[float]:
    """Return the test accuracy with the later half of the dose, or under `late`, minus that with the earlier half."""
    base = network(setting.scale)
    half = half_dose(base)
    return gain(base, setting, late or Timing.after(half), Timing.first(half))


def _norm_stays_small(setting: Setting) -> Sequence[float]:
    return norm_saved(network(setting.scale), setting)


def _norm_at_constant_lr(setting: Setting) -> Sequence[float]:
    return norm_saved(replace(network(setting.scale), schedule=CONSTANT), setting)


CLAIMS = (
    Claim(
        "early-beats-never",
        "Weight decay in the first quarter of training alone gives a better network than no decay at all.",
        GOLATKAR,
        "test accuracy, first 25% minus never",
        of(network, EARLY, NEVER),
        "a convex model with the same timings: a linear classifier of 200 MNIST-1D signals, trained to convergence",
        _convex_gain,
        levels(0.005),
    ),
    Claim(
        "early-matches-always",
        "Weight decay in the first quarter of training is as good as decay throughout, to within a point and a half.",
        GOLATKAR,
        "test accuracy, first 25% minus always",
        of(network, EARLY, ALWAYS),
        "never in place of early: the same test must notice that something is missing",
        of(network, NEVER, ALWAYS),
        levels(-0.015),
    ),
    Claim(
        "late-matches-never",
        "Weight decay that starts half-way does not help: never decaying is as good, to within a point.",
        GOLATKAR,
        "test accuracy, never minus after 50%",
        of(network, NEVER, LATE),
        "always in place of late: the same test must notice that decay throughout does help",
        of(network, NEVER, ALWAYS),
        levels(-0.01),
    ),
    Claim(
        "late-half-of-the-dose-matches",
        "At one lambda, the half of the dose (the sum of lr times lambda) that comes later does as much for the "
        "network as the half that comes first, to within a point.",
        OURS,
        "test accuracy, later half of the dose minus earlier half",
        _later_half,
        "decay from half-way on in place of the later half: the same test must notice that most of the dose is gone",
        lambda setting: _later_half(setting, LATE),
        levels(-0.01, ci=12, demo=20),
    ),
    Claim(
        "early-beats-late-at-equal-dose",
        "Decay in the first quarter gives a better network than decay from half-way on with a lambda so much larger "
        "that its dose, the sum of lr times lambda, is as large, by more than a point.",
        OURS,
        "test accuracy, first 25% minus after 50% at equal dose",
        lambda setting: _at_equal_dose(setting, EARLY, LATE),
        "that late decay against never: what the same dose gains when it comes late, help and harm together",
        lambda setting: _at_equal_dose(setting, LATE, NEVER),
        levels(0.01, demo=20),
    ),
    Claim(
        "early-norm-stays-small",
        "After decay in the first quarter the weight norm is still small at the end, by more than a quarter below that "
        "of never, although decay is long over.",
        "Bjorck et al. 2021 (finding); the network, the measure and the quarter are ours",
        "of never's final weight norm, by which early decay's is smaller",
        _norm_stays_small,
        "a learning rate that never falls, under which the norm has time to grow back",
        _norm_at_constant_lr,
        levels(0.25),
    ),
    Claim(
        "early-beats-never-signals",
        "The same holds for a 1-D ResNet on MNIST-1D: decay in the first quarter beats no decay.",
        GOLATKAR,
        "test accuracy, first 25% minus never",
        of(signal_resnet, EARLY, NEVER),
        "a convex model with the same timings: a linear classifier of 200 MNIST-1D signals, trained to convergence",
        _convex_gain,
        levels(0.002, ci=6, demo=6, gpu=10),
    ),
    Claim(
        "early-beats-never-images",
        "The same holds on real images, a 2-D ResNet on Fashion-MNIST: decay in the first quarter beats no decay.",
        GOLATKAR,
        "test accuracy, first 25% minus never",
        of(image_resnet, EARLY, NEVER),
        "decay from half-way on in place of early decay: timing, not decay as such, must make the difference",
        of(image_resnet, LATE, NEVER),
        levels(0.002, ci=6, demo=8, gpu=16),
    ),
)
