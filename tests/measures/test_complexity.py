"""Norms, paths and margins against small cases worked out another way, and BatchNorm folded without a trace."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wdlab.measures import Subject, fold, rescale_
from wdlab.measures.complexity import (
    Folded,
    distance_from_init,
    inverse_squared_margin,
    log_frobenius_product,
    log_spectral_product,
    margin,
    over_margin,
    path_norm,
    spectral_norm,
    stable_rank,
    weight_tensors,
)
from wdlab.models import MLP, MemberModel, ResNet
from wdlab.tasks import generator

MEMBERS, BATCH = 2, 6
NETS = {
    "norm": lambda: MLP(MEMBERS, (5, 4, 3, 3)),
    "bias": lambda: MLP(MEMBERS, (5, 4, 3, 3), norm=False),
    "1-D": lambda: ResNet(MEMBERS, 2, 3, 2, 3, spatial=1),
    "2-D": lambda: ResNet(MEMBERS, 2, 2, 2, 3, spatial=2, blocks=2),
}
every_net = pytest.mark.parametrize("kind", NETS)


def network(kind: str) -> MemberModel:
    """A network in float64 whose every parameter and statistic has been moved from where it starts."""
    model = NETS[kind]().double()
    model.initialize([generator(seed, "init") for seed in range(MEMBERS)])
    with torch.no_grad():
        for seed, tensor in enumerate([*model.parameters(), *model.buffers()]):
            tensor += torch.rand(tensor.shape, generator=generator(seed, "noise")) - (0.5 if seed % 3 == 0 else 0)
        for name, buffer in model.named_buffers():
            if name.startswith("var"):
                buffer.abs_().add_(0.3)
    return model.eval()


def batch(kind: str) -> tuple[Tensor, Tensor]:
    shape = {"1-D": (2, 7), "2-D": (2, 5, 6)}.get(kind, (5,))
    draw = generator(0, "batch")
    return torch.randn(BATCH, *shape, generator=draw, dtype=torch.float64), torch.randint(3, (BATCH,), generator=draw)


def answer(model: MemberModel, layers: dict[str, Folded], member: int, x: Tensor) -> Tensor:
    """What one member's folded layers make of inputs [example, ...]: no normalization anywhere."""

    def layer(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight, bias = layers[name].weight[member], layers[name].bias[member]
        if weight.ndim == 2:
            return x @ weight + bias
        convolve = F.conv1d if weight.ndim == 3 else F.conv2d
        return convolve(x, weight, bias, stride=stride, padding=weight.shape[-1] // 2)

    if isinstance(model, MLP):
        for hidden in range(model.hidden):
            x = layer(x, str(hidden)).relu()
        return layer(x, str(model.hidden))
    x = layer(x, "stem").relu()
    for name in dict.fromkeys(name.rsplit("_", 1)[0] for name in layers if name.startswith("stage")):
        stride = 2 if name.startswith("stage1") and name.endswith("block0") else 1
        short = layer(x, f"{name}_short", stride) if f"{name}_short" in layers else x
        x = (layer(layer(x, f"{name}_a", stride).relu(), f"{name}_b") + short).relu()
    return layer(x.flatten(2).mean(-1), "head")


# BatchNorm folded in


@every_net
def test_the_folded_network_is_the_network_in_evaluation_mode(kind: str) -> None:
    model, (inputs, _) = network(kind), batch(kind)
    layers = fold(model)
    assert {f"weight_{name}" for name in layers} == set(weight_tensors(model))
    logits = model(inputs.expand(MEMBERS, *inputs.shape))
    for member in range(MEMBERS):
        torch.testing.assert_close(answer(model, layers, member, inputs), logits[member], rtol=1e-10, atol=1e-11)


def test_a_layer_without_normalization_is_folded_as_it_is() -> None:
    model = network("bias")
    for name, layer in fold(model).items():
        assert torch.equal(layer.weight, model.get_parameter(f"weight_{name}"))
        assert torch.equal(layer.bias, model.get_parameter(f"bias_{name}"))


def test_weight_tensors_are_matrices_and_kernels() -> None:
    assert list(weight_tensors(network("norm"))) == ["weight_0", "weight_1", "weight_2"]
    assert all(name.startswith("weight") for name in weight_tensors(network("2-D")))
    assert list(weight_tensors(network("norm"), ["weight_1"])) == ["weight_1"]
    assert not any(weight.requires_grad for weight in weight_tensors(network("norm")).values())
    with pytest.raises(ValueError, match=r"names='scale_0' is unknown; did you mean"):
        weight_tensors(network("norm"), ["scale_0"])
    with pytest.raises(ValueError, match=r"names=\[\] is not allowed"):
        weight_tensors(network("norm"), [])


# Norms


def layers_of(*weights: Tensor) -> dict[str, Folded]:
    return {str(n): Folded(weight, torch.zeros(len(weight), 1)) for n, weight in enumerate(weights)}


def test_norms_of_diagonal_matrices() -> None:
    first = torch.diag_embed(torch.tensor([[3.0, -4.0, 0.0], [1.0, 1.0, 1.0]]))
    second = torch.diag_embed(torch.tensor([[2.0, 1.0], [5.0, 0.1]]))
    torch.testing.assert_close(spectral_norm(first), torch.tensor([4.0, 1.0]))
    layers = layers_of(first, second)
    torch.testing.assert_close(log_spectral_product(layers), torch.tensor([math.log(16 * 4), math.log(1 * 25)]))
    torch.testing.assert_close(log_frobenius_product(layers), torch.tensor([math.log(25 * 5), math.log(3 * 25.01)]))
    torch.testing.assert_close(stable_rank(layers), torch.tensor([25 / 16 + 5 / 4, 3 + 25.01 / 25]))


def test_a_kernel_is_the_matrix_of_output_channels_by_everything_else() -> None:
    kernel = torch.randn(2, 3, 4, 2, 5, generator=generator(0, "kernel"))
    expected = [torch.linalg.svdvals(own.reshape(3, 40)).max() for own in kernel]
    torch.testing.assert_close(spectral_norm(kernel), torch.stack(expected))


def test_a_member_that_is_not_finite_has_nan_and_leaves_the_others_alone() -> None:
    weight = torch.diag_embed(torch.tensor([[3.0, 1.0], [math.inf, 1.0], [math.nan, 1.0]]))
    torch.testing.assert_close(spectral_norm(weight), torch.tensor([3.0, math.nan, math.nan]), equal_nan=True)
    values = stable_rank(layers_of(weight))
    assert values[0].item() == pytest.approx(10 / 9) and values[1:].isnan().all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 99), st.floats(0.01, 100))
def test_a_stable_rank_is_at_most_the_rank_and_free_of_scale(rows: int, columns: int, seed: int, c: float) -> None:
    weight = torch.randn(1, rows, columns, generator=generator(seed, "weight"), dtype=torch.float64)
    rank = stable_rank(layers_of(weight)).item()
    assert 1 - 1e-9 <= rank <= min(rows, columns) + 1e-9
    assert stable_rank(layers_of(c * weight)).item() == pytest.approx(rank)
    grown = log_spectral_product(layers_of(c * weight)) - log_spectral_product(layers_of(weight))
    assert grown.item() == pytest.approx(2 * math.log(c))


def test_distance_from_init() -> None:
    model = network("1-D")
    initial = {name: weight.clone() for name, weight in weight_tensors(model).items()}
    assert torch.equal(distance_from_init(model, initial), torch.zeros(MEMBERS, dtype=torch.float64))
    with torch.no_grad():
        model.weight_head[0, 0, 0] += 3
        model.weight_stem[0, 0, 0, 1] -= 4
        model.bias_head += 7  # no weight matrix: not counted
    torch.testing.assert_close(distance_from_init(model, initial), torch.tensor([5.0, 0.0], dtype=torch.float64))
    with pytest.raises(ValueError, match=r"initial\['weight_stem'\] of shape None is not allowed; give \(2, 3, 2, 3\)"):
        distance_from_init(model, None)
    with pytest.raises(ValueError, match=r"initial\['weight_stem'\] of shape \(1, 3, 2, 3\) is not allowed"):
        distance_from_init(model, {name: weight[:1] for name, weight in initial.items()})


# Paths


def all_paths(weights: list[Tensor], biases: list[Tensor]) -> float:
    """The sum over every path of the product of squares, path by path; a bias begins a path in its layer."""
    total = 0.0
    for first in range(len(weights)):  # the layer in which a path leaves a bias, after those that leave an input
        units = [range(len(bias)) for bias in biases[first:]]
        for path in itertools.product(*units):
            through = math.prod(weights[first + k + 1][i, j] ** 2 for k, (i, j) in enumerate(itertools.pairwise(path)))
            total += through * biases[first][path[0]] ** 2
    for path in itertools.product(range(len(weights[0])), *(range(len(bias)) for bias in biases)):
        total += math.prod(weights[k][i, j] ** 2 for k, (i, j) in enumerate(itertools.pairwise(path)))
    return float(total)


@pytest.mark.parametrize("kind", ["bias", "norm"])
def test_the_path_norm_of_a_small_network_path_by_path(kind: str) -> None:
    model, (inputs, labels) = network(kind), batch(kind)
    found = path_norm(Subject(model, inputs, labels))
    for member in range(MEMBERS):
        layers = [fold(model)[str(layer)] for layer in range(3)]
        expected = all_paths([layer.weight[member] for layer in layers], [layer.bias[member] for layer in layers])
        assert found[member].item() == pytest.approx(math.sqrt(expected), rel=1e-9)


@every_net
def test_the_path_norm_is_what_squared_weights_answer_to_ones(kind: str) -> None:
    model, (inputs, labels) = network(kind), batch(kind)
    squared = {name: Folded(layer.weight**2, layer.bias**2) for name, layer in fold(model).items()}
    found = path_norm(Subject(model, inputs, labels))
    for member in range(MEMBERS):
        expected = answer(model, squared, member, torch.ones_like(inputs[:1])).sum().sqrt()
        assert found[member].item() == pytest.approx(expected.item(), rel=1e-8)


def test_a_path_norm_that_float32_cannot_hold_squared() -> None:
    """Weights of 1e7 in three layers: the sum is near 1e42, its root is not."""
    model = MLP(1, (1, 1, 1, 1), norm=False)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1e7 if name.startswith("weight") else 0)
    found = path_norm(Subject(model, torch.ones(2, 1), torch.zeros(2, dtype=torch.int64)))
    assert found.dtype == torch.float32 and found.item() == pytest.approx(1e21)


# Margins


def identity() -> MLP:
    """Two members whose logits are their inputs, times 1 and times -1."""
    model = MLP(2, (3, 3)).double()
    with torch.no_grad():
        model.weight_0.copy_(torch.stack([torch.eye(3), -torch.eye(3)]))
    return model


def test_the_margin_is_the_tenth_percentile() -> None:
    gaps = torch.arange(11.0, dtype=torch.float64)[torch.randperm(11, generator=generator(0, "order"))]
    inputs = torch.stack([torch.full_like(gaps, -50.0), gaps + 2, torch.full_like(gaps, 2.0)], 1)
    found = margin(Subject(identity(), inputs, torch.ones(11, dtype=torch.int64)))
    # The other member's best wrong logit is 50; right ones run from -2 to -12, the second least is -11.
    torch.testing.assert_close(found, torch.tensor([1.0, -61.0], dtype=torch.float64))


def test_a_margin_that_is_not_positive_bounds_nothing() -> None:
    margins = torch.tensor([2.0, 0.0, -1.0, math.nan])
    torch.testing.assert_close(
        inverse_squared_margin(margins), torch.tensor([0.25, math.inf, math.inf, math.nan]), equal_nan=True
    )
    found = over_margin(torch.tensor([1.0, 1.0, 1.0, 1.0]), margins)
    torch.testing.assert_close(found, torch.tensor([1 - 2 * math.log(2), math.inf, math.inf, math.nan]), equal_nan=True)


def test_the_margin_is_that_of_evaluation_mode() -> None:
    model, (inputs, labels) = network("norm"), batch("norm")
    at_rest = margin(Subject(model, inputs, labels))
    torch.testing.assert_close(margin(Subject(model.train(), inputs, labels)), at_rest)
    with torch.no_grad():
        model.mean_1 -= 5  # every unit is on
    assert (margin(Subject(model, inputs, labels)) - at_rest).abs().min() > 1e-3


# Rescaling


@pytest.mark.parametrize("kind", ["norm", "1-D", "2-D"])
@settings(max_examples=10, deadline=None)
@given(factors=st.lists(st.floats(0.5, 8), min_size=MEMBERS, max_size=MEMBERS))
def test_rescaling_leaves_the_network_what_it_is(kind: str, factors: list[float]) -> None:
    """Up to BatchNorm's eps: 1e-5 beside variances above 0.01."""
    model, (inputs, _) = network(kind), batch(kind)
    inputs = inputs.expand(MEMBERS, *inputs.shape)
    for _ in range(100):
        model.train()(inputs)
    before, weights = model.eval()(inputs), {name: w.clone() for name, w in weight_tensors(model).items()}
    rescale_(model, torch.tensor(factors))
    torch.testing.assert_close(model(inputs), before, rtol=0.02, atol=0.02)
    for name, weight in weight_tensors(model).items():
        for member, factor in enumerate(factors):
            c = factor if name in model.scale_invariant else 1.0
            torch.testing.assert_close(weight[member], c * weights[name][member], rtol=1e-6, atol=0)


def test_rescaling_takes_one_number_for_all_and_refuses_what_is_not_positive() -> None:
    one, many = network("1-D"), network("1-D")
    rescale_(one, 3)
    rescale_(many, torch.full((MEMBERS,), 3.0))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), many.state_dict().values(), strict=True))
    assert torch.equal(one.weight_stem, 3 * network("1-D").weight_stem)
    for wrong in (0, -1.0, math.nan, torch.tensor([1.0, -2.0])):
        with pytest.raises(ValueError, match=r"factor=.* is not allowed; give a finite number greater than 0"):
            rescale_(one, wrong)
    with pytest.raises(ValueError, match=r"factor of shape \(3,\) is not allowed; give a number or \[2\]"):
        rescale_(one, torch.ones(3))


# What is measured


@pytest.mark.parametrize(
    ("inputs", "labels", "match"),
    [
        ((6, 5), (5,), r"inputs of shape \(6, 5\) are not allowed; begin as labels: \(5,\)"),
        ((1, 5), (1,), r"labels of shape \(1,\) are not allowed"),
        ((3, 6, 5), (3, 6), r"labels of shape \(3, 6\) are not allowed; give \[example\] or \[2, example\]"),
        ((6, 5), (6, 1, 1), r"labels of shape \(6, 1, 1\) are not allowed"),
    ],
)
def test_a_subject_refuses_shapes_that_do_not_fit(inputs: tuple, labels: tuple, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Subject(network("norm"), torch.zeros(inputs), torch.zeros(labels, dtype=torch.int64))
    with pytest.raises(ValueError, match="together=0 is not allowed"):
        Subject(network("norm"), *batch("norm"), together=0)
