"""Angles and relative updates: known values, tiny angles, and what scaling does to them."""

from __future__ import annotations

import math

import pytest
import torch

from wdlab.measures import relative_gradient, relative_update, rotation


def plane(angle: float, length: float = 1.0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return length * torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=dtype)


@pytest.mark.parametrize("angle", [0.0, 1e-15, 1e-9, 1e-4, 0.5, math.pi / 2, 2.0, math.pi - 1e-6, math.pi])
def test_a_known_angle_whatever_the_lengths(angle: float) -> None:
    found = rotation(plane(0.0, 3.0), plane(angle, 0.2))
    assert found.item() == pytest.approx(angle, rel=1e-9, abs=1e-16)


def test_a_tiny_angle_in_float32_keeps_its_digits_where_arccos_loses_them() -> None:
    before, after = plane(0.0, dtype=torch.float32), plane(1e-4, dtype=torch.float32)
    assert rotation(before, after).item() == pytest.approx(1e-4, rel=1e-6)
    by_arccos = math.acos(min(1.0, float((before * after).sum())))
    assert by_arccos != pytest.approx(1e-4, rel=1e-2)


def test_members_are_measured_one_by_one() -> None:
    before, after = torch.eye(2).unsqueeze(1), torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]])
    assert rotation(before, after).tolist() == pytest.approx([0.0, math.pi / 2])
    assert relative_update(before, after).tolist() == pytest.approx([0.0, math.sqrt(2)])


def test_an_angle_knows_no_scale_and_no_order() -> None:
    a, b = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)).double().split(1)[:2]
    torch.testing.assert_close(rotation(a, b), rotation(7 * a, 0.1 * b))
    torch.testing.assert_close(rotation(a, b), rotation(b, a))
    assert rotation(a, torch.zeros_like(a)).isnan().all()


def test_a_short_step_across_is_its_angle() -> None:
    w, step = torch.tensor([[3.0, 4.0]]).double(), torch.tensor([[0.004, -0.003]]).double()
    assert relative_update(w, w + step).item() == pytest.approx(0.001)
    assert rotation(w, w + step).item() == pytest.approx(math.atan(0.001))


def test_a_relative_update_knows_no_scale() -> None:
    w, after = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).double()
    found = relative_update(w, after)
    assert (found > 0.5).all()
    for c in (0.01, 7.0):
        torch.testing.assert_close(relative_update(c * w, c * after), found, rtol=1e-12, atol=0)


def test_the_relative_gradient_is_the_gradient_at_norm_one() -> None:
    w, g = torch.tensor([[3.0, 4.0], [0.6, 0.8]]), torch.tensor([[0.8, -0.6], [8.0, -6.0]])
    assert relative_gradient(w, g).tolist() == pytest.approx([5.0, 10.0])
    torch.testing.assert_close(relative_gradient(4 * w, g / 4), relative_gradient(w, g))
