"""BlindTuning and the Budget in a real JupyterLab: a learner spends trials, guesses, and turns the budget."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.jupyter import OUTPUT, Notebook, Server
from tests.browser.test_lab import CUT

pytestmark = pytest.mark.browser
TRAIN = """from wdlab.claims import Setting, chapter10
from wdlab.lab import BlindTuning, Budget, Explorer
from wdlab.tasks import generator
from wdlab.tuning import search
runs = chapter10.table("vision", Setting("ci", (10_000, 10_001), "cpu"))"""


def test_a_learner_tunes_blind_and_turns_the_budget(server: Server, open_notebook: Callable[..., Notebook]) -> None:
    server.set("themes", theme="JupyterLab Light")
    cells = ('BlindTuning(runs, generator(10_000, "hidden"))', 'Explorer(Budget({"vision": search(runs)}))')
    notebook = open_notebook(server.write("blind.ipynb", TRAIN, *cells))
    page = notebook.page
    notebook.run_all()
    notebook.see("4 trials. Tune as well as you can", 90)
    notebook.press("lr 0.01, λ 1")
    notebook.see("3 trials are left")
    notebook.press("Guess")
    notebook.see("Choose a coupling first")
    notebook.press("l2")
    notebook.press("Guess")
    notebook.see("Brier score")
    notebook.picture().scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    notebook.save("13-blind-tuning")
    notebook.see("8 trials: none")
    handle = page.locator(f"{OUTPUT} .noUi-handle").last
    handle.focus()
    for _ in range(3):
        handle.press("ArrowRight")
    notebook.see("11 trials: none")
    handle.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    notebook.save("14-budget")
    assert page.evaluate(CUT, OUTPUT) == []
    assert notebook.complaints == []
