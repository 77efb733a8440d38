"""The Lab and a choice to predict in a real JupyterLab: what a learner sees and touches."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import psutil
import pytest
from playwright.sync_api import Page

from tests.browser.jupyter import COURSE, HEIGHT, NARROW, SCREENSHOTS, Notebook, Server
from tests.lab import projector

pytestmark = pytest.mark.browser
Open = Callable[..., Notebook]
shares_a_page = pytest.mark.xdist_group("scratchpad")

WARM = "import wdlab\n_ = wdlab.TASKS['mnist1d'].arrays()"  # as a notebook's set-up cell does
YIELD = "import os\nos.nice(10)"  # a run that goes on while pages load does not take the core from them
LAB = "from wdlab.lab import Lab\nlab = Lab({})\nlab"
SMALL = "model=wdlab.Model(width=24), steps=600"
ASK = """from wdlab.lab import Predictions
predictions = Predictions()
predictions.ask("early", "Decay in the first quarter only: what will the test error be?",
                ["as good as with decay always", "as bad as without decay", "half-way between the two"])"""
FIRST, ANSWER = 1.0, 1.0  # seconds from Run to the first measurement in the picture, and from a click to its answer
SLACK = 2.0  # times FIRST, as the other worker's browser and kernel may have half of the machine
# Notes the moment of each picture, that at which the words beside it first tell a measurement, and the picture's box.
WATCH = """outputs => {
  const image = document.querySelector(`${outputs} img`), view = image.closest('.lm-Panel');
  const box = () => { const b = image.getBoundingClientRect(); return [b.x, b.y, b.width, b.height].join() };
  window.seen = {times: [], first: null, boxes: new Set([box()])};
  let shown = image.src;
  new MutationObserver(() => requestAnimationFrame(now => {
    if (image.src != shown) { shown = image.src; window.seen.times.push(now); window.seen.boxes.add(box()) }
    if (/Current run .* done: (?!nothing measured)/.test(view.textContent)) window.seen.first ??= now;
  })).observe(view, {subtree: true, childList: true, attributeFilter: ['src']});
}"""
# Notes how long it takes from the next click until an output says `words`, looking at every frame: words and picture
# are told one by one, so that what changes last need not be where one looks.
ANSWERED = """([outputs, words]) => { window.answered = new Promise(done => {
  let start;
  document.addEventListener('click', () => { start = performance.now() }, {capture: true, once: true});
  const look = () => start && [...document.querySelectorAll(outputs)].some(one => one.textContent.includes(words))
    ? done(performance.now() - start) : requestAnimationFrame(look);
  look();
}) }"""
DRAWN = """([images]) => Promise.all(
  [...document.querySelectorAll(images)].map(image => image.decode().then(() => image.alt)))"""
FIRST_RUN = "([outputs, run]) => document.querySelector(outputs + ' tbody td')?.innerText == run"
NO_RUN = "([outputs]) => !document.querySelector(outputs + ' tbody td')"
START = "() => { window.seen.start = performance.now() }"
SEEN = """() => ({times: window.seen.times.map(t => t - window.seen.start),
  first: window.seen.first - window.seen.start, boxes: [...window.seen.boxes]})"""
PROJECTED = 1.5  # the browser's zoom on a projector of 1280 by 720 pixels
SIZES = """outputs => [...document.querySelectorAll(outputs)].flatMap(output => [...output.querySelectorAll('*')])
  .filter(e => [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()) && e.getClientRects().length)
  .filter(e => getComputedStyle(e).clipPath == 'none')
  .map(e => [parseFloat(getComputedStyle(e).fontSize), e.innerText.slice(0, 60)])"""


def active(notebook: Notebook) -> str:
    return str(notebook.page.locator(f"{notebook.outputs} .widget-toggle-button.mod-active").first.inner_text())


@shares_a_page
def test_a_stored_figure_is_told_in_words(scratchpad: Notebook) -> None:
    """The scratchpad's first cell is never run: it holds a picture of every notebook of the course, as committed."""
    alts = scratchpad.promised(DRAWN, ".jp-Notebook .jp-Cell:first-child img")
    assert len(set(alts)) == len(COURSE) > 0 and all(re.search(r"\d", alt) for alt in alts), alts


@shares_a_page
def test_a_learner_runs_turns_a_dial_and_stops(
    notebook: Notebook, record_property: Callable[[str, object], None]
) -> None:
    page = notebook.page
    notebook.write(WARM, LAB.format(""))
    notebook.picture().wait_for()
    notebook.picture().scroll_into_view_if_needed()
    notebook.save("1-before")

    page.evaluate(WATCH, notebook.outputs)
    page.evaluate(START)
    notebook.press("Run")
    notebook.see("Running: ")
    notebook.save("2-running")
    notebook.press("Run")
    notebook.see("One run at a time")
    notebook.see("Done: always", 120)
    seen = page.evaluate(SEEN)
    (SCREENSHOTS / "pictures.json").write_text(json.dumps([round(at) for at in seen["times"]]))  # ms after Run
    first, times = seen["first"] / 1000, [at / 1000 for at in seen["times"]]
    told = f"{first:.2f} s after Run ({FIRST} s where nothing else is to be done)"
    record_property("first picture of a measurement in a browser", told)
    assert times[0] <= first < SLACK * FIRST
    assert len(times) <= 5 * (times[-1] - times[0]) + 2, "more than five pictures a second"
    assert len(seen["boxes"]) == 1, "the picture jumps"
    notebook.save("3-done")

    notebook.turn(0, -15, end=1)
    notebook.see("Next run: 0–25%")
    assert active(notebook) == "own window"
    notebook.turn(1, 1)
    notebook.see("λ 0.018")
    notebook.press("Run")
    notebook.see("Running: 0–25%, λ 0.018")
    notebook.press("Stop")
    notebook.see("Stopped at step", 10)
    source = notebook.picture().get_attribute("src")
    notebook.save("4-stopped")
    page.wait_for_timeout(1000)  # the one wait by the clock, for nothing is to happen
    assert notebook.picture().get_attribute("src") == source, "it goes on after Stop"
    assert notebook.complaints == []


@pytest.fixture
def dark(scratchpad: Notebook) -> Iterator[None]:
    """The scratchpad on JupyterLab's dark theme."""
    scratchpad.page.bring_to_front()
    scratchpad.choose("Settings", "Theme", "JupyterLab Dark")
    yield
    scratchpad.zoom()
    scratchpad.choose("Settings", "Theme", "JupyterLab Light")


@shares_a_page
@pytest.mark.usefixtures("dark")
def test_a_learner_predicts_and_reads_on_a_dark_theme_and_at_200_percent(notebook: Notebook) -> None:
    page = notebook.page
    notebook.write(WARM, LAB.format(SMALL), ASK)
    notebook.see("How sure are you?")
    notebook.press("Commit")
    notebook.see("Choose one of the answers first")
    page.locator(f"{notebook.outputs} input[type=radio]").nth(1).check()
    notebook.turn(3, 1)
    notebook.press("Commit")
    notebook.see("Committed: as bad as without decay (73% sure)")
    assert page.locator(f"{notebook.outputs} input[type=radio]:enabled").count() == 0
    notebook.save("5-predicted")

    for timing in ("never", "early: first 25%"):
        notebook.press(timing)
        notebook.press("Run")
        notebook.see(f"Done: {timing.split(':')[0]}", 120)
    notebook.picture().scroll_into_view_if_needed()
    notebook.save("6-dark")
    notebook.nothing_is_cut()

    notebook.zoom(NARROW, HEIGHT // 2)
    page.locator(f"{notebook.outputs} .widget-toggle-buttons").scroll_into_view_if_needed()
    notebook.save("7-200-percent-dials")
    notebook.picture().scroll_into_view_if_needed()
    notebook.save("7-200-percent-picture")
    notebook.nothing_is_cut()
    assert notebook.picture().bounding_box()["width"] >= 480
    assert notebook.complaints == []


@shares_a_page
def test_a_learner_turns_the_data(notebook: Notebook) -> None:
    shown = (
        'show=("schedule", "label_noise", "train_size", "augment"), curves=("weight_norm", "train_loss", "test_error")'
    )
    notebook.write(WARM, LAB.format(f"{SMALL}, {shown}"))
    notebook.picture().wait_for()
    for label in ("Label noise", "Training examples", "The learning rate", "changed at random"):
        notebook.see(label)
    notebook.press("constant")
    notebook.turn(0, 10)
    notebook.see("noise 0.5")
    notebook.turn(1, -1)
    notebook.see("constant, noise 0.5, 2,000 examples")
    notebook.press("Run")
    notebook.see("Done: always, λ 0.01, lr 0.1, constant, noise 0.5, 2,000 examples", 120)
    notebook.picture().scroll_into_view_if_needed()
    notebook.save("9-data")
    notebook.nothing_is_cut()
    assert notebook.complaints == []


def told(notebook: Notebook) -> str:
    """All that a screen reader finds beside the controls."""
    return "".join(notebook.page.locator(f"{notebook.outputs} .widget-html").all_inner_texts())


def norm(notebook: Notebook) -> float:
    """The weight norm of the run in progress, from the text beside the picture."""
    return float(re.findall(r"Current run.*?weight norm ([\d.]+)", told(notebook))[-1])


def wait_for_norm(notebook: Notebook, moved: Callable[[float, float], bool]) -> None:
    """Wait until the norm has moved so from one look to the next, half a second later."""
    before = norm(notebook)
    for _ in range(60):
        notebook.page.wait_for_timeout(500)
        now = norm(notebook)
        if moved(before, now):
            return
        before = now
    pytest.fail(f"the norm does not move so; it is {before}")


@shares_a_page
def test_a_learner_pauses_switches_decay_and_sees_the_curve_bend(
    server: Server, notebook: Notebook, record_property: Callable[[str, object], None]
) -> None:
    page, outputs = notebook.page, notebook.outputs
    notebook.write(WARM, LAB.format("steps=6000"))
    notebook.picture().wait_for()
    page.locator(f"{outputs} .widget-toggle-buttons").first.scroll_into_view_if_needed()
    notebook.press("Step")
    notebook.see("Paused at step 1 of 6000")
    notebook.press("Step")
    notebook.see("Paused at step 2 of 6000")
    notebook.press("Go on")
    wait_for_norm(notebook, lambda before, now: now < before)  # under decay it falls, once the first steps are over
    notebook.press("Decay now: on")
    notebook.see("Decay now: off")
    notebook.see("decay off")
    wait_for_norm(notebook, lambda before, now: now > 1.02 * before)  # without, it grows: the curve has bent
    page.evaluate(ANSWERED, [outputs, "Paused at step"])
    notebook.press("Pause")
    notebook.see("Paused at step")
    seconds = notebook.promised("() => window.answered") / 1000
    record_property("answer to a click while a run goes on", f"{seconds:.2f} s (at most {ANSWER} s)")
    assert 0 < seconds < ANSWER
    notebook.picture().scroll_into_view_if_needed()
    notebook.save("10-switched")

    notebook.all_is_reached_by_keyboard()
    assert {"Go on", "Step", "Stop", "Decay now: off", "Fork", "Reset"} <= set(notebook.tab("Run", "Table of runs"))
    switch = page.locator(f"{outputs} button").filter(has_text="Decay now")
    for now in ("on", "off"):
        switch.press("Space")
        notebook.see(f"Decay now: {now}")

    notebook.press("Fork")
    notebook.see("forked, decay on")
    notebook.press("Go on")
    (off,) = re.findall(r"Earlier run [^:]*: test error [^,]*, weight norm ([\d.]+)", told(notebook))
    wait_for_norm(notebook, lambda _, now: now < float(off))  # the branch with decay comes to have the smaller norm
    notebook.save("11-forked")
    notebook.press("Stop")
    notebook.see("Stopped at step", 10)

    notebook.press("Table of runs")
    page.select_option(f"{outputs} select", "weight norm")
    notebook.wait(FIRST_RUN, outputs, "2")
    page.check(f"{outputs} input[type=checkbox]")
    notebook.wait(FIRST_RUN, outputs, "1")
    with page.expect_download() as download:
        page.click(f"{outputs} a[download]")
    assert download.value.path().read_text().startswith("run,task,optimizer")
    notebook.press("Save CSV")
    notebook.see("Written: wdlab-runs.csv")
    assert (server.notebooks / "wdlab-runs.csv").exists()
    page.locator(f"{outputs} tbody").scroll_into_view_if_needed()
    notebook.save("12-table")
    notebook.press("Reset")
    notebook.see("Choose when weight decay acts")
    notebook.wait(NO_RUN, outputs)
    notebook.nothing_is_cut()
    assert notebook.complaints == []


def test_a_link_opens_on_a_projector_every_dial_turns_and_a_reload_keeps_all(
    server: Server, open_notebook: Open
) -> None:
    make = (
        f"made = Lab({SMALL}, show='all', curves=['weight_norm', 'step_parts'])\n"
        "made.dials = made.dials.turned(optimizer='adam', coupling='adaptive', timing='early', lr=0.001, seeds=2)\n"
        "link = made.link()\nmade.close()"
    )
    opened = "lab = Lab.from_link(link)\nlab"
    name = server.write("link.ipynb", WARM, f"from wdlab.lab import Lab\n{make}", opened)
    notebook = open_notebook(name)
    page, outputs = notebook.page, notebook.outputs
    notebook.run_all()
    notebook.picture().wait_for()
    pressed = f"{outputs} .widget-toggle-button.mod-active"
    assert page.locator(pressed).all_inner_texts()[1:4] == ["Adam", "early: first 25%", "adaptive"]
    notebook.see("Kept out of the buffers, yet divided by sqrt(v)")
    assert page.locator(f"{outputs} strong").all_inner_texts() == ["+ d/(√v̂+ε)"]

    notebook.all_is_reached_by_keyboard()
    reached = notebook.tab("mnist1d", "Table of runs")
    wanted = ["fashion", "SGD", "never", "l2", "decoupled", "constant", "as they are", "Run", "Step", "Reset", "error"]
    assert set(wanted) <= set(reached)
    assert sum("noUi-handle" in name for name in reached) == 7  # window twice, lambda, lr, seeds, noise, size
    page.keyboard.press("Tab")
    assert notebook.focused() == "This setting as text"
    page.keyboard.press("Space")
    assert '"coupling":"adaptive"' in page.locator(f"{outputs} input[type=text]").input_value()

    page.locator(f'{outputs} button:text-is("Run")').focus()
    page.keyboard.press("Enter")
    notebook.see("Done: Adam, early, adaptive, λ 0.01, lr 0.001", 120)
    notebook.see("means and ranges of 2 seeds")
    notebook.press("SGD")
    notebook.see("second_moment needs Adam")
    notebook.picture().scroll_into_view_if_needed()
    notebook.save("13-adam")
    notebook.nothing_is_cut()
    is_readable_on_a_projector(notebook)

    notebook.save_notebook()
    page.reload()
    notebook.see("means and ranges of 2 seeds", 120)
    assert page.locator(pressed).all_inner_texts()[1:4] == ["SGD", "early: first 25%", "adaptive"]
    notebook.press("Run")
    notebook.see("Done: early, adaptive, λ 0.01, lr 0.1", 120)
    notebook.nothing_is_cut()
    assert notebook.complaints == []


def is_readable_on_a_projector(notebook: Notebook) -> None:
    """A projector has few pixels, so the page is zoomed in: there all fits, and nothing is too small for a last row."""
    page = notebook.page
    page.keyboard.press("Control+b")
    notebook.zoom(round(1280 / PROJECTED), round(720 / PROJECTED))
    sizes = page.evaluate(SIZES, notebook.outputs)
    assert len(sizes) > 40
    assert [text for size, text in sizes if size < 12] == []
    notebook.nothing_is_cut()
    width = notebook.picture().bounding_box()["width"]
    assert width >= projector.WIDTH, "as wide as the tests of its print take it for"
    page.locator(f"{notebook.outputs} .widget-toggle-buttons").first.scroll_into_view_if_needed()
    notebook.save("16-projector-dials")
    notebook.picture().scroll_into_view_if_needed()
    notebook.save("16-projector-picture")
    page.keyboard.press("Control+b")
    notebook.zoom()


def reload_unsaved(page: Page) -> None:
    """Reload the page with a change that is not saved, and say yes to losing it."""
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator(".jp-Cell .cm-content").first.click()
    page.keyboard.type("# ")
    page.reload()


def test_a_run_outlives_its_page_and_ends_with_its_kernel(server: Server, open_notebook: Open) -> None:
    """Reloaded, the page finds the run going on; after a restart nothing is left of it, and all can be run again.

    So it is once the notebook is closed.
    """
    lab = LAB.format("model=wdlab.Model(width=24), steps=100_000")
    notebook = open_notebook(server.write("reload.ipynb", f"{WARM}\n{YIELD}", lab))
    page = notebook.page
    notebook.run_all()
    notebook.picture().wait_for()
    notebook.press("never")
    notebook.press("Run")
    notebook.see("Running: never")
    notebook.save_notebook()
    notebook.press("Decay now: off")
    notebook.see("decay on")
    reload_unsaved(page)  # nor is it saved that decay acts now: the kernel knows better than the file
    notebook.see("Running: never", 120)
    notebook.see("decay on")
    assert active(notebook) == "never"
    notebook.see_another_picture(notebook.picture().get_attribute("src"))
    notebook.press("Stop")
    notebook.see("Stopped at step", 10)
    notebook.save("14-reloaded")

    reload_unsaved(page)  # as the file was when the run went on
    notebook.see("Stopped at step", 120)

    notebook.press("Run")
    notebook.see("Running: never")
    before = server.processes("reload.ipynb")
    notebook.choose("Kernel", "Restart Kernel…")
    page.click('.jp-Dialog button:has-text("Restart")')
    assert psutil.wait_procs(before, timeout=30)[1] == [], "a process outlives the restart"
    server.wait_for_kernel("reload.ipynb")
    notebook.run_all()
    notebook.see("Choose when weight decay acts", 120)
    after = server.processes("reload.ipynb")
    assert len(after) == len(before) and not set(after) & set(before)
    notebook.press("Run")
    notebook.see("Running: always")
    notebook.save("15-restarted")
    assert notebook.complaints == []
    notebook.choose("File", "Close and Shut Down Notebook…")
    page.click('.jp-Dialog button:has-text("OK")')
    assert psutil.wait_procs(after, timeout=30)[1] == [], "a process outlives the notebook"
