"""A real JupyterLab on a loopback port, its folders in a temporary one, and a Chromium that looks at it."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, sync_playwright

from tests.browser.jupyter import (
    CHROMIUM,
    QUIET,
    SCREENSHOTS,
    START,
    Notebook,
    Server,
    command,
    complain,
    environment,
    free_port,
    wait_for,
)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not Path(CHROMIUM).exists():
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"needs Chromium at {CHROMIUM}")
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
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield found.new_context(viewport={"width": 1366, "height": 768})
        found.close()


@pytest.fixture
def open_notebook(server: Server, browser: BrowserContext) -> Iterator[Callable[..., Notebook]]:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    opened: list[Notebook] = []

    def open_notebook(name: str) -> Notebook:
        page = browser.new_page()
        page.set_default_timeout(1000 * START)
        notebook = Notebook(page)
        page.on("console", lambda message: complain(notebook, message))
        page.on("pageerror", lambda error: notebook.complaints.append(str(error)))
        page.goto(f"{server.address}/lab/tree/{name}?token={server.token}&reset")
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        server.wait_for_kernel(name)
        opened.append(notebook)
        return notebook

    yield open_notebook
    for notebook in opened:
        notebook.page.close()
    server.end_kernels()
