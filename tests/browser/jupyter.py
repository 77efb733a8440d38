"""What the browser tests are made of: a JupyterLab of their own, and a notebook open in Chromium."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import ConsoleMessage, Locator, Page
from playwright.sync_api import TimeoutError as Late

from notebooks import build

ROOT = Path(__file__).resolve().parents[2]
COURSE = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
SCREENSHOTS = ROOT / "build" / "screenshots"
CHROMIUMS = ("/usr/bin/chromium-headless-shell", "/usr/bin/chromium")
CHROMIUM = next((path for path in CHROMIUMS if Path(path).exists()), "")
"""Debian's, if it can be without its windows: the build that playwright, too, takes for a browser nobody sees."""
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
START = 60.0  # seconds that a server, a page or a kernel may take on a busy machine
OUTPUT = ".jp-Cell-outputArea"
WIDTH, HEIGHT = 1366, 768  # the screen of a small laptop
NARROW = WIDTH // 2  # what zooming in to 200% leaves of it
SEEN = "([outputs, text]) => [...document.querySelectorAll(outputs)].some(e => e.innerText.includes(text))"
FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
CLOSED_OR_ASKED = "() => document.querySelector('.jp-Dialog') || !document.querySelector('.jp-Notebook')"
FOCUSED = "() => document.activeElement.innerText.trim() || document.activeElement.className"
CUT = """outputs => [...document.querySelectorAll(outputs)].flatMap(output =>
  [...output.querySelectorAll('button, .widget-html-content, .widget-readout, label')])
  .filter(e => e.clientWidth)  // a name for screen readers alone takes no room
  .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.innerText)"""
UNREACHABLE = """outputs => [...document.querySelectorAll(outputs)].flatMap(output =>
  [...output.querySelectorAll('button, input, select, .noUi-handle')])
  .filter(e => !e.disabled && e.getClientRects().length && e.tabIndex < 0).map(e => e.outerHTML)"""
# A slider's handle and the buttons of Play have no name: ipywidgets gives no hook for it, so a label that can be seen
# stands before them.
NAMED = ":is(button, input, select):not(.widget-play *)"
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

    def processes(self, name: str) -> list[psutil.Process]:
        """The kernel of notebook `name`, and every process that it has started."""
        (kernel,) = (session["kernel"]["id"] for session in self.ask("sessions") if session["path"] == name)
        ours = psutil.Process().children(recursive=True)
        (found,) = (process for process in ours if kernel in " ".join(process.cmdline()))
        return [found, *found.children(recursive=True)]

    def end_kernel(self, name: str) -> None:
        """Shut down the kernel of notebook `name`, which takes seconds in which nothing is done."""
        for session in self.ask("sessions"):
            if session["path"] == name:
                self.ask(f"sessions/{session['id']}", "DELETE")

    def write(self, name: str, *cells: str, stored: Sequence[NotebookNode] = ()) -> str:
        """Write a notebook with these code cells, outputs `stored` in the first, and return its name."""
        notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells], metadata=PYTHON)
        notebook.cells[0].outputs = list(stored)
        nbformat.write(notebook, self.notebooks / name)
        return name


@dataclass
class Notebook:
    """An open notebook; `complaints` are the console's errors and the exceptions nobody caught.

    `outputs` selects the outputs that a test looks at: those of all cells, or those of the cells it wrote itself.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    outputs: str = OUTPUT

    def write(self, *cells: str) -> None:
        """Write cells at the notebook's end and run them, as a learner does."""
        for cell in cells:
            last = self.page.locator(".jp-Notebook .jp-CodeCell").last  # which is empty
            last.evaluate("(cell, name) => { cell.dataset.test = name }", self._name)
            last.locator(".cm-content").click()
            self.page.keyboard.insert_text(cell)
            self.page.keyboard.press("Shift+Enter")

    def only(self, name: str) -> None:
        """Look at nothing but the cells that are written from now on."""
        self._name = name
        self.outputs = f'[data-test="{name}"] {OUTPUT}'
        self.complaints.clear()

    def choose(self, menu: str, *items: str) -> None:
        """Choose an item from a menu, or from a menu in it; JupyterLab closes a menu again while it still starts."""
        first = self.page.locator(f'.lm-Menu-itemLabel:text-is("{items[0]}")')
        for _ in range(10):
            self.page.click(f'.lm-MenuBar-itemLabel:text-is("{menu}")')
            with suppress(Late):
                first.wait_for(timeout=3000)
                break
        for item in items:
            self.page.click(f'.lm-Menu-itemLabel:text-is("{item}")')

    def open(self, name: str) -> None:
        """Open a notebook from the menu in a tab of its own, and wait until it is the one that is seen."""
        self.choose("File", "Open from Path…")
        self.page.fill(".jp-Dialog input", name)
        self.page.click(".jp-Dialog .jp-mod-accept")
        self.page.wait_for_selector(f'.lm-DockPanel-tabBar .jp-mod-current[title*="{name}"]')
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")

    def close(self) -> None:
        """Close the notebook, if it is still open, without saving it; its kernel goes on."""
        if not self.page.locator(".jp-Notebook").count():
            return
        self.choose("File", "Close Tab")
        self.wait(CLOSED_OR_ASKED)
        if self.page.locator(".jp-Dialog").count():
            self.page.click('.jp-Dialog button:has-text("Discard")')
            self.page.wait_for_selector(".jp-Notebook", state="detached")

    def run_all(self) -> None:
        """Choose Run All Cells from the menu, as a learner does."""
        self.choose("Run", "Run All Cells")

    def save_notebook(self) -> None:
        """Press Control+S and wait until the file is written."""
        with self.page.expect_response(lambda r: "/api/contents/" in r.url and r.request.method == "PUT"):
            self.page.keyboard.press("Escape")
            self.page.keyboard.press("Control+s")

    def wait(self, script: str, *given: object, seconds: float = START) -> None:
        """Wait until a JavaScript function of `given` is true; asked ten times a second, for drawn frames are dear."""
        self.page.wait_for_function(script, arg=list(given), timeout=1000 * seconds, polling=100)

    def promised(self, script: str, *given: object) -> Any:
        """Return what the promise of a JavaScript function comes to; `evaluate` would wait for it without end."""
        script = f"async given => [await ({script})(given)]"
        return self.page.wait_for_function(script, arg=list(given), timeout=1000 * START).json_value()[0]

    def see(self, text: str, seconds: float = START) -> None:
        """Wait until an output holds `text`."""
        self.wait(SEEN, self.outputs, text, seconds=seconds)

    def see_another_picture(self, source: str | None) -> None:
        """Wait until the first picture is not `source` any more."""
        self.wait("([outputs, source]) => document.querySelector(`${outputs} img`).src != source", self.outputs, source)

    def press(self, name: str) -> None:
        """Press the button called `name` in an output."""
        self.page.click(f'{self.outputs} button:text-is("{name}")')

    def handle(self, slider: int, end: int = 0) -> Locator:
        """One handle of a slider, counted from 0."""
        return self.page.locator(f"{self.outputs} .noUi-target").nth(slider).locator(".noUi-handle").nth(end)

    def turn(self, slider: int, steps: int, end: int = 0) -> None:
        """Move one handle of a slider by keyboard, to the left if `steps` is negative."""
        for _ in range(abs(steps)):
            self.handle(slider, end).press("ArrowRight" if steps > 0 else "ArrowLeft")  # which also gives it the focus

    def turn_until(self, slider: int, text: str, most: int = 25) -> None:
        """Move a slider to the right by keyboard, looking at each picture, until an output holds `text`."""
        for _ in range(most):
            source = self.picture().get_attribute("src")
            self.turn(slider, 1)
            self.see_another_picture(source)
            if self.page.evaluate(SEEN, [self.outputs, text]):
                return
        self.see(text)

    def picture(self) -> Locator:
        """The first picture in an output."""
        return self.page.locator(f"{self.outputs} img").first

    def zoom(self, width: int = WIDTH, height: int = HEIGHT) -> None:
        """Give the page so many CSS pixels, and wait until it is laid out."""
        self.page.set_viewport_size({"width": width, "height": height})
        self.promised(FRAMES)

    def nothing_is_cut(self) -> None:
        """Fail if a text in an output does not fit in its place."""
        found = self.page.evaluate(CUT, self.outputs)
        assert not found, found

    def all_is_reached_by_keyboard(self) -> None:
        """Fail if Tab passes by a control in an output that can be used, or if it has no name."""
        found = self.page.evaluate(UNREACHABLE, self.outputs)
        assert not found, found
        names = self.names()
        assert names and all(re.search(r"\w", name) for name in names), names  # an icon is no name

    def names(self) -> list[str]:
        """What Chromium tells a screen reader that the controls in an output are called."""
        session = self.page.context.new_cdp_session(self.page)
        root = session.send("DOM.getDocument")["root"]["nodeId"]
        found = session.send("DOM.querySelectorAll", {"nodeId": root, "selector": f"{self.outputs} {NAMED}"})["nodeIds"]
        asked = [{"nodeId": node, "fetchRelatives": False} for node in found]
        told = [session.send("Accessibility.getPartialAXTree", one)["nodes"][0] for one in asked]
        session.detach()
        return [one["name"]["value"] for one in told if not one["ignored"]]

    def tab(self, first: str, last: str) -> list[str]:
        """Press Tab from the button called `first` to the one called `last`; the names of what had the focus."""
        self.page.locator(f'{self.outputs} button:text-is("{first}")').focus()
        reached = [self.focused()]
        while reached[-1] != last and len(reached) < 80:
            self.page.keyboard.press("Tab")
            reached.append(self.focused())
        return reached

    def focused(self) -> str:
        """What has the focus: its text, or where it has none its class."""
        return str(self.page.evaluate(FOCUSED))

    def save(self, name: str) -> None:
        """Save a screenshot, once what was changed is painted."""
        self.promised(FRAMES)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")


def stored_pictures() -> list[NotebookNode]:
    """The first picture of every notebook of the course, as it is committed."""
    cells = [build.code_cells(nbformat.read(path, as_version=4)) for path in COURSE]
    return [next(o for cell in one for o in cell.outputs if any(build.pictures(o))) for one in cells]


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
