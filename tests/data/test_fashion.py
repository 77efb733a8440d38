import gzip
import lzma
from importlib import resources

import numpy as np
import pytest
import torch

from wdlab.data import DamagedFileError, _pack_fashion, fashion, fashion_mnist
from wdlab.data.arrays import from_records

SHIPPED = resources.files("wdlab.data").joinpath(fashion._FILE)


@pytest.mark.parametrize("size", [7, 14, 28])
def test_shape_balance_and_scale(size):
    data = fashion_mnist(size)
    assert data.inputs.shape == (6000, 1, size, size)
    assert data.labels.bincount(minlength=10).tolist() == [600] * 10
    assert data.classes == 10
    assert abs(float(data.inputs.double().mean())) < 1e-6
    assert float(data.inputs.double().std(correction=0)) == pytest.approx(1, abs=1e-6)


def test_smaller_sizes_are_block_means_of_the_original():
    full = fashion_mnist(28)
    for size in (7, 14):
        small = fashion_mnist(size)
        side = 28 // size
        blocks = full.inputs.reshape(6000, 1, size, side, size, side).mean((3, 5))
        standard = (blocks - blocks.mean()) / blocks.std(correction=0)
        torch.testing.assert_close(small.inputs, standard, rtol=1e-4, atol=1e-4)
        assert torch.equal(small.labels, full.labels)


def test_the_order_is_shuffled_and_the_same_each_time():
    first, second = fashion_mnist(7), fashion_mnist(7)
    assert torch.equal(first.inputs, second.inputs)
    assert first.labels.unique_consecutive().numel() > 5000
    part = first.labels[:1000].bincount(minlength=10)
    assert part.min() > 70 and part.max() < 130, "any part holds about as many of each class"


def test_each_caller_owns_a_copy():
    first = fashion_mnist(28)
    first.inputs.zero_()
    first.labels.zero_()
    assert fashion_mnist(28).inputs.any() and fashion_mnist(28).labels.any()


def test_the_classes_are_what_they_are_called():
    """Trousers (1) are dark between the legs and left and right of them; pullovers (2) fill the middle."""
    data = fashion_mnist(28)
    trouser, pullover = (data.inputs[data.labels == label].mean(0)[0] for label in (1, 2))
    assert trouser[25, 10] > trouser[25, 14] < trouser[25, 18]
    assert pullover[14, 14] > trouser[14, 3]


@pytest.mark.parametrize("size", [0, 13, 14.0, True, "14", None, -7])
def test_other_sizes_are_refused(size):
    with pytest.raises(ValueError, match=f"size={size!r} is not allowed; give 7, 14 or 28"):
        fashion_mnist(size)


def test_the_shipped_file_is_small_and_its_licence_is_beside_it():
    assert len(SHIPPED.read_bytes()) < 2_600_000
    licence = resources.files("wdlab.data").joinpath("LICENSE-fashion-mnist.txt").read_text(encoding="utf-8")
    assert "Zalando SE" in licence and "Permission is hereby granted, free of charge" in licence
    assert fashion._FILE in licence


def _flipped(data):
    return data[:1_000_000] + bytes([data[1_000_000] ^ 1]) + data[1_000_001:]


def _one_pixel_off(data):
    records = lzma.decompress(data)
    return lzma.compress(records[:400] + bytes([records[400] ^ 1]) + records[401:], preset=0)


@pytest.mark.parametrize("damage", [_flipped, _one_pixel_off, lambda data: data[:-9], lambda data: b"", None])
def test_a_damaged_shipped_file_is_an_error_that_names_it(tmp_path, monkeypatch, damage):
    path = tmp_path / "shipped.xz"
    if damage is not None:
        path.write_bytes(damage(SHIPPED.read_bytes()))
    monkeypatch.setattr(fashion, "_FILE", str(path))
    with pytest.raises(DamagedFileError, match="install wdlab again") as error:
        fashion_mnist()
    assert str(path) in str(error.value)


def _idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


def test_packing_takes_the_first_of_each_class(tmp_path):
    labels = np.array([0, *range(10), *range(10)], dtype=np.uint8)
    images = np.arange(21, dtype=np.uint8)[:, None, None].repeat(28, 1).repeat(28, 2)
    _idx(tmp_path / "images.gz", images)
    _idx(tmp_path / "labels.gz", labels)
    read = _pack_fashion.read_idx(tmp_path / "images.gz"), _pack_fashion.read_idx(tmp_path / "labels.gz")
    records = _pack_fashion.records(*read, per_class=2)
    packed, got = from_records(lzma.decompress(_pack_fashion.compress(records)), 1, (1, 28, 28))
    expected = {(0, 0), (0, 1), *((label, label + 1) for label in range(1, 10))}
    expected |= {(label, label + 11) for label in range(1, 10)}  # the third 0 is left out
    assert set(zip(got.tolist(), packed[:, 0, 27, 27].tolist(), strict=True)) == expected
    assert got.tolist() != sorted(got.tolist())
    assert records == _pack_fashion.records(*read, per_class=2)
    with pytest.raises(ValueError, match="per_class=3 is not allowed: a class has only 2"):
        _pack_fashion.records(*read, per_class=3)


def test_packing_writes_a_file(tmp_path, monkeypatch):
    labels = np.tile(np.arange(10, dtype=np.uint8), 600)
    _idx(tmp_path / "train-images-idx3-ubyte.gz", np.zeros((6000, 28, 28), dtype=np.uint8))
    _idx(tmp_path / "train-labels-idx1-ubyte.gz", labels)
    _pack_fashion.main(["--input", str(tmp_path), "--output", str(tmp_path / "out.xz")])
    _, got = from_records(lzma.decompress((tmp_path / "out.xz").read_bytes()), 1, (1, 28, 28))
    assert got.bincount().tolist() == [600] * 10
    # The same shuffle as in the shipped file.
    order = torch.randperm(6000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(got, order // 600)
    assert torch.equal(fashion_mnist(7).labels, order // 600)


def test_packing_refuses_what_is_not_an_idx_file(tmp_path):
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"\x00\x00\x0d\x01" + bytes(8)))
    with pytest.raises(ValueError, match=r"x\.gz is not an idx file of bytes"):
        _pack_fashion.read_idx(tmp_path / "x.gz")
