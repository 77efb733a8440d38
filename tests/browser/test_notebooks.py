"""Every notebook of the course in a real JupyterLab: a prediction is answered, all runs to its end, all is drawn."""

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

from tests.browser.jupyter import COURSE, NARROW, OUTPUT, Notebook, Server

pytestmark = pytest.mark.browser
LONGEST = ["02", "06", "07", "05", "01", "03", "09", "10", "08"]  # begun first: both cores have work till the end
NOTEBOOKS = sorted(COURSE, key=lambda path: ([*LONGEST, path.stem[:2]].index(path.stem[:2]), path.stem))
LIMIT = 300.0  # seconds of one notebook at ci scale, on a machine that is busy with other things and has nothing stored
PNG, WIDGET = "image/png", "application/vnd.jupyter.widget-view+json"
VIEW = f"{OUTPUT} .jp-OutputArea-output.lm-Panel"
# Whether as many widgets as expected are shown, whole: not one that was not found, and no picture that is not there.
DRAWN = """([views, count]) => [...document.querySelectorAll(views)].filter(view =>
  view.querySelector('.jupyter-widgets') && !/Error displaying widget|Loading widget/.test(view.textContent) &&
  [...view.querySelectorAll('img')].every(image => image.complete && image.naturalWidth)).length == count"""
RED = f"{OUTPUT} .jp-RenderedText[data-mime-type='application/vnd.jupyter.error']"
# Whether each cell has its number, or one shows an error. All are counted: JupyterLab draws cells that are out of sight
# when it has time, so that the last prompt there is may not be the last cell's.
ENDED = """([red, cells]) => document.querySelector(red) || cells ==
  [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].filter(e => /\\d/.test(e.textContent)).length"""
SAYS = "([view, words]) => new RegExp(words, 'm').test(view.innerText)"
# A run that was begun just now, and no other, draws another picture, and says what it has measured.
RUNS = "([view, source]) => view.querySelector('img').src != source && !/nothing measured/.test(view.textContent)"
ALTS = """output => [...document.querySelectorAll(output + ' .jp-RenderedHTMLCommon img')]
  .filter(image => image.src.startsWith('data:')).map(image => image.getAttribute('alt'))"""
TABLES = """output => [...document.querySelectorAll(output + ' .jp-RenderedHTMLCommon table')]
  .map(table => [...table.rows].map(row => [...row.cells].map(cell => cell.textContent)))"""
BARE = "output => document.querySelectorAll(output + ' .jp-RenderedImage img').length"


def with_an_end(path: Path, folder: Path) -> tuple[int, int]:
    """Copy a notebook into `folder`, with one more cell and nothing shown; its first question's cell, how many run."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.update({"outputs": [], "execution_count": None} if cell.cell_type == "code" else {})
    notebook.cells.append(new_code_cell("'the end'"))
    nbformat.write(notebook, folder / path.name)
    question = next(number for number, cell in enumerate(notebook.cells) if "predictions.ask(" in cell.source)
    return question, sum(cell.cell_type == "code" for cell in notebook.cells)


def answer(notebook: Notebook, question: int) -> str:
    """Run the notebook down to its first question, choose, be surer, commit, and run the rest; what was committed."""
    page = notebook.page
    page.locator(".jp-Notebook .jp-Cell").nth(question + 1).click(position={"x": 5, "y": 5})
    notebook.choose("Run", "Run All Above Selected Cell")
    asked = page.locator(VIEW).filter(has=page.locator("input[type=radio]")).first
    asked.locator("input[type=radio]").nth(1).check(timeout=1000 * LIMIT)
    chosen = asked.locator("label").filter(has=page.locator("input:checked")).inner_text().strip()
    asked.locator(".noUi-handle").press("ArrowRight")
    asked.locator('button:has-text("Commit")').click()
    notebook.see(f"Committed: {chosen}")
    assert asked.locator("input[type=radio]:enabled").count() == 0, "locked"
    page.locator(".jp-Notebook .jp-Cell").nth(question + 1).click(position={"x": 5, "y": 5})
    notebook.choose("Run", "Run Selected Cell and All Below")
    return chosen


def wait_for_the_end(notebook: Notebook, cells: int) -> None:
    """Wait until so many cells, which are all, have run, or one shows an error."""
    notebook.wait(ENDED, RED, cells, seconds=LIMIT)
    red = notebook.page.locator(RED).all_text_contents()
    assert not red, red[0]


def outputs(path: Path) -> Iterator[NotebookNode]:
    """What the cells of a saved notebook show; every cell must have run."""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.execution_count, cell.source
            yield from cell.outputs


def press_run(notebook: Notebook, lab: Locator) -> None:
    """Press Run, once the run that the cell began is over, see another begin, and press Stop."""
    shown = lab.element_handle()
    notebook.wait(SAYS, shown, "^(Done|Stopped)", seconds=LIMIT)
    source = lab.locator("img").get_attribute("src")
    lab.locator('button:text-is("Run")').click()
    notebook.wait(RUNS, shown, source)
    lab.locator('button:text-is("Stop")').evaluate("button => button.click()")  # a click on nothing, if it is over
    notebook.wait(SAYS, shown, "^(Done|Stopped)")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_to_its_end_and_draws_its_widgets(
    path: Path, server: Server, open_notebook: Callable[[str], Notebook], record_property: Callable[[str, object], None]
) -> None:
    question, cells = with_an_end(path, server.notebooks)
    notebook = open_notebook(path.name)
    page, start = notebook.page, time.monotonic()
    chosen = answer(notebook, question)
    wait_for_the_end(notebook, cells)
    record_property(path.stem, f"{time.monotonic() - start:.1f} s in a browser")
    notebook.save_notebook()
    shown = list(outputs(server.notebooks / path.name))
    assert [output for output in shown if output.output_type == "error"] == []
    widgets = sum(WIDGET in output.get("data", {}) for output in shown)
    assert widgets > 0
    notebook.wait(DRAWN, VIEW, widgets)
    answered_and_scored(notebook, chosen)
    pictures_are_told_in_words(notebook, sum(PNG in o.get("data", {}) and WIDGET not in o.data for o in shown))
    views = page.locator(VIEW).all()
    labs = [view for view in views if view.locator('button:text-is("Run")').count()]
    assert labs, "no notebook is without a Lab"
    for view in labs:
        view.scroll_into_view_if_needed()
        press_run(notebook, view)
    notebook.nothing_is_cut()
    notebook.all_is_reached_by_keyboard()
    for number, view in enumerate(view for view in views if view.locator("img").count()):
        view.scroll_into_view_if_needed()
        notebook.save(f"notebook-{path.stem}-{number}")
    notebook.zoom(NARROW)
    notebook.nothing_is_cut()
    assert notebook.complaints == []


def answered_and_scored(notebook: Notebook, chosen: str) -> None:
    """The table at the end has what was committed; so has the reveal, beside the truth and the score, if there is one.

    (In notebook 00 it does not where decay hardly helps, as at ci scale.)
    """
    *tables, last = notebook.page.evaluate(TABLES, OUTPUT)
    (row,) = (row for row in last if row[1] == chosen)
    assert re.fullmatch(r"\d+%", row[2])
    if row[3] != "not yet known":
        sure = f"{chosen} ({row[2]} sure)"
        (revealed,) = (dict(table) for table in tables if ["Your answer", sure] in table)
        assert revealed["It turned out"].startswith(row[3])
        assert revealed["Score"].startswith("Brier score ") and float(row[4]) >= 0


def pictures_are_told_in_words(notebook: Notebook, count: int) -> None:
    """Each of `count` pictures that are no widgets, and those of reveals, has alt text of its own, with numbers."""
    alts = notebook.page.evaluate(ALTS, OUTPUT)
    assert len(alts) >= count and all(alt and re.search(r"\d", alt) for alt in alts), alts
    assert len(set(alts)) == len(alts)
    assert notebook.page.evaluate(BARE, OUTPUT) == 0, "an image output without alt text"
