"""The Explorer over the critical period and over grids: dials, numbers, words, and that nothing is trained."""

from __future__ import annotations

import base64
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex

from tests.lab.test_controls import BLIND, lab, linear
from wdlab import Decay, Model, Optimizer, Results, Run, Timing, figures, sweep
from wdlab.lab import CriticalPeriod, Explorer, Grid, stored
from wdlab.lab.period import SHOWN
from wdlab.stats import paired
from wdlab.store import Store

MOMENTS = (0.0, 0.5, 1.0)
BASE = Run(model=Model(width=8, depth=1), steps=40, evaluations=4)
LRS, LAMBDAS = (0.001, 0.01, 0.1), {"l2": (0.001, 0.1), "decoupled": (0.01, 1.0, 1e9)}


def swept(runs: list[Run]) -> Results:
    return sweep([replace(run, seed=seed) for seed in (10_000, 10_001) for run in runs], jobs=1)


def windows(moments: tuple[float, ...], side: str) -> list[Run]:
    ends = [(0.0, t) if side == "until" else (t, 1.0) for t in moments]
    return [replace(BASE, decay=Decay(0.1, Timing.window(*end))) for end in ends]


def cells() -> list[Run]:
    return [
        replace(BASE, optimizer=Optimizer("adam", lr=lr), decay=Decay(strength, coupling=coupling))
        for coupling, strengths in LAMBDAS.items()
        for strength in strengths
        for lr in LRS
    ]


@pytest.fixture(scope="module")
def period() -> tuple[Results, Results]:
    return swept(windows(MOMENTS, "until")), swept(windows(MOMENTS, "since"))


@pytest.fixture(scope="module")
def grid() -> Results:
    return swept(cells())


@pytest.fixture(autouse=True)
def no_training(period, grid, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on nothing may be trained."""

    def trains(*_: object) -> None:
        raise AssertionError("an Explorer trains")

    monkeypatch.setattr("wdlab.train.Training.advance", trains)


def assert_a_turn_shows(explorer: Explorer, dial: str, value: object) -> None:
    before = explorer.image.value, explorer.alt
    explorer.dials[dial].value = value
    assert getattr(explorer.setting, dial) == value
    assert explorer.image.value != before[0] and explorer.alt != before[1]
    assert explorer.alt in explorer.words.value.replace("&#x27;", "'")


# The critical period


def test_the_slider_moves_both_points_and_both_runs(period) -> None:
    explorer = Explorer(CriticalPeriod(*period), t0=0.5)
    gains = figures.critical_period(*period).data
    for t0 in MOMENTS:
        explorer.dials["t0"].value = t0
        expected = gains[gains["t0"] == t0]
        assert explorer.data["gain"].tolist() == expected["gain"].tolist()
        assert explorer.data["low"].tolist() == expected["low"].tolist()
        rings = explorer.view._picture.rings
        assert [list(ring.get_xdata()) for ring in rings.values()] == [[t0], [t0]]
        assert [ring.get_ydata()[0] for ring in rings.values()] == expected["gain"].tolist()
        assert f"Until {t0:.0%}: {expected['gain'].iloc[0]:+.3f}" in explorer.told


def test_the_gain_is_that_of_paired_seeds(period) -> None:
    explorer = Explorer(CriticalPeriod(*period), t0=0.5)
    both = Results(period[0].histories)
    expected = paired(both, "decay.timing", Timing.window(0, 0.5), Timing.window(0, 0))
    first = explorer.data.iloc[0]
    assert (first["gain"], first["low"], first["high"]) == pytest.approx((expected.mean, expected.low, expected.high))


@pytest.mark.parametrize("curve", SHOWN)
def test_the_curves_are_means_over_the_seeds_of_the_runs(period, curve: str) -> None:
    explorer = Explorer(CriticalPeriod(*period), t0=0.5, curve=curve)
    for results, line in zip(period, explorer.view._picture.lines.values(), strict=True):
        two = [h.curves[curve] for h in results.histories if 0.5 in (h.run.decay.timing.start, h.run.decay.timing.stop)]
        assert line.get_ydata() == pytest.approx(np.mean(two, axis=0))
        assert list(line.get_xdata()) == list(results.histories[0].steps)
    assert explorer.data[curve].tolist() == [line.get_ydata()[-1] for line in explorer.view._picture.lines.values()]
    assert f"{explorer.data[curve].iloc[0]:.3g} at the end" in explorer.told


def test_a_turned_dial_changes_picture_data_and_words(period) -> None:
    explorer = Explorer(CriticalPeriod(*period))
    assert_a_turn_shows(explorer, "t0", 1.0)
    assert_a_turn_shows(explorer, "curve", "test_error")


def test_results_that_are_no_pair_are_refused(period) -> None:
    until, since = period
    for fewer in (since.histories[1:3] + since.histories[4:], since.histories[:3], since.histories[:-1]):
        with pytest.raises(ValueError, match="give both the same, 0 and 1 among the moments"):
            CriticalPeriod(until, Results(fewer))
    with pytest.raises(ValueError, match=r"give windows \[0, t0\) and windows \[t0, 1\)"):
        CriticalPeriod(since, until)
    other = [replace(h, run=replace(h.run, schedule=replace(BASE.schedule, final=0.1))) for h in since.histories]
    with pytest.raises(ValueError, match="results differ in final, too"):
        CriticalPeriod(until, Results(tuple(other)))


# Grids


def test_a_cell_is_the_mean_over_its_seeds(grid) -> None:
    explorer = Explorer(Grid(grid), coupling="decoupled", lr=0.01, weight_decay=1.0)
    table = grid.table.query("coupling == 'decoupled' and lr == 0.01 and weight_decay == 1.0")
    cell = explorer.data[explorer.data["chosen"]]
    assert len(table) == 2 and cell["score"].item() == pytest.approx(table["test_accuracy"].mean())
    assert f"test accuracy {cell['score'].item():.3g} (mean of 2 seeds)" in explorer.told
    assert len(explorer.data) == 9


def test_the_good_basin_is_within_five_percent_of_the_best(grid) -> None:
    for metric, better in (("test_accuracy", "higher"), ("test_loss", "lower")):
        explorer = Explorer(Grid(grid, metric, better), coupling="decoupled")
        scores = explorer.data["score"].dropna()
        best = scores.max() if better == "higher" else scores.min()
        near = (scores - best).abs() <= 0.05 * abs(best)
        assert explorer.data["good"].sum() == near.sum() >= 1
        assert f"{near.sum()} of 9 cells ({near.sum() / 9:.0%})" in explorer.told
        assert f"Best: {best:.3g}" in explorer.told


def test_a_wider_tolerance_makes_a_wider_basin(grid) -> None:
    narrow, wide = (Explorer(Grid(grid, tolerance=t), coupling="l2").data["good"].sum() for t in (0.0, 1.0))
    assert narrow < wide == 6


def test_the_map_shows_the_scores_and_outlines_the_basin(grid) -> None:
    explorer = Explorer(Grid(grid), coupling="l2")
    picture, data = explorer.view._picture, explorer.data
    shown = picture.cells.get_array()
    assert shown.shape == (3, 2)
    for y, lr in enumerate(LRS):
        for x, strength in enumerate(LAMBDAS["l2"]):
            cell = data[(data["lr"] == lr) & (data["weight_decay"] == strength)]
            assert shown[y, x] == pytest.approx(cell["score"].item())
    alone = Explorer(Grid(grid, tolerance=0.0), coupling="l2")
    assert alone.data["good"].sum() == 1 and len(alone.view._picture.edges[0].get_segments()) == 4


def test_a_diverged_cell_has_no_score_a_mark_and_a_sentence(grid) -> None:
    explorer = Explorer(Grid(grid), coupling="decoupled", lr=0.1, weight_decay=1e9)
    lost = explorer.data[explorer.data["diverged"] > 0]
    assert len(lost) >= 1 and lost["score"].isna().all() and not lost["good"].any()
    assert explorer.view._picture.lost.get_xdata().tolist() == [2] * len(lost)
    assert "2 of 2 runs diverged, no score" in explorer.told
    assert f"Diverged: {len(lost)} cells" in explorer.told


def test_where_all_cells_diverged_there_is_no_best(grid) -> None:
    lost = [h for h in grid.histories if h.diverged_at is not None]
    explorer = Explorer(Grid(Results(tuple(lost))))
    assert "All cells diverged" in explorer.told and not explorer.data["good"].any()


def test_a_cell_that_was_not_run_is_said_to_be_missing(grid) -> None:
    kept = [h for h in grid.histories if (h.run.optimizer.lr, h.run.decay.strength) != (0.01, 1.0)]
    explorer = Explorer(Grid(Results(tuple(kept))), coupling="decoupled", lr=0.01, weight_decay=1.0)
    assert "lr 0.01, λ 1: not run" in explorer.told and len(explorer.data) == 8


def test_the_curves_beside_are_the_cells_runs(grid) -> None:
    explorer = Explorer(Grid(grid, curve="test_loss"), coupling="l2", lr=0.001, weight_decay=0.1)
    runs = [
        h.curves["test_loss"] for h in grid.histories
        if (h.run.decay.coupling, h.run.optimizer.lr, h.run.decay.strength) == ("l2", 0.001, 0.1)
    ]  # fmt: skip
    picture = explorer.view._picture
    assert picture.mean.get_ydata() == pytest.approx(np.mean(runs, axis=0))
    singles = [tuple(line.get_ydata()) for line in picture.single if len(line.get_ydata())]
    assert sorted(singles) == sorted(runs)


def test_a_grid_starts_at_its_best_cell(grid) -> None:
    explorer = Explorer(Grid(grid))
    assert explorer.data[explorer.data["chosen"]]["score"].item() == explorer.data["score"].max()


def test_a_new_coupling_keeps_the_place_and_brings_its_own_lambdas(grid) -> None:
    explorer = Explorer(Grid(grid), coupling="decoupled", lr=0.1, weight_decay=1e9)
    explorer.dials["coupling"].value = "l2"
    assert (explorer.setting.lr, explorer.setting.weight_decay) == (0.1, 0.1)
    assert [value for _, value in explorer.dials["weight_decay"].options] == [0.001, 0.1]
    explorer.dials["weight_decay"].value = 0.001
    explorer.dials["coupling"].value = "decoupled"
    assert explorer.setting.weight_decay == 0.01
    assert_a_turn_shows(explorer, "weight_decay", 1e9)
    assert_a_turn_shows(explorer, "lr", 0.001)


def test_colours_mean_the_same_under_every_coupling(grid) -> None:
    explorer = Explorer(Grid(grid))
    before = explorer.view._picture.cells.get_clim()
    explorer.turn(coupling="decoupled")
    assert explorer.view._picture.cells.get_clim() == before


@pytest.mark.parametrize("kind", BLIND)
def test_colours_get_lighter_with_the_score_whatever_the_eye(grid, kind: str) -> None:
    colours = Explorer(Grid(grid)).view._picture.cells.get_cmap()(np.linspace(0, 1, 12))
    seen = [lab(np.array(BLIND[kind]) @ linear(to_hex(colour)))[0] for colour in colours]
    assert min(np.diff(seen)) > 2


def test_runs_that_differ_in_more_are_no_grid(grid) -> None:
    other = replace(grid.histories[0], run=replace(grid.histories[0].run, schedule=replace(BASE.schedule, final=0.1)))
    with pytest.raises(ValueError, match="results differ in final, too"):
        Grid(Results((*grid.histories[1:], other)))
    with pytest.raises(ValueError, match="hold a run twice"):
        Grid(Results((*grid.histories, grid.histories[0])))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"metric": "test_acuracy"}, "did you mean 'test_accuracy'"),
        ({"better": "larger"}, "better='larger' is unknown"),
        ({"curve": "tset_error"}, "did you mean 'test_error'"),
        ({"tolerance": -1}, "tolerance=-1 is not allowed"),
    ],
)
def test_a_grid_says_what_it_does_not_know(grid, more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Grid(grid, **more)


# What all views share

BAD: list[tuple[str, dict[str, Any], str]] = [
    ("period", {"t0": 0.3}, "t0=0.3 was not measured; give one of 0, 0.5, 1"),
    ("period", {"t0": "half"}, "t0='half' is not allowed"),
    ("period", {"curve": "norm"}, "did you mean 'weight_norm'"),
    ("period", {"lr": 1}, "dial='lr' is unknown"),
    ("grid", {"lr": 0.5}, "lr=0.5 is not in the grid; give one of 0.001, 0.01, 0.1"),
    ("grid", {"coupling": "l3"}, "did you mean 'l2'"),
    ("grid", {"t0": 1}, "dial='t0' is unknown"),
]


@pytest.mark.parametrize(("kind", "dials", "said"), BAD)
def test_what_is_not_allowed_is_refused_in_words(period, grid, kind: str, dials: dict[str, Any], said: str) -> None:
    view = CriticalPeriod(*period) if kind == "period" else Grid(grid)
    with pytest.raises(ValueError, match=said):
        Explorer(view, **dials)
    explorer = Explorer(view)
    before = explorer.setting, explorer.image.value
    with pytest.raises(ValueError, match=said):
        explorer.turn(**dials)
    assert said.replace("'", "&#x27;") in explorer.status.value
    assert (explorer.setting, explorer.image.value) == before


def test_turning_from_code_moves_the_dials(period) -> None:
    explorer = Explorer(CriticalPeriod(*period))
    explorer.turn(t0=1.0, curve="test_error")
    assert {name: dial.value for name, dial in explorer.dials.items()} == {"t0": 1.0, "curve": "test_error"}


def test_a_cell_shows_the_widget_and_keeps_the_picture(period, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append((bundle, raw)))
    explorer = Explorer(CriticalPeriod(*period))
    explorer._ipython_display_()
    ((bundle, raw),) = shown
    assert raw and bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer._root.model_id
    assert base64.b64decode(bundle["image/png"]) == explorer.image.value
    assert bundle["text/plain"] == explorer.alt


def test_equal_scores_are_in_the_middle_of_a_plain_scale(grid) -> None:
    view = Grid(grid)
    for cells in view.cells.values():
        cells["score"] = 0.3
    scale = view.scale()
    assert scale(0.3) == pytest.approx(0.5) and (scale.vmin, scale.vmax) == pytest.approx((0.25, 0.35))


def test_a_turn_answers_at_once(period, grid) -> None:
    for explorer, dial, value in (
        (Explorer(CriticalPeriod(*period)), "t0", 1.0),
        (Explorer(Grid(grid)), "coupling", "decoupled"),
    ):
        first = getattr(explorer.setting, dial)
        for answer in (value, first):  # what is loaded only once is loaded
            explorer.dials[dial].value = answer
        start = time.process_time()
        explorer.dials[dial].value = value
        assert time.process_time() - start < 0.3


def test_the_store_gives_what_it_has_and_says_what_it_lacks(grid, tmp_path) -> None:
    kept = Store(tmp_path)
    for history in grid.histories[1:]:
        kept.put(history)
    runs = list(grid.runs)
    with pytest.raises(ValueError, match=r"1 of 30 runs are not in the store; train them first with wdlab\.sweep"):
        stored(runs, kept)
    found = stored(runs[1:], kept)
    assert found.runs == grid.runs[1:]
    assert found.table.equals(Results(grid.histories[1:]).table)
    with pytest.raises(ValueError, match="0 of 0 runs"):
        stored([], kept)


def test_close_takes_the_widgets_away(period) -> None:
    explorer = Explorer(CriticalPeriod(*period))
    explorer.close()
    assert explorer._root.comm is None
