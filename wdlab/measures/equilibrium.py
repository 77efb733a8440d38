"""Where weights whose scale does not matter settle under weight decay: closed forms, and a walk to check them on.

A gradient of scale-invariant weights stands at a right angle to them, so a step makes them longer; decay makes them
shorter. Where the two balance, the norm stands still and each step turns the weights by the same angle.

Both couplings make the weights follow w_{t+1} = p w_t - q w_{t-1} - lr g_t, with p = A + mu, q = A mu for decoupled
decay (A = 1 - lr lambda) and p = 1 + mu - lr lambda, q = mu for an l2 penalty. Multiply by w_t, which g_t does not
meet, and let the norm stand still: cos(angle) = p / (1 + q). That needs no word about the noise. The norm does: it is
read off the pure-noise model, in which gradients at different steps have nothing to do with each other. (Derived
here; to first order in lr lambda the angles are those of Kosson et al. 2024.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wdlab.checks import known, number, whole
from wdlab.decay import COUPLINGS, AdamBuffers, adam_, rates, second_moment_, sgd_
from wdlab.measures.dynamics import rotation
from wdlab.measures.norms import weight_norm
from wdlab.tasks import generator

if TYPE_CHECKING:
    from jaxtyping import Float

CHUNK = 100  # steps whose noise is drawn at a time


@dataclass(frozen=True)
class Equilibrium:
    """The norm of the weights, and the angle in radians by which each step turns them, where both stand still."""

    norm: float
    angle: float


def sgd_equilibrium(
    lr: float,
    weight_decay: float,
    momentum: float = 0.9,
    coupling: str = "l2",
    relative_gradient: float = 1.0,
    first_order: bool = False,
) -> Equilibrium:
    """Return the equilibrium of scale-invariant weights under SGD with momentum mu and decay lambda.

    With G^2 the mean of (||w|| ||g||)^2 (`relative_gradient` is G), to first order in lr lambda:

        l2         angle = sqrt(2 lr lambda / (1 + mu))              norm^4 = lr G^2 / (2 lambda (1 - mu))
        decoupled  angle = sqrt(2 lr lambda (1 - mu) / (1 + mu))     norm^4 = lr G^2 / (2 lambda (1 - mu)^2)

    and exactly, where the norm does not fluctuate (see the top of this module), with A = 1 - lr lambda:

        l2         cos(angle) = 1 - lr lambda / (1 + mu)
                   norm^4 = lr G^2 (1 + mu) / ((1 - mu) lambda (2 (1 + mu) - lr lambda))
        decoupled  cos(angle) = (A + mu) / (1 + A mu)
                   norm^4 = lr^2 G^2 (1 + A mu) / ((1 - mu^2) (1 - A^2) (1 - A mu))

    An l2 penalty goes through the buffer, so it acts 1/(1 - mu) times as strongly as decoupled decay of the same
    lambda. Sources: Kosson et al. 2024 for the first-order angle under l2; the rest is derived here. Raises ValueError
    for numbers out of range (lr lambda must lie between 0 and 1) and for other couplings.
    """
    x, mu = _product(lr, weight_decay), number("momentum", momentum, 0, 1, below=True)
    square = number("relative_gradient", relative_gradient, 0, above=True) ** 2
    if known("coupling", coupling, ("l2", "decoupled")) == "l2":
        rate = 1.0 if first_order else 2 * (1 + mu) / (2 * (1 + mu) - x)
        fourth = rate * lr * square / (2 * weight_decay * (1 - mu))
        angle = math.sqrt(2 * x / (1 + mu)) if first_order else 2 * math.asin(math.sqrt(x / (2 * (1 + mu))))
        return Equilibrium(fourth**0.25, angle)
    if first_order:
        fourth = lr * square / (2 * weight_decay * (1 - mu) ** 2)
    else:
        fourth = (lr * _long_run(x, mu)) ** 2 * square / (1 - mu**2)
    return Equilibrium(fourth**0.25, _decoupled_angle(x, mu, first_order))


def adamw_equilibrium(
    lr: float, weight_decay: float, weights: int, beta1: float = 0.9, first_order: bool = False
) -> Equilibrium:
    """Return the equilibrium of d = `weights` scale-invariant weights under AdamW (lambda as in torch).

    To first order in lr lambda, and exactly where the norm does not fluctuate, with A = 1 - lr lambda:

        angle = sqrt(2 lr lambda (1 - beta1) / (1 + beta1))          norm^2 = lr d / (2 lambda)
        cos(angle) = (A + beta1) / (1 + A beta1)
        norm^2 = lr^2 d (1 - beta1) / (1 + beta1) (1 + A beta1) / ((1 - A^2) (1 - A beta1))

    The size of the gradient is nowhere in it: Adam divides it out. It holds for a beta2 near 1 and gradients of pure
    noise; in real networks Adam's division also tilts the step, which is then no longer at a right angle to the
    weights. Sources: Kosson et al. 2024 (first-order angle); K. Wen's notes on weight decay and hyperballs, part 2
    (norm, and the exact angle by its sine); derived again here. An l2 penalty inside Adam has no such form: there the
    angle depends on the size of the gradient (Kosson et al. 2024). Raises ValueError for numbers out of range.
    """
    x, beta = _product(lr, weight_decay), number("beta1", beta1, 0, 1, below=True)
    if first_order:
        square = lr * whole("weights", weights, 1) / (2 * weight_decay)
    else:
        square = (lr * _long_run(x, beta)) ** 2 * whole("weights", weights, 1) * (1 - beta) / (1 + beta)
    return Equilibrium(math.sqrt(square), _decoupled_angle(x, beta, first_order))


def _product(lr: float, weight_decay: float) -> float:
    number("lr", lr, 0, above=True)
    number("weight_decay", weight_decay, 0, above=True)
    return number("lr * weight_decay", lr * weight_decay, 0, 1, above=True, below=True)


def _decoupled_angle(x: float, mu: float, first_order: bool) -> float:
    """The angle whose cosine is (A + mu)/(1 + A mu), by the tangent of its half, which keeps its digits."""
    if first_order:
        return math.sqrt(2 * x * (1 - mu) / (1 + mu))
    return 2 * math.atan(math.sqrt(x / (2 - x) * (1 - mu) / (1 + mu)))


def _long_run(x: float, mu: float) -> float:
    """The norm that steps of length 1, remembered by decay and momentum, add up to: see `sgd_equilibrium`."""
    a = 1 - x
    return math.sqrt((1 + a * mu) / ((1 - a**2) * (1 - a * mu)))


# The walk


@dataclass(frozen=True)
class Walk:
    """Norm before each step and angle of each step, both [step, seed, setting]."""

    norm: Float[Tensor, "step seed setting"]
    angle: Float[Tensor, "step seed setting"]

    def mean(self, start: int = 0, stop: int | None = None) -> tuple[Tensor, Tensor]:
        """Return the root mean square norm and the mean angle over steps start to stop, each [seed, setting]."""
        return self.norm[start:stop].square().mean(0).sqrt(), self.angle[start:stop].mean(0)


def random_walk(
    seeds: Sequence[int],
    settings: Sequence[tuple[float, float]],
    steps: int,
    optimizer: str = "sgd",
    coupling: str = "l2",
    momentum: float = 0.9,
    betas: tuple[float, float] = (0.9, 0.99),
    weights: int = 200,
    start: float = 1.0,
    relative_gradient: float = 1.0,
) -> Walk:
    """Return a walk of weights whose gradient is pure noise, one a seed and (lr, lambda) in `settings`, in float64.

    The gradient is that of a scale-invariant loss that has nothing to learn: g = G P z / (sqrt(d - 1) ||w||), where z
    is normal, P takes out the part along w, and G is `relative_gradient`, the root mean square of ||w|| ||g||. The
    optimizer is "sgd" with `momentum` or "adam" with `betas` (its eps is nearly 0); every weight decays by the rule of
    `wdlab.decay`. All start at a random point of norm `start`. Settings of one seed see the same z. Raises ValueError
    for an unknown optimizer or coupling and for numbers out of range.
    """
    known("optimizer", optimizer, ("sgd", "adam"))
    whole("weights", weights, 2)
    size = number("relative_gradient", relative_gradient, 0, above=True)
    lr, decay = (torch.tensor(row, dtype=torch.float64).unsqueeze(1) for row in zip(*settings, strict=True))
    rate = rates(COUPLINGS[known("coupling", coupling, COUPLINGS)].numbers, decay)
    generators = [generator(whole("seed", seed), "random walk") for seed in seeds]
    noise = _noise(generators, whole("steps", steps, 1), weights)
    first = next(noise)
    w = number("start", start, 0, above=True) * (first / first.norm(dim=-1, keepdim=True)).repeat(1, len(settings), 1)
    buffers = [torch.zeros_like(w) for _ in range(4)]
    norms, angles = [], []
    for step, z in enumerate(noise, start=1):
        g, before = size * _orthogonal(z, w), w.clone()
        if optimizer == "sgd":
            sgd_(w, g, buffers[0], rate, lr, momentum)
        else:
            moments = AdamBuffers(*buffers) if coupling == "own_buffers" else AdamBuffers(*buffers[:2])
            second_moment_(moments, w, g, rate, betas[1])
            adam_(w, g, moments, rate, lr, betas, 1e-30, step)
        norms.append(weight_norm([before.flatten(0, 1)]).view(w.shape[:2]))
        angles.append(rotation(before.flatten(0, 1), w.flatten(0, 1)).view(w.shape[:2]))
    return Walk(torch.stack(norms), torch.stack(angles))


def _orthogonal(z: Tensor, w: Tensor) -> Tensor:
    """What is left of `z` at a right angle to `w`, divided by the norm of `w` and by sqrt(d - 1)."""
    square = w.square().sum(-1, keepdim=True)
    return (z - w * ((z * w).sum(-1, keepdim=True) / square)) * (square * (w.shape[-1] - 1)).rsqrt()


def _noise(generators: Sequence[torch.Generator], steps: int, weights: int) -> Iterator[Float[Tensor, "seed 1 weight"]]:
    """Yield one draw for the start and one for each step, each seed's from its own generator."""
    for begin in range(0, steps + 1, CHUNK):
        count = min(CHUNK, steps + 1 - begin)
        drawn = [torch.randn(CHUNK, weights, generator=one, dtype=torch.float64) for one in generators]
        yield from torch.stack(drawn, 1)[:count].unsqueeze(2)
