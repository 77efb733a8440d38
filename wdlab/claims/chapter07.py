"""Claims of chapter 07: where lambda w enters Adam, and what the size of the gradients has to do with it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wdlab import optim
from wdlab.checks import number
from wdlab.claims.arms import levels, network
from wdlab.claims.claim import Claim, Measure, Setting
from wdlab.decay import AdamBuffers, Decay, Parts, Rates, adam_parts, coupling, first_moment_, rates
from wdlab.run import Model, Optimizer, Run
from wdlab.tasks import TASKS, Batches, generator
from wdlab.tasks.unequal import BETAS, EPS, LAMBDA, ONES, SCALES, descend

PAPER = (
    "after Bjorck et al. 2021 (decoupled decay cannot drown out the objective); the quadratic, the measure and the "
    "threshold are ours"
)
ZHUANG = "Zhuang et al. 2022 (AdamW is scale-free); network, measure and threshold are ours"
OURS = "ours, derived on the quadratic: what divides the gradient divides lambda w too"

STRENGTHS = {
    "l2": 0.01,
    "first_moment": 0.01,
    "second_moment": 0.01,
    "own_buffers": 0.01,
    "adaptive": 0.01,
    "decoupled": 1.0,
}
"""lambda of each coupling on the network: decoupled decay is not divided by sqrt(v), so it takes a larger one."""

WIDTH, LR, TRAIN_STEPS = 32, 0.003, 100
FACTOR = 1000.0
TENTH = 10
START, FIRST = 1.0, 50  # for the shortened step: from the minimum, and how many steps are looked at


def split_runs(scale: str, seeds: Sequence[int]) -> list[Run]:
    """Return a run for each coupling and seed, by Adam on the BatchNorm MLP, whose steps are to be seen in parts."""
    base = replace(network("ci"), optimizer=Optimizer("adam", LR), steps=310 if scale == "ci" else 620)
    base = replace(base, model=Model(width=WIDTH if scale == "ci" else 64))
    decays = [Decay(strength, coupling=name) for name, strength in STRENGTHS.items()]
    return [replace(base, seed=seed, decay=decay) for decay in decays for seed in seeds]


# Unequal gradients on the quadratic


@lru_cache(maxsize=8)
def ends(seeds: tuple[int, ...], scales: tuple[float, ...] = SCALES) -> dict[str, Tensor]:
    """Return where w ends, [seed, scale], from 0 under lambda 0.01 of three couplings on the same noise."""
    names = ("l2", "adaptive", "decoupled")
    return dict(zip(names, descend([(name, LAMBDA) for name in names], seeds, scales).end, strict=True))


def _shortfall(name: str, scales: tuple[float, ...]) -> Measure:
    """How far below decoupled decay the coordinate of the smallest gradients ends; the minimum is at 1."""

    def measure(setting: Setting) -> Sequence[float]:
        found = ends(setting.seeds, scales)
        return [float(short) for short in (found["decoupled"] - found[name])[:, -1]]

    return measure


def shortened(name: str) -> Measure:
    """Return the measure of how much shorter the objective's own part is than under decoupled decay, as a share.

    It is the mean of |part| over the first 50 steps from the minimum, where gradients are smallest.
    """

    def measure(setting: Setting) -> Sequence[float]:
        settings = [("decoupled", LAMBDA), (name, LAMBDA)]
        found = descend(settings, setting.seeds, start=START, steps=FIRST)
        decoupled, other = found.objective[..., -1, :].abs().mean(-1)
        return [1 - float(ratio) for ratio in other / decoupled]

    return measure


# A BatchNorm network


@dataclass(frozen=True)
class Trained:
    """A network trained by Adam, and its last step over all decayed weights: [weight] each.

    `w` is where the step began, `size` is sqrt(v^), the size of what v hears: the gradient of the loss, under l2 that
    of loss and penalty. `layer` numbers the layer of each weight, `parts` are the step's two parts.
    """

    net: nn.Sequential
    w: Tensor
    size: Tensor
    layer: Tensor
    parts: Parts


@lru_cache(maxsize=256)
def trained(seed: int, name: str, factor: float = 1.0, steps: int = TRAIN_STEPS) -> Trained:
    """Train a small BatchNorm network by Adam with decay of coupling `name`, on `factor` times the loss; float64.

    It is the loop everybody knows, with wdlab's optimizer and nearly no eps, for eps knows the size of a gradient. It
    is not `Training`, for a factor on the loss has no place in a `Run`, and v is wanted at the end.
    """
    number("factor", factor, 0, above=True)
    task, net = TASKS["mnist1d"], _network(seed)
    matrices = [p for p in net.parameters() if p.ndim > 1]
    chosen = optim.Adam(net.parameters(), LR, eps=EPS, weight_decay=STRENGTHS[name], coupling=name, mask="weights")
    of_loss = [torch.zeros_like(p) for p in matrices]
    arrays = task.arrays()
    inputs, batches = arrays.inputs.double(), Batches(task, [seed], len(arrays.labels))
    before: list[Tensor] = []
    for step in range(steps):
        batch = batches.indices(step)[0]
        chosen.zero_grad()
        (factor * F.cross_entropy(net(inputs[batch]), arrays.labels[batch])).backward()  # type: ignore[no-untyped-call]
        before = [p.detach().clone() for p in matrices]
        for mean, p in zip(of_loss, matrices, strict=True):
            first_moment_(mean, p, p.grad if p.grad is not None else torch.zeros_like(p), Rates(), BETAS[0])
        chosen.step()
    states = [chosen.state[p] for p in matrices]
    m, v = (torch.cat([state[key].flatten() for state in states]) for key in ("m", "v"))
    w, mean = (torch.cat([tensor.flatten() for tensor in some]) for some in (before, of_loss))
    rate = rates(coupling(name).numbers, STRENGTHS[name])
    parts = adam_parts(w, AdamBuffers(m, v), mean, rate, LR, BETAS, EPS, steps)
    layer = torch.arange(len(matrices)).repeat_interleave(torch.tensor([p.numel() for p in matrices]))
    return Trained(net.eval(), w, (v / (1 - BETAS[1] ** steps)).sqrt(), layer, parts)


def _network(seed: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):  # torch's layers draw from the global generator: give it back as it was
        torch.manual_seed(seed)
        for before, after in itertools.pairwise((40, WIDTH, WIDTH)):
            layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(WIDTH, 10)).double()


@torch.no_grad()
def answered_differently(one: nn.Module, other: nn.Module) -> float:
    """Return the share of test signals that two networks answer differently."""
    task = TASKS["mnist1d"]
    inputs = task.arrays().inputs[: task.test_size].double()
    return float((one(inputs).argmax(1) != other(inputs).argmax(1)).double().mean())


def changed_by_factor(seed: int, name: str) -> float:
    """Return the share of test signals answered differently when the loss was multiplied by 1,000 in training."""
    return answered_differently(trained(seed, name).net, trained(seed, name, FACTOR).net)


def _scale_free(names: Sequence[str]) -> Measure:
    """Minus the share answered differently; of several couplings the one that changes least."""
    return lambda setting: [0 - min(changed_by_factor(seed, name) for name in names) for seed in setting.seeds]


def tenths(size: Tensor) -> tuple[Tensor, Tensor]:
    """Return the tenth of weights of smallest `size`, and that of largest."""
    order = size.argsort()
    return order[: len(order) // TENTH], order[-(len(order) // TENTH) :]


def quiet_over_loud(found: Trained, size: Tensor | None = None) -> float:
    """Return log2 of how much more of itself a quiet weight loses to decay than a loud one.

    Weights are sorted by `size`, if none is given by sqrt(v^). The share of w that the decay part takes is compared
    between the quietest and the loudest tenth, each as the sum of decay part times w over the sum of w^2.
    """

    def lost(some: Tensor) -> float:
        w = found.w[some]
        return float(-(found.parts.decay[some] * w).sum() / w.square().sum())

    quiet, loud = map(lost, tenths(found.size if size is None else size))
    return math.log2(quiet / loud) if quiet > 0 and loud > 0 else math.nan


def _quiet(setting: Setting) -> Sequence[float]:
    return [quiet_over_loud(trained(seed, "l2")) for seed in setting.seeds]


def by_chance(seed: int) -> float:
    """Return `quiet_over_loud` under l2 of two tenths that the seed draws, whatever their gradients."""
    found = trained(seed, "l2")
    return quiet_over_loud(found, torch.rand(len(found.w), generator=generator(seed, "tenths")))


_ONES = (
    "gradients of size 1 in every coordinate: there Adam divides lambda w by 1, and it must end where decoupled decay "
    "of the same lambda ends"
)

CLAIMS = (
    Claim(
        "l2-drowns-small-gradients",
        "Under Adam with an l2 penalty the coordinate whose gradients are a thousand times smaller ends at least half "
        "the way to its minimum short of where decoupled decay of the same lambda leaves it.",
        PAPER,
        "of the way from 0 to the minimum",
        _shortfall("l2", SCALES),
        _ONES,
        _shortfall("l2", ONES),
        levels(0.5),
    ),
    Claim(
        "adaptive-drowns-them-too",
        "Keeping decay out of both moments, yet dividing it by sqrt(v), leaves that coordinate just as far behind: at "
        "least half the way.",
        OURS,
        "of the way from 0 to the minimum",
        _shortfall("adaptive", SCALES),
        _ONES,
        _shortfall("adaptive", ONES),
        levels(0.5),
    ),
    Claim(
        "mixing-shortens-the-objective",
        "Where lambda w is larger than the gradients, an l2 penalty in v shortens the objective's own part of the step "
        "to less than half of what it is under decoupled decay.",
        PAPER,
        "of the objective's part under decoupled decay, by which it is shorter",
        shortened("l2"),
        "adaptive decay: as strong a pull, but kept out of v",
        shortened("adaptive"),
        levels(0.5),
    ),
    Claim(
        "decoupled-is-scale-free",
        "A BatchNorm network trained by Adam, nearly without eps, with decoupled decay on a thousand times the loss "
        "answers at most 1% of test signals differently (minus the share is above minus 0.01).",
        ZHUANG,
        "minus the share of test signals answered differently",
        _scale_free(["decoupled"]),
        "l2 and adaptive decay, of which the one that changes less counts",
        _scale_free(["l2", "adaptive"]),
        levels(-0.01, ci=3, demo=8),
    ),
    Claim(
        "quiet-weights-decay-faster",
        "In a BatchNorm network under Adam with an l2 penalty the tenth of weights with the smallest sqrt(v) loses "
        "over twice as large a share of itself to decay, in one step, as the tenth with the largest.",
        OURS,
        "log2 of the share lost by the quiet tenth over that lost by the loud tenth",
        _quiet,
        "two tenths drawn at random",
        lambda setting: [by_chance(seed) for seed in setting.seeds],
        levels(1.0, ci=3, demo=8),
    ),
)
