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
    each = {
        way: {"median_s": seconds, "sgemm_share": 0.5, "peak_mb": None}
        for way, seconds in {**ways, "sweep": sweep}.items()
    }
    ratios = {way: dict.fromkeys(("median", "low", "high"), seconds / sweep) for way, seconds in ways.items()}
    return {**vars(setting), "ways": each, "ratios": ratios}


def test_a_goal_is_met_or_missed_as_it_was_measured(module) -> None:
    goals = module("goals")
    [first, second, third] = goals.verdicts([told(goals.MLP, plain=5.1, vmap=1.4, processes=2.0)], None)
    assert [row["met"] for row in (first, second, third)] == [True, False, True]
    assert (first["measured"], first["goal"]) == (5.1, "at least 5")
    assert goals.verdicts([told(replace(goals.MLP, steps=1), plain=9.0)], None) == [], "another setting has no goal"
    [fast, share] = goals.verdicts([told(s, plain=2.5) for s in goals.SETTINGS if s.width == 256], None)
    assert fast["met"] and not share["met"] and share["measured"] == 0.5
    overheads = {"sweep": {"overhead_share": 0.02}, "import": {"median_s": 2.5}, "help": {"median_s": 0.1}}
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
    nets = ("mlp 100", "mlp 64", "mlp 256", "signals 8", "images 8", "translation 64", "cartpole 64")
    assert head == f"| members | {' | '.join(nets)} |"
    assert [row.split(" | ")[0] for row in rows] == [f"| {2**power}" for power in range(8)]
    assert rows[0].split(" | ")[1] == "32.3 / 48.4 / - / 16.1", "1 member took 62 steps"
    assert rows[0].split(" | ")[4] == "62.5 / - / - / 31.2", "and 32"
    assert figure.by_members(growth) == [] and len(figure.table(short)) == 2, "short runs are in no other table"


def test_parts_measured_one_after_another_are_judged_as_one(module, tmp_path: Path) -> None:
    figure, goals = module("figure"), module("goals")
    overheads = {"sweep": {"overhead_share": 0.02}, "import": {"median_s": 0.1}, "help": {"median_s": 0.1}}
    wide = next(s for s in goals.SETTINGS if s.width == 256)
    first = told(wide, 1.0, plain=2.0) | {"sgemm_gflops": 100.0, "gflop": 65.0}
    second = told(goals.MLP, 1.0, plain=2.0) | {"sgemm_gflops": 130.0, "gflop": 65.0}
    files = [tmp_path / "first.json", tmp_path / "second.json"]
    rest = {"machine": {"cores": 2}, "goals": [], "memory": []}
    files[0].write_text(json.dumps({"settings": [first], "overheads": None, **rest}))
    files[1].write_text(json.dumps({"settings": [second], "overheads": overheads, **rest}))
    whole = figure.joined(files)
    assert whole["overheads"] == overheads and len(whole["goals"]) == 3 + 1 + 2
    (share,) = (row for row in whole["goals"] if row["what"].endswith("share of sgemm"))
    assert share["measured"] == 0.5, "of the best rate in all parts"


def test_where_wdlab_loses_is_said_of_all_that_was_measured(module) -> None:
    figure, settings = module("figure"), module("settings")
    won = told(settings.Setting("mlp", 100, 48, 248), 1.0, plain=2.0, processes=1.5)
    lost = [told(settings.Setting("images", 8, count, 40), 1.0, plain=1.5, processes=0.9) for count in (12, 2)]
    assert figure.losses([won]) == []
    assert figure.losses([won, *lost])[1:] == ["", "- plain loop, a process a core: images 8 (2, 12)"]


def test_what_one_core_does_is_measured_with_one_thread(module) -> None:
    run, ways = module("run"), module("ways")
    for words in ([], ["--threads", "2"]):
        threads = dict(run.tried(run.parsed(words)))
        assert set(threads) == set(ways.WAYS)
        assert threads["vmap-core"] == threads["sweep-core"] == 1


def test_vmap_on_one_core_is_held_beside_a_sweep_on_one(module) -> None:
    figure, settings = module("figure"), module("settings")
    setting, core = settings.Setting("mlp", 100, 48, 248), {"vmap-core": 6.0, "sweep-core": 1.5}
    found = told(setting, 1.0, plain=5.0, vmap=3.0, **core)
    assert [cell.split(" ")[0] for cell in figure.table([found])[-1].split(" | ")[4:8]] == ["5.0", "3.0", "", "4.0"]
    whole, apart = told(setting, 1.0, plain=5.0, vmap=3.0), told(setting, **core)
    del apart["ways"]["sweep"]
    rows = figure.table([whole, apart])
    assert len(rows) == 3 and rows[-1].split(" | ")[7] == "4.0", "measured apart, and still in one row"


def test_short_runs_are_tested_on_few_examples_and_are_the_same_runs_otherwise(module) -> None:
    settings = module("settings")
    for setting in (s for s in settings.MEMBERS if s.members == 2):
        few, usual = setting.runs(), replace(setting, tested=None).runs()
        assert {run.task.test_size for run in few} == {setting.tested}
        assert [replace(run, task=usual[0].task) for run in few] == usual


def test_lambdas_share_no_past_and_timings_do(module) -> None:
    nets = module("settings").NETS
    assert len(stretches(nets["mlp"].runs(12, 8, 40))) == 1
    assert len(stretches(nets["timings"].runs(12, 8, 40))[0].runs) < 12


def outcome(module, loss: float = 1.0, accuracy: float = 0.5):
    return module("plain").Outcome(loss, accuracy)


@pytest.mark.parametrize(("loss", "accuracy"), [(1.1, 0.5), (float("nan"), 0.5), (1.0, 0.6)])
def test_ways_that_did_other_work_are_not_compared(module, loss: float, accuracy: float) -> None:
    run, same = module("run"), outcome(module)
    run.agree({"plain": [same, same], "sweep": [same, outcome(module, 1.01)]})
    with pytest.raises(SystemExit, match="plain and sweep disagree"):
        run.agree({"plain": [same, same], "sweep": [same, outcome(module, loss, accuracy)]})


def test_the_ways_take_turns_and_the_warm_up_does_not_count(module, monkeypatch) -> None:
    run, settings, goals = module("run"), module("settings"), module("goals")
    asked, clock = [], iter(range(1, 100))

    def one(way: str, threads: int, setting, device):
        asked.append(way)
        return [outcome(module)], module("machine").Spent(float(next(clock)))

    monkeypatch.setattr(run, "one", one)
    monkeypatch.setattr(run.machine, "sgemm", lambda device: 100.0)
    monkeypatch.setattr(run.peaks, "of_way", lambda way, setting, device: 1.0)
    options = run.parsed(["--ways", "plain", "sweep", "--threads", "1", "--repeats", "3"])
    found = run.measure(settings.Setting("mlp", 6, 1, 3), options)
    assert asked == ["plain", "sweep"] * 4
    assert found["ways"]["plain"]["seconds"] == [3.0, 5.0, 7.0] and found["ratios"]["plain"]["median"] == 5 / 6
    goals.share_out([found, {**found, "sgemm_gflops": 200.0, "ways": {}}])
    assert found["ways"]["plain"]["sgemm_share"] == pytest.approx(found["gflop"] / 5.0 / 200), "of the best of the run"


def test_the_products_of_a_perceptron_are_counted(module) -> None:
    runs = module("settings").Setting("mlp", 6, 2, 3).runs()
    layers = [(40, 6), (6, 6), (6, 6), (6, 10)]
    forward = 2 * runs[0].task.batch_size * sum(a * b for a, b in layers)
    nobody_asks = 2 * runs[0].task.batch_size * 40 * 6  # for the gradient by the examples
    assert module("plain").operations(runs) == 2 * 3 * (3 * forward - nobody_asks)


def test_what_a_sweep_adds_is_what_is_left_beside_the_training(module, monkeypatch) -> None:
    ways, machine = module("ways"), module("machine")
    monkeypatch.setattr(ways, "once", lambda device, seed: (10.0, 10.2 if seed > 10_000 else 99.0))
    found = ways.overhead(machine.torch.device("cpu"), repeats=3)
    assert found["n"] == 3 and found["overhead_share"] == pytest.approx(0.02), "the first, a warm-up, is left out"


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
    assert 0.4 < late / early < 2, "over 2.4, if it grew with the square of the members"
    assert all(0.3 < each / found["said_mb"] < 2 for each in (early, late)), "never twice what was said"


@pytest.mark.slow
def test_every_net_is_the_same_in_every_way(module, tmp_path: Path) -> None:
    kept = tmp_path / "nets.json"
    nets = ["mlp", "timings", "signals", "images", "translation", "cartpole"]
    few = ["--width", "8", "--members", "2", "--steps", "3", "--repeats", "1", "--threads", "1", "--no-peaks"]
    run("benchmarks/run.py", "--net", *nets, *few, "--json", str(kept))  # stops where two ways disagree
    ways = {found["net"]: list(found["ways"]) for found in json.loads(kept.read_text())["settings"]}
    usual = module("ways").WAYS
    assert ways == {net: [way for way in usual if net != "cartpole" or "vmap" not in way] for net in nets}


@pytest.mark.slow
def test_the_benchmark_s_json_and_its_figure(tmp_path: Path) -> None:
    kept = tmp_path / "cost.json"
    said = run("benchmarks/run.py", *TINY, "--json", str(kept))
    kept_of = json.loads(kept.read_text())
    assert all(str(value) in said.splitlines()[0] for value in kept_of["machine"].values()), "versions and cores"
    assert kept_of["machine"]["cores"] >= 1 and {"torch", "python", "name", "device"} <= set(kept_of["machine"])
    [found] = kept_of["settings"]
    assert (found["net"], found["width"], found["members"], found["steps"]) == ("mlp", 6, 2, 3)
    assert set(found["ways"]) == {"plain", "vmap", "processes", "sweep", "vmap-core", "sweep-core"}
    for way in found["ways"].values():
        assert len(way["seconds"]) == 1 and way["median_s"] == way["seconds"][0] > 0 and way["threads"] >= 1
        assert 0 < way["sgemm_share"] < 1 and 0 <= way["accuracy"] <= 1
        assert way["peak_mb"] is None or 50 < way["peak_mb"] < 4000, "torch alone takes more"
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
