import importlib.metadata
import os
import random
import subprocess
import sys

import joblib
import numpy as np
import pytest
import torch
from mnist1d.data import get_dataset_args, make_dataset

from wdlab.data import mnist1d, mnist1d_chunks, mnist_1d


def package_arrays(samples, seed):
    """What the package itself makes, its two parts joined; the global generators are put back."""
    states = random.getstate(), np.random.get_state()
    arguments = get_dataset_args()
    arguments.num_samples, arguments.seed = samples, seed
    made = make_dataset(arguments)
    random.setstate(states[0])
    np.random.set_state(states[1])
    return np.concatenate([made["x"], made["x_test"]]), np.concatenate([made["y"], made["y_test"]])


def test_equals_the_package():
    data = mnist1d(samples=200, seed=5)
    inputs, labels = package_arrays(200, 5)
    assert np.array_equal(data.inputs.numpy(), inputs.astype(np.float32))
    assert np.array_equal(data.labels.numpy(), labels)
    assert data.classes == 10


def test_balanced_shuffled_standardized():
    data = mnist1d(samples=200)
    assert data.inputs.shape == (200, 40) and data.inputs.dtype == torch.float32
    assert data.labels.dtype == torch.int64
    assert data.labels.bincount().tolist() == [20] * 10
    assert not torch.equal(data.labels, data.labels.sort().values)
    assert abs(float(data.inputs.mean())) < 1e-6
    assert float(data.inputs.std(correction=0)) == pytest.approx(1, abs=1e-6)


def test_the_seed_is_all_that_matters(cache):
    first = mnist1d(samples=100, seed=1)
    np.random.rand(3)
    mnist_1d._load.cache_clear()
    (cache / "data" / "mnist1d-100-1.safetensors").unlink()
    again, other = mnist1d(samples=100, seed=1), mnist1d(samples=100, seed=2)
    assert torch.equal(first.inputs, again.inputs) and torch.equal(first.labels, again.labels)
    assert not torch.equal(first.inputs, other.inputs)


def test_global_generators_are_left_alone():
    np.random.seed(11)
    random.seed(11)
    torch.manual_seed(11)
    expected = np.random.rand(), random.random(), float(torch.rand(()))
    np.random.seed(11)
    random.seed(11)
    torch.manual_seed(11)
    mnist1d(samples=50)
    assert (np.random.rand(), random.random(), float(torch.rand(()))) == expected


def test_global_generators_are_put_back_after_an_error(monkeypatch):
    def fails(_):
        np.random.seed(0)
        random.seed(0)
        raise RuntimeError("stopped")

    monkeypatch.setattr("mnist1d.data.make_dataset", fails)
    before = np.random.get_state()[1].tolist(), random.getstate()
    with pytest.raises(RuntimeError, match="stopped"):
        mnist1d(samples=50)
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before


def test_made_once_then_read_from_memory_and_disk(monkeypatch):
    first = mnist1d(samples=100)
    monkeypatch.setattr(mnist_1d, "_make", None)  # whoever makes it again fails
    assert torch.equal(mnist1d(samples=100).inputs, first.inputs)
    mnist_1d._load.cache_clear()
    assert torch.equal(mnist1d(samples=100).inputs, first.inputs)


def test_each_caller_owns_a_copy():
    mnist1d(samples=50).inputs.zero_()
    mnist1d(samples=50).labels.zero_()
    assert mnist1d(samples=50).inputs.any() and mnist1d(samples=50).labels.any()


def test_damage_is_named_and_remade(cache, caplog, flip):
    first = mnist1d(samples=100)
    (path,) = (cache / "data").iterdir()
    flip(path)
    mnist_1d._load.cache_clear()
    assert torch.equal(mnist1d(samples=100).inputs, first.inputs)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(path) in caplog.text


def test_another_version_of_the_package_is_another_set(monkeypatch, cache):
    mnist1d(samples=50)
    (path,) = (cache / "data").iterdir()
    old = path.read_bytes()
    mnist_1d._load.cache_clear()
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "99")
    mnist1d(samples=50)
    assert path.read_bytes() != old


def test_an_unwritable_cache_is_a_warning(monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WDLAB_CACHE", str(tmp_path / "file"))
    assert len(mnist1d(samples=50)) == 50
    assert "WDLAB_CACHE" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": 0}, "samples=0 is not allowed"),
        ({"samples": -10}, "samples=-10 is not allowed"),
        ({"samples": 205}, "samples=205 is not allowed: each of the 10 .* say 200"),
        ({"samples": 10.0}, "samples=10.0 is not allowed"),
        ({"seed": -1}, "seed=-1 is not allowed"),
        ({"seed": 2**32}, "seed=4294967296 is not allowed"),
        ({"seed": None}, "seed=None is not allowed"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        mnist1d(**arguments)


CHILD = """
import logging, sys
import matplotlib
logging.basicConfig(level=logging.WARNING)
from wdlab.data import mnist1d
before = matplotlib.get_backend(auto_select=False)
for name in ("mnist1d", "scipy", "matplotlib.pyplot", "requests"):
    assert name not in sys.modules, name + " is imported before it is needed"
print("ready", flush=True)
sys.stdin.readline()
data = mnist1d(samples=300)
assert "mnist1d" in sys.modules
assert matplotlib.get_backend(auto_select=False) == before, "the plotting backend was chosen for the user"
print(float(data.inputs.double().square().sum()), data.labels.tolist())
"""


def test_two_processes_make_the_same_cache_at_once(cache, names):
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-c", CHILD]
    children = [subprocess.Popen(command, env=environment, text=True, **pipes) for _ in range(2)]
    for child in children:
        assert child.stdout.readline() == "ready\n", child.stderr.read()
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    answers = [child.communicate(timeout=60) for child in children]
    assert [(child.returncode, error) for child, (_, error) in zip(children, answers, strict=True)] == [(0, "")] * 2
    assert answers[0][0] == answers[1][0] != ""
    assert names(cache) == [os.path.join("data", "mnist1d-300-42.safetensors")]


# More signals, in chunks


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(mnist_1d, "CHUNK", 50)


def test_chunks_are_the_packages_own_one_seed_each(short):
    found = mnist1d_chunks(3, seed=43)
    assert len(found) == 150 and found.classes == 10
    for number, seed in enumerate((43, 44, 45)):
        inputs, labels = package_arrays(50, seed)
        part = slice(50 * number, 50 * (number + 1))
        assert np.array_equal(found.inputs[part].numpy(), inputs.astype(np.float32))
        assert np.array_equal(found.labels[part].numpy(), labels)


def test_a_larger_set_begins_with_the_smaller_and_makes_only_what_is_missing(short, cache, names, monkeypatch):
    small = mnist1d_chunks(2)
    assert names(cache) == [os.path.join("data", f"mnist1d-50-{seed}.safetensors") for seed in (43, 44)]
    whole, made = mnist_1d._make, []
    monkeypatch.setattr(mnist_1d, "_make", lambda samples, seed: made.append(seed) or whole(samples, seed))
    large = mnist1d_chunks(3)
    assert made == [45]
    assert torch.equal(large.inputs[:100], small.inputs) and torch.equal(large.labels[:100], small.labels)
    assert torch.equal(mnist1d_chunks(3).inputs, large.inputs) and made == [45]


def test_chunks_equal_single_sets_wherever_they_were_made(short):
    made_alone = [mnist1d(50, seed) for seed in (43, 44)]
    assert torch.equal(mnist1d_chunks(2).inputs, torch.cat([one.inputs for one in made_alone]))


def test_chunks_made_in_threads_are_the_same(short, cache):
    """Inside a worker joblib takes threads: they must not mix up the package's global generators."""
    expected = mnist1d_chunks(4).inputs
    for path in (cache / "data").iterdir():
        path.unlink()
    with joblib.parallel_config(backend="threading"):
        assert torch.equal(mnist1d_chunks(4).inputs, expected)


def test_chunks_survive_damage_and_a_cache_that_cannot_be_written(short, cache, flip, monkeypatch, tmp_path):
    first = mnist1d_chunks(2)
    flip(cache / "data" / "mnist1d-50-44.safetensors")
    assert torch.equal(mnist1d_chunks(2).inputs, first.inputs)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WDLAB_CACHE", str(tmp_path / "file"))
    assert torch.equal(mnist1d_chunks(2).inputs, first.inputs)


@pytest.mark.parametrize("count", [0, -1, 1.5])
def test_a_number_of_chunks_that_makes_no_sense(count):
    with pytest.raises(ValueError, match="count="):
        mnist1d_chunks(count)
