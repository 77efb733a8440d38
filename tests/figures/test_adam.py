"""Figures of chapter 07: what they draw, and what they say."""

from __future__ import annotations

import pytest
import torch

from wdlab.figures.adam import LEAST, drowning, paths, scale_labels, split_step
from wdlab.tasks.unequal import Descent, descend

SEEDS = (10_000, 10_001, 10_002)
SCALES = (1.0, 0.01)


def test_a_split_step_has_a_panel_for_w_and_one_for_each_part() -> None:
    found = descend([("l2", 0.01)], SEEDS, SCALES, steps=100)
    drawn = split_step(found, SCALES, 0.01, "l2", [0.9, 0.1])
    w, objective, decay = drawn.figure.axes
    assert [len(axes.lines) for axes in (w, objective, decay)] == [2 + 2 + 1, 2, 2]
    assert w.lines[0].get_ydata()[0] == pytest.approx(found.w[0, :, 0, 1:3].mean().item())
    assert decay.lines[1].get_ydata()[-1] == pytest.approx(100 * found.decay[0, :, 1, -2:].abs().mean().item())
    assert [line.get_ydata()[0] for line in w.lines[2:]] == [0.9, 0.1, 1]
    assert set(drawn.data["what"]) == {"w", "objective", "decay"} and len(drawn.data) == 3 * 2 * 50
    assert "decay, 0.01: from" in drawn.alt and drawn.png().startswith(b"\x89PNG")


def test_a_part_that_is_nothing_lies_on_the_edge_and_is_told_as_it_is() -> None:
    drawn = split_step(descend([("second_moment", 0.01)], SEEDS, SCALES, steps=60), SCALES, 0.01, "second_moment")
    assert set(drawn.figure.axes[2].lines[0].get_ydata()) == {LEAST}
    assert set(drawn.data[drawn.data["what"] == "decay"]["value"]) == {0.0}
    assert "decay, 1: from 0 to 0" in drawn.alt


def test_ends_come_with_intervals_and_closed_forms_where_there_are_any() -> None:
    ends = {"l2": torch.tensor([[0.9, 0.1], [0.8, 0.2]]), "own_buffers": torch.zeros(2, 2)}
    drawn = drowning(ends, SCALES, {"l2": [0.85, 0.09]})
    by = drawn.data.set_index(["coupling", "scale"])
    assert by.loc[("l2", 1.0), "end"] == pytest.approx(0.85) and by.loc[("l2", 0.01), "closed_form"] == 0.09
    assert by.loc[("l2", 1.0), "low"] < 0.8 < 0.9 < by.loc[("l2", 1.0), "high"]
    assert by.loc["own_buffers"]["closed_form"].isna().all()
    (axes,) = drawn.figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["l2", "own_buffers"]
    assert [label.get_text() for label in axes.get_xticklabels()][:2] == ["1", "0.01"]
    assert axes.get_xlim()[0] > axes.get_xlim()[1], "the loudest is on the left"
    assert "l2 at 0.01: 0.150" in drawn.alt


def test_paths_that_coincide_are_drawn_in_narrower_lines_on_one_scale() -> None:
    one, two = torch.tensor([0.0, 1.5]), torch.tensor([0.0, -0.5])
    drawn = paths({"left": {"a": one, "b": one}, "right": {"a": two}})
    left, right = drawn.figure.axes
    assert left.lines[0].get_linewidth() > left.lines[1].get_linewidth()
    assert left.get_ylim() == right.get_ylim() == pytest.approx((-0.6, 1.6))
    assert "right, a: from 0 to -0.5" in drawn.alt and len(drawn.data) == 6


def test_of_a_long_path_some_points_are_drawn_in_their_places() -> None:
    (line, _) = paths({"": {"a": torch.arange(1000.0)}}).figure.axes[0].lines
    assert len(line.get_xdata()) == 200 and list(line.get_xdata()) == line.get_ydata().tolist()


def test_equal_sizes_are_told_apart() -> None:
    assert scale_labels((1.0, 0.001)) == ["1", "0.001"]
    assert scale_labels((1.0, 1.0)) == ["1 (a)", "1 (b)"]


def test_a_descent_ends_in_its_last_third() -> None:
    w = torch.arange(7.0).reshape(1, 1, 1, 7)
    assert Descent(w, w, w).end.item() == pytest.approx(5.5)
