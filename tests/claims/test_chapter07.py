"""Claims of chapter 07: what their measures return, and that each fails when its reason is taken away."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from wdlab import claims
from wdlab.claims import CLAIMS, Setting, chapter07
from wdlab.claims.chapter07 import answered_differently, changed_by_factor, ends, quiet_over_loud, split_runs, trained
from wdlab.decay import COUPLINGS
from wdlab.tasks import TASKS, Batches
from wdlab.tasks.unequal import ONES, SCALES

SEEDS = (10_000, 10_001)
SETTING = Setting("ci", SEEDS, "cpu")


def test_the_claims_come_after_those_of_the_chapters_before() -> None:
    names, own = list(CLAIMS), [claim.id for claim in chapter07.CLAIMS]
    first = names.index(own[0])
    assert names[first : first + len(own)] == own
    assert all(names.index(claim.id) < first for claim in claims.chapter06.CLAIMS)


@pytest.mark.parametrize("claim", chapter07.CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_holds_where_nothing_was_chosen_and_not_in_its_control(claim: claims.Claim) -> None:
    smallest = claim.levels["ci"].smallest
    assert min(claim.measure(SETTING)) > smallest > max(claim.control(SETTING))


@pytest.fixture
def one_coupling(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every name gives decoupled decay, as if the toggle were not connected."""
    for room in ("wdlab.tasks.unequal", "wdlab.optim", "wdlab.claims.chapter07"):
        monkeypatch.setattr(f"{room}.coupling", lambda name: COUPLINGS["decoupled"])
    for kept in (ends, trained):
        kept.cache_clear()
    yield
    for kept in (ends, trained):
        kept.cache_clear()


@pytest.mark.parametrize("claim", chapter07.CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_fails_when_the_toggle_is_broken(claim: claims.Claim, one_coupling: None) -> None:
    assert not claim.check("ci", seed_offset=10_000, device="cpu", seeds=2).holds


@pytest.mark.parametrize("claim", chapter07.CLAIMS, ids=lambda claim: claim.id)
def test_seeds_are_measured_one_by_one(claim: claims.Claim) -> None:
    alone = claim.measure(Setting("ci", SEEDS[1:], "cpu"))
    assert claim.measure(SETTING)[1:] == pytest.approx(alone, rel=1e-6, abs=1e-9)


def test_ends_are_those_of_one_noise() -> None:
    found = ends(SEEDS, ONES)
    assert set(found) == {"l2", "adaptive", "decoupled"} and found["l2"].shape == (2, 4)
    torch.testing.assert_close(found["l2"], found["decoupled"], rtol=0, atol=0.02)
    assert (ends(SEEDS, SCALES)["decoupled"] - ends(SEEDS, SCALES)["l2"])[:, 0].abs().max() < 0.02


@pytest.mark.parametrize("name", ["l2", "adaptive", "decoupled"])
def test_a_networks_parts_add_up_to_its_last_step(name: str) -> None:
    """The step is read off the network: the same training, one step shorter and whole."""
    found = trained(SEEDS[0], name, steps=12)
    before = trained(SEEDS[0], name, steps=11)
    start, end = (
        torch.cat([p.detach().flatten() for p in one.net.parameters() if p.ndim > 1]) for one in (before, found)
    )
    torch.testing.assert_close(found.w, start, rtol=0, atol=0)
    torch.testing.assert_close(found.parts.objective + found.parts.decay, end - start, rtol=1e-8, atol=1e-12)
    assert found.size.min() >= 0 and found.parts.decay.norm() > 0


def test_a_network_is_trained_as_torch_trains_it() -> None:
    task, seed = TASKS["mnist1d"], SEEDS[0]
    net = chapter07._network(seed)
    some = [p for p in net.parameters() if p.ndim > 1]
    rest = [p for p in net.parameters() if p.ndim == 1]
    groups = [{"params": some, "weight_decay": chapter07.STRENGTHS["decoupled"]}, {"params": rest, "weight_decay": 0.0}]
    adam, data = torch.optim.AdamW(groups, lr=chapter07.LR, eps=1e-30), task.arrays()
    batches = Batches(task, [seed], len(data.labels))
    for step in range(10):
        batch = batches.indices(step)[0]
        adam.zero_grad()
        cross_entropy(net(data.inputs[batch].double()), data.labels[batch]).backward()
        adam.step()
    ours = trained(seed, "decoupled", steps=10).net
    torch.testing.assert_close(list(ours.parameters()), list(net.parameters()), rtol=1e-7, atol=1e-9)


def test_without_a_factor_nothing_changes_and_with_one_only_what_is_divided() -> None:
    assert answered_differently(trained(SEEDS[0], "l2").net, trained(SEEDS[0], "l2").net) == 0
    assert changed_by_factor(SEEDS[0], "decoupled") <= 0.01 < changed_by_factor(SEEDS[0], "first_moment")


def test_quiet_and_loud_weights_are_told_apart_by_the_size_of_their_gradients() -> None:
    found = trained(SEEDS[0], "decoupled")
    assert quiet_over_loud(found) == pytest.approx(0, abs=1e-9)
    divided = found.parts._replace(decay=-found.w / found.size)
    order, tenth = found.size.argsort(), len(found.size) // 10
    bounds = found.size[order[-tenth]] / found.size[order[tenth]]
    assert quiet_over_loud(replace(found, parts=divided)) > math.log2(bounds)
    assert math.isnan(quiet_over_loud(replace(found, parts=divided._replace(decay=0 * found.w))))


def test_what_sorts_the_weights_may_be_anothers_gradients() -> None:
    found, other = trained(SEEDS[0], "l2"), trained(SEEDS[0], "decoupled")
    quiet, loud = chapter07.tenths(other.size)
    assert len(quiet) == len(loud) == len(found.w) // 10 and other.size[quiet].max() < other.size[loud].min()
    assert quiet_over_loud(found, -other.size) == pytest.approx(-quiet_over_loud(found, other.size))
    counts = torch.bincount(found.layer).tolist()
    assert counts == [p.numel() for p in found.net.parameters() if p.ndim > 1]


@pytest.mark.parametrize("scale", claims.SCALES)
def test_the_runs_to_be_split_differ_in_coupling_and_seed(scale: str) -> None:
    runs = split_runs(scale, SEEDS)
    assert [run.decay.coupling for run in runs[::2]] == list(chapter07.STRENGTHS)
    assert {run.optimizer.name for run in runs} == {"adam"} and [run.seed for run in runs[:2]] == list(SEEDS)
