"""Every control of every widget has a label that can be seen, right before it, and can be reached and read."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import unescape
from itertools import pairwise
from typing import Any

import ipywidgets as widgets
import pytest

from tests.test_tuning import two_seeds
from wdlab import Decay, Model, Optimizer, Results, Run, Timing, lab, sweep
from wdlab.lab import (
    BlindTuning,
    Budget,
    CriticalPeriod,
    Explorer,
    Grid,
    Lab,
    Perturb,
    Player,
    Predictions,
    Rescale,
    SplitStep,
    Trajectory,
    Translator,
)
from wdlab.lab.controls import VIEW
from wdlab.lab.perturb import RANGES
from wdlab.lab.quantities import QUANTITIES
from wdlab.tasks import Translation, generator
from wdlab.tasks.rl import DQN
from wdlab.tuning import search

SMALL = Run(model=Model(width=8, depth=1), steps=8, evaluations=2)
SEEDS = (10_000, 10_001)
CONTROLS = (
    widgets.widget_description.DescriptionWidget  # sliders, toggles, fields, boxes
    if hasattr(widgets, "widget_description")
    else widgets.Widget
)
SLIDERS = (widgets.FloatSlider, widgets.FloatLogSlider, widgets.FloatRangeSlider, widgets.IntSlider)
SILENT = (widgets.HTML, widgets.IntProgress, widgets.FloatProgress, widgets.Label, widgets.Image)


def swept(*runs: Run) -> Results:
    return sweep([replace(run, seed=seed) for run in runs for seed in SEEDS], jobs=1)


def period() -> Explorer:
    sides = ([Timing.window(0, t) for t in (0.0, 1.0)], [Timing.window(t, 1) for t in (0.0, 1.0)])
    until, since = (swept(*(replace(SMALL, decay=Decay(0.1, timing)) for timing in side)) for side in sides)
    return Explorer(CriticalPeriod(until, since))


def grid() -> Explorer:
    cells = [
        replace(SMALL, optimizer=Optimizer("adam", lr=lr), decay=Decay(0.1, coupling=coupling))
        for coupling in ("l2", "decoupled")
        for lr in (0.01, 0.1)
    ]
    return Explorer(Grid(swept(*cells)))


def translator() -> Translator:
    task = Translation(train_size=20, test_size=10, batch_size=10)
    run = Run(task, Model("transformer", 8, 1), Optimizer("adam", 0.01), decay=Decay(0.1), steps=4, evaluations=2)
    return Translator(sweep([replace(run, seed=seed) for seed in SEEDS], jobs=1, networks=True))


def player() -> Player:
    task = DQN(frames=140, warmup=100, replay=140, batch_size=8, epsilon_frames=10, test_size=1)
    adam, net = Optimizer("adam", 0.01), Model("mlp", 4, 1, norm=False)
    run = Run(task, net, adam, decay=Decay(0.1), evaluations=2)
    return Player(sweep([replace(run, seed=seed) for seed in SEEDS], jobs=1, networks=True))


def perturb() -> Perturb:
    return Perturb({"one": replace(SMALL, seed=SEEDS[0])})


WIDGETS: dict[str, Callable[[], Any]] = {
    "Lab": lambda: Lab(model=SMALL.model, steps=8, block=True),
    "Lab with every dial": lambda: Lab(model=SMALL.model, steps=8, show="all", block=True),
    "Lab of translation": lambda: Lab("translation", show="all", curves=tuple(QUANTITIES), block=True),
    "Lab of a game": lambda: Lab("cartpole", show="all", curves=tuple(QUANTITIES), block=True),
    "Trajectory": Trajectory,
    "Rescale": Rescale,
    "SplitStep": SplitStep,
    "Perturb": perturb,
    "Explorer of a critical period": period,
    "Explorer of a grid": grid,
    "Translator": translator,
    "Explorer of a budget": lambda: Explorer(Budget({"vision": search(two_seeds(), range(1, 9))})),
    "BlindTuning": lambda: BlindTuning(two_seeds(), generator(10_000, "hidden"), ("l2", "decoupled")),
    "Player": player,
    "a choice": lambda: Predictions().ask("q", "Which?", ["a", "b"]),
    "a number": lambda: Predictions().ask_number("q", "How far?", 0, 10, "degrees"),
    "a sketch": lambda: Predictions().ask_curve("q", "Draw the norm.", [0, 0.5, 1], 0, 10, "share", "norm"),
}
UNSEEN = "clip-path:inset"
every_widget = pytest.mark.parametrize("name", WIDGETS)
ROOTS: dict[str, Any] = {}


def made(name: str) -> Any:
    """One of the widgets, made once."""
    if name not in ROOTS:
        ROOTS[name] = WIDGETS[name]()
    return ROOTS[name]


def test_no_widget_is_missing_here() -> None:
    """All that wdlab.lab exports and a cell can show is above, and every view that an Explorer can have."""
    exported = {one for name in lab.__all__ if inspect.isclass(one := getattr(lab, name))}
    shown = {one for one in exported if hasattr(one, "_repr_mimebundle_")}
    views = {one for one in exported if hasattr(one, "dials") and hasattr(one, "see")}
    found = [made(name) for name in WIDGETS]
    assert shown - {type(one) for one in found} == set()
    assert views - {type(one.view) for one in found if isinstance(one, Explorer)} == set()
    assert Lab in shown and Grid in views


@pytest.fixture
def root(name: str) -> Any:
    """The topmost box of a widget, which a cell shows."""
    shown = made(name)._repr_mimebundle_()[VIEW]["model_id"]
    alive = widgets.widget._instances if hasattr(widgets.widget, "_instances") else widgets.Widget.widgets  # 8, and 7
    return alive[shown]


def read(root: Any) -> Iterator[tuple[Any, str]]:
    """Every widget in the order in which Tab and a screen reader meet them, with the text that was read before it."""
    before = ""
    for one in flat(root):
        yield one, before
        if isinstance(one, widgets.HTML) and words(one.value):
            before = words(one.value)
        elif is_control(one):
            before = ""  # a label is for one control


def flat(box: Any) -> Iterator[Any]:
    for child in getattr(box, "children", ()):
        yield child
        yield from flat(child)


def is_control(one: Any) -> bool:
    button = isinstance(one, widgets.Button)
    return button or (isinstance(one, CONTROLS) and not isinstance(one, SILENT) and not hasattr(one, "children"))


def words(html: str) -> str:
    return unescape(re.sub(r"<[^>]+>", " ", html)).strip()


@every_widget
def test_every_control_has_a_visible_label(name: str, root: Any) -> None:
    controls = [(one, before) for one, before in read(root) if is_control(one)]
    assert controls
    for one, before in controls:
        assert one.description or before, f"{name}: {type(one).__name__} has no label"


@every_widget
def test_no_two_controls_read_the_same(name: str, root: Any) -> None:
    labels = [one.description or before for one, before in read(root) if is_control(one) and shows(one)]
    assert len(set(labels)) == len(labels), sorted(labels)


@every_widget
def test_no_control_is_where_the_keyboard_cannot_go(name: str, root: Any) -> None:
    """What folds is a row of boxes, for an accordion cannot be opened by keyboard; see tests/browser for Tab."""
    boxes = [one for one in (root, *flat(root)) if hasattr(one, "children")]
    assert boxes and {type(one) for one in boxes} <= {widgets.VBox, widgets.HBox, widgets.GridBox}


@every_widget
def test_arrow_keys_reach_every_stop_of_a_slider_soon(name: str, root: Any) -> None:
    for one, _ in read(root):
        if isinstance(one, SLIDERS):
            assert (one.max - one.min) / one.step <= 200


@every_widget
def test_every_option_of_a_toggle_is_a_word(name: str, root: Any) -> None:
    for one, _ in read(root):
        if isinstance(one, widgets.ToggleButtons):
            options = [option[0] if isinstance(option, tuple) else option for option in one.options]
            assert all(re.search(r"\w", str(option)) for option in options) and len(set(options)) == len(options)


@every_widget
def test_every_picture_is_followed_by_its_words(name: str, root: Any) -> None:
    """An image widget has no alt text, so unseen words come after it, before the next one, with numbers in them."""
    found = list(flat(root))
    pictures = [place for place, one in enumerate(found) if isinstance(one, widgets.Image)]
    for place, after in pairwise([*pictures, len(found)]):
        unseen = [one.value for one in found[place:after] if isinstance(one, widgets.HTML) and UNSEEN in one.value]
        assert unseen, "a picture without words"
        assert re.search(r"\d", words(unseen[0])), unseen[0]


@every_widget
def test_what_happens_is_announced(name: str, root: Any) -> None:
    """The line below says what a turn did; screen readers hear it because it has a role."""
    if name.startswith("a "):
        ROOTS[name].reveal({"a choice": "a", "a number": 3.0}.get(name, ([0, 1], [2, 3])), "")
    roles = [one for one in flat(root) if isinstance(one, widgets.HTML) and 'role="status"' in one.value]
    assert roles


def shows(one: Any) -> bool:
    return getattr(one.layout, "display", None) != "none"


def test_the_size_of_noise_can_be_typed_where_arrows_are_slow() -> None:
    dial = perturb().dials["size"]
    assert dial.readout and RANGES["size"][0] >= 10 ** (dial.min - 0.1)
