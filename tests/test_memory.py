"""Memory: what a member needs is near what its training allocates, grows as it should, and splits groups in time."""

import logging
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from wdlab import Model, Optimizer, Run, Vision, memory, sweeps
from wdlab.memory import available, needed
from wdlab.sweeps import group

CPU = torch.device("cpu")
TINY = Vision("tiny", "fashion", train_size=64, test_size=50, batch_size=16, image_size=7)
BASE = Run(TINY, Model(width=20, depth=2), steps=8)
RUNS = [replace(BASE, seed=seed) for seed in range(12)]


@pytest.mark.parametrize("model", [BASE.model, Model("resnet", 4, 2)], ids=["mlp", "resnet"])
def test_more_weights_more_examples_and_adam_need_more(model: Model) -> None:
    run = replace(BASE, model=model)
    more = [
        replace(run, model=replace(model, width=2 * model.width)),
        replace(run, task=replace(TINY, batch_size=32)),
        replace(run, optimizer=Optimizer("adam", 0.01)),
    ]
    assert all(needed(one, CPU) > needed(run, CPU) for one in more)
    weights = sum(p.numel() for p in run.task.build(model, 1).parameters())
    assert needed(more[2], CPU) - needed(run, CPU) == 4 * 3 * weights, "a buffer and two scratch arrays more"


MEASURED = """
import sys
from wdlab import Model, Run, Training
runs = [Run(model=Model(sys.argv[1], int(sys.argv[2]), 2), seed=seed, steps=1, evaluations=1)
        for seed in range(int(sys.argv[3]))]
Training(runs, "cpu", threads=1).advance(1)
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")
@pytest.mark.parametrize(("name", "width", "few", "many"), [("mlp", 400, 2, 10), ("resnet", 32, 8, 24)])
def test_what_is_needed_is_what_is_taken_within_a_factor_of_two(name: str, width: int, few: int, many: int) -> None:
    def peak(members: int) -> int:  # not ru_maxrss, in which a child begins with the peak of its parent
        words = [sys.executable, "-c", MEASURED, name, str(width), str(members)]
        return 1024 * int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)

    Run().task.arrays()  # made and kept now, for making them takes more than training
    taken = (peak(many) - peak(few)) / (many - few)
    assert 0.5 < taken / needed(Run(model=Model(name, width, 2)), CPU) < 2


def test_a_group_that_does_not_fit_is_split_and_says_so(caplog) -> None:
    each = needed(RUNS[0], CPU)
    with caplog.at_level(logging.WARNING):
        assert [len(batch) for batch in group(RUNS, 1, CPU, 12.5 * each)] == [12] and not caplog.records
        assert [len(batch) for batch in group(RUNS, 1, CPU, 5.5 * each)] == [4, 4, 4]
        assert "12 members of mlp at width 20 need about" in caplog.text and "training 5 at a time." in caplog.text
        assert [len(batch) for batch in group(RUNS[:2], 1, CPU, 0.5 * each)] == [1, 1]
        assert "may still be too much" in caplog.text


def test_a_sweep_asks_how_much_there_is(monkeypatch, tmp_path: Path, caplog) -> None:
    monkeypatch.setattr(sweeps, "available", lambda device: 3 * needed(RUNS[0], device) / sweeps.ROOM)
    with caplog.at_level(logging.WARNING):
        found = sweeps.sweep(RUNS[:4], "cpu", jobs=1, store=sweeps.Store(tmp_path))
    assert "training 3 at a time" in caplog.text and found.table["test_error"].notna().all()


def test_what_is_available_is_the_tighter_of_machine_and_container(monkeypatch) -> None:
    told = {"/proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    4 kB\n"}
    monkeypatch.setattr(memory, "_read", lambda path: told.get(path, ""))
    assert available(CPU) == 4096
    told |= dict(zip(memory.CGROUPS[0], ("5000\n", "2000\n", "anon 900\ninactive_file 500\n"), strict=True))
    assert available(CPU) == 3500, "what was read from files gives way"
    del told[memory.CGROUPS[0][2]]
    assert available(CPU) == 3000
    told[memory.CGROUPS[0][0]] = "max\n"
    assert available(CPU) == 4096
    told.clear()
    assert available(CPU) == float("inf"), "where nobody can be asked"
    assert available(torch.device("mps")) == float("inf")


def test_children_of_a_container_count_under_version_1_of_cgroups(monkeypatch) -> None:
    """Its usage counts them, and so must the files that give way."""
    parts = "inactive_file 100\ntotal_inactive_file 500\n"
    told = dict(zip(memory.CGROUPS[1], ("5000\n", "2000\n", parts), strict=True))
    monkeypatch.setattr(memory, "_read", lambda path: told.get(path, ""))
    assert available(CPU) == 3500


def test_here_something_is_available() -> None:
    assert available(CPU) > resource.getpagesize()
