"""How scale-invariant weights grow without decay: what the gradients alone say their norm will be.

For a weight W that feeds a normalization the gradient is at a right angle to W, so one step of plain SGD lengthens it
by Pythagoras: ||W||^2 grows by exactly lr^2 ||g||^2. With G = ||W|| ||g||, which does not depend on the length of W,
that is d||W||^4/dt = 2 lr^2 G^2 up to a term in lr^4. Under plain SGD the data enter through G and nothing else.

Momentum mu turns one gradient into a push of lr/(1 - mu) in all, spread over about 1/(1 - mu) steps. The right angle is
then only to the weights of the gradient's own step, but it still gives the norm from the buffer b, exactly:

    ||W_t+1||^2 = ||W_t||^2 - 2 lr c_t + lr^2 ||b_t||^2,    c_t = <W_t, b_t> = mu (c_t-1 - lr_t-1 ||b_t-1||^2).

If gradients of different steps are at right angles to each other ("white"), ||b||^2 is ||g||^2 / (1 - mu^2) and the
walk is that of plain SGD at lr/(1 - mu). That they are white is the approximation; `whiteness` measures it. Where they
are not, the data enter through how far successive gradients agree as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wdlab.checks import number
from wdlab.measures.norms import squared_norm

if TYPE_CHECKING:
    from jaxtyping import Float

    from wdlab.train import Step


@dataclass(frozen=True)
class Growth:
    """What was seen of the scale-invariant weights at every step of a run without decay, in float64 on the CPU.

    `lr` is [step, member]; `norm`, before each step and after the last, [1 + step, tensor, member]; `gradient`, the
    norm of each gradient, and `buffer`, that of SGD's momentum buffer, [step, tensor, member].
    """

    names: tuple[str, ...]
    momentum: float
    lr: Float[Tensor, "step member"]
    norm: Float[Tensor, "1+step tensor member"]
    gradient: Float[Tensor, "step tensor member"]
    buffer: Float[Tensor, "step tensor member"]

    @property
    def relative_gradient(self) -> Float[Tensor, "step tensor member"]:
        """G = ||W|| ||g||, the gradient's norm were the weights of length 1."""
        return self.norm[:-1] * self.gradient

    @property
    def measured(self) -> Float[Tensor, "1+step member"]:
        """The norm of all scale-invariant weights together, as it was."""
        return self.norm.square().sum(1).sqrt()

    @property
    def predicted(self) -> Float[Tensor, "1+step member"]:
        """The same from the first norm and G alone, by `norm_from_gradients`."""
        return self.predicted_with(self.relative_gradient)

    def predicted_with(self, relative_gradient: Float[Tensor, "step tensor member"]) -> Float[Tensor, "1+step member"]:
        """The prediction if G had been another, say that of other data."""
        found = norm_from_gradients(self.norm[0], self.lr, relative_gradient, self.momentum)
        return found.square().sum(1).sqrt()

    @property
    def whiteness(self) -> Float[Tensor, " member"]:
        """(1 - mu^2) sum lr^2 ||b||^2 / sum lr^2 ||g||^2: 1 where gradients of different steps are at right angles.

        Below 1 successive gradients undo a part of each other, above 1 they push the same way.
        """
        square = self.lr.square().unsqueeze(1)
        pushed, alone = ((square * part.square()).sum((0, 1)) for part in (self.buffer, self.gradient))
        return (1 - self.momentum**2) * pushed / alone


def norm_from_gradients(
    start: Float[Tensor, "tensor member"],
    lr: Float[Tensor, "step member"],
    relative_gradient: Float[Tensor, "step tensor member"],
    momentum: float = 0.0,
) -> Float[Tensor, "1+step tensor member"]:
    """Return the norm before each step and after the last that the first norm and G give, tensor by tensor.

    ||W_t||^4 = ||W_0||^4 + 2 sum_{s<t} (lr_s / (1 - mu))^2 G_s^2: for scale-invariant weights under SGD without decay.
    With mu = 0 it leaves out lr^4 ||g||^4 a step; with mu > 0 it also takes gradients for white and lr for constant
    over 1/(1 - mu) steps. Derived at the top of this module. Raises ValueError for a momentum outside [0, 1).
    """
    reach = lr / (1 - number("momentum", momentum, 0, 1, below=True))
    pushes = 2 * (reach.unsqueeze(1) * relative_gradient).square()
    walked = torch.cat([torch.zeros_like(pushes[:1]), pushes.cumsum(0)])
    return (start**4 + walked) ** 0.25


def record(steps: Iterable[Step], momentum: float) -> Growth:
    """Return what `steps`, as `wdlab.train.watch` yields them, show of norms, gradients and the buffer.

    The training is SGD with this `momentum`, from its first step on, without decay and not Nesterov's. Raises
    ValueError when there are no steps.
    """
    rows: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    buffers: dict[str, Tensor] = {}
    step = None
    for step in steps:
        for name, gradient in step.gradient.items():
            buffers[name] = momentum * buffers[name] + gradient if name in buffers else gradient
        rows.append((_read(step.lr), _norms(step.before), _norms(step.gradient), _norms(buffers)))
    if step is None:
        raise ValueError("steps=[] is not allowed; give those of a training that has not ended.")
    lr, norm, gradient, buffer = (torch.stack(column) for column in zip(*rows, strict=True))
    whole_norm = torch.cat([norm, _norms(step.after).unsqueeze(0)])
    return Growth(tuple(step.before), momentum, lr, whole_norm, gradient, buffer)


def _norms(tensors: dict[str, Tensor]) -> Float[Tensor, "tensor member"]:
    return torch.stack([_read(squared_norm(tensor)).sqrt() for tensor in tensors.values()])


def _read(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().double()
