"""Sharpness on losses whose curvature is known: quadratics to the digit, softmax regression, a network small enough.

The quadratic's Hessian is chosen, so every rise of its loss has a closed form. Its logits are made so that the
cross-entropy of label 0 is the quadratic itself.
"""

import math

import pytest
import torch
from torch import Tensor, nn

from wdlab.measures import Subject
from wdlab.measures.sharpness import (
    HIGHEST,
    LOWEST,
    ascent_sharpness,
    hessian_traces,
    measure,
    noise_sharpness,
    relative_trace,
    tolerated_noise,
)
from wdlab.models import MLP, MemberModel, cross_entropy
from wdlab.tasks import generator

MEMBERS, MATRIX, KERNEL = 2, (2, 3), (3, 2, 2)
COUNT = math.prod(MATRIX) + math.prod(KERNEL)


class Quadratic(MemberModel):
    """Loss 50 + b w + w A w / 2 over a matrix [in, out] and a kernel [out, in, k], with a bias that nothing reads."""

    def __init__(self, A: Tensor) -> None:
        super().__init__()
        self.members = len(A)
        draw = generator(0, "weights")
        self.weight_0 = nn.Parameter(torch.randn(self.members, *MATRIX, generator=draw, dtype=torch.float64))
        self.weight_1 = nn.Parameter(torch.randn(self.members, *KERNEL, generator=draw, dtype=torch.float64))
        self.bias_1 = nn.Parameter(torch.zeros(self.members, 3, dtype=torch.float64))
        self.register_buffer("A", A)
        self.register_buffer("b", torch.randn(self.members, COUNT, generator=draw, dtype=torch.float64))

    def weights(self) -> Tensor:
        return torch.cat([self.weight_0.flatten(1), self.weight_1.flatten(1)], 1)

    def value(self, w: Tensor) -> Tensor:
        return 50 + (self.b * w).sum(1) + (w * torch.einsum("mij,mj->mi", self.A, w)).sum(1) / 2

    def forward(self, inputs: Tensor) -> Tensor:
        value = self.value(self.weights())
        other = value + torch.log1p(-torch.exp(-value))  # log(1 + exp(other)) = value
        logits = torch.stack([torch.zeros_like(other), other], -1)
        return logits.unsqueeze(1).expand(-1, inputs.shape[1], -1)


def dense() -> Tensor:
    root = torch.randn(MEMBERS, COUNT, COUNT, generator=generator(0, "A"), dtype=torch.float64)
    return root @ root.mT / COUNT


def diagonal() -> Tensor:
    return torch.diag_embed(torch.rand(MEMBERS, COUNT, generator=generator(1, "A"), dtype=torch.float64) + 0.1)


def subject(model: MemberModel, **fields) -> Subject:
    return Subject(model, torch.zeros(3, 1, dtype=torch.float64), torch.zeros(3, dtype=torch.int64), **fields)


def noise() -> torch.Generator:
    return generator(0, "noise")


def assert_near(found: Tensor, expected: Tensor, rtol: float = 1e-9) -> None:
    torch.testing.assert_close(found, expected, rtol=rtol, atol=1e-11)


# Noise


def test_absolute_noise_on_a_quadratic_costs_half_its_variance_times_the_trace() -> None:
    """Standard deviation, not variance: and the slope b, which is not small, cancels between +z and -z."""
    A = dense()
    model = Quadratic(A)
    trace = A.diagonal(dim1=1, dim2=2).sum(1)
    for sigma in (0.3, 0.03):
        found = noise_sharpness(subject(model), noise(), sigma, pairs=1500)
        assert_near(found, sigma**2 * trace / 2, rtol=0.04)


def test_the_slope_cancels_in_a_single_pair() -> None:
    model = Quadratic(torch.zeros(MEMBERS, COUNT, COUNT, dtype=torch.float64))
    assert noise_sharpness(subject(model), noise(), 0.5, pairs=1).abs().max() < 1e-12


def test_layer_noise_has_the_length_of_the_layer() -> None:
    """With one curvature in each tensor only the noise's length counts, and every draw costs the same."""
    curvature = torch.tensor([2.0] * 6 + [0.5] * 12, dtype=torch.float64)
    model = Quadratic(torch.diag(curvature).expand(MEMBERS, -1, -1).clone())
    squares = [w.detach().flatten(1).square().sum(1) for w in (model.weight_0, model.weight_1)]
    found = noise_sharpness(subject(model), noise(), 0.3, "layer", pairs=1)
    assert_near(found, 0.3**2 * (2.0 * squares[0] + 0.5 * squares[1]) / 2)


def test_filter_noise_has_the_length_of_what_each_output_unit_reads() -> None:
    """One curvature for each column of the matrix [in, out] and for each first index of the kernel [out, in, k]."""
    by_column = torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64)
    by_channel = torch.tensor([0.5, 3.0, 7.0], dtype=torch.float64)
    curvature = torch.cat([by_column.repeat(2), by_channel.repeat_interleave(4)])
    model = Quadratic(torch.diag(curvature).expand(MEMBERS, -1, -1).clone())
    columns = (by_column * model.weight_0.detach().square().sum(1)).sum(1)
    channels = (by_channel * model.weight_1.detach().square().sum((2, 3))).sum(1)
    assert_near(noise_sharpness(subject(model), noise(), 0.3, "filter", pairs=1), 0.3**2 * (columns + channels) / 2)


def test_element_noise_is_in_proportion_to_each_weight() -> None:
    A = diagonal()
    model = Quadratic(A)
    expected = 0.3**2 * (A.diagonal(dim1=1, dim2=2) * model.weights().detach().square()).sum(1) / 2
    assert_near(noise_sharpness(subject(model), noise(), 0.3, "element", pairs=1500), expected, rtol=0.06)


def test_only_the_named_tensors_move() -> None:
    A = diagonal()
    A[:, :6, :6] = 0
    model = Quadratic(A)
    assert noise_sharpness(subject(model), noise(), 0.3, names=["weight_0"]).abs().max() < 1e-12
    assert noise_sharpness(subject(model), noise(), 0.3, names=["weight_1"]).min() > 1e-3
    assert list(hessian_traces(subject(model), noise(), names=["weight_1"])) == ["weight_1"]
    flat = ascent_sharpness(subject(model), 0.1, names=["weight_0"])
    assert_near(flat, 0.1 * model.b[:, :6].norm(dim=1))  # uphill on a slope


# A step uphill


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_step_uphill_on_a_quadratic(adaptive: bool) -> None:
    model = Quadratic(dense())
    w = model.weights().detach()
    g = model.b + torch.einsum("mij,mj->mi", model.A, w)
    t = w.abs() if adaptive else torch.ones_like(w)
    step = 0.7 * t**2 * g / (t * g).norm(dim=1, keepdim=True)
    expected = model.value(w + step) - model.value(w)
    assert_near(ascent_sharpness(subject(model), 0.7, adaptive), expected)


def test_where_there_is_no_slope_there_is_no_step() -> None:
    model = Quadratic(torch.zeros(MEMBERS, COUNT, COUNT, dtype=torch.float64))
    model.b[0] = 0
    rise = ascent_sharpness(subject(model), 0.1)
    assert rise[0] == 0 and rise[1].item() == pytest.approx(0.1 * model.b[1].norm().item())


# Curvature


def test_one_probe_is_enough_for_a_diagonal_hessian() -> None:
    A = diagonal()
    model = Quadratic(A)
    curvature = A.diagonal(dim1=1, dim2=2)
    traces = hessian_traces(subject(model), noise(), probes=1)
    assert list(traces) == ["weight_0", "weight_1"]
    assert_near(traces["weight_0"], curvature[:, :6].sum(1))
    assert_near(traces["weight_1"], curvature[:, 6:].sum(1))
    squares = [w.detach().flatten(1).square().sum(1) for w in (model.weight_0, model.weight_1)]
    expected = squares[0] * curvature[:, :6].sum(1) + squares[1] * curvature[:, 6:].sum(1)
    traces = hessian_traces(subject(model), noise(), probes=1)
    assert_near(relative_trace(subject(model), traces), expected)


def test_the_trace_of_a_dense_hessian_layer_by_layer() -> None:
    A = dense()
    traces = hessian_traces(subject(Quadratic(A)), noise(), probes=1500)
    assert_near(traces["weight_0"], A[:, :6, :6].diagonal(dim1=1, dim2=2).sum(1), rtol=0.05)
    assert_near(traces["weight_1"], A[:, 6:, 6:].diagonal(dim1=1, dim2=2).sum(1), rtol=0.05)


def test_the_trace_of_softmax_regression() -> None:
    """H is the mean of (diag p - p p) times x x, so its trace is the mean of |x|^2 (1 - |p|^2)."""
    model = MLP(MEMBERS, (4, 3)).double()
    model.initialize([generator(seed, "init") for seed in range(MEMBERS)])
    draw = generator(0, "data")
    inputs, labels = torch.randn(MEMBERS, 20, 4, generator=draw).double(), torch.randint(3, (MEMBERS, 20))
    p = model(inputs).detach().softmax(-1)
    expected = (inputs.square().sum(-1) * (1 - p.square().sum(-1))).mean(1)
    found = hessian_traces(Subject(model, inputs, labels), noise(), probes=1500)["weight_0"]
    assert_near(found, expected, rtol=0.03)


def test_the_trace_of_a_network_differentiates_the_batch_statistics_too() -> None:
    """Against the whole Hessian of each layer, one member at a time."""
    model = MLP(MEMBERS, (3, 3, 2)).double()
    model.initialize([generator(seed, "init") for seed in range(MEMBERS)])
    draw = generator(0, "data")
    inputs, labels = torch.randn(12, 3, generator=draw).double(), torch.randint(2, (12,), generator=draw)
    seen = Subject(model, inputs, labels)
    found = hessian_traces(seen, noise(), probes=1500)
    for member in range(MEMBERS):
        one = MLP(1, (3, 3, 2)).double()
        weights = {name: p.detach()[member : member + 1] for name, p in model.named_parameters()}
        for name in found:

            def loss(weight: Tensor, name=name, one=one, weights=weights) -> Tensor:
                logits = torch.func.functional_call(one, weights | {name: weight}, (inputs.unsqueeze(0),))
                return cross_entropy(logits, labels.unsqueeze(0)).sum()

            size = weights[name].numel()
            hessian = torch.autograd.functional.hessian(loss, weights[name]).reshape(size, size)
            assert found[name][member].item() == pytest.approx(hessian.trace().item(), rel=0.05)


# The noise a network tolerates


class Sign(MemberModel):
    """Right on every example while its one weight is above 0."""

    def __init__(self, weights: list[float]) -> None:
        super().__init__()
        self.members = len(weights)
        self.weight_0 = nn.Parameter(torch.tensor(weights, dtype=torch.float64).reshape(-1, 1, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([self.weight_0, -self.weight_0], -1).expand(-1, inputs.shape[1], -1)


@pytest.mark.parametrize("pairs", [1, 3])
def test_noise_is_tolerated_until_the_largest_draw_flips_the_sign(pairs: int) -> None:
    """The error goes from 0 to 1 / (2 pairs), above a tenth, at w / max |z|; in units of w, at 1 / max |z|."""
    model, draw = Sign([0.02, 0.5, 3.0]), noise()
    largest = max(abs(torch.randn(1, generator=draw).item()) for _ in range(pairs))
    found = tolerated_noise(subject(model), noise(), steps=30, pairs=pairs)
    assert_near(found, model.weight_0.detach().flatten() / largest, rtol=1e-6)
    relative = tolerated_noise(subject(model), noise(), "element", steps=30, pairs=pairs)
    assert_near(relative, torch.full_like(found, 1 / largest), rtol=1e-6)


class Ramp(MemberModel):
    """Right on an example while its one weight is above the number that the example is."""

    def __init__(self, weights: list[float]) -> None:
        super().__init__()
        self.members = len(weights)
        self.weight_0 = nn.Parameter(torch.tensor(weights, dtype=torch.float64).reshape(-1, 1, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([self.weight_0 - inputs, torch.zeros_like(inputs)], -1)


def test_a_few_trials_find_the_noise_where_the_error_rises_smoothly() -> None:
    """Of examples spread evenly over 0 to 1 a pair gets sigma |z| - (w - 1) wrong on one side, none on the other."""
    weights, z = torch.tensor([1.0, 1.05, 3.0], dtype=torch.float64), abs(torch.randn(1, generator=noise()).item())
    examples = torch.linspace(0, 1, 4001, dtype=torch.float64).unsqueeze(1)
    one = Subject(Ramp(weights.tolist()), examples, torch.zeros(len(examples), dtype=torch.int64))
    assert_near(tolerated_noise(one, noise(), pairs=1), (0.2 + weights - 1) / z, rtol=0.01)


def test_the_ends_of_the_search() -> None:
    """A weight so small that all noise flips it; one so large that none does; one that is wrong to begin with."""
    found = tolerated_noise(subject(Sign([1e-9, 1e9, -1.0])), noise(), steps=20)
    expected = torch.tensor([LOWEST, HIGHEST, HIGHEST], dtype=torch.float64)
    assert_near(found, expected, rtol=1e-4)
    more = tolerated_noise(subject(Sign([1.0])), noise(), rise=0.6, steps=20)  # half of the draws at most
    assert_near(more, expected[1:2], rtol=1e-4)


def test_a_network_that_is_not_finite_tolerates_nothing_that_can_be_named() -> None:
    found = tolerated_noise(subject(Sign([1.0, math.nan, 1.0])), noise())
    assert found[1].isnan() and found[[0, 2]].isfinite().all()


# Refusals


def test_wrong_arguments_are_named() -> None:
    one = subject(Quadratic(diagonal()))
    with pytest.raises(ValueError, match="noise='filters' is unknown; did you mean 'filter'"):
        noise_sharpness(one, noise(), 0.1, "filters")
    with pytest.raises(ValueError, match="noise='layers' is unknown; did you mean 'layer'"):
        tolerated_noise(one, noise(), "layers")
    with pytest.raises(ValueError, match="size=0 is not allowed"):
        noise_sharpness(one, noise(), 0)
    with pytest.raises(ValueError, match="pairs=0 is not allowed"):
        noise_sharpness(one, noise(), 0.1, pairs=0)
    with pytest.raises(ValueError, match="names='bias_1' is unknown"):
        noise_sharpness(one, noise(), 0.1, names=["bias_1"])
    with pytest.raises(ValueError, match="rho=-1 is not allowed"):
        ascent_sharpness(one, -1)
    with pytest.raises(ValueError, match="probes=0 is not allowed"):
        hessian_traces(one, noise(), probes=0)
    with pytest.raises(ValueError, match="rise=1 is not allowed"):
        tolerated_noise(one, noise(), rise=1)
    with pytest.raises(ValueError, match="steps=0 is not allowed"):
        tolerated_noise(one, noise(), steps=0)
    with pytest.raises(ValueError, match="names='sharpness' is unknown"):
        measure(one, ["sharpness"])
