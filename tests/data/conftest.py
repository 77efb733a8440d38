import pytest

from wdlab.data import fashion, mnist_1d


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache folder for each test, and nothing remembered in memory."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("WDLAB_CACHE", str(folder))
    monkeypatch.delenv("WDLAB_DOWNLOAD", raising=False)
    mnist_1d._load.cache_clear()
    fashion._unpack.cache_clear()
    yield folder
    mnist_1d._load.cache_clear()
    fashion._unpack.cache_clear()


def names(folder):
    """Every file below the folder, hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture(name="names")
def names_fixture():
    return names


@pytest.fixture
def flip():
    """Invert one byte of a file; the middle one unless told."""

    def flip(path, position=None):
        data = bytearray(path.read_bytes())
        data[len(data) // 2 if position is None else position] ^= 0xFF
        path.write_bytes(data)

    return flip
