"""Numbers and sketches in a real JupyterLab: typed, drawn by keyboard, locked, revealed."""

from __future__ import annotations

import pytest

from tests.browser.jupyter import OUTPUT, Server
from tests.browser.test_lab import CUT, Open, handle

pytestmark = pytest.mark.browser

ASK = """from wdlab.lab import Predictions
predictions = Predictions()
predictions.ask_number("angle", "By how many degrees does a step turn the weights?", 0, 10, "degrees")"""
DRAW = """predictions.ask_curve("norm", "Decay in the first quarter only: how does the weight norm go?",
    [0, 0.2, 0.4, 0.6, 0.8, 1], 0, 24, "share of training", "weight norm",
    beside={"never": ([0, 0.25, 1], [8, 15, 21])})"""
REVEAL = """from IPython.display import display
display(predictions.reveal("angle", 1.86, "Measured."),
        predictions.reveal("norm", ([0, 0.25, 1], [8, 8.5, 11]), "Measured."), predictions.score())"""


def test_a_learner_types_a_number_and_draws_a_curve(server: Server, open_notebook: Open) -> None:
    server.set("themes", theme="JupyterLab Light")
    notebook = open_notebook(server.write("predict.ipynb", ASK, DRAW, REVEAL))
    page = notebook.page
    for _ in range(2):  # not the cell that tells
        page.keyboard.press("Shift+Enter")
    notebook.see("at 0.8")
    fields = page.locator(f'{OUTPUT} input[type="text"]')
    fields.nth(0).fill("two or so")
    page.locator(f'{OUTPUT} button:has-text("Commit")').nth(0).click()
    notebook.see("Your number is missing or not a number")
    fields.nth(0).fill("2")
    fields.nth(1).fill("0.5")
    fields.nth(1).press("Tab")
    page.locator(f'{OUTPUT} button:has-text("Commit")').nth(0).click()
    notebook.see("Committed: 2 ± 0.5 degrees (50% sure)")
    notebook.save("predict-1-number")

    commit = page.locator(f'{OUTPUT} button:has-text("Commit")').nth(1)
    commit.scroll_into_view_if_needed()
    commit.click()
    notebook.see("Draw first")
    source = notebook.picture().get_attribute("src")
    for place, presses in enumerate((-7, -6, -5, -4, -3, -2)):  # slider 0 is the confidence of the number
        handle(notebook, 1 + place).focus()
        for _ in range(abs(presses)):
            page.keyboard.press("ArrowUp" if presses > 0 else "ArrowDown")
    notebook.see("10.8 at 1")  # in the words beside the picture: all strokes have reached the kernel
    assert notebook.picture().get_attribute("src") != source
    notebook.save("predict-2-drawn")
    commit.click()
    notebook.see("Committed: 7.8, 8.4, 9, 9.6, 10.2, 10.8 ± 2.4 (50% sure)")

    page.locator(".jp-Cell .cm-content").nth(2).click()  # Run All would ask anew
    page.keyboard.press("Shift+Enter")
    notebook.see("in your band at 6 of 6 moments", 60)
    notebook.see("knowing only the range")
    notebook.see("Your predictions")
    assert page.locator(f'{OUTPUT} img[alt*="measured: 8 at 0"]').count() == 1
    page.locator(f"{OUTPUT} table").last.scroll_into_view_if_needed()
    notebook.save("predict-3-revealed")
    page.locator(f'{OUTPUT} img[alt*="measured: 8 at 0"]').scroll_into_view_if_needed()
    notebook.save("predict-4-measured")
    assert page.evaluate(CUT, OUTPUT) == []

    page.set_viewport_size({"width": 683, "height": 768})  # the same screen at 200 percent
    page.wait_for_timeout(1000)
    notebook.picture().scroll_into_view_if_needed()
    notebook.save("predict-5-narrow")
    assert page.evaluate(CUT, OUTPUT) == []
    assert notebook.complaints == []
