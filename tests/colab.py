"""Run the widgets' unit tests as Google Colab has them: ipywidgets 7, its IPython and ipykernel; the rest is .venv's.

Before them a Lab runs in a kernel of Colab's: what its messages tell a page is what is looked at.

``.venv-colab`` is made on first use, in seconds, and kept: torch and everything else is shared with the environment
that this script runs in.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv-colab"
PYTHON = FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
COLABS = ("ipywidgets==7.7.1", "ipython==7.34.0", "ipykernel==6.17.1")
NEEDED = ("backcall==0.2.0", "decorator==5.3.1", "ipython-genutils==0.2.0", "pickleshare==0.7.5")
"""What Colab's three import and the newer ones do not."""

CHECK = (
    "import IPython, ipykernel, ipywidgets; print(ipywidgets.__version__, IPython.__version__, ipykernel.__version__)"
)
CELLS = (
    CHECK,
    "from wdlab.lab import Lab\nlab = Lab(steps=200, device='cpu', block=False)\nlab",
    "lab.desk.run.click()\nlab.wait(60)",
)
VIEW, STATE = (f"application/vnd.jupyter.widget-{what}+json" for what in ("view", "state"))
QUIET = {"PYDEVD_DISABLE_FILE_VALIDATION": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"} | QUIET


def recipe() -> str:
    """What the environment is made of; another recipe makes another environment."""
    return json.dumps([COLABS, NEEDED, sysconfig.get_path("purelib"), sys.version])


def make() -> None:
    """Make .venv-colab, unless it is there: Colab's packages come first, and .venv's after them."""
    made = FOLDER / "recipe.json"
    if made.exists() and made.read_text(encoding="utf-8") == recipe():
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    call([sys.executable, "-m", "venv", "--without-pip", str(FOLDER)])
    install([sys.executable, "-m", "pip", "--python", str(PYTHON), "install", "-qq", "--retries=1", "--no-deps"])
    (packages(FOLDER) / "shared.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    made.write_text(recipe(), encoding="utf-8")


def install(pip: list[str]) -> None:
    """Install Colab's packages; where no index can be reached there is nothing to test, except in CI."""
    done = subprocess.run([*pip, *COLABS, *NEEDED], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    if done.returncode and "NewConnectionError" in done.stderr and "CI" not in os.environ:
        print("skipped: no package index can be reached from here")
        sys.exit(0)
    if done.returncode:
        sys.exit(done.stderr)


def packages(folder: Path) -> Path:
    """Where the environment in `folder` keeps its packages."""
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))


def call(command: list[str]) -> None:
    """Run a command; exit with its status where it fails."""
    if status := subprocess.run(command, cwd=ROOT, env=ENVIRONMENT).returncode:
        sys.exit(status)


def check() -> None:
    """Exit unless the environment has Colab's versions."""
    found = subprocess.run([PYTHON, "-c", CHECK], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    if found.stdout.strip() != wanted():
        sys.exit(f"{FOLDER.name} has {found.stdout or found.stderr}, not {wanted()}; delete it and try again")


def wanted() -> str:
    """Return what CHECK prints in the environment."""
    return " ".join(pin.partition("==")[2] for pin in COLABS)


def run_a_lab() -> None:
    """Run a Lab in a kernel of the environment; exit unless the widget that it shows says that the run is done."""
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "kernels" / "colab" / "kernel.json"
        spec.parent.mkdir(parents=True)
        argv = [str(PYTHON), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec.write_text(json.dumps({"argv": argv, "display_name": "Colab's", "language": "python"}), encoding="utf-8")
        os.environ |= ENVIRONMENT | {"JUPYTER_PATH": folder}
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
        where = {"metadata": {"path": str(ROOT)}}
        NotebookClient(notebook, timeout=120, kernel_name="colab", resources=where).execute()  # raises what a cell does
    versions, shown, _ = (cell.outputs for cell in notebook.cells)
    loud = [output for cell in notebook.cells for output in cell.outputs if output.get("name") == "stderr"]
    state = notebook.metadata.widgets[STATE]["state"]
    told = [value for value in texts(state, shown[0].data[VIEW]["model_id"]) if 'role="status"' in value]
    if loud or versions[0].text.strip() != wanted() or not any(">Done: " in value for value in told):
        sys.exit(f"a Lab in a kernel of Colab's says {told}, and {loud}; its versions are {versions[0].text}")
    print(f"A Lab in a kernel of Colab's, {versions[0].text.strip()}: {told[0]}", flush=True)


def texts(state: dict[str, Any], model: str) -> Iterator[str]:
    """Every text that a page shows of the widget `model` and those in it."""
    found = state[model]["state"]
    if found["_model_name"] == "HTMLModel":
        yield found["value"]
    for child in found.get("children", ()):
        yield from texts(state, child.removeprefix("IPY_MODEL_"))


if __name__ == "__main__":
    make()
    check()
    run_a_lab()
    call([str(PYTHON), "-m", "pytest", "-n", "2", "--dist=loadfile", *(sys.argv[1:] or ["tests/lab"])])
