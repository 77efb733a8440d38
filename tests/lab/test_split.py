"""The SplitStep: its dials, the rule it marks, its words, its picture, and what a cell keeps of it."""

from __future__ import annotations

import base64
import time
from html import escape
from typing import Any

import pytest
import torch

from tests.lab.test_panel import expected, marks
from wdlab.decay import COUPLINGS
from wdlab.lab import SplitStep
from wdlab.lab.rule import rule
from wdlab.lab.split import GRADIENTS, LR, SEEDS, STARTS, STEPS
from wdlab.tasks.unequal import SCALES, descend, rest

CHANGES: dict[str, list[Any]] = {
    "coupling": [name for name in COUPLINGS if name != "l2"],
    "gradients": ["all 1"],
    "start": ["the minimum"],
    "weight_decay": [0.1],
}


@pytest.mark.parametrize(("dial", "value"), [(dial, value) for dial, values in CHANGES.items() for value in values])
def test_a_turned_dial_changes_the_picture_the_data_and_the_words(dial: str, value: Any) -> None:
    widget = SplitStep()
    before = widget.image.value, widget.data.copy(), widget.alt, widget.rule.value
    widget.dials[dial].value = value
    assert getattr(widget.setting, dial) == value
    assert widget.image.value != before[0]
    assert not widget.data.equals(before[1])
    assert widget.alt != before[2]
    assert (widget.rule.value != before[3]) == (dial == "coupling")
    assert escape(widget.told) in widget.status.value and widget.told in widget.alt


def test_what_is_shown_is_the_descent() -> None:
    widget = SplitStep(coupling="decoupled", weight_decay=0.03)
    found = descend([("decoupled", 0.03)], SEEDS, SCALES, steps=STEPS, lr=LR)
    torch.testing.assert_close(widget.descent.w, found.w)
    width = STEPS // 50
    last = widget.data[widget.data["step"] == widget.data["step"].max()].set_index(["what", "scale"])["value"]
    assert last["w", "0.01"] == pytest.approx(found.w[0, :, 2, -width:].mean().item())
    assert last["decay", "1"] == pytest.approx(found.decay[0, :, 0, -width:].abs().mean().item() / LR)


@pytest.mark.parametrize("name", ["l2", "adaptive", "decoupled"])
def test_the_broken_lines_are_where_weights_rest(name: str) -> None:
    widget = SplitStep(coupling=name)
    assert widget.setting.rests == [rest(name, scale, 0.01) for scale in SCALES]
    assert widget.descent.end[0].mean(0).tolist() == pytest.approx(widget.setting.rests, abs=0.05)
    assert SplitStep(coupling="own_buffers").setting.rests == []


@pytest.mark.parametrize("name", COUPLINGS)
def test_the_rule_of_the_coupling_is_shown_with_its_sentence(name: str) -> None:
    shown = SplitStep(coupling=name).rule.value
    assert shown.startswith(rule("adam", name)) and escape(COUPLINGS[name].says) in shown
    assert marks(shown) == expected("adam", name)


def test_a_decay_that_overshoots_is_said_and_not_hidden() -> None:
    widget = SplitStep(coupling="adaptive", weight_decay=0.3)
    assert widget.told.startswith("Unstable for gradients of size 0.001:") and 'role="alert"' in widget.status.value
    widget.turn(weight_decay=0.01)
    assert widget.told.startswith("w ends at") and 'role="status"' in widget.status.value
    for coupling in ("l2", "decoupled"):
        widget.turn(coupling=coupling, weight_decay=0.3)
        assert "Unstable" not in widget.told


def test_a_weight_that_is_thrown_away_is_told_whether_it_comes_back_or_not() -> None:
    widget = SplitStep(coupling="first_moment", start="the minimum")
    peak = float(widget.descent.w.abs().max())
    thrown = sum(float(run.abs().max()) > 5 for run in widget.descent.w[0])
    assert 0 < thrown < len(SEEDS) and widget.told.startswith("w ends at")
    assert f"in {thrown} of {len(SEEDS)} runs a weight was thrown beyond 5, the furthest to {peak:.2g}." in widget.told
    widget.turn(weight_decay=1.0)
    assert f"in {len(SEEDS)} of {len(SEEDS)} runs" in widget.told and "Unstable" not in widget.told
    widget.turn(weight_decay=0.01)
    widget.turn(coupling="second_moment")
    assert widget.told.startswith("Unstable for gradients of size 0.01: λw happened to cancel the gradient")
    widget.turn(coupling="l2")
    assert "thrown" not in widget.told


def test_the_dials_offer_what_there_is() -> None:
    dials = SplitStep().dials
    for name, options in (("coupling", COUPLINGS), ("gradients", GRADIENTS), ("start", STARTS)):
        assert [value for _, value in dials[name].options] == list(options)
    assert not dials["weight_decay"].continuous_update and (dials["weight_decay"].min, dials["weight_decay"].max) == (
        -5,
        0,
    )


def test_every_stop_of_the_slider_is_allowed() -> None:
    widget = SplitStep()
    for exponent in (-5.0, -4.75, -0.25, 0.0):
        widget.dials["weight_decay"].value = 10**exponent
        assert 1e-5 <= widget.setting.weight_decay <= 1


BAD: list[tuple[dict[str, Any], str]] = [
    ({"coupling": "adamw"}, "coupling='adamw' is unknown"),
    ({"gradients": "unequall"}, "did you mean 'unequal'"),
    ({"start": 1}, "start=1 is unknown"),
    ({"weight_decay": 0}, "weight_decay=0 is not allowed"),
    ({"weight_decay": float("nan")}, "weight_decay=nan is not allowed"),
    ({"lr": 0.1}, "dial='lr' is unknown"),
]


@pytest.mark.parametrize(("dials", "said"), BAD)
def test_what_is_not_allowed_is_refused_in_words(dials: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SplitStep(**dials)
    widget = SplitStep()
    before = widget.setting, widget.image.value
    with pytest.raises(ValueError, match=said):
        widget.turn(**dials)
    assert said.replace("'", "&#x27;") in widget.status.value
    assert (widget.setting, widget.image.value) == before


def test_turning_from_code_moves_the_dials() -> None:
    widget = SplitStep()
    widget.turn(coupling="adaptive", gradients="all 1", start="the minimum", weight_decay=0.03)
    values = {name: dial.value for name, dial in widget.dials.items()}
    expected = {"coupling": "adaptive", "gradients": "all 1", "start": "the minimum"}
    assert values == {**expected, "weight_decay": pytest.approx(0.03)}


def test_a_cell_shows_the_widget_and_keeps_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append((bundle, raw)))
    widget = SplitStep()
    widget._ipython_display_()
    ((bundle, raw),) = shown
    assert raw
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == widget._root.model_id
    assert base64.b64decode(bundle["image/png"]) == widget.image.value
    assert bundle["text/plain"] == widget.alt


def test_pictures_repeat_themselves_and_come_at_once() -> None:
    first, second = SplitStep(weight_decay=0.1), SplitStep(weight_decay=0.03)
    second.dials["weight_decay"].value = 0.1
    assert first.image.value == second.image.value
    start = time.process_time()
    first.dials["coupling"].value = "adaptive"
    assert time.process_time() - start < 2.0  # under 0.3 s on a machine with nothing else to do


def test_close_takes_the_widgets_away() -> None:
    widget = SplitStep()
    widget.close()
    assert widget._root.comm is None
