"""The dials as widgets, and the update rule beside them."""

from __future__ import annotations

import html
import re

import ipywidgets as widgets
import pytest

import wdlab
from wdlab.lab import Dials
from wdlab.lab.dials import idle
from wdlab.lab.panel import EVERY
from wdlab.lab.rule import note, places, rule
from wdlab.lab.usual import VISION

pytestmark = pytest.mark.usefixtures("quick")


def inside(widget: object) -> list:
    return [widget, *(found for child in getattr(widget, "children", ()) for found in inside(child))]


def test_every_dial_can_be_shown_alone_and_all_together(make) -> None:
    for name in EVERY:
        lab = make(show=[name])
        there = inside(lab.desk.root)
        assert lab.panel.controls[name] in there
        assert not any(control in there for other, control in lab.panel.controls.items()
                       if other not in (name, "window" if name == "timing" else name))  # fmt: skip
    every = make(show="all")
    assert all(control in inside(every.desk.root) for control in every.panel.controls.values())
    assert every.shown == EVERY and every.panel.columns


def test_every_control_has_a_visible_name(make) -> None:
    """A button says its own; every other control has a description, or stands below a label in bold."""
    lab = make(show="all")
    for box in inside(lab.desk.root):
        for before, control in zip((None, *getattr(box, "children", ())), getattr(box, "children", ()), strict=False):
            if isinstance(control, widgets.ToggleButtons | widgets.FloatSlider | widgets.FloatLogSlider
                          | widgets.FloatRangeSlider | widgets.IntSlider | widgets.SelectionSlider):  # fmt: skip
                assert isinstance(before, widgets.HTML) and "<b>" in before.value
            elif isinstance(
                control, widgets.Button | widgets.ToggleButton | widgets.Dropdown | widgets.Checkbox | widgets.Text
            ):
                assert control.description


def ends(lab) -> list[tuple[float, float]]:
    return [(lab.panel.controls[name].min, lab.panel.controls[name].max) for name in ("lr", "weight_decay")]


def test_an_optimizer_brings_its_own_numbers_and_ranges(make) -> None:
    lab = make(show="all")
    dials = lab.panel.controls
    dials["lr"].value = 0.5
    for name in ("adam", "plain_sgd", "sgd"):
        dials["optimizer"].value = name
        start = VISION.starts[name]
        assert (lab.dials.lr, lab.dials.weight_decay) == (start.optimizer.lr, start.weight_decay)
        assert (dials["lr"].value, dials["weight_decay"].value) == (start.optimizer.lr, start.weight_decay)
        assert ends(lab) == [start.lrs, start.lambdas]
    assert lab.dials == Dials(label_noise=0.0, train_size=4000, augment=False)
    lab.run(optimizer="adam", lr=0.003, coupling="decoupled", weight_decay=1.0)
    run = lab.histories[0].run
    assert (run.optimizer, run.decay.coupling) == (wdlab.Optimizer("adam", lr=0.003), "decoupled")
    assert "Done: Adam, always, decoupled, λ 1, lr 0.003" in lab.desk.status.value


def test_without_momentum_l2_and_decoupled_are_one_and_with_it_two(make) -> None:
    lab = make(steps=16)
    apart = {}
    for optimizer in ("plain_sgd", "sgd"):
        norms = []
        for coupling in ("l2", "decoupled"):
            lab.run(optimizer=optimizer, coupling=coupling, weight_decay=0.1, lr=0.1)
            assert lab.histories[-1].run.optimizer.momentum == (0.0 if optimizer == "plain_sgd" else 0.9)
            norms.append(lab.histories[-1].curves["weight_norm"][-1])
        apart[optimizer] = abs(norms[0] / norms[1] - 1)
    assert apart["plain_sgd"] < 1e-6 < 1e-3 < apart["sgd"]
    for name in ("l2", "decoupled"):
        assert note("plain_sgd", name).split("(second_moment")[0].endswith("all couplings are one and the same. ")


def test_a_coupling_that_does_nothing_cannot_be_chosen_and_the_reason_is_said(make) -> None:
    lab = make(show="all")
    coupling, optimizer = lab.panel.controls["coupling"], lab.panel.controls["optimizer"]
    assert {name for name, _ in coupling.options} == set(wdlab.COUPLINGS) - {"second_moment"}
    assert "second_moment needs Adam" in lab.panel.explanation.value
    with pytest.raises(ValueError, match="second_moment"):
        lab.run(coupling="second_moment")
    assert "does nothing under SGD" in lab.desk.status.value
    optimizer.value = "adam"
    assert {name for name, _ in coupling.options} == set(wdlab.COUPLINGS)
    coupling.value = "second_moment"
    assert lab.dials.coupling == "second_moment"
    optimizer.value = "sgd"
    assert lab.dials.coupling == coupling.value == "l2", "what cannot be is put back"


def test_every_coupling_changes_the_weights_under_adam(make) -> None:
    lab = make(steps=16)
    norms = []
    for name in wdlab.COUPLINGS:
        lab.run(optimizer="adam", coupling=name, weight_decay=0.1, lr=0.003)
        norms.append(lab.histories[-1].curves["weight_norm"][-1])
    assert len(set(norms)) == len(wdlab.COUPLINGS)


@pytest.mark.parametrize("optimizer", ["sgd", "plain_sgd", "adam"])
@pytest.mark.parametrize("name", wdlab.COUPLINGS)
def test_the_rule_marks_the_terms_that_are_active(optimizer: str, name: str) -> None:
    if name in idle(optimizer):
        assert not any(places(optimizer, name).values())
        return
    assert marks(rule(optimizer, name)) == expected(optimizer, name)
    assert "Decay enters the" in rule(optimizer, name) or "Decay enters two" in rule(optimizer, name)


@pytest.mark.parametrize("optimizer", ["sgd", "plain_sgd", "adam"])
def test_the_panel_says_the_sentence_of_every_coupling_it_offers_beside_its_rule(make, optimizer: str) -> None:
    lab = make(show="all")
    lab.panel.controls["optimizer"].value = optimizer
    offered = [name for _, name in lab.panel.controls["coupling"].options]
    assert set(offered) == set(wdlab.COUPLINGS) - set(idle(optimizer))
    for name in offered:
        lab.panel.controls["coupling"].value = name
        shown = lab.panel.explanation.value
        assert html.escape(wdlab.COUPLINGS[name].says) in shown and html.escape(note(optimizer, name)) in shown
        assert marks(shown) == expected(optimizer, name)


@pytest.mark.parametrize("name", [name for name in wdlab.COUPLINGS if name not in idle("sgd")])
def test_what_holds_under_adam_is_said_of_adam_alone(name: str) -> None:
    says, here = wdlab.COUPLINGS[name].says, note("sgd", name).partition(" (second_moment")[0]
    assert note("adam", name).startswith(says)
    for optimizer in ("sgd", "plain_sgd"):
        assert note(optimizer, name).startswith(f"Under Adam: {says} ")
    assert here.endswith("in the momentum buffer b.") == places("sgd", name)["inside"]
    assert here.endswith("past the momentum buffer b.") == places("sgd", name)["outside"]


def test_under_sgd_couplings_that_are_one_and_the_same_say_so_and_are(make) -> None:
    lab = make(steps=16)
    for name, twin in (("first_moment", "l2"), ("own_buffers", "l2"), ("adaptive", "decoupled")):
        ends = []
        for coupling in (name, twin):
            lab.run(coupling=coupling, weight_decay=0.1)
            ends.append(lab.histories[-1].curves["weight_norm"][-1])
        assert ends[0] == pytest.approx(ends[1], rel=1e-6) and f"The same as {twin} here" in note("sgd", name)
        assert places("sgd", name) == places("sgd", twin)


def marks(shown: str) -> dict[str, list[tuple[str, bool]]]:
    """For each row of a rule, by the name of what it sets: the places of decay from left to right, and which is marked.

    A place is told by what is written there, so the root that a term is divided by tells one + d from another.
    """
    rows = re.findall(r'<div style="padding-left[^>]*>(\w) ←(.*?)</div>', shown)
    term = re.compile(r"<(strong|span) [^>]*>([^<]*)</(?:strong|span)>")
    return {name: [(html.unescape(text), tag == "strong") for tag, text in term.findall(row)] for name, row in rows}


def expected(optimizer: str, name: str) -> dict[str, list[tuple[str, bool]]]:
    """The same as `wdlab.decay.coupling` writes the rule."""
    a = wdlab.COUPLINGS[name]
    if optimizer == "adam":
        step = [("+ ŝ/(√û+ε)", a.a_own != 0), ("+ d/(√v̂+ε)", a.a_adapt != 0), ("+ d", a.a_post != 0)]
        return {"m": [("+ d", a.a_m != 0)], "v": [("+ d", a.a_v != 0)], "w": step}
    inside, outside = ("+ d", a.a_m + a.a_own != 0), ("+ d", a.a_adapt + a.a_post != 0)
    return {"w": [inside, outside]} if optimizer == "plain_sgd" else {"b": [inside], "w": [outside]}


def test_another_task_brings_its_own_data_and_length(make) -> None:
    lab = make(show=("task", "train_size"), steps=None, block=False)
    lab.panel.controls["train_size"].value = 8000
    lab.panel.controls["task"].value = "fashion"
    assert lab.dials.train_size is None and lab.panel.controls["train_size"].value == wdlab.TASKS["fashion"].train_size
    assert max(size for _, size in lab.panel.controls["train_size"].options) == 4000
    lab.run(until=0)
    lab.wait(30)
    assert lab.desk.progress.max == wdlab.TASKS["fashion"].steps
    assert lab.histories[0].run.task == wdlab.TASKS["fashion"]
    lab.stop()


def test_curves_can_be_chosen_at_any_time_and_one_stays(make) -> None:
    lab = make()
    lab.run()
    lab.desk.curves["train_loss"].value = True
    assert lab.curves == ("test_error", "train_loss", "weight_norm", "effective_lr")
    assert [axes.get_title("left").split(" ")[0] for axes in lab.figure.axes] == [
        "test",
        "training",
        "weight",
        "effective",
    ]
    for name in lab.curves:
        lab.desk.curves[name].value = False
    assert len(lab.curves) == 1 and lab.desk.chosen == lab.curves
    assert lab.alt.startswith("Curves of ") and '"curves":["' in lab.link()


def test_the_parts_of_adams_step_are_drawn(make) -> None:
    lab = make(curves=("step_parts",))
    lab.run(optimizer="adam", coupling="decoupled", weight_decay=1.0)
    pen, (history,) = lab._curves._panels[0]._pens[0], lab.histories
    assert list(pen.line.get_ydata()) == list(history.curves["decay_step"][1:])
    assert list(pen.second.get_ydata()) == list(history.curves["objective_step"][1:])
    assert "decay part of the step" in lab.alt


def test_a_dial_that_cannot_go_there_goes_back(make) -> None:
    lab = make(show="all")
    lab.panel.controls["augment"].value = True
    lab.panel.controls["task"].value = "fashion"
    lab.panel.controls["augment"].value = True  # an MLP cannot see moved images
    assert "moves images" in lab.desk.status.value
    assert lab.panel.controls["augment"].value is False and lab.dials.augment is None
