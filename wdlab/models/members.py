"""What every model shares: parameters with a leading member axis, kept side by side in one flat buffer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Float, Int


class MemberModel(nn.Module):
    """A torch module that is `members` networks of one shape at once; every parameter is [member, ...].

    `scale_invariant` names the weights that feed a normalization: multiplying one by c > 0 leaves the output as it is.
    """

    members: int
    scale_invariant: tuple[str, ...] = ()

    def forward(self, inputs: Float[Tensor, "member batch ..."]) -> Float[Tensor, "member batch class"]:
        """Return the logits of every member for its own batch."""
        raise NotImplementedError

    def initialize(self, generators: Sequence[torch.Generator]) -> None:
        """Draw every member's parameters from its own generator, as torch's Linear and Conv layers do.

        Kernels and biases are uniform within 1/sqrt(fan in); normalization starts at scale 1 and shift 0.
        """
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                self._draw(name, parameter, generators)

    def go_on_from(self, other: Self, of: Sequence[int]) -> None:
        """Take the state of `other`, member k that of its member of[k]."""
        self.load_state_dict({name: tensor[list(of)] for name, tensor in other.state_dict().items()})

    def _draw(self, name: str, parameter: nn.Parameter, generators: Sequence[torch.Generator]) -> None:
        kind = name.rsplit(".", 1)[-1].split("_")[0]
        if kind in ("scale", "shift"):
            parameter.fill_(1.0 if kind == "scale" else 0.0)
            return
        bound = 1 / math.sqrt(self.fan_in(name))
        for values, generator in zip(parameter, generators, strict=True):
            # Drawn in float32 on the CPU whatever the model's type and device, so that both agree on the numbers.
            drawn = torch.rand(values.shape, generator=generator, dtype=torch.float32) * (2 * bound) - bound
            values.copy_(drawn)

    def fan_in(self, name: str) -> int:
        """Return how many inputs one output of the layer of parameter `name` sums over."""
        raise NotImplementedError

    def loss(
        self, inputs: Float[Tensor, "member batch ..."], labels: Int[Tensor, "member batch ..."]
    ) -> Float[Tensor, " member"]:
        """Return each member's mean loss over its batch in nats, as autograd can follow it: the cross-entropy."""
        return cross_entropy(self(inputs), labels)

    def loss_and_gradient(
        self, inputs: Float[Tensor, "member batch ..."], labels: Int[Tensor, "member batch"]
    ) -> Float[Tensor, " member"]:
        """Return each member's cross-entropy on its batch and leave the gradient in each parameter's `.grad`.

        This is autograd; a model with a closed form overrides it. The members' losses are summed, never averaged:
        an average would divide every gradient by the member count and so change Adam's eps and the weight of l2.
        """
        parameters = list(self.parameters())
        loss = self.loss(inputs, labels)
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss.sum(), parameters), strict=True):
            assert parameter.grad is not None, "a gradient buffer is missing; call wdlab.models.flatten first"
            parameter.grad.copy_(gradient)
        return loss.detach()


def cross_entropy(
    logits: Float[Tensor, "member batch class"], labels: Int[Tensor, "member batch"]
) -> Float[Tensor, " member"]:
    """Return each member's mean cross-entropy over its batch, in nats."""
    # Over the classes as the last axis but one: a softmax along ten neighbours takes twenty times as long.
    picked = logits.mT.log_softmax(-2).gather(-2, labels.unsqueeze(-2))
    return -picked.squeeze(-2).mean(-1)


def flatten(
    model: MemberModel, names: Sequence[str]
) -> tuple[Float[Tensor, "member weight"], Float[Tensor, "member weight"]]:
    """Move the model's parameters and gradients into two buffers [member, weight], in the order of `names`.

    Each parameter becomes a view of the first buffer and its `.grad` a view of the second, so that one call of the
    update rule steps all of them.
    """
    parameters = dict(model.named_parameters())
    sizes = [parameters[name][0].numel() for name in names]
    first = parameters[names[0]]
    flat = torch.empty(model.members, sum(sizes), dtype=first.dtype, device=first.device)
    grad = torch.zeros_like(flat)
    start = 0
    for name, size in zip(names, sizes, strict=True):
        parameter = parameters[name]
        view = flat[:, start : start + size].view(parameter.shape)
        view.copy_(parameter.data)
        parameter.data = view
        parameter.grad = grad[:, start : start + size].view(parameter.shape)
        start += size
    return flat, grad
