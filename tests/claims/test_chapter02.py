"""Claims of chapter 02: what their measures return, and that each fails when its reason is taken away."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest
import torch

from wdlab import Decay, Run, claims
from wdlab.claims import (
    CLAIMS,
    Setting,
    chapter02,
    disagreement,
    equilibrium_table,
    image_resnet,
    signal_resnet,
    trained_network,
    turning,
    turning_network,
    twin,
)
from wdlab.claims.chapter02 import (
    LONG,
    loss_change,
    network_equilibrium,
    power_error,
    scaled_resnet,
    turning_resnet,
    twins,
    walk_error,
)
from wdlab.measures.complexity import rescale_
from wdlab.measures.equilibrium import adamw_equilibrium, sgd_equilibrium

SEEDS = (10_000, 10_001)
SETTING = Setting("ci", SEEDS, "cpu")
RESNETS = pytest.mark.parametrize("base", [signal_resnet, image_resnet])


def test_the_claims_come_between_those_of_their_neighbours() -> None:
    names = list(CLAIMS)
    first = names.index(chapter02.CLAIMS[0].id)
    assert [CLAIMS[name] for name in names[first : first + len(chapter02.CLAIMS)]] == list(chapter02.CLAIMS)
    assert first == len(claims.chapter01.CLAIMS)


def test_scale_and_angle_fail_without_batchnorm() -> None:
    normal, bare = (trained_network(SEEDS, norm) for norm in (True, False))
    assert loss_change(normal).max() < 0.001 < 0.1 < loss_change(bare).min()
    assert power_error(normal).max() < 0.05 < 0.5 < power_error(bare).min()


def test_seeds_are_measured_one_by_one() -> None:
    both, second = (trained_network(seeds) for seeds in (SEEDS, SEEDS[1:]))
    torch.testing.assert_close(loss_change(both)[1:], loss_change(second), rtol=1e-3, atol=1e-9)


@RESNETS
def test_in_a_resnet_the_last_layer_has_a_scale_and_the_others_next_to_none(base: Callable[[str], Run]) -> None:
    training = scaled_resnet(base)(SETTING)
    assert training.model.scale_invariant and "weight_head" not in training.model.scale_invariant
    assert loss_change(training).max() < 0.05 < 0.1 < loss_change(training, "last").min()
    assert power_error(training).max() < 0.2 < 0.4 < power_error(training, "last").min()


@RESNETS
def test_what_a_resnet_notices_of_its_scale_is_eps(base: Callable[[str], Run]) -> None:
    training = copy.copy(scaled_resnet(base)(SETTING))
    training.model = copy.deepcopy(training.model).double()
    noticed = loss_change(training)
    rescale_(training.model, 1e3)  # beside the variance of what these make, eps is nothing
    assert (loss_change(training) < 1e-3 * noticed).all()


@pytest.mark.parametrize(("optimizer", "power"), [("sgd", 2), ("adam", 1)])
def test_a_twin_is_the_same_network_only_at_its_own_learning_rate(optimizer: str, power: int) -> None:
    one = twin(SEEDS[0], optimizer=optimizer, steps=40)
    assert disagreement(one, twin(SEEDS[0], 4.0, power, optimizer, steps=40)) == 0.0  # a power of two: to the last bit
    for wrong in (power - 1, power + 1):
        assert disagreement(one, twin(SEEDS[0], 4.0, wrong, optimizer, steps=40)) > 0.02
    assert disagreement(one, one) == 0.0


def test_twins_weights_are_as_many_times_as_long() -> None:
    one, other = (twin(SEEDS[0], factor, 2, steps=10) for factor in (1.0, 4.0))
    assert torch.equal(other[0].weight, 4 * one[0].weight)
    assert torch.equal(other[-1].weight, one[-1].weight)


@RESNETS
@pytest.mark.parametrize(("optimizer", "power"), [("sgd", 2), ("adam", 1)])
def test_twins_of_a_resnet_are_the_same_at_their_own_learning_rate_only(
    base: Callable[[str], Run], optimizer: str, power: int
) -> None:
    run = base("ci")
    one = twins(run, SEEDS, optimizer=optimizer, steps=3)
    same, other = (twins(run, SEEDS, 4.0, p, optimizer, steps=3) for p in (power, power - 1))
    for name, parameter in one.named_parameters():
        scale = 4 if name in one.scale_invariant else 1
        torch.testing.assert_close(same.get_parameter(name), scale * parameter, rtol=1e-6, atol=1e-9)
    assert not torch.allclose(other.weight_head, one.weight_head, rtol=1e-4, atol=0.0)


@RESNETS
def test_twins_are_alike_member_by_member_and_as_long_as_told(base: Callable[[str], Run]) -> None:
    both, second = (twins(base("ci"), seeds, steps=2) for seeds in (SEEDS, SEEDS[1:]))
    torch.testing.assert_close(both.weight_head[1:], second.weight_head, rtol=1e-9, atol=1e-12)
    assert both.weight_stem.abs().max() > LONG / 10 > 1e3 > both.weight_head.abs().max()


def test_a_twin_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    twin(SEEDS[0], steps=1)
    assert torch.equal(torch.rand(1), expected)


def test_walks_miss_before_equilibrium_and_under_the_wrong_coupling() -> None:
    assert walk_error(SEEDS, "sgd", "l2").max() < 0.03 < 0.3 < walk_error(SEEDS, "sgd", "l2", 0, 50).min()
    assert walk_error(SEEDS, "adam", "decoupled").max() < 0.03 < 0.3 < walk_error(SEEDS, "adam", "l2").min()


def test_the_table_has_a_row_a_setting_and_both_orders() -> None:
    table = equilibrium_table(SEEDS[:1])
    assert len(table) == sum(len(some) for some in chapter02.SETTINGS.values())
    assert list(dict.fromkeys(table["kind"])) == ["SGD with momentum, l2", "SGD with momentum, decoupled", "AdamW"]
    assert (table["norm"] / table["closed_norm"] - 1).abs().max() < 0.03
    assert not (table["first_norm"] == table["closed_norm"]).any()


def test_turning_reads_every_layer_step_by_step() -> None:
    base = replace(turning_network("ci"), steps=6)
    layers = turning([replace(base, seed=seed) for seed in SEEDS])
    assert set(layers) == {"weight_0", "weight_1", "weight_2"}
    for layer in layers.values():
        assert layer.norm.shape == layer.angle.shape == layer.relative_gradient.shape == (6, 2)
        assert (layer.angle > 0).all() and (layer.norm > 0).all()


def test_plain_sgd_without_decay_turns_by_lr_over_the_squared_norm() -> None:
    base = turning_network("ci")
    plain = replace(base, steps=6, decay=Decay(), optimizer=replace(base.optimizer, momentum=0.0), seed=SEEDS[0])
    for layer in turning([plain]).values():
        expected = (plain.optimizer.lr * layer.relative_gradient / layer.norm.square()).atan()
        torch.testing.assert_close(layer.angle, expected, rtol=1e-2, atol=1e-6)


def test_a_networks_closed_form_is_that_of_its_optimizer() -> None:
    sgd, adam = turning_network("demo"), turning_network("demo", "adam")
    assert network_equilibrium(sgd, 7, 2.0) == sgd_equilibrium(0.1, 0.01, 0.9, "l2", 2.0)
    assert network_equilibrium(adam, 7, 2.0) == adamw_equilibrium(0.01, 0.3, 7, 0.9)


NETWORKS = (turning_network, turning_resnet(signal_resnet), turning_resnet(image_resnet))


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("scale", claims.SCALES)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_networks_are_given_time_to_settle(network: chapter02.Turner, scale: str, optimizer: str) -> None:
    run = network(scale, optimizer)
    faster = 1 / (1 - run.optimizer.momentum) if optimizer == "sgd" else 1
    assert run.optimizer.lr * run.decay.strength * run.steps * faster >= 3
    assert run.schedule.name == "constant" and run.steps * run.task.batch_size / run.task.train_size < 50


OF_RESNETS = [claim for claim in chapter02.CLAIMS if claim.id.endswith(("-signals", "-images"))]
TURNS = [CLAIMS[f"{name}-network-turns-as-predicted"] for name in ("sgd", "adamw")]
SCALE = [CLAIMS[name] for name in ("scale-does-not-matter", "angle-knows-the-scale", "matched-lr-same-network")]


def named(claim: claims.Claim) -> str:
    return claim.id


@pytest.mark.parametrize("claim", TURNS, ids=named)
def test_a_network_without_decay_does_not_turn_as_predicted(claim: claims.Claim) -> None:
    smallest = claim.levels["ci"].smallest
    assert min(claim.measure(SETTING)) > smallest > max(claim.control(SETTING))


@pytest.mark.parametrize("claim", SCALE, ids=named)
def test_a_claim_about_scale_holds_where_nothing_was_chosen(claim: claims.Claim) -> None:
    assert claim.check("ci", seed_offset=10_000, device="cpu", seeds=2).holds


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A few steps of everything."""
    network = chapter02.turning_network
    monkeypatch.setattr(chapter02, "turning_network", lambda *asked: replace(network(*asked), steps=16))
    monkeypatch.setattr(chapter02, "_with_adam", partial(chapter02._with_adam, steps=5))
    monkeypatch.setattr(chapter02, "twins", partial(chapter02.twins, steps=5))
    kept = (chapter02._trained_resnet, chapter02._answers_of_twins)
    for cache in kept:
        cache.cache_clear()
    yield
    for cache in kept:
        cache.cache_clear()


@pytest.mark.parametrize("claim", OF_RESNETS, ids=named)
def test_a_claim_about_a_resnet_says_what_the_mlps_says_and_its_control_is_another_measurement(
    quick: None, claim: claims.Claim
) -> None:
    """Not that it holds: that is what its verdict is for."""
    of_mlp = CLAIMS[claim.id.rpartition("-")[0]]
    assert {level.smallest for level in claim.levels.values()} == {of_mlp.levels["demo"].smallest}
    found, control = claim.measure(SETTING), claim.control(SETTING)
    assert len(found) == len(control) == len(SEEDS) and all(f != c for f, c in zip(found, control, strict=True))
