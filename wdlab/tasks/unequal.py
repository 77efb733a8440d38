"""A noisy quadratic whose coordinates differ in nothing but the size of their gradients, descended by Adam.

Each coordinate has the loss s h (w - 1)^2 / 2 and the gradient g = s (h (w - 1) + noise): the whole gradient is s times
as large, signal and noise alike. The noise is the same in every coordinate, so that without decay, or where decay is
scale-free, all coordinates take the same path. Adam divides by sqrt(v), which is about s; what lambda w meets there is
the question. The update rule is the one of `wdlab.decay`; float64, deterministic given its seeds. (Our design.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wdlab.checks import number, whole
from wdlab.decay import AdamBuffers, Parts, Rates, adam_, adam_parts, coupling, first_moment_, rates, second_moment_
from wdlab.tasks.task import generator

if TYPE_CHECKING:
    from jaxtyping import Float

SCALES = (1.0, 0.1, 0.01, 0.001)
ONES = (1.0,) * len(SCALES)  # of these Adam's division makes nothing
CURVATURE, LAMBDA, LR, BETAS, STEPS = 0.1, 0.01, 0.01, (0.9, 0.999), 6000
EPS = 1e-30  # as good as none: eps is the one thing in Adam that knows how large a gradient is


@dataclass(frozen=True)
class Descent:
    """What Adam did: `w` after every step, and of each step the parts from the loss and from decay.

    Shapes: w is [setting, seed, scale, step + 1], for it begins with the start; the parts are [setting, seed, scale,
    step].
    """

    w: Float[Tensor, "setting seed scale step_1"]
    objective: Float[Tensor, "setting seed scale step"]
    decay: Float[Tensor, "setting seed scale step"]

    @property
    def end(self) -> Float[Tensor, "setting seed scale"]:
        """Where w hovers: its mean over the last third of the steps."""
        return self.w[..., -(self.w.shape[-1] // 3) :].mean(-1)


def descend(
    settings: Sequence[tuple[str, float]],
    seeds: Sequence[int],
    scales: Sequence[float] = SCALES,
    *,
    factor: float = 1.0,
    start: float = 0.0,
    steps: int = STEPS,
    lr: float = LR,
    betas: tuple[float, float] = BETAS,
    eps: float = EPS,
) -> Descent:
    """Return the descents of Adam under each (coupling, lambda) of `settings`, all on the same noise.

    `scales` are the sizes s of the coordinates' gradients, `factor` multiplies the whole loss, w begins at `start`
    (the minimum is at 1). Raises ValueError for an unknown coupling and for a number that is not allowed.
    """
    number("factor", factor, 0, above=True)
    number("eps", eps, 0, above=True)
    size = factor * torch.tensor([number("scale", s, 0, above=True) for s in scales], dtype=torch.float64)
    draws = [torch.randn(whole("steps", steps, 1), generator=_noise(seed), dtype=torch.float64) for seed in seeds]
    noise = torch.stack(draws, 1).unsqueeze(-1)  # [step, seed, 1]: one story, told at four volumes
    rate, of = _rates(settings), (len(settings), len(seeds), len(scales))
    w = torch.full(of, start, dtype=torch.float64)
    own = 4 if isinstance(rate.own, Tensor) else 2
    buffers, of_loss = AdamBuffers(*(torch.zeros_like(w) for _ in range(own))), torch.zeros_like(w)
    path, parts = torch.empty(steps + 1, *of, dtype=w.dtype), torch.empty(2, steps, *of, dtype=w.dtype)
    path[0] = w
    for t in range(steps):
        g = size * (CURVATURE * (w - 1) + noise[t])
        second_moment_(buffers, w, g, rate, betas[1])
        adam_(w, g, buffers, rate, lr, betas, eps, t + 1)
        first_moment_(of_loss, w, g, Rates(), betas[0])
        path[t + 1] = w
        found = adam_parts(path[t], buffers, of_loss, rate, lr, betas, eps, t + 1)
        parts[0, t], parts[1, t] = found.objective, found.decay
    return Descent(path.movedim(0, -1), *Parts(*parts.movedim(1, -1)))


def rest(name: str, scale: float, weight_decay: float) -> float:
    """Return where w comes to rest, to first order: where the mean step is 0 (derived here, for noise of size 1).

    Adam's mean step for the loss is about lr h (1 - w), whatever s. Decay that is divided by sqrt(v) = s gives
    lr lambda w / s, so w = h / (h + lambda/s); decoupled decay gives lr lambda w, so w = h / (h + lambda). Decay in v
    alone leaves the minimum where it is, w = 1. Raises ValueError for "own_buffers", whose pull is about lr sign(w).
    """
    where = coupling(name)
    if where.a_own:
        raise ValueError(f"name={name!r} is not allowed: its pull does not go with w, so there is no such formula.")
    divided = where.a_m + where.a_adapt
    return CURVATURE / (CURVATURE + weight_decay * (divided / number("scale", scale, 0, above=True) + where.a_post))


def _rates(settings: Sequence[tuple[str, float]]) -> Rates:
    """Lambda times each of the five numbers, as columns [setting, 1, 1]."""
    columns = zip(*(coupling(name).numbers for name, _ in settings), strict=True)
    strength = [number("weight_decay", weight_decay, 0) for _, weight_decay in settings]

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1)

    return rates(tuple(column(values) if any(values) else 0.0 for values in columns), column(strength))


def _noise(seed: int) -> torch.Generator:
    return generator(whole("seed", seed), "unequal")
