"""The Explorer in a real JupyterLab: sliders over runs that are there already."""

from __future__ import annotations

import pytest

from tests.browser.jupyter import OUTPUT, Server
from tests.browser.test_lab import CUT, Open, handle

pytestmark = pytest.mark.browser

RUNS = """from dataclasses import replace
import torch
import wdlab
from wdlab import Decay, Model, Optimizer, Run, Timing, sweep
from wdlab.lab import CriticalPeriod, Explorer, Grid
torch.set_num_threads(1)
_ = wdlab.TASKS['mnist1d'].arrays()
base, seeds = Run(model=Model(width=24), steps=120, evaluations=12), (10_000, 10_001)"""
PERIOD = """arms = [[Timing.window(0, t) for t in (0, .25, .5, 1)], [Timing.window(t, 1) for t in (0, .25, .5, 1)]]
sides = [sweep([replace(base, seed=s, decay=Decay(0.05, t)) for s in seeds for t in arm], jobs=1) for arm in arms]
Explorer(CriticalPeriod(*sides))"""
GRID = """strengths = {"l2": (1e-4, 1e-2, 1.0), "decoupled": (0.01, 1.0, 1e9)}
cells = [replace(base, seed=s, steps=60, optimizer=Optimizer("adam", lr=lr), decay=Decay(one, coupling=coupling))
         for coupling, many in strengths.items() for one in many for lr in (0.001, 0.01, 0.1) for s in seeds]
Explorer(Grid(sweep(cells, jobs=1)))"""


def test_a_learner_slides_along_the_critical_period_and_over_a_grid(server: Server, open_notebook: Open) -> None:
    server.set("themes", theme="JupyterLab Light")
    notebook = open_notebook(server.write("explorer.ipynb", RUNS, PERIOD, GRID))
    page = notebook.page
    notebook.run_all()
    notebook.see("Good basin", 90)
    notebook.picture().scroll_into_view_if_needed()
    notebook.see("Until 50%")
    source = notebook.picture().get_attribute("src")
    handle(notebook, 0).focus()
    page.keyboard.press("ArrowLeft")
    notebook.see("Until 25%")
    assert notebook.picture().get_attribute("src") != source
    notebook.press("test error")
    notebook.see("test error 0.")
    notebook.save("explorer-1-period")

    notebook.press("decoupled")
    page.locator(f"{OUTPUT} img").nth(1).scroll_into_view_if_needed()
    for _ in range(2):
        handle(notebook, 1).focus()
        page.keyboard.press("ArrowRight")
        handle(notebook, 2).focus()
        page.keyboard.press("ArrowRight")
    notebook.see("lr 0.1, λ 1e+09: 2 of 2 runs diverged")
    notebook.save("explorer-2-grid")
    assert page.evaluate(CUT, OUTPUT) == []

    page.set_viewport_size({"width": 683, "height": 768})  # the same screen at 200 percent
    page.wait_for_timeout(1000)
    notebook.save("explorer-3-narrow")
    assert page.evaluate(CUT, OUTPUT) == []
    assert notebook.complaints == []
