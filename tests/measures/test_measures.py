"""Norms against torch.linalg, and the effective learning rate against the angle by which a step turns the weights."""

import math

import pytest
import torch
from torch import Tensor

from wdlab.measures import effective_lr, squared_norm, weight_norm

MEMBERS = 3


def tensors() -> list[Tensor]:
    return [torch.randn(MEMBERS, 4, 5, dtype=torch.float64), torch.randn(MEMBERS, 2, 3, 3, dtype=torch.float64)]


def test_norms_are_those_of_all_entries_together() -> None:
    some = tensors()
    for member in range(MEMBERS):
        everything = torch.cat([tensor[member].flatten() for tensor in some])
        assert weight_norm(some)[member].item() == pytest.approx(torch.linalg.vector_norm(everything).item())
        assert squared_norm(some[0])[member].item() == pytest.approx((some[0][member] ** 2).sum().item())


def test_a_norm_is_measured_member_by_member() -> None:
    some = tensors()
    before = weight_norm(some)
    some[0][1] *= 5
    assert torch.equal(weight_norm(some)[[0, 2]], before[[0, 2]]) and weight_norm(some)[1] != before[1]


@pytest.mark.parametrize(("optimizer", "power"), [("sgd", -2), ("adam", -1)])
def test_rescaling_the_weights_rescales_the_effective_lr(optimizer: str, power: int) -> None:
    lr, some = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64), tensors()
    before = effective_lr(lr, some, optimizer)
    after = effective_lr(lr, [3 * tensor for tensor in some], optimizer)
    torch.testing.assert_close(after, before * 3.0**power)
    torch.testing.assert_close(effective_lr(2 * lr, some, optimizer), 2 * before)
    torch.testing.assert_close(weight_norm([3 * tensor for tensor in some]), 3 * weight_norm(some))


def test_it_is_the_mean_over_tensors() -> None:
    lr = torch.tensor([0.5])
    ones, twos = torch.ones(1, 4), torch.full((1, 4), 2.0)  # squared norms 4 and 16
    assert effective_lr(lr, [ones, twos]).item() == pytest.approx((0.5 / 4 + 0.5 / 16) / 2)
    assert effective_lr(lr, [ones, twos], "adam").item() == pytest.approx((0.5 / 2 + 0.5 / 4) / 2)


@pytest.mark.parametrize("c", [0.5, 4.0])
def test_two_nets_with_one_effective_lr_turn_by_one_angle(c: float) -> None:
    """A scale-free loss, weights c times as long and lr c^2 times as high: the direction moves as before."""

    def turned(w: Tensor, lr: float) -> float:
        w = w.clone().requires_grad_()
        (w / w.norm())[0, :3].sum().square().backward()  # any function of the direction alone
        return torch.nn.functional.cosine_similarity(w - lr * w.grad, w).item()

    w = torch.tensor([[0.3, -0.4, 1.2, 0.5]], dtype=torch.float64)
    rates = [effective_lr(torch.tensor([lr]), [scale * w]).item() for lr, scale in ((0.2, 1.0), (0.2 * c**2, c))]
    assert rates[0] == pytest.approx(rates[1])
    assert math.acos(turned(w, 0.2)) == pytest.approx(math.acos(turned(c * w, 0.2 * c**2)), rel=1e-6)
    assert math.acos(turned(w, 0.2)) > 0.01
