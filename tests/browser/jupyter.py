"""What the browser tests are made of: a JupyterLab of their own, and a notebook open in Chromium."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import ConsoleMessage, Page

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
CHROMIUM = "/usr/bin/chromium"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
START = 60.0  # seconds that a server, a page or a kernel may take on a busy machine
OUTPUT = ".jp-Cell-outputArea"
PYTHON = {"kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}}


@dataclass
class Server:
    """A running JupyterLab: where it listens, what it serves, how it looks."""

    address: str
    token: str
    notebooks: Path
    settings: Path

    def set(self, plugin: str, **values: object) -> None:
        """Write the user's settings of one of JupyterLab's own plugins; pages opened from now on follow them."""
        path = self.settings / "@jupyterlab" / "apputils-extension" / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values), encoding="utf-8")

    def ask(self, path: str, method: str = "GET") -> Any:
        """Return the answer of the server's REST API, or None where it gives none."""
        request = urllib.request.Request(f"{self.address}/api/{path}", method=method)
        request.add_header("Authorization", f"token {self.token}")
        with urllib.request.urlopen(request, timeout=START) as answer:
            return json.loads(answer.read() or "null")

    def wait_for_kernel(self, name: str) -> None:
        """Wait until the kernel of notebook `name` is ready."""
        end = time.monotonic() + START
        while not any(s["path"] == name and s["kernel"]["execution_state"] == "idle" for s in self.ask("sessions")):
            assert time.monotonic() < end, f"the kernel of {name} did not start"
            time.sleep(0.1)

    def end_kernels(self) -> None:
        """Shut down every kernel."""
        for session in self.ask("sessions"):
            self.ask(f"sessions/{session['id']}", "DELETE")

    def write(self, name: str, *cells: str) -> str:
        """Write a notebook with these code cells and return its name."""
        notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells], metadata=PYTHON)
        nbformat.write(notebook, self.notebooks / name)
        return name


@dataclass
class Notebook:
    """An open notebook; `complaints` are the console's errors and the exceptions nobody caught."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def run_all(self) -> None:
        """Choose Run All Cells from the menu, as a learner does."""
        self.page.click('.lm-MenuBar-itemLabel:text-is("Run")')
        self.page.click('.lm-Menu-itemLabel:text-is("Run All Cells")')

    def save_notebook(self) -> None:
        """Press Control+S and wait until the file is written."""
        with self.page.expect_response(lambda r: "/api/contents/" in r.url and r.request.method == "PUT"):
            self.page.keyboard.press("Escape")
            self.page.keyboard.press("Control+s")

    def see(self, text: str, seconds: float = 30.0) -> None:
        """Wait until an output holds `text`."""
        self.page.wait_for_function(
            "([outputs, text]) => [...document.querySelectorAll(outputs)].some(e => e.innerText.includes(text))",
            arg=[OUTPUT, text],
            timeout=1000 * seconds,
        )

    def press(self, name: str) -> None:
        """Press the button called `name` in an output."""
        self.page.click(f'{OUTPUT} button:text-is("{name}")')

    def picture(self) -> Any:
        """The first picture in an output."""
        return self.page.locator(f"{OUTPUT} img").first

    def save(self, name: str) -> None:
        """Save a screenshot, with the top of the first picture in view."""
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def command(server: Server) -> list[str]:
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": server.address.rpartition(":")[2],
        "ServerApp.port_retries": "0",
        "ServerApp.root_dir": str(server.notebooks),
        "ServerApp.open_browser": "False",
        "ServerApp.allow_root": "True",
        "IdentityProvider.token": server.token,
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
    }
    return [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in options.items())]


def environment(folder: Path) -> dict[str, str]:
    names = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    ours = {f"JUPYTER_{name}": str(folder / name.lower()) for name in names}
    ours |= {
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
    }
    ours |= {
        "IPYTHONDIR": str(folder / "ipython"),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "LOKY_MAX_CPU_COUNT": "1",  # two kernels side by side have a core each
        "WDLAB_SCALE": "ci",
    }
    if stored := os.environ.get("WDLAB_TESTS_STORE"):  # what the notebooks' tests have computed just before
        ours["WDLAB_CACHE"] = stored
    kept = {name: value for name, value in os.environ.items() if name != "WDLAB_HEADLESS"}
    return kept | ours


def wait_for(server: Server, process: subprocess.Popen[bytes], log: Path) -> Any:
    end = time.monotonic() + START
    while process.poll() is None and time.monotonic() < end:
        try:
            return server.ask("status")
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()}")


def complain(notebook: Notebook, message: ConsoleMessage) -> None:
    badge = not message.location["url"].startswith("http://127.0.0.1")  # which is missing where there is no internet
    if message.type == "error" and not (badge and message.text.startswith("Failed to load resource")):
        notebook.complaints.append(message.text)
