"""The Rescale: its dials, its numbers, its words, its picture, and what a cell keeps of it."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest
import torch

from wdlab import Model, Run, Training
from wdlab.lab import Rescale
from wdlab.lab.rescale import BATCHNORM, LRS, ROWS, default_network
from wdlab.measures.scale import at_scale

STAY = ["‖w‖ ‖g‖", "test loss", "test accuracy", "gradient's direction (cosine)"]


def times(widget: Rescale) -> dict[str, float]:
    return dict(zip(widget.data["quantity"], widget.data["times"], strict=True))


def powers(widget: Rescale) -> dict[str, float]:
    """By which power of c each quantity went."""
    c = torch.tensor(widget.setting.c)
    return {name: float(torch.tensor(value).log() / c.log()) for name, value in times(widget).items()}


@pytest.mark.parametrize(
    ("first", "dial", "value"),
    [({}, "c", 3.0), ({}, "c", 0.1), ({"c": 3.0}, "optimizer", "Adam"), ({"c": 3.0}, "batchnorm", "off")],
)
def test_a_turned_dial_changes_the_picture_the_data_and_the_words(
    first: dict[str, Any], dial: str, value: object
) -> None:
    widget = Rescale(**first)
    before = widget.image.value, widget.data.copy(), widget.alt
    widget.dials[dial].value = value
    assert getattr(widget.setting, dial) == pytest.approx(value)
    assert widget.image.value != before[0]
    assert not widget.data.equals(before[1])
    assert widget.alt != before[2]
    assert widget.alt in widget.words.value.replace("&#x27;", "'")


def test_nothing_has_moved_at_one() -> None:
    widget = Rescale()
    assert set(times(widget).values()) == {1.0}
    assert "nothing has moved" in widget.told


@pytest.mark.parametrize("c", [0.3, 5.0])
def test_with_batchnorm_four_quantities_stay_and_four_follow_their_power(c: float) -> None:
    widget = Rescale(c=c)
    assert all(times(widget)[name] == pytest.approx(1, abs=0.01) for name in STAY)
    found = powers(widget)
    expected = {"weight norm ‖w‖": 1, "gradient norm ‖g‖": -1, "effective learning rate": -2, "angle of one step": -2}
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=0.01)
    assert all(name in widget.told for name in STAY)
    widget.turn(optimizer="Adam")
    expected |= {"effective learning rate": -1, "angle of one step": -1}
    assert {name: powers(widget)[name] for name in expected} == pytest.approx(expected, abs=0.01)


def test_without_batchnorm_the_loss_moves_and_the_law_has_no_hold() -> None:
    widget = Rescale(c=4.0, batchnorm="off")
    found = times(widget)
    assert found["test loss"] > 1.1 and found["‖w‖ ‖g‖"] > 2
    assert found["effective learning rate"] == pytest.approx(1 / 16)
    assert found["angle of one step"] > 1
    assert "test loss" not in widget.told


def test_the_numbers_are_those_of_the_library() -> None:
    widget, net = Rescale(c=2.0), default_network(True)
    scaled = at_scale(net.model, net.inputs[:500], net.labels[:500], 2.0)
    now = dict(zip(widget.data["quantity"], widget.data["now"], strict=True))
    assert now["test loss"] == pytest.approx(float(scaled.loss))
    assert now["test accuracy"] == pytest.approx(1 - float(scaled.error))
    assert f"times {times(widget)['angle of one step']:.3g}" in widget.alt


def test_the_network_is_trained_and_left_as_it_is() -> None:
    net = default_network(True)
    before = net.weights.clone()
    widget = Rescale(c=10.0)
    assert torch.equal(net.weights, before)
    assert dict(zip(widget.data["quantity"], widget.data["at 1"], strict=True))["test accuracy"] > 0.4  # of 10 classes


def test_networks_of_ones_own() -> None:
    mine = Training([Run(model=Model(width=6), steps=5, evaluations=1)], device="cpu")
    widget = Rescale({"on": mine}, c=2.0)
    assert times(widget)["weight norm ‖w‖"] == pytest.approx(2)
    assert not widget.data.equals(Rescale(c=2.0).data)
    plain = Training([Run(model=Model(width=6, norm=False), steps=5, evaluations=1)], device="cpu")
    for networks, said in (({"on": plain}, "norm=True"), ({"of": mine}, "did you mean 'off'")):
        with pytest.raises(ValueError, match=said):
            Rescale(networks)


def test_the_dials_offer_what_there_is() -> None:
    dials = Rescale().dials
    assert tuple(dials["optimizer"].options) == tuple(LRS) and tuple(dials["batchnorm"].options) == BATCHNORM
    assert not dials["c"].continuous_update
    assert (dials["c"].min, dials["c"].max) == (-1, 1)


def test_every_stop_of_the_slider_is_allowed() -> None:
    widget = Rescale()
    for end in (10**-1.0, 10**1.0, 10 ** (0.95), 10 ** (-0.95)):
        widget.dials["c"].value = end
        assert 0.1 <= widget.setting.c <= 10


BAD: list[tuple[dict[str, Any], str]] = [
    ({"c": 0.0}, "c=0.0 is not allowed"),
    ({"c": 11}, "c=11 is not allowed"),
    ({"c": float("nan")}, "c=nan is not allowed"),
    ({"optimizer": "Adan"}, "did you mean 'Adam'"),
    ({"batchnorm": "of"}, "did you mean 'off'"),
    ({"scale": 1}, "dial='scale' is unknown"),
]


@pytest.mark.parametrize(("dials", "said"), BAD)
def test_what_is_not_allowed_is_refused_in_words(dials: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Rescale(**dials)
    widget = Rescale()
    before = widget.setting, widget.image.value
    with pytest.raises(ValueError, match=said):
        widget.turn(**dials)
    assert said.replace("'", "&#x27;") in widget.status.value
    assert (widget.setting, widget.image.value) == before


def test_turning_from_code_moves_the_dials() -> None:
    widget = Rescale()
    widget.turn(c=0.5, optimizer="Adam", batchnorm="off")
    values = {name: dial.value for name, dial in widget.dials.items()}
    assert values == {"c": pytest.approx(0.5), "optimizer": "Adam", "batchnorm": "off"}


def test_what_lies_beyond_the_picture_is_an_arrow_at_its_edge() -> None:
    widget = Rescale(c=10.0, batchnorm="off")
    place = [label.replace("\n", " ") for label in ROWS].index("‖w‖ ‖g‖")
    assert widget.data["times"][place] > 300
    assert widget._picture.dots[place].get_marker() == ">"
    assert widget._picture.dots[place].get_xdata()[0] < 300
    assert "nan" not in widget.alt


def test_a_cell_shows_the_widget_and_keeps_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append((bundle, raw)))
    widget = Rescale()
    widget._ipython_display_()
    ((bundle, raw),) = shown
    assert raw
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == widget._root.model_id
    assert base64.b64decode(bundle["image/png"]) == widget.image.value
    assert bundle["text/plain"] == widget.alt


def test_pictures_repeat_themselves_and_come_at_once() -> None:
    first, second = Rescale(c=3.0), Rescale(c=0.3)
    second.dials["c"].value = 3.0
    assert first.image.value == second.image.value
    start = time.process_time()
    first.dials["c"].value = 0.5
    assert time.process_time() - start < 1.0  # 0.1 s of work, where nothing else is to be done


def test_close_takes_the_widgets_away() -> None:
    widget = Rescale()
    widget.close()
    assert widget._root.comm is None
