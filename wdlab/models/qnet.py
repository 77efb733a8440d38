"""Q-networks, many members at once: for each action the return that is to be expected, learned by the Huber loss.

What such a net is to answer, its `answers` [member, batch, 2], is the number of an action and the target for it: of
the other actions nothing is known, and nothing is learned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from wdlab.models.members import MemberModel
from wdlab.models.mlp import MLP

if TYPE_CHECKING:
    from jaxtyping import Float

HIDDEN = 8
"""Units of the layer after the convolutions, for each of the last one's filters; so in MinAtar's net and in DQN's."""


class Convolution(NamedTuple):
    """A layer of a `QConv`: how many filters, how wide and high, how far apart they are put down."""

    filters: int
    size: int
    stride: int


def minatar(width: int) -> tuple[Convolution, ...]:
    """Return the one layer of the net of Young and Tian (2019), for whom `width` was 16."""
    return (Convolution(width, 3, 1),)


def nature(width: int) -> tuple[Convolution, ...]:
    """Return the three layers of the net of Mnih et al. (2015), for whom `width` was 32."""
    return (Convolution(width, 8, 4), Convolution(2 * width, 4, 2), Convolution(2 * width, 3, 1))


def huber(error: Tensor) -> Tensor:
    """Return error^2 / 2 where it is within 1, |error| - 1/2 beyond: the derivative never exceeds 1 (Huber 1964).

    >>> huber(torch.tensor([0.5, -3.0]))
    tensor([0.1250, 2.5000])
    """
    size = error.abs()
    return torch.where(size <= 1, 0.5 * size.square(), size - 0.5)


def q_loss(
    values: Float[Tensor, "member batch action"], answers: Float[Tensor, "member batch 2"]
) -> Float[Tensor, " member"]:
    """Return each member's mean Huber loss over its batch: the value of the action taken against its target."""
    picked = values.gather(-1, answers[..., :1].long()).squeeze(-1)
    return huber(picked - answers[..., 1]).mean(-1)


class QMLP(MLP):
    """The fully connected Q-network: Linear and ReLU, no BatchNorm; inputs [member, batch, feature] -> values.

    BatchNorm would make what the net says of a state depend on the others in the batch. The gradient is by hand.
    """

    def __init__(self, members: int, sizes: Sequence[int]) -> None:
        super().__init__(members, sizes, norm=False)

    def loss(self, inputs: Tensor, labels: Tensor) -> Float[Tensor, " member"]:
        """Return each member's mean Huber loss, as autograd can follow it."""
        return q_loss(self(inputs), labels)

    def _judge(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return each member's mean Huber loss and its derivative by the values: clip(error) / batch, at one action."""
        action = labels[..., :1].long()
        error = logits.gather(-1, action) - labels[..., 1:]
        slope = error.clamp(-1, 1).div_(labels.shape[1])
        return huber(error).squeeze(-1).mean(-1), torch.zeros_like(logits).scatter_(-1, action, slope)


class QConv(MemberModel):
    """The convolutional Q-network: `layers` of Conv and ReLU, one hidden layer, ReLU, a linear head.

    Shapes: inputs [member, batch, channel, height, width] -> values [member, batch, action]. `seen` is the shape of one
    input. A convolution of all members is one with a group for each: for nets this small that is faster than a
    product with the unfolded input. Source: Young and Tian (2019) for one layer, Mnih et al. (2015) for three.

    Raises ValueError for an input too small for the layers.
    """

    def __init__(self, members: int, seen: Sequence[int], layers: Sequence[Convolution], actions: int) -> None:
        super().__init__()
        self.members, self.layers = members, tuple(layers)
        channels, *sides = seen
        for number, layer in enumerate(self.layers):
            sides = [(side - layer.size) // layer.stride + 1 for side in sides]
            if min(sides) < 1:
                raise ValueError(f"seen={tuple(seen)} is not allowed: too small for {len(self.layers)} convolutions.")
            self._add(f"conv_{number}", channels * layer.size**2, layer.filters)
            channels = layer.filters
        self._add("hidden", channels * math.prod(sides), HIDDEN * channels)
        self._add("head", HIDDEN * channels, actions)

    def _add(self, name: str, fan_in: int, fan_out: int) -> None:
        setattr(self, f"weight_{name}", nn.Parameter(torch.zeros(self.members, fan_in, fan_out)))
        setattr(self, f"bias_{name}", nn.Parameter(torch.zeros(self.members, fan_out)))

    def fan_in(self, name: str) -> int:
        """Return how many inputs one output of the layer of parameter `name` sums over."""
        weight = getattr(self, f"weight_{name.split('_', 1)[1]}")
        assert isinstance(weight, Tensor)
        return weight.shape[1]

    def forward(self, inputs: Float[Tensor, "member batch channel height width"]) -> Float[Tensor, "member batch q"]:
        """Return the value of every action in every state."""
        x = inputs
        for number, layer in enumerate(self.layers):
            x = self._convolve(x, f"conv_{number}", layer).relu()
        return self._linear(self._linear(x.flatten(2), "hidden").relu(), "head")

    def _convolve(self, x: Tensor, name: str, layer: Convolution) -> Tensor:
        weight, bias = getattr(self, f"weight_{name}"), getattr(self, f"bias_{name}")
        kernels = weight.mT.reshape(-1, x.shape[2], layer.size, layer.size)  # [member filter, channel, height, width]
        grouped = x.transpose(0, 1).flatten(1, 2)  # [batch, member channel, height, width]
        found = conv2d(grouped, kernels, bias.flatten(), layer.stride, groups=self.members)
        return found.view(len(found), self.members, layer.filters, *found.shape[2:]).transpose(0, 1)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return torch.baddbmm(getattr(self, f"bias_{name}").unsqueeze(1), x, getattr(self, f"weight_{name}"))

    def loss(self, inputs: Tensor, labels: Tensor) -> Float[Tensor, " member"]:
        """Return each member's mean Huber loss, as autograd can follow it."""
        return q_loss(self(inputs), labels)
