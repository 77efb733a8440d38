"""The paper's own scale, proved on tiny files in the true format: loader, augmentation, the full-size ResNet-18."""

import dataclasses
import hashlib
import io
import tarfile

import numpy as np
import pytest
import torch

import wdlab.tasks.vision as vision
from wdlab import TASKS, Run, Training
from wdlab.claims import network
from wdlab.cli import main
from wdlab.data import cifar
from wdlab.models import ResNet
from wdlab.tasks import Batches


@pytest.fixture
def tiny_cifar(tmp_path, monkeypatch):
    """Two images in each official file of CIFAR-10, in the official format, in an otherwise empty cache folder."""
    path, draw = tmp_path / "data" / cifar._CIFAR10.file, np.random.default_rng(0)
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        for name in (*cifar._CIFAR10.train, *cifar._CIFAR10.test):
            content = draw.integers(0, 10, (2, 3073), dtype=np.uint8).tobytes()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setattr(cifar, "_CIFAR10", dataclasses.replace(cifar._CIFAR10, md5=md5))
    monkeypatch.setenv("WDLAB_CACHE", str(tmp_path))
    vision._source.cache_clear()
    yield dataclasses.replace(TASKS["cifar10"], train_size=10, test_size=2, batch_size=5)
    vision._source.cache_clear()


def test_one_step_of_the_full_size_network(tiny_cifar) -> None:
    run = dataclasses.replace(network("paper"), task=tiny_cifar, steps=1, evaluations=1)
    training = Training([run], "cpu")
    before = training.weights.clone()
    training.advance()
    (history,) = training.histories()
    assert isinstance(training.model, ResNet) and history.curves["train_loss"][-1] > 0
    assert sum(p.numel() for p in training.model.parameters()) == 11_173_962  # ResNet-18 for 10 classes of 32 x 32
    assert not torch.equal(before, training.weights)


def test_the_paper_run_is_as_long_as_it_says() -> None:
    run = network("paper")
    assert (run.task.train_size, run.task.test_size, run.steps) == (50_000, 10_000, 200 * 390)
    lr = run.schedule.table(run.steps)
    assert lr[390] / lr[0] == pytest.approx(0.97)


def batch_of(size: int, seeds: list[int]) -> Batches:
    """Batches of `size` images, the first one asked for."""
    task = dataclasses.replace(TASKS["cifar10"], train_size=size, test_size=2, batch_size=size)
    batches = Batches(task, seeds, size + 2)
    batches.indices(0)
    return batches


def test_augmentation_moves_and_mirrors_and_nothing_else() -> None:
    batches = batch_of(40, [3, 4])
    images = torch.arange(1.0, 2 * 40 * 64 + 1).reshape(2, 40, 1, 8, 8)
    moved = batches.augment(images)
    assert not torch.equal(moved, images)
    wide = torch.nn.functional.pad(images, (4,) * 4)
    found = set()
    for seed in range(2):
        for number in range(40):
            crops = {
                (i, j, m): crop(wide[seed, number, 0], i, j, m) for i in range(9) for j in range(9) for m in (0, 1)
            }
            matches = [key for key, value in crops.items() if torch.equal(value, moved[seed, number, 0])]
            assert matches, "an image that is no crop of its own"
            found.add(matches[0])
    assert {m for *_, m in found} == {0, 1} and len({i for i, *_ in found}) == 9 and len({j for _, j, _ in found}) == 9


def crop(wide: torch.Tensor, row: int, column: int, mirrored: int) -> torch.Tensor:
    part = wide[row : row + 8, column : column + 8]
    return part.flip(1) if mirrored else part


def test_augmentation_belongs_to_the_seed() -> None:
    images = torch.randn(2, 5, 3, 32, 32)
    both = batch_of(5, [3, 4])
    moved, alone = both.augment(images), batch_of(5, [4]).augment(images[1:])
    assert torch.equal(moved[1:], alone)
    forked = both.fork()
    both.indices(1), forked.indices(1)
    assert torch.equal(both.augment(images), forked.augment(images))
    assert not torch.equal(both.augment(images), moved)


def test_without_augment_nothing_moves() -> None:
    images = torch.randn(1, 2, 1, 8, 8)
    assert Batches(TASKS["fashion"], [0], 6000).augment(images) is images


def test_augmentation_is_refused_where_it_means_nothing() -> None:
    with pytest.raises(ValueError, match="augment='mirror' is unknown"):
        dataclasses.replace(TASKS["mnist1d"], augment=("mirror",))
    with pytest.raises(ValueError, match="moves images"):
        Run(TASKS["cifar10"])


def test_without_the_file_the_command_says_what_to_do(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("WDLAB_CACHE", str(tmp_path))
    monkeypatch.delenv("WDLAB_DOWNLOAD", raising=False)
    vision._source.cache_clear()
    assert main(["reproduce", "--only", "early-beats-never", "--scale", "paper", "--device", "cpu"]) == 2
    told = capsys.readouterr().err
    assert "cifar-10-binary.tar.gz" in told and "WDLAB_DOWNLOAD=1" in told and "Traceback" not in told
