"""Figures of chapter 09: learning curves, interquartile means, gradients that shrink, and the games themselves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from wdlab.figures.drawn import Drawn
from wdlab.figures.style import COLOURS, FAINT, INK, looks, name, panels
from wdlab.grids import NONE, cells, of
from wdlab.stats import interquartile
from wdlab.sweeps import Results
from wdlab.tasks import DQN


def learning_curves(results: Results, runs: pd.DataFrame, task: DQN) -> Drawn:
    """Draw the return during training at the best cell of each coupling: the median over seeds, and the middle half.

    `runs` is the table of `results`. A run that diverged counts as 0 from there on; one
    whose game raised says nothing and is left out, which the words count.
    """
    figure, (axes,) = panels(1, width=6.6, height=3.6)
    found, rows, out = cells(runs), [], 0
    couplings = list(dict.fromkeys(runs["coupling"]))
    for coupling, look in zip(couplings, looks(couplings), strict=False):
        best = of(found, coupling).sort_values("score", na_position="first").iloc[-1]
        part = of(runs, coupling)
        chosen = part[(part["lr"] == best["lr"]) & (part["weight_decay"] == best["weight_decay"])]
        histories = [one for place in chosen.index if (one := results.histories[place]).broken_at is None]
        out += len(chosen) - len(histories)
        if not histories:
            continue
        score = np.nan_to_num([[1 - error for error in h.curves["test_error"]] for h in histories])
        low, middle, high = task.points(np.quantile(score, [0.25, 0.5, 0.75], axis=0))
        frames = task.warmup + task.train_every * np.asarray(histories[0].steps)
        axes.plot(frames, middle, label=f"{coupling}, λ {best['weight_decay']:g}, lr {best['lr']:g}", **look)
        axes.fill_between(frames, low, high, color=look["color"], alpha=0.12, linewidth=0)
        read = zip(frames.tolist(), low, middle, high, strict=True)
        rows += [{"coupling": coupling, "frame": f, "low": a, "median": m, "high": b} for f, a, m, b in read]
    name(axes, "Return of the greedy policy, each at its best cell", "frames", "median and middle half")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    data = pd.DataFrame(rows)
    ends = data.groupby("coupling", sort=False).last()
    told = "; ".join(f"{c}: {r['median']:.1f} ({r['low']:.1f} to {r['high']:.1f})" for c, r in ends.iterrows())
    return Drawn(figure, f"Median return at the end and the middle half of the seeds. {told}.{_left_out(out)}", data)


def middle_means(runs: pd.DataFrame, task: DQN) -> Drawn:
    """Draw the interquartile mean return over lambda, a panel for each lr, with bootstrap intervals.

    A run without a score, for its game raised, is left out, which the words count.
    """
    rates, out = sorted(set(runs["lr"])), int(runs["score"].isna().sum())
    runs = runs.dropna(subset="score")
    figure, axes = panels(len(rates), width=4.4, height=3.4)
    couplings = sorted(dict.fromkeys(runs["coupling"]), key=lambda one: one == NONE)  # no decay comes last
    rows = []
    for panel, rate in zip(axes, rates, strict=True):
        for coupling, look in zip(couplings, looks(couplings), strict=False):
            part = of(runs, coupling)
            part = part[part["lr"] == rate]
            if part.empty:
                continue
            found = [
                (strength, interquartile([task.points(some["score"]).tolist()]))
                for strength, some in part.groupby("weight_decay")
            ]
            row = {"lr": rate, "coupling": coupling}
            rows += [row | {"weight_decay": s, "mean": e.mean, "low": e.low, "high": e.high} for s, e in found]
            _line(panel, coupling, found, look)
        panel.set_xscale("log")
        panel.set_ylim(bottom=0)
        name(panel, f"lr {rate:g}", "λ", "interquartile mean return" if panel is axes[0] else "")
    axes[-1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    data = pd.DataFrame(rows)
    told = "; ".join(f"{r.coupling}, lr {r.lr:g}, lambda {r.weight_decay:g}: {r.mean:.0f}" for r in data.itertuples())
    return Drawn(figure, f"Interquartile mean returns. {told}.{_left_out(out)}", data)


def _left_out(runs: int) -> str:
    return f" Left out, for the game raised: {runs} runs." if runs else ""


def _line(axes: Axes, coupling: str, told: list, look: dict) -> None:  # type: ignore[type-arg]
    """One coupling's means with their intervals; no decay, which has no lambda, is a level line."""
    if coupling == NONE:
        axes.axhline(told[0][1].mean, color=FAINT, linestyle=(0, (4, 2)), label="no decay")
        return
    strength, found = zip(*told, strict=True)
    reach = [[max(e.mean - e.low, 0) for e in found], [max(e.high - e.mean, 0) for e in found]]
    axes.errorbar(strength, [e.mean for e in found], yerr=reach, capsize=3, label=coupling, **look)


def shrinking(measured: Mapping[str, pd.DataFrame]) -> Drawn:
    """Draw the size of gradients relative to the beginning, and the share of weights that have next to none.

    `measured` holds the tables of `chapter09.gradients` by name.
    """
    figure, (left, right) = panels(2, width=4.6, height=3.3)
    rows = []
    for (label, table), look in zip(measured.items(), looks(list(measured)), strict=False):
        at, relative = table["step"] / table["step"].max(), table["size"] / table["size"].iloc[0]
        left.plot(at, relative, label=label, **look)
        right.plot(at, table["still"], label=label, **look)
        rows.append(table.assign(run=label, relative=relative))
    left.set_yscale("log")
    name(left, "Size of the gradients", "share of the run", "relative to its beginning")
    name(right, "Weights with next to no gradient", "share of the run", "share of all weights")
    left.legend(frameon=False, fontsize=9)
    told = "; ".join(
        f"{label}: size {t['size'].iloc[-1] / t['size'].iloc[0]:.2g} of its beginning, still {t['still'].iloc[-1]:.0%}"
        for label, t in measured.items()
    )
    return Drawn(figure, f"Gradients at the end of each run. {told}.", pd.concat(rows, ignore_index=True))


def draw_cartpole(axes: Axes, state: np.ndarray) -> None:
    """Draw one state of CartPole: the cart on its track, the pole at its angle; the game is lost at the two posts."""
    x, _, angle, _ = (float(value) for value in state)
    axes.axhline(0, color=FAINT, linewidth=1)
    for post in (-2.4, 2.4):
        axes.plot([post, post], [0, 0.25], color=COLOURS[4], linewidth=3)
    axes.bar(x, 0.25, width=0.6, bottom=-0.125, color=INK)
    axes.plot([x, x + np.sin(angle)], [0.1, 0.1 + np.cos(angle)], color=COLOURS[1], linewidth=6)
    axes.set(xlim=(-2.8, 2.8), ylim=(-0.3, 1.3), aspect="equal", xticks=[], yticks=[])


def draw_breakout(axes: Axes, state: np.ndarray) -> None:
    """Draw one state of MinAtar's Breakout: paddle, ball, its trail and the bricks."""
    axes.set(xlim=(-0.5, 9.5), ylim=(9.5, -0.5), aspect="equal", xticks=[], yticks=[])
    for channel, (colour, marker) in enumerate(zip(COLOURS[:4], ("s", "o", ".", "s"), strict=True)):
        rows, columns = np.nonzero(state[channel])
        axes.scatter(columns, rows, s=90, color=colour, marker=marker)
