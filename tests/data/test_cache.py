import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import safetensors.torch
import torch

from wdlab.data import DamagedFileError, cache_dir, cached_tensors, read_tensors, replacing, write_tensors

TENSORS = {"w": torch.arange(6.0).reshape(2, 3), "step": torch.tensor(7)}
META = {"seed": 3, "name": "run é", "curve": [1.5, None], "deep": {"yes": True}}


def test_cache_dir_is_the_users_unless_told(monkeypatch, tmp_path):
    assert cache_dir() == tmp_path / "cache"
    monkeypatch.setenv("WDLAB_CACHE", "~/here")
    assert cache_dir() == Path.home() / "here"
    monkeypatch.delenv("WDLAB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "wdlab" in cache_dir().parts
    assert not (tmp_path / "wdlab").exists(), "asking for the folder must not make it"


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(2.5, dtype=torch.float64),
        torch.zeros(0, 4),
        torch.tensor([True, False]),
        torch.tensor([1, 2], dtype=torch.bfloat16),
        torch.arange(12.0).reshape(3, 4).t(),
        torch.arange(12)[::5],
        torch.tensor([float("nan"), float("inf"), -0.0]),
        torch.ones(2, requires_grad=True),
    ],
)
def test_what_is_written_is_read(tmp_path, tensor):
    write_tensors(tmp_path / "a" / "b.safetensors", {"x": tensor, "alias": tensor}, META)
    tensors, meta = read_tensors(tmp_path / "a" / "b.safetensors")
    assert meta == META
    assert sorted(tensors) == ["alias", "x"]
    for read in tensors.values():
        assert read.dtype == tensor.dtype
        assert torch.equal(read.nan_to_num(9), tensor.detach().nan_to_num(9))


def test_the_same_content_gives_the_same_bytes(tmp_path):
    write_tensors(tmp_path / "one", TENSORS, META)
    write_tensors(tmp_path / "two", dict(reversed(TENSORS.items())), META)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_every_damaged_byte_is_noticed(tmp_path, flip):
    path = tmp_path / "x"
    write_tensors(path, TENSORS, META)
    good = path.read_bytes()
    for position in range(len(good)):
        flip(path, position)
        with pytest.raises(DamagedFileError) as error:
            read_tensors(path)
        assert str(path) in str(error.value), position
        path.write_bytes(good)


def test_every_cut_is_noticed(tmp_path):
    path = tmp_path / "x"
    write_tensors(path, TENSORS, META)
    good = path.read_bytes()
    for length in range(len(good)):
        path.write_bytes(good[:length])
        with pytest.raises(DamagedFileError, match="is damaged"):
            read_tensors(path)


@pytest.mark.parametrize(
    "tensors",
    [
        {"v": TENSORS["w"], "step": TENSORS["step"]},
        {"w": TENSORS["w"].reshape(3, 2), "step": TENSORS["step"]},
        {"w": TENSORS["w"].view(torch.int32), "step": TENSORS["step"]},
        {"w": TENSORS["w"]},
        {"w": TENSORS["step"].reshape(1), "step": TENSORS["w"]},
    ],
)
def test_the_checksum_covers_names_shapes_and_dtypes(tmp_path, tensors):
    sealed = _sealed(tmp_path)
    safetensors.torch.save_file(tensors, tmp_path / "x", metadata={"wdlab": sealed})
    with pytest.raises(DamagedFileError, match="checksum"):
        read_tensors(tmp_path / "x")


def test_the_checksum_covers_the_meta(tmp_path):
    sealed = json.loads(_sealed(tmp_path))
    sealed["meta"] = json.dumps(META | {"seed": 4})
    safetensors.torch.save_file(TENSORS, tmp_path / "x", metadata={"wdlab": json.dumps(sealed)})
    with pytest.raises(DamagedFileError, match="checksum"):
        read_tensors(tmp_path / "x")


def _sealed(folder):
    write_tensors(folder / "good", TENSORS, META)
    with safetensors.safe_open(folder / "good", "pt") as file:
        return file.metadata()["wdlab"]


@pytest.mark.parametrize("metadata", [None, {"other": "x"}, {"wdlab": "[]"}, {"wdlab": '{"sha256": 1}'}])
def test_a_strangers_file_is_not_ours(tmp_path, metadata):
    safetensors.torch.save_file(TENSORS, tmp_path / "x", metadata=metadata)
    with pytest.raises(DamagedFileError, match="x is damaged"):
        read_tensors(tmp_path / "x")


def test_an_absent_file_is_not_a_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "absent")


def test_meta_that_is_not_json_writes_nothing(tmp_path, names):
    with pytest.raises(TypeError, match="JSON"):
        write_tensors(tmp_path / "x", TENSORS, {"tensor": torch.zeros(1)})
    assert names(tmp_path) == []


def test_a_failed_write_leaves_the_old_file_alone(tmp_path, names):
    (tmp_path / "x").write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "x") as temporary:
        temporary.write_text("ne")
        raise KeyboardInterrupt
    assert names(tmp_path) == ["x"]
    assert (tmp_path / "x").read_text() == "old"


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from wdlab.data import cache
full, path = Path.write_bytes, Path(sys.argv[1])
def half(self, data):
    full(self, data[: len(data) // 2])
    os.kill(os.getpid(), signal.SIGKILL)
Path.write_bytes = half
cache.cached_tensors(path, {"seed": 1}, lambda: {"w": torch.ones(1000)})
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
@pytest.mark.parametrize("old", [True, False])
def test_killed_in_the_middle_of_a_write(tmp_path, names, caplog, old):
    path = tmp_path / "x"
    if old:
        write_tensors(path, {"w": torch.zeros(2)}, {"seed": 0})
    child = subprocess.run([sys.executable, "-c", KILLED, str(path)], timeout=60, check=False)
    assert child.returncode == -signal.SIGKILL
    left = [name for name in names(tmp_path) if name != "x"]
    assert len(left) == 1 and left[0].startswith(".x.") and left[0].endswith(".tmp")
    assert path.exists() == old
    if old:
        assert read_tensors(path)[1] == {"seed": 0}
    made = cached_tensors(path, {"seed": 1}, lambda: {"w": torch.ones(1000)})
    assert torch.equal(made["w"], torch.ones(1000))
    assert read_tensors(path)[1] == {"seed": 1}
    assert not caplog.records


def test_readers_and_writers_at_once_see_whole_files(tmp_path, names):
    path, wrong = tmp_path / "x", []

    def work(mine):
        for _ in range(40):
            write_tensors(path, {"w": torch.full((5000,), float(mine))}, {"by": mine})
            tensors, meta = read_tensors(path)
            if not (tensors["w"] == meta["by"]).all():
                wrong.append(meta)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert names(tmp_path) == ["x"]


def counting():
    calls = []

    def make():
        calls.append(1)
        return {"w": torch.ones(3)}

    return make, calls


def test_made_once_then_kept(tmp_path, caplog):
    make, calls = counting()
    for _ in range(3):
        assert torch.equal(cached_tensors(tmp_path / "x", {"seed": 1}, make)["w"], torch.ones(3))
    assert len(calls) == 1
    cached_tensors(tmp_path / "x", {"seed": 2}, make)
    assert len(calls) == 2, "another meta is other content"
    assert not caplog.records


def test_damage_is_named_and_remade(tmp_path, caplog, flip):
    make, calls = counting()
    cached_tensors(tmp_path / "x", {}, make)
    flip(tmp_path / "x", -1)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(cached_tensors(tmp_path / "x", {}, make)["w"], torch.ones(3))
    assert [str(tmp_path / "x") in record.getMessage() for record in caplog.records] == [True]
    assert "remade" in caplog.text
    caplog.clear()
    cached_tensors(tmp_path / "x", {}, make)
    assert len(calls) == 2 and not caplog.records, "the remade file is whole"


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path, caplog, monkeypatch, names):
    def refuse(*_):
        raise PermissionError("read-only")

    monkeypatch.setattr(os, "replace", refuse)
    make, calls = counting()
    for _ in range(2):
        assert torch.equal(cached_tensors(tmp_path / "x", {}, make)["w"], torch.ones(3))
    assert len(calls) == 2
    assert names(tmp_path) == []
    assert "WDLAB_CACHE" in caplog.text and str(tmp_path / "x") in caplog.text


def test_a_file_where_the_folder_should_be_is_a_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    make, _ = counting()
    path = tmp_path / "file" / "data" / "x"
    assert torch.equal(cached_tensors(path, {}, make)["w"], torch.ones(3))
    assert "cannot be written" in caplog.text
