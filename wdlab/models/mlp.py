"""The BatchNorm MLP, many members at once, with its gradient written out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from wdlab.models.members import MemberModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int

BN_EPS, BN_MOMENTUM = 1e-5, 0.1  # torch's defaults


class Tape(NamedTuple):
    """What the backward pass of one hidden layer needs to remember."""

    inputs: Tensor
    normal: Tensor
    deviation: Tensor
    active: Tensor


class MLP(MemberModel):
    """Fully connected network: hidden layers of Linear, BatchNorm, ReLU, then a linear head.

    Shapes: inputs [member, batch, feature] -> logits [member, batch, class]. Without `norm` the hidden layers have a
    bias in place of BatchNorm. Batch statistics, running means and defaults are those of torch.nn.BatchNorm1d.
    """

    def __init__(self, members: int, sizes: Sequence[int], norm: bool = True) -> None:
        super().__init__()
        self.members, self.sizes, self.norm = members, tuple(sizes), norm
        self.hidden = len(sizes) - 2
        self._scratch: dict[str, Tensor] = {}
        for layer in range(self.hidden + 1):
            fan_in, fan_out = sizes[layer], sizes[layer + 1]
            setattr(self, f"weight_{layer}", nn.Parameter(torch.zeros(members, fan_in, fan_out)))
            if norm and layer < self.hidden:
                setattr(self, f"scale_{layer}", nn.Parameter(torch.ones(members, fan_out)))
                setattr(self, f"shift_{layer}", nn.Parameter(torch.zeros(members, fan_out)))
                self.register_buffer(f"mean_{layer}", torch.zeros(members, fan_out))
                self.register_buffer(f"var_{layer}", torch.ones(members, fan_out))
            else:
                setattr(self, f"bias_{layer}", nn.Parameter(torch.zeros(members, fan_out)))
        self.scale_invariant = tuple(f"weight_{layer}" for layer in range(self.hidden)) if norm else ()

    def fan_in(self, name: str) -> int:
        """Return how many inputs one output of the layer of parameter `name` sums over."""
        return self.sizes[int(name.rsplit("_", 1)[1])]

    def forward(self, inputs: Float[Tensor, "member batch feature"]) -> Float[Tensor, "member batch class"]:
        """Return the logits; in training mode the batch's statistics normalize, else the running ones."""
        x = inputs
        for layer in range(self.hidden):
            weight = self._get("weight", layer)
            if not self.norm:
                x = torch.baddbmm(self._row("bias", layer), x, weight).relu()
            elif self.training:
                x = self._normalize(x @ weight, layer).relu()
            else:  # a fixed scale and shift, so they go into weights and bias: one pass over the activations
                gain = self._get("scale", layer) * (self._get("var", layer) + BN_EPS).rsqrt()
                bias = self._get("shift", layer) - self._get("mean", layer) * gain
                x = torch.baddbmm(bias.unsqueeze(1), x, weight * gain.unsqueeze(1)).relu_()
        return torch.baddbmm(self._row("bias", self.hidden), x, self._get("weight", self.hidden))

    def _normalize(self, z: Tensor, layer: int) -> Tensor:
        mean, var = z.mean(1), z.var(1, correction=0)
        self._remember(layer, mean.detach(), var.detach(), z.shape[1])
        gain = self._get("scale", layer) * (var + BN_EPS).rsqrt()
        return (z - mean.unsqueeze(1)) * gain.unsqueeze(1) + self._row("shift", layer)

    def _remember(self, layer: int, mean: Tensor, var: Tensor, batch: int) -> None:
        """Fold this batch's statistics into the running ones (the variance unbiased, as torch does)."""
        self._get("mean", layer).lerp_(mean, BN_MOMENTUM)
        self._get("var", layer).lerp_(var * (batch / (batch - 1)), BN_MOMENTUM)

    @torch.no_grad()
    def loss_and_gradient(
        self, inputs: Float[Tensor, "member batch feature"], labels: Int[Tensor, "member batch"]
    ) -> Float[Tensor, " member"]:
        """Return each member's loss, a cross-entropy, and leave its gradient in `.grad`, without an autograd graph.

        The closed form of backpropagation in training mode; a test holds it to autograd. It needs every `.grad` to
        exist. Large intermediates live in buffers that are used again at every step: asking the operating system for
        fresh pages costs more than the arithmetic done on them.
        """
        x, tapes = inputs, []
        for layer in range(self.hidden):
            x, tape = self._hidden_forward(x, layer)
            tapes.append(tape)
        logits = torch.baddbmm(self._row("bias", self.hidden), x, self._get("weight", self.hidden))
        loss, delta = self._judge(logits, labels)
        torch.sum(delta, 1, out=self._grad("bias", self.hidden))
        delta = self._linear_backward(x, delta, self.hidden)
        for layer in reversed(range(self.hidden)):
            delta = self._hidden_backward(delta, tapes[layer], layer)
        return loss

    def _judge(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return each member's mean loss and its derivative by the logits, which may be overwritten."""
        log_p = logits.log_softmax(-1)
        index = labels.unsqueeze(-1)
        loss = -log_p.gather(-1, index).squeeze(-1).mean(-1)
        # d loss / d logits = (softmax - one hot) / batch
        return loss, log_p.exp_().scatter_add_(-1, index, _minus_ones(index, log_p)).div_(labels.shape[1])

    def _hidden_forward(self, x: Tensor, layer: int) -> tuple[Tensor, Tape]:
        weight = self._get("weight", layer)
        shape = (*x.shape[:2], weight.shape[-1])
        z = torch.bmm(x, weight, out=self._buffer(f"normal_{layer}", shape))
        if not self.norm:
            out = z.add_(self._row("bias", layer)).relu_()
            return out, Tape(x, z, z, out)
        mean = z.sum(1, keepdim=True).div_(x.shape[1])
        normal = z.sub_(mean)
        var = self._sum_of_products(normal, normal).div_(x.shape[1])
        deviation = (var + BN_EPS).rsqrt_()
        normal.mul_(deviation)
        self._remember(layer, mean.squeeze(1), var.squeeze(1), x.shape[1])
        out = self._buffer(f"active_{layer}", shape)
        torch.addcmul(self._row("shift", layer), normal, self._row("scale", layer), out=out).relu_()
        return out, Tape(x, normal, deviation, out)

    def _hidden_backward(self, delta: Tensor, tape: Tape, layer: int) -> Tensor:
        torch.ops.aten.threshold_backward(delta, tape.active, 0, grad_input=delta)
        if not self.norm:
            torch.sum(delta, 1, out=self._grad("bias", layer))
            return self._linear_backward(tape.inputs, delta, layer)
        batch = delta.shape[1]
        sum_delta = delta.sum(1, keepdim=True)
        sum_product = self._sum_of_products(delta, tape.normal)
        self._grad("shift", layer).copy_(sum_delta.squeeze(1))
        self._grad("scale", layer).copy_(sum_product.squeeze(1))
        # What BatchNorm takes out: the mean of delta, and its part along the normalized activations.
        delta.sub_(sum_delta.div_(batch)).addcmul_(tape.normal, sum_product.div_(batch), value=-1)
        delta.mul_(self._row("scale", layer) * tape.deviation)
        return self._linear_backward(tape.inputs, delta, layer)

    def _linear_backward(self, x: Tensor, delta: Tensor, layer: int) -> Tensor:
        grad = self._grad("weight", layer)
        # Batched products into a strided view fall back to one product a member, so write beside it and copy.
        grad.copy_(torch.bmm(x.mT, delta, out=self._buffer(f"grad_{layer}", grad.shape)))
        if layer == 0:
            return delta
        return torch.bmm(delta, self._get("weight", layer).mT, out=self._buffer(f"delta_{layer}", x.shape))

    def _sum_of_products(self, a: Tensor, b: Tensor) -> Float[Tensor, "member 1 feature"]:
        return torch.mul(a, b, out=self._buffer("product", a.shape)).sum(1, keepdim=True)

    def _buffer(self, name: str, shape: Sequence[int]) -> Tensor:
        """Return the scratch tensor called `name`, made on first use; its contents are whatever was left there."""
        found = self._scratch.get(name)
        like = self._get("weight", 0)
        if found is None or found.shape != torch.Size(shape) or found.dtype != like.dtype:
            found = self._scratch[name] = torch.empty(shape, dtype=like.dtype, device=like.device)
        return found

    def _get(self, kind: str, layer: int) -> Tensor:
        tensor = getattr(self, f"{kind}_{layer}")
        assert isinstance(tensor, Tensor)
        return tensor

    def _row(self, kind: str, layer: int) -> Tensor:
        return self._get(kind, layer).unsqueeze(1)

    def _grad(self, kind: str, layer: int) -> Tensor:
        grad = self._get(kind, layer).grad
        assert grad is not None, "loss_and_gradient needs gradient buffers; call wdlab.models.flatten first"
        return grad


def _minus_ones(index: Tensor, like: Tensor) -> Tensor:
    return torch.full(index.shape, -1.0, dtype=like.dtype, device=like.device)
