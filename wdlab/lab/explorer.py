"""The Explorer: sliders over results that are there already; every turn answers at once, and nothing is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import ipywidgets as widgets
import pandas as pd

from wdlab.lab.controls import labelled, line, picture, row, stack, unseen
from wdlab.lab.instant import Instant
from wdlab.run import Run
from wdlab.store import Store
from wdlab.sweeps import Results, settings


@dataclass(frozen=True)
class Seen:
    """What a view shows at one setting: the picture, its data, its title, and what it says in words."""

    png: bytes
    data: pd.DataFrame
    title: str
    told: str


@dataclass(frozen=True)
class Dial:
    """A control of a view, with the label and the hint that a learner sees."""

    widget: Any
    label: str
    hint: str = ""


class View(Protocol):
    """What an Explorer can show: `CriticalPeriod`, `Grid`, or anything that does these five things."""

    def start(self) -> Any:
        """Return the first setting, a frozen dataclass with one field a dial."""

    def dials(self) -> dict[str, Dial]:
        """Return the controls by the names of the setting's fields."""

    def offered(self, setting: Any) -> Mapping[str, Sequence[tuple[str, float]]]:
        """Return what sliders offer, for those of which it depends on the other dials."""

    def turned(self, setting: Any, dials: Mapping[str, Any]) -> Any:
        """Return the setting with some dials turned; raises ValueError for what is not allowed."""

    def see(self, setting: Any) -> Seen:
        """Return what there is to see."""


class Explorer(Instant):
    """Sliders over finished runs: the point of a curve or the cell of a grid, with the runs it is made of.

    Give a view, `CriticalPeriod(until, since)` or `Grid(results)`, and a first setting by the names of its dials.
    `data` holds the numbers of the picture, `alt` says them in words; the cell that shows an Explorer also keeps its
    picture. Raises ValueError for what is not allowed.
    """

    def __init__(self, view: View, **setting: Any) -> None:
        self.view = view
        self.setting = view.turned(view.start(), setting)
        self._make_widgets()
        self._follow()
        self._redraw()

    def _make_widgets(self) -> None:
        shown = self.view.dials()
        self.dials: dict[str, Any] = {key: dial.widget for key, dial in shown.items()}
        self.status, self.words = widgets.HTML(), widgets.HTML()
        self.image = picture(b"", "720px")
        for dial in self.dials.values():
            dial.observe(self._on_change, "value")
        asked = [labelled(dial.widget, dial.label, dial.hint) for dial in shown.values()]
        left = stack(asked, flex="1 1 230px", min_width="0")
        right = stack([self.image, self.status, self.words], flex="3 1 460px", max_width="720px", min_width="0")
        self._root = row([left, right], align_items="flex-start", width="100%")

    def _on_change(self, change: Mapping[str, Any]) -> None:
        if not self._following:
            turned = next(key for key, dial in self.dials.items() if dial is change["owner"])
            self.turn(**{turned: change["new"]})

    def _turned(self, setting: Any, dials: Mapping[str, Any]) -> Any:
        return self.view.turned(setting, dials)

    def _set_dials(self) -> None:
        offered = self.view.offered(self.setting)  # what a slider offers may depend on the others
        for key, dial in self.dials.items():
            if key in offered and tuple(dial.options) != tuple(offered[key]):
                dial.options = offered[key]
            dial.value = getattr(self.setting, key)

    def _redraw(self) -> None:
        seen = self.view.see(self.setting)
        self.data, self.told = seen.data, seen.told
        self.alt = f"{seen.title}. {seen.told}"
        self.image.value = self._png = seen.png
        self.words.value = unseen(self.alt)
        self.status.value = line(self.told, role="status")


def check_alone(results: Results, axes: Sequence[str]) -> None:
    """Raise ValueError, naming what it is, where runs differ in more than the settings `axes`, or one comes twice."""
    told = pd.DataFrame([settings(run) for run in results.runs])
    more = [column for column in told.columns if column not in axes and told[column].nunique() > 1]
    if more:
        raise ValueError(f"results differ in {', '.join(more)}, too; give runs that differ in {', '.join(axes)} alone.")
    if told.duplicated(list(axes)).any():
        raise ValueError(f"results hold a run twice; give one for each {', '.join(axes)}.")


def stored(runs: Iterable[Run], store: Store | None = None) -> Results:
    """Return the results of `runs` as the store holds them, training nothing.

    Raises ValueError, saying how many are missing, when the store does not hold them all.
    """
    kept, asked = store or Store.default(), list(runs)
    found = [kept.get(run) for run in asked]
    histories = tuple(replace(one, run=run) for one, run in zip(found, asked, strict=True) if one is not None)
    if len(histories) < len(asked) or not asked:
        missing = f"{len(asked) - len(histories)} of {len(asked)} runs are not in the store"
        raise ValueError(f"runs is not allowed: {missing}; train them first with wdlab.sweep(runs).")
    return Results(histories)
