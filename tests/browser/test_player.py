"""The Player in a real JupyterLab: a learner lets an agent play, stops it by keyboard, and looks before training."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.jupyter import OUTPUT, Notebook, Server
from tests.browser.test_lab import CUT

pytestmark = pytest.mark.browser
TRAIN = """from dataclasses import replace
from wdlab import Decay, Model, Optimizer, Run, Schedule, sweep
from wdlab.lab import Player
from wdlab.tasks.rl import DQN
little = DQN(frames=500, warmup=100, replay=400, batch_size=16, epsilon_frames=100, test_size=2)
adam, net = Optimizer("adam", 0.003, eps=1e-4), Model("mlp", 8, 2, norm=False)
base = Run(little, net, adam, Schedule("constant"), evaluations=2, seed=10_000)
decays = [Decay(1e-3, coupling="l2"), Decay(1.0, coupling="decoupled")]
results = sweep([replace(base, decay=decay) for decay in decays], jobs=1, networks=True)"""


def test_a_learner_watches_an_agent(server: Server, open_notebook: Callable[..., Notebook]) -> None:
    server.set("themes", theme="JupyterLab Light")
    notebook = open_notebook(server.write("player.ipynb", TRAIN, 'Player(results, coupling="l2")'))
    page = notebook.page
    notebook.run_all()
    notebook.see("l2, seed 10000, after training: return", 60)
    handle = page.locator(f"{OUTPUT} .noUi-handle").last
    handle.focus()
    for _ in range(3):
        handle.press("ArrowRight")
    notebook.see("frame 4.")
    notebook.press("before training")
    notebook.see("l2, seed 10000, before training: return")
    notebook.press("decoupled")
    notebook.see("decoupled, seed 10000, before training: return")
    notebook.picture().scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    notebook.save("15-player")
    assert page.evaluate(CUT, OUTPUT) == []
    assert notebook.complaints == []
