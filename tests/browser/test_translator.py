"""The Translator in a real JupyterLab: a learner types German numbers, good and bad, and turns the coupling."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.jupyter import OUTPUT, Notebook, Server
from tests.browser.test_lab import CUT

pytestmark = pytest.mark.browser
TRAIN = """from dataclasses import replace
from wdlab import Decay, Model, Optimizer, Run, Schedule, sweep
from wdlab.lab import Translator
from wdlab.tasks import Translation
little = Translation(train_size=50, test_size=20, batch_size=25)
adam = Optimizer("adam", 0.01, betas=(0.9, 0.98), eps=1e-4)
base = Run(little, Model("transformer", 16, 1), adam, Schedule("constant"), steps=30, evaluations=2, seed=10_000)
decays = [Decay(1e-3, coupling="l2"), Decay(1.0, coupling="decoupled"), Decay(1e12, coupling="decoupled")]
results = sweep([replace(base, decay=decay) for decay in decays], jobs=1, networks=True)"""


def test_a_learner_types_numbers(server: Server, open_notebook: Callable[..., Notebook]) -> None:
    server.set("themes", theme="JupyterLab Light")
    notebook = open_notebook(server.write("translator.ipynb", TRAIN, 'Translator(results, coupling="l2")'))
    page = notebook.page
    notebook.run_all()
    notebook.see("siebenundvierzig:", 60)
    typed = page.locator(f"{OUTPUT} input[type=text]").last
    for text, told in (
        ("321", "dreihunderteinundzwanzig is three hundred and twenty-one."),
        ("bonjour", "is unknown"),
        ("", "is empty"),
        ("0", "from 1 to 999999"),
        ("1000000", "below a million"),
        ("zwölf", "seed 10000:"),
    ):
        typed.fill(text)
        typed.press("Enter")
        notebook.see(told)
    notebook.press("decoupled")
    notebook.see("zwölf:")
    notebook.picture().scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    notebook.save("12-translator")
    assert page.evaluate(CUT, OUTPUT) == []
    assert notebook.complaints == []
