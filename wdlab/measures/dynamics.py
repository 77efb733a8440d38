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
