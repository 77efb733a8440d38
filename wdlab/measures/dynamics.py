"""How fast a network moves, measured against its own size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wdlab.measures.norms import squared_norm

if TYPE_CHECKING:
    from jaxtyping import Float


def effective_lr(
    lr: Float[Tensor, " member"], weights: Sequence[Float[Tensor, "member ..."]], optimizer: str = "sgd"
) -> Float[Tensor, " member"]:
    """Return the learning rate in units of the weights' own scale, averaged over tensors.

    For a scale-invariant tensor W, a step of SGD turns W's direction like a step at learning rate lr / ||W||^2 would
    turn a tensor of unit norm (van Laarhoven 2017; Zhang et al. 2019). Adam's step does not shrink as gradients do, so
    there it is lr / ||W|| (derived). Give the tensors that feed a normalization; for others it is only a description.

    >>> effective_lr(torch.tensor([0.1]), [torch.tensor([[3.0, 4.0]])])
    tensor([0.0040])
    """
    squares = torch.stack([squared_norm(weight) for weight in weights])
    scale = squares if optimizer == "sgd" else squares.sqrt()
    return (lr / scale).mean(0)


def relative_gradient(
    weight: Float[Tensor, "member ..."], gradient: Float[Tensor, "member ..."]
) -> Float[Tensor, " member"]:
    """Return G = ||W|| ||g||, the norm of the gradient that W would have at unit norm.

    For a scale-invariant tensor it is the same at cW for every c > 0, because there grad(cW) = grad(W) / c (derived;
    van Laarhoven 2017 for the gradient). Shapes: both [member, ...].

    >>> relative_gradient(torch.tensor([[3.0, 4.0]]), torch.tensor([[0.8, -0.6]]))
    tensor([5.])
    """
    return (squared_norm(weight) * squared_norm(gradient)).sqrt()


def rotation(before: Float[Tensor, "member ..."], after: Float[Tensor, "member ..."]) -> Float[Tensor, " member"]:
    """Return the angle in radians, from 0 to pi, between each member's tensor before and after.

    With unit vectors u and v it is 2 atan2(||u - v||, ||u + v||), which is exact to rounding for any angle, whereas
    arccos(u'v) loses half of the digits of a small one. Computed in float64 where the device has it. The angle to a
    tensor of zeros is NaN. Shapes: both [member, ...]. (Formula after W. Kahan.)

    >>> rotation(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 0.1]]))
    tensor([1.5708], dtype=torch.float64)
    """
    u, v = _unit(before), _unit(after)
    return 2 * torch.atan2((u - v).norm(dim=1), (u + v).norm(dim=1))


def relative_update(
    before: Float[Tensor, "member ..."], after: Float[Tensor, "member ..."]
) -> Float[Tensor, " member"]:
    """Return ||after - before|| / ||before||, the length of a step in units of the weights; shapes as in `rotation`.

    For a short step across the weights, as those of scale-invariant weights are, it is the angle of the step.

    >>> relative_update(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.3, 3.6]]))
    tensor([0.1000], dtype=torch.float64)
    """
    start = _flat(before)
    found: Tensor = (_flat(after) - start).norm(dim=1) / start.norm(dim=1)
    return found


def _unit(tensor: Tensor) -> Float[Tensor, "member weight"]:
    flat = _flat(tensor)
    unit: Tensor = flat / flat.norm(dim=1, keepdim=True)
    return unit


def _flat(tensor: Tensor) -> Float[Tensor, "member weight"]:
    flat = tensor.flatten(1)
    return flat if flat.device.type == "mps" else flat.double()  # MPS has no float64
