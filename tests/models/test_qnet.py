"""Q-networks: the gradient by hand against autograd, convolutions against torch's, the Huber loss."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from wdlab.models import QMLP, MemberModel, QConv, flatten
from wdlab.models.qnet import Convolution, huber, minatar, nature, q_loss
from wdlab.tasks import generator


def drawn(model: MemberModel) -> MemberModel:
    model.double()
    model.initialize([generator(seed, "init") for seed in range(model.members)])
    return model


def asked(*shape: int, actions: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    draw = generator(0, "asked")
    states = torch.randn(*shape, generator=draw, dtype=torch.float64)
    action = torch.randint(actions, shape[:2], generator=draw).double()
    return states, torch.stack([action, 3 * torch.randn(*shape[:2], generator=draw, dtype=torch.float64)], -1)


def test_huber_is_torchs() -> None:
    error = torch.linspace(-4, 4, 41)
    torch.testing.assert_close(huber(error), F.huber_loss(error, torch.zeros(41), reduction="none"))


def test_the_gradient_by_hand_is_autograds() -> None:
    net = drawn(QMLP(3, (4, 8, 8, 3)))
    states, answers = asked(3, 20, 4)
    expected = torch.autograd.grad(net.loss(states, answers).sum(), list(net.parameters()))
    flatten(net, [name for name, _ in net.named_parameters()])
    loss = net.loss_and_gradient(states, answers)
    torch.testing.assert_close(loss, net.loss(states, answers).detach())
    for parameter, gradient in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_only_the_action_taken_is_learned() -> None:
    values = torch.tensor([[[1.0, 5.0], [2.0, 7.0]]], requires_grad=True)
    loss = q_loss(values, torch.tensor([[[0.0, 1.5], [1.0, 3.0]]]))
    assert loss.item() == pytest.approx((0.5 * 0.25 + 3.5) / 2)
    (slope,) = torch.autograd.grad(loss.sum(), [values])
    assert slope[0].tolist() == [[-0.25, 0.0], [0.0, 0.5]]


@pytest.mark.parametrize(
    ("seen", "layers"), [((4, 10, 10), minatar(5)), ((2, 84, 84), nature(2)), ((1, 9, 7), (Convolution(3, 4, 2),))]
)
def test_convolutions_are_torchs(seen: tuple[int, ...], layers: tuple[Convolution, ...]) -> None:
    net = drawn(QConv(2, seen, layers, 3))
    states, _ = asked(2, 4, *seen)
    for member in range(2):
        x = states[member]
        for number, layer in enumerate(layers):
            kernel = net.get_parameter(f"weight_conv_{number}")[member].mT.unflatten(
                1, (x.shape[1], layer.size, layer.size)
            )
            x = F.conv2d(x, kernel, net.get_parameter(f"bias_conv_{number}")[member], stride=layer.stride).relu()
        for name in ("hidden", "head"):
            weight, bias = (net.get_parameter(f"{kind}_{name}")[member] for kind in ("weight", "bias"))
            x = x.flatten(1) @ weight + bias
            x = x.relu() if name == "hidden" else x
        torch.testing.assert_close(net(states)[member], x)


def test_nets_have_the_sizes_of_their_papers() -> None:
    sizes = {name: tuple(p.shape[1:]) for name, p in QConv(1, (4, 84, 84), nature(32), 4).named_parameters()}
    assert sizes["weight_hidden"] == (64 * 7 * 7, 512) and sizes["weight_conv_0"] == (4 * 8 * 8, 32)
    assert QConv(1, (4, 10, 10), minatar(16), 3).get_parameter("weight_hidden").shape == (1, 16 * 8 * 8, 128)


def test_an_input_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match=r"seen=\(4, 10, 10\)"):
        QConv(1, (4, 10, 10), nature(32), 3)
