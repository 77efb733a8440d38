"""Claims of chapter 02: what their measures return, and that each fails when its reason is taken away."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from wdlab import Decay, claims
from wdlab.claims import CLAIMS, Setting, chapter02, disagreement, equilibrium_table, turning, turning_network, twin
from wdlab.claims.chapter02 import loss_change, network_equilibrium, power_error, walk_error
from wdlab.measures.equilibrium import adamw_equilibrium, sgd_equilibrium

SEEDS = (10_000, 10_001)


def test_the_claims_come_between_those_of_their_neighbours() -> None:
    names = list(CLAIMS)
    first = names.index(chapter02.CLAIMS[0].id)
    assert [CLAIMS[name] for name in names[first : first + len(chapter02.CLAIMS)]] == list(chapter02.CLAIMS)
    assert first == len(claims.chapter01.CLAIMS)


def test_scale_and_angle_fail_without_batchnorm() -> None:
    assert loss_change(SEEDS).max() < 0.001 < 0.1 < loss_change(SEEDS, norm=False).min()
    assert power_error(SEEDS).max() < 0.05 < 0.5 < power_error(SEEDS, norm=False).min()


def test_seeds_are_measured_one_by_one() -> None:
    torch.testing.assert_close(loss_change(SEEDS)[1:], loss_change(SEEDS[1:]), rtol=1e-3, atol=1e-9)


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


@pytest.mark.parametrize("scale", claims.SCALES)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_networks_are_given_time_to_settle(scale: str, optimizer: str) -> None:
    run = turning_network(scale, optimizer)
    faster = 1 / (1 - run.optimizer.momentum) if optimizer == "sgd" else 1
    assert run.optimizer.lr * run.decay.strength * run.steps * faster >= 3


@pytest.mark.parametrize("claim", chapter02.CLAIMS[-2:], ids=lambda claim: claim.id)
def test_a_network_without_decay_does_not_turn_as_predicted(claim: claims.Claim) -> None:
    setting = Setting("ci", SEEDS, "cpu")
    smallest = claim.levels["ci"].smallest
    assert min(claim.measure(setting)) > smallest > max(claim.control(setting))


@pytest.mark.parametrize("claim", chapter02.CLAIMS[:3], ids=lambda claim: claim.id)
def test_a_claim_about_scale_holds_where_nothing_was_chosen(claim: claims.Claim) -> None:
    assert claim.check("ci", seed_offset=10_000, device="cpu", seeds=2).holds
