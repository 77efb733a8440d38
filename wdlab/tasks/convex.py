"""Convex problems, on which weight decay can be checked against closed forms: quadratics and ridge regression.

Everything is float64 and deterministic given its seeds. Problems carry leading axes ("..." below, usually one entry
per seed), so that many descend side by side. The update rule is the one of `wdlab.decay`; nothing here repeats it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy  # its parts are loaded when first used
import torch
from torch import Tensor

from wdlab.checks import known, number, whole
from wdlab.decay import AdamBuffers, Decay, Rates, Timing, adam_, coupling, rates, scale, second_moment_, sgd_
from wdlab.tasks.task import generator

if TYPE_CHECKING:
    from jaxtyping import Float

EARLY = Timing.first(0.5)
LAMBDA = 0.1  # of all claims below: curvatures run from 0.01 or 0.1 up to 1, so decay matters and is not everything
MOMENTUM_LR, MOMENTUM_STEPS = 0.5, 600
ADAM_LR, ADAM_BETAS, ADAM_STEPS = 0.03, (0.9, 0.99), 4000
GRADIENT_SIZES = (0.25, 4.0)


@dataclass(frozen=True)
class Quadratic:
    """A convex quadratic loss, L(w) = w'Hw/2 - b'w + constant, with one minimum.

    Shapes: `curvature` H is [..., weight, weight], symmetric and positive definite; `pull` b is [..., weight].
    """

    curvature: Float[Tensor, "... weight weight"]
    pull: Float[Tensor, "... weight"]

    def gradient(self, w: Float[Tensor, "... weight"]) -> Float[Tensor, "... weight"]:
        """Return the gradient of the loss, Hw - b."""
        return _times(self.curvature, w) - self.pull

    def loss(self, w: Float[Tensor, "... weight"]) -> Float[Tensor, "..."]:
        """Return how far the loss at `w` is above its minimum w*: (w - w*)'H(w - w*)/2."""
        away = w - rest(self)
        return (away * _times(self.curvature, away)).sum(-1) / 2


@dataclass(frozen=True)
class Regression:
    """Linear regression: targets = inputs times truth plus noise of standard deviation `noise`.

    The training loss is the mean over examples of (x'w - y)^2 / 2. Shapes: `inputs` [..., example, weight], `targets`
    [..., example], `truth` [..., weight].
    """

    inputs: Float[Tensor, "... example weight"]
    targets: Float[Tensor, "... example"]
    truth: Float[Tensor, "... weight"]
    noise: float

    @property
    def problem(self) -> Quadratic:
        """The training loss as a quadratic: H = X'X/n, b = X'y/n."""
        n = self.inputs.shape[-2]
        return Quadratic(self.inputs.mT @ self.inputs / n, _times(self.inputs.mT, self.targets) / n)

    def test_loss(self, w: Float[Tensor, "... weight"]) -> Float[Tensor, "..."]:
        """Return the mean of (x'w - x'truth)^2 / 2 over new inputs that have the covariance H of the training inputs.

        It is a closed form, and leaves out the noise of new targets, which no weights can predict.
        """
        away = w - self.truth
        return (away * _times(self.problem.curvature, away)).sum(-1) / 2


def quadratics(seeds: Sequence[int], weights: int = 10, condition: float = 10.0) -> Quadratic:
    """Return one random quadratic per seed, with curvatures spread evenly in log from 1/condition to 1.

    Its axes are turned at random, its minimum is standard normal. Shapes: [seed, weight(, weight)]. Raises ValueError
    for a condition number below 1, or weights or seeds that are not whole numbers.
    """
    whole("weights", weights, 1)
    frames = torch.stack([_orthogonal(weights, generator(whole("seed", seed), "axes")) for seed in seeds])
    minima = torch.stack([_normal(weights, generator(seed, "minimum")) for seed in seeds])
    curvature = frames @ torch.diag(_spectrum(weights, condition)) @ frames.mT
    return Quadratic(curvature, _times(curvature, minima))


def regressions(
    seeds: Sequence[int], examples: int = 40, weights: int = 20, condition: float = 100.0, noise: float = 2.0
) -> Regression:
    """Return one random regression per seed, whose X'X/n has the chosen condition number and the largest eigenvalue 1.

    The true weights are standard normal, so the ridge strength that is best on average is noise^2/examples (the
    posterior mean of Bayesian linear regression): 0.1 by default. Raises ValueError as `quadratics`, for
    examples < weights, and for a negative noise.
    """
    whole("examples", examples, whole("weights", weights, 1))
    number("noise", noise, 0)
    parts = []
    for seed in seeds:
        draw = generator(whole("seed", seed), "regression")
        tall = torch.linalg.qr(_normal((examples, weights), draw))[0]
        spread = (examples * _spectrum(weights, condition)).sqrt()
        inputs = tall * spread @ _orthogonal(weights, draw)
        truth = _normal(weights, draw)
        parts.append((inputs, _times(inputs, truth) + noise * _normal(examples, draw), truth))
    inputs, targets, truth = (torch.stack(part) for part in zip(*parts, strict=True))
    return Regression(inputs, targets, truth, noise)


def rest(problem: Quadratic, strength: float | Tensor = 0.0) -> Float[Tensor, "... weight"]:
    """Return the closed-form minimum of loss + strength/2 ||w||^2: the solution of (H + strength I) w = b.

    For a `Regression.problem` this is the ridge solution. With one strength a weight, [..., weight], each has its own.
    Plain SGD rests here under either coupling; with momentum mu, decoupled decay lambda rests at
    `rest(problem, (1 - mu) lambda)`, because momentum makes the loss's step 1/(1 - mu) times longer, not the decay's.
    """
    decay = torch.as_tensor(strength, dtype=problem.pull.dtype).expand_as(problem.pull)
    solution: Tensor = torch.linalg.solve(problem.curvature + torch.diag_embed(decay), problem.pull)
    return solution


def adamw_rest(problem: Quadratic, strength: float, noise: float | Tensor = 0.0) -> Float[Tensor, " weight"]:
    """Return where Adam with decoupled decay rests on one problem whose gradients have `noise` of the given sizes.

    Adam's mean step in weight i is about lr g_i / sqrt(g_i^2 + s_i^2), and decay balances it where it equals
    lr lambda |w_i|: at the minimum of loss + sum_i s_i/lambda (1 - sqrt(1 - lambda^2 w_i^2)). For small lambda |w| that
    is a penalty of strength lambda s_i on each weight; without noise it is the loss alone inside a fence,
    |w_i| <= 1/lambda. (Derived here, for a small lr, many steps and a beta2 near 1.) `noise` is a number or [weight].
    Raises ValueError for several problems at once and for a strength that is negative.
    """
    if problem.pull.ndim != 1:
        raise ValueError(f"pull has the shape {tuple(problem.pull.shape)}, which is not allowed; give one problem.")
    if number("strength", strength, 0) == 0:
        return rest(problem)
    h, b, fence = problem.curvature.numpy(), problem.pull.numpy(), (1 - 1e-9) / strength
    sizes = torch.as_tensor(noise, dtype=torch.float64).expand_as(problem.pull).numpy()

    def penalized(w: np.ndarray) -> tuple[float, np.ndarray]:
        root = np.sqrt(1 - (strength * w) ** 2)
        pull = h @ w - b
        return (w @ (pull - b) / 2 + sizes @ (1 - root) / strength).item(), pull + sizes * strength * w / root

    start = rest(problem, strength).clamp(-0.9 * fence, 0.9 * fence).numpy()
    found = scipy.optimize.minimize(penalized, start, jac=True, bounds=[(-fence, fence)] * len(start), tol=1e-12)
    return torch.from_numpy(found.x)


def descend(
    problem: Quadratic,
    decay: Decay,
    steps: int,
    *,
    lr: float | Float[Tensor, " step"],
    optimizer: str = "sgd",
    momentum: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    start: Float[Tensor, "... weight"] | None = None,
    noise: Float[Tensor, "step ... weight"] | None = None,
) -> Float[Tensor, "step ... weight"]:
    """Return the path of `steps` steps of gradient descent under weight decay, from `start` (zero if not given).

    The optimizer is "sgd" (with `momentum`) or "adam" (with `betas`, `eps`); `noise` is added to the gradients. Every
    weight decays, whatever the mask says. Row t of the path is w after t steps, so there are steps + 1 rows. Raises
    ValueError for an unknown optimizer, for lr or steps that are not positive, and for scaling "gradient_norm".
    """
    known("optimizer", optimizer, ("sgd", "adam"))
    whole("steps", steps, 1)
    lrs = _lr_table(lr, steps)
    path = torch.zeros(steps + 1, *problem.pull.shape, dtype=problem.pull.dtype)
    w = torch.zeros_like(problem.pull) if start is None else start.clone()
    step_ = _stepper(w, optimizer, number("momentum", momentum, 0, 1, below=True), betas, eps)
    path[0] = w
    for t, rate in enumerate(_rates(decay, lrs)):
        g = problem.gradient(w) if noise is None else problem.gradient(w) + noise[t]
        step_(g, rate, lrs[t])
        path[t + 1] = w
    return path


def coupling_gap(seeds: Sequence[int], momentum: float) -> Float[Tensor, " seed"]:
    """Return how far apart SGD with l2 and with decoupled decay end, in units of what l2 decay does.

    gap = ||w_l2 - w_decoupled|| / ||w_l2 rest - w*||, at the end of 600 steps at lr 0.5 on a random quadratic of
    condition number 10, lambda 0.1. Without momentum it is 0 to rounding. With it the ends stay apart however long the
    run, for decoupled decay rests where l2 decay of strength (1 - momentum) lambda would.
    """
    problem = quadratics(seeds)
    ends = [
        descend(problem, Decay(LAMBDA, coupling=name), MOMENTUM_STEPS, lr=MOMENTUM_LR, momentum=momentum)[-1]
        for name in ("l2", "decoupled")
    ]
    return _norm(ends[0] - ends[1]) / _decay_effect(problem)


def path_gap(seeds: Sequence[int], momentum: float) -> Float[Tensor, " seed"]:
    """Return how far the paths of l2 and decoupled decay part although both come to rest at the same point.

    As `coupling_gap`, but decoupled decay has the strength lambda/(1 - momentum), and the distance is the largest of
    the whole path. At the end of the path the two agree to rounding.
    """
    problem = quadratics(seeds)
    equal_rest = {"l2": LAMBDA, "decoupled": LAMBDA / (1 - momentum)}
    paths = [
        descend(problem, Decay(strength, coupling=name), MOMENTUM_STEPS, lr=MOMENTUM_LR, momentum=momentum)
        for name, strength in equal_rest.items()
    ]
    return _norm(paths[0] - paths[1]).amax(0) / _decay_effect(problem)


def adam_gap(seeds: Sequence[int], equal: bool = False) -> Float[Tensor, " seed"]:
    """Return how far apart Adam with l2 and with decoupled decay (AdamW) come to rest, in units of what l2 decay does.

    gap = ||w_l2 - w_decoupled|| / ||w_l2 rest - w*||, each w the mean over the second half of 4,000 steps at lr 0.03,
    lambda 0.1, on a random quadratic of condition number 10 whose gradients are noisy, as those of small batches are:
    the noise in weight i has the size s_i, spread evenly in log from 1/4 to 4. With `equal` all sizes are 1, and the
    gap vanishes (the control): Adam then divides l2 decay by the same number everywhere, which is about 1.

    Both couplings see the same noise. For sizes s, l2 rests at `rest(problem, lambda)` and decoupled decay close to
    `rest(problem, lambda s)`, which is Proposition 3 of Loshchilov and Hutter (2019) with s for the preconditioner.
    """
    problem = quadratics(seeds)
    noise = gradient_noise(seeds, ADAM_STEPS, gradient_sizes(equal))
    ends = [adam_end(problem, coupling, noise) for coupling in ("l2", "decoupled")]
    return _norm(ends[0] - ends[1]) / _decay_effect(problem)


def adam_end(
    problem: Quadratic, coupling: str, noise: Float[Tensor, "step seed weight"]
) -> Float[Tensor, "seed weight"]:
    """Return where Adam hovers under `noise`: the mean over the second half of its path; lr, lambda as `adam_gap`."""
    decay, steps = Decay(LAMBDA, coupling=coupling), len(noise)
    path = descend(problem, decay, steps, lr=ADAM_LR, optimizer="adam", betas=ADAM_BETAS, noise=noise)
    return path[steps // 2 :].mean(0)


def gradient_noise(
    seeds: Sequence[int], steps: int, sizes: Float[Tensor, " weight"]
) -> Float[Tensor, "step seed weight"]:
    """Return normal gradient noise of the given `sizes`, in pairs of opposite sign.

    Such is the noise of two batches that share out the training set between them: over one pass their mean is exact.
    (Our choice: the paths then hover closely around where they rest, and seeds differ less.)
    """
    shape = ((steps + 1) // 2, len(sizes))
    half = torch.stack([_normal(shape, generator(seed, "gradient noise")) for seed in seeds], 1) * sizes
    return torch.stack([half, -half], 1).flatten(0, 1)[:steps]


def gradient_sizes(equal: bool = False, weights: int = 10) -> Float[Tensor, " weight"]:
    """Return the sizes of the gradient noise in `adam_gap`: spread evenly in log from 1/4 to 4, or `equal`, all 1."""
    low, high = (1.0, 1.0) if equal else GRADIENT_SIZES
    return torch.logspace(math.log10(low), math.log10(high), weights, dtype=torch.float64)


def trace_of_early_decay(seeds: Sequence[int], steps: int) -> Float[Tensor, " seed"]:
    """Return what decay in the first half of a ridge regression leaves at the end, as a share of full decay's effect.

    trace = ||w_first_half - w_never|| / ||w_always - w_never|| after `steps` steps of gradient descent at lr 1. It
    falls to 0 as training nears convergence, for each problem has one minimum and no memory: the second half of the run
    multiplies what the first half left by (1 - h)^(steps/2) along a direction of curvature h, and the flattest here has
    h = 0.01. Stopped early, the trace is still there.
    """
    never, always, first = (descent_end(regressions(seeds), timing, steps) for timing in _TIMINGS)
    return _norm(first - never) / _norm(always - never)


def gain_of_early_decay(seeds: Sequence[int], steps: int) -> Float[Tensor, " seed"]:
    """Return the test loss won by decay in the first half of a ridge regression, as a share of full decay's gain.

    gain = (never - first half) / (never - always), test losses at the end of `steps` steps, as in
    `trace_of_early_decay`. This is the convex counterpart of the claim about early decay in networks.
    """
    data = regressions(seeds)
    never, always, first = (data.test_loss(descent_end(data, timing, steps)) for timing in _TIMINGS)
    return (never - first) / (never - always)


def descent_end(
    data: Regression, timing: Timing, steps: int, lr: float | Float[Tensor, " step"] = 1.0
) -> Float[Tensor, "... weight"]:
    """Return where `steps` steps of plain gradient descent with decay 0.1 of the given `timing` end."""
    return descend(data.problem, Decay(LAMBDA, timing), steps, lr=lr)[-1]


_TIMINGS = (Timing.never(), Timing.always(), EARLY)


def _decay_effect(problem: Quadratic) -> Float[Tensor, "..."]:
    """How far l2 decay moves the resting point: the unit in which gaps are told."""
    return _norm(rest(problem, LAMBDA) - rest(problem))


def _lr_table(lr: float | Tensor, steps: int) -> list[float]:
    given = [float(one) for one in lr] if isinstance(lr, Tensor) and lr.ndim else [float(lr)] * steps
    if len(given) != steps:
        raise ValueError(f"lr has {len(given)} entries, which is not allowed; give one for each of the {steps} steps.")
    return [number("lr", one, 0, above=True) for one in given]


def _rates(decay: Decay, lrs: list[float]) -> Iterator[Rates]:
    """Yield lambda times timing times scaling times each of the five numbers, step by step."""
    numbers, timing = coupling(decay.coupling).numbers, decay.timing.table(len(lrs)).tolist()
    for multiplier, lr in zip(timing, lrs, strict=True):
        yield rates(numbers, decay.strength * multiplier * float(scale(decay.scaling, lr, lrs[0])))


def _stepper(
    w: Tensor, optimizer: str, momentum: float, betas: tuple[float, float], eps: float
) -> Callable[[Tensor, Rates, float], None]:
    """Return a function (gradient, rates, lr) that moves `w` in place by one step and keeps the buffers."""
    if optimizer == "sgd":
        buffer = torch.zeros_like(w) if momentum else None
        return lambda g, rate, lr: sgd_(w, g, buffer, rate, lr, momentum)
    buffers = AdamBuffers(*(torch.zeros_like(w) for _ in range(4)))
    done = 0

    def step(g: Tensor, rate: Rates, lr: float) -> None:
        nonlocal done
        done += 1
        second_moment_(buffers, w, g, rate, betas[1])
        adam_(w, g, buffers, rate, lr, betas, eps, done)

    return step


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def _norm(vectors: Tensor) -> Tensor:
    return vectors.square().sum(-1).sqrt()


def _normal(shape: int | tuple[int, ...], draw: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=draw, dtype=torch.float64)


def _orthogonal(size: int, draw: torch.Generator) -> Tensor:
    """A random rotation; the signs make it uniform."""
    q, r = torch.linalg.qr(_normal((size, size), draw))
    rotation: Tensor = q * r.diagonal().sign()
    return rotation


def _spectrum(size: int, condition: float) -> Tensor:
    number("condition", condition, 1)
    return torch.logspace(-math.log10(condition), 0, size, dtype=torch.float64)
