"""Claims of chapter 06: each rests on the dial it names, and on nothing else."""

from dataclasses import replace

import pytest
import torch

import wdlab.claims as claims
from wdlab import Model, Run, Schedule, Timing
from wdlab import sweep as real_sweep
from wdlab.claims import CLAIMS, SCALES, Setting, chapter06
from wdlab.measures import growth
from wdlab.stats import differences
from wdlab.tasks import Batches

BASES = (chapter06.growing, chapter06.growing_signals, chapter06.growing_images)
NOISE = [name for name in CLAIMS if name.startswith(("noise-grows", "noise-needs"))]
PLACES = ("", "-signals", "-images")


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("scale", SCALES)
def test_every_run_goes_without_decay_at_a_constant_rate(base, scale: str) -> None:
    run = base(scale)
    assert run.decay.timing == Timing.never() and run.schedule.name == "constant"
    assert (run.task.label_noise, run.task.augment, run.task.classes) == (0.0, (), None)
    times = run.steps * run.task.batch_size / run.task.train_size
    assert times > 20, "often enough to be memorized"


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("scale", SCALES)
def test_fresh_data_differ_in_size_alone_and_come_back_seldom(base, scale: str) -> None:
    run = base(scale)
    fresh = chapter06.fresh(run, scale)
    assert [line.partition(":")[0] for line in differences(run, fresh)] == ["task.train_size"]
    times = fresh.steps * fresh.task.batch_size / fresh.task.train_size
    if run.task.source == "mnist1d" and scale != "ci":
        assert times == 1
    assert 4 * times <= run.steps * run.task.batch_size / run.task.train_size


def test_norms_are_those_of_the_runs_and_seeds() -> None:
    runs = [tiny(chapter06.growing("ci")), tiny(chapter06.of(chapter06.growing("ci"), label_noise=0.5))]
    setting = Setting("ci", (3, 4), "cpu")
    ends = chapter06.norms(runs, setting)
    table = real_sweep([replace(run, seed=seed) for run in runs for seed in (3, 4)], jobs=1).table
    assert [norm for row in ends for norm in row] == table["weight_norm"].tolist()
    shares = chapter06.excess(runs[1], runs[0], setting)
    assert shares == [noisy / clean - 1 for noisy, clean in zip(ends[1], ends[0], strict=True)]


def tiny(run):
    """The same run, as short and narrow as it gets."""
    return replace(run, model=replace(run.model, width=4), steps=4, evaluations=4)


def narrow(runs, device):
    """Short runs of narrow nets."""
    return real_sweep([replace(narrower(run), steps=6, evaluations=6) for run in runs], jobs=1)


def narrower(run):
    return replace(run, model=Model(width=4) if run.model.name == "mlp" else Model("resnet", 2, depth=2))


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(claims.arms, "sweep", narrow)
    monkeypatch.setattr(chapter06, "followed", lambda runs, device: FOLLOWED([tiny(run) for run in runs], device))
    chapter06._grown.cache_clear()
    yield
    chapter06._grown.cache_clear()


FOLLOWED = chapter06.followed


SETTING = Setting("ci", (10_000, 10_001), "cpu")
DIALLED = [claim.id for claim in chapter06.CLAIMS if not claim.id.startswith("gradients-predict")]


@pytest.mark.parametrize("name", DIALLED)
def test_every_claim_and_its_control_turn_a_dial(quick, name: str) -> None:
    found, control = CLAIMS[name].measure(SETTING), CLAIMS[name].control(SETTING)
    assert all(found) and all(control) and found != control


@pytest.mark.parametrize("name", NOISE)
def test_noise_claims_fail_when_no_label_is_changed(quick, monkeypatch, name: str) -> None:
    monkeypatch.setattr(Batches, "labels", lambda self, true: true.expand(len(self.seeds), -1))
    verdict = CLAIMS[name].check("ci", seeds=2)
    assert verdict.effect == verdict.control_outcome.effect == 0 and not verdict.holds


@pytest.mark.parametrize("where", PLACES)
def test_the_claims_about_shifts_fail_when_nothing_is_shifted(quick, monkeypatch, where: str) -> None:
    monkeypatch.setattr(Batches, "augment", lambda self, inputs: inputs)
    verdict = CLAIMS[f"shifting-slows-growth{where}"].check("ci", seeds=2)
    assert verdict.effect == verdict.control_outcome.effect == 0 and not verdict.holds


def test_noise_needs_nothing_of_a_rate_that_is_the_same(quick, monkeypatch) -> None:
    monkeypatch.setattr(chapter06, "Schedule", lambda: chapter06.CONSTANT)
    verdict = CLAIMS["noise-needs-the-rate"].check("ci", seeds=2)
    assert verdict.effect == verdict.control_outcome.effect == 0 and not verdict.holds


@pytest.mark.parametrize("scale", ["ci", "demo"])
def test_the_claim_about_the_rate_has_runs_that_the_map_of_the_notebook_has(monkeypatch, scale: str) -> None:
    asked: list[Run] = []

    def note(runs, setting):
        asked.extend(replace(run, seed=seed) for run in runs for seed in setting.seeds)
        return [[1.0] * len(setting.seeds) for _ in runs]

    monkeypatch.setattr(chapter06, "norms", note)
    few = 2 if scale == "ci" else 5  # as in the notebook
    CLAIMS["noise-needs-the-rate"].check(scale, device="cpu", seeds=few)
    base = chapter06.growing(scale)
    drawn = {
        replace(chapter06.of(data, label_noise=noise), schedule=schedule, seed=seed)
        for data in (base, chapter06.fresh(base, scale))
        for noise in (0.0, 0.5)
        for schedule in (Schedule(), Schedule("constant"))
        for seed in range(few)
    }
    assert set(asked) == drawn
    assert CLAIMS["noise-needs-the-rate"].levels[scale].seeds == {"ci": 4, "demo": 5}[scale]


def test_images_that_are_never_memorized_differ_in_size_and_are_moved() -> None:
    run = chapter06.growing_images("ci")
    moved = chapter06.never_memorized(run, "ci")
    assert (moved.task.augment, moved.task.image_size) == (("shift", "mirror"), 14)
    assert moved.task.train_size == chapter06.fresh(run, "ci").task.train_size
    signals = chapter06.growing_signals("ci")
    assert chapter06.never_memorized(signals, "ci") == chapter06.fresh(signals, "ci")
    assert chapter06.roomy(chapter06.growing_images("demo")) == chapter06.growing_images("demo")


def test_forms_for_other_networks_ask_for_as_much_as_the_mlps() -> None:
    for name in (name for name in CLAIMS if name.endswith(PLACES[1:]) and CLAIMS[name] in chapter06.CLAIMS):
        mlp = CLAIMS[name.rpartition("-")[0]]
        smallest = {level.smallest for claim in (mlp, CLAIMS[name]) for level in claim.levels.values()}
        assert len(smallest) == 1 and CLAIMS[name].unit == mlp.unit


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("name", ["small-sets-stop-growing", "repeats-grow-the-norm"])
def test_claims_about_size_fail_when_all_sets_are_the_same(quick, monkeypatch, name: str, where: str) -> None:
    monkeypatch.setattr(chapter06, "quarter", lambda run: run)
    monkeypatch.setattr(chapter06, "fresh", lambda run, scale: run)
    verdict = CLAIMS[name + where].check("ci", seeds=2)
    assert verdict.effect == verdict.control_outcome.effect == 0 and not verdict.holds


@pytest.mark.parametrize("where", PLACES)
def test_a_prediction_with_its_own_gradients_is_not_that_with_anothers(quick, where: str) -> None:
    claim = CLAIMS[f"gradients-predict-the-norm{where}"]
    own, swapped = claim.measure(SETTING), claim.control(SETTING)
    assert len(own) == len(swapped) == 2 and own != swapped


def test_the_prediction_fails_where_momentum_is_forgotten(monkeypatch) -> None:
    short = {name: replace(run, steps=150) for name, run in chapter06.data_sets(chapter06.growing("ci")).items()}
    monkeypatch.setattr(chapter06, "data_sets", lambda run: short)
    chapter06._grown.cache_clear()
    claim = CLAIMS["gradients-predict-the-norm"]
    right, swapped = claim.measure(SETTING), claim.control(SETTING)
    assert max(-value for value in right) < 0.12
    whole = growth.norm_from_gradients
    monkeypatch.setattr(growth, "norm_from_gradients", lambda start, lr, G, momentum=0.0: whole(start, lr, G))
    assert min(-value for value in claim.measure(SETTING)) > 0.3
    chapter06._grown.cache_clear()
    assert min(-value for value in swapped) > max(-value for value in right)


def test_followed_runs_share_one_momentum() -> None:
    run = tiny(chapter06.growing("ci"))
    found = chapter06.followed([run, replace(run, seed=1)])
    assert found.momentum == 0.9 and found.norm.shape == (5, 3, 2) and torch.isfinite(found.norm).all()
