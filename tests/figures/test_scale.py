"""Figures of chapter 02: what they draw, and what they say."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from wdlab.claims.chapter02 import Turning
from wdlab.figures.scale import approach, equilibria, overlaid, turning
from wdlab.measures.equilibrium import Equilibrium, Walk

FORM = Equilibrium(2.0, 0.05)


def test_overlaid_lines_get_narrower_and_zero_is_marked_where_it_is_crossed() -> None:
    one, two = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, -2.0, 0.5])
    drawn = overlaid({"one": one, "two": two}, "Title", "k", "cosine", start=1)
    (axes,) = drawn.figure.axes
    first, second, zero = axes.lines
    assert first.get_linewidth() > second.get_linewidth()
    assert list(first.get_xdata()) == [1, 2, 3] and second.get_ydata().tolist() == [1.0, -2.0, 0.5]
    assert zero.get_ydata() == [0, 0] and axes.get_ylim()[0] < -2
    assert "two goes from 1 to 0.5, between -2 and 1" in drawn.alt
    assert len(overlaid({"one": one}, "Title", "k", "y").figure.axes[0].lines) == 1


def test_approach_has_a_line_a_walk_and_the_closed_form_broken() -> None:
    norms = torch.linspace(4.0, 2.0, 40, dtype=torch.float64).reshape(40, 1, 1)
    drawn = approach({"start at 4": Walk(norms, norms / 40)}, FORM, "A walk")
    left, right = drawn.figure.axes
    assert left.lines[0].get_ydata().tolist() == pytest.approx(norms.flatten().tolist())
    assert len(right.lines[0].get_ydata()) == 4  # means of ten steps
    assert right.lines[0].get_xdata().tolist() == [4.5, 14.5, 24.5, 34.5]
    assert left.lines[1].get_ydata() == [2.0, 2.0] and right.lines[1].get_ydata() == [0.05, 0.05]
    assert left.lines[1].get_linestyle() == "--"
    assert "norm, start at 4: from 4 to 2" in drawn.alt and "angle, closed form: 0.05" in drawn.alt
    assert drawn.png().startswith(b"\x89PNG")


def test_equilibria_say_the_largest_miss() -> None:
    row = {"lr": 0.1, "weight_decay": 0.01, "closed_norm": 2.0, "closed_angle": 0.05}
    table = pd.DataFrame(
        [{"kind": "one", "norm": 2.04, "angle": 0.05} | row, {"kind": "two", "norm": 2, "angle": 0.049} | row]
    )
    drawn = equilibria(table)
    assert "largest miss is 2% in norm and 2% in angle" in drawn.alt
    assert "one, lr 0.1, lambda 0.01: norm +2.00%, angle +0.00%" in drawn.alt
    left, middle, right = drawn.figure.axes
    assert [line.get_label() for line in left.lines[1:]] == ["one", "two"]
    assert left.lines[1].get_ydata().tolist() == [2.04] and middle.lines[2].get_xdata().tolist() == [0.05]
    assert right.lines[1].get_ydata().tolist() == pytest.approx([2.0])
    assert drawn.png().startswith(b"\x89PNG")


def test_turning_measures_the_second_half_against_each_layers_form() -> None:
    steps = torch.ones(100, 2, dtype=torch.float64)
    steps[:50] = 9.0
    layers = {
        "weight_0": Turning(2.2 * steps, 0.05 * steps, steps),
        "weight_1": Turning(3 * steps, 0.045 * steps, steps),
    }
    drawn = turning(layers, {"weight_0": FORM, "weight_1": Equilibrium(3.0, 0.05)}, "A network")
    assert "layer 0, norm: 2.2, closed form 2 (+10.0%)" in drawn.alt
    assert "layer 1, angle: 0.045, closed form 0.05 (-10.0%)" in drawn.alt
    assert drawn.data["measured"].tolist() == pytest.approx([0.05, 2.2, 0.045, 3.0])
    angle, norm = drawn.figure.axes
    assert [line.get_label() for line in norm.lines if not line.get_label().startswith("_")] == ["layer 0", "layer 1"]
    assert len(angle.lines[0].get_ydata()) == 4
    assert drawn.png().startswith(b"\x89PNG")


def test_a_short_run_is_drawn_whole() -> None:
    few = torch.ones(3, 1, dtype=torch.float64)
    drawn = turning({"weight_0": Turning(few, few, few)}, {"weight_0": FORM}, "Short")
    assert drawn.figure.axes[0].lines[0].get_ydata().tolist() == [1.0]
