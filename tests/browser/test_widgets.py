"""Every widget but the Lab in a real JupyterLab: what a learner sees and touches."""

from __future__ import annotations

import pytest

from tests.browser.jupyter import NARROW, Notebook

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("scratchpad")]

TUNING = """from wdlab.claims import Setting, chapter10
from wdlab.lab import BlindTuning, Budget, Explorer
from wdlab.tasks import generator
from wdlab.tuning import search
runs = chapter10.table("vision", Setting("ci", (0, 1), "cpu"))  # as in notebook 10, so that they may be in the store
BlindTuning(runs, generator(10_000, "hidden"))"""
BUDGET = 'Explorer(Budget({"vision": search(runs)}))'


def test_a_learner_tunes_blind_and_turns_the_budget(notebook: Notebook) -> None:
    notebook.write(TUNING, BUDGET)
    notebook.see("4 trials. Tune as well as you can", 90)
    notebook.press("lr 0.01, λ 1")
    notebook.see("3 trials are left")
    notebook.press("Guess")
    notebook.see("Choose a coupling first")
    notebook.press("l2")
    notebook.press("Guess")
    notebook.see("Brier score")
    notebook.picture().scroll_into_view_if_needed()
    notebook.save("blind-1-guessed")
    notebook.see("8 trials: none")
    notebook.turn(-1, 3)
    notebook.see("11 trials: none")
    notebook.handle(-1).scroll_into_view_if_needed()
    notebook.save("blind-2-budget")
    notebook.nothing_is_cut()
    notebook.all_is_reached_by_keyboard()
    assert notebook.complaints == []


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


def test_a_learner_slides_along_the_critical_period_and_over_a_grid(notebook: Notebook) -> None:
    notebook.write(RUNS, PERIOD, GRID)
    notebook.see("Good basin", 90)
    notebook.picture().scroll_into_view_if_needed()
    notebook.see("Until 50%")
    source = notebook.picture().get_attribute("src")
    notebook.turn(0, -1)
    notebook.see("Until 25%")
    assert notebook.picture().get_attribute("src") != source
    notebook.press("test error")
    notebook.see("test error 0.")
    notebook.save("explorer-1-period")

    notebook.press("decoupled")
    notebook.page.locator(f"{notebook.outputs} img").nth(1).scroll_into_view_if_needed()
    for _ in range(2):
        notebook.turn(1, 1)
        notebook.turn(2, 1)
    notebook.see("lr 0.1, λ 1e+09: 2 of 2 runs diverged")
    notebook.save("explorer-2-grid")
    notebook.nothing_is_cut()
    notebook.all_is_reached_by_keyboard()
    notebook.zoom(NARROW)
    notebook.save("explorer-3-narrow")
    notebook.nothing_is_cut()
    assert notebook.complaints == []


PERTURB = """import wdlab
from wdlab.lab import Perturb
_ = wdlab.TASKS['mnist1d'].arrays()
Perturb()"""


def test_a_learner_looks_for_the_flatter_network(notebook: Notebook) -> None:
    notebook.write(PERTURB)
    notebook.see("flatter is not better here", 120)
    notebook.picture().scroll_into_view_if_needed()
    notebook.save("perturb-1-open")

    notebook.press("decay always")
    notebook.turn_until(1, "are both those of decay always")
    notebook.see("times flatter")
    notebook.save("perturb-2-always-flatter")

    notebook.press("layer")
    notebook.see("in proportion to the norm of its weights")
    notebook.see("decay always's rise stayed")
    readout = notebook.page.locator(f"{notebook.outputs} .widget-readout").first
    readout.fill("0.2")
    readout.press("Enter")
    notebook.see("Noise: layer-relative, size 0.2")
    notebook.save("perturb-3-layer")
    notebook.nothing_is_cut()
    notebook.all_is_reached_by_keyboard()
    notebook.zoom(NARROW)
    notebook.save("perturb-4-narrow")
    notebook.nothing_is_cut()
    assert notebook.complaints == []


AGENTS = """from dataclasses import replace
from wdlab import Decay, Model, Optimizer, Run, Schedule, sweep
from wdlab.lab import Player
from wdlab.tasks.rl import DQN
little = DQN(frames=500, warmup=100, replay=400, batch_size=16, epsilon_frames=100, test_size=2)
adam, net = Optimizer("adam", 0.003, eps=1e-4), Model("mlp", 8, 2, norm=False)
base = Run(little, net, adam, Schedule("constant"), evaluations=2, seed=10_000)
decays = [Decay(1e-3, coupling="l2"), Decay(1.0, coupling="decoupled")]
results = sweep([replace(base, decay=decay) for decay in decays], jobs=1, networks=True)
Player(results, coupling="l2")"""


def test_a_learner_watches_an_agent(notebook: Notebook) -> None:
    notebook.write(AGENTS)
    notebook.see("l2, seed 10000, after training: return", 120)
    notebook.turn(-1, 3)
    notebook.see("frame 4.")
    notebook.press("before training")
    notebook.see("l2, seed 10000, before training: return")
    notebook.press("decoupled")
    notebook.see("decoupled, seed 10000, before training: return")
    notebook.picture().scroll_into_view_if_needed()
    notebook.save("player")
    notebook.nothing_is_cut()
    notebook.all_is_reached_by_keyboard()
    assert notebook.complaints == []


ASK = """from wdlab.lab import Predictions
predictions = Predictions()
predictions.ask_number("angle", "By how many degrees does a step turn the weights?", 0, 10, "degrees")"""
DRAW = """predictions.ask_curve("norm", "Decay in the first quarter only: how does the weight norm go?",
    [0, 0.2, 0.4, 0.6, 0.8, 1], 0, 24, "share of training", "weight norm",
    beside={"never": ([0, 0.25, 1], [8, 15, 21])})"""
REVEAL = """from IPython.display import display
display(predictions.reveal("angle", 1.86, "Measured."),
        predictions.reveal("norm", ([0, 0.25, 1], [8, 8.5, 11]), "Measured."), predictions.score())"""


def test_a_learner_types_a_number_and_draws_a_curve(notebook: Notebook) -> None:
    page = notebook.page
    notebook.write(ASK, DRAW)
    notebook.see("at 0.8")
    notebook.all_is_reached_by_keyboard()
    fields = page.locator(f'{notebook.outputs} input[type="text"]')
    commit = page.locator(f'{notebook.outputs} button:has-text("Commit")')
    fields.nth(0).fill("two or so")
    commit.nth(0).click()
    notebook.see("Your number is missing or not a number")
    fields.nth(0).fill("2")
    fields.nth(1).fill("0.5")
    fields.nth(1).press("Tab")
    commit.nth(0).click()
    notebook.see("Committed: 2 ± 0.5 degrees (50% sure)")
    notebook.save("predict-1-number")

    commit.nth(1).scroll_into_view_if_needed()
    commit.nth(1).click()
    notebook.see("Draw first")
    source = notebook.picture().get_attribute("src")
    for place, presses in enumerate((7, 6, 5, 4, 3, 2)):  # slider 0 is the confidence of the number
        notebook.handle(1 + place).focus()
        for _ in range(presses):
            page.keyboard.press("ArrowDown")
    notebook.see("10.8 at 1")  # in the words beside the picture: all strokes have reached the kernel
    assert notebook.picture().get_attribute("src") != source
    notebook.save("predict-2-drawn")
    commit.nth(1).click()
    notebook.see("Committed: 7.8, 8.4, 9, 9.6, 10.2, 10.8 ± 2.4 (50% sure)")

    notebook.write(REVEAL)
    notebook.see("in your band at 6 of 6 moments", 120)
    notebook.see("knowing only the range")
    notebook.see("Your predictions")
    measured = page.locator(f'{notebook.outputs} img[alt*="measured: 8 at 0"]')
    assert measured.count() == 1
    page.locator(f"{notebook.outputs} table").last.scroll_into_view_if_needed()
    notebook.save("predict-3-revealed")
    measured.scroll_into_view_if_needed()
    notebook.save("predict-4-measured")
    notebook.nothing_is_cut()
    notebook.zoom(NARROW)
    notebook.picture().scroll_into_view_if_needed()
    notebook.save("predict-5-narrow")
    notebook.nothing_is_cut()
    assert notebook.complaints == []


def test_a_learner_turns_the_coupling(notebook: Notebook) -> None:
    notebook.write("from wdlab.lab import SplitStep\nSplitStep()")
    notebook.see("w ends at")
    for label in ("Coupling", "Gradients", "Start", "Strength λ"):
        notebook.see(label)
    first = notebook.picture().get_attribute("src")
    notebook.press("decoupled")
    notebook.see("(AdamW)")
    marked = notebook.page.locator(f"{notebook.outputs} strong").all_inner_texts()
    assert [text.strip() for text in marked] == ["+ d"]
    notebook.see_another_picture(first)
    notebook.press("the minimum")
    notebook.press("second_moment")
    notebook.see("λw happened to cancel the gradient")
    notebook.press("l2")
    notebook.see("mixes into every buffer")
    notebook.turn(0, 1)
    notebook.see("l2, λ 0.018")  # in the words beside the picture
    notebook.picture().scroll_into_view_if_needed()
    notebook.save("split-1")
    notebook.nothing_is_cut()
    notebook.all_is_reached_by_keyboard()
    notebook.zoom(NARROW)
    notebook.save("split-2-narrow")
    notebook.nothing_is_cut()
    assert notebook.complaints == []


NETS = """from dataclasses import replace
from wdlab import Decay, Model, Optimizer, Run, Schedule, sweep
from wdlab.lab import Translator
from wdlab.tasks import Translation
little = Translation(train_size=50, test_size=20, batch_size=25)
adam = Optimizer("adam", 0.01, betas=(0.9, 0.98), eps=1e-4)
base = Run(little, Model("transformer", 16, 1), adam, Schedule("constant"), steps=30, evaluations=2, seed=10_000)
decays = [Decay(1e-3, coupling="l2"), Decay(1.0, coupling="decoupled"), Decay(1e12, coupling="decoupled")]
results = sweep([replace(base, decay=decay) for decay in decays], jobs=1, networks=True)
Translator(results, coupling="l2")"""


def test_a_learner_types_numbers_to_translate(notebook: Notebook) -> None:
    notebook.write(NETS)
    notebook.see("siebenundvierzig:", 120)
    typed = notebook.page.locator(f"{notebook.outputs} input[type=text]").last
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
    notebook.save("translator")
    notebook.nothing_is_cut()
    notebook.all_is_reached_by_keyboard()
    assert notebook.complaints == []
