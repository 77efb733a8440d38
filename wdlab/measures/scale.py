"""What a network is when some of its weights are multiplied by a number: what moves with their scale, what cannot."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wdlab.checks import known, number
from wdlab.decay import AdamBuffers, Rates, adam_, second_moment_, sgd_
from wdlab.measures.complexity import rescale_
from wdlab.measures.dynamics import effective_lr, relative_gradient, rotation
from wdlab.measures.norms import weight_norm
from wdlab.models import MemberModel, cross_entropy
from wdlab.tasks import evaluate

if TYPE_CHECKING:
    from jaxtyping import Float, Int

ADAM_EPS = 1e-30  # next to nothing: Adam's own eps would know the scale of the gradients


@dataclass(frozen=True)
class Scaled:
    """A network whose weights were multiplied by a number; every value is a tensor [member], and of all these weights.

    `loss` (nats) and `error` are those of evaluation mode; `gradient` [member, weight] is that of the loss in training
    mode on the same examples, laid end to end; `effective_lr` and the `angle` (radians) are those of one first step of
    plain SGD or of Adam, without decay.
    """

    loss: Float[Tensor, " member"]
    error: Float[Tensor, " member"]
    norm: Float[Tensor, " member"]
    gradient_norm: Float[Tensor, " member"]
    relative_gradient: Float[Tensor, " member"]
    effective_lr: Float[Tensor, " member"]
    angle: Float[Tensor, " member"]
    gradient: Float[Tensor, "member weight"]


def hidden_weights(model: MemberModel) -> tuple[str, ...]:
    """Return the names of the weights to scale: those that feed a normalization, else all matrices but the last.

    In a network without normalization these are the same tensors as with it, so the two can be compared.
    """
    return model.scale_invariant or tuple(name for name, p in model.named_parameters() if p.ndim > 2)[:-1]


def last_weights(model: MemberModel) -> tuple[str, ...]:
    """Return the names of the other matrices and kernels: those of the last layer, which no normalization follows."""
    hidden = hidden_weights(model)
    return tuple(name for name, p in model.named_parameters() if p.ndim > 2 and name not in hidden)


PARTS = {"hidden": hidden_weights, "last": last_weights}


def at_scale(
    model: MemberModel,
    inputs: Float[Tensor, "example ..."],
    labels: Int[Tensor, " example"],
    factor: float,
    lr: float = 0.1,
    optimizer: str = "sgd",
    part: str = "hidden",
) -> Scaled:
    """Return what `model` is on these examples after a `part` of its weights is multiplied by `factor` > 0.

    The part is "hidden", see `hidden_weights`, or "last", the last layer's; what is returned is of this part.

    With a normalization behind, as its eps allows: loss, error, ||w|| ||g|| and the gradient's direction stay; the
    norm goes with c and the gradient's with 1/c; the effective learning rate and the angle of a step go with 1/c^2
    under SGD (the tangent of the angle does) and with 1/c under Adam, whose step does not shrink with the gradient.
    (Derived; van Laarhoven 2017 for SGD.) The model itself is left as it is. Raises ValueError for a factor or lr that
    is not positive and for an unknown optimizer or part.
    """
    known("optimizer", optimizer, ("sgd", "adam"))
    number("lr", lr, 0, above=True)
    names = PARTS[known("part", part, PARTS)](model)
    made = _multiplied(model, names, number("factor", factor, 0, above=True))
    tested = evaluate(made, inputs, labels)
    weights = [made.get_parameter(name) for name in names]
    answers = labels.expand(made.members, -1)
    loss = cross_entropy(made(inputs.expand(made.members, *inputs.shape)), answers)
    gradients = torch.autograd.grad(loss.sum(), weights)
    w, g = (torch.cat([tensor.detach().flatten(1) for tensor in some], 1) for some in (weights, gradients))
    return Scaled(
        tested["test_loss"],
        tested["test_error"],
        weight_norm([w]),
        weight_norm([g]),
        relative_gradient(w, g),
        effective_lr(torch.full_like(loss, lr).detach(), [weight.detach() for weight in weights], optimizer),
        rotation(w, stepped(w, g, lr, optimizer)),
        g,
    )


def stepped(
    w: Float[Tensor, "member weight"], g: Float[Tensor, "member weight"], lr: float, optimizer: str
) -> Float[Tensor, "member weight"]:
    """Return where one first step of plain SGD or of Adam leads from `w`, without decay."""
    after = w.clone()
    if known("optimizer", optimizer, ("sgd", "adam")) == "sgd":
        sgd_(after, g, None, Rates(), lr, 0.0)
        return after
    buffers, betas = AdamBuffers(torch.zeros_like(w), torch.zeros_like(w)), (0.9, 0.999)
    second_moment_(buffers, after, g, Rates(), betas[1])
    adam_(after, g, buffers, Rates(), lr, betas, ADAM_EPS, 1)
    return after


def _multiplied(model: MemberModel, names: tuple[str, ...], factor: float) -> MemberModel:
    made = copy.deepcopy(model)
    if names == model.scale_invariant:
        rescale_(made, factor)  # what BatchNorm remembers goes with them
    else:
        with torch.no_grad():
            for name in names:
                made.get_parameter(name).mul_(factor)
    return made
