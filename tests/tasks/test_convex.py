"""Convex problems against closed forms, torch.optim and autograd; the measurements of chapter 01 and their controls."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from wdlab import Decay, Schedule, Timing
from wdlab.tasks import convex
from wdlab.tasks.convex import Quadratic, Regression, adamw_rest, descend, quadratics, regressions, rest

SEEDS = range(40, 46)


def problem() -> Quadratic:
    curvature = torch.tensor([[0.8, 0.3], [0.3, 0.5]], dtype=torch.float64)
    return Quadratic(curvature, curvature @ torch.tensor([2.0, 1.0], dtype=torch.float64))


def norm(vectors: Tensor) -> Tensor:
    return vectors.square().sum(-1).sqrt()


# --- problems -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [1.0, 10.0, 1000.0])
def test_curvatures_have_the_chosen_condition_number(condition: float) -> None:
    for curvature in (
        quadratics(SEEDS, condition=condition).curvature,
        regressions(SEEDS, condition=condition).problem.curvature,
    ):
        found = torch.linalg.eigvalsh(curvature)
        assert torch.allclose(found[:, -1], torch.ones(len(SEEDS), dtype=torch.float64))
        assert torch.allclose(found[:, 0], torch.full((len(SEEDS),), 1 / condition, dtype=torch.float64))


def test_a_problem_does_not_depend_on_its_neighbours() -> None:
    alone, among = quadratics([42]), quadratics(SEEDS)
    assert torch.allclose(alone.curvature[0], among.curvature[2], atol=1e-14)
    assert torch.equal(regressions([42]).inputs[0], regressions(SEEDS).inputs[2])
    assert not torch.allclose(among.pull[0], among.pull[1])


def test_gradients_are_those_of_the_losses() -> None:
    data = regressions(SEEDS)
    w = torch.randn(len(SEEDS), 20, dtype=torch.float64, requires_grad=True)
    loss = ((data.inputs @ w.unsqueeze(-1)).squeeze(-1) - data.targets).square().mean(-1) / 2
    (by_autograd,) = torch.autograd.grad(loss.sum(), w)
    assert torch.allclose(data.problem.gradient(w), by_autograd)
    above = data.problem.loss(w)
    (by_autograd,) = torch.autograd.grad(above.sum(), w)
    assert torch.allclose(data.problem.gradient(w), by_autograd)
    lowest = ((data.inputs @ rest(data.problem).unsqueeze(-1)).squeeze(-1) - data.targets).square().mean(-1) / 2
    assert torch.allclose(loss - lowest, above)


def test_rest_is_the_ridge_solution() -> None:
    data, strength = regressions([7]), 0.3
    x, y, n = data.inputs[0], data.targets[0], data.inputs.shape[1]
    # The penalty as extra examples: x = sqrt(n lambda) e_i with target 0.
    tall = torch.cat([x, math.sqrt(n * strength) * torch.eye(20, dtype=torch.float64)])
    targets = torch.cat([y, torch.zeros(20, dtype=torch.float64)])
    ridge = torch.linalg.lstsq(tall, targets.unsqueeze(-1)).solution.squeeze(-1)
    assert torch.allclose(rest(data.problem, strength)[0], ridge)


def test_rest_with_a_strength_for_each_weight_zeroes_its_gradient() -> None:
    bowls, strength = quadratics(SEEDS), torch.linspace(0, 2, 10, dtype=torch.float64)
    w = rest(bowls, strength)
    assert torch.allclose(bowls.gradient(w) + strength * w, torch.zeros_like(w), atol=1e-12)


def test_test_loss_is_the_mean_over_new_inputs() -> None:
    data = regressions([3])
    w = torch.randn(1, 20, dtype=torch.float64)
    new = data.inputs[0] @ (w - data.truth)[0]  # the training inputs have the covariance of new ones, exactly
    assert torch.allclose(data.test_loss(w)[0], new.square().mean() / 2)
    assert data.test_loss(data.truth).item() == 0


def test_without_noise_least_squares_finds_the_truth() -> None:
    data = regressions(SEEDS, noise=0.0)
    assert torch.allclose(rest(data.problem), data.truth)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: quadratics([0], weights=0), "weights=0"),
        (lambda: quadratics([0], condition=0.5), "condition=0.5"),
        (lambda: quadratics([-1]), "seed=-1"),
        (lambda: regressions([0], examples=5, weights=6), "examples=5"),
        (lambda: regressions([0], noise=-1.0), "noise=-1.0"),
        (lambda: descend(problem(), Decay(), 0, lr=0.1), "steps=0"),
        (lambda: descend(problem(), Decay(), 5, lr=0.0), "lr=0"),
        (lambda: descend(problem(), Decay(), 5, lr=torch.ones(4)), "lr has 4 entries"),
        (lambda: descend(problem(), Decay(), 5, lr=0.1, momentum=1.0), "momentum=1.0"),
        (lambda: descend(problem(), Decay(), 5, lr=0.1, optimizer="adamm"), "did you mean 'adam'"),
        (
            lambda: descend(problem(), Decay(0.1, coupling="decoupled", scaling="gradient_norm"), 5, lr=0.1),
            "mean_square=None",
        ),
        (lambda: adamw_rest(quadratics([0, 1]), 0.1), "pull has the shape"),
        (lambda: adamw_rest(problem(), -0.1), "strength=-0.1"),
    ],
)
def test_what_is_not_allowed_is_refused(call: Callable[[], object], argument: str) -> None:
    with pytest.raises(ValueError, match=argument):
        call()


# --- descent ------------------------------------------------------------------------------------------------


def by_torch(make: Callable[[list[Tensor]], torch.optim.Optimizer], steps: int) -> Tensor:
    loss = problem()
    w = torch.nn.Parameter(torch.tensor([-1.5, 2.5], dtype=torch.float64))
    optimizer, path = make([w]), [w.detach().clone()]
    for _ in range(steps):
        w.grad = loss.gradient(w.detach())
        optimizer.step()
        path.append(w.detach().clone())
    return torch.stack(path)


@pytest.mark.parametrize(
    ("coupling", "ours", "theirs"),
    [
        ("l2", {}, lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.2)),
        ("l2", {"momentum": 0.9}, lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.2)),
        ("l2", {"optimizer": "adam"}, lambda p: torch.optim.Adam(p, 0.1, weight_decay=0.2)),
        (
            "decoupled",
            {"optimizer": "adam", "betas": (0.8, 0.95), "eps": 1e-4},
            lambda p: torch.optim.AdamW(p, 0.1, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.2),
        ),
    ],
)
def test_descent_equals_torch(coupling: str, ours: dict[str, Any], theirs: Any) -> None:
    start = torch.tensor([-1.5, 2.5], dtype=torch.float64)
    path = descend(problem(), Decay(0.2, coupling=coupling), 200, lr=0.1, start=start, **ours)
    assert path.shape == (201, 2)
    assert torch.equal(start, torch.tensor([-1.5, 2.5], dtype=torch.float64))
    assert torch.allclose(path, by_torch(theirs, 200), atol=1e-12)


def test_decay_stops_when_its_timing_says_so() -> None:
    loss = problem()
    whole = descend(loss, Decay(0.2, Timing.first(0.5)), 20, lr=0.1)
    first = descend(loss, Decay(0.2), 10, lr=0.1)
    second = descend(loss, Decay(0.0), 10, lr=0.1, start=first[-1])
    assert torch.equal(whole, torch.cat([first, second[1:]]))
    assert torch.equal(descend(loss, Decay(0.2, Timing.never()), 20, lr=0.1), descend(loss, Decay(), 20, lr=0.1))


def test_scaling_and_a_moving_learning_rate() -> None:
    loss, lrs = problem(), Schedule("cosine").table(30) * 0.2
    usual = descend(loss, Decay(0.5, coupling="decoupled"), 30, lr=lrs)
    paper = descend(loss, Decay(0.1, coupling="decoupled", scaling="lr/lr0"), 30, lr=lrs)
    assert torch.allclose(usual, paper)  # lambda of the AdamW paper is lr0 times that of torch
    w = torch.zeros(2, dtype=torch.float64)
    for lr in lrs:
        w = w * (1 - lr * 0.5) - lr * loss.gradient(w)
    assert torch.allclose(usual[-1], w)


def test_noise_joins_the_gradient() -> None:
    noise = torch.randn(10, 2, dtype=torch.float64)
    path = descend(problem(), Decay(), 10, lr=0.1, noise=noise)
    w = torch.zeros(2, dtype=torch.float64)
    for row in noise:
        w = w - 0.1 * (problem().gradient(w) + row)
    assert torch.allclose(path[-1], w)


def test_noise_comes_in_pairs_that_cancel() -> None:
    sizes = torch.tensor([0.5, 4.0], dtype=torch.float64)
    noise = convex.gradient_noise([1, 2], 401, sizes)
    assert noise.shape == (401, 2, 2)
    assert torch.equal(noise[:400:2], -noise[1:400:2])
    assert torch.allclose(noise[:, 0].std(0) / sizes, torch.ones(2, dtype=torch.float64), atol=0.15)
    assert torch.equal(convex.gradient_noise([2], 401, sizes)[:, 0], noise[:, 1])


# --- where optimizers rest ----------------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_sgd_rests_where_the_docstring_of_rest_says(momentum: float) -> None:
    bowls = quadratics(SEEDS)
    places = {"l2": rest(bowls, 0.1), "decoupled": rest(bowls, (1 - momentum) * 0.1)}
    for coupling, place in places.items():
        end = descend(bowls, Decay(0.1, coupling=coupling), 1500, lr=0.3, momentum=momentum)[-1]
        assert torch.allclose(end, place, atol=1e-10)


@pytest.mark.parametrize("strength", [0.3, 1.0])
@pytest.mark.parametrize("noise", [(0.0, 0.0), (1.0, 1.0), (2.0, 0.2)])
def test_adamw_rests_where_its_formula_says(strength: float, noise: tuple[float, float]) -> None:
    sizes = torch.tensor(noise, dtype=torch.float64)
    place = adamw_rest(problem(), strength, sizes)
    assert place.abs().max() <= 1 / strength
    draws = convex.gradient_noise([0], 2000, sizes)[:, 0]
    decay = Decay(strength, coupling="decoupled")
    path = descend(problem(), decay, 2000, lr=0.02, optimizer="adam", betas=(0.9, 0.99), noise=draws)
    assert norm(path[1000:].mean(0) - place) < 0.03


def test_adamw_without_decay_rests_at_the_minimum() -> None:
    assert torch.allclose(adamw_rest(problem(), 0.0, 1.0), rest(problem()))


def test_a_fence_keeps_adamw_from_the_minimum() -> None:
    inside, outside = adamw_rest(problem(), 0.4), adamw_rest(problem(), 0.8)
    assert torch.allclose(inside, rest(problem()), atol=1e-5)  # (2, 1) lies inside 1/0.4
    assert outside[0].item() == pytest.approx(1 / 0.8)


# --- what the claims measure --------------------------------------------------------------------------------


def test_the_gap_vanishes_without_momentum_and_not_with_it() -> None:
    assert convex.coupling_gap(SEEDS, 0.0).max() < 1e-12
    assert convex.path_gap(SEEDS, 0.0).max() < 1e-12
    assert convex.coupling_gap(SEEDS, 0.9).min() > 0.5
    assert convex.path_gap(SEEDS, 0.9).min() > 0.1


def test_the_gap_under_momentum_is_that_of_the_resting_points() -> None:
    bowls = quadratics(SEEDS)
    unit = norm(rest(bowls, convex.LAMBDA) - rest(bowls))
    predicted = norm(rest(bowls, convex.LAMBDA) - rest(bowls, 0.1 * convex.LAMBDA)) / unit
    assert torch.allclose(convex.coupling_gap(SEEDS, 0.9), predicted, atol=1e-6)


def test_paths_part_although_ends_agree() -> None:
    bowls, steps = quadratics(SEEDS), convex.MOMENTUM_STEPS
    ends = [
        descend(bowls, Decay(strength, coupling=coupling), steps, lr=convex.MOMENTUM_LR, momentum=0.9)[-1]
        for coupling, strength in (("l2", 0.1), ("decoupled", 1.0))
    ]
    assert norm(ends[0] - ends[1]).max() < 1e-6


def test_adam_parts_the_couplings_only_where_gradients_differ_in_size() -> None:
    assert convex.adam_gap(SEEDS).min() > 0.1
    assert convex.adam_gap(SEEDS, equal=True).max() < 0.1


def test_adam_rests_where_proposition_3_says() -> None:
    bowls, sizes = quadratics(SEEDS), convex.gradient_sizes()
    noise = convex.gradient_noise(SEEDS, convex.ADAM_STEPS, sizes)
    unit = norm(rest(bowls, convex.LAMBDA) - rest(bowls))
    l2, decoupled = (convex.adam_end(bowls, coupling, noise) for coupling in ("l2", "decoupled"))
    assert (norm(l2 - rest(bowls, convex.LAMBDA)) / unit).max() < 0.05
    assert (norm(decoupled - rest(bowls, convex.LAMBDA * sizes)) / unit).max() < 0.1


@pytest.mark.parametrize("steps", [20, 100, 400])
def test_the_trace_of_early_decay_follows_its_closed_form(steps: int) -> None:
    data = regressions(SEEDS)
    h, frames = torch.linalg.eigh(data.problem.curvature)
    pull = (frames.mT @ data.problem.pull.unsqueeze(-1)).squeeze(-1)

    def run(w: Tensor, strength: float, count: int) -> Tensor:  # w after `count` steps at lr 1, direction by direction
        place = pull / (h + strength)
        return place + (w - place) * (1 - h - strength) ** count

    zero = torch.zeros_like(pull)
    never, always = run(zero, 0.0, steps), run(zero, 0.1, steps)
    first = run(run(zero, 0.1, steps // 2), 0.0, steps // 2)
    expected = norm(first - never) / norm(always - never)
    assert torch.allclose(convex.trace_of_early_decay(SEEDS, steps), expected, rtol=1e-6)


def test_convergence_wipes_out_the_trace_and_stopping_early_keeps_it() -> None:
    assert convex.trace_of_early_decay(SEEDS, 4000).max() < 1e-6
    assert convex.gain_of_early_decay(SEEDS, 4000).abs().max() < 1e-6
    assert convex.trace_of_early_decay(SEEDS, 40).min() > 0.1
    assert convex.gain_of_early_decay(SEEDS, 100).min() > 0.01


def test_a_broken_toggle_would_leave_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convex, "_TIMINGS", (Timing.never(), Timing.always(), Timing.always()))
    assert convex.trace_of_early_decay(SEEDS, 4000).min() == 1
    assert convex.gain_of_early_decay(SEEDS, 4000).min() == 1


def test_a_falling_learning_rate_keeps_the_trace() -> None:
    data, lrs = regressions(SEEDS), Schedule("exponential").table(4000)
    never, always, first = (
        convex.descent_end(data, timing, 4000, lrs) for timing in (Timing.never(), Timing.always(), Timing.first(0.5))
    )
    assert (norm(first - never) / norm(always - never)).min() > 0.1


def test_decay_throughout_lowers_the_test_loss_on_average() -> None:
    data: Regression = regressions(range(40))
    assert data.test_loss(rest(data.problem, 0.1)).mean() < data.test_loss(rest(data.problem)).mean()


def test_measurements_do_not_depend_on_the_seeds_beside_them() -> None:
    for measure in (
        lambda seeds: convex.coupling_gap(seeds, 0.9),
        lambda seeds: convex.trace_of_early_decay(seeds, 40),
        lambda seeds: convex.gain_of_early_decay(seeds, 100),
    ):
        assert torch.allclose(measure([41, 44])[1], measure([44])[0], rtol=1e-6)
