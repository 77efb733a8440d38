"""What all tests and doctests share: a cache folder of the session's own, one thread a process, recorded seconds."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Point WDLAB_CACHE at a new folder, so that no test reads or writes the user's; pytest-xdist hands it on.

    Before torch is imported, torch is held to one thread: two of them on a busy core wait for each other.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if hasattr(config, "workerinput"):
        return
    folder = Path(tempfile.mkdtemp(prefix="wdlab-tests-"))
    if hasattr(config, "cache"):
        _keep_data(config, folder / "data")
    os.environ["WDLAB_CACHE"] = str(folder)
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def _keep_data(config: pytest.Config, data: Path) -> None:
    """Keep the data sets, which are checksummed, from session to session: making MNIST-1D takes seconds."""
    try:
        data.symlink_to(config.cache.mkdir("wdlab-data"), target_is_directory=True)
    except OSError:
        return  # as on Windows without the right to link: then they are made once a session


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the seconds that tests recorded, also those measured in another process."""
    reports = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    for report in reports:
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")
