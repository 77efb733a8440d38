"""Every figure function of the course: its words hold its numbers, and its colours are told apart from the paper."""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D

import wdlab.figures
from tests.lab.test_controls import contrast
from wdlab import Decay, Model, Run, Schedule, Timing, sweep
from wdlab.claims import SCALES, Claim, Level
from wdlab.claims.chapter02 import Turning
from wdlab.claims.chapter06 import followed, of
from wdlab.claims.chapter09 import few, gradients, playing, scored
from wdlab.figures import Drawn
from wdlab.figures.style import BACKGROUND
from wdlab.measures.equilibrium import Equilibrium, Walk
from wdlab.sweeps import Results
from wdlab.tasks import TASKS
from wdlab.tasks.convex import Quadratic
from wdlab.tasks.rl import DQN
from wdlab.tasks.unequal import descend
from wdlab.tuning import search, widths

NUMBER = re.compile(r"[-+−]?\d+(?:,\d{3})*(?:\.\d+(?:e[-+]?\d+)?%?|%)")  # whole numbers are found too easily
TASK = replace(TASKS["mnist1d"], train_size=200, batch_size=50)
RUN = Run(TASK, Model(width=8, depth=1), decay=Decay(timing=Timing.never()), steps=20, evaluations=2)


def figure_functions() -> dict[str, Callable[..., Drawn]]:
    """Every public function in wdlab.figures that returns a Drawn, as module.function."""
    found = {}
    for module in pkgutil.iter_modules(wdlab.figures.__path__):
        home = import_module(f"wdlab.figures.{module.name}")
        for name, function in inspect.getmembers(home, inspect.isfunction):
            returned = inspect.signature(function).return_annotation
            if function.__module__ == home.__name__ and not name.startswith("_") and returned in ("Drawn", Drawn):
                found[f"{module.name}.{name}"] = function
    return found


FIGURES = figure_functions()


@cache
def swept(*runs: Run) -> Results:
    return sweep([replace(run, seed=seed) for run in runs for seed in (10_000, 10_001)], jobs=1)


def played() -> Results:
    return swept(*few(playing("ci"), (0,))[:3])


def timed(*timings: Timing) -> Results:
    return swept(*(replace(RUN, decay=Decay(0.05, timing)) for timing in timings))


def windows(side: str) -> Results:
    return timed(*(Timing.window(0, t) if side == "until" else Timing.window(t, 1) for t in (0.0, 0.5, 1.0)))


def path(*shape: int) -> torch.Tensor:
    return 1.5 + torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def measured_nets() -> pd.DataFrame:
    rows = [
        {
            "timing": t,
            "seed": s,
            "test_error": 0.31 - 0.017 * t + 0.003 * (s * t % 3),
            "weight_norm": 9.3 - t * (s + 1) % 5,
        }
        for s in range(4)
        for t in range(4)
    ]
    return pd.DataFrame(rows).assign(timing=lambda table: "t" + table["timing"].astype(str))


def a_claim() -> Claim:
    levels = {scale: Level(2, 0.1) for scale in SCALES}
    return Claim("a-claim", "s.", "o", "u", lambda s: [0.342, 0.367], "c", lambda s: [0.013, 0.018], levels)


FORM = Equilibrium(2.13, 0.057)
CURVES = {"one": [1.25, 2.75], "two": [3.5, 5.125]}
EQUILIBRIA = [
    {
        "kind": kind,
        "lr": lr,
        "weight_decay": 0.013,
        "norm": 2.04,
        "angle": 0.053,
        "closed_norm": 2.1,
        "closed_angle": 0.05,
    }
    for kind, lr in (("one", 0.15), ("two", 0.35))
]


def a_grid() -> pd.DataFrame:
    """Runs of two seeds over couplings, learning rates and lambdas, as `wdlab.grids.tabulate` returns them."""
    rows = [
        {
            "coupling": coupling,
            "lr": lr,
            "weight_decay": strength,
            "seed": seed,
            "score": 0.613 + 7.3 * lr - 0.037 * seed - 0.21 * (strength in (0.01, 10.0)),
            "decay_share": 0.11 + 0.017 * place,
            "diverged_at": float("nan"),
        }
        for coupling, strengths in (("l2", (0.001, 0.01)), ("decoupled", (1.0, 10.0)))
        for place, strength in enumerate(strengths)
        for lr in (0.003, 0.01)
        for seed in (0, 1)
    ]
    return pd.DataFrame(rows)


EXAMPLES: dict[str, Callable[[Callable[..., Drawn]], Drawn]] = {
    "adam.split_step": lambda f: f(
        descend([("l2", 0.01)], (10_000, 10_001), (1.0, 0.01), steps=100), (1.0, 0.01), 0.01, "l2"
    ),
    "adam.paths": lambda f: f({"l2": {"one": path(9), "two": path(9) / 2}}),
    "adam.drowning": lambda f: f({"l2": path(4, 2), "decoupled": path(4, 2) / 2}, (1.0, 0.1), {"l2": [1.25, 0.375]}),
    "arms.gains": lambda f: f({"early": [0.031, 0.036], "copy": [0.022, 0.029]}, "early"),
    "convex.trajectories": lambda f: f(
        Quadratic(torch.eye(2).double(), torch.ones(2).double()), {"l2": path(9, 2)}, {"rest": torch.tensor([0.5, 0.7])}
    ),
    "convex.lines": lambda f: f({"left": {"one": path(9)}}, "norm"),
    "convex.traces": lambda f: f({"trace": {20: path(3), 50: path(3) / 2}}),
    "data.noise_map": lambda f: f({"small": swept(*(of(RUN, label_noise=noise) for noise in (0.0, 0.5)))}),
    "data.set_sizes": lambda f: f(swept(*(of(RUN, train_size=size) for size in (100, 200)))),
    "data.kinds": lambda f: f({"as it is": swept(RUN), "two classes": swept(of(RUN, classes=2))}),
    "data.growth": lambda f: f({"clean": followed([replace(RUN, schedule=Schedule("constant"))])}),
    "grids.heat_maps": lambda f: f(a_grid()),
    "grids.best_scores": lambda f: f({"exact match": a_grid()}),
    "grids.best_lambdas": lambda f: f(a_grid()),
    "grids.shares": lambda f: f(a_grid()),
    "rl.learning_curves": lambda f: f(played(), scored(played()), played().runs[0].task),
    "rl.middle_means": lambda f: f(a_grid(), DQN()),
    "rl.shrinking": lambda f: f({"agent": gradients(playing("ci"), 3, 5), "other": gradients(RUN, 3, 2)}),
    "scale.overlaid": lambda f: f({"one": path(9), "two": -path(9)}, "Title", "k", "y"),
    "scale.approach": lambda f: f({"start": Walk(path(40, 1, 1), path(40, 1, 1) / 40)}, FORM, "A walk"),
    "scale.equilibria": lambda f: f(pd.DataFrame(EQUILIBRIA)),
    "scale.turning": lambda f: f(
        {"weight_0": Turning(path(60, 2), path(60, 2) / 40, path(60, 2))}, {"weight_0": FORM}, "A network"
    ),
    "sharpness.scales": lambda f: f({"falls": [4.2, 1.0, 0.27], "stays": [7.1, 7.2, 7.3]}, [0.5, 1, 2]),
    "sharpness.scatter": lambda f: f({"The norm": (measured_nets(), "weight_norm")}),
    "sharpness.taus": lambda f: f({"all": measured_nets()}, ["weight_norm"]),
    "sketch.sketch": lambda f: f(
        "Draw it.", [0, 0.5, 1], [1.25, 2.5, 3.75], 0.3, (0, 5), measured=([0, 1], [1.5, 2.875])
    ),
    "sketch.calibration": lambda f: f([0.55, 0.58, 0.93], [1, 0, 1]),
    "timing.curves": lambda f: f(timed(Timing.never(), Timing.always())),
    "timing.ends": lambda f: f(timed(Timing.never(), Timing.always())),
    "timing.critical_period": lambda f: f(windows("until"), windows("since")),
    "timing.lines": lambda f: f(CURVES, "Title", "x", "y"),
    "tuning.budgets": lambda f: f({"vision": search(a_grid(), [1, 2, 8])}),
    "tuning.by_coupling": lambda f: f({"vision": widths(a_grid())}, "share", "share of the grid"),
    "tuning.trials_map": lambda f: f(
        pd.DataFrame({"lr": [0.1, 0.1], "place": [1, 2], "score": [0.613, 0.527], "trial": [1.0, 2.0]}), "A grid"
    ),
    "tuning.two_labels": lambda f: f({"plain SGD": a_grid()}),
    "verdicts.forest": lambda f: f([a_claim().check()]),
}
"""One call a figure, on small data with uneven numbers; a new figure needs a line here."""


@cache
def example(name: str) -> Drawn:
    return EXAMPLES[name](FIGURES[name])


def values(drawn: Drawn) -> np.ndarray:
    """Every number in a figure's data, its index included."""
    columns = drawn.data.reset_index().select_dtypes("number")
    found = columns.to_numpy(dtype=float).ravel()
    return found[np.isfinite(found)]


def holds(found: np.ndarray, said: str) -> bool:
    """Whether a number as it is printed is one of the data, or the mean of a column of them."""
    text = said.rstrip("%").replace("−", "-").replace(",", "")
    scale = 100 if said.endswith("%") else 1
    mantissa, _, power = text.partition("e")
    last = 10.0 ** (int(power or 0) - len(mantissa.partition(".")[2]))
    return bool((np.abs(scale * np.abs(found) - abs(float(text))) <= 0.501 * last).any())


def test_no_figure_is_missing_here() -> None:
    missing = set(FIGURES) - set(EXAMPLES)
    assert not missing, f"add an example of {', '.join(sorted(missing))} to EXAMPLES, so that its words are tested"
    assert len(FIGURES) > 15


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_the_words_hold_the_numbers(name: str) -> None:
    drawn = example(name)
    said = NUMBER.findall(drawn.alt)
    found = np.append(values(drawn), drawn.data.select_dtypes("number").mean().to_numpy(dtype=float))
    assert drawn.alt.endswith(".") and len(drawn.alt.split()) > 5
    assert said and sum(holds(found, one) for one in said) >= min(2, len(said)), f"{said} of {drawn.alt!r}, not in data"


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_what_is_drawn_stands_out_from_the_paper(name: str) -> None:
    drawn = example(name)
    assert to_hex(drawn.figure.get_facecolor()) == BACKGROUND
    for axes in drawn.figure.axes:
        for line in axes.lines:
            if seen(line):
                assert contrast(to_hex(line.get_color()), BACKGROUND) >= 3, line
        texts = [*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label]
        assert all(contrast(to_hex(text.get_color()), BACKGROUND) >= 4.5 for text in texts if text.get_text())


def seen(line: Line2D) -> bool:
    """Whether a line is drawn in full colour: the faint ones, single seeds, are there for texture."""
    return (line.get_alpha() or 1.0) == 1.0 and line.get_linestyle() != "None"


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_lines_of_one_panel_differ_in_more_than_colour(name: str) -> None:
    for axes in example(name).figure.axes:
        named = [line for line in axes.lines if not line.get_label().startswith("_") and seen(line)]
        looks = [
            (line.get_marker(), line.get_linestyle(), line.get_linewidth(), line.get_markersize()) for line in named
        ]
        assert len(set(looks)) == len(looks), f"{name}: lines that only their colour tells apart"


def test_numbers_are_found_as_they_are_printed() -> None:
    found = np.array([0.1234, 56.78])
    assert holds(found, "0.123") and holds(found, "12.3%") and holds(found, "56.8") and holds(found, "5.68e+01")
    assert not holds(found, "0.124") and not holds(found, "56.7")
