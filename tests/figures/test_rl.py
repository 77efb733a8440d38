"""Figures of chapter 09: a run whose game raised is in no curve and no mean, and the words say so."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from wdlab import Decay, Model, Optimizer, Results, Run
from wdlab.figures.grids import heat_maps
from wdlab.figures.rl import learning_curves, middle_means
from wdlab.tasks import GAMES
from wdlab.train import CURVES, History

TASK = GAMES["cartpole"]
LEVELS = (0.2, 0.4, 0.9)  # the share of the best return at every reading, by seed


def results(broken_at: int | None) -> Results:
    """Three seeds, the last of which broke early at that step and yet has the same score."""
    runs = [
        Run(TASK, Model(norm=False), Optimizer("adam"), decay=Decay(0.1), seed=seed, steps=4, evaluations=2)
        for seed in range(3)
    ]
    curves = [{name: (1 - level,) * 3 for name in CURVES} for level in LEVELS]
    broken = (None, None, broken_at)
    return Results(tuple(History(r, (0, 2, 4), c, broken_at=b) for r, c, b in zip(runs, curves, broken, strict=True)))


def table(scores: tuple[float, ...]) -> pd.DataFrame:
    rows = {"coupling": "l2", "lr": 0.001, "weight_decay": 0.1, "seed": range(3), "score": scores}
    return pd.DataFrame(rows).assign(diverged_at=math.nan, decay_share=0.5)


@pytest.mark.parametrize(("broken_at", "kept", "told"), [(None, 3, 0), (0, 2, 1)])
def test_a_broken_run_is_in_no_curve(broken_at: int | None, kept: int, told: int) -> None:
    drawn = learning_curves(results(broken_at), table(LEVELS), TASK)
    assert drawn.data["median"].tolist() == pytest.approx([TASK.points(np.median(LEVELS[:kept]))] * 3)
    assert ("Left out, for the game raised: 1 runs." in drawn.alt) == bool(told)


def test_a_run_without_a_score_is_in_no_mean() -> None:
    drawn, whole = (middle_means(table((0.2, 0.4, last)), TASK) for last in (math.nan, 0.9))
    assert drawn.data["mean"].tolist() == pytest.approx([TASK.points(0.3)]) != whole.data["mean"].tolist()
    assert "game raised: 1 runs" in drawn.alt and "raised" not in whole.alt


def test_a_cell_without_a_score_says_so_and_is_not_the_best() -> None:
    both = pd.concat([table((0.2, 0.4, math.nan)), table(LEVELS).assign(weight_decay=1.0)])
    drawn = heat_maps(both)
    texts = [text.get_text() for text in drawn.figure.axes[0].texts]
    assert texts == ["no score", "0.50"] and "best 0.500 at lr 0.001, lambda 1" in drawn.alt
