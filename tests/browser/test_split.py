"""The SplitStep in a real JupyterLab: what a learner sees and touches."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.jupyter import OUTPUT, Notebook, Server
from tests.browser.test_lab import CUT

pytestmark = pytest.mark.browser
SPLIT = "from wdlab.lab import SplitStep\nSplitStep()"


def test_a_learner_turns_the_coupling(server: Server, open_notebook: Callable[..., Notebook]) -> None:
    server.set("themes", theme="JupyterLab Light")
    notebook = open_notebook(server.write("split.ipynb", SPLIT))
    page = notebook.page
    notebook.run_all()
    notebook.see("w ends at")
    for label in ("Coupling", "Gradients", "Start", "Strength λ"):
        notebook.see(label)
    first = notebook.picture().get_attribute("src")
    notebook.press("decoupled")
    notebook.see("(AdamW)")
    assert [text.strip() for text in page.locator(f"{OUTPUT} strong").all_inner_texts()] == ["+ d"]
    page.wait_for_function("([output, src]) => document.querySelector(`${output} img`).src != src", arg=[OUTPUT, first])
    notebook.press("the minimum")
    notebook.press("second_moment")
    notebook.see("λw happened to cancel the gradient")
    notebook.press("l2")
    notebook.see("mixes into every buffer")
    page.locator(f"{OUTPUT} .noUi-handle").first.focus()
    page.keyboard.press("ArrowRight")
    notebook.see("w ends at")
    notebook.picture().scroll_into_view_if_needed()
    page.wait_for_timeout(800)
    notebook.save("10-split")
    assert page.evaluate(CUT, OUTPUT) == []
    page.keyboard.press("Control+b")
    page.set_viewport_size({"width": 683, "height": 768})
    page.wait_for_timeout(500)
    notebook.save("10-split-narrow")
    assert page.evaluate(CUT, OUTPUT) == []
    assert notebook.complaints == []
