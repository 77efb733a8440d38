"""Chapter 04's arms: each differs from never in one thing, and all together are what the claims take one by one."""

from dataclasses import replace

import pytest

from wdlab import Match, Model, sweep
from wdlab.claims import EARLY, LATE, NEVER, Setting, arms, chapter04, network, signal_resnet
from wdlab.stats import differences

SETTING = Setting("ci", (10_000, 10_001), "cpu")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    from wdlab import data

    data.mnist1d()
    monkeypatch.setenv("WDLAB_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(arms, "sweep", lambda runs, device: sweep(runs, device, jobs=1))


def tiny(base):
    run = base("ci")
    return replace(run, model=Model(run.model.name, 4), steps=60, evaluations=2)


def test_an_arm_differs_from_never_in_what_it_is_called_after() -> None:
    found = chapter04.arms(tiny(network))
    never = found.pop("never")
    assert never.decay.timing == NEVER and never.match == Match()
    for name, run in found.items():
        told = {line.partition(":")[0].partition(".")[0] for line in differences(never, run)}
        assert told == ({"decay"} if name == "early" else {"match"}), name
    early, late = (replace(never.decay, timing=timing) for timing in (EARLY, LATE))
    assert {name: (run.match.norm, run.match.effective_lr) for name, run in found.items()} == {
        "early": (None, None),
        "copies early's effective lr": (None, early),
        "copies late's effective lr": (None, late),
        "copies early's norm": (early, None),
        "copies the norm, at never's effective lr": (early, never.decay),
    }


@pytest.mark.parametrize("base", [network, signal_resnet], ids=["mlp", "resnet"])
def test_gains_of_all_arms_are_those_of_one_at_a_time(base) -> None:
    run = tiny(base)
    found = chapter04.arm_gains(run, SETTING)
    assert found["early"] == pytest.approx(arms.gain(run, SETTING, EARLY, NEVER))
    assert any(found["early"]) and "never" not in found
    for name, arm in chapter04.arms(run).items():
        if arm.match != Match():
            assert found[name] == pytest.approx(chapter04.matched_gain(run, SETTING, arm.match)), name
    assert len(set(found.values())) > 2
