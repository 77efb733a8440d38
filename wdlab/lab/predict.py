"""Predictions: commit to an answer and a confidence before the result exists, then see how well you knew."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any, Protocol, TypeVar

from wdlab.checks import known
from wdlab.figures.drawn import Drawn
from wdlab.lab.classroom import gather
from wdlab.lab.controls import line
from wdlab.lab.questions import NONE_MADE, Choice, Number, Question
from wdlab.lab.scores import LEVEL, counts_to_expect
from wdlab.lab.sketch import Curve, Sketch

FEW = 10  # answers below which a share says little about anybody
UNSETTLED = "these seeds cannot tell which answer is right, so nobody is scored"
Asked = Choice | Number | Sketch
Q = TypeVar("Q", Choice, Number, Sketch)


class Interval(Protocol):
    """What a measurement can and cannot exclude: an effect of `wdlab.stats`, or what a claim found."""

    @property
    def low(self) -> float:
        """The lower end."""

    @property
    def high(self) -> float:
        """The upper end."""


@dataclass(frozen=True)
class Outcome:
    """What a question came to: the learner's answer beside the truth, and for a curve a picture of both.

    `verdict` is the score in words, nothing where no prediction was made; `note` is what else there is to say.
    """

    question: str
    said: str
    truth: str
    because: str
    score: float | None
    verdict: str
    note: str = ""
    figure: Drawn | None = None

    def __str__(self) -> str:
        parts = [f"{self.question} Your answer: {self.said}. It turned out: {self.truth}.", self.because, self.verdict]
        return " ".join(part for part in (*parts, self.note) if part)

    def _repr_html_(self) -> str:
        pairs = [("Your answer", self.said), ("It turned out", f"{self.truth}. {self.because}".strip())]
        pairs += [(name, text) for name, text in (("Score", self.verdict), ("Note", self.note)) if text]
        rows = [f'<tr><th scope="row" style="{LEFT}">{name}</th>{_cell(text)}</tr>' for name, text in pairs]
        picture = self.figure.html() if self.figure else ""
        return f"<b>{escape(self.question)}</b><table>{''.join(rows)}</table>{picture}"


@dataclass(frozen=True, repr=False)
class Score:
    """All questions at the end, the mean of their scores, and what that number means."""

    questions: tuple[Asked, ...]

    @property
    def scored(self) -> tuple[Choice, ...]:
        """The choices that were answered and revealed."""
        return tuple(q for q in self.questions if isinstance(q, Choice) and q.scored)

    @property
    def mean(self) -> float | None:
        """The mean Brier score of the answered choices, or None without any."""
        scores = [question.score for question in self.scored if question.score is not None]
        return sum(scores) / len(scores) if scores else None

    @property
    def blind(self) -> float | None:
        """What the same choices score when every option gets the same probability."""
        return sum(question.blind for question in self.scored) / len(self.scored) if self.scored else None

    @property
    def words(self) -> str:
        """What the scores mean, and how well confidence and success go together."""
        told = [self._of_choices(), self._of_measured(), self.calibration]
        found = " ".join(part for part in told if part)
        return found or "No prediction was scored, so there is no score; the answers above are yours to compare with."

    def _of_choices(self) -> str:
        if self.mean is None or self.blind is None:
            return ""
        near = "better than" if self.mean < self.blind else "worse than"
        near = "the same as" if math.isclose(self.mean, self.blind) else near
        return (
            f"Mean Brier score of the choices {self.mean:.2f}, {near} blind guessing ({self.blind:.2f}). 0 means "
            "certain and right every time, 2 certain and wrong every time: it is the squared distance between your "
            "probabilities and what happened."
        )

    def _of_measured(self) -> str:
        """What the numbers and curves scored, as a share of what knowing only the range does, for units differ."""
        shares = [q.score / q.blind for q in self.questions if not isinstance(q, Choice) and q.score is not None]
        if not shares:
            return ""
        return (
            f"Numbers and curves: {sum(shares) / len(shares):.2f} of what knowing only the range scores, on average (0 "
            "is best, 1 is no better than that)."
        )

    @property
    def calibration(self) -> str:
        """Stated confidence against the share right, and how much so few answers can say; nothing without any."""
        counted = [q for q in self.questions if not isinstance(q, Sketch) and q.scored]
        if not counted:
            return ""
        right = sum(int(q.right or 0) for q in counted)
        stated = [q.confidence or 0.0 for q in counted]
        low, high = counts_to_expect(stated)
        expected = f"{low}" if low == high else f"{low} to {high}"
        sure = sum(stated) / len(stated)
        were = "answer was" if len(counted) == 1 else "answers were"
        found = (
            f"{right} of {len(counted)} {were} right, and you were {sure:.0%} sure on average. Somebody who is right "
            f"exactly as often as these confidences say would have {expected} right {LEVEL:.0%} of the time: "
        )
        if right < low:
            return found + "you were surer than you were right."
        if right > high:
            return found + "you knew more than you claimed."
        many = "1 answer is" if len(counted) == 1 else f"{len(counted)} answers are"
        few = f", but {many} too few to tell much" if len(counted) < FEW else ""
        return found + f"yours agree with that{few}."

    def __repr__(self) -> str:
        told = [f"{q.text} Your answer: {q.said}. Truth: {q.told}." for q in self.questions]
        return "\n".join([*told, self.words])

    def _repr_html_(self) -> str:
        names = ("Question", "Your answer", "Sure", "Truth", "Score", "Blind guess")
        head = "".join(f'<th scope="col" style="{LEFT}">{name}</th>' for name in names)
        body = "".join(f"<tr>{''.join(map(_cell, _row(question)))}</tr>" for question in self.questions)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"<b>Your predictions</b>{table}{line(self.words)}"


class Predictions:
    """The predictions of one notebook: ask, reveal, score. They stay in the kernel.

    Where the environment variable WDLAB_CLASS names a file, every scored answer is also appended there without a name,
    for a teacher to read with `class_totals`.

    >>> predictions = Predictions()
    >>> _ = predictions.ask("early", "Is early decay as good as always?", ["yes", "no"])
    >>> predictions.commit("early", "yes", confidence=0.8)
    >>> predictions.reveal("early", truth="yes").verdict
    'Brier score 0.08 (0 is best, blind guessing gives 0.50).'
    >>> _ = predictions.ask_number("angle", "By how much does a step turn the weights?", 0, 10, "degrees")
    >>> predictions.commit("angle", 2.5, confidence=0.5, within=1)
    >>> predictions.reveal("angle", truth=1.5).verdict
    'Score 0.61 degrees (0 is best, knowing only the range gives 2.1).'
    """

    def __init__(self) -> None:
        self._questions: dict[str, Asked] = {}

    def ask(self, name: str, question: str, options: Sequence[str]) -> Choice:
        """Return the widget that asks `question`; asked again in the same words it keeps its answer.

        Raises ValueError for options that are not at least two different texts.
        """
        return self._kept(Choice(name, question, options))

    def ask_number(self, name: str, question: str, low: float, high: float, unit: str = "") -> Number:
        """Return the widget that asks for a number between `low` and `high`, with a plus-minus; kept as by `ask`.

        The score is the continuous ranked probability score of the normal distribution that the answer says. Raises
        ValueError for an empty range.
        """
        return self._kept(Number(name, question, low, high, unit))

    def ask_curve(
        self, name: str, question: str, moments: Sequence[float], low: float, high: float,
        x: str = "", y: str = "", within: float | None = None, beside: Mapping[str, Curve] | None = None,
    ) -> Sketch:  # fmt: skip
        """Return the widget on which to draw a curve at some `moments` between `low` and `high`; kept as by `ask`.

        `x` and `y` name the axes, `within` is half the height of the band around the line (by default a tenth of the
        range), `beside` are curves known already, (x, y) by label. Scored as numbers are, moment by moment. Raises
        ValueError for fewer than two moments and for an empty range.
        """
        return self._kept(Sketch(name, question, moments, low, high, x, y, within, beside))

    def _kept(self, new: Q) -> Q:
        old = self._questions.get(new.name)
        if isinstance(old, type(new)) and old.asked == new.asked:
            return old
        self._questions[new.name] = new
        return new

    def commit(self, name: str, answer: Any, confidence: float, within: float | None = None) -> None:
        """Commit by code what the widget commits by button; `within` is the plus-minus of a number.

        Raises ValueError for a name never asked, an answer that is none, a confidence that is out of range ([1/options,
        1] for a choice, else [0.1, 0.95]), and for a question that is already committed or revealed.
        """
        asked = self._question(name)
        if isinstance(asked, Number):
            asked.commit(answer, confidence, math.nan if within is None else within)
        elif within is not None:
            raise ValueError(f"within={within!r} is not allowed: {name!r} does not ask for a number.")
        else:
            asked.commit(answer, confidence)

    def reveal(self, name: str, truth: Any, because: str = "") -> Outcome:
        """Return the outcome beside the learner's answer; from here on the question is locked.

        `truth` comes from the notebook's own measurement, and so should the numbers in `because`: one of the options, a
        number, or for a curve the pair (x, y). Raises ValueError for a name never asked and for what is no truth.
        """
        asked = self._question(name)
        asked.reveal(truth, because)
        outcome = asked.said, asked.told, because, asked.score, asked.verdict
        return Outcome(asked.text, *outcome, _gathered(asked), asked.drawn())

    def settle(
        self, name: str, options: Sequence[str], found: Interval, borders: Sequence[float], because: str = ""
    ) -> Outcome:
        """Return what `reveal` does where the whole interval `found` lies in one option, else that nobody is scored.

        `options` are the answers of a choice from low effects to high ones, `borders` the effects that part them, one
        fewer. An interval that holds or touches a border, or is none (NaN), settles nothing: the question is open,
        whatever was revealed before. Raises ValueError for a name that is no choice of these options, and for borders
        that do not rise or are not one fewer.
        """
        asked = self._question(name)
        if not isinstance(asked, Choice) or sorted(options) != sorted(asked.options):
            raise ValueError(f"options={options!r} is not allowed; give what {name!r} offers: {asked.plain}.")
        parts = list(pairwise((-math.inf, *borders, math.inf)))
        if len(parts) != len(options) or not all(below < above for below, above in parts):
            need = f"{len(options)} options need {len(options) - 1}, each above the last"
            raise ValueError(f"borders={borders!r} is not allowed: {need}.")
        for option, (below, above) in zip(options, parts, strict=True):
            if below < found.low and found.high < above:
                return self.reveal(name, option, because)
        asked.take_back()
        return Outcome(asked.text, asked.said, UNSETTLED, because, None, "")

    def score(self) -> Score:
        """Return the table of all questions so far with its scores and calibration in plain words."""
        return Score(tuple(self._questions.values()))

    def _question(self, name: str) -> Asked:
        return self._questions[known("name", name, self._questions)]


def _gathered(asked: Asked) -> str:
    """Hand a scored answer to the class's file, once; what to tell the learner where that fails."""
    if not asked.scored or asked.seen:
        return ""
    answer = list(asked.answer) if isinstance(asked, Sketch) else asked.answer
    told = {"question": asked.text, "kind": asked.kind, "answer": answer, "confidence": asked.confidence}
    note = gather({**told, "right": asked.right, "score": asked.score, "blind": asked.blind})
    asked.seen = not note
    return note


LEFT = "text-align:left"


def _cell(text: str) -> str:
    return f'<td style="{LEFT}">{escape(text)}</td>'


def _row(question: Asked) -> tuple[str, ...]:
    sure = "" if question.confidence is None else f"{question.confidence:.0%}"
    score = "" if question.score is None else f"{question.score:.2g}"
    nothing = "" if question.score is None else f"{question.blind:.2g}"
    said = NONE_MADE if question.answer is None else question.in_words(question.answer)
    return question.text, said, sure, question.told, score, nothing


__all__ = ["Outcome", "Predictions", "Question", "Score"]
