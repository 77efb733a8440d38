"""Run the widgets' unit tests as Google Colab has them: ipywidgets 7, its IPython and ipykernel; the rest is .venv's.

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
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv-colab"
PYTHON = FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
COLABS = ("ipywidgets==7.7.1", "ipython==7.34.0", "ipykernel==6.17.1")
NEEDED = ("backcall==0.2.0", "decorator==5.3.1", "ipython-genutils==0.2.0", "pickleshare==0.7.5")
"""What Colab's three import and the newer ones do not."""

CHECK = (
    "import IPython, ipykernel, ipywidgets; print(ipywidgets.__version__, IPython.__version__, ipykernel.__version__)"
)
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
    wanted = " ".join(pin.partition("==")[2] for pin in COLABS)
    if found.stdout.strip() != wanted:
        sys.exit(f"{FOLDER.name} has {found.stdout or found.stderr}, not {wanted}; delete it and try again")


if __name__ == "__main__":
    make()
    check()
    call([str(PYTHON), "-m", "pytest", "-n", "2", "--dist=loadfile", *(sys.argv[1:] or ["tests/lab"])])
