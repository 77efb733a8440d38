"""The Trajectory: its dials, its words, its picture, and what a cell keeps of it."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import torch

from wdlab.lab import trajectory
from wdlab.lab.trajectory import ADAMW_REST, COUPLINGS, LOSS_REST, NOISES, OPTIMIZERS, PENALTY_REST, TIMINGS, Trajectory

CHANGES: dict[str, list[Any]] = {
    "optimizer": ["SGD with momentum", "Adam"],
    "coupling": ["l2", "decoupled"],
    "timing": ["first half", "never"],
    "noise": ["equal", "unequal"],
    "weight_decay": [1.0],
    "lr": [0.01],
}


@pytest.mark.parametrize(("dial", "value"), [(dial, value) for dial, values in CHANGES.items() for value in values])
def test_a_turned_dial_changes_the_picture_the_data_and_the_words(dial: str, value: Any) -> None:
    widget = Trajectory()
    before = widget.image.value, widget.data.copy(), widget.alt
    widget.dials[dial].value = value
    assert getattr(widget.setting, dial) == value
    assert widget.image.value != before[0]
    assert not widget.data.equals(before[1])
    assert widget.alt != before[2]
    assert widget.alt in widget.words.value.replace("&#x27;", "'")


def test_the_dials_offer_what_there_is() -> None:
    dials = Trajectory().dials
    for name, options in {"optimizer": OPTIMIZERS, "coupling": COUPLINGS, "timing": TIMINGS, "noise": NOISES}.items():
        assert tuple(dials[name].options) == tuple(options)
    assert not any(dials[name].continuous_update for name in ("weight_decay", "lr"))


def end(widget: Trajectory, coupling: str) -> torch.Tensor:
    rows = widget.data[widget.data["path"] == coupling]
    return torch.tensor(rows[["w1", "w2"]].to_numpy()[-1])


def test_plain_sgd_takes_one_path() -> None:
    widget = Trajectory()
    assert "take the same path, to rounding" in widget.told
    assert torch.allclose(end(widget, "l2"), widget.marks[PENALTY_REST], atol=1e-3)


@pytest.mark.parametrize("optimizer", ["SGD with momentum", "Adam"])
def test_momentum_and_adam_part_the_paths(optimizer: str) -> None:
    widget = Trajectory(optimizer=optimizer)
    apart = float((end(widget, "l2") - end(widget, "decoupled")).norm())
    assert apart > 0.1
    assert f"end {apart:.2f} apart" in widget.told
    assert f"end {apart:.2f} apart" in widget.alt


@pytest.mark.parametrize("noise", NOISES)
def test_adam_ends_near_its_mark(noise: str) -> None:
    widget = Trajectory(optimizer="Adam", noise=noise, lr=0.03, weight_decay=0.6)
    assert float((end(widget, "decoupled") - widget.marks[ADAMW_REST]).norm()) < 0.15
    assert float((end(widget, "l2") - widget.marks[PENALTY_REST]).norm()) < 0.15


def test_adamws_mark_is_there_only_where_adamw_is() -> None:
    assert ADAMW_REST not in Trajectory().marks
    assert ADAMW_REST not in Trajectory(optimizer="Adam", timing="first half").marks
    assert ADAMW_REST not in Trajectory(optimizer="Adam", coupling="l2").marks


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_early_decay_leaves_no_trace(optimizer: str) -> None:
    widget = Trajectory(optimizer=optimizer, timing="first half")
    for coupling in ("l2", "decoupled"):
        assert float((end(widget, coupling) - widget.marks[LOSS_REST]).norm()) < 0.01


def test_never_is_no_decay() -> None:
    widget = Trajectory(timing="never", weight_decay=10.0)
    assert torch.allclose(end(widget, "l2"), widget.marks[LOSS_REST], atol=1e-3)
    assert "no decay" in widget.alt


def test_divergence_is_told_in_words() -> None:
    widget = Trajectory(lr=3.0)
    step = trajectory.diverges_at(widget.paths["l2"])
    assert step is not None
    assert f"l2 diverges at step {step}" in widget.told
    assert "lower the learning rate or λ" in widget.status.value
    assert "nan" not in widget.alt
    assert bytes(widget.image.value).startswith(b"\x89PNG")
    widget.turn(lr=0.1)
    assert "diverges" not in widget.status.value


def test_one_coupling_alone() -> None:
    widget = Trajectory(coupling="decoupled")
    assert set(widget.data["path"]) == {"decoupled"}
    assert "apart" not in widget.told


BAD: list[tuple[dict[str, Any], str]] = [
    ({"weight_decay": -1}, "weight_decay=-1 is not allowed"),
    ({"weight_decay": float("nan")}, "weight_decay=nan is not allowed"),
    ({"lr": 0}, "lr=0 is not allowed"),
    ({"optimizer": "Adan"}, "did you mean 'Adam'"),
    ({"timing": "allways"}, "did you mean 'always'"),
    ({"coupling": "l3"}, "did you mean 'l2'"),
    ({"noise": "equall"}, "did you mean 'equal'"),
    ({"learning_rate": 1}, "dial='learning_rate' is unknown"),
]


@pytest.mark.parametrize(("dials", "said"), BAD)
def test_what_is_not_allowed_is_refused_in_words(dials: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Trajectory(**dials)
    widget = Trajectory()
    before = widget.setting, widget.image.value
    with pytest.raises(ValueError, match=said):
        widget.turn(**dials)
    assert said.replace("'", "&#x27;") in widget.status.value
    assert (widget.setting, widget.image.value) == before


def test_turning_from_code_moves_the_dials() -> None:
    widget = Trajectory(optimizer="Adam", weight_decay=0.05)
    assert (widget.dials["optimizer"].value, widget.dials["weight_decay"].value) == ("Adam", 0.05)
    widget.turn(optimizer="SGD", lr=0.02)
    assert (widget.dials["optimizer"].value, widget.dials["lr"].value) == ("SGD", 0.02)
    assert widget.setting.weight_decay == 0.05


def test_a_value_off_the_slider_is_kept() -> None:
    widget = Trajectory(lr=20.0)
    assert widget.setting.lr == widget.dials["lr"].value == 20.0


def test_zero_decay_is_told_to_say_never() -> None:
    with pytest.raises(ValueError, match="weight_decay=0"):
        Trajectory(weight_decay=0)


def test_a_cell_shows_the_widget_and_keeps_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append((bundle, raw)))
    widget = Trajectory()
    widget._ipython_display_()
    ((bundle, raw),) = shown
    assert raw
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == widget._root.model_id
    assert base64.b64decode(bundle["image/png"]) == widget.image.value
    assert bundle["text/plain"] == widget.alt


def test_paths_repeat_themselves() -> None:
    first, second = (Trajectory(optimizer="Adam", noise="unequal") for _ in range(2))
    assert first.data.equals(second.data)
    assert first.image.value == second.image.value


def test_close_takes_the_widgets_away() -> None:
    widget = Trajectory()
    widget.close()
    assert widget._root.comm is None
