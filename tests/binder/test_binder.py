"""Binder's environment: built from the files in binder/ alone, it runs notebook 00."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import papermill
import pytest
from nbformat.v4 import new_code_cell

from notebooks import build

ROOT = Path(__file__).resolve().parents[2]
BINDER = ROOT / "binder"
BIN = "Scripts" if os.name == "nt" else "bin"
WHERE = "import sys, wdlab; print(sys.prefix); print(wdlab.__file__)"

pytestmark = [pytest.mark.binder, pytest.mark.slow]


def run(*command: object, **variables: str) -> str:
    """Run a command in the repository's root; what it printed, errors included."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=ROOT,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode and "NewConnectionError" in done.stdout and "CI" not in os.environ:
        pytest.skip("no package index can be reached from here")
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables under which Binder's Python, freshly installed, comes first."""
    folder = tmp_path_factory.mktemp("binder")
    run(sys.executable, "-m", "venv", folder / "env")
    pins = folder / "requirements.txt"  # the build of torch comes from where pip finds it
    lines = (BINDER / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins.write_text("\n".join(line for line in lines if not line.startswith("--")), encoding="utf-8")
    run(folder / "env" / BIN / "python", "-m", "pip", "install", "-q", "--retries=1", "--no-compile", "-r", pins)
    yield {
        "PATH": os.pathsep.join([str(folder / "env" / BIN), os.environ["PATH"]]),
        "VIRTUAL_ENV": str(folder / "env"),
        "JUPYTER_PATH": str(folder / "share" / "jupyter"),
        "WDLAB_CACHE": str(folder / "cache"),
        "WDLAB_HEADLESS": "1",
        "PYTHONDONTWRITEBYTECODE": "",  # compile what is imported, once: faster than all at install
    }
    shutil.rmtree(folder / "env")  # over a gigabyte


def test_binder_runs_notebook_00(environment: dict[str, str], tmp_path: Path) -> None:
    home = Path(environment["VIRTUAL_ENV"])
    run("bash", BINDER / "postBuild", **environment)
    assert any(Path(environment["WDLAB_CACHE"]).iterdir()), "postBuild warms the store"
    run(home / BIN / "python", "-m", "ipykernel", "install", "--prefix", home.parent, "--name", "binder")
    notebook = build.generate(ROOT, build.sources(ROOT, ["00"])[0])
    notebook.cells.append(new_code_cell(WHERE))
    build.write(notebook, tmp_path / "00.ipynb")
    with mock.patch.dict(os.environ, environment):
        done = papermill.execute_notebook(
            tmp_path / "00.ipynb",
            tmp_path / "done.ipynb",
            {"scale": "ci"},
            cwd=tmp_path,
            kernel_name="binder",
            progress_bar=False,
        )
    prefix, package = build.shown(done.cells[-1]).splitlines()
    assert Path(prefix) == home
    assert home in Path(package).parents
