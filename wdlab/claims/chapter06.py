"""Claims of chapter 06: how fast weights grow without decay depends on the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from wdlab.claims.arms import CONSTANT, NEVER, image_resnet, levels, network, sentence, signal_resnet, trained
from wdlab.claims.claim import Claim, Measure, Setting
from wdlab.decay import Decay
from wdlab.measures.growth import Growth, record
from wdlab.run import Model, Run, Schedule
from wdlab.tasks import TASKS, of_vision
from wdlab.train import Training, watch

OURS = (
    "Bjorck et al. 2021 (how fast weights grow depends strongly on the data and how well they generalize); "
    "manipulation, measure and thresholds are ours"
)
DERIVED = "derived here from the right angle between weights and gradient; thresholds are ours"
NOISE = 0.5

MOST = {"fashion": 4000, "cifar10": 50_000}
"""Examples there are to train on, beside the test examples; signals can be made without end."""


def growing(scale: str) -> Run:
    """Return the run chapter 06 rests on: no decay, a constant lr, and a set small enough to be memorized.

    At demo scale 2,000 signals of MNIST-1D are seen about 40 times each; at `scale` paper 5,000 images of CIFAR-10 are
    seen about 256 times each.
    """
    base = replace(network(scale), schedule=CONSTANT, decay=Decay(0.01, NEVER))
    if scale == "ci":
        return replace(base, task=of(base, train_size=500, batch_size=64).task, model=Model(width=64), steps=450)
    if scale == "paper":
        return replace(of(base, train_size=5000, augment=()), steps=10_000)
    return replace(of(base, train_size=2000), steps=620)


def growing_signals(scale: str) -> Run:
    """Return the same for the 1-D ResNet on MNIST-1D."""
    base = replace(signal_resnet(scale), schedule=CONSTANT, decay=Decay(0.01, NEVER))
    if scale == "ci":
        return replace(of(base, train_size=256, batch_size=64), steps=150)
    return replace(of(base, train_size=1000), steps=310)


def growing_images(scale: str) -> Run:
    """Return the same for the 2-D ResNet on Fashion-MNIST."""
    base = replace(image_resnet(scale), task=TASKS["fashion"], schedule=CONSTANT, decay=Decay(0.01, NEVER))
    if scale == "ci":
        return replace(of(base, train_size=256, batch_size=64, image_size=7), steps=150)
    # 750, for a few more are still being memorized when 210 steps are over (seen on seed 10,000, in the losses alone).
    return replace(of(base, train_size=750), steps=210)


def of(run: Run, **dials: Any) -> Run:
    """Return `run` on other data: `dials` are fields of its task, such as label_noise or train_size."""
    return replace(run, task=replace(of_vision(run.task), **dials))


def fresh(run: Run, scale: str) -> Run:
    """Return `run` on as many examples as its steps ask for, so that none comes twice.

    Images are limited to those there are, and signals at ci scale to those that need not be made: there examples come
    back, but seldom.
    """
    task = of_vision(run.task)
    wanted = run.steps * task.batch_size
    most = MOST.get(task.source, 8000 if scale == "ci" else wanted)
    return of(run, train_size=min(wanted, most))


def never_memorized(run: Run, scale: str) -> Run:
    """Return `run` on examples that cannot be memorized to the end: fresh ones, or all images, moved in every pass."""
    most = fresh(run, scale)
    return most if of_vision(run.task).source == "mnist1d" else of(roomy(most), augment=("shift", "mirror"))


def roomy(run: Run) -> Run:
    """Return `run` on images of 14 pixels where they had 7, of which a shift by up to 4 could leave less than half."""
    return of(run, image_size=max(14, of_vision(run.task).image_size))


def norms(runs: Sequence[Run], setting: Setting) -> list[list[float]]:
    """Return the final weight norm of each of `runs` at each seed: [run][seed]."""
    for task in {run.task for run in runs}:
        task.arrays()  # made here, side by side, and not by each worker for itself
    asked = [replace(run, seed=seed) for run in runs for seed in setting.seeds]
    found = trained(asked, setting).table["weight_norm"].tolist()
    count = len(setting.seeds)
    return [found[start : start + count] for start in range(0, len(found), count)]


def excess(a: Run, b: Run, setting: Setting) -> list[float]:
    """Return by what share the norm of run `a` is above that of run `b`, seed by seed."""
    return [one / other - 1 for one, other in zip(*norms([a, b], setting), strict=True)]


def followed(runs: Sequence[Run], device: str = "cpu") -> Growth:
    """Train `runs` (of one shape, by SGD with one momentum, without decay) and return norms and gradients by step."""
    (momentum,) = {run.optimizer.momentum for run in runs}
    return record(watch(Training(runs, device)), momentum)


# What is compared

Base = Callable[[str], Run]


def _noise(base: Base, setting: Setting, once: bool = False) -> list[float]:
    clean = fresh(base(setting.scale), setting.scale) if once else base(setting.scale)
    return excess(of(clean, label_noise=NOISE), clean, setting)


def _noisy(base: Base, once: bool = False) -> Measure:
    return lambda setting: _noise(base, setting, once)


def quarter(run: Run) -> Run:
    """Return `run` on a quarter of its training set."""
    return of(run, train_size=run.task.train_size // 4)


def _quarter_short(base: Base, setting: Setting, once: bool = False) -> list[float]:
    run = base(setting.scale)
    whole = never_memorized(run, setting.scale) if once else run
    return [-value for value in excess(quarter(whole), whole, setting)]


def _quartered(base: Base, once: bool = False) -> Measure:
    return lambda setting: _quarter_short(base, setting, once)


def _repeated(base: Base, smaller: bool = False) -> Measure:
    def more(setting: Setting) -> list[float]:
        run = base(setting.scale)
        return excess(quarter(run) if smaller else run, fresh(run, setting.scale), setting)

    return more


def _augmented(base: Base, kinds: tuple[str, ...]) -> Measure:
    def short(setting: Setting) -> list[float]:
        run = roomy(base(setting.scale))
        return [-value for value in excess(of(run, augment=kinds), run, setting)]

    return short


def _by_the_rate(base: Base, once: bool = False) -> Measure:
    """Measure by how much more noise grows the norm at the constant lr of `base` than at chapter 03's falling one."""

    def more(setting: Setting) -> list[float]:
        run = base(setting.scale)
        data = fresh(run, setting.scale) if once else run
        at = [excess(of(one, label_noise=NOISE), one, setting) for one in (data, replace(data, schedule=Schedule()))]
        return [constant - falling for constant, falling in zip(*at, strict=True)]

    return more


def data_sets(run: Run) -> dict[str, Run]:
    """Return the runs on which the prediction from gradients is tried, by name: they grow very differently."""
    return {"clean": run, "label noise": of(run, label_noise=NOISE), "a quarter of the examples": quarter(run)}


@lru_cache(maxsize=2)
def _grown(base: Base, setting: Setting) -> tuple[Growth, ...]:
    runs = data_sets(base(setting.scale)).values()
    return tuple(followed([replace(run, seed=s) for s in setting.seeds], setting.device) for run in runs)


def _misses(base: Base, setting: Setting, of_another: bool = False) -> Tensor:
    """Return the relative error of the predicted norm, [data set, seed], with its own G or that of the next set."""
    grown = _grown(base, setting)
    givers = [*grown[1:], grown[0]] if of_another else grown
    pairs = zip(grown, givers, strict=True)
    ends = [one.predicted_with(giver.relative_gradient)[-1] / one.measured[-1] for one, giver in pairs]
    return (torch.stack(ends) - 1).abs()


def _missed(base: Base) -> Measure:
    """Measure minus the largest error over the data sets, seed by seed."""
    return lambda setting: (-_misses(base, setting).amax(0)).tolist()


def _missed_by_the_best_swap(base: Base) -> Measure:
    return lambda setting: (-_misses(base, setting, of_another=True).amin(0)).tolist()


MEMORIZED = "of the clean set's final weight norm, by which that with half the labels random is larger"
NEVER_TWICE = "the same noise in examples that never come twice, and so cannot be memorized"

UNMEMORIZED_IMAGES = "the same noise in as many images as there are, at equal steps: there is no time to memorize them"

# Where, in words, and with how many seeds: 5 are what a few minutes allow to convolutions.
FEW = {"ci": 4, "demo": 5, "gpu": 10}
_PLACES: tuple[tuple[str, Base, str, dict[str, int]], ...] = (
    ("", growing, "", {}),
    ("-signals", growing_signals, "For a 1-D ResNet on MNIST-1D: ", FEW),
    ("-images", growing_images, "For a 2-D ResNet on the images of Fashion-MNIST: ", FEW),
)
IMAGES = "-images"  # there are only so many: none can be made, so what "fresh" is for signals has to be something else


def _small(where: str, base: Base, told: str, seeds: dict[str, int]) -> Claim:
    signals = (
        "a quarter of so many examples that they come once, at ci scale seldom: neither set is memorized to the end"
    )
    images = (
        "a quarter of all images there are, both sets shifted and mirrored anew in every pass: neither is memorized"
    )
    return Claim(
        f"small-sets-stop-growing{where}",
        sentence(
            told,
            "a training set of a quarter the size is memorized sooner, and after as many steps at a constant learning "
            "rate its weight norm is lower, by over 20%.",
        ),
        OURS,
        "of the whole set's weight norm, by which that of a quarter of the set is lower",
        _quartered(base),
        images if where == IMAGES else signals,
        _quartered(base, once=True),
        levels(0.2, **seeds),
    )


def _repeats(where: str, base: Base, told: str, seeds: dict[str, int]) -> Claim:
    new = "as many images as there are, which come seldom" if where == IMAGES else "examples that are always new"
    return Claim(
        f"repeats-grow-the-norm{where}",
        sentence(
            told,
            "a set that comes again and again and is memorized late in the run makes weights grow more than "
            f"{new}, in as many steps, by over 5%.",
        ),
        OURS,
        "of the weight norm with fresh examples, by which that with repeated ones is larger",
        _repeated(base),
        "a quarter of the set, whose examples come four times as often but are memorized early",
        _repeated(base, smaller=True),
        levels(0.05, **seeds),
    )


def _shifts(where: str, base: Base, told: str, seeds: dict[str, int]) -> Claim:
    # Of the ways to move images only mirroring is left for a control: each image then has two forms, not a new one a
    # pass, which is twice as much to memorize.
    images = (("mirror",), "images mirrored at random in every pass: twice as many to memorize, and then no new ones")
    signals = (
        ("scale", "noise"),
        "signals scaled and with noise added at random in every pass: as new each time, but no better to learn from",
    )
    kinds, control_says = images if where == IMAGES else signals
    what = "images" if where == IMAGES else "signals"
    return Claim(
        f"shifting-slows-growth{where}",
        sentence(told, f"{what} that are shifted at random in every pass make weights grow less, by over 5%."),
        OURS,
        "of the weight norm without augmentation, by which that with shifts is lower",
        _augmented(base, ("shift",)),
        control_says,
        _augmented(base, kinds),
        levels(0.05, **seeds),
    )


def _predicts(where: str, base: Base, told: str, seeds: dict[str, int]) -> Claim:
    return Claim(
        f"gradients-predict-the-norm{where}",
        sentence(
            told,
            "the first norm, the learning rates and G = ||w|| ||grad|| give the final norm of the scale-invariant "
            "weights to within 10% on each of three data sets.",
        ),
        DERIVED,
        "minus the largest relative error of the predicted norm",
        _missed(base),
        "minus the smallest of three errors, when each set is given the G of another",
        _missed_by_the_best_swap(base),
        levels(-0.1, **seeds),
    )


def _rate(where: str, base: Base, told: str, _: dict[str, int]) -> Claim:
    return Claim(
        f"noise-needs-the-rate{where}",
        sentence(
            told,
            "random labels that are memorized late grow the norm more at a constant learning rate than at the falling "
            "one of chapter 03: the shares by which it does differ by over 5 points in a hundred.",
        ),
        "ours; fixed when the MLP's map on seeds from 0 had been seen, before a look at any other seed or net",
        "share by which noise makes the norm larger than the clean set's: at the constant minus at the falling rate",
        _by_the_rate(base),
        UNMEMORIZED_IMAGES if where == IMAGES else f"{NEVER_TWICE} (at ci scale: that come back seldom)",
        _by_the_rate(base, once=True),
        levels(0.05, **FEW),  # also for the MLP: the seeds that the notebook's map has
    )


CLAIMS = (
    Claim(
        "noise-grows-the-norm",
        "At a constant learning rate random labels that a network memorizes make its weights grow more, by over 5%.",
        OURS,
        MEMORIZED,
        _noisy(growing),
        f"{NEVER_TWICE} (at ci scale: that come back seldom)",
        _noisy(growing, once=True),
        levels(0.05),
    ),
    Claim(
        "noise-grows-the-norm-signals",
        "For a 1-D ResNet on MNIST-1D: random labels that it memorizes make its weights grow more, by over 5%.",
        OURS,
        MEMORIZED,
        _noisy(growing_signals),
        f"{NEVER_TWICE} (at ci scale: that come back seldom)",
        _noisy(growing_signals, once=True),
        levels(0.05, ci=4, demo=5, gpu=10),
    ),
    Claim(
        "noise-grows-the-norm-images",
        "For a 2-D ResNet on the images of Fashion-MNIST: random labels that it memorizes make its weights grow more, "
        "by over 5%.",
        OURS,
        MEMORIZED,
        _noisy(growing_images),
        UNMEMORIZED_IMAGES,
        _noisy(growing_images, once=True),
        levels(0.05, ci=4, demo=5, gpu=10),
    ),
    *(_small(*place) for place in _PLACES),
    *(_repeats(*place) for place in _PLACES),
    *(_shifts(*place) for place in _PLACES),
    *(_predicts(*place) for place in _PLACES),
    *(_rate(*place) for place in _PLACES),
)
