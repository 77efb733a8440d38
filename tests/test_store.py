"""The store: what was put comes back, damage is noticed and named, the key holds all that fixes the numbers."""

import ast
import json
import logging
import math
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest
import torch

import wdlab
from wdlab import Decay, History, Model, Optimizer, Run, Schedule, Timing, store
from wdlab.data import write_tensors
from wdlab.store import NUMERICS, Store, describe
from wdlab.train import CURVES

RUN = Run(decay=Decay(0.1, Timing.first(0.25)), steps=40, evaluations=4)
STEPS = (0, 10, 20, 30, 40)
PACKAGE = Path(wdlab.__file__).parent


def history(run: Run = RUN, diverged_at: int | None = None) -> History:
    curves = {name: tuple(0.1 * step + number for step in STEPS) for number, name in enumerate(CURVES)}
    curves["train_loss"] = (math.nan, *curves["train_loss"][1:])
    return History(run, STEPS, curves, diverged_at)


def same(a: History, b: History) -> bool:
    """Equality in which NaN equals NaN, down to the order of the curves."""
    return repr(a) == repr(b) and a.run == b.run


@pytest.fixture
def kept(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.mark.parametrize("diverged_at", [None, 0, 17])
def test_what_was_put_comes_back(kept: Store, diverged_at: int | None) -> None:
    assert kept.get(RUN) is None
    kept.put(history(diverged_at=diverged_at))
    found = kept.get(RUN)
    assert found is not None and same(found, history(diverged_at=diverged_at))
    assert list(found.curves) == list(CURVES)


def test_a_new_history_replaces_the_old(kept: Store) -> None:
    kept.put(history())
    kept.put(history(diverged_at=3))
    assert kept.get(RUN).diverged_at == 3
    assert len([path for path in kept.folder.rglob("*") if path.is_file()]) == 1


def test_the_default_store_follows_the_environment(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WDLAB_CACHE", str(tmp_path))
    assert Store.default() == Store(tmp_path / "runs", "cpu") and Store.default("cuda").device == "cuda"


# The key

# A different allowed value for every field that a Run holds, at any depth.
OTHER = {
    "task.name": "other",
    "task.source": "fashion",
    "task.train_size": 3000,
    "task.test_size": 1000,
    "task.batch_size": 64,
    "task.image_size": 28,
    "task.epochs": 3,
    "task.augment": ("shift",),
    "task.label_noise": 0.5,
    "task.classes": 5,
    "model.name": "resnet",
    "model.width": 7,
    "model.depth": 2,
    "model.norm": False,
    "model.blocks": 2,
    "optimizer.name": "adam",
    "optimizer.lr": 0.2,
    "optimizer.momentum": 0.8,
    "optimizer.nesterov": True,
    "optimizer.betas": (0.9, 0.99),
    "optimizer.eps": 1e-6,
    "schedule.name": "cosine",
    "schedule.final": 0.1,
    "schedule.warmup": 0.1,
    "decay.strength": 0.2,
    "decay.timing": Timing.first(0.5),
    "decay.coupling": "decoupled",
    "decay.scaling": "none",
    "decay.mask": "everything",
    "seed": 1,
    "steps": 41,
    "evaluations": 5,
    "match.norm": Decay(0.01),
    "match.effective_lr": Decay(0.01, Timing.first(0.5)),
}


def leaves(value: object, prefix: str = "") -> Iterator[str]:
    for field in fields(value):  # type: ignore[arg-type]
        inner = getattr(value, field.name)
        if is_dataclass(inner) and not isinstance(inner, Timing):
            yield from leaves(inner, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def changed(run: Run, field: str) -> Run:
    outer, _, inner = field.partition(".")
    if not inner:
        return replace(run, **{outer: OTHER[field]})
    if field == "task.augment":
        run = replace(run, task=replace(run.task, source="fashion"), model=Model("resnet"))
    return replace(run, **{outer: replace(getattr(run, outer), **{inner: OTHER[field]})})


def test_every_field_of_a_run_is_tried_below() -> None:
    assert set(leaves(RUN)) == set(OTHER)


@pytest.mark.parametrize("field", OTHER)
def test_the_key_depends_on_every_field(kept: Store, field: str) -> None:
    before = (
        replace(RUN, task=replace(RUN.task, source="fashion"), model=Model("resnet")) if "augment" in field else RUN
    )
    after = changed(RUN, field)
    assert before != after and kept.path(before) != kept.path(after)
    kept.put(history(before))
    assert kept.get(after) is None and kept.get(before) is not None


TIMINGS = [
    Timing.always(),
    Timing.never(),
    Timing.after(0.25),
    Timing.window(0.25, 0.5),
    Timing.cyclical(),
    Timing.cyclical(0.5),
    Timing.cyclical(high=2.0),
    Timing.cyclical(cycles=2),
    Timing.cyclical(peak=0.25),
    Timing.of(lambda step: step / 40),
]


def timed(timing: Timing) -> Run:
    return replace(RUN, decay=replace(RUN.decay, timing=timing))


def test_the_key_depends_on_when_decay_acts(kept: Store) -> None:
    assert len({kept.path(timed(timing)) for timing in TIMINGS}) == len(TIMINGS)


def test_the_key_does_not_depend_on_what_a_timing_is_called(kept: Store) -> None:
    first = [Timing.first(0.25), Timing.window(0, 0.25), Timing.of(lambda step: float(step < 10), "mine")]
    first += [replace(Timing.first(0.25), label="early"), Timing.first(0.2501)]  # the same ten steps of 40
    assert len({kept.path(timed(timing)) for timing in first}) == 1
    kept.put(history())
    assert str(kept.get(timed(first[2])).run.decay.timing) == "mine", "what was asked for comes back"


def test_the_key_depends_on_the_device_kind_and_on_the_source(kept: Store, monkeypatch) -> None:
    paths = {kept.path(RUN), replace(kept, device="cuda").path(RUN)}
    monkeypatch.setattr(store, "source_digest", lambda: "another")
    assert len(paths | {kept.path(RUN)}) == 3


def test_whatever_a_number_was_written_as_the_key_is_the_same(kept: Store) -> None:
    whole = replace(RUN, optimizer=Optimizer(lr=1, momentum=0), schedule=Schedule(final=1))
    point = replace(RUN, optimizer=Optimizer(lr=1.0, momentum=0.0), schedule=Schedule(final=1.0))
    assert kept.path(whole) == kept.path(point)


def test_a_run_is_described_in_json() -> None:
    told = describe(RUN)
    assert json.loads(json.dumps(told)) == told
    assert told["optimizer"]["betas"] == [0.9, 0.999] and told["task"]["train_size"] == 4000


def test_the_digest_covers_what_decides_the_numbers_and_nothing_else(monkeypatch, tmp_path: Path) -> None:
    copy = tmp_path / "wdlab"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "*.xz"))
    monkeypatch.setattr(store, "files", lambda name: copy)
    digest = store.source_digest.__wrapped__
    before = digest()
    assert all((copy / name).exists() for name in NUMERICS)
    for name in NUMERICS:
        path = copy / name if (copy / name).is_file() else sorted((copy / name).rglob("*.py"))[-1]
        text = path.read_text()
        path.write_text(text + "\n# another\n")
        assert digest() != before, path
        path.write_text(text)
    (copy / "sweeps.py").write_text("# other ways to carry it out")
    (copy / "lab" / "new.py").write_text("")
    assert digest() == before
    (copy / "models" / "new.py").write_text("")
    assert digest() != before


def test_what_training_imports_is_in_the_digest() -> None:
    """A module of wdlab that decides numbers, and is not listed, would let old results outlive it."""
    seen, todo = set(), ["train"]
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        path = PACKAGE.joinpath(*name.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("wdlab"):
                module = (node.module or "").removeprefix("wdlab").lstrip(".")
                inner = [f"{module}.{alias.name}".lstrip(".") for alias in node.names]
                todo += [
                    n for n in [module, *inner] if n and (PACKAGE / Path(*n.split("."))).with_suffix(".py").exists()
                ]
                todo += [n for n in [module, *inner] if n and (PACKAGE / Path(*n.split("."))).is_dir()]
    listed = {name.removesuffix(".py") for name in NUMERICS}
    assert {name.split(".")[0] for name in seen} - listed <= {"checks"}  # which only refuses


# Damage


def entry(kept: Store) -> Path:
    kept.put(history())
    return kept.path(RUN)


def regions(path: Path) -> dict[str, int]:
    """A byte in every part of a safetensors file: length, header, its metadata, data, the end."""
    data = path.read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    return {
        "length": 0,
        "length, high byte": 7,
        "header, first": 8,
        "metadata": data.index(b"sha256") + 12,
        "run": data.index(b"train_size") + 14,
        "diverged_at": data.index(b"diverged_at") + 15,
        "name of a curve": data.index(b'"lr"', data.index(b"__metadata__") + 10) + 1,
        "offsets": data.index(b"data_offsets") + 15,
        "header, last": header - 1,
        "data, first": header,
        "data, middle": (header + len(data)) // 2,
        "data, last": len(data) - 1,
    }


REGIONS = [
    "length",
    "length, high byte",
    "header, first",
    "metadata",
    "run",
    "diverged_at",
    "name of a curve",
    "offsets",
    "header, last",
    "data, first",
    "data, middle",
    "data, last",
]


def assert_refused(kept: Store, path: Path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        assert kept.get(RUN) is None
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert str(path) in record.getMessage() and "The run is computed again." in record.getMessage()
    kept.put(history())
    assert same(kept.get(RUN), history()), "and it can be kept again"


@pytest.mark.parametrize("region", REGIONS)
def test_a_flipped_bit_anywhere_is_noticed_and_named(kept: Store, caplog, region: str) -> None:
    path = entry(kept)
    assert list(regions(path)) == REGIONS
    data = bytearray(path.read_bytes())
    data[regions(path)[region]] ^= 1
    path.write_bytes(data)
    assert_refused(kept, path, caplog)


@pytest.mark.parametrize("cut", [0, 7, 40, -1])
def test_a_file_cut_short_is_noticed_and_named(kept: Store, caplog, cut: int) -> None:
    path = entry(kept)
    path.write_bytes(path.read_bytes()[:cut])
    assert_refused(kept, path, caplog)


class Evil:
    """A pickle that leaves a mark wherever it is loaded."""

    def __reduce__(self):
        return (os.mkdir, (os.environ["WDLAB_MARK"],))


@pytest.mark.parametrize("make", [pickle.dumps, None], ids=["pickle", "torch.save"])
def test_a_pickle_in_place_of_an_entry_is_damage_and_is_not_loaded(kept, caplog, make, tmp_path, monkeypatch) -> None:
    path, mark = entry(kept), tmp_path / "mark"
    monkeypatch.setenv("WDLAB_MARK", str(mark))
    if make:
        path.write_bytes(make(Evil()))
    else:
        torch.save(Evil(), path)
    assert_refused(kept, path, caplog)
    assert not mark.exists()


def test_nothing_is_unpickled() -> None:
    """No module of wdlab imports an unpickler or calls a loader that is one."""
    loaders = {("torch", "load"), ("joblib", "load"), ("np", "load"), ("numpy", "load"), ("pd", "read_pickle")}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {n.split(".")[0] for n in names} & {"pickle", "cloudpickle", "dill", "shelve", "marshal"}, path
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in loaders, path


def test_another_run_s_file_is_damage(kept: Store, caplog) -> None:
    path, other = entry(kept), replace(RUN, seed=5)
    kept.put(history(other))
    shutil.copy(kept.path(other), path)
    assert_refused(kept, path, caplog)


def test_a_file_of_something_else_is_damage(kept: Store, caplog) -> None:
    path = entry(kept)
    write_tensors(path, {"x": torch.zeros(3)}, {"what": "not a run"})
    assert_refused(kept, path, caplog)


def test_what_cannot_be_read_is_computed_again(kept: Store, caplog) -> None:
    path = kept.path(RUN)
    path.mkdir(parents=True)
    with caplog.at_level(logging.WARNING):
        assert kept.get(RUN) is None
    assert str(path) in caplog.text


def test_a_disk_that_says_no_is_an_oserror(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        Store(tmp_path / "file").put(history())


KILLED = """
import os, signal, sys
from pathlib import Path
import wdlab.data.cache as cache
sys.path.insert(0, sys.argv[2])
from test_store import RUN, Store, history
kept = Store(Path(sys.argv[1]))
if sys.argv[3] == "written":
    cache.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
else:
    write = Path.write_bytes
    def half(path, data):
        write(path, data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    Path.write_bytes = half
kept.put(history(diverged_at=3))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
@pytest.mark.parametrize("moment", ["half-written", "written"])
def test_a_process_killed_in_the_middle_of_a_write_leaves_the_old_file(kept: Store, caplog, moment: str) -> None:
    kept.put(history())
    env = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, "-c", KILLED, str(kept.folder), str(Path(__file__).parent), moment]
    died = subprocess.run(command, env=env, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    hidden = [path for path in kept.folder.rglob("*") if path.is_file() and path != kept.path(RUN)]
    assert [path.name[0] for path in hidden] == ["."], "a part of a file, which nobody reads"
    assert same(kept.get(RUN), history()) and not caplog.records
    kept.put(history(diverged_at=3))
    assert kept.get(RUN).diverged_at == 3
