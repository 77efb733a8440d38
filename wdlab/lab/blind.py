"""Tune it yourself: a few trials under a hidden coupling, then a guess which it was, then the reveal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import pandas as pd
import torch

from wdlab.checks import known, number
from wdlab.figures.tuning import trials_map
from wdlab.grids import cells, of
from wdlab.lab.controls import alarm, button, labelled, line, picture, row, stack, toggles, unseen
from wdlab.lab.instant import Instant
from wdlab.lab.scores import blind, brier
from wdlab.tuning import expected_best

TRIALS = 8
COUPLINGS = ("l2", "decoupled", "adaptive")
Cell = tuple[float, int]
"""A learning rate and the place of lambda among those of the hidden coupling, 1 the smallest."""


@dataclass(frozen=True)
class Game:
    """How far a game is: the cells that were tried, in order, and the guess that ends it ("" before)."""

    tried: tuple[Cell, ...] = ()
    guess: str = ""
    confidence: float = 0.0


class BlindTuning(Instant):
    """A grid whose coupling is hidden: try some cells, see the score of each, guess which coupling it was.

    `runs` is a table of `wdlab.grids.tabulate`, of which a cell's score is the mean over seeds; nothing is trained.
    `generator` draws one of `couplings`. Lambdas are told by their place, from the smallest, because their values would
    give the coupling away. There are `trials` trials, or as many as there are cells. The guess is scored by Brier's
    score, the tuning against the expected best of as many random cells. From code: `try_cell(lr, place)`,
    `guess(coupling, confidence)`. The cell that shows it also keeps its picture. Raises ValueError for couplings that
    are not in `runs`, and for what is not allowed.
    """

    def __init__(
        self, runs: pd.DataFrame, generator: torch.Generator, couplings: Sequence[str] = COUPLINGS,
        trials: int = TRIALS, label: str = "score",
    ) -> None:  # fmt: skip
        if len(couplings) < 2:
            raise ValueError(f"couplings={couplings!r} is not allowed; give two or more to guess from.")
        grids = {coupling: _placed(of(runs, coupling)) for coupling in couplings}
        self.couplings, self.label = tuple(couplings), label
        self._hidden = self.couplings[int(torch.randint(len(couplings), (), generator=generator))]
        self._cells = grids[self._hidden].set_index(["lr", "place"])
        self.trials = min(trials, len(self._cells))
        self.setting = Game()
        self._make_widgets()
        self._follow()
        self._redraw()

    def try_cell(self, lr: float, place: int) -> None:
        """Spend a trial on a cell. Raises ValueError, and says so, for one that is not there, twice, or too many."""
        self.turn(tried=(*self.setting.tried, (lr, place)))

    def guess(self, coupling: str, confidence: float) -> None:
        """Say which coupling it was, and how sure you are; the game ends. Raises ValueError for what is not allowed."""
        self.turn(guess=coupling, confidence=confidence)

    @property
    def over(self) -> bool:
        """Whether the guess was made."""
        return bool(self.setting.guess)

    def _turned(self, setting: Game, dials: Mapping[str, Any]) -> Game:
        if setting.guess:
            raise ValueError(
                f"{', '.join(dials)} comes too late: the coupling is revealed. Run the cell for a new game."
            )
        made: Game = super()._turned(setting, dials)
        for lr, place in made.tried:
            if (lr, place) not in self._cells.index:
                raise ValueError(f"lr={lr!r}, place={place!r} is not in the grid; {self._where()}.")
        if len(set(made.tried)) < len(made.tried):
            raise ValueError(f"lr={made.tried[-1][0]:g}, place={made.tried[-1][1]} was tried already; choose another.")
        if len(made.tried) > self.trials:
            raise ValueError(f"there are {self.trials} trials and all are spent; guess the coupling.")
        if made.guess:
            known("coupling", made.guess, self.couplings)
            number("confidence", made.confidence, 1 / len(self.couplings), 1)
        return made

    def _where(self) -> str:
        lrs, places = (sorted(set(self._cells.index.get_level_values(axis))) for axis in ("lr", "place"))
        return f"give lr one of {', '.join(f'{lr:g}' for lr in lrs)} and place from 1 to {places[-1]}"

    # Widgets

    def _make_widgets(self) -> None:
        many = len(set(self._cells.index.get_level_values("place")))
        self.buttons: dict[Cell, Any] = {}
        for lr, place in sorted(self._cells.index, key=lambda cell: (-cell[0], cell[1])):
            self.buttons[lr, place] = made = button(f"lr {lr:g}, λ {place}")
            made.on_click(lambda _, lr=lr, place=place: self._tries(lr, place))
        board = widgets.GridBox(
            list(self.buttons.values()),
            layout=widgets.Layout(grid_template_columns=f"repeat({many}, minmax(0, 1fr))", max_width="720px"),
        )
        self._make_guess()
        self.image, self.status, self.words = picture(b"", "660px"), widgets.HTML(), widgets.HTML()
        asked = labelled(board, "Spend a trial", f"on a cell; λ 1 is the smallest of {many}")
        guess = row([*self._asked, self.button], align_items="flex-end", grid_gap="0 24px")
        self._root = stack([asked, self.image, self.status, guess, self.words], max_width="760px", min_width="0")

    def _make_guess(self) -> None:
        least = 1 / len(self.couplings)
        self.dials: dict[str, Any] = {
            "guess": toggles([(one, one) for one in self.couplings], None),
            "confidence": widgets.FloatSlider(
                value=(1 + least) / 2, min=least, max=1.0, step=(1 - least) / 10, readout_format=".0%",
                continuous_update=False, layout=widgets.Layout(width="auto", min_width="220px"),
            ),
        }  # fmt: skip
        self.button = button("Guess", icon="lock")
        self.button.on_click(lambda _: self._guesses())
        self._asked = [
            labelled(self.dials["guess"], "Which coupling is it?"),
            labelled(self.dials["confidence"], "How sure are you?", f"from {least:.0%}, a guess"),
        ]

    def _tries(self, lr: float, place: int) -> None:
        with suppress(ValueError):  # it is said below the picture
            self.try_cell(lr, place)

    def _guesses(self) -> None:
        if self.dials["guess"].value is None:
            self.status.value = alarm("Choose a coupling first.")
            return
        with suppress(ValueError):
            slider = self.dials["confidence"]
            self.guess(self.dials["guess"].value, min(max(slider.value, slider.min), slider.max))

    def _set_dials(self) -> None:
        spent = len(self.setting.tried) == self.trials
        for cell, made in self.buttons.items():
            tried = cell in self.setting.tried
            made.disabled = tried or spent or self.over
            if tried:
                made.description = f"lr {cell[0]:g}, λ {cell[1]}: {self._cells['score'][cell]:.3f}"
        if self.over:
            self.dials["guess"].value = self.setting.guess
            self.dials["confidence"].value = self.setting.confidence
        for part in (*self.dials.values(), self.button):
            part.disabled = self.over

    # The picture

    def _table(self) -> pd.DataFrame:
        """The cells as the learner knows them: a score where it was tried, and everywhere once the game is over."""
        trial = {cell: place for place, cell in enumerate(self.setting.tried, start=1)}
        table = self._cells.assign(trial=[trial.get(cell, math.nan) for cell in self._cells.index])
        hidden = table["trial"].isna() & (not self.over)
        return table.assign(score=table["score"].mask(hidden)).reset_index()

    def _redraw(self) -> None:
        told = self._table()
        self.data = told if self.over else told.drop(columns="weight_decay")
        title = f"The coupling was {self._hidden}" if self.over else "A hidden coupling"
        drawn = trials_map(self.data, title, self.label)
        self.told = self._revealed() if self.over else self._so_far()
        self.alt = f"{drawn.alt} {self.told}"
        self.image.value = self._png = drawn.png()
        self.words.value = unseen(self.alt)
        self.status.value = line(self.told, role="status")

    def _so_far(self) -> str:
        left = self.trials - len(self.setting.tried)
        if not self.setting.tried:
            return f"{left} trials. Tune as well as you can, and find out which coupling it is."
        best = max(self.setting.tried, key=lambda cell: self._cells["score"][cell])
        found = f"Your best: {self.label} {self._cells['score'][best]:.3f} at lr {best[0]:g}, λ {best[1]}."
        rest = "No trial is left: guess." if not left else f"{left} {'trial is' if left == 1 else 'trials are'} left."
        return f"{found} {rest}"

    def _revealed(self) -> str:
        game, scores = self.setting, self._cells["score"]
        options = len(self.couplings)
        score = brier(game.guess, game.confidence, self._hidden, options)
        right = "right" if game.guess == self._hidden else "wrong"
        strengths = sorted(set(self._cells["weight_decay"]))
        told = (
            f"It was {self._hidden}, with λ from {strengths[0]:g} to {strengths[-1]:g}; {game.guess} is {right}. Brier "
            f"score {score:.2f} at {game.confidence:.0%} (0 is best, blind guessing gives {blind(options):.2f})."
        )
        if not game.tried:
            return told
        many, best = len(game.tried), max(scores[cell] for cell in game.tried)
        by_chance = expected_best(scores.tolist(), many, replace=False)
        return (
            f"{told} Your best of {many}: {best:.3f}. So many random cells would expect {by_chance:.3f}; the best of "
            f"all {len(scores)} is {scores.max():.3f}."
        )


def _placed(runs: pd.DataFrame) -> pd.DataFrame:
    """The cells of one coupling: lr, weight_decay, score, and the place of lambda from the smallest, 1."""
    found = cells(runs)[["lr", "weight_decay", "score"]]
    return found.assign(place=found["weight_decay"].rank(method="dense").astype(int))
