"""The Translator: a grid of nets that translate number words; choose a cell, type a number, hear what its nets say."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import ipywidgets as widgets

from wdlab.data.number_words import ENGLISH, GERMAN, LIMIT
from wdlab.lab.controls import alarm, labelled, line, stack
from wdlab.lab.explorer import Explorer
from wdlab.lab.grid import Grid
from wdlab.sweeps import Results
from wdlab.tasks import translate
from wdlab.train import History

START = "siebenundvierzig"
DIGITS = 80  # as many as are read, leading zeros among them


class Translator(Explorer):
    """An Explorer over a grid of transformers, with a line to type a German number below a million into.

    It may be typed in words or in digits; in digits it is known which answer is right, and said. `results` are those
    of `sweep(runs, networks=True)` over lr, lambda, coupling and seed, and the rest of the arguments are those of
    `Grid` and its first setting. `heard` holds what each net of the cell said, by seed. Raises ValueError for results
    without nets.
    """

    def __init__(
        self, results: Results, metric: str = "test_accuracy", curve: str = "test_loss", text: str = START,
        **setting: Any,
    ) -> None:  # fmt: skip
        missing = sum(history.network is None for history in results.histories)
        if missing:
            raise ValueError(f"results lack the nets of {missing} runs; train them by sweep(runs, networks=True).")
        self._nets: dict[tuple[str, float, float], list[History]] = {}
        for history in results.histories:
            run = history.run
            key = (run.decay.coupling, run.optimizer.lr, run.decay.strength)
            self._nets.setdefault(key, []).append(history)
        self.text, self.heard = text, dict[int, str]()
        super().__init__(Grid(results, metric, curve=curve), **setting)

    def say(self, text: str) -> None:
        """Translate `text` from code. Raises ValueError, and says so below the line, for what is no German number."""
        self.text = text
        words, self.heard = "", {}
        try:
            words = in_german(text)
            self._translate(words)
        except ValueError as error:
            self.answer.value = alarm(str(error))
            raise
        self.answer.value = "".join(line(told) for told in self._answers(words))

    def _make_widgets(self) -> None:
        super()._make_widgets()
        layout = widgets.Layout(width="100%", max_width="520px")
        self.typed = widgets.Text(value=self.text, continuous_update=False, layout=layout)
        self.typed.observe(self._on_typed, "value")
        self.answer = widgets.HTML()
        asked = labelled(self.typed, "A German number", "in words or digits, below a million; then Enter")
        self._root = stack([self._root, asked, self.answer], width="100%")

    def _redraw(self) -> None:
        super()._redraw()
        self._on_typed({"new": self.text})  # the nets of another cell hear the same words

    def _on_typed(self, change: Mapping[str, Any]) -> None:
        with suppress(ValueError):  # it is said below the line; a kernel that prints it too would help nobody
            self.say(change["new"])

    def _cell(self) -> list[History]:
        found = self._nets.get((self.setting.coupling, self.setting.lr, self.setting.weight_decay), [])
        return sorted(found, key=lambda history: history.run.seed)

    def _translate(self, words: str) -> None:
        alive = [history for history in self._cell() if history.diverged_at is None]
        networks = [history.network for history in alive if history.network is not None]
        said = translate(networks, words)
        self.heard = {history.run.seed: text for history, text in zip(alive, said, strict=True)}

    def _answers(self, words: str) -> list[str]:
        """One line a net: what it said, and where that is known, whether it is right."""
        right = ENGLISH.spell(int(self.text)) if self.text.strip().isdecimal() else ""
        told = [f"{words} is {right}." if right else f"{words}:"]
        for history in self._cell():
            seed = history.run.seed
            if history.diverged_at is not None:
                told.append(f"seed {seed}: diverged at step {history.diverged_at}, it says nothing")
                continue
            mark = "" if not right else (", right" if self.heard[seed] == right else ", wrong")
            told.append(f"seed {seed}: {self.heard[seed] or 'nothing'}{mark}")
        return told


def in_german(text: str) -> str:
    """Return the German words of a number in digits; any other text as it is.

    Raises ValueError for digits of a million or more.
    """
    plain = text.strip()
    if not plain.isdecimal():
        return text
    if len(plain) > DIGITS or int(plain) >= LIMIT:  # Python itself reads no number of thousands of digits
        raise ValueError(f"text={text!r:.80} is not allowed; give a number below a million.")
    return GERMAN.spell(int(plain))
