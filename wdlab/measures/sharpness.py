"""How much worse a network gets when its weights are moved: by noise, by a step uphill, and to second order.

Two things are decided here for all measures. **What is moved**: weight matrices and kernels; biases and BatchNorm's
scale and shift stay. **What normalizes**: the statistics of all the examples together, taken anew for every moved
network, as in training mode. With running statistics held fixed a weight that feeds BatchNorm would not be free of
scale, and no measure could be invariant; this way L(c w) = L(w) holds there, up to BatchNorm's eps. All of it happens
to copies: the model, its running statistics, its gradients and its mode stay as they were.

The noise is drawn once and is the same for all members. `MEASURES` is the registry of both rooms, `measure` reads it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wdlab.checks import known, number, whole
from wdlab.measures.complexity import COMPLEXITY, JIANG, OURS, Measure, Reading, Subject, weight_tensors
from wdlab.measures.norms import squared_norm, weight_norm
from wdlab.models import cross_entropy

if TYPE_CHECKING:
    from jaxtyping import Float

SIGMA = 0.01  # the registry's absolute noise, per weight
RHO = 0.2  # the registry's relative noise, in units of the weights it is added to
SAM_RHO, ASAM_RHO = 0.05, 0.5  # what SamsungLabs/ASAM sets for CIFAR-10
LOWEST, HIGHEST = 1e-5, 10.0  # between these the tolerated noise is looked for
LINES = 2  # how many of the last sizes tried lie where a straight line through those around them crosses
KWON = "Kwon et al. 2021 (ASAM)"

Noise = Callable[[Tensor, Tensor], Tensor]


def _absolute(w: Tensor, z: Tensor) -> Tensor:
    return z.expand_as(w)


def _layer(w: Tensor, z: Tensor) -> Tensor:
    dims = tuple(range(1, w.ndim))
    return z * (_length(w, dims) / _length(z, dims))


def _filter(w: Tensor, z: Tensor) -> Tensor:
    dims = (1,) if w.ndim == 3 else tuple(range(2, w.ndim))  # what one output unit reads
    return z * (_length(w, dims) / _length(z, dims))


def _element(w: Tensor, z: Tensor) -> Tensor:
    return z * w.abs()


def _length(tensor: Tensor, dims: tuple[int, ...]) -> Tensor:
    return tensor.square().sum(dims, keepdim=True).sqrt()


NOISES: dict[str, Noise] = {"absolute": _absolute, "layer": _layer, "filter": _filter, "element": _element}
"""Standard normal z made into noise of size 1 for weights w.

"absolute" is z; "layer" z ||w|| / ||z|| by tensor; "filter" the same by output unit (a column of a matrix [in, out],
the kernel of one output channel); "element" z |w|. All but the first are relative: they scale as w does.
"""


@torch.no_grad()
def noise_sharpness(
    subject: Subject,
    generator: torch.Generator,
    size: float,
    noise: str = "absolute",
    pairs: int = 5,
    names: Sequence[str] | None = None,
) -> Float[Tensor, " member"]:
    """Return the rise of the loss under random noise, E_z[L(w + size n(w, z))] - L(w), in nats.

    n is one of NOISES: absolute noise has standard deviation `size` for each weight, "element" noise size |w_i|;
    "layer" and "filter" noise has length size ||w_l|| in each tensor or output unit. The mean is over `pairs` draws
    +z and -z, so that what is linear in z cancels. `names` are the tensors that are moved, by default all matrices
    and kernels. Near a minimum absolute noise gives size^2 tr(H) / 2.

    Raises ValueError for an unknown noise or name, a size not above 0, or less than one pair.
    """
    known("noise", noise, NOISES)
    number("size", size, 0, above=True)
    drawn = _normal(subject, generator, pairs, names)
    return torch.cat([_mean(_loss, part, drawn, noise, size) - _loss(part) for part in subject.parts()])


def ascent_sharpness(
    subject: Subject, rho: float, adaptive: bool = False, names: Sequence[str] | None = None
) -> Float[Tensor, " member"]:
    """Return the rise of the loss, in nats, after one step uphill of the given size: L(w + e) - L(w).

    e = rho T^2 g / ||T g||, with g the gradient over all moved tensors; T is 1, as in SAM, or |w| elementwise where
    `adaptive`, as in ASAM (Kwon et al. 2021). It stands for the worst case within rho, as far as one step finds it.
    Raises ValueError for an unknown name or a rho not above 0.
    """
    number("rho", rho, 0, above=True)
    chosen = tuple(weight_tensors(subject.model, names))
    return torch.cat([_rise_uphill(part, rho, adaptive, chosen) for part in subject.parts()])


def hessian_traces(
    subject: Subject, generator: torch.Generator, probes: int = 10, names: Sequence[str] | None = None
) -> dict[str, Float[Tensor, " member"]]:
    """Return tr(H_ll), the trace of the loss's second derivatives, of each matrix and kernel by name.

    Hutchinson's estimate: the mean of v_l (H v)_l over `probes` vectors v of random signs, with H v by differentiating
    the gradient; nats per squared unit of weight. Their sum is tr(H). The estimate is exact for a diagonal H. The
    kinks of ReLU have no second derivative and are not in it; noise that carries units over them feels them as well.

    Raises ValueError for an unknown name or less than one probe.
    """
    whole("probes", probes, 1)
    chosen = weight_tensors(subject.model, names)
    signs = [{n: _signs(w, generator) for n, w in chosen.items()} for _ in range(probes)]
    parts = [_traces(part, signs) for part in subject.parts()]
    return {name: torch.cat([part[name] for part in parts]) for name in chosen}


def relative_trace(subject: Subject, traces: Mapping[str, Float[Tensor, " member"]]) -> Float[Tensor, " member"]:
    """Return sum over layers of ||W_l||_F^2 tr(H_ll), in nats, which does not see the scale of a scale-free layer.

    Where L(c W_l) = L(W_l) the Hessian falls as 1/c^2, and the product stays. `traces` are those of `hessian_traces`.
    """
    weights = weight_tensors(subject.model)
    return torch.stack([squared_norm(weight) * traces[name] for name, weight in weights.items()]).sum(0)


@torch.no_grad()
def training_loss(subject: Subject) -> Float[Tensor, " member"]:
    """Return the mean loss over the subject's examples, in nats: where every rise of the loss starts from."""
    return torch.cat([_loss(part) for part in subject.parts()])


def tolerated_noise(
    subject: Subject,
    generator: torch.Generator,
    noise: str = "absolute",
    rise: float = 0.1,
    steps: int = 7,
    pairs: int = 3,
    names: Sequence[str] | None = None,
) -> Float[Tensor, " member"]:
    """Return sigma, the size of noise at which the mean error on the examples has risen by `rise` (share of examples).

    Noise of size sigma is that of `noise_sharpness`: its standard deviation is sigma for each weight, or sigma |w_i|
    with noise "element", the magnitude-aware kind, here without a floor. Found in `steps` trials between 1e-5 and 10,
    all members at once, under the same draws +z and -z at every size: by halving on a log scale, the last two and the
    result where a straight line crosses. A member whose
    error rises by more at every size tried ends near 1e-5, one whose error never does (as when it is wrong nearly
    always) near 10; a loss that is not finite gives nan. Where the error crosses several times, one crossing is found.

    Raises ValueError for an unknown noise or name, a rise outside (0, 1), or less than one step or pair.
    """
    known("noise", noise, NOISES)
    number("rise", rise, 0, 1, above=True, below=True)
    whole("steps", steps, 1)
    drawn = _normal(subject, generator, pairs, names)
    return torch.cat([_tolerated(part, drawn, noise, rise, steps) for part in subject.parts()])


def measure(subject: Subject, names: Sequence[str] | None = None) -> dict[str, Float[Tensor, " member"]]:
    """Return the measures called `names`, by default all of MEASURES, of every member of the subject.

    Raises ValueError for an unknown name, and what the measure itself raises.
    """
    chosen = list(MEASURES) if names is None else [known("names", name, MEASURES) for name in names]
    reading = Reading(subject)
    return {name: MEASURES[name].function(reading) for name in chosen}


def _normal(
    subject: Subject, generator: torch.Generator, pairs: int, names: Sequence[str] | None
) -> list[dict[str, Tensor]]:
    """Draw z for every tensor that is moved, [1, ...]: one for all members, so that they differ by weights alone."""
    whole("pairs", pairs, 1)
    chosen = weight_tensors(subject.model, names)
    # In float32 on the CPU whatever the model's type and device, so that all agree on the numbers.
    return [
        {n: torch.randn((1, *w.shape[1:]), generator=generator, dtype=torch.float32).to(w) for n, w in chosen.items()}
        for _ in range(pairs)
    ]


def _signs(w: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randint(2, (1, *w.shape[1:]), generator=generator).mul_(2).sub_(1).to(w)


def _loss(part: Subject) -> Float[Tensor, " member"]:
    """Return each member's loss over all examples, normalized by the statistics of those examples."""
    inputs, labels = part.examples()
    return cross_entropy(part.model.train()(inputs), labels)


def _error(part: Subject) -> Float[Tensor, " member"]:
    inputs, labels = part.examples()
    logits: Tensor = part.model.train()(inputs)
    return (logits.argmax(-1) != labels).to(logits.dtype).mean(-1)


@torch.no_grad()
def _mean(
    value: Callable[[Subject], Tensor],
    part: Subject,
    drawn: Sequence[Mapping[str, Tensor]],
    noise: str,
    size: float | Float[Tensor, " member"],
) -> Float[Tensor, " member"]:
    """Return the mean of `value` over the part's networks moved by +noise and -noise; the weights come back after."""
    at = {name: weight.clone() for name, weight in weight_tensors(part.model, list(drawn[0])).items()}
    found = []
    for z in drawn:
        move = {name: _times(NOISES[noise](weight, z[name]), size) for name, weight in at.items()}
        for sign in (1, -1):
            for name, weight in at.items():
                torch.add(weight, move[name], alpha=sign, out=part.model.get_parameter(name).data)
            found.append(value(part))
    for name, weight in at.items():
        part.model.get_parameter(name).copy_(weight)
    return torch.stack(found).mean(0)


def _times(tensor: Tensor, size: float | Tensor) -> Tensor:
    return tensor * (size.reshape(-1, *[1] * (tensor.ndim - 1)) if isinstance(size, Tensor) else size)


def _rise_uphill(part: Subject, rho: float, adaptive: bool, names: Sequence[str]) -> Tensor:
    weights = [part.model.get_parameter(name) for name in names]
    loss = _loss(part)
    gradients = torch.autograd.grad(loss.sum(), weights)
    with torch.no_grad():
        scales = [w.abs() if adaptive else torch.ones_like(w) for w in weights]
        length = weight_norm([t * g for t, g in zip(scales, gradients, strict=True)])
        step = rho / length.clamp(min=torch.finfo(length.dtype).tiny)  # where the gradient is 0 there is no uphill
        for w, t, g in zip(weights, scales, gradients, strict=True):
            w.add_(_times(t.square() * g, step))
        return _loss(part) - loss


def _traces(part: Subject, signs: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    weights = {name: part.model.get_parameter(name) for name in signs[0]}
    gradients = torch.autograd.grad(_loss(part).sum(), list(weights.values()), create_graph=True)
    total = {name: w.new_zeros(len(w)) for name, w in weights.items()}
    for v in signs:
        vectors = [v[name].expand_as(w) for name, w in weights.items()]
        products = torch.autograd.grad(gradients, list(weights.values()), vectors, retain_graph=True)
        for (name, sum_), vector, product in zip(total.items(), vectors, products, strict=True):
            total[name] = sum_ + (vector * product).flatten(1).sum(1)
    return {name: (found / len(signs)).detach() for name, found in total.items()}


@torch.no_grad()
def _tolerated(part: Subject, drawn: Sequence[Mapping[str, Tensor]], noise: str, rise: float, steps: int) -> Tensor:
    loss, error = _loss(part), _error(part)
    low, high = torch.full_like(loss, math.log(LOWEST)), torch.full_like(loss, math.log(HIGHEST))
    under, over = torch.zeros_like(loss), torch.ones_like(loss)  # the rise at both; where untried, none and all
    found = (low + high) / 2
    for step in range(1, steps + 1):
        risen = _mean(_error, part, drawn, noise, found.exp()) - error
        broken = risen > rise
        low, under = torch.where(broken, low, found), torch.where(broken, under, risen)
        high, over = torch.where(broken, found, high), torch.where(broken, risen, over)
        share = (rise - under) / (over - under) if step >= steps - LINES else 0.5
        found = low + (high - low) * share
    # The error of a network that is not finite does not rise either, which must not look like flatness.
    return torch.where(loss.isfinite(), found.exp(), math.nan)


def _all_traces(subject: Subject) -> dict[str, Tensor]:
    return hessian_traces(subject, subject.generator())


SHARPNESS: dict[str, Measure] = {
    row.name: row
    for row in (
        Measure(
            "training_loss",
            "loss",
            "How well the examples themselves are fitted.",
            True,
            lambda r: r.once(training_loss),
            OURS,
        ),
        Measure(
            "gaussian_sharpness",
            "absolute",
            "How much the loss rises when every weight gets noise of one and the same size.",
            False,
            lambda r: noise_sharpness(r.subject, r.subject.generator(), SIGMA),
            OURS,
        ),
        Measure(
            "layer_sharpness",
            "relative",
            "How much the loss rises when every layer gets noise in proportion to its norm.",
            True,
            lambda r: noise_sharpness(r.subject, r.subject.generator(), RHO, "layer"),
            OURS,
        ),
        Measure(
            "filter_sharpness",
            "relative",
            "How much the loss rises when every output unit gets noise in proportion to its norm.",
            True,
            lambda r: noise_sharpness(r.subject, r.subject.generator(), RHO, "filter"),
            OURS,
        ),
        Measure(
            "element_sharpness",
            "relative",
            "How much the loss rises when every weight gets noise in proportion to itself.",
            True,
            lambda r: noise_sharpness(r.subject, r.subject.generator(), RHO, "element"),
            OURS,
        ),
        Measure(
            "sam_sharpness",
            "absolute",
            "How much the loss rises after a step uphill of one and the same length.",
            False,
            lambda r: ascent_sharpness(r.subject, SAM_RHO),
            KWON + ", there as the case T = 1",
        ),
        Measure(
            "asam_sharpness",
            "relative",
            "How much the loss rises after a step uphill in which every weight moves in proportion to itself.",
            True,
            lambda r: ascent_sharpness(r.subject, ASAM_RHO, adaptive=True),
            KWON,
        ),
        Measure(
            "hessian_trace",
            "absolute",
            "How curved the loss is, summed over all weights.",
            False,
            lambda r: torch.stack(list(r.once(_all_traces).values())).sum(0),
            OURS,
        ),
        Measure(
            "relative_hessian_trace",
            "relative",
            "How curved the loss is along each layer, in units of the layer's norm.",
            True,
            lambda r: relative_trace(r.subject, r.once(_all_traces)),
            OURS,
        ),
        Measure(
            "pac_bayes",
            "absolute",
            "How little noise of one size raises the training error by a tenth, as 1/sigma^2.",
            False,
            lambda r: tolerated_noise(r.subject, r.subject.generator()).pow(-2),
            JIANG,
        ),
        Measure(
            "magnitude_pac_bayes",
            "relative",
            "How little noise in proportion to each weight raises the training error by a tenth, as 1/sigma^2.",
            True,
            lambda r: tolerated_noise(r.subject, r.subject.generator(), "element").pow(-2),
            JIANG + "; here without a floor, and found by a search of our own",
        ),
    )
}

MEASURES: dict[str, Measure] = COMPLEXITY | SHARPNESS
"""Every measure of a trained network, by name; of each, more is held to mean worse generalization."""
