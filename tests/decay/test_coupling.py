"""The update rule against plain Python on one weight, and what follows from the mean being linear."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from wdlab.decay import (
    COUPLINGS,
    AdamBuffers,
    Parts,
    Rates,
    RMSBuffers,
    adam_,
    adam_parts,
    coupling,
    first_moment_,
    momentum_,
    rates,
    rmsprop_,
    rmsprop_parts,
    second_moment_,
    sgd_,
    sgd_parts,
)
from wdlab.decay.coupling import unbiased

STEPS = 60
LR, LAMBDA, MOMENTUM, BETAS, EPS = 0.05, 0.3, 0.9, (0.8, 0.95), 1e-3


def gradient(w: float, step: int) -> float:
    """Any gradient will do that depends on w, so that mistakes grow."""
    return math.sin(3 * step) + 0.4 * w


def plain_adam(numbers: tuple[float, ...], steps: int = STEPS) -> list[float]:
    a_m, a_v, a_own, a_adapt, a_post = numbers
    w, m, v, s, u, (b1, b2), path = 1.5, 0.0, 0.0, 0.0, 0.0, BETAS, []
    for t in range(1, steps + 1):
        g, d = gradient(w, t), LAMBDA * w
        m = b1 * m + (1 - b1) * (g + a_m * d)
        v = b2 * v + (1 - b2) * (g + a_v * d) ** 2
        s = b1 * s + (1 - b1) * a_own * d
        u = b2 * u + (1 - b2) * (a_own * d) ** 2
        c1, c2 = 1 - b1**t, 1 - b2**t
        root = math.sqrt(v / c2) + EPS
        own = (s / c1) / (math.sqrt(u / c2) + EPS)
        w -= LR * (m / c1 / root + own + a_adapt * d / root + a_post * d)
        path.append(w)
    return path


def plain_sgd(name: str, momentum: float, nesterov: bool) -> list[float]:
    a_m, _, a_own, a_adapt, a_post = COUPLINGS[name].numbers
    w, b, path = 1.5, 0.0, []
    for t in range(1, STEPS + 1):
        d = LAMBDA * w
        push = gradient(w, t) + (a_m + a_own) * d
        b = momentum * b + push
        w -= LR * ((push + momentum * b if nesterov else b) + (a_adapt + a_post) * d)
        path.append(w)
    return path


def weight() -> Tensor:
    return torch.tensor(1.5, dtype=torch.float64)


def walk(w: Tensor) -> Iterator[tuple[int, Tensor]]:
    for t in range(1, STEPS + 1):
        yield t, torch.tensor(gradient(w.item(), t), dtype=torch.float64)


def ours_adam(numbers: tuple[float, ...]) -> list[float]:
    w, path = weight(), []
    rate = rates(numbers, LAMBDA)
    own = (torch.zeros_like(w), torch.zeros_like(w)) if numbers[2] else (None, None)
    buffers = AdamBuffers(torch.zeros_like(w), torch.zeros_like(w), *own)
    for t, g in walk(w):
        second_moment_(buffers, w, g, rate, BETAS[1])
        adam_(w, g, buffers, rate, LR, BETAS, EPS, t)
        path.append(w.item())
    return path


def ours_sgd(name: str, momentum: float, nesterov: bool) -> list[float]:
    w, path, rate = weight(), [], rates(COUPLINGS[name].numbers, LAMBDA)
    buffer = torch.zeros_like(w) if momentum else None
    for _, g in walk(w):
        sgd_(w, g, buffer, rate, LR, momentum, nesterov)
        path.append(w.item())
    return path


@pytest.mark.parametrize("name", COUPLINGS)
def test_adam_follows_its_formula(name: str) -> None:
    numbers = COUPLINGS[name].numbers
    assert ours_adam(numbers) == pytest.approx(plain_adam(numbers), rel=1e-11, abs=1e-13)


@pytest.mark.parametrize("seed", range(5))
def test_the_formula_holds_for_any_five_numbers(seed: int) -> None:
    numbers = tuple(torch.rand(5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).tolist())
    assert ours_adam(numbers) == pytest.approx(plain_adam(numbers), rel=1e-11, abs=1e-13)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (MOMENTUM, False), (MOMENTUM, True)])
@pytest.mark.parametrize("name", COUPLINGS)
def test_sgd_follows_its_formula(name: str, momentum: float, nesterov: bool) -> None:
    ours, plain = ours_sgd(name, momentum, nesterov), plain_sgd(name, momentum, nesterov)
    assert ours == pytest.approx(plain, rel=1e-11, abs=1e-13)


def test_every_coupling_of_adam_goes_its_own_way() -> None:
    ends = [ours_adam(COUPLINGS[name].numbers)[-1] for name in COUPLINGS]
    assert min(abs(a - b) for i, a in enumerate(ends) for b in ends[:i]) > 1e-3


@pytest.mark.parametrize(("in_v", "name"), [(LAMBDA, "l2"), (0.0, "first_moment")])
def test_two_first_moments_over_a_shared_v_are_one(in_v: float, name: str) -> None:
    """EMA is linear: a momentum of the penalty's own changes nothing while the denominator is shared."""
    w, path = weight(), []
    m_loss, m_penalty, v = (torch.zeros_like(w) for _ in range(3))
    for t, g in walk(w):
        d = LAMBDA * w
        loss, penalty = AdamBuffers(m_loss, v), AdamBuffers(m_penalty, v)
        second_moment_(loss, w, g, Rates(v=in_v), BETAS[1])
        adam_(w, g, loss, Rates(), LR, BETAS, EPS, t)
        adam_(w, d, penalty, Rates(), LR, BETAS, EPS, t)
        path.append(w.item())
    assert path == pytest.approx(ours_adam(COUPLINGS[name].numbers), rel=1e-11, abs=1e-13)


# The step in two parts


def plain_adam_parts(name: str) -> list[tuple[float, float]]:
    """What the loss and what decay did to w at each step: two first moments, everything else as the rule says."""
    a_m, a_v, a_own, a_adapt, a_post = COUPLINGS[name].numbers
    w, m, p, v, s, u, (b1, b2), found = 1.5, 0.0, 0.0, 0.0, 0.0, 0.0, BETAS, []
    for t in range(1, STEPS + 1):
        g, d = gradient(w, t), LAMBDA * w
        m, p = b1 * m + (1 - b1) * g, b1 * p + (1 - b1) * a_m * d
        v = b2 * v + (1 - b2) * (g + a_v * d) ** 2
        s, u = b1 * s + (1 - b1) * a_own * d, b2 * u + (1 - b2) * (a_own * d) ** 2
        c1, c2 = 1 - b1**t, 1 - b2**t
        root = math.sqrt(v / c2) + EPS
        own = (s / c1) / (math.sqrt(u / c2) + EPS)
        found.append((-LR * m / c1 / root, -LR * ((p / c1 + a_adapt * d) / root + own + a_post * d)))
        w += sum(found[-1])
    return found


def plain_sgd_parts(name: str, momentum: float, nesterov: bool) -> list[tuple[float, float]]:
    a_m, _, a_own, a_adapt, a_post = COUPLINGS[name].numbers
    w, b, p, found = 1.5, 0.0, 0.0, []
    for t in range(1, STEPS + 1):
        g, d = gradient(w, t), LAMBDA * w
        b, p = momentum * b + g, momentum * p + (a_m + a_own) * d
        loss, inside = (g + momentum * b, (a_m + a_own) * d + momentum * p) if nesterov else (b, p)
        found.append((-LR * loss, -LR * (inside + (a_adapt + a_post) * d)))
        w += sum(found[-1])
    return found


def our_adam_parts(name: str) -> tuple[list[Parts], list[Tensor]]:
    """The parts of every step, and the steps themselves, w after minus w before."""
    w, parts, steps, numbers = weight(), [], [], COUPLINGS[name]
    rate = rates(numbers.numbers, LAMBDA)
    own = (torch.zeros_like(w), torch.zeros_like(w)) if numbers.a_own else (None, None)
    buffers = AdamBuffers(torch.zeros_like(w), torch.zeros_like(w), *own)
    of_loss = torch.zeros_like(w) if numbers.a_m else None
    for t, g in walk(w):
        before = w.clone()
        second_moment_(buffers, w, g, rate, BETAS[1])
        adam_(w, g, buffers, rate, LR, BETAS, EPS, t)
        if of_loss is not None:
            first_moment_(of_loss, before, g, Rates(), BETAS[0])
        parts.append(adam_parts(before, buffers, of_loss, rate, LR, BETAS, EPS, t))
        steps.append(w - before)
    return parts, steps


def our_sgd_parts(name: str, momentum: float, nesterov: bool) -> tuple[list[Parts], list[Tensor]]:
    w, parts, steps, rate = weight(), [], [], rates(COUPLINGS[name].numbers, LAMBDA)
    buffer, of_loss = (torch.zeros_like(w), torch.zeros_like(w)) if momentum else (None, None)
    for _, g in walk(w):
        before = w.clone()
        sgd_(w, g, buffer, rate, LR, momentum, nesterov)
        if of_loss is not None:
            momentum_(of_loss, before, g, Rates(), momentum)
        parts.append(sgd_parts(before, g, buffer, of_loss, rate, LR, momentum, nesterov))
        steps.append(w - before)
    return parts, steps


@pytest.mark.parametrize("name", COUPLINGS)
def test_adams_parts_are_those_of_plain_python_and_add_up_to_the_step(name: str) -> None:
    parts, steps = our_adam_parts(name)
    assert [x.item() for part in parts for x in part] == pytest.approx(
        [x for part in plain_adam_parts(name) for x in part], rel=1e-11, abs=1e-13
    )
    torch.testing.assert_close([sum(part) for part in parts], steps, rtol=1e-11, atol=1e-14)
    assert all(part.decay == 0 for part in parts) == (name == "second_moment")


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (MOMENTUM, False), (MOMENTUM, True)])
@pytest.mark.parametrize("name", COUPLINGS)
def test_sgds_parts_are_those_of_plain_python_and_add_up_to_the_step(
    name: str, momentum: float, nesterov: bool
) -> None:
    parts, steps = our_sgd_parts(name, momentum, nesterov)
    assert [x.item() for part in parts for x in part] == pytest.approx(
        [x for part in plain_sgd_parts(name, momentum, nesterov) for x in part], rel=1e-11, abs=1e-13
    )
    torch.testing.assert_close([sum(part) for part in parts], steps, rtol=1e-11, atol=1e-14)
    assert all(part.decay == 0 for part in parts) == (name == "second_moment")


def test_decay_that_enters_v_alone_is_in_neither_part_but_shortens_both() -> None:
    """The objective's part of l2 is smaller than that of first_moment by their denominators, and by nothing else."""
    parts = [our_adam_parts(name)[0][0] for name in ("l2", "first_moment")]
    g = gradient(1.5, 1)
    shorter = (abs(g) + EPS) / (abs(g + LAMBDA * 1.5) + EPS)
    for one, other in zip(*parts, strict=True):
        assert one.item() == pytest.approx(other.item() * shorter, rel=1e-10)


# RMSProp

ALPHA = 0.95
KINDS = [(centered, inside) for centered in (False, True) for inside in (False, True)]
IDS = [f"{'centered' if c else 'plain'}, eps {'inside' if i else 'outside'}" for c, i in KINDS]
rmsprops = pytest.mark.parametrize(("centered", "inside"), KINDS, ids=IDS)


def plain_rmsprop(numbers: tuple[float, ...], centered: bool, inside: bool) -> tuple[list[float], list[float]]:
    """Where w is after every step, and by how much decay moved it there."""
    a_m, a_v, a_own, a_adapt, a_post = numbers
    w, m, v, s, u, path, by_decay = 1.5, 0.0, 0.0, 0.0, 0.0, [], []

    def root(square: float, mean: float) -> float:
        spread = square - mean**2 if centered else square
        return math.sqrt(spread + EPS) if inside else math.sqrt(spread) + EPS

    for t in range(1, STEPS + 1):
        g, d = gradient(w, t), LAMBDA * w
        m, v = ALPHA * m + (1 - ALPHA) * (g + a_v * d), ALPHA * v + (1 - ALPHA) * (g + a_v * d) ** 2
        s, u = ALPHA * s + (1 - ALPHA) * a_own * d, ALPHA * u + (1 - ALPHA) * (a_own * d) ** 2
        pull = (a_m + a_adapt) * d / root(v, m) + a_own * d / root(u, s) + a_post * d
        w -= LR * (g / root(v, m) + pull)
        path.append(w)
        by_decay.append(-LR * pull)
    return path, by_decay


def ours_rmsprop(name: str, centered: bool, inside: bool) -> tuple[list[float], list[float], list[Tensor]]:
    """The same by the rule; and the steps less the sum of their parts."""
    w, rate, own = weight(), rates(COUPLINGS[name].numbers, LAMBDA), COUPLINGS[name].a_own
    m, v, s, u = (torch.zeros_like(w) for _ in range(4))
    buffers = RMSBuffers(m if centered else None, v, s if centered and own else None, u if own else None)
    path, by_decay, left = [], [], []
    for _, g in walk(w):
        before = w.clone()
        rmsprop_(w, g, buffers, rate, LR, ALPHA, EPS, inside)
        parts = rmsprop_parts(before, g, buffers, rate, LR, EPS, inside)
        path.append(w.item())
        by_decay.append(parts.decay.item())
        left.append(w - before - sum(parts))
    return path, by_decay, left


@rmsprops
@pytest.mark.parametrize("name", COUPLINGS)
def test_rmsprop_follows_its_formula_and_its_parts_add_up(name: str, centered: bool, inside: bool) -> None:
    path, by_decay, left = ours_rmsprop(name, centered, inside)
    expected, expected_decay = plain_rmsprop(COUPLINGS[name].numbers, centered, inside)
    assert path == pytest.approx(expected, rel=1e-8, abs=1e-10)
    assert by_decay == pytest.approx(expected_decay, rel=1e-8, abs=1e-10)
    assert max(abs(x.item()) for x in left) < 1e-9
    assert (set(by_decay) == {0.0}) == (name == "second_moment")


@rmsprops
def test_without_a_mean_of_gradients_first_moment_and_adaptive_are_one_and_no_others(
    centered: bool, inside: bool
) -> None:
    ends = {name: ours_rmsprop(name, centered, inside)[0][-1] for name in COUPLINGS}
    assert ends.pop("first_moment") == pytest.approx(ends["adaptive"], rel=1e-10)
    found = list(ends.values())
    assert all(abs(a - b) > 1e-4 for i, a in enumerate(found) for b in found[:i])


def test_centering_and_where_eps_stands_change_the_step() -> None:
    ends = [ours_rmsprop("decoupled", *kind)[0][-1] for kind in KINDS]
    assert all(abs(a - b) > 1e-4 for i, a in enumerate(ends) for b in ends[:i])


def test_a_variance_that_rounding_puts_below_zero_has_the_root_zero() -> None:
    """A gradient that never changes: v - m^2 is a difference of nearly equal numbers."""
    w = torch.ones(1000, dtype=torch.float32)
    g = torch.rand(1000, generator=torch.Generator().manual_seed(0)) + 0.5
    buffers = RMSBuffers(torch.zeros_like(w), torch.zeros_like(w))
    for _ in range(200):
        rmsprop_(w, g, buffers, Rates(), 1e-3, 0.5, 1e-2)
    assert buffers.m is not None and (buffers.v - buffers.m.square() < 0).any() and w.isfinite().all()


def test_without_momentum_the_couplings_of_sgd_are_one() -> None:
    def ends(momentum: float) -> list[float]:
        return [ours_sgd(name, momentum, False)[-1] for name in COUPLINGS if name != "second_moment"]

    assert ends(0.0) == pytest.approx([ends(0.0)[0]] * 5, rel=1e-12)
    l2, first, own, adaptive, decoupled = ends(MOMENTUM)
    assert [first, own] == pytest.approx([l2, l2], rel=1e-12) and adaptive == decoupled
    assert abs(l2 - decoupled) > 1e-3


def test_nearly_nothing_of_lambda_is_left_with_own_buffers() -> None:
    """s^/sqrt(u^) is the same for 10 lambda: only eps, beside sqrt(u^), still knows how large lambda is."""
    small, large = (moved_by_own_buffers(strength) for strength in (1.0, 10.0))
    assert small == pytest.approx(large, rel=2e-3) and small != 0


def moved_by_own_buffers(strength: float) -> float:
    w, zero = weight(), torch.zeros((), dtype=torch.float64)
    buffers = AdamBuffers(*(torch.zeros_like(w) for _ in range(4)))
    for t in range(1, STEPS + 1):
        adam_(w, zero, buffers, rates(COUPLINGS["own_buffers"].numbers, strength), LR / 10, BETAS, EPS, t)
    return w.item() - weight().item()


def test_rates_keep_a_plain_zero_plain() -> None:
    per_member = torch.tensor([0.1, 0.2])
    found = rates(COUPLINGS["l2"].numbers, per_member)
    assert isinstance(found.m, Tensor) and torch.equal(found.m, per_member)
    assert found[2:] == (0.0, 0.0, 0.0)
    assert rates(COUPLINGS["adaptive"].numbers, 0.1) == (0, 0, 0, 0.1, 0)


@pytest.mark.parametrize("name", COUPLINGS)
def test_float64_hyperparameters_leave_float32_weights_float32(name: str) -> None:
    """A number for each member is best kept in float64, where 1 - beta2 is exact to more than four digits."""

    def tensor(value: float) -> Tensor:
        return torch.full((2, 1), value, dtype=torch.float64)

    ends = []
    for wrap in (float, tensor):
        w = torch.tensor([[1.5], [1.5]])
        buffers = AdamBuffers(*(torch.zeros_like(w) for _ in range(4)))
        for t in range(1, 20):
            rate, g = rates(COUPLINGS[name].numbers, wrap(LAMBDA)), 0.4 * w + math.sin(3 * t)
            second_moment_(buffers, w, g, rate, wrap(0.999))
            adam_(w, g, buffers, rate, wrap(LR), (wrap(0.9), wrap(0.999)), wrap(EPS), t)
        assert all(x.dtype == torch.float32 for x in (w, *buffers) if x is not None)
        ends.append(w)
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-6, atol=1e-6)


def test_unbiased_undoes_the_zero_start() -> None:
    mean, value, beta = torch.zeros(3), torch.tensor([1.0, -2.0, 0.5]), 0.9
    for step in range(1, 5):
        mean = beta * mean + (1 - beta) * value
        torch.testing.assert_close(unbiased(mean, beta, step), value)


def test_every_coupling_says_what_it_is() -> None:
    assert list(COUPLINGS) == ["l2", "first_moment", "second_moment", "own_buffers", "adaptive", "decoupled"]
    assert all(found.says.endswith(".") for found in COUPLINGS.values())
    assert len({found.numbers for found in COUPLINGS.values()}) == len(COUPLINGS)


def test_an_unknown_coupling_is_answered_with_the_nearest() -> None:
    assert coupling("l2") is COUPLINGS["l2"]
    with pytest.raises(ValueError, match=r"^coupling='adamw' is unknown;.* Allowed: adaptive, decoupled"):
        coupling("adamw")
    with pytest.raises(ValueError, match="did you mean 'decoupled'"):
        coupling("decupled")
