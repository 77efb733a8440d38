"""The benchmark runs every way on one tiny setting, and what it writes is what the figure reads."""

import importlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from wdlab import Run
from wdlab.branches import stretches

ROOT = Path(__file__).resolve().parent.parent
TINY = ["--net", "mlp", "--width", "6", "--members", "2", "--steps", "3", "--repeats", "1", "--threads", "1"]


def run(*words: str) -> str:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def module(monkeypatch):
    """Import a script of the benchmark, which finds its neighbours beside it, as when it is run."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))

    def imported(name: str) -> ModuleType:
        return importlib.import_module(name)

    return imported


def told(setting, sweep: float = 1.0, **ways: float) -> dict:
    """What a benchmark keeps of one setting, with these medians."""
    each = {way: {"median_s": seconds, "sgemm_share": 0.5} for way, seconds in {"sweep": sweep, **ways}.items()}
    ratios = {way: {"median": seconds / sweep} for way, seconds in ways.items()}
    return {**vars(setting), "ways": each, "ratios": ratios}


def test_a_goal_is_met_or_missed_as_it_was_measured(module) -> None:
    goals = module("goals")
    [first, second, third] = goals.verdicts([told(goals.MLP, plain=5.1, vmap=1.4, processes=2.0)], None)
    assert [row["met"] for row in (first, second, third)] == [True, False, True]
    assert (first["measured"], first["goal"]) == (5.1, "at least 5")
    assert goals.verdicts([told(replace(goals.MLP, steps=1), plain=9.0)], None) == [], "another setting has no goal"
    [fast, share] = goals.verdicts([told(s, plain=2.5) for s in goals.SETTINGS if s.width == 256], None)
    assert fast["met"] and not share["met"] and share["measured"] == 0.5
    overheads = {"sweep": {"bookkeeping_share": 0.02}, "import": {"median_s": 2.5}, "help": {"median_s": 0.1}}
    assert [row["met"] for row in goals.verdicts([], overheads)] == [True, False, True]


def test_the_picture_holds_every_setting_of_the_growth(module) -> None:
    figure, settings = module("figure"), module("settings")
    growth = [told(setting, 1.0, plain=2.0) for setting in settings.GROWTH]
    panels = {by: figure.panel(growth, by) for by, _ in figure.PANELS}
    assert [s["members"] for s in panels["members"]] == [1, 2, 4, 8, 12, 16, 32, 64, 128]
    assert [s["width"] for s in panels["width"]] == [32, 64, 100, 128, 256]
    assert [s["steps"] for s in panels["steps"]] == [31, 62, 124, 248]
    assert "by steps, plain loop: 2 at 31" in figure.in_words(growth)
    drawn = figure.draw(growth)
    assert [len(line.get_xdata()) for line in drawn.axes[1].lines] == [5, 5], "plain and wdlab, not the others"


def test_the_short_runs_of_all_nets_are_one_table(module) -> None:
    figure, settings = module("figure"), module("settings")
    short = [told(setting, 1.0, plain=2.0) for setting in settings.MEMBERS]
    growth = [told(setting, 1.0, plain=2.0, vmap=3.0) for setting in settings.GROWTH]
    _, _, head, _, *rows = figure.by_members([*growth, *short])
    assert head == "| members | mlp | signals | images | translation | cartpole |"
    assert [row.split(" | ")[0] for row in rows] == [f"| {2**power}" for power in range(8)]
    assert rows[0].split(" | ")[1:3] == ["32.3 / 48.4 / 16.1", "62.5 / - / 31.2"], "1 member took 62 steps, and 32"
    assert figure.by_members(growth) == [] and len(figure.table(short)) == 2, "short runs are in no other table"


def test_short_runs_are_tested_on_few_examples_and_are_the_same_runs_otherwise(module) -> None:
    settings = module("settings")
    for net in settings.SIZES:
        setting = next(s for s in settings.MEMBERS if s.net == net and s.members == 2)
        few, usual = setting.runs(), replace(setting, tested=None).runs()
        assert {run.task.test_size for run in few} == {setting.tested}
        assert [replace(run, task=usual[0].task) for run in few] == usual


def test_lambdas_share_no_past_and_timings_do(module) -> None:
    nets = module("settings").NETS
    assert len(stretches(nets["mlp"].runs(12, 8, 40))) == 1
    assert len(stretches(nets["timings"].runs(12, 8, 40))[0].runs) < 12


def test_a_number_of_threads_far_behind_is_given_up(module) -> None:
    run, spent = module("run"), module("machine").Spent
    warm = {("plain", 1): spent(1.0), ("plain", 2): spent(1.6), ("vmap", 1): spent(1.4), ("vmap", 2): spent(1.0)}
    assert run.worth_trying(warm) == [("plain", 1), ("vmap", 1), ("vmap", 2)]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")
@pytest.mark.parametrize("net", ["mlp", "images", "translation"])
def test_memory_grows_evenly_with_members_and_is_about_what_was_said(module, net: str, monkeypatch) -> None:
    peaks = module("peaks")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    Run().task.arrays()  # made and kept now, for making them takes more than training
    monkeypatch.setattr(peaks, "CASES", {net: peaks.CASES[net]})
    [found] = peaks.measure()
    early, late = found["each_mb"]
    assert 0.4 < late / early < 2.5
    assert all(0.3 < each / found["said_mb"] < 2 for each in (early, late)), "never twice what was said"


@pytest.mark.slow
def test_the_benchmark_s_json_and_its_figure(tmp_path: Path) -> None:
    kept = tmp_path / "cost.json"
    run("benchmarks/run.py", *TINY, "--json", str(kept))
    kept_of = json.loads(kept.read_text())
    assert kept_of["machine"]["cores"] >= 1 and {"torch", "python", "name", "device"} <= set(kept_of["machine"])
    [found] = kept_of["settings"]
    assert (found["net"], found["width"], found["members"], found["steps"]) == ("mlp", 6, 2, 3)
    assert set(found["ways"]) == {"plain", "vmap", "processes", "sweep"}
    for way in found["ways"].values():
        assert len(way["seconds"]) == 1 and way["median_s"] == way["seconds"][0] > 0 and way["threads"] >= 1
        assert 0 < way["sgemm_share"] < 1 and 0 <= way["accuracy"] <= 1
        assert way["peak_mb"] is None or way["peak_mb"] > 50, "torch alone takes more"
    for way, ratio in found["ratios"].items():
        expected = found["ways"][way]["seconds"][0] / found["ways"]["sweep"]["seconds"][0]
        assert ratio["median"] == ratio["low"] == ratio["high"] == pytest.approx(expected)
    readme = tmp_path / "README.md"
    begin, end = "<!-- benchmark: written by benchmarks/figure.py -->", "<!-- end of benchmark -->"
    readme.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    picture = tmp_path / "cost.png"
    run("benchmarks/figure.py", str(kept), "--readme", str(readme), "--picture", str(picture))
    assert picture.stat().st_size > 1000
    text = readme.read_text()
    assert (
        text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text and "| mlp | 6 | 2 |" in text
    )
