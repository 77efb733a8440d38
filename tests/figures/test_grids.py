"""Figures of chapter 08: what they draw, and what they say."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from matplotlib.patches import Rectangle

from wdlab.figures.grids import best_lambdas, best_scores, heat_maps, shares
from wdlab.grids import NONE, of
from wdlab.stats import interval

LRS, STRENGTHS = (0.001, 0.01), {NONE: (0.0,), "l2": (1e-4, 1e-3, 1e-2), "decoupled": (0.1, 1.0)}
LOST = ("l2", 0.01, 1e-2)


def scored(coupling: str, lr: float, strength: float, seed: int) -> float:
    return 0.6 + 0.3 * (lr == 0.01) - 0.1 * (coupling == "l2" and strength != 1e-3) + 0.002 * seed


@pytest.fixture
def runs() -> pd.DataFrame:
    """A grid of two seeds; in one cell one of them diverged at step 40."""
    rows = [
        {"coupling": coupling, "lr": lr, "weight_decay": strength, "seed": seed, "decay_share": min(strength, 0.9)}
        | {"score": scored(coupling, lr, strength, seed), "diverged_at": math.nan}
        for coupling, strengths in STRENGTHS.items()
        for strength in strengths
        for lr in LRS
        for seed in (0, 1)
    ]
    made = pd.DataFrame(rows)
    lost = (made["coupling"] == LOST[0]) & (made["lr"] == LOST[1]) & (made["weight_decay"] == LOST[2])
    made.loc[lost & (made["seed"] == 1), ["score", "diverged_at", "decay_share"]] = [0.0, 40.0, math.nan]
    return made


def test_a_heat_map_a_coupling_with_the_good_cells_framed(runs: pd.DataFrame) -> None:
    drawn = heat_maps(runs)
    *panels, _ = drawn.figure.axes
    assert [panel.get_title(loc="left") for panel in panels] == list(STRENGTHS)
    for panel, (coupling, strengths) in zip(panels, STRENGTHS.items(), strict=True):
        shown = panel.images[0].get_array()
        assert shown.shape == (2, len(strengths))
        assert shown[1, 0] == pytest.approx((scored(coupling, 0.01, strengths[0], 0)) + 0.001)
    frames = [sum(isinstance(patch, Rectangle) for patch in panel.patches) // 2 for panel in panels]
    assert frames == [1, 1, 2], "the whole row of lr 0.01, but where l2 is ten points worse"
    assert len({panel.images[0].norm for panel in panels}) == 1, "one scale of colours for all"
    assert "l2: best 0.901 at lr 0.01, lambda 0.001; 1 of 6 cells within 0.05 of the best of all" in drawn.alt
    assert drawn.png().startswith(b"\x89PNG")


def test_a_cell_that_diverged_says_when_and_for_how_many(runs: pd.DataFrame) -> None:
    drawn = heat_maps(runs)
    panel = drawn.figure.axes[1]
    marked = [text for text in panel.texts if "diverged" in text.get_text()]
    assert [text.get_text() for text in marked] == ["0.40\n1 of 2\ndiverged\nat step 40"]
    assert marked[0].get_position() == (2, 1)
    assert "lr 0.01, lambda 0.01: 1 of 2 diverged at step 40" in drawn.alt
    both = heat_maps(runs.assign(diverged_at=3.0, score=0.0))
    assert {text.get_text() for text in both.figure.axes[0].texts} == {"0.00\ndiverged\nat step 3"}
    assert not any(panel.patches for panel in both.figure.axes[:3])


def test_best_scores_are_of_the_best_cell_of_every_seed(runs: pd.DataFrame) -> None:
    drawn = best_scores({"exact match": runs, "half": runs.assign(score=runs["score"] / 2)})
    by = drawn.data.set_index(["metric", "coupling"])
    expected = interval([0.9, 0.902])
    assert by.loc[("exact match", "l2"), ["best", "low", "high"]].tolist() == pytest.approx(
        [expected.mean, expected.low, expected.high]
    )
    assert by.loc[("half", "decoupled"), "best"] == pytest.approx(expected.mean / 2)
    assert len(drawn.figure.axes) == 2 and "half, l2: 0.45" in drawn.alt
    alone = best_scores({"exact match": runs[runs["seed"] == 0]}).data
    assert (alone["low"] == alone["high"]).all() and set(alone["seeds"]) == {1}


def test_the_best_lambda_is_drawn_against_the_learning_rate(runs: pd.DataFrame) -> None:
    drawn = best_lambdas(runs)
    (axes,) = drawn.figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["l2", "decoupled"], "none has no lambda"
    assert drawn.data[drawn.data["coupling"] == "l2"]["weight_decay"].tolist() == [1e-3, 1e-3]
    named = [line for line in axes.lines if line.get_label() == "l2"]
    assert list(named[0].get_xdata()) == [0.001, 0.01]
    assert "l2 at lr 0.001: 0.001" in drawn.alt


def test_shares_run_through_the_lambdas_of_a_learning_rate(runs: pd.DataFrame) -> None:
    drawn = shares(runs)
    left, right = drawn.figure.axes
    assert (left.get_title(loc="left"), right.get_title(loc="left")) == ("l2", "decoupled")
    assert list(left.lines[0].get_xdata()) == [1e-4, 1e-3, 1e-2] and list(right.lines[0].get_xdata()) == [0.1, 0.9]
    assert list(left.lines[1].get_ydata()) == pytest.approx([0.801, 0.901, 0.4])
    assert "decoupled: from 0.10 to 0.90" in drawn.alt
    gone = runs.assign(decay_share=runs["decay_share"].where(runs["coupling"] == "decoupled"))
    assert "l2, lr 0.01, lambda 0.01: diverged before a reading" in shares(gone).alt


def test_seven_couplings_stand_in_two_rows_of_cells_of_one_size(runs: pd.DataFrame) -> None:
    every = pd.concat([runs, *(of(runs, "l2").assign(coupling=name) for name in ("a", "b", "c", "d"))])
    drawn = heat_maps(every)
    drawn.figure.draw_without_rendering()
    *panels, _ = drawn.figure.axes
    boxes = [panel.get_position() for panel in panels]
    assert (
        len(panels) == 7
        and len({round(box.y0, 3) for box in boxes[:4]}) == len({round(box.y0, 3) for box in boxes[4:]}) == 1
    )
    assert boxes[0].y0 > boxes[4].y1 and boxes[3].x1 == pytest.approx(boxes[6].x1, abs=0.01)
    assert [bool(panel.get_ylabel()) for panel in panels] == [True, False, False, False, True, False, False]
