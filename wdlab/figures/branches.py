"""A run that is forked: what it measured before the fork, and what each branch measured after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from wdlab.figures.drawn import Drawn
from wdlab.figures.style import FAINT, INK, looks, name, panels
from wdlab.figures.timing import CURVE_TITLES, LOGARITHMIC

if TYPE_CHECKING:
    from wdlab.train import History

ALONE = "before the fork"
SHOWN = ("weight_norm", "effective_lr", "test_error")


def branches(histories: Mapping[str, History], at: float, steps: int, title: str) -> Drawn:
    """Draw norm, effective lr and test error of branches that part at the share `at` of a run of `steps` steps.

    `histories` maps the name of a branch to all it has measured, the time before the fork included.
    """
    figure, axes = panels(len(SHOWN), width=3.6, height=3.3)
    cut = at * steps
    for panel, curve in zip(axes, SHOWN, strict=True):
        panel.axvline(cut, color=FAINT, linestyle=":", linewidth=1.5)
        panel.set_xlim(0, steps)
        for (label, history), look in zip(histories.items(), looks(list(histories)), strict=False):
            shared = [step for step in history.steps if step <= cut]
            points = list(zip(history.steps, history.curves[curve], strict=True))
            panel.plot(*_unzip(points[: len(shared)]), color=INK, linewidth=2)
            panel.plot(*_unzip(points[max(len(shared) - 1, 0) :]), label=label, markevery=0.2, markersize=4, **look)
        name(panel, CURVE_TITLES[curve], "step", "")
        if curve in LOGARITHMIC:
            panel.set_yscale("log")
    if histories:
        axes[0].legend(frameon=False, fontsize=9)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return Drawn(figure, _alt(histories, at, title), _data(histories))


def _unzip(points: list[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _data(histories: Mapping[str, History]) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"branch": label, "step": history.steps, **{curve: history.curves[curve] for curve in SHOWN}})
        for label, history in histories.items()
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["branch", "step", *SHOWN])


def _alt(histories: Mapping[str, History], at: float, title: str) -> str:
    if not histories:
        return "Three empty panels: weight norm, effective learning rate, test error."
    ends = "; ".join(
        f"{label}: " + ", ".join(f"{curve.replace('_', ' ')} {history.curves[curve][-1]:.3g}" for curve in SHOWN)
        for label, history in histories.items()
    )
    return f"{title}. Curves of weight norm, effective learning rate and test error; at the last reading, {ends}."
