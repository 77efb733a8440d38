"""A real JupyterLab on a loopback port, its folders in a temporary one, and a Chromium that looks at it."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest
from playwright.sync_api import BrowserContext, sync_playwright

from tests.browser.jupyter import (
    CHROMIUM,
    CHROMIUMS,
    HEIGHT,
    QUIET,
    SCREENSHOTS,
    START,
    WIDTH,
    Notebook,
    Server,
    command,
    complain,
    environment,
    free_port,
    stored_pictures,
    wait_for,
)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not CHROMIUM:
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"needs Chromium: {' or '.join(CHROMIUMS)}")
    folder = tmp_path_factory.mktemp("jupyter")
    made = Server(f"http://127.0.0.1:{free_port()}", secrets.token_hex(16), folder / "notebooks", folder / "settings")
    made.notebooks.mkdir()
    made.set("notification", fetchNews="false", checkForUpdates=False, doNotDisturbMode=True)
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command(made), cwd=made.notebooks, env=environment(folder), stdout=log, stderr=log)
        try:
            wait_for(made, process, folder / "log.txt")
            yield made
        finally:
            process.terminate()  # ends its kernels, too
            process.wait(20)


@pytest.fixture(scope="session")
def browser() -> Iterator[BrowserContext]:
    """One window of a small laptop's size for all tests, so that JupyterLab is fetched and compiled once."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield found.new_context(viewport={"width": WIDTH, "height": HEIGHT})
        found.close()


def opened(server: Server, browser: BrowserContext, name: str) -> Notebook:
    """Open a notebook in a page of its own and wait for its kernel."""
    notebook = jupyterlab(server, browser, f"tree/{name}")
    notebook.page.wait_for_selector(".jp-Notebook .jp-Cell")
    server.wait_for_kernel(name)
    return notebook


def jupyterlab(server: Server, browser: BrowserContext, path: str = "") -> Notebook:
    """Open JupyterLab in a new page."""
    page = browser.new_page()
    page.set_default_timeout(1000 * START)
    notebook = Notebook(page)
    page.on("console", lambda message: complain(notebook, message))
    page.on("pageerror", lambda error: notebook.complaints.append(str(error)))
    page.goto(f"{server.address}/lab/{path}?token={server.token}&reset")
    return notebook


@pytest.fixture(scope="session")
def undertaker() -> Iterator[Executor]:
    """Ends kernels while the next test begins."""
    with ThreadPoolExecutor(1) as found:
        yield found


@pytest.fixture(scope="session")
def desk(server: Server, browser: BrowserContext) -> Notebook:
    """One page for all notebooks but the scratchpad, as a learner has who goes from one to the next."""
    server.set("themes", theme="JupyterLab Light")
    notebook = jupyterlab(server, browser)
    notebook.page.wait_for_selector(".jp-Launcher")  # the last to come: before it menus lack items, and close again
    notebook.page.wait_for_selector("#jupyterlab-splash", state="detached")
    return notebook


@pytest.fixture
def open_notebook(server: Server, desk: Notebook, undertaker: Executor) -> Iterator[Callable[[str], Notebook]]:
    """Opens a notebook in the place of the one before it."""
    names: list[str] = []

    def open_notebook(name: str) -> Notebook:
        desk.page.bring_to_front()
        desk.complaints.clear()
        desk.zoom()
        desk.open(name)
        server.wait_for_kernel(name)
        names.append(name)
        return desk

    yield open_notebook
    for name in names:
        desk.close()
        undertaker.submit(server.end_kernel, name)


@pytest.fixture(scope="session")
def scratchpad(server: Server, browser: BrowserContext) -> Iterator[Notebook]:
    """One notebook for all tests that bring cells of their own: a page and a kernel take longer than most of them."""
    server.set("themes", theme="JupyterLab Light")
    notebook = opened(server, browser, server.write("scratchpad.ipynb", "", "", stored=stored_pictures()))
    notebook.page.keyboard.press("Control+b")  # the file list is closed, as where there is little room
    yield notebook
    notebook.page.close()


@pytest.fixture
def notebook(scratchpad: Notebook, request: pytest.FixtureRequest) -> Notebook:
    """The scratchpad, of which a test sees nothing but the cells that it writes."""
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    assert alone or request.node.nodeid.endswith("@scratchpad"), "each worker has a scratchpad of its own, for nothing"
    scratchpad.page.bring_to_front()
    scratchpad.only(request.node.name)
    scratchpad.zoom()
    return scratchpad
