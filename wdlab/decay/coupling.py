"""HOW weight decay is coupled to the optimizer: one update rule, five numbers.

With d = lambda w, the decay direction, and g, the gradient of the loss, Adam with any coupling is

    m <- EMA(g + a_m d)    v <- EMA((g + a_v d)^2)    s <- EMA(a_own d)    u <- EMA((a_own d)^2)
    w <- w - lr ( m^ / (sqrt v^ + eps) + s^ / (sqrt u^ + eps) + a_adapt d / (sqrt v^ + eps) + a_post d )

where ^ is Adam's bias correction. SGD is the same rule without a second moment (v = u = 1). RMSProp is the rule without
means in the numerators (m = g + a_m d, s = a_own d) and without ^; where it is centered, v and u are variances, see
`rmsprop_`. This module is the only place the rule is written; `wdlab.optim` and `wdlab.train` both call it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from wdlab.checks import known

Scalar = float | Tensor
"""A hyperparameter: a number, or a tensor that broadcasts against the weights (one number per member)."""


@dataclass(frozen=True)
class Coupling:
    """The five places at which d = lambda w can enter the update, and a sentence that `says` what that means."""

    a_m: float = 0.0
    a_v: float = 0.0
    a_own: float = 0.0
    a_adapt: float = 0.0
    a_post: float = 0.0
    says: str = ""

    @property
    def numbers(self) -> tuple[float, float, float, float, float]:
        """The five numbers (a_m, a_v, a_own, a_adapt, a_post)."""
        return (self.a_m, self.a_v, self.a_own, self.a_adapt, self.a_post)


COUPLINGS: dict[str, Coupling] = {
    "l2": Coupling(a_m=1, a_v=1, says="A penalty in the loss: its gradient mixes into every buffer (torch's Adam)."),
    "first_moment": Coupling(a_m=1, says="Mixed into the first moment only; the denominator sees the loss alone."),
    "second_moment": Coupling(
        a_v=1, says="Mixed into the second moment only: no pull to zero, another length of step."
    ),
    "own_buffers": Coupling(a_own=1, says="A second Adam of its own for the penalty, in which lambda nearly cancels."),
    "adaptive": Coupling(a_adapt=1, says="Kept out of the buffers, yet divided by sqrt(v) like the gradient."),
    "decoupled": Coupling(
        a_post=1, says="Kept out of the optimizer: weights shrink by lr lambda at every step (AdamW)."
    ),
}


def coupling(name: str) -> Coupling:
    """Return the coupling called `name`; raises ValueError with the nearest name when there is none."""
    return COUPLINGS[known("coupling", name, COUPLINGS)]


class Rates(NamedTuple):
    """lambda times each of the five numbers: how much of w enters at each place, 0.0 where nothing does."""

    m: Scalar = 0.0
    v: Scalar = 0.0
    own: Scalar = 0.0
    adapt: Scalar = 0.0
    post: Scalar = 0.0


def rates(numbers: tuple[Scalar, ...], weight_decay: Scalar) -> Rates:
    """Return `weight_decay` times each of a coupling's five `numbers`; a plain zero stays a plain zero."""
    return Rates(*(0.0 if _is_zero(number) else number * weight_decay for number in numbers))


def sgd_(
    w: Tensor, g: Tensor, buffer: Tensor | None, rate: Rates, lr: Scalar, momentum: Scalar, nesterov: bool = False
) -> None:
    """One step of SGD in place on `w` and its momentum `buffer` (None when momentum is 0).

    buffer <- momentum buffer + g + (a_m + a_own) d,  w <- w - lr (buffer + (a_adapt + a_post) d);
    with Nesterov the first term of the step is g + (a_m + a_own) d + momentum buffer. Without a second moment a
    separate buffer for the penalty is the same as a shared one (a sum is linear), and there is no sqrt(v) to divide by.

    Shapes: w, g and buffer alike; each rate and hyperparameter a number or broadcastable against them.
    """
    if buffer is not None:
        momentum_(buffer, w, g, rate, momentum)
    step = _sgd_direction(w, g, buffer, rate, momentum, nesterov)
    outside = rate.adapt + rate.post
    if not _is_zero(outside):
        w.mul_(1 - lr * outside)  # decoupled: the weights shrink, and no buffer ever hears of it
    _plus(w, step, -lr, out=w)


def momentum_(buffer: Tensor, w: Tensor, g: Tensor, rate: Rates, momentum: Scalar) -> None:
    """SGD's buffer, in place: buffer <- momentum buffer + g + (a_m + a_own) d; shapes as in `sgd_`.

    It is linear: called with `Rates()`, it keeps what the loss's gradients alone leave in a buffer.
    """
    _plus(g, buffer, momentum, out=buffer)
    inside = rate.m + rate.own
    if not _is_zero(inside):
        _plus(buffer, w, inside, out=buffer)


def _sgd_direction(
    w: Tensor, g: Tensor, buffer: Tensor | None, rate: Rates, momentum: Scalar, nesterov: bool
) -> Tensor:
    """What SGD multiplies by lr, decay outside the buffer apart; linear in g, w and the buffer together."""
    if buffer is not None and not nesterov:
        return buffer
    push = _plus(g, w, rate.m + rate.own)
    return push if buffer is None else _plus(push, buffer, momentum)


class AdamBuffers(NamedTuple):
    """Adam's running means, each of the weights' shape; `s` and `u` exist only for a coupling with a_own."""

    m: Tensor
    v: Tensor
    s: Tensor | None = None
    u: Tensor | None = None


def second_moment_(buffers: AdamBuffers, w: Tensor, g: Tensor, rate: Rates, beta2: Scalar) -> None:
    """The first half of a step of Adam: v <- EMA((g + a_v d)^2), in place; shapes as in `sgd_`.

    It stands apart because scaling decay by the gradient norm needs the v of every tensor before any weight moves.
    """
    _ema_(buffers.v, _plus(g, w, rate.v).square(), beta2)


def adam_(
    w: Tensor,
    g: Tensor,
    buffers: AdamBuffers,
    rate: Rates,
    lr: Scalar,
    betas: tuple[Scalar, Scalar],
    eps: Scalar,
    step: Scalar,
) -> None:
    """The second half of a step of Adam, in place on `w` and its `buffers`, by the rule at the top of this module.

    `second_moment_` comes first. `step` counts from 1: the bias correction divides an average by 1 - beta^step.
    Shapes as in `sgd_`.
    """
    beta1, beta2 = betas
    first_moment_(buffers.m, w, g, rate, beta1)
    if buffers.s is not None and buffers.u is not None:
        d = w * _like(w, rate.own)
        _ema_(buffers.s, d, beta1)
        _ema_(buffers.u, d.square(), beta2)
    update = _adam_direction(w, buffers, rate, betas, eps, step)
    if not _is_zero(rate.post):
        w.mul_(1 - lr * rate.post)  # decoupled: the weights shrink, and no buffer ever hears of it
    _plus(w, update, -lr, out=w)


def first_moment_(m: Tensor, w: Tensor, g: Tensor, rate: Rates, beta1: Scalar) -> None:
    """Adam's first moment, in place: m <- EMA(g + a_m d); shapes as in `sgd_`.

    It is linear: called with `Rates()`, it keeps EMA(g), what the loss's gradients alone leave in m.
    """
    _ema_(m, _plus(g, w, rate.m), beta1)


def _adam_direction(
    w: Tensor, buffers: AdamBuffers, rate: Rates, betas: tuple[Scalar, Scalar], eps: Scalar, step: Scalar
) -> Tensor:
    """What Adam multiplies by lr, a_post d apart; v given, it is linear in m and d."""
    beta1, beta2 = betas
    denominator = unbiased(buffers.v, beta2, step).sqrt_().add_(eps)
    update = _plus(unbiased(buffers.m, beta1, step), w, rate.adapt).div_(denominator)
    if buffers.s is not None and buffers.u is not None:
        update.add_(unbiased(buffers.s, beta1, step).div_(unbiased(buffers.u, beta2, step).sqrt_().add_(eps)))
    return update


class RMSBuffers(NamedTuple):
    """RMSProp's running means, each of the weights' shape.

    `v` and `u` are means of squares as Adam's; `m` and `s`, the means of what is squared there, exist only where it is
    centered. `u` and `s` exist only for a coupling with a_own.
    """

    m: Tensor | None
    v: Tensor
    s: Tensor | None = None
    u: Tensor | None = None


def rmsprop_(
    w: Tensor,
    g: Tensor,
    buffers: RMSBuffers,
    rate: Rates,
    lr: Scalar,
    alpha: Scalar,
    eps: Scalar,
    eps_inside: bool = False,
) -> None:
    """One step of RMSProp without momentum, in place on `w` and its `buffers`. Every mean keeps `alpha` of itself:

    m <- EMA(g + a_v d),  v <- EMA((g + a_v d)^2),  s <- EMA(a_own d),  u <- EMA((a_own d)^2),
    w <- w - lr ((g + (a_m + a_adapt) d) / root(v, m) + a_own d / root(u, s) + a_post d),

    where root(v, m) is sqrt(v - m^2) + eps where centered and sqrt(v) + eps where not, as torch has it, or with
    `eps_inside` sqrt(v - m^2 + eps), as TensorFlow. All means begin at 0, as torch's; TensorFlow's v begins at 1, which
    shortens the first steps. For want of a mean in the numerator first_moment and adaptive are one.

    Shapes as in `sgd_`. Sources: Tieleman and Hinton (2012), Lecture 6.5; centered by Graves (2013), equation 40.
    """
    _mean_and_square_(buffers.m, buffers.v, _plus(g, w, rate.v), alpha)
    if buffers.u is not None:
        _mean_and_square_(buffers.s, buffers.u, w * _like(w, rate.own), alpha)
    update = _rmsprop_direction(w, g, buffers, rate, eps, eps_inside)
    if not _is_zero(rate.post):
        w.mul_(1 - lr * rate.post)  # decoupled: the weights shrink, and no buffer ever hears of it
    _plus(w, update, -lr, out=w)


def _mean_and_square_(mean: Tensor | None, square: Tensor, value: Tensor, alpha: Scalar) -> None:
    _ema_(square, value.square(), alpha)
    if mean is not None:
        _ema_(mean, value, alpha)


def _rmsprop_direction(w: Tensor, g: Tensor, buffers: RMSBuffers, rate: Rates, eps: Scalar, eps_inside: bool) -> Tensor:
    """What RMSProp multiplies by lr, a_post d apart; the roots given, it is linear in g and d."""
    update = _plus(g, w, rate.m + rate.adapt) / _root(buffers.v, buffers.m, eps, eps_inside)
    if buffers.u is not None and not _is_zero(rate.own):
        update.add_((w * _like(w, rate.own)).div_(_root(buffers.u, buffers.s, eps, eps_inside)))
    return update


def _root(square: Tensor, mean: Tensor | None, eps: Scalar, eps_inside: bool) -> Tensor:
    """RMSProp's denominator; rounding may leave a variance of 0 below 0, where it has no root."""
    spread = square.clone() if mean is None else (square - mean.square()).clamp_(min=0)
    return spread.add_(eps).sqrt_() if eps_inside else spread.sqrt_().add_(eps)


class Parts(NamedTuple):
    """A step, w_after - w_before, in two parts that add up to it: from the gradient of the loss, and from d."""

    objective: Tensor
    decay: Tensor


def sgd_parts(
    w: Tensor,
    g: Tensor,
    buffer: Tensor | None,
    of_loss: Tensor | None,
    rate: Rates,
    lr: Scalar,
    momentum: Scalar,
    nesterov: bool = False,
) -> Parts:
    """Return the two parts of the step of `sgd_` that has just led away from `w`.

    `w` and `g` are the weights before the step and their gradient, `buffer` is what the step left. `of_loss` is the
    same buffer kept for the loss alone (`momentum_` with `Rates()` at every step); None where no decay ever enters.
    Shapes as in `sgd_`.
    """
    of_loss = buffer if of_loss is None else of_loss
    of_decay = None if buffer is None or of_loss is None else buffer - of_loss
    objective = _sgd_direction(w, g, of_loss, Rates(), momentum, nesterov)
    decay = _sgd_direction(w, torch.zeros_like(g), of_decay, rate, momentum, nesterov)
    return _moved(objective, _plus(decay, w, rate.adapt + rate.post), lr)


def adam_parts(
    w: Tensor,
    buffers: AdamBuffers,
    of_loss: Tensor | None,
    rate: Rates,
    lr: Scalar,
    betas: tuple[Scalar, Scalar],
    eps: Scalar,
    step: Scalar,
) -> Parts:
    """Return the two parts of the step of `adam_` that has just led away from `w`, over the v that both share.

    m = EMA(g) + a_m EMA(d), for a mean is linear, so each part has its own share of m. Where decay enters v it changes
    the length of both; that is counted in neither, so `second_moment` has no decay part.

    `w` is the weights before the step, `buffers` what the step left. `of_loss` is EMA(g) (`first_moment_` with
    `Rates()` at every step); None where a_m is 0 and m is that already. Shapes as in `sgd_`.
    """
    of_loss = buffers.m if of_loss is None else of_loss
    objective = _adam_direction(w, AdamBuffers(of_loss, buffers.v), Rates(), betas, eps, step)
    decay = _adam_direction(w, buffers._replace(m=buffers.m - of_loss), rate, betas, eps, step)
    return _moved(objective, _plus(decay, w, rate.post), lr)


def rmsprop_parts(
    w: Tensor, g: Tensor, buffers: RMSBuffers, rate: Rates, lr: Scalar, eps: Scalar, eps_inside: bool = False
) -> Parts:
    """Return the two parts of the step of `rmsprop_` that has just led away from `w`, over the roots both share.

    `w` and `g` are the weights before the step and their gradient, `buffers` what the step left. What decay changes in
    the roots is counted in neither part. Shapes as in `sgd_`.
    """
    objective = _rmsprop_direction(w, g, buffers, Rates(), eps, eps_inside)
    decay = _rmsprop_direction(w, torch.zeros_like(g), buffers, rate, eps, eps_inside)
    return _moved(objective, _plus(decay, w, rate.post), lr)


def _moved(objective: Tensor, decay: Tensor, lr: Scalar) -> Parts:
    return Parts(objective * _like(objective, -lr), decay * _like(decay, -lr))


def unbiased(mean: Tensor, beta: Scalar, step: Scalar) -> Tensor:
    """Return Adam's bias-corrected average, mean / (1 - beta^step); shapes as in `sgd_`."""
    return mean / _like(mean, 1 - beta**step)


def _is_zero(value: Scalar) -> bool:
    """Whether a term is absent: only a plain number counts, for reading a tensor would stop a GPU."""
    return not isinstance(value, Tensor) and value == 0


def _plus(x: Tensor, y: Tensor, scale: Scalar, out: Tensor | None = None) -> Tensor:
    """X + scale y in one pass; x itself when `scale` is a plain zero and there is no `out`."""
    if out is None and _is_zero(scale):
        return x
    if isinstance(scale, Tensor):
        return torch.addcmul(x, y, scale.to(x.dtype), out=out)
    return torch.add(x, y, alpha=scale, out=out)


def _ema_(mean: Tensor, value: Tensor, beta: Scalar) -> None:
    mean.lerp_(value, _like(mean, 1 - beta))


def _like(tensor: Tensor, value: Scalar) -> Scalar:
    """Return `value` in the type of `tensor`: a float64 hyperparameter never makes float64 of float32 weights."""
    return value.to(tensor.dtype) if isinstance(value, Tensor) else value
