"""Measures of a trained network read off its weights and margins: norms, with BatchNorm folded in first.

A weight that feeds BatchNorm can be multiplied by anything without changing the network, so the norm of such a weight
says nothing until the normalization is folded into it (`fold`). `Subject` is what every measure looks at, `Measure` a
row of the registry; `COMPLEXITY` has the rows of this room. The larger a measure, the worse a network it predicts.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import Tensor, nn

from wdlab.checks import known, number, whole
from wdlab.measures.norms import squared_norm, weight_norm
from wdlab.models import MemberModel
from wdlab.models.mlp import BN_EPS
from wdlab.tasks import generator

if TYPE_CHECKING:
    from jaxtyping import Float, Int

MARGIN_SHARE = 0.1  # the margin that this share of the training examples falls short of
Found = TypeVar("Found")
OURS = "our operationalization"
JIANG = "Jiang et al. 2020, as re-implemented for Dziugaite et al. 2020"


@dataclass(frozen=True, eq=False)
class Subject:
    """What is measured: networks, the weights they started from, and the training examples to look at them on.

    `labels` is [example], or [member, example] where members have examples of their own; `inputs` leads with the same
    axes. Batch statistics are taken over all examples together, so give many: 500 to 1000. `initial` maps the names
    of weight tensors to their first values; only `distance_from_init` asks for it. `seed` decides the noise, which is
    one for all members. `together` is how many members are measured at once: less takes less memory.

    Raises ValueError when shapes do not fit, when there is one example only, or when `together` is not at least 1.
    """

    model: MemberModel
    inputs: Float[Tensor, "*example feature"]
    labels: Int[Tensor, "*example"]
    initial: Mapping[str, Float[Tensor, "member ..."]] | None = None
    seed: int = 0
    together: int = 4

    def __post_init__(self) -> None:
        whole("together", self.together, 1)
        shape, members = tuple(self.labels.shape), self.model.members
        if len(shape) not in (1, 2) or shape[:-1] not in ((), (members,)) or shape[-1] < 2:
            raise ValueError(f"labels of shape {shape} are not allowed; give [example] or [{members}, example], >= 2.")
        if tuple(self.inputs.shape[: len(shape)]) != shape:
            raise ValueError(f"inputs of shape {tuple(self.inputs.shape)} are not allowed; begin as labels: {shape}.")

    def parts(self) -> Iterator[Subject]:
        """Yield the members, `together` at a time, as subjects with a model of their own.

        What is done to such a model (moved weights, running statistics) never reaches the one that is measured.
        """
        for start in range(0, self.model.members, self.together):
            chosen = slice(start, min(start + self.together, self.model.members))
            model = _copy(self.model, chosen)
            if self.labels.ndim == 1:
                yield replace(self, model=model, initial=None)
            else:
                yield replace(self, model=model, initial=None, inputs=self.inputs[chosen], labels=self.labels[chosen])

    def examples(self) -> tuple[Float[Tensor, "member example ..."], Int[Tensor, "member example"]]:
        """Return inputs and labels with the member axis, as the model reads them; shared ones are not copied."""
        if self.labels.ndim == 2:
            return self.inputs, self.labels
        members = self.model.members
        return self.inputs.expand(members, *self.inputs.shape), self.labels.expand(members, -1)

    def generator(self) -> torch.Generator:
        """Return the generator of the subject's noise, new at every call: all measures see the same directions."""
        return generator(self.seed, "noise")


class Reading:
    """One look at a subject as it stands: what several measures need of it is found once.

    Made anew for every call of `measure`, for a subject's weights may change in between.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._found: dict[Callable[[Subject], object], object] = {}

    def once(self, function: Callable[[Subject], Found]) -> Found:
        """Return function(subject), which is called the first time only."""
        if function not in self._found:
            self._found[function] = function(self.subject)
        return cast("Found", self._found[function])


@dataclass(frozen=True)
class Measure:
    """A measure of networks, [member], of which more is held to mean worse generalization.

    `kind` is "norm", "margin", "loss", "absolute" or "relative" (sharpness by the size of its noise); `says` is its
    meaning in one sentence; `scale_invariant` whether it stays as it is under `rescale_`; `source` where it was read.
    """

    name: str
    kind: str
    says: str
    scale_invariant: bool
    function: Callable[[Reading], Float[Tensor, " member"]]
    source: str


@dataclass(frozen=True, eq=False)
class Folded:
    """A layer with its normalization folded in: `weight` as in the model (see `by_unit`), `bias` [member, out]."""

    weight: Float[Tensor, "member ..."]
    bias: Float[Tensor, "member out"]


def weight_tensors(model: MemberModel, names: Sequence[str] | None = None) -> dict[str, Float[Tensor, "member ..."]]:
    """Return the weight matrices and kernels of `model` by name, detached, or those of them in `names`.

    These are the parameters of two or more axes a member; biases and BatchNorm's scale and shift are not among them.
    Raises ValueError for any other name, and for no name at all.
    """
    if names is not None and not names:
        raise ValueError(f"names={names!r} is not allowed; give at least one name, or None for all.")
    found = {name: p.detach() for name, p in model.named_parameters() if p.ndim > 2}
    return found if names is None else {known("names", name, found): found[name] for name in names}


@torch.no_grad()
def rescale_(model: MemberModel, factor: float | Float[Tensor, " member"]) -> None:
    """Multiply in place every weight that feeds a normalization by `factor`, a number or one for each member.

    Running means follow by c and running variances by c^2, so the network stays the same function in training and in
    evaluation mode, as nearly as BatchNorm's eps allows: while c^2 var is far above 1e-5. Raises ValueError unless
    all factors are finite and above 0.
    """
    first = next(model.parameters())
    factors = torch.as_tensor(factor, dtype=first.dtype, device=first.device)
    for value in factors.flatten().tolist():
        number("factor", value, 0, above=True)
    if factors.shape not in ((), (model.members,)):
        raise ValueError(f"factor of shape {tuple(factors.shape)} is not allowed; give a number or [{model.members}].")
    buffers = dict(model.named_buffers())
    for name in model.scale_invariant:
        layer = name.removeprefix("weight_")
        _stretch_(model.get_parameter(name), factors)
        _stretch_(buffers[f"mean_{layer}"], factors)
        _stretch_(buffers[f"var_{layer}"], factors.square())


@torch.no_grad()
def fold(model: MemberModel) -> dict[str, Folded]:
    """Return the layers of `model` in evaluation mode with BatchNorm folded into weights and biases.

    W' = W scale / sqrt(var + eps) by output unit, b' = shift - mean scale / sqrt(var + eps), with the running mean
    and variance; a layer without BatchNorm stays as it is. Names are those after "weight_": "0", "stem", "head".
    The folded network computes what the model does in evaluation mode (so does the
    re-implementation of Jiang et al. 2020 for Dziugaite et al. 2020, before it measures anything).
    """
    own = dict(model.named_parameters()) | dict(model.named_buffers())
    layers = {}
    for name, weight in weight_tensors(model).items():
        layer = name.removeprefix("weight_")
        if f"mean_{layer}" not in own:
            layers[layer] = Folded(weight, own[f"bias_{layer}"].detach())
            continue
        gain = own[f"scale_{layer}"] * (own[f"var_{layer}"] + BN_EPS).rsqrt()
        bias = own[f"shift_{layer}"] - own[f"mean_{layer}"] * gain
        layers[layer] = Folded(weight * by_unit(gain, weight), bias)
    return layers


def by_unit(values: Float[Tensor, "member out"], weight: Float[Tensor, "member ..."]) -> Float[Tensor, "member ..."]:
    """Return one value for each output unit in the shape that broadcasts against `weight`.

    A matrix reads [member, in, out], a convolution's kernel [member, out, in, *k].
    """
    if weight.ndim == 3:
        return values.unsqueeze(1)
    return values.reshape(*values.shape, *[1] * (weight.ndim - 2))


def distance_from_init(
    model: MemberModel, initial: Mapping[str, Float[Tensor, "member ..."]] | None
) -> Float[Tensor, " member"]:
    """Return ||w - w0|| over all weight matrices and kernels, w0 being their `initial` values by name.

    Raises ValueError when a tensor is missing from `initial` or has another shape there.
    """
    moved = []
    for name, weight in weight_tensors(model).items():
        start = None if initial is None else initial.get(name)
        if start is None or start.shape != weight.shape:
            got = None if start is None else tuple(start.shape)
            raise ValueError(f"initial[{name!r}] of shape {got} is not allowed; give {tuple(weight.shape)}.")
        moved.append(weight - start.detach())
    return weight_norm(moved)


def log_frobenius_product(layers: Mapping[str, Folded]) -> Float[Tensor, " member"]:
    """Return sum over layers of log ||W||_F^2, the log of the product of squared Frobenius norms."""
    return torch.stack([squared_norm(layer.weight).log() for layer in layers.values()]).sum(0)


def log_spectral_product(layers: Mapping[str, Folded]) -> Float[Tensor, " member"]:
    """Return sum over layers of log ||W||_2^2, with ||W||_2 the largest singular value.

    A kernel counts as the matrix out x (in times kernel size). That is not the norm of the convolution, which also
    depends on stride and resolution.
    """
    return torch.stack([2 * spectral_norm(layer.weight).log() for layer in layers.values()]).sum(0)


def stable_rank(layers: Mapping[str, Folded]) -> Float[Tensor, " member"]:
    """Return sum over layers of ||W||_F^2 / ||W||_2^2, each between 1 and the rank of W."""
    ranks = [squared_norm(layer.weight) / spectral_norm(layer.weight).square() for layer in layers.values()]
    return torch.stack(ranks).sum(0)


def spectral_norm(weight: Float[Tensor, "member ..."]) -> Float[Tensor, " member"]:
    """Return the largest singular value of each member's matrix, a kernel read as out x (in times kernel size).

    A member whose weights are not all finite has nan; the others are measured all the same.

    >>> spectral_norm(torch.tensor([[[3.0, 0.0], [0.0, -4.0]]]))
    tensor([4.])
    """
    matrix = weight if weight.ndim == 3 else weight.flatten(2)
    finite = matrix.isfinite().flatten(1).all(1)
    # torch's decomposition raises at the first entry that is not finite, whosever it is.
    largest = torch.linalg.svdvals(torch.where(finite[:, None, None], matrix, 0.0))[:, 0]
    return torch.where(finite, largest, math.nan)


@torch.no_grad()
def path_norm(subject: Subject) -> Float[Tensor, " member"]:
    """Return sqrt(sum over all paths from an input to an output of the product of squared weights on the path).

    Weights are the folded ones, and a bias is the weight of an input that is always 1. The sum is what the network
    with squared weights answers to ones, added over outputs: shortcuts add, the mean over space is a mean, padding
    stays zero. Computed in float64, where the product of layers has room.
    """
    return torch.cat([_path_norm(part) for part in subject.parts()])


@torch.no_grad()
def margin(subject: Subject) -> Float[Tensor, " member"]:
    """Return the 10th percentile over the examples of the correct logit minus the best other one.

    In evaluation mode, in the units of the logits; it is negative when more than a tenth of the examples are wrong.
    """
    return torch.cat([_margin(part) for part in subject.parts()])


def inverse_squared_margin(margins: Float[Tensor, " member"]) -> Float[Tensor, " member"]:
    """Return 1 / margin^2, and infinity for a margin of at most 0, where nothing bounds the error.

    >>> inverse_squared_margin(torch.tensor([0.5, 0.0, -2.0]))
    tensor([4., inf, inf])
    """
    return margins.clamp(min=0).pow(-2)


def over_margin(log_product: Float[Tensor, " member"], margins: Float[Tensor, " member"]) -> Float[Tensor, " member"]:
    """Return log product - 2 log margin, and infinity for a margin of at most 0."""
    return log_product + inverse_squared_margin(margins).log()


def _copy(model: MemberModel, chosen: slice) -> MemberModel:
    """Return a copy of some members, whose parameters and buffers are its own."""
    copied: dict[int, object] = {id(p): nn.Parameter(p.detach()[chosen].clone()) for p in model.parameters()}
    copied |= {id(buffer): buffer[chosen].clone() for buffer in model.buffers()}
    # A model's scratch is larger than the model, made for all members, and made anew wherever it is missing.
    if "_scratch" in vars(model):
        copied[id(model._scratch)] = {}
    part = copy.deepcopy(model, copied)
    part.members = chosen.stop - chosen.start
    return part


def _stretch_(tensor: Tensor, factors: Tensor) -> None:
    tensor.mul_(factors.reshape(-1, *[1] * (tensor.ndim - 1)) if factors.ndim else factors)


def _path_norm(part: Subject) -> Tensor:
    model = part.model.double().eval()
    own = dict(model.named_parameters()) | dict(model.named_buffers())
    for layer, folded in fold(model).items():
        own[f"weight_{layer}"].copy_(folded.weight.square())
        if f"mean_{layer}" not in own:
            own[f"bias_{layer}"].copy_(folded.bias.square())
            continue
        own[f"shift_{layer}"].copy_(folded.bias.square())
        for kind, value in (("scale", 1.0), ("mean", 0.0), ("var", 1 - BN_EPS)):
            own[f"{kind}_{layer}"].fill_(value)  # a normalization that does nothing
    ones = torch.ones_like(part.examples()[0][:, :1], dtype=torch.float64)
    logits: Tensor = model(ones)
    return logits.sum((1, 2)).sqrt().to(part.inputs.dtype)


def _margin(part: Subject) -> Tensor:
    inputs, labels = part.examples()
    logits = part.model.eval()(inputs)
    index = labels.unsqueeze(-1)
    correct = logits.gather(-1, index).squeeze(-1)
    other = logits.scatter(-1, index, -math.inf).amax(-1)
    return torch.quantile(correct - other, MARGIN_SHARE, dim=1)


def _folded(subject: Subject) -> dict[str, Folded]:
    return fold(subject.model)


COMPLEXITY: dict[str, Measure] = {
    row.name: row
    for row in (
        Measure(
            "weight_norm",
            "norm",
            "How long the weights are, whatever the normalization makes of that.",
            False,
            lambda r: weight_norm(weight_tensors(r.subject.model).values()),
            JIANG,
        ),
        Measure(
            "distance_from_init",
            "norm",
            "How far training carried the weights.",
            False,
            lambda r: distance_from_init(r.subject.model, r.subject.initial),
            JIANG,
        ),
        Measure(
            "log_frobenius_product",
            "norm",
            "How large the layers are, multiplied, once BatchNorm is folded in.",
            True,
            lambda r: log_frobenius_product(r.once(_folded)),
            JIANG,
        ),
        Measure(
            "log_spectral_product",
            "norm",
            "How much the layers can stretch a signal, multiplied, once BatchNorm is folded in.",
            True,
            lambda r: log_spectral_product(r.once(_folded)),
            JIANG,
        ),
        Measure(
            "stable_rank",
            "norm",
            "Over how many directions the folded layers spread their strength.",
            True,
            lambda r: stable_rank(r.once(_folded)),
            JIANG,
        ),
        Measure(
            "path_norm",
            "norm",
            "How strong all paths from inputs to outputs are together, once BatchNorm is folded in.",
            True,
            lambda r: r.once(path_norm),
            JIANG,
        ),
        Measure(
            "negative_margin",
            "margin",
            "How narrowly the hardest tenth of the training examples is right, as minus the margin.",
            True,
            lambda r: -r.once(margin),
            OURS,
        ),
        Measure(
            "inverse_squared_margin",
            "margin",
            "The same as 1/margin^2; infinite where a tenth of the examples is wrong.",
            True,
            lambda r: inverse_squared_margin(r.once(margin)),
            JIANG,
        ),
        Measure(
            "frobenius_over_margin",
            "margin",
            "The product of Frobenius norms in units of the margin it buys.",
            True,
            lambda r: over_margin(log_frobenius_product(r.once(_folded)), r.once(margin)),
            JIANG,
        ),
        Measure(
            "spectral_over_margin",
            "margin",
            "The product of spectral norms in units of the margin it buys.",
            True,
            lambda r: over_margin(log_spectral_product(r.once(_folded)), r.once(margin)),
            JIANG,
        ),
    )
}
