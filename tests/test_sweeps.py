"""Sweeps: a stored result is the computed one, whatever interrupts keeps what is finished, and order is kept."""

import logging
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import joblib
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib.parallel import ThreadingBackend

import wdlab
from wdlab import Decay, Match, Model, Optimizer, Results, Run, Schedule, Timing, Training, Vision, sweep, sweeps
from wdlab.store import Store
from wdlab.sweeps import GPU_MEMBERS, MEMBERS, group, train_batch
from wdlab.train import CURVES, History, group_key

ROOT = Path(wdlab.__file__).parent.parent
CPU = torch.device("cpu")
TINY = Vision("tiny", "fashion", train_size=64, test_size=50, batch_size=16, image_size=7)
BASE = Run(TINY, Model(width=6, depth=1), decay=Decay(0.05), steps=8, evaluations=2)
SEEDS = [replace(BASE, seed=seed) for seed in range(3)]


@pytest.fixture
def kept(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def trained(monkeypatch) -> list[list[Run]]:
    """The batches that have been trained in this process so far."""
    batches: list[list[Run]] = []

    def counted(runs, device, *more):
        batches.append(list(runs))
        return train_batch(runs, device, *more)

    monkeypatch.setattr(sweeps, "train_batch", counted)
    return batches


def numbers(results: Results) -> list[str]:
    """Everything measured, to the bit; NaN equals NaN."""
    return [repr((history.steps, history.curves, history.diverged_at)) for history in results.histories]


def same_numbers(a: History, b: History) -> None:
    """Equality to float32's rounding: in another batch a member's products may be summed in another order."""
    assert a.run == b.run and a.steps == b.steps and a.diverged_at == b.diverged_at
    for name in CURVES:
        torch.testing.assert_close(torch.tensor(a.curves[name]), torch.tensor(b.curves[name]), equal_nan=True)


def with_timing(timing: Timing, **changes) -> Run:
    return replace(BASE, decay=replace(BASE.decay, timing=timing), **changes)


# The store


def test_a_stored_result_is_the_computed_one(kept: Store, trained) -> None:
    first, second = sweep(SEEDS, "cpu", store=kept), sweep(SEEDS, "cpu", store=kept)
    assert numbers(first) == numbers(second) and first.runs == second.runs == tuple(SEEDS)
    assert trained == [SEEDS], "the second sweep trained nothing"
    pd.testing.assert_frame_equal(first.table, second.table)
    pd.testing.assert_frame_equal(first.curves, second.curves)


def test_results_come_in_the_order_asked_for_and_only_what_is_missing_is_trained(kept: Store, trained) -> None:
    sweep([SEEDS[1]], "cpu", store=kept)
    other = replace(BASE, model=Model(width=5, depth=1))
    asked = [SEEDS[2], other, SEEDS[1], SEEDS[0], SEEDS[2]]
    results = sweep(asked, "cpu", store=kept)
    assert list(results.runs) == asked
    assert Counter(run for batch in trained[1:] for run in batch) == Counter([SEEDS[2], SEEDS[0], other])
    for asked_run, found in zip(asked, results.histories, strict=True):
        assert numbers(Results((found,))) == numbers(sweep([asked_run], "cpu", store=kept))


def test_runs_that_mean_the_same_are_trained_once_and_keep_their_names(kept: Store, trained) -> None:
    mine = [Timing.first(0.5), Timing.window(0, 0.5), Timing.of(lambda step: float(step < 4), "mine")]
    results = sweep([with_timing(timing) for timing in mine], "cpu", store=kept)
    assert sum(map(len, trained)) == 1
    assert results.table["timing"].tolist() == ["first 0.5", "0 to 0.5", "mine"]
    assert len(set(numbers(results))) == 1


def test_a_damaged_entry_is_named_and_computed_again(kept: Store, trained, caplog) -> None:
    before = sweep(SEEDS, "cpu", store=kept)
    path = kept.path(SEEDS[1])
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        after = sweep(SEEDS, "cpu", store=kept)
    assert trained == [SEEDS, [SEEDS[1]]]
    for a, b in zip(before.histories, after.histories, strict=True):
        same_numbers(a, b)
    assert str(path) in caplog.text and "The run is computed again." in caplog.text
    caplog.clear()
    sweep(SEEDS, "cpu", store=kept)
    assert len(trained) == 2 and not caplog.records, "the entry is whole again"


def test_a_store_that_cannot_be_written_costs_no_result(tmp_path: Path, caplog) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        results = sweep([BASE], "cpu", store=Store(tmp_path / "file"))
    assert math.isfinite(results.table["test_error"].item())
    assert str(tmp_path / "file") in caplog.text and "set WDLAB_CACHE" in caplog.text


def test_the_device_kind_of_a_store_is_that_of_the_sweep(kept: Store) -> None:
    sweep([BASE], "cpu", store=replace(kept, device="cuda"))
    assert kept.get(BASE) is not None and replace(kept, device="cuda").get(BASE) is None


def test_without_a_store_the_cache_folder_is_used(monkeypatch, tmp_path: Path, trained) -> None:
    TINY.arrays()
    monkeypatch.setenv("WDLAB_CACHE", str(tmp_path / "mine"))
    sweep([BASE], "cpu")
    sweep(BASE, "cpu")  # one run, not in a list, will do
    assert len(trained) == 1 and list((tmp_path / "mine" / "runs").rglob("*.safetensors"))


# Interrupts


WIDTHS = [replace(BASE, model=Model(width=width, depth=1)) for width in (9, 8, 7)]  # three batches


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_sweep_keeps_what_is_finished_and_goes_on_there(kept: Store, monkeypatch, error) -> None:
    calls: list[Run] = []

    def broken(runs, device, *more):
        if len(calls) == 2:
            raise error
        calls.extend(runs)
        return train_batch(runs, device, *more)

    monkeypatch.setattr(sweeps, "train_batch", broken)
    with pytest.raises(error):
        sweep(WIDTHS, "cpu", store=kept)
    assert [kept.get(run) is not None for run in calls] == [True, True]
    finished = set(calls)
    calls.clear()
    results = sweep(WIDTHS, "cpu", store=kept)
    assert set(calls) == set(WIDTHS) - finished and list(results.runs) == WIDTHS


def test_an_interrupt_leaves_no_thread_and_no_folder_behind(kept: Store, monkeypatch, tmp_path: Path) -> None:
    import tempfile
    import threading

    def interrupted(*_):
        raise KeyboardInterrupt

    before = {thread.name for thread in threading.enumerate()}
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(Store, "put", interrupted)  # as if Ctrl-C came while a result was written
    with pytest.raises(KeyboardInterrupt) as caught:
        sweep(WIDTHS, "cpu", store=kept)
    assert caught  # which holds the frames of the sweep, as a notebook's last traceback does
    assert {thread.name for thread in threading.enumerate()} == before
    assert not list(tmp_path.glob("wdlab-*"))


KILLED = """
import os, signal, sys, time
from pathlib import Path
from dataclasses import replace
from wdlab import Decay, Model, Run, Timing, Vision, sweep
from wdlab.store import Store
task = Vision("tiny", "fashion", train_size=64, test_size=50, batch_size=16, image_size=7)
base = Run(task, Model(width=6, depth=1), decay=Decay(0.05), steps=8, evaluations=2)
def slow(step):
    if os.environ.get("WDLAB_SLOW") and step == 0:
        time.sleep(0.02)
    return 1.0
runs = [replace(base, seed=seed, model=Model(width=9 - seed, depth=1), decay=Decay(0.05, Timing.of(slow)))
        for seed in range(6)]
print("ready", flush=True)
results = sweep(runs, "cpu", jobs=1, store=Store(Path(sys.argv[1])))
print(results.table["test_error"].tolist(), flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_a_sweep_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    """Killed without warning, as by a full memory; what it stored is whole, and the next sweep uses it."""
    script, folder = tmp_path / "killed.py", tmp_path / "runs"
    script.write_text(KILLED)
    env = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    command = [sys.executable, str(script), str(folder)]
    with subprocess.Popen(command, env=env | {"WDLAB_SLOW": "1"}, stdout=subprocess.PIPE, text=True) as process:
        while len(list(folder.rglob("[!.]*.safetensors"))) < 2 and process.poll() is None:
            time.sleep(0.002)
        process.kill()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("[!.]*.safetensors")}
    assert 2 <= len(before) <= 6
    finished = subprocess.run(command, env=env, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("[!.]*.safetensors")}
    assert len(after) == 6 and before.items() <= after.items(), "nothing that was whole is computed again"
    assert finished.stderr == "", "a pipe gets no progress and no warning"


# Processes


def test_processes_give_what_one_process_gives(tmp_path: Path) -> None:
    """Also for functions written on the spot, and for a member that diverges."""
    runs = [with_timing(Timing.of(lambda step: step / 8), seed=seed) for seed in range(2)]
    runs += [replace(BASE, model=Model("resnet", width=2, depth=1), steps=3)]
    runs += [replace(BASE, model=Model(width=6, depth=1, norm=False), optimizer=Optimizer(lr=1e30))]
    here = sweep(runs, "cpu", jobs=1, store=Store(tmp_path / "here"))
    there = sweep(runs, "cpu", jobs=2, store=Store(tmp_path / "there"))
    assert here.runs == there.runs == tuple(runs)
    assert here.table["diverged_at"].notna().tolist() == [False, False, False, True]
    for a, b in zip(here.histories, there.histories, strict=True):
        same_numbers(a, b)
    assert sweep(runs, "cpu", jobs=2, store=Store(tmp_path / "there")).runs == tuple(runs)


def fatal(parent: int, folder: Path):
    """A timing that kills the process it is read in, unless that is `parent`, once something has been stored."""

    def multiplier(step: int) -> float:
        if os.getpid() != parent:
            start = time.monotonic()
            while not list(folder.rglob("[!.]*.safetensors")) and time.monotonic() < start + 60:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        return 1.0

    return multiplier


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_a_killed_worker_loses_its_own_batch_alone(kept: Store) -> None:
    doomed = with_timing(Timing.of(fatal(os.getpid(), kept.folder)), model=Model(width=3, depth=1))
    with pytest.raises(joblib.externals.loky.process_executor.TerminatedWorkerError):
        sweep([WIDTHS[0], doomed], "cpu", jobs=2, store=kept)
    assert kept.get(WIDTHS[0]) is not None and kept.get(doomed) is None
    assert sweep([WIDTHS[0], doomed], "cpu", jobs=1, store=kept).table["test_error"].notna().all()


class AllAtOnce(ThreadingBackend):
    """A backend that hands over all results together, as ray's does."""

    supports_return_generator = False


joblib.register_parallel_backend("all at once", AllAtOnce)


@pytest.mark.parametrize("backend", ["threading", "all at once"])
def test_other_backends_of_joblib_serve_too(tmp_path: Path, backend: str) -> None:
    with joblib.parallel_config(backend=backend, n_jobs=2):
        results = sweep(WIDTHS, "cpu", store=Store(tmp_path / "there"))
    assert numbers(results) == numbers(sweep(WIDTHS, "cpu", jobs=1, store=Store(tmp_path / "here")))


def test_how_many_workers(monkeypatch) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 4)
    small, long = [BASE] * 3, [replace(BASE, steps=sweeps.SMALL)] * 3
    images = [replace(BASE, model=Model("resnet"))] * 9
    assert sweeps._workers(small, CPU, None) == 1, "too little to be worth new processes"
    assert sweeps._workers(long, CPU, None) == 3 and sweeps._workers(images, CPU, None) == 4
    assert sweeps._workers(long, torch.device("cuda"), None) == 1
    assert sweeps._workers(small, CPU, 2) == 2
    with joblib.parallel_config(n_jobs=3):
        assert sweeps._workers(small, CPU, None) == 3
    for jobs in (0, -1, 1.5):
        with pytest.raises(ValueError, match=rf"^jobs={jobs} is not allowed; give a whole number of at least 1\.$"):
            sweeps._workers(small, CPU, jobs)  # type: ignore[arg-type]


# Groups

some_runs = st.lists(
    st.builds(
        lambda name, width, lr, seed, scaling: replace(
            BASE,
            model=Model(name, width),
            optimizer=Optimizer("adam", lr=lr),
            decay=Decay(0.1, coupling="decoupled", scaling=scaling),
            seed=seed,
        ),
        st.sampled_from(["mlp", "resnet"]),
        st.integers(4, 5),
        st.sampled_from([0.1, 0.2]),
        st.integers(0, 1000),
        st.sampled_from(["lr", "gradient_norm"]),
    ),
    min_size=1,
    max_size=60,
    unique=True,
)


@settings(deadline=None, max_examples=60)
@given(some_runs, st.integers(1, 5), st.sampled_from(["cpu", "cuda"]))
def test_groups_hold_every_run_once_in_even_batches_of_one_shape(runs: list[Run], workers: int, device: str) -> None:
    batches = group(runs, workers, torch.device(device))
    assert Counter(run for batch in batches for run in batch) == Counter(runs)
    sizes: dict[Run, list[int]] = {}
    for batch in batches:
        [key] = {group_key(run) for run in batch}
        sizes.setdefault(key, []).append(len(batch))
        assert len(batch) <= (MEMBERS if device == "cpu" else GPU_MEMBERS)[batch[0].model.name]
    for key, found in sizes.items():
        alike = sum(found)
        assert max(found) - min(found) <= 1
        assert len(found) % workers == 0 or len(found) == alike, (key, "as many batches as keep every worker busy")
    work = [len(batch) * batch[0].steps for batch in batches]
    assert work == sorted(work, reverse=True), "the longest first, so that none is left over at the end"


# Tables


def test_the_table_has_a_row_a_run(kept: Store) -> None:
    odd = replace(BASE, model=Model(width=6, depth=1, norm=False), optimizer=Optimizer(lr=1e30))
    results = sweep([*SEEDS, odd], "cpu", store=kept)
    table = results.table
    assert table["seed"].tolist() == [0, 1, 2, 0] and table["weight_decay"].tolist() == [0.05] * 4
    assert table["task"].tolist() == ["tiny"] * 4 and table["timing"].tolist() == ["always"] * 4
    for row, history in zip(table.to_dict("records"), results.histories, strict=True):
        assert row["lr"] == history.run.optimizer.lr and row["steps"] == 8
        for name in ("train_loss", "test_loss", "test_error", "weight_norm", "effective_lr"):
            assert row[name] == pytest.approx(history.curves[name][-1], nan_ok=True)
        assert row["test_accuracy"] == pytest.approx(1 - row["test_error"], nan_ok=True)
    assert table["diverged_at"].isna().tolist() == [True] * 3 + [False]
    assert table["test_accuracy"].isna().tolist() == [False] * 3 + [True], "a run that diverged has no accuracy"


def test_the_curves_have_a_row_a_reading(kept: Store) -> None:
    results = sweep([SEEDS[0], with_timing(Timing.first(0.5))], "cpu", store=kept)
    curves = results.curves
    assert len(curves) == 6 and curves["run"].tolist() == [0, 0, 0, 1, 1, 1]
    assert curves["step"].tolist() == [0, 4, 8] * 2
    assert curves["lambda"].tolist() == [0.05] * 6 and curves["lr0"].tolist() == [0.1] * 6
    assert curves["weight_decay"].tolist() == pytest.approx([0.05] * 3 + [0.05, 0, 0])
    assert set(CURVES) <= set(curves.columns) and curves["timing"].tolist() == ["always"] * 3 + ["first 0.5"] * 3
    for name in CURVES:
        told = [value for history in results.histories for value in history.curves[name]]
        assert curves[name].tolist() == pytest.approx(told, nan_ok=True)


@pytest.mark.parametrize(
    "other",
    [
        replace(BASE, task=replace(TINY, train_size=48)),
        replace(BASE, model=Model(width=6, depth=2)),
        replace(BASE, model=Model(width=6, depth=1, norm=False)),
        replace(BASE, optimizer=Optimizer(momentum=0.5)),
        replace(BASE, optimizer=Optimizer(nesterov=True)),
        replace(BASE, optimizer=Optimizer(betas=(0.5, 0.9))),
        replace(BASE, schedule=Schedule(final=0.5)),
        replace(BASE, schedule=Schedule(warmup=0.5)),
        replace(BASE, decay=Decay(0.05, coupling="decoupled")),
        replace(BASE, decay=Decay(0.05, mask="everything")),
        replace(BASE, decay=Decay(0.05, scaling="none")),
    ],
)
def test_runs_that_differ_have_rows_that_differ(other: Run) -> None:
    assert sweeps.settings(other) != sweeps.settings(BASE)
    history = {name: (0.0,) for name in CURVES}
    table = Results((History(BASE, (0,), history), History(other, (0,), history))).table
    assert not table.iloc[0].equals(table.iloc[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"runs": []}, r"^runs=\[\] is not allowed; give one or more wdlab\.Run\.$"),
        ({"runs": ["mnist1d"]}, r"^runs=\['mnist1d'\] is not allowed; give one or more wdlab\.Run\.$"),
        ({"runs": [BASE], "device": "cdua"}, r"^device='cdua' is unknown; did you mean 'cuda'\?"),
        ({"runs": [BASE], "jobs": 0}, r"^jobs=0 is not allowed; give a whole number of at least 1\.$"),
        (
            {"runs": [replace(BASE, task=Vision("many", "fashion", train_size=5999, image_size=7))]},
            r"^train_size=5999 is not allowed; fashion has 6000 examples",
        ),
    ],
)
def test_what_cannot_be_swept_is_refused(kept: Store, arguments, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sweep(**{"device": "cpu", "store": kept, **arguments})


PASTS = [Decay(strength, Timing.first(share)) for share in (0.25, 0.5, 1.0) for strength in (0.02, 0.05)]


def test_runs_that_share_a_past_are_grouped_beside_each_other_and_agents_stay_in_order() -> None:
    runs = [replace(BASE, decay=decay, seed=seed) for decay in PASTS for seed in range(2)]
    batches = group(runs, 4, CPU)
    assert [{(run.seed, run.decay.strength) for run in batch} for batch in batches] == [
        {(seed, strength)} for seed in range(2) for strength in (0.02, 0.05)
    ]
    agents = [Run("cartpole", Model(norm=False), Optimizer("adam"), decay=Decay(s), steps=9) for s in (0.2, 0.1, 0.3)]
    assert group(agents, 1, CPU) == [agents]


def test_in_one_batch_or_in_three_the_histories_are_the_same(tmp_path: Path, trained, monkeypatch) -> None:
    runs, found = [replace(BASE, decay=decay) for decay in PASTS], []
    for most in (6, 2):
        monkeypatch.setitem(MEMBERS, "mlp", most)
        found.append(sweep(runs, "cpu", jobs=1, store=Store(tmp_path / str(most))))
    assert [len(batch) for batch in trained] == [6, 2, 2, 2]
    for one, parted in zip(*(results.histories for results in found), strict=True):
        same_numbers(one, parted)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 6), st.integers(1, 7), st.integers(1, 4))
def test_runs_that_copy_stay_with_their_whole_seed(seeds: int, arms: int, workers: int) -> None:
    """What they copy from is then a member already, and is not trained again unseen."""
    never, early = (replace(BASE, decay=Decay(0.1, timing)) for timing in (Timing.never(), Timing.first(0.5)))
    more = [replace(never, decay=Decay(0.1 * place, Timing.first(0.1))) for place in range(2, arms + 1)]
    copy = replace(never, match=Match(norm=early.decay))
    runs = [replace(run, seed=seed) for seed in range(seeds) for run in (never, early, copy, *more)]
    batches = group(runs, workers, CPU)
    assert Counter(run for batch in batches for run in batch) == Counter(runs)
    where = [{run.seed for run in batch} for batch in batches]
    assert all(batches) and sum(map(len, where)) == seeds, "no seed is in two batches"
    for batch in batches:
        assert len(Training(batch, "cpu")._members) == len(batch)
