"""The Perturb in a real JupyterLab: what a learner sees and touches."""

from __future__ import annotations

import pytest

from tests.browser.jupyter import OUTPUT, Server
from tests.browser.test_lab import CUT, Open, handle

pytestmark = pytest.mark.browser

PERTURB = """import wdlab
from wdlab.lab import Perturb
_ = wdlab.TASKS['mnist1d'].arrays()
Perturb()"""


def test_a_learner_looks_for_the_flatter_network(server: Server, open_notebook: Open) -> None:
    notebook = open_notebook(server.write("perturb.ipynb", PERTURB))
    page = notebook.page
    notebook.run_all()
    notebook.see("flatter is not better here", 60)
    notebook.picture().scroll_into_view_if_needed()
    notebook.save("perturb-1-open")

    notebook.press("decay always")
    handle(notebook, 1).focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    notebook.see("decay always looks 1")
    notebook.see("are both those of decay always")
    notebook.save("perturb-2-always-flatter")

    notebook.press("layer")
    notebook.see("in proportion to the norm of its weights")
    notebook.see("decay always's rise stayed")
    readout = page.locator(f"{OUTPUT} .widget-readout").first
    readout.fill("0.2")
    readout.press("Enter")
    notebook.see("Noise: layer-relative, size 0.2")
    notebook.save("perturb-3-layer")
    assert page.evaluate(CUT, OUTPUT) == []

    page.set_viewport_size({"width": 683, "height": 768})  # the same screen at 200 percent
    page.wait_for_timeout(1000)
    notebook.save("perturb-4-narrow")
    assert page.evaluate(CUT, OUTPUT) == []
    assert notebook.complaints == []
