"""Every notebook of the course in a real JupyterLab: it runs to its end, nothing is in red, every widget draws."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from playwright.sync_api import Locator

from tests.browser.jupyter import OUTPUT, ROOT, Notebook, Server
from tests.browser.test_lab import CUT

pytestmark = pytest.mark.browser
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
LIMIT = 300.0  # seconds of one notebook at ci scale, on a machine that is busy with other things and has nothing stored
RUN = 'button:text-is("Run")'
WIDGET = "application/vnd.jupyter.widget-view+json"
# How many widgets an output shows, whole: not one that was not found, and no picture that is not there.
DRAWN = """output => [...document.querySelectorAll(output + ' .jp-OutputArea-output.lm-Panel')].filter(view =>
  view.querySelector('.jupyter-widgets') && !/Error displaying widget|Loading widget/.test(view.textContent) &&
  [...view.querySelectorAll('img')].every(image => image.complete && image.naturalWidth)).length"""
RED = f"{OUTPUT} .jp-RenderedText[data-mime-type='application/vnd.jupyter.error']"


def with_an_end(path: Path, folder: Path) -> None:
    """Copy a notebook into `folder`, with one more cell, which has not run."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(new_code_cell("'the end'"))
    nbformat.write(notebook, folder / path.name)


def wait_for_the_end(notebook: Notebook) -> None:
    """Wait until the last cell has run, or one shows an error."""
    prompt, end = notebook.page.locator(".jp-CodeCell .jp-InputPrompt").last, time.monotonic() + LIMIT
    while not re.search(r"\d", str(prompt.text_content())):
        red = notebook.page.locator(RED).all_text_contents()
        assert not red, red[0]
        assert time.monotonic() < end, f"not at its end after {LIMIT:.0f} s"
        notebook.page.wait_for_timeout(200)


def outputs(path: Path) -> Iterator[NotebookNode]:
    """What the cells of a saved notebook show; every cell must have run."""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.execution_count, cell.source
            yield from cell.outputs


def press_run(lab: Locator) -> None:
    """Press Run, once the run that the cell began is over, and then Stop."""
    lab.get_by_text(re.compile("^(Done|Stopped)")).wait_for(timeout=1000 * LIMIT)
    lab.locator(RUN).click()
    lab.get_by_text(re.compile("^(Preparing|Running|Done)")).wait_for()
    lab.locator('button:text-is("Stop")').evaluate("button => button.click()")  # a click on nothing, if it is over
    lab.get_by_text(re.compile("^(Done|Stopped)")).wait_for()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_to_its_end_and_draws_its_widgets(
    path: Path, server: Server, open_notebook: Callable[..., Notebook], record_property: Callable[[str, object], None]
) -> None:
    server.set("themes", theme="JupyterLab Light")
    with_an_end(path, server.notebooks)
    notebook = open_notebook(path.name)
    page, start = notebook.page, time.monotonic()
    notebook.run_all()
    wait_for_the_end(notebook)
    record_property(path.stem, f"{time.monotonic() - start:.1f} s in a browser")
    notebook.save_notebook()
    shown = list(outputs(server.notebooks / path.name))
    assert [output for output in shown if output.output_type == "error"] == []
    widgets = sum(WIDGET in output.get("data", {}) for output in shown)
    assert widgets > 0
    page.wait_for_function(f"([output, count]) => ({DRAWN})(output) == count", arg=[OUTPUT, widgets])
    views = page.locator(f"{OUTPUT} .jp-OutputArea-output.lm-Panel").all()
    labs = [view for view in views if view.locator(RUN).count()]
    assert labs, "no notebook is without a Lab"
    for view in labs:
        view.scroll_into_view_if_needed()
        press_run(view)
    assert page.evaluate(CUT, OUTPUT) == []
    for number, view in enumerate(view for view in views if view.locator("img").count()):
        view.scroll_into_view_if_needed()
        page.wait_for_timeout(100)  # for the picture to be painted
        notebook.save(f"notebook-{path.stem}-{number}")
    page.set_viewport_size({"width": 683, "height": 768})  # the same screen at 200 percent
    page.wait_for_timeout(300)  # for it to be laid out
    assert page.evaluate(CUT, OUTPUT) == []
    assert notebook.complaints == []
