"""Every notebook at ci scale: papermill runs both versions, nbval runs papermill's result again.

All share one store of results, so nbval also shows that results from the store equal computed ones.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import nbformat
import papermill
import pytest
from nbformat import NotebookNode

from notebooks import build

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 60.0  # seconds of one notebook at ci scale
SLACK = 3.0  # times that, on a machine that is busy with other things
PARAMETERS = {"scale", "seed_offset", "device"}
COMPARED = "nbval-check-output"
NOT_DONE = "not yet done"
pytestmark = pytest.mark.notebook


@dataclass(frozen=True)
class Runner:
    """Runs notebooks in a folder of its own, with the environment that every notebook gets here."""

    folder: Path
    cache: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        ours = {"WDLAB_CACHE": str(self.cache), "WDLAB_HEADLESS": "1", "WDLAB_SCALE": "ci"}
        return kept | ours | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "LOKY_MAX_CPU_COUNT": "1"}

    def papermill(self, notebook: NotebookNode, name: str) -> Path:
        """Run a notebook at ci scale; the path of the result."""
        before, after = self.folder / f"{name}-in.ipynb", self.folder / f"{name}.ipynb"
        build.write(notebook, before)
        with mock.patch.dict(os.environ, self.environment, clear=True):
            try:
                papermill.execute_notebook(before, after, {"scale": "ci"}, cwd=self.folder, progress_bar=False)
            except papermill.PapermillExecutionError as error:
                pytest.fail(str(error), pytrace=False)  # the cell's traceback, without papermill's own
        return after

    def nbval(self, path: Path) -> tuple[int, str]:
        """Run a notebook again and compare; pytest's exit status and its output."""
        options = ["--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, path],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout


@pytest.fixture(scope="session")
def make_runner(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[[str], Runner]:
    shared = tmp_path_factory.getbasetemp()
    own = (shared if worker_id == "master" else shared.parent) / "wdlab-cache"
    cache = Path(os.environ.get("WDLAB_TESTS_STORE", own))  # everything.py hands one on to the browser tests
    return lambda name: Runner(tmp_path_factory.mktemp(name), cache)


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def shown(notebook: NotebookNode) -> str:
    return "\n".join(build.shown(cell) for cell in notebook.cells)


def unnoticed(notebook: NotebookNode) -> Iterator[str]:
    """The exercises after which no cell says that they are not yet done."""
    waiting: list[str] = []
    for cell in notebook.cells:
        if NOT_DONE in build.shown(cell):
            waiting.clear()
        if "exercise" in build.tags(cell):
            yield from waiting
            waiting = [build.first_line(cell)]
    yield from waiting


def passed(output: str) -> int:
    """The number of cells that nbval says passed."""
    found = re.search(r"(\d+) passed", output)
    return int(found[1]) if found else 0


every_notebook = pytest.mark.parametrize("source", build.sources(ROOT), ids=lambda source: source.stem)


@every_notebook
def test_parameters(source: Path, tmp_path: Path) -> None:
    build.write(build.generate(ROOT, source), tmp_path / "student.ipynb")
    assert set(papermill.inspect_notebook(str(tmp_path / "student.ipynb"))) == PARAMETERS


@every_notebook
def test_verdicts_are_compared(source: Path) -> None:
    cells = build.generate(ROOT, source, solved=True).cells
    measures = any("CLAIMS" in cell.source for cell in cells if cell.cell_type == "code")
    assert not measures or any(COMPARED in build.tags(cell) for cell in cells), f"tag a verdict {COMPARED}"


@every_notebook
def test_notebook(
    source: Path, make_runner: Callable[[str], Runner], record_property: Callable[[str, object], None]
) -> None:
    """One test, because the student version and nbval find in the store what the solution version computed."""
    runner = make_runner(source.stem)
    start = time.perf_counter()
    solution = runner.papermill(build.generate(ROOT, source, solved=True), "solution")
    seconds = time.perf_counter() - start
    record_property(source.stem, f"{seconds:.1f} s at ci scale (at most {LIMIT:.0f} s)")
    assert NOT_DONE not in shown(read(solution))

    student = runner.papermill(build.generate(ROOT, source), "student")
    assert list(unnoticed(read(student))) == []

    status, output = runner.nbval(solution)
    assert status == 0, output[-6000:]
    assert passed(output) == len(build.code_cells(read(solution)))
    compared = [cell for cell in read(solution).cells if COMPARED in build.tags(cell)]
    assert all(build.shown(cell).strip() for cell in compared), "nbval compares nothing where nothing is shown"
    assert seconds < SLACK * LIMIT


TINY = """\
# %% tags=["parameters"]
scale = "demo"

# %% tags=["exercise"]
answer = None

# %% tags=["solution"]
answer = 42

# %%
print("right" if answer else "not yet done")

# %% tags=["nbval-check-output"]
print(f"the answer at {scale} scale is {answer}")
"""


def test_the_tests_above_can_fail(make_runner: Callable[[str], Runner]) -> None:
    runner = make_runner("tiny")
    source = runner.folder / "00_tiny.py"
    source.write_text(TINY, encoding="utf-8")
    student = read(runner.papermill(build.generate(ROOT, source), "student"))
    assert list(unnoticed(student)) == []
    student.cells[-2].outputs = []
    assert list(unnoticed(student)) == ["'answer = None'"]

    path = runner.papermill(build.generate(ROOT, source, solved=True), "solution")
    status, output = runner.nbval(path)
    assert (status, passed(output)) == (0, 6), output  # five cells of its own and papermill's parameters
    notebook = read(path)
    assert build.shown(notebook.cells[-1]) == "the answer at ci scale is 42\n"
    notebook.cells[-1].outputs[0].text = "the answer at ci scale is 43\n"
    build.write(notebook, path)
    status, output = runner.nbval(path)
    assert (status, passed(output)) == (1, 5), output


def test_a_cell_that_raises_stops_papermill(make_runner: Callable[[str], Runner]) -> None:
    runner = make_runner("raises")
    source = runner.folder / "00_raises.py"
    source.write_text(TINY + "\n# %%\nassert answer == 43, 'not the answer'\n", encoding="utf-8")
    with pytest.raises(pytest.fail.Exception, match="not the answer"):
        runner.papermill(build.generate(ROOT, source, solved=True), "solution")
