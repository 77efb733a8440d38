"""The closed forms against each other, against linear algebra that knows nothing of them, and against walks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wdlab.measures.equilibrium import adamw_equilibrium, random_walk, sgd_equilibrium

SEEDS = (10_000, 10_001)


def stationary(lr: float, decay: float, momentum: float, coupling: str) -> tuple[float, float]:
    """Norm and angle from the covariance of (w, buffer) in one coordinate, iterated to rest; G = 1."""
    shrink, into = (1 - lr * decay, 0.0) if coupling == "decoupled" else (1.0, decay)
    buffer = np.array([into, momentum])  # of (w, buffer) before the step
    step = np.array([[shrink, 0.0], [0.0, 0.0]]) + np.outer([-lr, 1.0], buffer)
    noise = np.array([-lr, 1.0])
    size = np.linalg.solve(np.eye(4) - np.kron(step, step), np.outer(noise, noise).ravel()).reshape(2, 2)
    return size[0, 0] ** 0.25, math.acos((step @ size)[0, 0] / size[0, 0])


@settings(max_examples=60, deadline=None)
@given(
    lr=st.floats(1e-3, 0.5), decay=st.floats(1e-2, 1.0), momentum=st.floats(0.0, 0.95),
    coupling=st.sampled_from(["l2", "decoupled"]),
)  # fmt: skip
def test_the_exact_forms_are_those_of_the_linear_recursion(
    lr: float, decay: float, momentum: float, coupling: str
) -> None:
    """Variance C/norm^2 in place of 1: norm^4 is the variance that unit noise would leave."""
    found = sgd_equilibrium(lr, decay, momentum, coupling)
    norm, angle = stationary(lr, decay, momentum, coupling)
    assert (found.norm, found.angle) == pytest.approx((norm, angle), rel=1e-5)


@pytest.mark.parametrize("beta1", [0.0, 0.5, 0.9])
def test_adamw_is_decoupled_sgd_with_a_gradient_of_its_own_size(beta1: float) -> None:
    lr, decay, weights = 0.02, 0.3, 200
    found, sgd = adamw_equilibrium(lr, decay, weights, beta1), sgd_equilibrium(lr, decay, beta1, "decoupled")
    assert found.angle == pytest.approx(sgd.angle)
    # Adam's buffer is (1 - beta1) times SGD's, its gradient has the norm sqrt(d) whatever the norm of w.
    assert found.norm == pytest.approx(sgd.norm**2 * (1 - beta1) * math.sqrt(weights))


@pytest.mark.parametrize("coupling", ["l2", "decoupled"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_first_order_is_the_limit_of_the_exact_form(coupling: str, momentum: float) -> None:
    exact, first = (sgd_equilibrium(1e-3, 1e-3, momentum, coupling, first_order=order) for order in (False, True))
    assert (exact.norm, exact.angle) == pytest.approx((first.norm, first.angle), rel=1e-4)
    far, rough = (sgd_equilibrium(0.5, 0.5, momentum, coupling, first_order=order) for order in (False, True))
    assert far.norm != pytest.approx(rough.norm, rel=1e-3)


def test_the_formulas_as_they_are_printed() -> None:
    found = sgd_equilibrium(0.1, 0.01, 0.9, relative_gradient=2.0, first_order=True)
    assert found.angle == pytest.approx(math.sqrt(2 * 0.001 / 1.9))
    assert found.norm == pytest.approx((0.1 * 4 / (2 * 0.01 * 0.1)) ** 0.25)
    decoupled = sgd_equilibrium(0.1, 0.01, 0.9, "decoupled", first_order=True)
    assert decoupled.angle == pytest.approx(math.sqrt(2 * 0.001 * 0.1 / 1.9))
    assert decoupled.norm == pytest.approx((0.1 / (2 * 0.01 * 0.01)) ** 0.25)
    adamw = adamw_equilibrium(0.01, 0.1, 200, first_order=True)
    assert adamw.norm == pytest.approx(math.sqrt(0.01 * 200 / 0.2))
    exact = adamw_equilibrium(0.01, 0.1, 200)
    a, beta = 1 - 0.001, 0.9
    assert math.sin(exact.angle) == pytest.approx(math.sqrt((1 - a * a) * (1 - beta**2)) / (1 + a * beta))


def test_an_l2_penalty_acts_as_decoupled_decay_that_is_stronger_by_what_momentum_adds_up() -> None:
    l2, decoupled = sgd_equilibrium(1e-4, 1e-2, 0.9), sgd_equilibrium(1e-4, 1e-1, 0.9, "decoupled")
    assert (l2.norm, l2.angle) == pytest.approx((decoupled.norm, decoupled.angle), rel=1e-3)


WALKS: list[tuple[str, str, float, float]] = [
    ("sgd", "l2", 0.1, 0.03), ("sgd", "decoupled", 0.1, 0.1), ("adam", "decoupled", 0.03, 0.3),
]  # fmt: skip


@pytest.mark.parametrize(("optimizer", "coupling", "lr", "decay"), WALKS)
def test_a_walk_settles_at_its_closed_form_wherever_it_starts(
    optimizer: str, coupling: str, lr: float, decay: float
) -> None:
    form = adamw_equilibrium(lr, decay, 200) if optimizer == "adam" else sgd_equilibrium(lr, decay, coupling=coupling)
    for start in (0.3, 3.0):
        walk = random_walk(SEEDS, [(lr, decay)], 2000, optimizer, coupling, start=start)
        assert walk.norm[0].tolist() == [[pytest.approx(start)]] * 2
        norm, angle = (value.mean().item() for value in walk.mean(1000))
        assert (norm, angle) == pytest.approx((form.norm, form.angle), rel=0.02)


def test_momentum_zero_has_a_closed_form_too() -> None:
    walk = random_walk(SEEDS, [(0.1, 0.1)], 2000, momentum=0.0)
    form = sgd_equilibrium(0.1, 0.1, 0.0)
    assert tuple(v.mean().item() for v in walk.mean(1000)) == pytest.approx((form.norm, form.angle), rel=0.02)


def test_larger_gradients_lengthen_sgds_weights_and_adamw_does_not_notice() -> None:
    def ends(relative: float, *kind: Any) -> tuple[float, float]:
        walk = random_walk(SEEDS, [kind[2:]], 2000, *kind[:2], relative_gradient=relative)
        return tuple(value.mean().item() for value in walk.mean(1000))  # type: ignore[return-value]

    small, large = (ends(g, "sgd", "l2", 0.1, 0.03) for g in (1.0, 4.0))
    assert large[0] / small[0] == pytest.approx(2, rel=0.01) and large[1] == pytest.approx(small[1], rel=0.01)
    small, large = (ends(g, "adam", "decoupled", 0.03, 0.3) for g in (1.0, 4.0))
    assert large == pytest.approx(small, rel=1e-6)
    small, large = (ends(g, "adam", "l2", 0.03, 0.3) for g in (1.0, 4.0))
    assert large[1] < 0.8 * small[1]


def test_without_decay_the_squared_norm_grows_by_the_squared_step() -> None:
    """Plain SGD, gradients at a right angle: Pythagoras, step by step."""
    walk = random_walk(SEEDS, [(0.1, 0.0)], 50, momentum=0.0)
    grown = walk.norm[1:].square() / walk.norm[:-1].square()
    torch.testing.assert_close(grown, 1 + walk.angle[:-1].tan().square())


def test_settings_and_seeds_do_not_disturb_each_other() -> None:
    both = random_walk(SEEDS, [(0.1, 0.01), (0.3, 0.02)], 120)
    alone = random_walk(SEEDS[1:], [(0.3, 0.02)], 120)
    torch.testing.assert_close(both.norm[:, 1, 1], alone.norm[:, 0, 0])
    assert both.norm.shape == both.angle.shape == (120, 2, 2)
    shorter = random_walk(SEEDS, [(0.1, 0.01), (0.3, 0.02)], 30)
    torch.testing.assert_close(both.angle[:30], shorter.angle)


def test_only_lr_times_lambda_counts_for_the_direction() -> None:
    """One seed, one product, weights in units of the fourth root of lr / lambda: one walk on the sphere."""
    walks = [random_walk(SEEDS, [(lr, 0.001 / lr)], 100, start=lr**0.5) for lr in (0.05, 0.2)]
    torch.testing.assert_close(walks[0].angle, walks[1].angle)
    torch.testing.assert_close(2 * walks[0].norm, walks[1].norm)


@pytest.mark.parametrize("coupling", ["first_moment", "second_moment", "own_buffers", "adaptive"])
def test_every_coupling_walks(coupling: str) -> None:
    walk = random_walk(SEEDS[:1], [(0.01, 0.1)], 60, "adam", coupling)
    plain = random_walk(SEEDS[:1], [(0.01, 0.0)], 60, "adam", coupling)
    assert walk.norm.isfinite().all() and not torch.equal(walk.norm, plain.norm)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: sgd_equilibrium(0.0, 0.1), "lr=0.0"),
        (lambda: sgd_equilibrium(0.1, 0.0), "weight_decay=0.0"),
        (lambda: sgd_equilibrium(2.0, 1.0), r"lr \* weight_decay=2.0"),
        (lambda: sgd_equilibrium(0.1, 0.1, 1.0), "momentum=1.0"),
        (lambda: sgd_equilibrium(0.1, 0.1, coupling="adaptive"), "coupling='adaptive'"),
        (lambda: sgd_equilibrium(0.1, 0.1, relative_gradient=0), "relative_gradient=0"),
        (lambda: adamw_equilibrium(0.1, 0.1, 0), "weights=0"),
        (lambda: adamw_equilibrium(0.1, 0.1, 10, beta1=-0.1), "beta1=-0.1"),
        (lambda: random_walk([0], [(0.1, 0.1)], 5, "adan"), "did you mean 'adam'"),
        (lambda: random_walk([0], [(0.1, 0.1)], 5, coupling="l3"), "did you mean 'l2'"),
        (lambda: random_walk([0], [(0.1, 0.1)], 0), "steps=0"),
        (lambda: random_walk([0], [(0.1, 0.1)], 5, weights=1), "weights=1"),
        (lambda: random_walk([0], [(0.1, 0.1)], 5, start=0.0), "start=0.0"),
        (lambda: random_walk([-1], [(0.1, 0.1)], 5), "seed=-1"),
        (lambda: random_walk([0], [(0.1, 0.1)], 5, relative_gradient=-1), "relative_gradient=-1"),
    ],
)
def test_what_is_not_allowed_is_named(call: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        call()
