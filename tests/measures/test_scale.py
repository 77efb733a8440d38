"""A network whose hidden weights are multiplied: what must stay, what must move, and that nothing else is touched."""

from __future__ import annotations

import math

import pytest
import torch

from wdlab import Model
from wdlab.measures.scale import at_scale, hidden_weights, last_weights, stepped
from wdlab.models import MemberModel
from wdlab.tasks import TASKS, generator

TASK = TASKS["mnist1d"]
MEMBERS = 2


def network(norm: bool = True, kind: str = "mlp") -> MemberModel:
    net = TASK.build(Model(kind, width=8, norm=norm), MEMBERS)
    net.initialize([generator(seed, "init") for seed in range(10_000, 10_000 + MEMBERS)])
    net.double()
    inputs = examples(net, kind)[0]
    for _ in range(60):  # BatchNorm's memory: that of these examples
        net(inputs.expand(MEMBERS, *inputs.shape))
    return net


def examples(net: MemberModel, kind: str = "mlp") -> tuple[torch.Tensor, torch.Tensor]:
    arrays = TASK.arrays()
    return TASK.shape_inputs(arrays.inputs[:120].double(), Model(kind)), arrays.labels[:120]


@pytest.mark.parametrize("kind", ["mlp", "resnet"])
@pytest.mark.parametrize("c", [0.5, 5.0])
def test_with_batchnorm_loss_and_direction_stay_and_lengths_follow(c: float, kind: str) -> None:
    net = network(kind=kind)
    inputs, labels = examples(net, kind)
    before, after = (at_scale(net, inputs, labels, factor) for factor in (1.0, c))
    close = {"rtol": 1e-2, "atol": 0.0}  # BatchNorm's eps
    torch.testing.assert_close(after.loss, before.loss, **close)
    assert torch.equal(after.error, before.error)
    torch.testing.assert_close(after.norm, c * before.norm)
    torch.testing.assert_close(after.gradient_norm, before.gradient_norm / c, **close)
    torch.testing.assert_close(after.relative_gradient, before.relative_gradient, **close)
    torch.testing.assert_close(after.effective_lr, before.effective_lr / c**2)
    torch.testing.assert_close(after.angle.tan(), before.angle.tan() / c**2, rtol=1e-2, atol=0.0)
    assert torch.cosine_similarity(after.gradient, before.gradient).min() > 0.999


def test_under_adam_the_angle_falls_with_the_first_power() -> None:
    net = network()
    before, after = (at_scale(net, *examples(net), factor, 1e-4, "adam") for factor in (1.0, 4.0))
    torch.testing.assert_close(after.effective_lr, before.effective_lr / 4)
    torch.testing.assert_close(after.angle, before.angle / 4, rtol=5e-3, atol=0.0)


def test_without_batchnorm_loss_and_direction_move() -> None:
    net = network(norm=False)
    before, after = (at_scale(net, *examples(net), factor) for factor in (1.0, 4.0))
    assert (after.loss / before.loss - 1).abs().min() > 0.01
    assert (after.relative_gradient / before.relative_gradient).min() > 2
    assert torch.cosine_similarity(after.gradient, before.gradient).max() < 0.99
    torch.testing.assert_close(after.norm, 4 * before.norm)


def test_the_same_tensors_are_scaled_with_batchnorm_and_without() -> None:
    assert hidden_weights(network()) == hidden_weights(network(norm=False)) == ("weight_0", "weight_1", "weight_2")


@pytest.mark.parametrize(("kind", "last"), [("mlp", "weight_3"), ("resnet", "weight_head")])
def test_the_last_layer_alone_is_multiplied_when_asked_for(kind: str, last: str) -> None:
    net = network(kind=kind)
    inputs, labels = examples(net, kind)
    assert last_weights(net) == (last,)
    before, after = (at_scale(net, inputs, labels, factor, part="last") for factor in (1.0, 4.0))
    torch.testing.assert_close(before.norm, net.get_parameter(last).detach().flatten(1).norm(dim=1))
    torch.testing.assert_close(after.norm, 4 * before.norm)
    assert (after.loss / before.loss - 1).abs().min() > 0.01  # no normalization takes it back
    assert torch.equal(before.loss, at_scale(net, inputs, labels, 1.0).loss)


@pytest.mark.parametrize("norm", [True, False])
def test_the_network_itself_is_left_as_it_was(norm: bool) -> None:
    net = network(norm)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    at_scale(net, *examples(net), 3.0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert net.training


def test_the_gradient_is_at_a_right_angle_with_batchnorm_only() -> None:
    for norm, bound in ((True, 1e-3), (False, math.inf)):
        net = network(norm)
        w = torch.cat([net.get_parameter(name).detach().flatten(1) for name in hidden_weights(net)], 1)
        cosine = torch.cosine_similarity(at_scale(net, *examples(net), 1.0).gradient, w).abs().max()
        assert cosine < bound
        assert norm or cosine > 0.01


def test_one_step_is_that_of_torch() -> None:
    w, g = torch.randn(2, 3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for name, kind in (("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)):
        parameter = torch.nn.Parameter(w.clone())
        parameter.grad = g.clone()
        kind([parameter], lr=0.01).step()
        torch.testing.assert_close(stepped(w, g, 0.01, name), parameter.data, rtol=1e-6, atol=1e-8)


def test_what_is_not_allowed_is_named() -> None:
    net = network()
    for arguments, told in (
        ((0.0,), "factor=0.0"),
        ((1.0, 0.0), "lr=0.0"),
        ((1.0, 0.1, "sdg"), "did you mean 'sgd'"),
        ((1.0, 0.1, "sgd", "lst"), "did you mean 'last'"),
    ):
        with pytest.raises(ValueError, match=told):
            at_scale(net, *examples(net), *arguments)
