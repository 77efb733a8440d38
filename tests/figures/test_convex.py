"""Figures of chapter 01: what they draw, and what they say."""

from __future__ import annotations

import math

import pytest
import torch

from wdlab.figures.convex import diverges_at, lines, traces, trajectories
from wdlab.tasks.convex import Quadratic, rest

PROBLEM = Quadratic(torch.eye(2, dtype=torch.float64), torch.tensor([1.0, 2.0], dtype=torch.float64))


def straight(to: float) -> torch.Tensor:
    return torch.linspace(0, to, 5, dtype=torch.float64).unsqueeze(1).expand(5, 2)


def test_trajectories_draw_paths_and_marks_and_say_where_they_end() -> None:
    drawn = trajectories(PROBLEM, {"one": straight(1.0), "two": straight(-0.5)}, {"the best": rest(PROBLEM)}, "Title")
    (axes,) = drawn.figure.axes
    labels = [line.get_label() for line in axes.lines]
    assert {"one", "two", "the best"} <= set(labels)
    path = axes.lines[labels.index("one")]
    assert path.get_xdata().tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert drawn.alt == "Title: one ends at (1.00, 1.00); two ends at (-0.50, -0.50); the best is at (1.00, 2.00)."
    assert drawn.data["w1"].tolist()[:5] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert drawn.png().startswith(b"\x89PNG")


@pytest.mark.parametrize("bad", [math.inf, math.nan, 1e9])
def test_a_path_that_diverges_is_cut_and_told(bad: float) -> None:
    path = straight(1.0).clone()
    path[3:] = bad
    assert diverges_at(path) == 3
    drawn = trajectories(PROBLEM, {"gone": path}, {})
    assert "gone diverges at step 3" in drawn.alt
    assert len(drawn.figure.axes[0].lines[2].get_xdata()) == 3  # after the two lines through the origin
    assert drawn.png().startswith(b"\x89PNG")


def test_lines_have_one_panel_a_title_and_end_in_words() -> None:
    drawn = lines({"left": {"a": torch.tensor([1.0, 0.5])}, "right": {"b": torch.tensor([2.0, 3.0])}}, "norm")
    assert [axes.get_title(loc="left") for axes in drawn.figure.axes] == ["left", "right"]
    assert drawn.figure.axes[1].lines[0].get_ydata().tolist() == [2.0, 3.0]
    assert drawn.alt == "Norm over the steps of a run. left, a: from 1 to 0.5; right, b: from 2 to 3."
    assert drawn.data["norm"].tolist() == [1.0, 0.5, 2.0, 3.0]


def test_traces_show_means_with_intervals() -> None:
    drawn = traces({"what": {10: torch.tensor([0.2, 0.4]), 100: torch.tensor([0.0, 0.0])}})
    assert drawn.data["share"].tolist() == pytest.approx([0.3, 0.0])
    assert drawn.data["low"][0] < 0.2 < 0.4 < drawn.data["high"][0]
    assert "what after 10 steps: 0.3; what after 100 steps: 0" in drawn.alt
