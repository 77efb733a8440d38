"""Claims of chapter 05: what sharpness forgets is the scale of the weights, which is what decay changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import joblib
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from wdlab.claims.arms import (
    ALWAYS,
    EARLY,
    LATE,
    NEVER,
    image_resnet,
    levels,
    network,
    sentence,
    shortened,
    signal_resnet,
    spread,
)
from wdlab.claims.chapter02 import trained_network
from wdlab.claims.claim import Claim, Measure, Setting
from wdlab.decay import Timing
from wdlab.measures import MEASURES, Subject, measure, rescale_, weight_norm
from wdlab.measures.complexity import weight_tensors
from wdlab.measures.sharpness import hessian_traces
from wdlab.run import Run
from wdlab.stats import Effect, kendall
from wdlab.sweeps import sweep
from wdlab.tasks import generator
from wdlab.train import History, Training, pick_device

Base = Callable[[str], Run]

EXAMPLES = 500  # training examples that a net is measured on
TOGETHER = {"mlp": 4, "resnet": 2}  # nets that are measured at once: what they remember of EXAMPLES stays in cache
SHORT = 200  # steps after which a net's rescaling is looked at: it has learned something by then
FEW_MEASURES = 100  # of MLPs that are done before another process is awake
RECOMMENDED = "magnitude_pac_bayes"
"""The one measure this course recommends, chosen on seeds from 10,000 on: noise in proportion to each weight."""

TIMINGS = {
    "never": NEVER,
    "last 50%": LATE,
    "middle 50%": Timing.window(0.25, 0.75),
    "first 5%": Timing.first(0.05),
    "first 10%": Timing.first(0.1),
    "first 25%": EARLY,
    "first 50%": Timing.first(0.5),
    "always": ALWAYS,
}
NAMES = {timing: name for name, timing in TIMINGS.items()}
FEW = tuple(TIMINGS[name] for name in ("never", "last 50%", "first 10%", "first 25%", "always"))
STRENGTHS = (0.3, 1.0, 3.0, 6.0, 10.0)
"""How many times the base's lambda; the last ones are too much."""


def fitted(scale: str) -> Run:
    """Return chapter 03's network, long enough trained at every scale to fit its data.

    Where it does not, the nets differ in how far they came, and flatness has nothing to say about that.
    """
    run = shortened(network("demo"), 25) if scale == "ci" else network(scale)
    return replace(run, evaluations=4)  # only the end is compared; the others move the progress bar


def over_timings(base: Run, seeds: Sequence[int], timings: Sequence[Timing] = tuple(TIMINGS.values())) -> list[Run]:
    """Return `base` once a seed and timing: between them only the timing of decay differs."""
    return spread(base, seeds, timings)


def over_strengths(base: Run, seeds: Sequence[int]) -> list[Run]:
    """Return `base` under decay throughout, once a seed and strength: too little, enough, and far too much."""
    always = [replace(base.decay, strength=base.decay.strength * times, timing=ALWAYS) for times in STRENGTHS]
    return [replace(base, seed=seed, decay=decay) for seed in seeds for decay in always]


def restored(histories: Sequence[History], device: str = "cpu", dtype: torch.dtype = torch.float32) -> Training:
    """Return a training whose members are the trained nets of `histories`, which hold their networks."""
    training = Training([history.run for history in histories], device, dtype)
    networks = [history.network or {} for history in histories]
    training.model.load_state_dict({name: torch.stack([net[name] for net in networks]) for name in networks[0]})
    return training


def subject(histories: Sequence[History], device: str = "cpu") -> Subject:
    """Return the trained nets of `histories` with the weights they began with and the examples they learned from."""
    training = restored(histories, device)
    untrained = training.task.build(training.spec, len(histories))
    untrained.initialize([generator(history.run.seed, "init") for history in histories])
    first = untrained.to(training.device, training.dtype)
    return learned_from(training, {name: p.detach() for name, p in first.named_parameters()})


def learned_from(training: Training, initial: Mapping[str, Tensor] | None = None) -> Subject:
    """Return the nets of `training` with the first EXAMPLES examples of each one's own training set."""
    of_seed = [training.seeds.index(run.seed) for run in training.runs]
    chosen = torch.stack([training.batches.sets[seed][:EXAMPLES] for seed in of_seed]).to(training.device)
    labels = training.train_labels[torch.tensor(of_seed, device=training.device)].gather(1, chosen)
    together = TOGETHER[training.spec.name]
    return Subject(training.model, training.inputs[chosen], labels, initial, training.seeds[0], together)


@torch.no_grad()
def to_one_norm_(found: Subject) -> Subject:
    """Rescale in place the nets of `found` until their scale-invariant weights are as long as the first net's.

    BatchNorm makes it that nothing else about them changes: the same functions, the same errors.
    """
    model = found.model
    norms = weight_norm([model.get_parameter(name).detach() for name in model.scale_invariant])
    rescale_(model, norms[0] / norms)
    return found


def measured(
    runs: Sequence[Run], names: Sequence[str] = tuple(MEASURES), device: str = "cpu", one_norm: bool = False
) -> pd.DataFrame:
    """Return a row for every run: timing, strength, seed, test error and the measures called `names` of its net.

    With `one_norm` the nets of a seed are first rescaled to one norm. Nets are trained where the store lacks them;
    seeds are measured in processes of their own.
    """
    return _measured(tuple(runs), tuple(names), device, one_norm).copy()


@lru_cache(maxsize=32)
def _measured(runs: tuple[Run, ...], names: tuple[str, ...], device: str, one_norm: bool) -> pd.DataFrame:
    histories = sweep(runs, device=device, networks=True).histories
    of_seed: dict[int, list[History]] = {}
    for history in histories:
        of_seed.setdefault(history.run.seed, []).append(history)
    few = len(runs) * len(names) < FEW_MEASURES and all(run.model.name == "mlp" for run in runs)
    jobs = 1 if few or pick_device(device).type != "cpu" else min(len(of_seed), int(joblib.cpu_count()))
    calls = (joblib.delayed(_rows)(nets, names, device, one_norm) for nets in of_seed.values())
    found: pd.DataFrame = pd.concat(joblib.Parallel(jobs)(calls), ignore_index=True)
    return found


def _rows(histories: Sequence[History], names: Sequence[str], device: str, one_norm: bool) -> pd.DataFrame:
    found = subject(histories, device)
    values = measure(to_one_norm_(found) if one_norm else found, names)
    told = [
        {
            "timing": NAMES.get(h.run.decay.timing, str(h.run.decay.timing)),
            "strength": h.run.decay.strength,
            "seed": h.run.seed,
            "test_error": h.curves["test_error"][-1],
        }
        for h in histories
    ]
    return pd.DataFrame(told).assign(**{name: value.tolist() for name, value in values.items()})


# What is compared


def rescaling_error(found: Subject, names: Sequence[str], times: float = 3.0) -> list[float]:
    """Return by what share two predictions are missed when the weights `names` are multiplied by `times`, net by net.

    Predicted for weights that feed BatchNorm: tr(H) over them falls by 1/times^2, and RECOMMENDED stays as it was. The
    larger miss of the two. Of other weights neither is true. The nets of `found` are changed.
    """
    before = _trace_and_relative(found, names)
    with torch.no_grad():
        for name in names:
            found.model.get_parameter(name).mul_(times)
    after = _trace_and_relative(found, names)
    missed = [after[0] * times**2 / before[0] - 1, after[1] / before[1] - 1]
    return [float(value) for value in torch.stack(missed).abs().amax(0)]


def _trace_and_relative(found: Subject, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    traces = hessian_traces(found, found.generator(), names=list(names))
    return torch.stack(list(traces.values())).sum(0), measure(found, [RECOMMENDED])[RECOMMENDED]


def _mlp_rescaled(norm: bool) -> Measure:
    """Measure minus the error for the hidden weights of an MLP with BatchNorm, or without."""

    def measure_it(setting: Setting) -> list[float]:
        found = learned_from(trained_network(setting.seeds, norm))
        return [-value for value in rescaling_error(found, list(weight_tensors(found.model))[:-1])]

    return measure_it


def _resnet_rescaled(base: Base, free: bool) -> Measure:
    """Measure minus the error for the weights of a ResNet that feed its BatchNorms, or for those that do not."""

    def measure_it(setting: Setting) -> list[float]:
        run = base(setting.scale)
        training = Training([replace(run, seed=seed) for seed in setting.seeds], "cpu", torch.float64)
        training.advance(min(SHORT, run.steps))
        found = learned_from(training)
        names = [name for name in weight_tensors(found.model) if (name in found.model.scale_invariant) == free]
        return [-value for value in rescaling_error(found, names)]

    return measure_it


def tau_by_seed(table: pd.DataFrame, name: str) -> list[float]:
    """Return Kendall's tau between measure `name` and test error among the nets of each seed."""
    return [kendall(nets[name].tolist(), nets["test_error"].tolist()) for _, nets in table.groupby("seed", sort=True)]


def coverage(
    of: Callable[[Sequence[float]], Effect], seeds: int, nets: int, correlation: float = 0.8, repeats: int = 500
) -> float:
    """Return how often the interval `of` the taus of `seeds` seeds holds the truth, where the truth is known.

    In each of `repeats` made-up experiments a seed has `nets` networks, whose measure and test error are normal with
    correlation rho = `correlation`, so that the expected tau is (2 / pi) arcsin(rho) (Greiner's relation).
    """
    draw, truth = np.random.default_rng(0), 2 / math.pi * math.asin(correlation)
    first, second = np.triu_indices(nets, 1)
    measures, noise = draw.standard_normal((2, repeats, seeds, nets))
    errors = correlation * measures + math.sqrt(1 - correlation**2) * noise
    agree = np.sign((measures[..., first] - measures[..., second]) * (errors[..., first] - errors[..., second]))
    found = [of(taus) for taus in agree.mean(-1).tolist()]
    return sum(one.low <= truth <= one.high for one in found) / repeats


def fair_taus(table: pd.DataFrame, name: str, within: float = 0.1) -> list[float]:
    """Return tau of measure `name` among those pairs of each seed whose training losses differ by that share at most.

    A seed without such a pair has none (NaN); a tie counts 0.
    """
    found = []
    for _, nets in table.groupby("seed", sort=True):
        first, second = np.triu_indices(len(nets), 1)
        loss, value, error = (nets[one].to_numpy() for one in ("training_loss", name, "test_error"))
        fair = abs(loss[first] - loss[second]) <= within * np.maximum(loss[first], loss[second])
        agree = np.sign((value[first] - value[second]) * (error[first] - error[second]))
        found.append(float(agree[fair].mean()) if fair.any() else math.nan)
    return found


def _tau(base: Base, name: str, timings: Sequence[Timing], sign: int = 1, one_norm: bool = False) -> Measure:
    def measure_it(setting: Setting) -> list[float]:
        runs = over_timings(base(setting.scale), setting.seeds, timings)
        return [sign * tau for tau in tau_by_seed(measured(runs, [name], setting.device, one_norm), name)]

    return measure_it


def _tau_over_strengths(base: Base, name: str, sign: int = 1) -> Measure:
    def measure_it(setting: Setting) -> list[float]:
        runs = over_strengths(base(setting.scale), setting.seeds)
        return [sign * tau for tau in tau_by_seed(measured(runs, [name], setting.device), name)]

    return measure_it


def _decayed(timings: Sequence[Timing]) -> tuple[Timing, ...]:
    return tuple(timing for timing in timings if timing != NEVER)


ALL = tuple(TIMINGS.values())
MISSED = (
    "ours, after Bjorck et al. 2021, who report that traditional measures (we could not read which) miss the effect"
)
CAPTURED = (
    "ours, after Bjorck et al. 2021, who report that a scale-invariant measure (we could not read which) captures it"
)
OWN = "ours"
TAU = "Kendall's tau between measure and test error, among the nets of one seed"
PLAIN = "gaussian_sharpness"
SAME_NORM = (
    "the same nets, their hidden weights rescaled to one norm by one factor a net: the same functions, and all that is "
    "left of scale is how layers share it, and the last layer"
)
TOO_MUCH = (
    "nets that differ in how strong decay is, up to ten times too strong: too little is learned, and that is no flaw"
)
_PLACES: tuple[tuple[str, Base, str], ...] = (
    ("-signals", signal_resnet, "For a 1-D ResNet on MNIST-1D: "),
    ("-images", image_resnet, "For a 2-D ResNet on Fashion-MNIST: "),
)
BACKWARDS = "among nets that differ in when decay acted, the one that noise of one size hurts more generalizes better."
SEES = (
    "among nets that differ in when decay acted, the one that noise in proportion to each weight hurts more "
    "generalizes worse."
)


RESCALED = (
    "multiplying the weights that feed BatchNorm by 3 makes their curvature 9 times smaller and leaves the noise a net "
    "tolerates, in proportion to its weights, where it was: both to within 5%."
)
MISS = "minus the larger of the two relative errors of that prediction"
MISLEADS = (
    "among nets that were decayed throughout, at 0.3 to 10 times the usual lambda, the one with the smaller norm "
    "generalizes worse."
)
NO_HELP = (
    "among nets that were all decayed, at one strength, and differ in when, the norm says little about which of them "
    "generalizes better: tau is below 0.3."
)
WITH_NEVER = "the same nets together with the one that was never decayed"
ONE_STRENGTH = "nets that differ in when decay acted, at one strength"


def _on_resnets(end: str, base: Base, words: str) -> tuple[Claim, ...]:
    # Tried by `wdlab reproduce` and put on record: no notebook has the minutes. As many seeds as for chapter 04.
    seeds = {"ci": 2, "demo": 8, "gpu": 10, "paper": 3}
    few = levels(0.3, **seeds)
    return (
        Claim(
            f"rescaling-moves-plain-sharpness-only{end}", words + RESCALED, OWN, MISS,
            _resnet_rescaled(base, free=True), "the last layer's weights, which no BatchNorm follows",
            _resnet_rescaled(base, free=False), levels(-0.05, **seeds),
        ),
        Claim(
            f"plain-sharpness-is-backwards{end}", words + BACKWARDS, MISSED, f"minus {TAU}",
            _tau(base, PLAIN, FEW, -1), SAME_NORM, _tau(base, PLAIN, FEW, -1, one_norm=True), few,
        ),
        Claim(
            f"relative-noise-sees-timing{end}", words + SEES, CAPTURED, TAU,
            _tau(base, RECOMMENDED, FEW), "the same nets and noise of one size for every weight",
            _tau(base, "pac_bayes", FEW), few,
        ),
        Claim(
            f"norm-misleads-over-strengths{end}", words + MISLEADS, OWN, f"minus {TAU}",
            _tau_over_strengths(base, "weight_norm", -1), ONE_STRENGTH, _tau(base, "weight_norm", FEW, -1), few,
        ),
        Claim(
            f"norm-is-no-help-among-decayed{end}", words + NO_HELP, OWN, f"minus {TAU}",
            _tau(base, "weight_norm", _decayed(FEW), -1), WITH_NEVER, _tau(base, "weight_norm", FEW, -1),
            levels(-0.3, **seeds),
        ),
    )  # fmt: skip


CLAIMS = (
    Claim(
        "rescaling-moves-plain-sharpness-only",
        sentence("", RESCALED),
        OWN,
        MISS,
        _mlp_rescaled(norm=True),
        "a network without BatchNorm, which such a change makes another function",
        _mlp_rescaled(norm=False),
        levels(-0.05),
    ),
    Claim(
        "plain-sharpness-is-backwards",
        sentence("", BACKWARDS),
        MISSED,
        f"minus {TAU}",
        _tau(fitted, PLAIN, ALL, -1),
        SAME_NORM,
        _tau(fitted, PLAIN, ALL, -1, one_norm=True),
        levels(0.3, ci=2, demo=6, gpu=12),
    ),
    Claim(
        "relative-noise-sees-timing",
        sentence("", SEES),
        CAPTURED,
        TAU,
        _tau(fitted, RECOMMENDED, ALL),
        TOO_MUCH,
        _tau_over_strengths(fitted, RECOMMENDED),
        levels(0.3, ci=2, demo=6, gpu=12),
    ),
    Claim(
        "norm-misleads-over-strengths",
        sentence("", MISLEADS),
        OWN,
        f"minus {TAU}",
        _tau_over_strengths(fitted, "weight_norm", -1),
        ONE_STRENGTH,
        _tau(fitted, "weight_norm", ALL, -1),
        levels(0.3, ci=2, demo=6, gpu=12),
    ),
    Claim(
        "norm-is-no-help-among-decayed",
        sentence("", NO_HELP),
        OWN,
        f"minus {TAU}",
        _tau(fitted, "weight_norm", _decayed(ALL), -1),
        WITH_NEVER,
        _tau(fitted, "weight_norm", ALL, -1),
        levels(-0.3, ci=2, demo=6, gpu=12),
    ),
    *(claim for place in _PLACES for claim in _on_resnets(*place)),
)
