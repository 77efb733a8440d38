"""Claims of chapter 09: couplings of weight decay over a grid of learning rates and lambdas, in DQN."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
import torch

from wdlab.checks import known
from wdlab.claims.chapter08 import PAPER, surplus, weakest
from wdlab.claims.claim import SCALES, Claim, Level, Measure, Setting
from wdlab.grids import NONE, good_shares, grid, of, tabulate
from wdlab.run import Model, Optimizer, Run, Schedule
from wdlab.stats import interval
from wdlab.sweeps import Results, sweep
from wdlab.tasks import DQN, GAMES
from wdlab.train import History, Training

EPS = 1.5e-4
"""One eps for all couplings, that of Dopamine's DQN under Adam."""
LAMBDAS = (1e-5, 1e-4, 1e-3, 1e-2)
STRENGTHS: dict[str, tuple[float, ...]] = {
    NONE: (0.0,),
    "l2": LAMBDAS,
    "decoupled": (1e-3, 1e-2, 0.1, 1.0),
    "adaptive": LAMBDAS,
}
"""As many powers of ten for each coupling; on seeds from 10,000 on the fourth spoils every one of them."""
RATES = {"adam": (1e-3, 3e-3), "paper, adam": (2e-5, 6.25e-5, 2e-4), "paper, rmsprop": (8e-5, 2.5e-4, 8e-4)}
"""Learning rates; at paper scale Dopamine's own, and half a power of ten to either side."""
DOPAMINE = {
    "adam": Optimizer("adam", 6.25e-5, eps=EPS),
    "rmsprop": Optimizer("rmsprop", 2.5e-4, betas=(0.0, 0.95), eps=1e-5),
}
"""The two configurations that Dopamine publishes for DQN, its agents in JAX and in TensorFlow: centered RMSProp there.
Which of the two the paper used is not known."""
HALF = (0.0, 0.5)
"""The part of a run in which decay's share of the steps is read, as in chapter 08."""
WITHIN = 0.1
"""How far below the best a cell may lie and still be good, in shares of what there is to be had: 50 of CartPole's 500
points. Twice as far as in translation, for returns vary more from seed to seed."""


def playing(scale: str) -> Run:
    """Return the run chapter 09 rests on: DQN on CartPole, at `scale` paper on Atari's Breakout (`atari`)."""
    adam, constant = Optimizer("adam", 1e-3, eps=EPS), Schedule("constant")
    if scale == "paper":
        return dopamine("adam")
    if scale == "ci":
        little = replace(GAMES["cartpole"], frames=500, warmup=100, epsilon_frames=100, test_size=2)
        return Run(little, Model("mlp", 16, 2, norm=False), adam, constant, evaluations=4)
    return Run(GAMES["cartpole"], Model("mlp", 64, 2, norm=False), adam, constant, evaluations=8)


def dopamine(optimizer: str, game: str = "Breakout") -> Run:
    """Return DQN on an Atari game as Dopamine publishes it under `optimizer`, "adam" or "rmsprop", without decay.

    The game is our choice; the paper's are not known. Two things differ: Dopamine's agent under Adam has the squared
    loss by default and ours Huber's, which clips the errors and so changes how large gradients are beside decay; and
    TensorFlow's RMSProp begins with v = 1 where ours begins with 0 (`wdlab.decay.rmsprop_`).

    Raises ValueError for another optimizer, and as `atari` does.
    """
    made = DOPAMINE[known("optimizer", optimizer, DOPAMINE)]
    return Run(atari(game), Model("convnet", 32, 3, norm=False), made, Schedule("constant"))


def atari(game: str) -> DQN:
    """Return DQN on an Atari game with the settings of Dopamine's dqn.gin, the same under both optimizers.

    200 times 250,000 decisions. A replay of a million takes 57 GB for each member here,
    for observations are stored twice; give a smaller one by dataclasses.replace. best_return is ours, a round number in
    which scores are counted. Raises ValueError where ale-py is missing or does not know the game.
    """
    return DQN(
        f"atari_{game.lower()}", f"atari/{game}", frames=50_000_000, warmup=20_000, replay=1_000_000, batch_size=32,
        train_every=4, target_sync=2000, epsilon=0.01, epsilon_frames=250_000, epsilon_test=0.001, clip=True,
        test_size=10, best_return=100.0,
    )  # fmt: skip


def proving(scale: str) -> list[Run]:
    """Return both of `dopamine`'s agents for few decisions, with a small replay: the path is tried, nothing is learned.

    The game is Pong, in which a net that knows nothing soon loses; in Breakout it may wait for good.
    """
    frames, warmup, width = (120, 60, 4) if scale == "ci" else (1200, 600, 32)
    task = replace(atari("Pong"), frames=frames, warmup=warmup, replay=frames, target_sync=50, test_size=1)
    runs = [dopamine(name, "Pong") for name in DOPAMINE]
    return [replace(run, task=task, model=replace(run.model, width=width), steps=0, evaluations=1) for run in runs]


def breaking(scale: str) -> Run:
    """Return the same on MinAtar's Breakout, the miniature of Atari's."""
    net, adam = Model("convnet", 4 if scale == "ci" else 8, 1, norm=False), Optimizer("adam", 1e-3, eps=EPS)
    if scale == "ci":
        little = replace(GAMES["breakout"], frames=400, warmup=100, epsilon_frames=100, test_size=2)
        return Run(little, net, adam, Schedule("constant"), evaluations=2)
    return Run(GAMES["breakout"], net, adam, Schedule("constant"), evaluations=6)


def rates(scale: str, optimizer: str = "adam") -> tuple[float, ...]:
    """Return the learning rates of the grid under `optimizer`, of which RMSProp is there at paper scale alone."""
    return RATES[known("rates", f"paper, {optimizer}" if scale == "paper" else optimizer, RATES)]


def strengths(scale: str) -> dict[str, tuple[float, ...]]:
    """Return the lambdas of each coupling: powers of ten, at ci scale every other one."""
    return {name: some[1::2] if scale == "ci" and name != NONE else some for name, some in STRENGTHS.items()}


def over_the_grid(base: Run, scale: str, seeds: Sequence[int]) -> list[Run]:
    """Return `base` once a seed and cell of the grid: between any two only seed, lr, lambda and coupling differ."""
    return grid(base, strengths(scale), rates(scale, base.optimizer.name), seeds)


def few(base: Run, seeds: Sequence[int]) -> list[Run]:
    """Return `base` at its own lr without decay, and under each coupling with its third and its fourth lambda."""
    return grid(base, {name: some[-2:] for name, some in STRENGTHS.items()}, (base.optimizer.lr,), seeds)


def trained(runs: Sequence[Run], device: str = "cpu") -> Results:
    """Return the results of `runs` with their nets, for whoever wants to see them play."""
    return sweep(runs, device=device, networks=True)


def late(history: History) -> float:
    """Return the mean test_accuracy over the readings in the second half of a run: single readings of DQN are wild."""
    half = history.run.steps / 2
    errors = zip(history.steps, history.curves["test_error"], strict=True)
    return 1 - float(np.mean([error for step, error in errors if step > half]))


def scored(results: Results) -> pd.DataFrame:
    """Return the table of `wdlab.grids.tabulate` with `late` for its score; a run that diverged scores 0.

    One whose game raised in the second half scores NaN: that says nothing of the net.
    """
    table = tabulate(results, "test_accuracy", HALF)
    scores = pd.Series([late(history) for history in results.histories], index=table.index)
    return table.assign(score=scores.where(table["diverged_at"].isna(), 0.0))


def gradients(base: Run, readings: int = 10, window: int = 20, device: str = "cpu") -> pd.DataFrame:
    """Return how large the gradients of the loss are during `base`, and how many weights have next to none.

    A row for each of `readings` even parts of the run, over the first `window` steps of it: `step`, `size`, the root
    of the mean square gradient, and `still`, the share of weights whose own is below a hundredth of that.
    """
    training, rows = Training([base], device), []
    for part in range(readings):
        start = part * training.steps // readings
        if start > training.step:
            training.advance(start - training.step)
        squares = torch.zeros_like(training.gradient)
        for _ in range(window):
            training.advance()
            squares += training.gradient.square() / window
        size = squares.mean().sqrt()
        rows.append({"step": start, "size": size.item(), "still": (squares.sqrt() < size / 100).double().mean().item()})
    return pd.DataFrame(rows)


@lru_cache(maxsize=8)
def _table(setting: Setting) -> pd.DataFrame:
    runs = over_the_grid(playing(setting.scale), setting.scale, setting.seeds)
    return scored(trained(runs, setting.device))


def room(runs: pd.DataFrame, a: str, b: str = "l2") -> float:
    """Return which share of its cells coupling a has within WITHIN of the best of both, minus that of b."""
    found = good_shares(pd.concat([of(runs, a), of(runs, b)]), WITHIN)
    return found[a] - found[b]


def shifted(runs: pd.DataFrame, coupling: str, drop: str) -> pd.DataFrame:
    """Return the runs of `coupling` without its "smallest" or its "largest" lambda, or with `drop` = "none" all.

    Raises ValueError for another `drop`.
    """
    known("drop", drop, ("none", "smallest", "largest"))
    part = of(runs, coupling)
    strength = part["weight_decay"]
    left_out = {"none": math.nan, "smallest": strength.min(), "largest": strength.max()}[drop]
    kept: pd.DataFrame = part[strength != left_out]
    return kept


def room_by_window(runs: pd.DataFrame, a: str, b: str = "l2") -> pd.DataFrame:
    """Return `room` seed by seed with the lambdas of both couplings as they are, and each without one end or the other.

    One row a pair of windows: what each of the two leaves out, and `effect`, `low`, `high`, the mean over seeds with
    its interval. Where it depends on the window, so does the claim.
    """
    rows = []
    for first, second in (("none", "none"), *itertools.product(("smallest", "largest"), repeat=2)):
        part = pd.concat([shifted(runs, a, first), shifted(runs, b, second)])
        found = interval([room(one, a, b) for _, one in part.groupby("seed")])
        rows.append({a: first, b: second, "effect": found.mean, "low": found.low, "high": found.high})
    return pd.DataFrame(rows)


def spoiled_surplus(runs: pd.DataFrame, coupling: str) -> float:
    """Return decay's share of the steps in the cells that `coupling` spoils minus that in its best ones (`surplus`).

    A positive surplus is nearly built in, whatever makes the score fall: a spoiled cell is one of a larger lambda, and
    with lambda grows decay's share. So l2's alone says nothing about l2; only the comparison with that of decoupled
    decay does, which cannot drown the objective if the paper's story holds here.
    """
    return surplus(of(runs, coupling), WITHIN)


def told(of_runs: Callable[[pd.DataFrame], float], runs: pd.DataFrame) -> float:
    """Return what `of_runs` reads off the runs of one seed; NaN where there are none or one has no score.

    Of a run whose game raised there is none.
    """
    return math.nan if runs.empty or runs["score"].isna().any() else of_runs(runs)


def _seen(of_runs: Callable[[pd.DataFrame], float]) -> Measure:
    """What is read off the grid of each seed."""

    def measure(setting: Setting) -> list[float]:
        table = _table(setting)
        return [told(of_runs, table[table["seed"] == seed]) for seed in setting.seeds]

    return measure


def _levels(smallest: float) -> dict[str, Level]:
    return {scale: Level(seeds, smallest) for scale, seeds in zip(SCALES, (2, 10, 20, 5), strict=True)}


def _more_room(coupling: str, says: str) -> Claim:
    return Claim(
        f"{coupling}-keeps-more-room-in-rl",
        f"DQN on CartPole: over this grid, as many powers of ten of lambda and the same learning rates, {coupling} "
        "decay comes within 50 points of the best of both in more cells than an l2 penalty, by over 5% of the grid.",
        PAPER.format(says),
        f"of the cells, by which {coupling} decay has more within 50 points of the best of both",
        _seen(lambda runs: room(runs, coupling)),
        "the column of the smallest lambda, where there is hardly any decay to tune",
        _seen(lambda runs: room(weakest(runs), coupling)),
        _levels(0.05),
    )


CLAIMS = (
    Claim(
        "l2-drowns-in-rl",
        "DQN on CartPole: where an l2 penalty is so strong that it costs over 50 points of return, decay's share "
        "of the steps in the first half of training is larger than in the best cells of the same learning rates, by "
        "over 0.05.",
        PAPER.format("under an l2 penalty the l2 gradient can drown out the objective"),
        "share of the step that is decay's, in the cells that l2 spoils minus in the best ones",
        _seen(lambda runs: spoiled_surplus(runs, "l2")),
        "the same of decoupled decay, which never enters Adam's buffers and so should drown nothing",
        _seen(lambda runs: spoiled_surplus(runs, "decoupled")),
        _levels(0.05),
    ),
    _more_room("decoupled", "decoupled decay makes hyperparameters easier to tune"),
    _more_room("adaptive", "adaptivity itself is not the problem, and mixing is"),
)
