import dataclasses
import hashlib
import io
import tarfile

import numpy as np
import pytest

from wdlab.data import DamagedFileError, cifar, cifar10, cifar100

EACH = 3  # records in each member of a tiny archive
LOADERS = {"cifar10": ("_CIFAR10", cifar10), "cifar100": ("_CIFAR100", cifar100)}


def tiny_members(archive, seed=0):
    """Records in the official format: the label bytes, then 1024 bytes each of red, green, blue."""
    random, members = np.random.default_rng(seed), {}
    for name in (*archive.train, *archive.test):
        coarse = random.integers(0, 20, (EACH, archive.label_bytes - 1), dtype=np.uint8)
        label = random.integers(0, archive.classes, (EACH, 1), dtype=np.uint8)
        members[name] = np.hstack([coarse, label, random.integers(0, 256, (EACH, 3072), dtype=np.uint8)])
    return members


def write_archive(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        readme = next(iter(members)).split("/")[0] + "/readme.html"
        for name, data in {readme: b"<html>", **members}.items():
            content = bytes(data)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@pytest.fixture(params=list(LOADERS))
def tiny(request, tmp_path, monkeypatch):
    """A tiny archive in tmp_path/root, its loader (which expects its md5), and its members."""
    constant, loader = LOADERS[request.param]
    archive = getattr(cifar, constant)
    members = tiny_members(archive)
    path = tmp_path / "root" / archive.file
    write_archive(path, {name: data.tobytes() for name, data in members.items()})

    def expect(path):
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        monkeypatch.setattr(cifar, constant, dataclasses.replace(archive, md5=md5))

    expect(path)
    return Tiny(path, loader, members, archive, expect)


@dataclasses.dataclass
class Tiny:
    path: object
    load: object
    members: dict
    archive: object
    expect: object


def test_reads_the_official_format(tiny, names):
    train, test = tiny.load(tiny.path.parent)
    raw = {name: data[:, tiny.archive.label_bytes :].astype(float) for name, data in tiny.members.items()}
    reference = np.concatenate([raw[name] for name in tiny.archive.train]).reshape(-1, 3, 1024)
    mean, std = reference.mean((0, 2)), reference.std((0, 2))
    for part, wanted in ((train, tiny.archive.train), (test, tiny.archive.test)):
        assert part.inputs.shape == (EACH * len(wanted), 3, 32, 32)
        assert part.classes == tiny.archive.classes
        pixels = np.concatenate([raw[name] for name in wanted]).reshape(-1, 3, 1024)
        expected = (pixels - mean[:, None]) / std[:, None]
        for row, column in ((0, 0), (0, 31), (5, 7), (31, 0)):
            got = part.inputs[:, :, row, column].numpy()
            np.testing.assert_allclose(got, expected[:, :, 32 * row + column], rtol=1e-4, atol=1e-5)
        labels = np.concatenate([tiny.members[name][:, tiny.archive.label_bytes - 1] for name in wanted])
        assert part.labels.tolist() == labels.tolist()
    assert names(tiny.path.parent) == [tiny.archive.file], "nothing is unpacked to disk"


def test_training_images_are_standardized_by_channel(tiny):
    train, _ = tiny.load(str(tiny.path.parent))
    np.testing.assert_allclose(train.inputs.mean((0, 2, 3)), np.zeros(3), atol=1e-5)
    np.testing.assert_allclose(train.inputs.std((0, 2, 3), correction=0), np.ones(3), rtol=1e-5)


def test_the_default_folder_is_in_the_cache(tiny, cache):
    (cache / "data").mkdir(parents=True)
    tiny.path.rename(cache / "data" / tiny.archive.file)
    assert len(tiny.load()[1]) == EACH


def test_offline_the_error_says_what_to_do(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", None)  # whoever asks the network fails
    with pytest.raises(FileNotFoundError) as error:
        tiny.load(tmp_path / "empty")
    name, message = tiny.archive.loader, str(error.value)
    for part in (
        f"{tiny.archive.file} is not in {tmp_path / 'empty'}",
        f"{name}(download=True)",
        "WDLAB_DOWNLOAD=1",
        f"https://www.cs.toronto.edu/~kriz/{tiny.archive.file}",
        f"{name}(root=...)",
    ):
        assert part in message
    assert not (tmp_path / "empty").exists()


def test_a_wrong_md5_is_damage(tiny, flip):
    flip(tiny.path)
    with pytest.raises(DamagedFileError, match=r"its md5 is .* expected is") as error:
        tiny.load(tiny.path.parent)
    assert str(tiny.path) in str(error.value) and "delete it" in str(error.value)


def test_a_missing_member_is_named(tiny):
    gone = tiny.archive.test[0]
    write_archive(tiny.path, {name: data.tobytes() for name, data in tiny.members.items() if name != gone})
    tiny.expect(tiny.path)
    with pytest.raises(DamagedFileError, match=f"lacks {gone}"):
        tiny.load(tiny.path.parent)


def test_a_cut_member_is_damage(tiny):
    write_archive(tiny.path, {name: data.tobytes()[:-1] for name, data in tiny.members.items()})
    tiny.expect(tiny.path)
    with pytest.raises(DamagedFileError, match="whole number of records"):
        tiny.load(tiny.path.parent)


@pytest.fixture
def served(tiny, monkeypatch):
    """The tiny archive's folder takes the place of the official site."""
    monkeypatch.setattr(cifar, "_HOME", tiny.path.parent.as_uri())
    return tiny


def test_download_when_asked(served, cache, names):
    seen = []
    train, _ = served.load(download=True, progress=lambda done, total: seen.append((done, total)))
    assert len(train) == EACH * len(served.archive.train)
    size = served.path.stat().st_size
    assert seen[-1] == (size, size)
    assert names(cache / "data") == [served.archive.file]
    seen.clear()
    served.load(download=True, progress=lambda done, total: seen.append((done, total)))
    assert not seen, "what is there is not fetched again"


def test_download_by_environment(served, tmp_path, monkeypatch):
    monkeypatch.setenv("WDLAB_DOWNLOAD", "1")
    with pytest.raises(FileNotFoundError):
        served.load(tmp_path / "new", download=False)
    assert len(served.load(tmp_path / "new")[1]) == EACH
    monkeypatch.setenv("WDLAB_DOWNLOAD", "0")
    with pytest.raises(FileNotFoundError):
        served.load(tmp_path / "newer")


def test_a_changed_download_is_not_kept(served, tmp_path, flip, names):
    flip(served.path)
    with pytest.raises(DamagedFileError, match=r"was not kept.*try again"):
        served.load(tmp_path / "new", download=True)
    assert names(tmp_path / "new") == []


def test_a_failed_download_says_so(served, tmp_path, names):
    served.path.unlink()
    with pytest.raises(OSError, match=r"could not be downloaded to .*try again"):
        served.load(tmp_path / "new", download=True)
    assert names(tmp_path / "new") == []


def test_a_download_that_breaks_off_is_not_kept(served, tmp_path, names):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        served.load(tmp_path / "new", download=True, progress=stop)
    assert names(tmp_path / "new") == []
