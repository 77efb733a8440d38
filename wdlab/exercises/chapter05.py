"""Exercises of notebook 05: what sharpness forgets."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from wdlab.exercises.draws import between, distinct, tenths, whole
from wdlab.exercises.harness import Case, Exercise, Function, check
from wdlab.exercises.report import Report

Values = NDArray[np.float64]
FairPairs = Callable[[Values, float], NDArray[np.bool_]]


def check_factors(factors: object) -> Report:
    """Check `factors(c)`: what c times the weights that feed BatchNorm does to three measures of sharpness.

    These are the rise under a little absolute noise, the trace of the Hessian, and the rise under relative noise, all
    of those weights.
    """
    return check(FACTORS, factors)


def check_fold(fold: object) -> Report:
    """Check `fold(w, scale, shift, mean, var, eps)`: weight [in, out] and bias of the layer with BatchNorm in it."""
    return check(FOLD, fold)


def check_layer_noise(layer_noise: object) -> Report:
    """Check `layer_noise(weights, z, size)`: a list of noise tensors, each `size` times as long as its weights."""
    return check(LAYER_NOISE, layer_noise)


def check_kendall(kendall: object) -> Report:
    """Check `kendall(a, b)`: Kendall's tau between two NumPy arrays without ties."""
    return check(KENDALL, kendall)


def check_fair_tau(fair_tau: object) -> Report:
    """Check `fair_tau(measure, error, loss, tolerance)`: tau over the pairs whose losses differ by at most that."""
    return check(FAIR_TAU, fair_tau)


def _of(rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


# What the scale of the weights does to sharpness


def _powers(gaussian: float, trace: float, relative: float) -> Function:
    return lambda c: (c**gaussian, c**trace, c**relative)


FACTORS = Exercise(
    title="What c does to sharpness",
    returns=("gaussian", "trace", "relative"),
    reference=_powers(-2, -2, 0),
    cases=[{"c": c} for c in (2.0, 0.5, 10.0, 1.0)],
    drawn=lambda draw: {"c": between(draw, 0.3, 9.0, 1)},
    mistakes={
        "a rise under noise of one size is curvature times the square of that size: it falls as c^-2, not as c^-1": (
            _powers(-1, -2, 0)
        ),
        "the gradient falls as 1/c; the Hessian, one derivative more, as 1/c^2": _powers(-2, -1, 0),
        "one derivative gives 1/c, two give 1/c^2: the Hessian has two": _powers(-1, -1, 0),
        "turned around: longer weights feel the same noise less": _powers(2, 2, 0),
        "relative noise grows with the weights, so what it does to the function stays": _powers(-2, -2, -2),
        "relative noise is c times as large and the curvature 1/c^2 of what it was: the square of the one undoes the "
        "other": _powers(-2, -2, -1),
        "relative noise is c times as large, but on a landscape that is c times as wide": _powers(-2, -2, 1),
        "the square of c is in the curvature, too: this leaves it out": _powers(-2, -2, 2),
        "the function stays, but not how it answers to noise of one size or to second derivatives": _powers(0, 0, 0),
    },
)


# BatchNorm folded into the weight before it


def _folded(w: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, var: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    gain = scale / (var + eps).sqrt()
    return w * gain, shift - mean * gain


def _other_fold(gain: Function | None = None, bias: Function | None = None, rows: bool = False) -> Function:
    """The fold with another gain(scale, var, eps), another bias(shift, mean, gain, scale), or the gain by rows."""

    def wrong(w: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, var: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        own = gain(scale, var, eps) if gain else scale / (var + eps).sqrt()
        return w * (own.unsqueeze(1) if rows else own), bias(shift, mean, own, scale) if bias else shift - mean * own

    return wrong


def _layers() -> list[Case]:
    one = ([[2.0]], [3.0], [1.0], [0.5], [3.5])
    two = ([[1.0, 2.0], [3.0, -1.0]], [3.0, 1.0], [1.0, -1.0], [0.5, 2.0], [3.5, 0.5])
    names = ("w", "scale", "shift", "mean", "var")
    return [
        {key: torch.tensor(value, dtype=torch.float64) for key, value in zip(names, layer, strict=True)} | {"eps": 0.5}
        for layer in (one, two)
    ]


def _drawn_layer(draw: Generator) -> Case:
    """As many units in as out, or scaling the wrong ones would stop with an error and not be known as that."""
    units = whole(draw, 2, 3)
    norm = {key: tenths(draw, units) for key in ("scale", "shift", "mean", "var")}
    return {"w": tenths(draw, units, units), **norm, "var": norm["var"].abs(), "eps": between(draw, 0.01, 0.5)}


FOLD = Exercise(
    title="BatchNorm, folded in",
    returns=("weight", "bias"),
    reference=_folded,
    cases=_layers(),
    drawn=_drawn_layer,
    mistakes={
        "eps is forgotten: BatchNorm divides by sqrt(var + eps)": _other_fold(
            lambda scale, var, eps: scale / var.sqrt()
        ),
        "divided by the variance: BatchNorm divides by its square root": _other_fold(
            lambda scale, var, eps: scale / (var + eps)
        ),
        "eps is added after the root: it belongs to the variance": _other_fold(
            lambda scale, var, eps: scale / (var.sqrt() + eps)
        ),
        "multiplied by the standard deviation where BatchNorm divides by it": _other_fold(
            lambda scale, var, eps: scale * (var + eps).sqrt()
        ),
        "BatchNorm's own scale is forgotten": _other_fold(lambda scale, var, eps: (var + eps).rsqrt()),
        "the mean is forgotten: it is taken off, so the bias holds what it was worth": _other_fold(
            bias=lambda shift, mean, gain, scale: shift
        ),
        "the shift is forgotten": _other_fold(bias=lambda shift, mean, gain, scale: -mean * gain),
        "the mean is added: BatchNorm takes it off": _other_fold(
            bias=lambda shift, mean, gain, scale: shift + mean * gain
        ),
        "the mean is taken off as it is: it is divided and scaled as everything else is": _other_fold(
            bias=lambda shift, mean, gain, scale: shift - mean
        ),
        "the mean is not divided by the standard deviation": _other_fold(
            bias=lambda shift, mean, gain, scale: shift - mean * scale
        ),
        "the shift is scaled too: BatchNorm adds it last": _other_fold(
            bias=lambda shift, mean, gain, scale: (shift - mean) * gain
        ),
        "rows are multiplied: the weight is [in, out], and every output unit, a column, has its own gain": _other_fold(
            rows=True
        ),
    },
)


# Noise in proportion to the layer


def _length(tensor: Tensor) -> Tensor:
    return tensor.square().sum().sqrt()


def _each(noise: Function) -> Function:
    """A list of noise, tensor by tensor."""
    return lambda weights, z, size: [noise(w, one, size) for w, one in zip(weights, z, strict=True)]


def _together(weights: list[Tensor], z: list[Tensor], size: float) -> list[Tensor]:
    every, drawn = (_length(torch.cat([one.flatten() for one in tensors])) for tensors in (weights, z))
    return [size * one * every / drawn for one in z]


def _drawn_noise(draw: Generator) -> Case:
    shapes = ((2, 2), (3, 2))
    tensors = {key: [tenths(draw, *shape) for shape in shapes] for key in ("weights", "z")}
    return {**tensors, "size": between(draw, 0.05, 1.0)}


LAYER_NOISE = Exercise(
    title="Noise in proportion to the layer",
    returns=("first", "second"),
    reference=_each(lambda w, z, size: size * z * _length(w) / _length(z)),
    cases=[
        {
            "weights": [_of([[3.0, 4.0]]), _of([[2.0], [0.0]])],
            "z": [_of([[0.6, -0.8]]), _of([[1.2], [-1.6]])],
            "size": 0.5,
        }
    ],
    drawn=_drawn_noise,
    mistakes={
        "this is absolute noise: it does not know how long the weights are": _each(lambda w, z, size: size * z),
        "one length for all tensors together: each layer is to be moved in proportion to itself": _together,
        "not divided by the length of z: this noise is longer than `size` times the weights": _each(
            lambda w, z, size: size * z * _length(w)
        ),
        "z is divided by the length it has on average: right on average, but not for this z": _each(
            lambda w, z, size: size * z * _length(w) / w.numel() ** 0.5
        ),
        "this is elementwise noise, |w| times z: here only the layer's length counts": _each(
            lambda w, z, size: size * z * w.abs()
        ),
        "the lengths are squared: take the root of the sum of squares": _each(
            lambda w, z, size: size * z * w.square().sum() / z.square().sum()
        ),
        "this is filter noise: one length for each output unit, not one for the tensor": _each(
            lambda w, z, size: size * z * (w.square().sum(0) / z.square().sum(0)).sqrt()
        ),
        "the sum of absolute values in place of the length": _each(
            lambda w, z, size: size * z * w.abs().sum() / z.abs().sum()
        ),
        "`size` is forgotten: this noise is as long as the weights": _each(
            lambda w, z, size: z * _length(w) / _length(z)
        ),
        "turned around: divide by the length of z and multiply by that of the weights": _each(
            lambda w, z, size: size * z * _length(z) / _length(w)
        ),
        "the weights with noise on them: only the noise is asked for": _each(
            lambda w, z, size: w + size * z * _length(w) / _length(z)
        ),
        "noise along the weights themselves: that changes their length only": _each(lambda w, z, size: size * w),
    },
)


# Kendall's tau


def _agreement(a: Values, b: Values) -> Values:
    """1 for each pair of places in the same order in both arrays, -1 for one in opposite orders, [place, place]."""
    return np.asarray(np.sign(np.subtract.outer(a, a) * np.subtract.outer(b, b)))


def _tau(a: Values, b: Values) -> float:
    return float(np.mean([np.sign((a[i] - a[j]) * (b[i] - b[j])) for i, j in combinations(range(len(a)), 2)]))


def _pearson(a: Values, b: Values) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(a: Values) -> Values:
    return a.argsort().argsort().astype(float)


def _drawn_orders(draw: Generator) -> Case:
    count = whole(draw, 4, 7)
    return {"a": distinct(draw, count).numpy(), "b": distinct(draw, count).numpy()}


KENDALL = Exercise(
    title="Kendall's tau",
    returns=("tau",),
    reference=_tau,
    cases=[
        {"a": np.array(a), "b": np.array(b)}
        for a, b in (
            ([1.0, 2.0], [0.3, 0.1]),
            ([1.0, 2.0, 9.0], [0.3, 0.1, 0.2]),
            ([5.0, 1.0, 4.0, 2.0], [0.2, 0.1, 0.9, 0.3]),
            ([0.5, -1.0, 3.0, 2.0, 8.0, 2.5], [7.0, 1.0, 2.0, 30.0, 4.0, 0.0]),
        )
    ],
    drawn=_drawn_orders,
    mistakes={
        "this is Pearson's correlation, of the values: tau asks for nothing but their order": _pearson,
        "this is Spearman's correlation, of the ranks: tau counts pairs": lambda a, b: _pearson(_ranks(a), _ranks(b)),
        "the sign: a pair in the same order counts +1": lambda a, b: -_tau(a, b),
        "every pair is counted twice, as (i, j) and (j, i), but divided by the number of pairs": lambda a, b: (
            2 * _tau(a, b)
        ),
        "divided by n (n - 1): that is twice the number of pairs": lambda a, b: _tau(a, b) / 2,
        "divided by n^2: no place makes a pair with itself": lambda a, b: _agreement(a, b).mean(),
        "the sum is not divided by the number of pairs": lambda a, b: np.triu(_agreement(a, b)).sum(),
        "the share of pairs in the same order: take away the share in opposite orders": (
            lambda a, b: _tau(a, b) / 2 + 0.5
        ),
        "the share of pairs in opposite orders": lambda a, b: 0.5 - _tau(a, b) / 2,
        "only neighbours are compared: all pairs count": (lambda a, b: np.sign(np.diff(a) * np.diff(b)).mean()),
        "the products themselves are averaged: of each pair only the sign counts": (
            lambda a, b: np.mean([(a[i] - a[j]) * (b[i] - b[j]) for i, j in combinations(range(len(a)), 2)])
        ),
    },
)


# Fair pairs


def _near(loss: Values, tolerance: float) -> NDArray[np.bool_]:
    return np.asarray(np.abs(np.subtract.outer(loss, loss)) <= tolerance)


def _tau_where(fair: FairPairs = _near, of_all: bool = False) -> Function:
    """Tau over the pairs that are `fair`, divided by their number, or by that of all pairs."""

    def tau(measure: Values, error: Values, loss: Values, tolerance: float) -> float:
        pairs = np.triu_indices(len(loss), 1)
        chosen = fair(loss, tolerance)[pairs]
        agree = _agreement(measure, error)[pairs]
        return float(agree[chosen].sum() / (len(chosen) if of_all else chosen.sum()))

    return tau


def _networks_near(centre: Function) -> FairPairs:
    """Pairs of networks whose own losses are near a centre."""

    def fair(loss: Values, tolerance: float) -> NDArray[np.bool_]:
        near = np.abs(loss - centre(loss)) <= tolerance
        return np.asarray(np.logical_and.outer(near, near))

    return fair


def _groups() -> list[Case]:
    """Losses are whole sixteenths, so that a difference of exactly the tolerance is one in any arithmetic."""
    return [
        {
            "measure": np.array([1.0, 2.0, 3.0]),
            "error": np.array([0.1, 0.3, 0.2]),
            "loss": np.array([0.25, 0.5, 0.625]),
            "tolerance": 0.25,
        },
        {
            "measure": np.array([4.0, 1.0, 2.0, 3.0]),
            "error": np.array([0.1, 0.2, 0.4, 0.3]),
            "loss": np.array([0.75, 0.0, 0.5, 0.25]),
            "tolerance": 0.5,
        },
    ]


def _drawn_group(draw: Generator) -> Case:
    """The same losses in any order: whatever the tolerance is, some pairs are fair and some are not."""
    losses = torch.tensor([0, 1, 3, 5, 6, 7, 9, 11], dtype=torch.float64) / 16
    order = [torch.randperm(len(losses), generator=draw) for _ in range(3)]
    return {
        "measure": (order[0].to(torch.float64) + 1).numpy(),
        "error": ((order[1].to(torch.float64) + 1) / 16).numpy(),
        "loss": losses[order[2]].numpy(),
        "tolerance": whole(draw, 3, 5) / 16,
    }


FAIR_TAU = Exercise(
    title="Fair pairs",
    returns=("tau",),
    reference=_tau_where(),
    cases=_groups(),
    drawn=_drawn_group,
    mistakes={
        "all pairs are counted, whatever their losses": _tau_where(
            lambda loss, tolerance: np.ones((len(loss), len(loss)), dtype=bool)
        ),
        "the other pairs are counted: those whose losses differ by more": _tau_where(
            lambda loss, tolerance: ~_near(loss, tolerance)
        ),
        "divided by the number of all pairs: divide by that of the fair ones": _tau_where(of_all=True),
        "the difference has a sign: take its absolute value": _tau_where(
            lambda loss, tolerance: np.subtract.outer(loss, loss) <= tolerance
        ),
        "a difference of exactly the tolerance is fair, too": _tau_where(
            lambda loss, tolerance: np.abs(np.subtract.outer(loss, loss)) < tolerance
        ),
        "networks are chosen by their distance from the lowest loss: what is to be fair is a pair": _tau_where(
            _networks_near(np.min)
        ),
        "networks are chosen by their distance from the mean loss: what is to be fair is a pair": _tau_where(
            _networks_near(np.mean)
        ),
        "the sign: a pair in the same order counts +1": (
            lambda measure, error, loss, tolerance: -_tau_where()(measure, error, loss, tolerance)
        ),
        "the pairs' errors are compared with the tolerance: it is their training losses that must agree": (
            lambda measure, error, loss, tolerance: _tau_where()(measure, error, error, tolerance)
        ),
        "the measure is compared with the training loss: what it should predict is the test error": (
            lambda measure, error, loss, tolerance: _tau_where()(measure, loss, loss, tolerance)
        ),
    },
)

EXERCISES = (FACTORS, FOLD, LAYER_NOISE, KENDALL, FAIR_TAU)
