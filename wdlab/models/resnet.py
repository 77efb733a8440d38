"""A small residual network for signals (1-D) and images (2-D), many members at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wdlab.models.members import MemberModel
from wdlab.models.mlp import BN_EPS, BN_MOMENTUM

if TYPE_CHECKING:
    from jaxtyping import Float


class ResNet(MemberModel):
    """Residual network: a 3-wide convolution, `stages` stages of `blocks` blocks, mean over space, a linear head.

    Each stage after the first doubles the channels and halves the resolution; each block is two (convolution,
    BatchNorm) pairs around a shortcut, which where shapes change is a strided 1-wide convolution with BatchNorm (He et
    al. 2016).

    Shapes: inputs [member, batch, channel, *space] with `spatial` = 1 or 2 axes of space -> logits [member, batch,
    class]. Inside, the channels of all members lie side by side and every convolution has one group a member.
    """

    def __init__(
        self, members: int, channels: int, width: int, stages: int, classes: int, spatial: int, blocks: int = 1
    ) -> None:
        super().__init__()
        self.members, self.spatial = members, spatial
        self.blocks = [
            (f"stage{stage}_block{block}", 2 if stage > 0 and block == 0 else 1)
            for stage in range(stages)
            for block in range(blocks)
        ]
        widths = [width * 2**stage for stage in range(stages) for _ in range(blocks)]
        self._convolution("stem", channels, width, 3)
        before = width
        for (name, stride), after in zip(self.blocks, widths, strict=True):
            self._convolution(f"{name}_a", before, after, 3)
            self._convolution(f"{name}_b", after, after, 3)
            if stride != 1 or before != after:
                self._convolution(f"{name}_short", before, after, 1)
            before = after
        self.weight_head = nn.Parameter(torch.zeros(members, before, classes))
        self.bias_head = nn.Parameter(torch.zeros(members, classes))
        self.scale_invariant = tuple(
            n for n, _ in self.named_parameters() if n.startswith("weight") and n != "weight_head"
        )

    def _convolution(self, name: str, before: int, after: int, size: int) -> None:
        kernel = (size,) * self.spatial
        setattr(self, f"weight_{name}", nn.Parameter(torch.zeros(self.members, after, before, *kernel)))
        setattr(self, f"scale_{name}", nn.Parameter(torch.ones(self.members, after)))
        setattr(self, f"shift_{name}", nn.Parameter(torch.zeros(self.members, after)))
        self.register_buffer(f"mean_{name}", torch.zeros(self.members, after))
        self.register_buffer(f"var_{name}", torch.ones(self.members, after))

    def fan_in(self, name: str) -> int:
        """Return how many inputs one output of the layer of parameter `name` sums over."""
        if name.endswith("head"):
            return self.weight_head.shape[1]
        return math.prod(self.get_parameter(name).shape[2:])

    def forward(self, inputs: Float[Tensor, "member batch channel *space"]) -> Float[Tensor, "member batch class"]:
        """Return the logits; in training mode the batch's statistics normalize, else the running ones."""
        x = inputs.transpose(0, 1).flatten(1, 2)
        x = self._layer(x, "stem").relu()
        for name, stride in self.blocks:
            short = self._layer(x, f"{name}_short", stride) if hasattr(self, f"weight_{name}_short") else x
            x = self._layer(self._layer(x, f"{name}_a", stride).relu(), f"{name}_b")
            x = (x + short).relu()
        x = x.flatten(2).mean(-1).view(len(x), self.members, -1).transpose(0, 1)
        return torch.baddbmm(self.bias_head.unsqueeze(1), x, self.weight_head)

    def _layer(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = self.get_parameter(f"weight_{name}")
        convolve = F.conv1d if self.spatial == 1 else F.conv2d
        padding = weight.shape[-1] // 2
        x = convolve(x, weight.flatten(0, 1), stride=stride, padding=padding, groups=self.members)
        mean, var = self.get_buffer(f"mean_{name}"), self.get_buffer(f"var_{name}")
        scale, shift = self.get_parameter(f"scale_{name}"), self.get_parameter(f"shift_{name}")
        return F.batch_norm(
            x, mean.view(-1), var.view(-1), scale.flatten(), shift.flatten(), self.training, BN_MOMENTUM, BN_EPS
        )
