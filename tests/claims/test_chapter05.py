"""Claims of chapter 05: what is compared differs in one thing, and each toggle of a measurement changes it."""

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch

from wdlab import Timing, Training, sweep
from wdlab.claims import CLAIMS, SCALES, Setting, chapter05
from wdlab.claims.chapter05 import FEW, RECOMMENDED, STRENGTHS, TIMINGS
from wdlab.measures import MEASURES, measure, weight_norm
from wdlab.models import cross_entropy
from wdlab.stats import Effect, bootstrap, differences, interval

BASES = (chapter05.fitted, chapter05.signal_resnet, chapter05.image_resnet)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    from wdlab import data

    data.mnist1d()
    monkeypatch.setenv("WDLAB_CACHE", str(tmp_path_factory.mktemp("cache")))


def tiny(base=chapter05.fitted):
    run = base("ci")
    return replace(run, model=replace(run.model, width=4), steps=6, evaluations=2)


@pytest.fixture
def nets():
    """The trained nets of two seeds under three timings, in the order of the runs."""
    timings = [TIMINGS[name] for name in ("never", "first 25%", "always")]
    return sweep(chapter05.over_timings(tiny(), (3, 4), timings), jobs=1, networks=True).histories


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("scale", SCALES)
def test_runs_over_timings_differ_in_timing_alone_and_over_strengths_in_strength(base, scale: str) -> None:
    timed = chapter05.over_timings(base(scale), [5], FEW)
    strong = chapter05.over_strengths(base(scale), [5])
    for runs, field in ((timed, "decay.timing"), (strong, "decay.strength")):
        for other in runs[1:]:
            assert [line.partition(":")[0] for line in differences(runs[0], other)] == [field]
    assert {run.decay.timing for run in strong} == {Timing.always()}
    assert base(scale).decay.strength in [run.decay.strength for run in strong] and len(strong) == len(STRENGTHS)


def test_a_subject_holds_the_nets_as_they_were_trained(nets) -> None:
    subject = chapter05.subject(nets)
    inputs, labels = subject.examples()
    assert tuple(labels.shape) == (len(nets), chapter05.EXAMPLES)
    for member, history in enumerate(nets):
        alone = Training([history.run], "cpu")
        alone.advance(history.run.steps)
        assert torch.equal(subject.model.weight_0[member], alone.model.weight_0[0])
        own = alone.batches.sets[0][: chapter05.EXAMPLES]
        assert torch.equal(inputs[member], alone.inputs[own]) and torch.equal(labels[member], alone.labels[own])
    start = Training([nets[-1].run], "cpu").model.weight_0[0]
    assert subject.initial is not None and torch.equal(subject.initial["weight_0"][-1], start)


def test_one_norm_makes_nets_equally_long_and_leaves_their_answers(nets) -> None:
    subject = chapter05.subject(nets[:3])
    inputs, labels = subject.examples()
    before = cross_entropy(subject.model.train()(inputs), labels)
    first = subject.model.weight_0[0].clone()
    chapter05.to_one_norm_(subject)
    norms = weight_norm([subject.model.get_parameter(name).detach() for name in subject.model.scale_invariant])
    torch.testing.assert_close(norms, norms[:1].expand(3))
    assert torch.equal(first, subject.model.weight_0[0])
    torch.testing.assert_close(cross_entropy(subject.model(inputs), labels), before, rtol=1e-3, atol=1e-4)


def test_the_table_has_a_row_for_every_run_with_the_measures_asked_for(nets) -> None:
    runs, names = [history.run for history in nets], ["weight_norm", "gaussian_sharpness"]
    table = chapter05.measured(runs, names)
    assert list(table.columns) == ["timing", "strength", "seed", "test_error", *names]
    assert table["weight_norm"].tolist() == pytest.approx([h.curves["weight_norm"][-1] for h in nets], rel=1e-5)
    assert table["test_error"].tolist() == [history.curves["test_error"][-1] for history in nets]
    alone = measure(chapter05.subject(nets[3:]), names)["gaussian_sharpness"]
    assert table["gaussian_sharpness"].tolist()[3:] == pytest.approx(alone.tolist(), rel=1e-4)


def test_one_norm_moves_plain_sharpness_and_not_the_recommended_measure(nets) -> None:
    runs, names = [history.run for history in nets], ["gaussian_sharpness", RECOMMENDED]
    as_is, equal = chapter05.measured(runs, names), chapter05.measured(runs, names, one_norm=True)
    assert equal[RECOMMENDED].tolist() == pytest.approx(as_is[RECOMMENDED].tolist(), rel=0.05)
    moved = as_is["gaussian_sharpness"][1:3].tolist()
    assert equal["gaussian_sharpness"][1:3].tolist() != pytest.approx(moved, rel=1e-4)


def test_a_table_that_is_changed_stays_as_it_was_for_others(nets) -> None:
    runs = [history.run for history in nets]
    mine = chapter05.measured(runs, ["weight_norm"])
    mine["weight_norm"] = 0.0
    assert (chapter05.measured(runs, ["weight_norm"])["weight_norm"] > 0).all()


def test_tau_is_taken_within_each_seed() -> None:
    table = pd.DataFrame(
        {"seed": [1, 1, 1, 0, 0, 0], "test_error": [1, 2, 3, 11, 12, 13], "weight_norm": [4.0, 5.0, 6.0, 3.0, 2.0, 1.0]}
    )
    assert chapter05.tau_by_seed(table, "weight_norm") == [-1.0, 1.0]


def test_coverage_counts_the_intervals_that_hold_the_truth() -> None:
    """Wide enough, all do; of no width, none; and the truth is what many nets come close to."""

    def around(width: float):
        return lambda taus: Effect(mean := sum(taus) / len(taus), mean - width, mean + width, tuple(taus))

    assert chapter05.coverage(around(2), 3, 5) == 1.0 and chapter05.coverage(around(0), 3, 5) == 0.0
    for correlation in (0.0, 0.5, -0.8):
        assert chapter05.coverage(around(0.03), 40, 100, correlation, repeats=20) == 1.0
        assert chapter05.coverage(around(0.0005), 4, 20, correlation, repeats=200) < 0.2


def test_student_s_t_covers_the_truth_and_the_bootstrap_of_few_seeds_does_less() -> None:
    """At the sizes of the claims: six seeds of eight timings, four of five."""
    for seeds, nets in ((6, len(TIMINGS)), (4, len(FEW))):
        by_t, by_bootstrap = (chapter05.coverage(of, seeds, nets, repeats=1000) for of in (interval, bootstrap))
        assert 0.91 < by_t < 0.98 and by_bootstrap < by_t - 0.04
    assert chapter05.coverage(bootstrap, 40, 8, repeats=300) > 0.9


def test_fair_pairs_fit_about_equally_well() -> None:
    nets = {"test_error": [1, 2, 3], "training_loss": [1.0, 1.05, 2.0], "weight_norm": [2.0, 1.0, 9.0]}
    alone = {"test_error": [1, 2, 3], "training_loss": [1.0, 2.0, 3.0], "weight_norm": [1.0, 2.0, 3.0]}
    table = pd.concat([pd.DataFrame({"seed": seed, **rows}) for seed, rows in ((0, nets), (1, alone))])
    first, second = chapter05.fair_taus(table, "weight_norm")
    assert first == -1.0 and math.isnan(second)
    assert chapter05.fair_taus(table, "weight_norm", within=0.5)[0] == pytest.approx(1 / 3)


@pytest.mark.parametrize("name", [claim.id for claim in chapter05.CLAIMS if not claim.id.startswith("rescaling")])
def test_tau_has_its_sign_and_a_control_differs_in_one_thing(monkeypatch, name: str) -> None:
    asked = []

    def rising(runs, names, device="cpu", one_norm=False):
        asked.append((list(runs), list(names), one_norm))
        order = range(len(runs))
        return pd.DataFrame({"seed": [run.seed for run in runs], "test_error": order, names[0]: order})

    monkeypatch.setattr(chapter05, "measured", rising)
    setting = Setting("ci", (10_000, 10_001), "cpu")
    backwards = name.startswith(("plain", "norm-"))
    assert CLAIMS[name].measure(setting) == pytest.approx([-1.0 if backwards else 1.0] * 2)
    CLAIMS[name].control(setting)
    first, second = asked
    assert sum(a != b for a, b in zip(first, second, strict=True)) == 1


@pytest.mark.parametrize("where", ["", "-signals", "-images"])
def test_rescaling_is_foreseen_with_batchnorm_and_only_with_it(where: str) -> None:
    claim, setting = CLAIMS[f"rescaling-moves-plain-sharpness-only{where}"], Setting("ci", (20_000, 20_001), "cpu")
    assert min(claim.measure(setting)) > -0.01  # what BatchNorm's eps leaves, where a channel varies little
    assert max(claim.control(setting)) < -0.2


def test_the_recommended_measure_is_relative_and_every_claim_has_a_control_of_its_own() -> None:
    assert MEASURES[RECOMMENDED].kind == "relative" and MEASURES[RECOMMENDED].scale_invariant
    assert MEASURES[chapter05.PLAIN].kind == "absolute" and not MEASURES[chapter05.PLAIN].scale_invariant
    for claim in chapter05.CLAIMS:
        assert CLAIMS[claim.id] is claim and claim.control is not claim.measure
