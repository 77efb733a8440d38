"""Runs that have a past in common train it once and part where their weight decay does.

Under first(0.1) and first(0.5) a seed's net is the same net for a tenth of the run: as long as two runs that differ in
nothing but their tables of lambda read the same entries, one training serves both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from wdlab.decay import Timing
from wdlab.run import Match, Run


@dataclass(frozen=True)
class Stretch:
    """Until step `stop` only `runs` train; run k of them goes on from run `of[k]` of the stretch before."""

    stop: int
    runs: tuple[Run, ...]
    of: tuple[int, ...]


def stretches(runs: Sequence[Run]) -> list[Stretch]:
    """Return how to train `runs`, members of one batch, so that no common past is trained twice; all end in the last.

    Runs that copy from one another train apart, and so do agents, each of which has a game and chance of its own.
    """
    steps, numbers = runs[0].steps, range(len(runs))
    if runs[0].task.acts or any(run.match != Match() for run in runs):
        return [Stretch(steps, tuple(runs), tuple(numbers))]
    together = _together(runs)
    stops = sorted({stop for row in together for stop in row if 0 < stop < steps} | {steps})
    # For every stretch and run, the first run whose training is also its own until the stretch ends.
    firsts = [[next(i for i in numbers if together[i][k] >= stop) for k in numbers] for stop in stops]
    plan, before = [], list(numbers)
    for stop, first in zip([*stops, steps], [*firsts, numbers], strict=True):
        kept = sorted(set(first))
        plan.append(Stretch(stop, tuple(runs[k] for k in kept), tuple(before[k] for k in kept)))
        before = [kept.index(k) for k in first]
    return plan if len(plan[-2].runs) < len(runs) else plan[:-1]


def _together(runs: Sequence[Run]) -> list[list[int]]:
    """For every pair of runs, how many steps they have in common."""
    tables = [run.decay.strength * run.decay.timing.table(run.steps) for run in runs]
    plain = [replace(run, decay=replace(run.decay, strength=0.0, timing=Timing.never())) for run in runs]
    rows = [[0] * len(runs) for _ in runs]
    for i, one in enumerate(plain):
        for k in range(i, len(runs)):
            if one == plain[k]:
                rows[i][k] = rows[k][i] = _common(tables[i], tables[k])
    return rows


def _common(one: Tensor, other: Tensor) -> int:
    differ = (one != other).nonzero()
    # One step less, for what is read after a step tells of the lambda of the step to come.
    return max(int(differ[0]) - 1, 0) if len(differ) else len(one)
