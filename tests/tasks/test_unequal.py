"""The quadratic of unequal gradients: against plain Python, its closed forms, its parts, and what is scale-free."""

from __future__ import annotations

import math

import pytest
import torch

from wdlab.decay import COUPLINGS
from wdlab.tasks import generator
from wdlab.tasks.unequal import BETAS, CURVATURE, EPS, LR, ONES, SCALES, descend, rest

SEEDS = (10_000, 10_001)
EVERY = [(name, 0.01) for name in COUPLINGS]
DIVIDED = ("l2", "first_moment", "adaptive")


def plain(name: str, seed: int, scale: float, steps: int, weight_decay: float = 0.01) -> list[float]:
    """One weight in plain Python."""
    a_m, a_v, a_own, a_adapt, a_post = COUPLINGS[name].numbers
    noise = torch.randn(steps, generator=generator(seed, "unequal"), dtype=torch.float64).tolist()
    w, m, v, s, u, (b1, b2), path = 0.0, 0.0, 0.0, 0.0, 0.0, BETAS, [0.0]
    for t in range(1, steps + 1):
        g, d = scale * (CURVATURE * (w - 1) + noise[t - 1]), weight_decay * w
        m, v = b1 * m + (1 - b1) * (g + a_m * d), b2 * v + (1 - b2) * (g + a_v * d) ** 2
        s, u = b1 * s + (1 - b1) * a_own * d, b2 * u + (1 - b2) * (a_own * d) ** 2
        c1, c2 = 1 - b1**t, 1 - b2**t
        root = math.sqrt(v / c2) + EPS
        own = s / c1 / (math.sqrt(u / c2) + EPS)
        w -= LR * (m / c1 / root + own + a_adapt * d / root + a_post * d)
        path.append(w)
    return path


@pytest.mark.parametrize("name", COUPLINGS)
def test_a_descent_is_that_of_plain_python(name: str) -> None:
    found = descend(EVERY, SEEDS, steps=80).w[list(COUPLINGS).index(name)]
    for seed, by_seed in zip(SEEDS, found, strict=True):
        for scale, path in zip(SCALES, by_seed, strict=True):
            assert path.tolist() == pytest.approx(plain(name, seed, scale, 80), rel=1e-9, abs=1e-12)


def test_settings_do_not_hear_of_each_other() -> None:
    together = descend(EVERY, SEEDS, steps=50)
    for place, setting in enumerate(EVERY):
        alone = descend([setting], SEEDS[1:], steps=50)
        torch.testing.assert_close(together.w[place, 1:], alone.w[0], rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(together.decay[place, 1:], alone.decay[0], rtol=1e-9, atol=1e-15)


def test_the_parts_add_up_to_the_step() -> None:
    found = descend(EVERY, SEEDS, steps=200, start=1.0)
    torch.testing.assert_close(found.w.diff(dim=-1), found.objective + found.decay, rtol=0, atol=1e-14)
    assert not found.decay[list(COUPLINGS).index("second_moment")].any()


def test_couplings_rest_where_the_closed_form_says() -> None:
    names = [name for name in COUPLINGS if name != "own_buffers"]
    found = descend([(name, 0.01) for name in names], range(10_000, 10_060), lr=0.02, steps=3000).end.mean(1)
    for name, ends in zip(names, found, strict=True):
        reached = 3 if name == "second_moment" else 4  # its quietest coordinate has not arrived
        expected = [rest(name, scale, 0.01) for scale in SCALES]
        assert ends[:reached].tolist() == pytest.approx(expected[:reached], abs=0.06)


def test_drowning_needs_small_gradients_and_division() -> None:
    ends = dict(zip(COUPLINGS, descend(EVERY, SEEDS).end.mean(1), strict=True))
    for name in DIVIDED:
        assert (ends[name].diff() < 0).all() and ends[name][-1] < 0.05
    assert torch.allclose(ends["decoupled"], ends["decoupled"][0].expand(4), atol=1e-12) and ends["decoupled"][0] > 0.6
    alike = descend(EVERY, SEEDS, ONES, steps=100).w
    assert torch.equal(alike, alike[:, :, :1].expand_as(alike))


@pytest.mark.parametrize("factor", [1024.0, 1e-3])
def test_decoupled_decay_is_scale_free_and_the_others_are_not(factor: float) -> None:
    once, other = (descend(EVERY, SEEDS, steps=300, factor=by).w for by in (1.0, factor))
    moved = dict(zip(COUPLINGS, (once - other).abs().amax((1, 2, 3)).tolist(), strict=True))
    assert moved["decoupled"] < 1e-11 and moved["own_buffers"] < 1e-9
    assert all(moved[name] > 0.01 for name in (*DIVIDED, "second_moment"))


def test_a_second_adam_for_decay_does_not_know_lambda() -> None:
    small, large = descend([("own_buffers", 0.01), ("own_buffers", 0.1)], SEEDS, steps=300).w
    torch.testing.assert_close(small, large, rtol=1e-9, atol=1e-11)


def test_a_seed_has_its_own_noise_and_the_setting_does_not_change_it() -> None:
    found = descend([("decoupled", 0.0), ("l2", 0.0)], SEEDS, steps=30).w
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0, 0], found[0, 1])


def test_resting_points_are_what_they_are_in_the_limits() -> None:
    assert all(rest(name, 0.1, 0.0) == 1 for name in COUPLINGS if name != "own_buffers")
    assert rest("l2", 1.0, 0.3) == rest("decoupled", 1.0, 0.3) == rest("decoupled", 0.001, 0.3)
    assert rest("adaptive", 0.01, 0.001) == pytest.approx(0.5)
    assert rest("second_moment", 0.01, 10.0) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"settings": [("l3", 0.1)]}, "did you mean 'l2'"),
        ({"settings": [("l2", -1.0)]}, "weight_decay=-1.0"),
        ({"scales": (1.0, 0.0)}, "scale=0.0"),
        ({"factor": 0.0}, "factor=0.0"),
        ({"eps": 0.0}, "eps=0.0"),
        ({"steps": 0}, "steps=0"),
        ({"seeds": [-1]}, "seed=-1"),
    ],
)
def test_what_is_not_allowed_is_named(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        descend(**{"settings": [("l2", 0.1)], "seeds": [10_000], "steps": 2} | arguments)  # type: ignore[arg-type]


def test_own_buffers_has_no_resting_formula() -> None:
    with pytest.raises(ValueError, match="name='own_buffers' is not allowed"):
        rest("own_buffers", 1.0, 0.1)
