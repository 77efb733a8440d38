"""Figures of chapter 10: what they draw, and what they say."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from tests.test_tuning import ridge, two_seeds
from wdlab.figures.tuning import budgets, by_coupling, two_labels
from wdlab.stats import interval
from wdlab.tuning import search


def test_a_line_a_coupling_with_its_interval_and_the_level() -> None:
    searched = search(two_seeds(), [1, 2, 8])
    drawn = budgets({"vision": searched, "speech": searched}, trials=2)
    left, _ = drawn.figure.axes
    assert [line.get_label() for line in left.lines][:2] == ["l2", "decoupled"]
    own = searched.query("coupling == 'l2'").groupby("trials")["best"]
    assert list(left.lines[0].get_ydata()) == pytest.approx(own.mean().tolist())
    assert left.lines[2].get_ydata()[0] == pytest.approx(0.855), "the mean of 0.95 and 0.76"
    assert left.lines[3].get_xdata()[0] == 2
    row = drawn.data.query("task == 'speech' and coupling == 'l2' and trials == 2").iloc[0]
    told = interval(own.get_group(2).tolist())
    assert row[["score", "low", "high"]].tolist() == pytest.approx([told.mean, told.low, told.high])
    assert "after 2" in drawn.alt and f"speech, l2: {told.mean:.3f}" in drawn.alt
    assert drawn.png().startswith(b"\x89PNG")


def test_eight_trials_are_told_where_none_are_asked_for() -> None:
    assert "after 8" in budgets({"vision": search(two_seeds(), [1, 8])}).alt


def test_means_with_intervals_by_coupling_and_what_is_left_out() -> None:
    table = pd.DataFrame(
        {
            "coupling": ["l2"] * 3 + ["decoupled"] * 3,
            "seed": [0, 1, 2] * 2,
            "moved": [1.0, 2.0, 3.0, 4.0, 4.5, math.nan],
        }
    )
    drawn = by_coupling({"vision": table}, "moved", "powers of ten")
    first, second = drawn.data.to_dict("records")
    told = interval([1.0, 2.0, 3.0])
    assert (first["mean"], first["low"], first["high"]) == pytest.approx((told.mean, told.low, told.high))
    assert (second["mean"], second["seeds"], second["left_out"]) == (4.25, 2, 1)
    assert drawn.alt.startswith("Powers of ten") and "1 seeds left out" in drawn.alt
    assert [text.get_text() for text in drawn.figure.axes[0].get_yticklabels()] == ["l2", "decoupled"]
    gone = by_coupling({"vision": table.assign(moved=math.inf)}, "moved", "powers of ten")
    assert gone.data["mean"].isna().all()


def test_one_grid_is_drawn_under_two_labels() -> None:
    drawn = two_labels({"plain": ridge(-1.0)})
    left, right = drawn.figure.axes[:2]
    a, b = (axes.images[0].get_array() for axes in (left, right))
    assert a.shape == (3, 5) and b.shape == (3, 7)
    assert np.ma.count(a) == np.ma.count(b) == 15, "the same cells, sheared"
    assert a.sum() == pytest.approx(b.sum())
    dots = [list(axes.lines[0].get_xdata()) for axes in (left, right)]
    assert dots == [[3, 2, 1], [3, 3, 3]], "a diagonal, and a column"
    assert drawn.data["axis"].tolist() == ["λ", "lr λ"]
    assert f"plain over λ: correlation {drawn.data['correlation'][0]:+.2f}" in drawn.alt


def test_a_crowded_axis_names_every_other_column() -> None:
    lrs = tuple(10 ** (-half / 2) for half in range(4))
    runs = pd.concat([ridge(0.0).query("lr == 1").assign(lr=lr) for lr in lrs])
    right = two_labels({"plain": runs}).figure.axes[1]
    assert len(right.get_xticks()) == -(-right.images[0].get_array().shape[1] // 2)
