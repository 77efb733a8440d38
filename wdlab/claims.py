"""Every empirical sentence of the course as an object that can be tried, with the control in which it must vanish.

A claim fixes, before any result is seen, what is compared, the direction, the smallest effect that would matter, and
the seeds. The effect is one number a seed; the verdict is read off its 95% interval (see `wdlab.stats.judge`). The
control is the same measurement where the claim must not hold.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

import wdlab
from wdlab.checks import known, whole
from wdlab.decay import Decay, Timing
from wdlab.run import Model, Run, Schedule
from wdlab.stats import interval, judge, paired
from wdlab.sweeps import sweep
from wdlab.tasks import TASKS, Batches, convex
from wdlab.train import pick_device

if TYPE_CHECKING:
    from jaxtyping import Float

SCALES = ("ci", "demo", "gpu", "paper")


@dataclass(frozen=True)
class Level:
    """What belongs to a scale: how many seeds a claim uses, and the smallest effect that would matter there."""

    seeds: int
    smallest: float


@dataclass(frozen=True)
class Setting:
    """Where a claim is tried: the scale, the seeds, the device."""

    scale: str
    seeds: tuple[int, ...]
    device: str


Measure = Callable[[Setting], Sequence[float]]


@dataclass(frozen=True)
class Outcome:
    """One measured effect with its interval and what it says about "above the smallest effect of interest"."""

    effect: float
    low: float
    high: float
    values: tuple[float, ...]
    verdict: str


@dataclass(frozen=True, repr=False)
class Verdict:
    """What came out of trying a claim; shows itself in a notebook and on a terminal.

    It `holds` when it is supported and its control is not: a claim that also holds where it must vanish says nothing.
    `smallest` is what the interval must lie above; for a claim that nothing is lost it is negative, the largest loss
    that still counts as none. `seconds` is short where runs came from the store.
    """

    id: str
    statement: str
    unit: str
    smallest: float
    effect: float
    low: float
    high: float
    seeds: tuple[int, ...]
    holds: bool
    verdict: str
    control: str
    control_says: str
    control_outcome: Outcome
    seconds: float
    scale: str
    device: str
    versions: dict[str, str]

    @property
    def line(self) -> str:
        """The verdict in one line without times, the same at every repetition on one machine."""
        return (
            f"{self.id}: {self.verdict} (effect {self.effect:+.4g}, 95% interval {self.low:+.4g} to {self.high:+.4g}, "
            f"smallest of interest {self.smallest:+g}, {len(self.seeds)} seeds); control {self.control}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return the verdict as JSON types; numbers that are not finite become None."""
        told = asdict(self)
        return {key: _finite(value) for key, value in told.items()}

    def __repr__(self) -> str:
        return self.line

    def _repr_html_(self) -> str:
        control = self.control_outcome
        rows = [
            ("claim", escape(self.statement)),
            ("verdict", f"<b>{self.verdict}</b>"),
            ("effect", f"{_sides(self.effect, self.low, self.high)} {escape(self.unit)}"),
            ("holds when the interval lies", f"above {self.smallest:+g} ({len(self.seeds)} paired seeds)"),
            ("control", escape(self.control_says)),
            ("in the control", f"<b>{self.control}</b>: {_sides(control.effect, control.low, control.high)}"),
        ]
        cells = (
            f"<tr><th style='text-align:left'>{head}</th><td style='text-align:left'>{text}</td></tr>"
            for head, text in rows
        )
        return f"<table>{''.join(cells)}</table>"


@dataclass(frozen=True)
class Claim:
    """An empirical statement: "`measure` is above the smallest effect of interest", and the `control` where it is not.

    `measure` and `control` return one number a seed. `source` says whose finding it is, `levels` holds the smallest
    effect and the number of seeds of each scale.
    """

    id: str
    statement: str
    source: str
    unit: str
    measure: Measure
    control_says: str
    control: Measure
    levels: Mapping[str, Level]

    def check(
        self, scale: str = "demo", seed_offset: int = 0, device: str = "auto", seeds: int | None = None
    ) -> Verdict:
        """Try the claim with seeds seed_offset, seed_offset + 1, ... and return the verdict with its control's.

        `seeds` may ask for fewer than the scale has, not for more. Raises ValueError for an unknown scale or device, a
        negative `seed_offset`, or a number of seeds outside [2, the scale's own].
        """
        level = self.levels[known("scale", scale, SCALES)]
        whole("seed_offset", seed_offset)
        count = level.seeds if seeds is None else whole("seeds", seeds, 2, level.seeds)
        setting = Setting(scale, tuple(range(seed_offset, seed_offset + count)), str(pick_device(device)))
        start = time.perf_counter()
        found = _outcome(self.measure(setting), level.smallest)
        control = _outcome(self.control(setting), level.smallest)
        return Verdict(
            id=self.id,
            statement=self.statement,
            unit=self.unit,
            smallest=level.smallest,
            effect=found.effect,
            low=found.low,
            high=found.high,
            seeds=setting.seeds,
            holds=found.verdict == "supported" and control.verdict != "supported",
            verdict=found.verdict,
            control=_control_word(control.verdict),
            control_says=self.control_says,
            control_outcome=control,
            seconds=time.perf_counter() - start,
            scale=scale,
            device=setting.device,
            versions=versions(),
        )


def versions() -> dict[str, str]:
    """Return the versions a result depends on."""
    return {
        "wdlab": wdlab.__version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _outcome(values: Sequence[float], smallest: float) -> Outcome:
    found = interval(values)
    return Outcome(found.mean, found.low, found.high, found.values, judge(found, smallest))


def _control_word(verdict: str) -> str:
    return {"supported": "does not vanish", "not supported": "vanishes", "inconclusive": "inconclusive"}[verdict]


def _sides(mean: float, low: float, high: float) -> str:
    return f"{mean:+.4g} (95% interval {low:+.4g} to {high:+.4g})"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return {key: _finite(item) for key, item in value.items()} if isinstance(value, dict) else value


# The chapters' measurements. Each returns one number a seed.

EARLY, LATE = Timing.first(0.25), Timing.after(0.5)
NEVER, ALWAYS = Timing.never(), Timing.always()
CONSTANT = Schedule("constant")
CONVEX = replace(TASKS["mnist1d"], name="mnist1d_200", train_size=200)


def _spread(base: Run, seeds: Sequence[int], timings: Sequence[Timing]) -> list[Run]:
    """Return `base` once a seed and timing."""
    return [replace(base, seed=seed, decay=replace(base.decay, timing=timing)) for seed in seeds for timing in timings]


def _gain(base: Run, setting: Setting, a: Timing, b: Timing) -> tuple[float, ...]:
    """Return the test accuracy under timing a minus that under timing b, seed by seed."""
    results = sweep(_spread(base, setting.seeds, (a, b)), device=setting.device)
    return paired(results, "decay.timing", a, b).values


def network(scale: str) -> Run:
    """Return the run chapter 03 rests on: a BatchNorm MLP on MNIST-1D, at `scale` paper ResNet-18 on CIFAR-10."""
    if scale == "ci":
        return Run(model=Model(width=64), decay=Decay(0.01), steps=15 * TASKS["mnist1d"].epoch)
    if scale == "paper":
        # lr 0.1 times 0.97 an epoch for 200 epochs and lambda 5e-4: remembered of Golatkar et al., not read; the list
        # in the appendix of Bjorck et al. could not be seen. Here the rate falls at every step, not once an epoch.
        resnet18 = Model("resnet", width=64, depth=4, blocks=2)
        return Run(TASKS["cifar10"], resnet18, schedule=Schedule(final=0.97**200), decay=Decay(5e-4, mask="everything"))
    return Run(model=Model(width=100 if scale == "demo" else 256), decay=Decay(0.01))


def signal_resnet(scale: str) -> Run:
    """Return the 1-D ResNet on MNIST-1D at `scale`."""
    whole_run = Run(model=Model("resnet", 8 if scale in ("ci", "demo") else 16), decay=Decay(0.01), evaluations=4)
    return _shortened(whole_run, 10) if scale == "ci" else whole_run


def image_resnet(scale: str) -> Run:
    """Return the 2-D ResNet on Fashion-MNIST at `scale`."""
    task = TASKS["fashion_full" if scale in ("gpu", "paper") else "fashion"]
    whole_run = Run(task, Model("resnet", 4 if scale == "ci" else 8), decay=Decay(0.02), evaluations=4)
    return _shortened(whole_run, 30) if scale == "ci" else whole_run


def _shortened(run: Run, epochs: int) -> Run:
    """Return `run` cut to `epochs` passes, with lambda raised so that lambda times steps stays as it was."""
    steps = epochs * run.task.epoch
    return replace(run, steps=steps, decay=replace(run.decay, strength=run.decay.strength * run.steps / steps))


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


def _norm_saved(setting: Setting, schedule: Schedule) -> Sequence[float]:
    """Return by what share the final weight norm of early decay is below that of never, under one lr schedule."""
    runs = _spread(replace(network(setting.scale), schedule=schedule), setting.seeds, (EARLY, NEVER))
    norms = sweep(runs, device=setting.device).table["weight_norm"].tolist()
    return [1 - early / never for early, never in zip(norms[::2], norms[1::2], strict=True)]


def _norm_stays_small(setting: Setting) -> Sequence[float]:
    return _norm_saved(setting, network(setting.scale).schedule)


def _norm_at_constant_lr(setting: Setting) -> Sequence[float]:
    return _norm_saved(setting, CONSTANT)


def _of(base: Callable[[str], Run], a: Timing, b: Timing) -> Measure:
    return lambda setting: _gain(base(setting.scale), setting, a, b)


def _levels(smallest: float, ci: int = 6, demo: int = 10, gpu: int = 20, paper: int = 5) -> dict[str, Level]:
    return {scale: Level(seeds, smallest) for scale, seeds in zip(SCALES, (ci, demo, gpu, paper), strict=True)}


GOLATKAR = "Golatkar et al. 2019 (finding); comparison and thresholds are ours"
LOSHCHILOV = "Loshchilov and Hutter 2019, Proposition {}; the measurement is ours"
OURS = "ours, derived on a quadratic; SGD with decoupled decay is Algorithm 1 of Loshchilov and Hutter 2019"

_ALL = (
    Claim(
        "momentum-parts-them",
        "With momentum, SGD with an l2 penalty and SGD with decoupled decay of the same strength end apart.",
        OURS,
        "of what l2 decay does to the resting point",
        lambda setting: convex.coupling_gap(setting.seeds, momentum=0.9).tolist(),
        "plain SGD, momentum 0: there the two are the same method",
        lambda setting: convex.coupling_gap(setting.seeds, momentum=0.0).tolist(),
        _levels(0.01, ci=10, demo=20),
    ),
    Claim(
        "sgd-l2-is-decay",
        "Under plain SGD an l2 penalty and decoupled decay follow the same path (minus the gap between them is above "
        "minus a rounding error).",
        LOSHCHILOV.format(1),
        "minus the gap, of what l2 decay does to the resting point",
        lambda setting: (-convex.path_gap(setting.seeds, momentum=0.0)).tolist(),
        "momentum 0.9, decoupled decay made stronger so that both rest at the same point: the paths still part",
        lambda setting: (-convex.path_gap(setting.seeds, momentum=0.9)).tolist(),
        _levels(-1e-9, ci=10, demo=20),
    ),
    Claim(
        "adam-parts-them",
        "Under Adam, l2 and decoupled decay of the same strength rest at different points when the sizes of the "
        "gradients differ from weight to weight.",
        LOSHCHILOV.format(2),
        "of what l2 decay does to the resting point",
        lambda setting: convex.adam_gap(setting.seeds).tolist(),
        "gradient noise of size 1 in every weight: Adam then divides by about 1, and the two are one method",
        lambda setting: convex.adam_gap(setting.seeds, equal=True).tolist(),
        _levels(0.25, ci=10, demo=20),
    ),
    Claim(
        "ridge-keeps-no-trace",
        "Ridge regression trained to convergence keeps no trace of decay in the first half of training (minus the "
        "trace is above minus one percent of what lasting decay does).",
        "after a remark of Golatkar et al. 2019 on convex problems; the measurement is ours",
        "minus the distance from never, of the distance between always and never",
        lambda setting: (-convex.trace_of_early_decay(setting.seeds, steps=4000)).tolist(),
        "the same regression stopped early, where the trace must be seen",
        lambda setting: (-convex.trace_of_early_decay(setting.seeds, steps=40)).tolist(),
        _levels(-0.01, ci=10, demo=20),
    ),
    Claim(
        "early-beats-never",
        "Weight decay in the first quarter of training alone gives a better network than no decay at all.",
        GOLATKAR,
        "test accuracy, first 25% minus never",
        _of(network, EARLY, NEVER),
        "a convex model with the same timings: a linear classifier of 200 MNIST-1D signals, trained to convergence",
        _convex_gain,
        _levels(0.005),
    ),
    Claim(
        "early-matches-always",
        "Weight decay in the first quarter of training is as good as decay throughout, to within a point and a half.",
        GOLATKAR,
        "test accuracy, first 25% minus always",
        _of(network, EARLY, ALWAYS),
        "never in place of early: the same test must notice that something is missing",
        _of(network, NEVER, ALWAYS),
        _levels(-0.015),
    ),
    Claim(
        "late-matches-never",
        "Weight decay that starts half-way does not help: never decaying is as good, to within a point.",
        GOLATKAR,
        "test accuracy, never minus after 50%",
        _of(network, NEVER, LATE),
        "always in place of late: the same test must notice that decay throughout does help",
        _of(network, NEVER, ALWAYS),
        _levels(-0.01),
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
        _levels(0.25),
    ),
    Claim(
        "early-beats-never-signals",
        "The same holds for a 1-D ResNet on MNIST-1D: decay in the first quarter beats no decay.",
        GOLATKAR,
        "test accuracy, first 25% minus never",
        _of(signal_resnet, EARLY, NEVER),
        "a convex model with the same timings: a linear classifier of 200 MNIST-1D signals, trained to convergence",
        _convex_gain,
        _levels(0.002, ci=6, demo=6, gpu=10),
    ),
    Claim(
        "early-beats-never-images",
        "The same holds on real images, a 2-D ResNet on Fashion-MNIST: decay in the first quarter beats no decay.",
        GOLATKAR,
        "test accuracy, first 25% minus never",
        _of(image_resnet, EARLY, NEVER),
        "decay from half-way on in place of early decay: timing, not decay as such, must make the difference",
        _of(image_resnet, LATE, NEVER),
        _levels(0.002, ci=6, demo=8, gpu=16),
    ),
)

CLAIMS: dict[str, Claim] = {claim.id: claim for claim in _ALL}
"""Every claim of the course by its id, in the order of the chapters."""
