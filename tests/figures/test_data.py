"""Figures of chapter 06: what they return is what they draw, and the words hold the numbers."""

from dataclasses import replace

import pytest
import torch

from wdlab import TASKS, Decay, Model, Run, Schedule, Timing, sweep
from wdlab.claims.chapter06 import followed, of
from wdlab.figures import Drawn
from wdlab.figures import data as draw
from wdlab.stats import interval

TASK = replace(TASKS["mnist1d"], train_size=200, batch_size=50)
RUN = Run(TASK, Model(width=8, depth=1), decay=Decay(timing=Timing.never()), steps=30, evaluations=2)
SCHEDULES = (Schedule(), Schedule("constant"))


def swept(runs: list[Run]):
    return sweep([replace(run, seed=seed) for run in runs for seed in (0, 1)], jobs=1)


def assert_png(drawn: Drawn) -> None:
    assert drawn.png().startswith(b"\x89PNG") and drawn.alt.endswith(".")


def test_the_map_has_a_column_for_each_set_a_row_for_each_end_and_a_line_for_each_schedule() -> None:
    runs = [replace(of(RUN, label_noise=noise), schedule=s) for s in SCHEDULES for noise in (0.0, 0.5)]
    large = [of(run, train_size=1000) for run in runs]
    results = {"small": swept(runs), "large": swept(large)}
    drawn = draw.noise_map(results)
    axes = drawn.figure.axes
    assert [panel.get_title(loc="left") for panel in axes] == ["small", "large"] * 2
    assert [panel.get_ylabel() for panel in axes[::2]] == ["weight norm at the end", "test accuracy at the end"]
    assert [text.get_text() for text in drawn.figure.legends[0].texts] == ["falls to 0.2%", "constant"]
    assert len(drawn.data) == 16
    ends = {}
    for metric, row_of_panels in {"weight_norm": axes[:2], "test_accuracy": axes[2:]}.items():
        shown = drawn.data[drawn.data["metric"] == metric]
        (row,) = shown.query("data == 'large' and schedule == 'constant' and label_noise == 0.5").itertuples()
        ends[metric] = expected = interval(results["large"].table[metric].tolist()[-2:])
        assert (row.mean, row.low, row.high) == (expected.mean, expected.low, expected.high)
        lines = [container.lines[0] for container in row_of_panels[1].containers]
        assert lines[1].get_ydata()[-1] == expected.mean and list(lines[1].get_xdata()) == [0, 0.5]
        limits = {panel.get_ylim() for panel in row_of_panels}
        assert len(limits) == 1 and limits.pop()[1] > shown["high"].max()
    told = f"norm {ends['weight_norm'].mean:.1f}, accuracy {ends['test_accuracy'].mean:.3f}"
    assert f"large, constant, noise 0.5: {told}" in drawn.alt
    assert_png(drawn)


def test_set_sizes_draws_norm_and_accuracy_against_size() -> None:
    runs = [of(RUN, train_size=size, label_noise=noise) for noise in (0.0, 0.5) for size in (100, 1000)]
    results = swept(runs)
    drawn = draw.set_sizes(results)
    left, right = drawn.figure.axes
    assert left.get_xscale() == right.get_xscale() == "log"
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["100", "1,000"]
    table = results.table.query("train_size == 1000 and label_noise == 0.5")
    assert right.containers[1].lines[0].get_ydata()[1] == pytest.approx(table["test_accuracy"].mean())
    assert f"label noise 0.5, 1,000 examples: norm {table['weight_norm'].mean():.1f}" in drawn.alt
    assert_png(drawn)


def test_kinds_has_a_row_for_each_entry() -> None:
    results = {"as it is": swept([RUN]), "two classes": swept([of(RUN, classes=2)])}
    drawn = draw.kinds(results)
    assert [tick.get_text() for tick in drawn.figure.axes[0].get_yticklabels()] == list(results)
    assert list(drawn.data["data"]) == list(results)
    for metric in ("weight_norm", "train_loss", "test_accuracy"):
        means = [found.table[metric].mean() for found in results.values()]
        assert drawn.data[metric].tolist() == pytest.approx(means)
    assert f"two classes: norm {drawn.data['weight_norm'][1]:.1f}" in drawn.alt
    assert_png(drawn)


def test_growth_draws_measured_and_predicted() -> None:
    grown = {"clean": followed([RUN, replace(RUN, seed=1)]), "noise": followed([of(RUN, label_noise=1.0)])}
    drawn = draw.growth(grown)
    right = drawn.figure.axes[1]
    clean = grown["clean"]
    assert torch.equal(torch.as_tensor(right.lines[0].get_ydata()), clean.measured.mean(1))
    assert torch.equal(torch.as_tensor(right.lines[1].get_ydata()), clean.predicted.mean(1))
    assert drawn.data.loc["noise", "measured"] == pytest.approx(grown["noise"].measured[-1].item())
    error = (clean.predicted[-1] / clean.measured[-1] - 1).mean().item()
    assert drawn.data.loc["clean", "relative error"] == pytest.approx(error)
    assert f"({error:+.2%})" in drawn.alt
    assert_png(drawn)


def test_the_drawn_gradient_is_a_mean_over_the_last_steps() -> None:
    relative = torch.arange(1.0, 31.0).view(30, 1, 1).expand(30, 2, 3)
    found = draw.smoothed(relative)
    assert found[0] == pytest.approx(2**0.5)
    assert found[29] == pytest.approx((2 * sum(x**2 for x in range(11, 31)) / 20) ** 0.5)


def test_schedules_have_names() -> None:
    named = {Schedule(): "falls to 0.2%", Schedule(final=0.05): "falls to 5%", Schedule("constant"): "constant"}
    assert all(draw.schedule_name(schedule) == words for schedule, words in named.items())
