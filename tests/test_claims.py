"""Claims: the verdict is read off the interval, broken toggles make them fail, and they say what they rest on."""

import json
import math
from dataclasses import replace

import pytest
import torch

import wdlab.claims as claims
from wdlab import Decay, Model, Run, Timing
from wdlab import sweep as real_sweep
from wdlab.claims import CLAIMS, SCALES, Claim, Level, Setting, chapter03
from wdlab.matching import Matching
from wdlab.tasks import of_vision


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """A store of the test's own, so that no stored run hides a toggle that is broken on purpose."""
    from wdlab import data

    data.mnist1d()  # from the shared cache, before it is left
    monkeypatch.setenv("WDLAB_CACHE", str(tmp_path_factory.mktemp("cache")))


def claim(measure=lambda s: [0.2, 0.3, 0.25], control=lambda s: [0.0, 0.01, -0.01], smallest=0.1) -> Claim:
    levels = {scale: Level(3, smallest) for scale in SCALES}
    return Claim("id", "statement <b>", "ours", "points", measure, "where it must vanish", control, levels)


def test_a_verdict_holds_its_effect_and_its_control() -> None:
    verdict = claim().check("ci", seed_offset=7)
    assert verdict.holds and verdict.verdict == "supported" and verdict.control == "vanishes"
    assert verdict.effect == pytest.approx(0.25) and verdict.low < 0.25 < verdict.high
    assert sum(verdict.values) / 3 == pytest.approx(verdict.effect)
    assert verdict.seeds == (7, 8, 9) and verdict.scale == "ci" and verdict.seconds >= 0


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [([0.2, 0.3, 0.25], "supported"), ([0.0, 0.01], "not supported"), ([0, 0.5], "inconclusive")],
)
def test_each_verdict_can_come_out_for_claim_and_control(measured, verdict) -> None:
    found = claim(lambda s: measured, lambda s: measured).check()
    assert found.verdict == verdict and not found.holds
    words = {"supported": "does not vanish", "not supported": "vanishes", "inconclusive": "inconclusive"}
    assert found.control == words[verdict]
    where = {
        "supported": "all of it above",
        "not supported": "all of it below",
        "inconclusive": "not all on one side of",
    }
    assert f"{where[verdict]} {found.smallest:+g}" in found._repr_html_()


def test_a_diverged_seed_is_never_support() -> None:
    verdict = claim(lambda s: [0.2, math.nan, 0.25]).check()
    assert not verdict.holds and verdict.verdict == "inconclusive"
    assert json.loads(json.dumps(verdict.as_json(), allow_nan=False))["effect"] is None


def test_a_verdict_is_json_with_the_names_others_rely_on() -> None:
    told = json.loads(json.dumps(claim().check().as_json()))
    names = {"id", "statement", "effect", "low", "high", "seeds", "holds", "control", "seconds", "scale", "versions"}
    assert names <= set(told) and told["holds"] is True and told["versions"]["torch"] == torch.__version__


def test_html_is_escaped() -> None:
    assert "statement &lt;b&gt;" in claim().check()._repr_html_()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"scale": "dem"}, "did you mean 'demo'"),
        ({"seeds": 4}, "from 2 to 3"),
        ({"seeds": 1}, "from 2 to 3"),
        ({"seed_offset": -1}, "seed_offset=-1"),
        ({"device": "cudda"}, "device"),
    ],
)
def test_what_is_not_allowed_is_named(arguments, told) -> None:
    with pytest.raises(ValueError, match=told):
        claim().check(**arguments)


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_is_whole(name: str) -> None:
    found = CLAIMS[name]
    assert found.id == name and set(found.levels) == set(SCALES)
    assert found.statement.endswith(".") and found.source and found.unit and found.control_says
    assert found.measure is not found.control


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("base", [claims.network, claims.signal_resnet, claims.image_resnet])
def test_every_scale_has_its_runs(base, scale: str) -> None:
    assert base(scale).steps > 0 and base(scale).decay.strength > 0


def small(scale: str) -> Run:
    """A network on which early decay shows within seconds: many steps at a falling rate, a strong lambda."""
    return Run(model=Model(width=32), decay=Decay(0.05), steps=150, evaluations=1)


NORM = "weight_norm"


def early_norm(setting: Setting) -> list[float]:
    """Never minus first quarter, in weight norm: large whatever the seed, as long as the toggle works."""
    from wdlab.stats import paired
    from wdlab.sweeps import sweep

    runs = claims.arms.spread(small(setting.scale), setting.seeds, (claims.EARLY, claims.NEVER))
    return [-value for value in paired(sweep(runs, jobs=1), "decay.timing", claims.EARLY, claims.NEVER, NORM).values]


def test_a_working_toggle_supports_and_a_broken_one_does_not(monkeypatch) -> None:
    about_norm = claim(early_norm, smallest=0.5)
    assert about_norm.check().verdict == "supported"
    monkeypatch.setattr(Timing, "table", lambda self, steps: torch.zeros(steps, dtype=torch.float64))
    assert about_norm.check().verdict == "not supported"


TIMED = [
    name
    for name in CLAIMS
    if name.startswith(("early", "late", "norm-stays", "steps-turn", "effective-lr-is", "small-norm-is"))
]
SETTING = Setting("ci", (10_000, 10_001), "cpu")


@pytest.fixture
def quick(monkeypatch):
    """Short and narrow runs, but long enough that timing shows in every measure."""
    monkeypatch.setattr(claims.arms, "sweep", lambda runs, device: real_sweep([shorter(run) for run in runs], jobs=1))


def shorter(run: Run) -> Run:
    """The same run, short and narrow; the MLP at a rate that is high to the end, so that late decay shows."""
    if run.model.name == "mlp":
        faster, schedule = replace(run.optimizer, lr=0.3), replace(run.schedule, final=0.5)
        run = replace(run, model=replace(run.model, width=16), optimizer=faster, schedule=schedule)
        return replace(run, steps=80, evaluations=4)
    task = of_vision(run.task)
    task = replace(task, image_size=7) if task.source == "fashion" else task
    return replace(run, task=task, model=replace(run.model, width=2), steps=40, evaluations=4)


@pytest.mark.parametrize("name", TIMED)
def test_every_claim_about_timing_moves_with_it_and_is_nothing_without(quick, monkeypatch, name: str) -> None:
    found, control = CLAIMS[name].measure(SETTING), CLAIMS[name].control(SETTING)
    assert any(found) and list(found) != list(control)
    for broken in (torch.zeros, torch.ones):
        monkeypatch.setattr(Timing, "table", lambda self, steps, table=broken: table(steps, dtype=torch.float64))
        # To rounding: a weight scaled to the norm it has is not quite what it was, and few examples tip over for it.
        assert max(map(abs, CLAIMS[name].measure(SETTING))) < 0.01


BASES = {"": "network", "-signals": "signal_resnet", "-images": "image_resnet"}
ARMS = [name for name in TIMED if name.startswith(("effective-lr-is", "small-norm-is"))]


@pytest.mark.parametrize("name", ARMS)
def test_a_copy_that_copies_nothing_is_never(quick, monkeypatch, tmp_path, name: str) -> None:
    run = getattr(claims, BASES[name.partition("-is-enough")[2]])(SETTING.scale)
    whole = claims.arms.gain(run, SETTING, claims.EARLY, claims.NEVER)
    copied = CLAIMS[name].measure(SETTING)
    copy_nothing(monkeypatch, tmp_path)
    lost = CLAIMS[name].measure(SETTING)
    assert lost == pytest.approx([-value / 2 for value in whole]) and copied != lost


@pytest.mark.parametrize("where", BASES)
def test_a_small_norm_is_nothing_when_it_is_not_kept(quick, monkeypatch, tmp_path, where: str) -> None:
    alone = CLAIMS[f"small-norm-alone-gains-little{where}"]
    assert any(alone.measure(SETTING)) and alone.measure(SETTING) != alone.control(SETTING)
    copy_nothing(monkeypatch, tmp_path)
    assert not any(alone.measure(SETTING)) and not any(alone.control(SETTING))


def copy_nothing(monkeypatch, empty_store) -> None:
    monkeypatch.setenv("WDLAB_CACHE", str(empty_store))
    monkeypatch.setattr(Matching, "lr_factors", lambda self, model: torch.ones_like(self._norms(model)))
    monkeypatch.setattr(Matching, "rescale_", lambda self, model, still: None)


def test_a_claim_that_also_holds_in_its_control_does_not_hold() -> None:
    verdict = claim(control=lambda s: [0.2, 0.3, 0.25]).check()
    assert verdict.verdict == "supported" and verdict.control == "does not vanish" and not verdict.holds


def test_the_convex_control_forgets_what_it_would_gain_from() -> None:
    never, early, always = (
        claims.linear_accuracy(range(4), timing) for timing in (claims.NEVER, claims.EARLY, claims.ALWAYS)
    )
    assert torch.equal(early, never)
    assert (always - never).mean() > CLAIMS["early-beats-never"].levels["demo"].smallest


def test_a_dose_is_the_sum_of_lr_times_lambda_over_the_steps_in_which_decay_acts() -> None:
    run = replace(small("ci"), steps=8)
    lr, before = run.schedule.table(8).tolist(), run.optimizer.lr * 0.05
    assert chapter03.dose(run, claims.EARLY) == pytest.approx(before * sum(lr[:2]))
    assert chapter03.dose(run, claims.LATE) == pytest.approx(before * sum(lr[4:]))
    assert chapter03.dose(run, claims.NEVER) == 0


def test_late_decay_at_equal_dose_has_the_dose_of_early_decay_and_nothing_else_changes() -> None:
    run = small("ci")
    decay = claims.at_equal_dose(run, claims.LATE)
    assert decay.strength > 5 * run.decay.strength and decay.timing == claims.LATE
    matched = replace(run, decay=decay)
    assert chapter03.dose(matched, claims.LATE) == pytest.approx(chapter03.dose(run, claims.EARLY))
    assert replace(decay, strength=run.decay.strength, timing=run.decay.timing) == run.decay
    flat = replace(run, schedule=claims.CONSTANT)  # half as much on twice as many steps
    assert claims.at_equal_dose(flat, claims.LATE).strength == pytest.approx(run.decay.strength / 2, rel=0.02)
    with pytest.raises(ValueError, match=r"timing=never is not allowed: it has no dose at any lambda"):
        claims.at_equal_dose(run, claims.NEVER)


@pytest.mark.parametrize(
    ("name", "part"),
    [("early-beats-late-at-equal-dose", "measure"), ("early-beats-late-at-equal-dose", "control"),
     ("late-half-of-the-dose-matches", "measure")],
)  # fmt: skip
def test_the_arms_of_claims_about_equal_doses_have_one_dose(monkeypatch, name: str, part: str) -> None:
    seen: list[Run] = []
    monkeypatch.setattr(claims.arms, "sweep", lambda runs, device: seen.extend(runs) or real_sweep(runs[:0]))
    with pytest.raises(ValueError, match="give one or more"):
        getattr(CLAIMS[name], part)(SETTING)
    base = claims.network(SETTING.scale)
    wanted = chapter03.dose(base, claims.EARLY)
    if name.startswith("late"):
        wanted = chapter03.dose(base, claims.ALWAYS) / 2
    doses = [chapter03.dose(run, run.decay.timing) for run in seen if run.decay.timing != claims.NEVER]
    assert len(seen) == 2 * len(SETTING.seeds) and len(doses) == len(seen) // (2 if part == "control" else 1)
    assert doses == pytest.approx([wanted] * len(doses), abs=base.optimizer.lr * base.decay.strength)


@pytest.mark.parametrize("scale", SCALES)
def test_the_halves_of_a_dose_are_equal_to_a_step_and_half_of_the_run_only_at_a_constant_rate(scale: str) -> None:
    run = claims.network(scale)
    half = claims.half_dose(run)
    first, rest = (chapter03.dose(run, timing) for timing in (Timing.first(half), Timing.after(half)))
    assert first == pytest.approx(rest, abs=run.optimizer.lr * run.decay.strength) and half < 0.4
    assert first + rest == pytest.approx(chapter03.dose(run, claims.ALWAYS))
    assert claims.half_dose(replace(run, schedule=claims.CONSTANT)) == pytest.approx(0.5, abs=1 / run.steps)


def test_the_convex_control_pairs_by_seed() -> None:
    both = claims.linear_accuracy([0, 1], claims.NEVER)
    assert both[1] == pytest.approx(claims.linear_accuracy([1], claims.NEVER)[0])
    assert both[0] != both[1]
