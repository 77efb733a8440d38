"""The Lab and the predictions in a real JupyterLab: what a learner sees and touches."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from tests.browser.jupyter import OUTPUT, ROOT, SCREENSHOTS, Notebook, Server

pytestmark = pytest.mark.browser
Open = Callable[..., Notebook]

WARM = "import wdlab\n_ = wdlab.TASKS['mnist1d'].arrays()"  # as a notebook's set-up cell does
LAB = "from wdlab.lab import Lab\nlab = Lab({})\nlab"
SMALL = "model=wdlab.Model(width=16), steps=400"
ASK = """from wdlab.lab import Predictions
predictions = Predictions()
predictions.ask("early", "Decay in the first quarter only: what will the test error be?",
                ["as good as with decay always", "as bad as without decay", "half-way between the two"])"""
# Notes the moment of each picture, and where the button and the picture's box were.
WATCH = """() => {
  const image = document.querySelector('.jp-Cell-outputArea img');
  const box = () => { const b = image.getBoundingClientRect(); return [b.x, b.y, b.width, b.height].join() };
  window.seen = {times: [], boxes: new Set([box()])};
  new MutationObserver(() => requestAnimationFrame(() => {
    window.seen.times.push(performance.now()); window.seen.boxes.add(box());
  })).observe(image, {attributeFilter: ['src']});
}"""
START = "() => { window.seen.start = performance.now() }"
SEEN = "() => ({times: window.seen.times.map(t => t - window.seen.start), boxes: [...window.seen.boxes]})"


@pytest.fixture(scope="module")
def small(server: Server) -> str:
    return server.write("lab.ipynb", WARM, LAB.format(SMALL), ASK)


@pytest.fixture(scope="module")
def lab_and_friends(server: Server) -> str:
    return server.write("real.ipynb", WARM, LAB.format(""))


def handle(notebook: Notebook, slider: int, end: int = 0):
    """One handle of a slider: 0 is the window, 1 lambda, 2 the learning rate."""
    found = notebook.page.locator(f"{OUTPUT} .noUi-target").nth(slider).locator(".noUi-handle")
    return found.nth(end)


def active(notebook: Notebook) -> str:
    return str(notebook.page.locator(f"{OUTPUT} .widget-toggle-button.mod-active").first.inner_text())


def test_a_learner_runs_turns_a_dial_and_stops(
    server: Server, open_notebook: Open, record_property: Callable[[str, object], None]
) -> None:
    notebook = open_notebook(server.write("live.ipynb", WARM, LAB.format("")))
    page = notebook.page
    notebook.run_all()
    notebook.picture().wait_for()
    notebook.picture().scroll_into_view_if_needed()
    notebook.save("1-before")

    page.evaluate(WATCH)
    page.evaluate(START)
    notebook.press("Run")
    notebook.see("Step")
    notebook.save("2-running")
    notebook.press("Run")
    notebook.see("One run at a time")
    notebook.see("Done: always", 60)
    seen = page.evaluate(SEEN)
    record_property("first picture, s", round(seen["times"][0] / 1000, 2))
    record_property("pictures", len(seen["times"]))
    assert seen["times"][0] < 3000  # 1 s on a machine with nothing else to do
    assert len(seen["boxes"]) == 1, "the picture jumps"
    notebook.save("3-done")

    handle(notebook, 0, end=1).focus()
    for _ in range(15):
        page.keyboard.press("ArrowLeft")
    notebook.see("Next run: 0–25%")
    assert active(notebook) == "own window"
    handle(notebook, 1).focus()
    page.keyboard.press("ArrowRight")
    notebook.see("λ 0.018")
    notebook.press("Run")
    notebook.see("Running: 0–25%, λ 0.018")
    notebook.press("Stop")
    notebook.see("Stopped at step", 10)
    source = notebook.picture().get_attribute("src")
    notebook.save("4-stopped")
    page.wait_for_timeout(1000)
    assert notebook.picture().get_attribute("src") == source, "it goes on after Stop"
    assert notebook.complaints == []


def test_a_learner_predicts(open_notebook: Open, small: str) -> None:
    notebook = open_notebook(small)
    notebook.run_all()
    notebook.see("How sure are you?")
    notebook.press("Commit")
    notebook.see("Choose one of the answers first")
    notebook.page.locator(f"{OUTPUT} input[type=radio]").nth(1).check()
    handle(notebook, 3).focus()
    notebook.page.keyboard.press("ArrowRight")
    notebook.press("Commit")
    notebook.see("Committed: as bad as without decay (73% sure)")
    notebook.page.locator(f"{OUTPUT} input[type=radio]").nth(1).scroll_into_view_if_needed()
    notebook.save("5-predicted")
    assert notebook.page.locator(f"{OUTPUT} input[type=radio]:enabled").count() == 0
    assert notebook.complaints == []


@pytest.mark.parametrize(("look", "zoom"), [("dark", 1.0), ("light", 2.0)])
def test_the_lab_reads_well_on_a_dark_theme_and_at_200_percent(
    server: Server, open_notebook: Open, small: str, look: str, zoom: float
) -> None:
    server.set("themes", theme="JupyterLab Dark" if look == "dark" else "JupyterLab Light")
    notebook = open_notebook(small, zoom=zoom)
    notebook.run_all()
    notebook.picture().wait_for()
    for timing in ("never", "early: first 25%"):
        notebook.press(timing)
        notebook.press("Run")
        notebook.see(f"Done: {timing.split(':')[0]}", 60)
    shown = notebook.page.locator(f"{OUTPUT} .widget-hbox").first
    shown.screenshot(path=SCREENSHOTS / f"6-{look}-{zoom:.0%}.png")
    cut = "e => [...e.querySelectorAll('*')].filter(x => x.scrollWidth > x.clientWidth + 2 && x.clientWidth > 20)"
    assert shown.evaluate(f"{cut}.map(x => x.className + ': ' + x.innerText)".replace("e => ", "e => ", 1)) == []
    assert notebook.complaints == []


@pytest.mark.skipif(not (ROOT / "notebooks" / "00_start_here.ipynb").exists(), reason="notebook 00 is not written yet")
def test_notebook_00_opens_the_course(server: Server, open_notebook: Open) -> None:
    shutil.copy(ROOT / "notebooks" / "00_start_here.ipynb", server.notebooks)
    notebook = open_notebook("00_start_here.ipynb")
    notebook.run_all()
    notebook.page.wait_for_selector(f"{OUTPUT} .widget-toggle-buttons")
    run = notebook.page.locator(f'{OUTPUT} button:text-is("Run")').first
    run.scroll_into_view_if_needed()
    run.click()
    notebook.see("Step")
    notebook.save("7-start-here")
    notebook.press("Stop")
    notebook.see("Stopped at step", 10)
    assert notebook.complaints == []
