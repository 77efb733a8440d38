"""A small residual network for signals (1-D) and images (2-D), many members at once, its gradient by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wdlab.models.members import MemberModel
from wdlab.models.mlp import BN_EPS, BN_MOMENTUM
from wdlab.models.taps import gather, outputs, spread

if TYPE_CHECKING:
    from jaxtyping import Float, Int

BY_HAND = {1: 128, 2: 32}  # most channels for which, by axes of space, the gradient by hand was not slower on a CPU
ROWS, COLUMNS = -3, -2  # of activations [member, channel, row, column, batch]


class Tape(NamedTuple):
    """What the backward pass of one convolution and its BatchNorm needs to remember; matrices are [member, ., .]."""

    taps: Tensor
    kernel: Tensor
    centered: Tensor
    deviation: Tensor


class BlockTape(NamedTuple):
    """What the backward pass of one block needs: its layers, what is active half-way and at the end, its input's shape.

    The layers are a, b and, where shapes change, the shortcut.
    """

    layers: tuple[Tape, ...]
    middle: Tensor
    active: Tensor
    before: torch.Size


class ResNet(MemberModel):
    """Residual network: a 3-wide convolution, `stages` stages of `blocks` blocks, mean over space, a linear head.

    Each stage after the first doubles the channels and halves the resolution; each block is two (convolution,
    BatchNorm) pairs around a shortcut, which where shapes change is a strided 1-wide convolution with BatchNorm (He et
    al. 2016).

    Shapes: inputs [member, batch, channel, *space] with `spatial` = 1 or 2 axes of space -> logits [member, batch,
    class]. Batch statistics, running means and defaults are those of torch.nn.BatchNorm.
    """

    def __init__(
        self, members: int, channels: int, width: int, stages: int, classes: int, spatial: int, blocks: int = 1
    ) -> None:
        super().__init__()
        self.members, self.spatial = members, spatial
        self._scratch: dict[str, Tensor] = {}
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

    # Differentiable, by torch's convolutions: the channels of all members side by side, one group a member

    def forward(self, inputs: Float[Tensor, "member batch channel *space"]) -> Float[Tensor, "member batch class"]:
        """Return the logits; in training mode the batch's statistics normalize, else the running ones."""
        x = inputs.transpose(0, 1).flatten(1, 2)
        x = self._layer(x, "stem").relu()
        for name in self.blocks:
            short = self._layer(x, f"{name}_short") if f"{name}_short" in self.strides else x
            x = self._layer(self._layer(x, f"{name}_a").relu(), f"{name}_b")
            x = (x + short).relu()
        x = x.flatten(2).mean(-1).view(len(x), self.members, -1).transpose(0, 1)
        return torch.baddbmm(self.bias_head.unsqueeze(1), x, self.weight_head)

    def _layer(self, x: Tensor, name: str) -> Tensor:
        weight, scale, shift = (self._get(kind, name) for kind in ("weight", "scale", "shift"))
        mean, var = self._get("mean", name), self._get("var", name)
        if self.training:
            x = self._convolve(x, weight, name)
            return F.batch_norm(
                x, mean.view(-1), var.view(-1), scale.flatten(), shift.flatten(), True, BN_MOMENTUM, BN_EPS
            )
        # A fixed scale and shift, so they go into kernel and bias: one pass over the activations.
        gain = scale * (var + BN_EPS).rsqrt()
        kernel = weight * gain.view(*gain.shape, *[1] * (1 + self.spatial))
        return self._convolve(x, kernel, name, (shift - mean * gain).flatten())

    def _convolve(self, x: Tensor, kernel: Tensor, name: str, bias: Tensor | None = None) -> Tensor:
        convolve = F.conv1d if self.spatial == 1 else F.conv2d
        stride, padding = self.strides[name], kernel.shape[-1] // 2
        return convolve(x, kernel.flatten(0, 1), bias, stride, padding, groups=self.members)

    # The gradient by hand: activations [member, channel, row, column, batch], a signal being one column wide

    def loss_and_gradient(
        self, inputs: Float[Tensor, "member batch channel *space"], labels: Int[Tensor, "member batch"]
    ) -> Float[Tensor, " member"]:
        """Return each member's cross-entropy and leave its gradient in `.grad`.

        On a CPU and up to `BY_HAND` channels this is the closed form of backpropagation in training mode, without an
        autograd graph; a test holds it to autograd. Its convolutions are matrix products over [channel, space and
        batch], with the batch last, so that shifting along space moves long runs of memory and a channel's statistics
        are sums over a row. Large intermediates live in buffers that are used again at every step. Elsewhere autograd
        goes through torch's convolutions, which take fewer and larger steps.
        """
        if inputs.device.type == "cpu" and self.weight_head.shape[1] <= BY_HAND[self.spatial]:
            return self._by_hand(inputs, labels)
        return super().loss_and_gradient(inputs, labels)

    @torch.no_grad()
    def _by_hand(self, inputs: Tensor, labels: Tensor) -> Tensor:
        x = inputs.movedim(1, -1)
        x = x if self.spatial == 2 else x.unsqueeze(COLUMNS)
        x, stem = self._layer_forward(self._taps(x, "stem"), "stem")
        start, tapes = x.relu_(), []
        for name in self.blocks:
            x, tape = self._block_forward(x, name)
            tapes.append(tape)
        loss, delta = self._head(x, labels)
        for name, tape in zip(reversed(self.blocks), reversed(tapes), strict=True):
            delta = self._block_backward(delta, tape, name)
        self._layer_backward(_relu_backward(delta, start), stem, "stem")
        return loss

    def _head(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses and their gradient with respect to the last activations."""
        features = x.flatten(2, 3).mean(2)
        logits = torch.baddbmm(self.bias_head.unsqueeze(1), features.mT, self.weight_head)
        log_p, index = logits.log_softmax(-1), labels.unsqueeze(-1)
        loss = -log_p.gather(-1, index).squeeze(-1).mean(-1)
        # d loss / d logits = (softmax - one hot) / batch
        delta = log_p.exp_().scatter_add_(-1, index, -torch.ones_like(index, dtype=log_p.dtype)).div_(labels.shape[1])
        self._grad("bias", "head").copy_(delta.sum(1))
        self._grad("weight", "head").copy_(features @ delta)
        delta = (self.weight_head @ delta.mT).div_(x.shape[ROWS] * x.shape[COLUMNS])
        return loss, self._buffer("delta_head", x.shape).copy_(delta[:, :, None, None])

    def _block_forward(self, x: Tensor, name: str) -> tuple[Tensor, BlockTape]:
        taps = self._taps(x, f"{name}_a")
        middle, a = self._layer_forward(taps, f"{name}_a")
        middle.relu_()
        out, b = self._layer_forward(self._taps(middle, f"{name}_b"), f"{name}_b")
        if self.strides[f"{name}_a"] == 1:
            return out.add_(x).relu_(), BlockTape((a, b), middle, out, x.shape)
        # Of the three taps (nine for an image) the one in the middle sees what the 1-wide shortcut sees.
        short, tape = self._layer_forward(taps[:, taps.shape[1] // 2].unsqueeze(1), f"{name}_short")
        return out.add_(short).relu_(), BlockTape((a, b, tape), middle, out, x.shape)

    def _block_backward(self, delta: Tensor, tape: BlockTape, name: str) -> Tensor:
        a, b, *short = tape.layers
        delta = _relu_backward(delta, tape.active)
        inner = self._layer_backward(delta, b, f"{name}_b")
        inner = self._taps_backward(self._product(b.kernel.mT, inner, f"back_{name}_b"), tape.middle.shape, f"{name}_b")
        taps = self._layer_backward(_relu_backward(inner, tape.middle), a, f"{name}_a")
        taps = self._product(a.kernel.mT, taps, f"back_{name}_a")
        if not short:
            return self._taps_backward(taps, tape.before, f"{name}_a").add_(delta)
        channels = tape.before[1]
        seen = taps.narrow(1, (taps.shape[1] // channels // 2) * channels, channels)
        seen.baddbmm_(short[0].kernel.mT, self._layer_backward(delta, short[0], f"{name}_short"))
        return self._taps_backward(taps, tape.before, f"{name}_a")

    # One convolution with its BatchNorm

    def _layer_forward(self, taps: Tensor, name: str) -> tuple[Tensor, Tape]:
        space, kernel = taps.shape[ROWS:], self._kernel(name)
        matrix = taps.flatten(1, 2).flatten(2)
        z = self._product(kernel, matrix, f"product_{name}")
        if self.strides[name] == 1:
            z = z.view(self.members, 3, -1, *space)
            z = gather(z, ROWS, 1, self._buffer(f"normal_{name}", z[:, 0].shape)).flatten(2)
        out, deviation = self._normalize(z, name)
        return out.view(*out.shape[:2], *space), Tape(matrix, kernel, z, deviation)

    def _normalize(self, z: Tensor, name: str) -> tuple[Tensor, Tensor]:
        """Center z in place; return the normalized, scaled and shifted values and 1 / the standard deviation."""
        count = z.shape[-1]
        mean = z.sum(-1, keepdim=True).div_(count)
        var = torch.linalg.vector_norm(z.sub_(mean), dim=-1).square_().div_(count)
        self._get("mean", name).lerp_(mean.squeeze(-1), BN_MOMENTUM)
        self._get("var", name).lerp_(var * (count / (count - 1)), BN_MOMENTUM)  # unbiased, as torch does
        deviation = var.add_(BN_EPS).rsqrt_()
        gain = self._get("scale", name) * deviation
        out = torch.mul(z, gain.unsqueeze(-1), out=self._buffer(f"active_{name}", z.shape))
        return out.add_(self._get("shift", name).unsqueeze(-1)), deviation

    def _layer_backward(self, delta: Tensor, tape: Tape, name: str) -> Float[Tensor, "member out_tap_channel place"]:
        """Leave the gradients of the layer; return the gradient of kernel @ taps."""
        delta = self._normalize_backward(delta, tape, name)
        if self.strides[name] == 1:
            shape = (self.members, 3, *delta.shape[1:])
            delta = spread(delta, ROWS, 1, self._buffer(f"rows_{name}", shape)).flatten(1, 2)
        delta = delta.flatten(2)
        self._kernel_backward(torch.bmm(delta, tape.taps.mT), name)
        return delta

    def _normalize_backward(self, delta: Tensor, tape: Tape, name: str) -> Tensor:
        scale = self._get("scale", name).flatten()
        zero, deviation = torch.zeros_like(scale), tape.deviation.flatten()
        lines = (1, len(scale), -1)  # the channels of all members side by side, as those of one example
        out: Tensor
        out, grad_scale, grad_shift = torch.ops.aten.native_batch_norm_backward(
            delta.view(lines), tape.centered.view(lines), scale, None, None, zero, deviation, True, BN_EPS, [True] * 3
        )
        self._grad("scale", name).copy_(grad_scale.view(self.members, -1))
        self._grad("shift", name).copy_(grad_shift.view(self.members, -1))
        return out.view(delta.shape)

    # A convolution of stride 1 shifts its input along columns and its product along rows; a strided one, whose product
    # is smaller than its input, shifts its input along both.

    def _taps(self, x: Tensor, name: str) -> Float[Tensor, "member tap channel row column batch"]:
        stride = self.strides[name]
        members, channels, rows, columns, batch = x.shape
        taps = x.unsqueeze(1)
        if self.spatial == 2:
            columns = outputs(columns, stride)
            shape = (members, 3, channels, rows, columns, batch)
            taps = spread(x, COLUMNS, stride, self._buffer(f"columns_{name}", shape))
        if stride == 1:
            return taps
        shape = (members, 3, *taps.shape[1:3], outputs(rows, stride), columns, batch)
        return spread(taps, ROWS, stride, self._buffer(f"taps_{name}", shape)).flatten(1, 2)

    def _taps_backward(self, taps: Tensor, before: torch.Size, name: str) -> Tensor:
        """Return the gradient of the activations of shape `before` from that of their taps."""
        stride = self.strides[name]
        members, channels, rows, columns, batch = before
        columns = outputs(columns, stride)
        if stride > 1:
            taps = taps.view(members, 3, -1, channels, outputs(rows, stride), columns, batch)
            shape = (members, taps.shape[2], channels, rows, columns, batch)
            taps = gather(taps, ROWS, stride, self._buffer(f"half_{name}", shape))
        if self.spatial == 1:
            return taps.view(before)
        taps = taps.view(members, 3, channels, rows, columns, batch)
        return gather(taps, COLUMNS, stride, self._buffer(f"delta_{name}", before))

    def _kernel(self, name: str) -> Float[Tensor, "member out_tap_channel in_tap_channel"]:
        weight = self._as_image(self._get("weight", name))
        if self.strides[name] > 1:
            return weight.permute(0, 1, 3, 4, 2).flatten(2)
        # Flipped, for `gather` sends what a tap holds the other way from where `spread` would have fetched it.
        return weight.flip(3).permute(0, 3, 1, 4, 2).flatten(3).flatten(1, 2)

    def _kernel_backward(self, gradient: Tensor, name: str) -> None:
        grad = self._as_image(self._grad("weight", name))
        members, after, before, rows, columns = grad.shape
        if self.strides[name] > 1:
            grad.copy_(gradient.view(members, after, rows, columns, before).permute(0, 1, 4, 2, 3))
        else:
            gradient = gradient.view(members, rows, after, columns, before)
            grad.copy_(gradient.permute(0, 2, 4, 1, 3).flip(3))

    def _as_image(self, weight: Tensor) -> Float[Tensor, "member after before row column"]:
        return weight if self.spatial == 2 else weight.unsqueeze(-1)

    def _product(self, a: Tensor, b: Tensor, name: str) -> Tensor:
        return torch.bmm(a, b, out=self._buffer(name, (len(a), a.shape[1], b.shape[2])))

    def _buffer(self, name: str, shape: Sequence[int]) -> Tensor:
        """Return the scratch tensor called `name`, zero when made on first use and then as it was left."""
        found = self._scratch.get(name)
        like = self.weight_head
        if found is None or found.shape != torch.Size(shape) or found.dtype != like.dtype:
            found = self._scratch[name] = torch.zeros(shape, dtype=like.dtype, device=like.device)
        return found

    def _get(self, kind: str, name: str) -> Tensor:
        tensor = getattr(self, f"{kind}_{name}")
        assert isinstance(tensor, Tensor)
        return tensor

    def _grad(self, kind: str, name: str) -> Tensor:
        grad = self._get(kind, name).grad
        assert grad is not None, "loss_and_gradient needs gradient buffers; call wdlab.models.flatten first"
        return grad


def _relu_backward(delta: Tensor, active: Tensor) -> Tensor:
    torch.ops.aten.threshold_backward(delta, active, 0, grad_input=delta)
    return delta
