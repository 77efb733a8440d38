"""A tuning budget under one slider: what so many random trials are expected to reach under each coupling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ipywidgets as widgets
import pandas as pd

from wdlab.checks import known, whole
from wdlab.figures.tuning import budgets
from wdlab.lab.controls import toggles
from wdlab.lab.explorer import Dial, Seen


@dataclass(frozen=True)
class Setting:
    """What the dials say: the task, and how many random trials there are."""

    task: str
    trials: int = 8


class Budget:
    """A view for the Explorer: the expected score of the best of some random trials, under each coupling of a task.

    `searches` holds tables of `wdlab.tuning.search` by the name of the task, of the same budgets from 1 up. Dials:
    task, trials. Data have one row a coupling and budget. Raises ValueError for no tables, and for tables without
    budgets from 1 up.
    """

    def __init__(self, searches: Mapping[str, pd.DataFrame]) -> None:
        if not searches:
            raise ValueError("searches={} is not allowed; give a table of wdlab.tuning.search for each task.")
        self.searches = dict(searches)
        self.most = int(min(table["trials"].max() for table in self.searches.values()))
        for task, table in self.searches.items():
            if not set(range(1, self.most + 1)) <= set(table["trials"]):
                raise ValueError(f"searches[{task!r}] is not allowed; it lacks budgets between 1 and {self.most}.")

    def start(self) -> Setting:
        """Return the first task, with as many trials as a patient person makes."""
        return Setting(next(iter(self.searches)), min(8, self.most))

    def dials(self) -> dict[str, Dial]:
        """Return buttons for the task, and a slider for the number of trials."""
        first = self.start()
        slider = widgets.IntSlider(
            value=first.trials, min=1, max=self.most, continuous_update=False, layout=widgets.Layout(width="auto")
        )
        hint = f"1 to {self.most} cells, each drawn from the whole grid"
        return {
            "task": Dial(toggles([(task, task) for task in self.searches], first.task), "Task"),
            "trials": Dial(slider, "Random trials", hint),
        }

    def offered(self, setting: Setting) -> Mapping[str, Sequence[tuple[str, float]]]:
        """Return nothing: no dial depends on the other."""
        return {}

    def turned(self, setting: Setting, dials: Mapping[str, Any]) -> Setting:
        """Return the setting with some dials turned; raises ValueError for what is not allowed."""
        for dial in dials:
            known("dial", dial, ("task", "trials"))
        made = replace(setting, **dials)
        known("task", made.task, self.searches)
        whole("trials", made.trials, 1, self.most)
        return made

    def see(self, setting: Setting) -> Seen:
        """Return the curves of a task, with the budget marked, and what it buys in words."""
        drawn = budgets({setting.task: self.searches[setting.task]}, setting.trials)
        many = "1 random trial" if setting.trials == 1 else f"{setting.trials} random trials"
        title = f"{setting.task}: expected score of the best of {many}"
        return Seen(drawn.png(), drawn.data, title, self._told(setting, drawn.data))

    def _told(self, setting: Setting, data: pd.DataFrame) -> str:
        level = self.searches[setting.task]["level"].mean()
        curves = {str(coupling): part.set_index("trials") for coupling, part in data.groupby("coupling", sort=False)}
        rows: Any = data[data["trials"] == setting.trials].itertuples()
        here = ", ".join(f"{one.coupling} {one.score:.3f} ({one.low:.3f} to {one.high:.3f})" for one in rows)
        needed = ", ".join(f"{coupling} {self._needed(part['score'], level)}" for coupling, part in curves.items())
        many = "1 trial" if setting.trials == 1 else f"{setting.trials} trials"
        near = f"Trials needed to come within 5% of the best of all, {level:.3f}"
        return f"{many}: {here} (95% intervals). {near}: {needed}."

    def _needed(self, scores: pd.Series[float], level: float) -> str:
        """The first budget whose mean over seeds reaches the seeds' mean level."""
        enough = scores.index[scores >= level]
        return str(enough.min()) if len(enough) else f"more than {self.most}"
