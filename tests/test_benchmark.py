"""The benchmark runs every way on one tiny setting, and what it writes is what the figure reads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TINY = ["--net", "mlp", "--width", "6", "--members", "2", "--steps", "3", "--repeats", "1", "--threads", "1"]


def run(*words: str) -> str:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_benchmark_s_json_and_its_figure(tmp_path: Path) -> None:
    kept = tmp_path / "cost.json"
    run("benchmarks/run.py", *TINY, "--json", str(kept))
    told = json.loads(kept.read_text())
    assert told["machine"]["cores"] >= 1 and {"torch", "python", "name", "device"} <= set(told["machine"])
    [found] = told["settings"]
    assert (found["net"], found["width"], found["members"], found["steps"]) == ("mlp", 6, 2, 3)
    assert set(found["ways"]) == {"plain", "vmap", "processes", "sweep", "alone"}
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
    run("benchmarks/figure.py", str(kept), "--readme", str(readme))
    assert kept.with_name("cost.png").stat().st_size > 1000
    text = readme.read_text()
    assert (
        text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text and "| mlp | 6 | 2 |" in text
    )
