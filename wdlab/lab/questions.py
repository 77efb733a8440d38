"""Questions to answer before the result exists: a choice, or a number; a curve to draw is in `wdlab.lab.sketch`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import ipywidgets as widgets

from wdlab.checks import known, number
from wdlab.figures.drawn import Drawn
from wdlab.lab.classroom import gathers
from wdlab.lab.controls import VIEW, alarm, labelled, line, row, stack
from wdlab.lab.scores import blind, brier, crps, crps_of_a_range, spread

NONE_MADE = "no prediction was made"
STOPS = 10  # of the confidence slider
LEAST, MOST = 0.1, 0.95  # confidences that a number may have: a normal distribution is never certain


class Question:
    """What all kinds of question share: text, confidence, the lock, the truth; a kind adds its answer and its score.

    `answer`, `confidence` and `truth` are None until they are given; `seen` is whether the class file has it.
    """

    kind = ""
    how = "Choose an answer, say how sure you are, then commit."
    offered = plain = ""
    offline = "Run the cell to answer, or use commit(name, answer, confidence)."
    commit: Callable[..., None]

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text
        self.answer: Any = None
        self.confidence: float | None = None
        self.truth: Any = None
        self.because = ""
        self.seen = False

    def _make_widgets(self, asked: Any, least: float, start: float, step: float, hint: str) -> None:
        """Put `asked`, the controls of the answer, above the confidence and the button."""
        most = 1.0 if self.kind == "choice" else MOST
        self.slider = widgets.FloatSlider(
            value=start,
            min=least,
            max=most,
            step=step,
            readout_format=".0%",
            continuous_update=False,
            layout=widgets.Layout(width="100%", max_width="420px"),
        )
        self.button = widgets.Button(description="Commit", icon="lock", layout=widgets.Layout(width="110px"))
        self.message = widgets.HTML()
        self.button.on_click(self._pressed)
        sure = labelled(self.slider, "How sure are you?", hint)
        self._root = stack([asked, sure, row([self.button]), self.message], max_width="700px", padding="4px 0")
        self._follow()

    @property
    def controls(self) -> list[Any]:
        """The widgets that give the answer."""
        raise NotImplementedError

    def given(self) -> Any:
        """Return what the controls say as arguments of `commit`; raises ValueError where that is no answer yet."""
        raise NotImplementedError

    def _pressed(self, _: object) -> None:
        try:
            arguments = self.given()
        except ValueError as error:
            self.message.value = alarm(str(error))
            return
        self.commit(arguments[0], min(max(self.slider.value, self.slider.min), self.slider.max), *arguments[1:])

    def _lock_in(self, answer: Any, confidence: float, least: float, most: float = 1.0) -> None:
        if self.locked:
            done = "revealed" if self.truth is not None else "committed"
            raise ValueError(f"answer={answer!r} comes too late: {self.name!r} is already {done}.")
        self.confidence = number("confidence", confidence, least, most)
        self.answer = answer
        self._lock()

    @property
    def locked(self) -> bool:
        """Whether the answer can no longer be given or changed."""
        return self.answer is not None or self.truth is not None

    @property
    def scored(self) -> bool:
        """Whether both the answer and the truth are known."""
        return self.answer is not None and self.truth is not None

    @property
    def said(self) -> str:
        """The learner's answer in words."""
        return NONE_MADE if self.answer is None else f"{self.in_words(self.answer)} ({self.confidence:.0%} sure)"

    @property
    def told(self) -> str:
        """The truth in words."""
        return "not yet known" if self.truth is None else self.in_words(self.truth, truth=True)

    def in_words(self, value: Any, truth: bool = False) -> str:
        """Return an answer, or with `truth` the truth, in words."""
        return str(value)

    def drawn(self) -> Drawn | None:
        """Return a picture of answer and truth, for a kind that has one."""
        return None

    def _lock(self) -> None:
        self.slider.value = self.confidence or self.slider.min
        self._follow()

    def _follow(self) -> None:
        """Let the widgets show whether the question is locked, and why."""
        for part in (*self.controls, self.slider, self.button):
            part.disabled = self.locked
        if self.truth is not None:
            self.message.value = line(f"Revealed: {self.told}. Your answer: {self.said}.", role="status")
        elif self.answer is not None:
            self.message.value = line(f"Committed: {self.said}. The result comes below.", role="status")
        else:
            self.message.value = line(f"{self.how} {gathers()}".strip())

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        view = {"version_major": 2, "version_minor": 0, "model_id": self._root.model_id}
        state = f"Your answer: {self.said}." if self.locked else self.offline
        html = f"<p><b>Predict: {escape(self.text)}</b></p>{self.offered}{line(state)}"
        return {VIEW: view, "text/html": html, "text/plain": f"Predict: {self.text} {self.plain}".strip()}


class Choice(Question):
    """A question with options, of which one turns out to be true; its score is Brier's.

    Raises ValueError for options that are not at least two different texts.
    """

    kind = "choice"

    def __init__(self, name: str, text: str, options: Sequence[str]) -> None:
        if len(options) < 2 or len(set(options)) < len(options) or isinstance(options, str):
            raise ValueError(f"options={options!r} is not allowed; give at least two different answers.")
        super().__init__(name, text)
        self.options = tuple(options)
        self.least = 1 / len(options)
        self.choices = widgets.RadioButtons(options=self.options, value=None, layout=widgets.Layout(width="auto"))
        stop = (1 - self.least) / STOPS
        hint = f"from {self.least:.0%}, a guess, to 100%, certain"
        self._make_widgets(labelled(self.choices, text), self.least, self.least + STOPS // 2 * stop, stop, hint)
        self.offered = "<ul>" + "".join(f"<li>{escape(option)}</li>" for option in self.options) + "</ul>"
        self.plain = " / ".join(self.options)

    @property
    def asked(self) -> tuple[object, ...]:
        """What makes this question the same as another."""
        return self.text, self.options

    @property
    def controls(self) -> list[Any]:
        """The options."""
        return [self.choices]

    def given(self) -> Any:
        """Return the option chosen."""
        if self.choices.value is None:
            raise ValueError("Choose one of the answers first.")
        return (self.choices.value,)

    def commit(self, answer: str, confidence: float) -> None:
        """Lock in `answer` and `confidence`; raises ValueError when either is not allowed or it is too late."""
        if not self.locked:
            known("answer", answer, self.options)
        self._lock_in(answer, confidence, self.least)

    def reveal(self, truth: str, because: str) -> None:
        """Say what turned out to be true; raises ValueError when that is none of the options."""
        self.truth, self.because = known("truth", truth, self.options), because
        self._lock()

    def take_back(self) -> None:
        """Forget what was revealed: without an answer the question is open to one again."""
        self.truth, self.because = None, ""
        self._follow()

    @property
    def score(self) -> float | None:
        """The Brier score, or None while either the answer or the truth is missing."""
        return brier(self.answer, self.confidence or 0.0, self.truth, len(self.options)) if self.scored else None

    @property
    def blind(self) -> float:
        """What giving every option the same probability scores."""
        return blind(len(self.options))

    @property
    def right(self) -> float | None:
        """1 for a right answer, 0 for a wrong one."""
        return float(self.answer == self.truth) if self.scored else None

    @property
    def verdict(self) -> str:
        """The score in words; nothing where no prediction was made."""
        if self.score is None:
            return ""
        return f"Brier score {self.score:.2f} (0 is best, blind guessing gives {self.blind:.2f})."

    def _lock(self) -> None:
        self.choices.value = self.answer
        super()._lock()


class Number(Question):
    """A number between `low` and `high`, with a plus-minus and how sure the learner is that the truth lies within it.

    The three say a normal distribution, and its score is the continuous ranked probability score: Brier's, summed over
    all thresholds. It is proper, so that neither a wider plus-minus nor a bolder confidence than one believes can pay;
    and it is in the units of the answer: who is all but certain scores the distance to the truth.
    Raises ValueError for a range that is empty.
    """

    kind = "number"
    how = "Type a number and a plus-minus, say how sure you are that the truth lies within, then commit."
    offline = "Run the cell to answer, or use commit(name, number, confidence, within)."

    def __init__(self, name: str, text: str, low: float, high: float, unit: str = "") -> None:
        self.low = number("low", low)
        self.high = number("high", high, self.low, above=True)
        super().__init__(name, text)
        self.unit, self.within = unit, math.nan
        self.number, self.plus_minus = (
            widgets.Text(placeholder=held, layout=widgets.Layout(width="150px")) for held in ("a number", "plus-minus")
        )
        self.plain = f"between {low:g} and {high:g} {unit}".strip()
        self.offered = line(self.plain)
        asked = stack(
            [
                labelled(self.number, text, self.plain),
                labelled(self.plus_minus, "Plus or minus", f"how far it may be off {unit and f'({unit})'}".strip()),
            ]
        )
        self._make_widgets(
            asked, LEAST, 0.5, 0.05, f"that the truth lies within your ±, from {LEAST:.0%} to {MOST:.0%}"
        )

    @property
    def asked(self) -> tuple[object, ...]:
        """What makes this question the same as another."""
        return self.text, self.low, self.high, self.unit

    @property
    def controls(self) -> list[Any]:
        """The two fields."""
        return [self.number, self.plus_minus]

    def given(self) -> Any:
        """Return the two numbers typed."""
        return _typed("Your number", self.number.value), _typed("Your plus-minus", self.plus_minus.value, above=0.0)

    def commit(self, answer: float, confidence: float, within: float) -> None:
        """Lock in `answer` plus or minus `within`; raises ValueError when one is not allowed or it is too late."""
        if not self.locked:
            answer, within = number("answer", answer), number("within", within, 0, above=True)
            number("confidence", confidence, LEAST, MOST)
            self.within = within
        self._lock_in(answer, confidence, LEAST, MOST)

    def reveal(self, truth: float, because: str) -> None:
        """Say what was measured; raises ValueError when that is not a finite number."""
        self.truth, self.because = number("truth", truth), because
        self._lock()

    @property
    def score(self) -> float | None:
        """The continuous ranked probability score, or None while either the answer or the truth is missing."""
        return crps(self.answer, spread(self.within, self.confidence or 0.0), self.truth) if self.scored else None

    @property
    def blind(self) -> float:
        """What knowing only the range scores."""
        return math.nan if self.truth is None else crps_of_a_range(self.low, self.high, self.truth)

    @property
    def right(self) -> float | None:
        """1 where the truth lies within the plus-minus, else 0."""
        return float(abs(self.answer - self.truth) <= self.within) if self.scored else None

    @property
    def verdict(self) -> str:
        """The score in words; nothing where no prediction was made."""
        if self.score is None:
            return ""
        score = f"{self.score:.2g} {self.unit}".strip()
        return f"Score {score} (0 is best, knowing only the range gives {self.blind:.2g})."

    def in_words(self, value: Any, truth: bool = False) -> str:
        """Return a number with its unit, the answer with its plus-minus."""
        told = f"{value:.3g}" if truth else f"{value:g} ± {self.within:g}"
        return f"{told} {self.unit}".strip()

    def _lock(self) -> None:
        if self.answer is not None:
            self.number.value, self.plus_minus.value = f"{self.answer:g}", f"{self.within:g}"
        super()._lock()


def _typed(what: str, text: str, above: float = -math.inf) -> float:
    """Return the number in a field that a learner typed into; raises ValueError, in words for the learner."""
    try:
        return number(what, float(text.strip().replace("−", "-")), above, above=True)
    except ValueError:
        need = "greater than 0, " if above == 0 else ""
        raise ValueError(f"{what} is missing or not a number: type one, {need}such as 2.5.") from None
