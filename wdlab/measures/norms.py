"""Weight norms, member by member."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float


def squared_norm(tensor: Float[Tensor, "member ..."]) -> Float[Tensor, " member"]:
    """Return ||W||^2, the sum of squares, of each member's tensor."""
    return tensor.flatten(1).square().sum(1)


def weight_norm(tensors: Iterable[Float[Tensor, "member ..."]]) -> Float[Tensor, " member"]:
    """Return ||w|| = sqrt(sum over all tensors and entries of w^2) of each member.

    >>> weight_norm([torch.tensor([[3.0]]), torch.tensor([[[4.0]]])])
    tensor([5.])
    """
    return torch.stack([squared_norm(tensor) for tensor in tensors]).sum(0).sqrt()
