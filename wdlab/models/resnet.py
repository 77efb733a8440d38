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
    class]. Inside, the channels of all members lie side by side, every convolution has one group a member, and a signal
    is an image one row tall.
    """

    def __init__(
        self, members: int, channels: int, width: int, stages: int, classes: int, spatial: int, blocks: int = 1
    ) -> None:
        super().__init__()
        self.members, self.spatial = members, spatial
        self.strides: dict[str, int] = {}
        self.blocks: list[str] = []
        self._convolution("stem", channels, width, 3)
        before = width
        for stage in range(stages):
            for block in range(blocks):
                after, stride = width * 2**stage, 2 if stage > 0 and block == 0 else 1
                self._block(f"stage{stage}_block{block}", before, after, stride)
                before = after
        self.weight_head = nn.Parameter(torch.zeros(members, before, classes))
        self.bias_head = nn.Parameter(torch.zeros(members, classes))
        self.scale_invariant = tuple(f"weight_{name}" for name in self.strides)

    def _block(self, name: str, before: int, after: int, stride: int) -> None:
        self._convolution(f"{name}_a", before, after, 3, stride)
        self._convolution(f"{name}_b", after, after, 3)
        if stride > 1:
            self._convolution(f"{name}_short", before, after, 1, stride)
        self.blocks.append(name)

    def _convolution(self, name: str, before: int, after: int, size: int, stride: int = 1) -> None:
        self.strides[name] = stride
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
        x = _channels_last(x if self.spatial == 2 else x.unsqueeze(2))
        x = self._layer(x, "stem").relu_()
        for name in self.blocks:
            short = self._layer(x, f"{name}_short") if f"{name}_short" in self.strides else x
            x = self._layer(self._layer(x, f"{name}_a").relu_(), f"{name}_b")
            x = x.add_(short).relu_()
        # The mean of x.flatten(2), written so that its gradient has channels last too.
        x = x.movedim(1, -1).flatten(1, 2).mean(1).view(len(x), self.members, -1).transpose(0, 1)
        return torch.baddbmm(self.bias_head.unsqueeze(1), x, self.weight_head)

    def _layer(self, x: Tensor, name: str) -> Tensor:
        weight, scale, shift, mean, var = (
            self._get(kind, name) for kind in ("weight", "scale", "shift", "mean", "var")
        )
        if self.training:
            x, statistics = self._convolve(x, weight, name), (mean.view(-1), var.view(-1))
            return F.batch_norm(x, *statistics, scale.flatten(), shift.flatten(), True, BN_MOMENTUM, BN_EPS)
        # A fixed scale and shift, so they go into kernel and bias: one pass over the activations.
        gain = scale * (var + BN_EPS).rsqrt()
        kernel = weight * gain.view(*gain.shape, *[1] * (1 + self.spatial))
        return self._convolve(x, kernel, name, (shift - mean * gain).flatten())

    def _convolve(self, x: Tensor, kernel: Tensor, name: str, bias: Tensor | None = None) -> Tensor:
        kernel = kernel.flatten(0, 1) if self.spatial == 2 else kernel.flatten(0, 1).unsqueeze(2)
        padding = [size // 2 for size in kernel.shape[2:]]
        return F.conv2d(x, _channels_last(kernel), bias, self.strides[name], padding, groups=self.members)

    def _get(self, kind: str, name: str) -> Tensor:
        tensor = getattr(self, f"{kind}_{name}")
        assert isinstance(tensor, Tensor)
        return tensor


def _channels_last(x: Tensor) -> Tensor:
    """Return x with channels last if on a CPU, whose vectors the channels of several members fill better than one's."""
    return x.contiguous(memory_format=torch.channels_last) if x.device.type == "cpu" else x
