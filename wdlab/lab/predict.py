"""Predictions: commit to an answer and a confidence before the result exists, then see how well you knew."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import ipywidgets as widgets

from wdlab.checks import known, number
from wdlab.lab.controls import VIEW, alarm, labelled, line, row, stack

NONE_MADE = "no prediction was made"
STOPS = 10  # of the confidence slider


def brier(answer: str, confidence: float, truth: str, options: int) -> float:
    """Return the Brier score of an answer given with `confidence`, the rest spread evenly over the other options.

    sum over all options of (p - o)^2, where o is 1 for the truth and 0 otherwise: from 0 (certain and right) to 2
    (certain and wrong). Raises ValueError for a confidence below 1/options, which would be an answer for another
    option, or above 1. Source: Brier (1950), in its first form, for any number of options.

    >>> brier("early", 1.0, "early", options=2), brier("early", 0.5, "late", options=2)
    (0.0, 0.5)
    """
    number("confidence", confidence, 1 / options, 1)
    rest = (1 - confidence) / (options - 1)
    if answer == truth:
        return (1 - confidence) ** 2 + (options - 1) * rest**2
    return confidence**2 + (1 - rest) ** 2 + (options - 2) * rest**2


def blind(options: int) -> float:
    """Return the Brier score of giving every one of `options` the same probability: 1 - 1/options, whatever is true."""
    return 1 - 1 / options


class Question:
    """A question with its options, the learner's answer once there is one, and the widget that asks for it.

    Raises ValueError for options that are not at least two different texts.
    """

    def __init__(self, name: str, text: str, options: Sequence[str]) -> None:
        if len(options) < 2 or len(set(options)) < len(options) or isinstance(options, str):
            raise ValueError(f"options={options!r} is not allowed; give at least two different answers.")
        self.name, self.text, self.options = name, text, tuple(options)
        self.answer: str | None = None
        self.confidence: float | None = None
        self.truth: str | None = None
        self.because = ""
        self._make_widgets()

    def _make_widgets(self) -> None:
        least = 1 / len(self.options)
        stop = (1 - least) / STOPS
        self.choices = widgets.RadioButtons(options=self.options, value=None, layout=widgets.Layout(width="auto"))
        self.slider = widgets.FloatSlider(
            value=least + STOPS // 2 * stop,
            min=least,
            max=1.0,
            step=stop,
            readout_format=".0%",
            continuous_update=False,
            layout=widgets.Layout(width="100%", max_width="420px"),
        )
        self.button = widgets.Button(description="Commit", icon="lock", layout=widgets.Layout(width="110px"))
        self.message = widgets.HTML(line("Choose an answer, say how sure you are, then commit."))
        self.button.on_click(self._pressed)
        hint = f"from {least:.0%}, a guess, to 100%, certain"
        asked = labelled(self.choices, self.text)
        sure = labelled(self.slider, "How sure are you?", hint)
        self._root = stack([asked, sure, row([self.button]), self.message], max_width="700px", padding="4px 0")

    def _pressed(self, _: object) -> None:
        if self.choices.value is None:
            self.message.value = alarm("Choose one of the answers first.")
            return
        self.commit(self.choices.value, min(max(self.slider.value, self.slider.min), 1.0))

    def commit(self, answer: str, confidence: float) -> None:
        """Lock in `answer` and `confidence`; raises ValueError when either is not allowed or it is too late."""
        if self.locked:
            raise ValueError(
                f"answer={answer!r} comes too late: {self.name!r} is already "
                f"{'revealed' if self.truth is not None else 'committed'}."
            )
        known("answer", answer, self.options)
        number("confidence", confidence, 1 / len(self.options), 1)
        self.answer, self.confidence = answer, float(confidence)
        self._lock()

    def reveal(self, truth: str, because: str) -> None:
        """Say what turned out to be true; raises ValueError when that is none of the options."""
        self.truth, self.because = known("truth", truth, self.options), because
        self._lock()

    @property
    def locked(self) -> bool:
        """Whether the answer can no longer be given or changed."""
        return self.answer is not None or self.truth is not None

    @property
    def score(self) -> float | None:
        """The Brier score, or None while either the answer or the truth is missing."""
        if self.answer is None or self.confidence is None or self.truth is None:
            return None
        return brier(self.answer, self.confidence, self.truth, len(self.options))

    @property
    def said(self) -> str:
        """The learner's answer in words."""
        if self.answer is None or self.confidence is None:
            return NONE_MADE
        return f"{self.answer} ({self.confidence:.0%} sure)"

    def _lock(self) -> None:
        self.choices.value, self.slider.value = self.answer, self.confidence or self.slider.min
        for part in (self.choices, self.slider, self.button):
            part.disabled = True
        if self.truth is not None:
            self.message.value = line(f"Revealed: {self.truth}. Your answer: {self.said}.", role="status")
        else:
            self.message.value = line(f"Committed: {self.said}. The result comes below.", role="status")

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        view = {"version_major": 2, "version_minor": 0, "model_id": self._root.model_id}
        listed = "".join(f"<li>{escape(option)}</li>" for option in self.options)
        html = f"<p><b>Predict: {escape(self.text)}</b></p><ul>{listed}</ul>{line(self._state)}"
        return {VIEW: view, "text/html": html, "text/plain": f"Predict: {self.text} {' / '.join(self.options)}"}

    @property
    def _state(self) -> str:
        if self.locked:
            return f"Your answer: {self.said}."
        return "Run the cell to answer, or use commit(name, answer, confidence)."


@dataclass(frozen=True)
class Outcome:
    """What a question came to: shown as the learner's answer beside the truth."""

    question: str
    said: str
    truth: str
    because: str
    score: float | None
    options: int

    def __str__(self) -> str:
        because = f" {self.because}" if self.because else ""
        return (
            f"{self.question} Your answer: {self.said}. It turned out: {self.truth}.{because} {self.verdict}".rstrip()
        )

    @property
    def verdict(self) -> str:
        """The score in words; nothing where no prediction was made."""
        if self.score is None:
            return ""
        return f"Brier score {self.score:.2f} (0 is best, blind guessing gives {blind(self.options):.2f})."

    def _repr_html_(self) -> str:
        pairs = [("Your answer", self.said), ("It turned out", f"{self.truth}. {self.because}".strip())]
        pairs += [("Score", self.verdict)] if self.verdict else []
        rows = [f'<tr><th scope="row" style="{LEFT}">{name}</th>{_cell(text)}</tr>' for name, text in pairs]
        return f"<b>{escape(self.question)}</b><table>{''.join(rows)}</table>"


@dataclass(frozen=True, repr=False)
class Score:
    """All questions at the end, the mean of their scores, and what that number means."""

    questions: tuple[Question, ...]

    @property
    def scored(self) -> tuple[Question, ...]:
        """The questions that were answered and revealed."""
        return tuple(question for question in self.questions if question.score is not None)

    @property
    def mean(self) -> float | None:
        """The mean Brier score of the answered questions, or None without any."""
        scores = [question.score for question in self.questions if question.score is not None]
        return sum(scores) / len(scores) if scores else None

    @property
    def blind(self) -> float | None:
        """What the same questions score when every option gets the same probability."""
        scored = self.scored
        return sum(blind(len(question.options)) for question in scored) / len(scored) if scored else None

    @property
    def words(self) -> str:
        """What the score means."""
        if self.mean is None or self.blind is None:
            return "No prediction was scored, so there is no score; the answers above are yours to compare with."
        scored = self.scored
        right = sum(question.answer == question.truth for question in scored)
        sure = sum(question.confidence or 0.0 for question in scored) / len(scored)
        near = "better than" if self.mean < self.blind else "worse than"
        near = "the same as" if math.isclose(self.mean, self.blind) else near
        return (
            f"Mean Brier score {self.mean:.2f}, {near} blind guessing ({self.blind:.2f}). 0 means certain and right "
            "every time, 2 certain and wrong every time: it is the squared distance between your probabilities and "
            f"what happened. {right} of {len(scored)} answers were right, and you were {sure:.0%} sure on average; the "
            "closer these two shares, the better you know what you know."
        )

    def __repr__(self) -> str:
        told = [f"{q.text} Your answer: {q.said}. Truth: {q.truth or 'not yet known'}." for q in self.questions]
        return "\n".join([*told, self.words])

    def _repr_html_(self) -> str:
        names = ("Question", "Your answer", "Sure", "Truth", "Brier score")
        head = "".join(f'<th scope="col" style="{LEFT}">{name}</th>' for name in names)
        body = "".join(f"<tr>{''.join(map(_cell, _row(question)))}</tr>" for question in self.questions)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"<b>Your predictions</b>{table}{line(self.words)}"


class Predictions:
    """The predictions of one notebook: ask, reveal, score. They stay in the kernel.

    >>> predictions = Predictions()
    >>> _ = predictions.ask("early", "Is early decay as good as always?", ["yes", "no"])
    >>> predictions.commit("early", "yes", confidence=0.8)
    >>> predictions.reveal("early", truth="yes").verdict
    'Brier score 0.08 (0 is best, blind guessing gives 0.50).'
    """

    def __init__(self) -> None:
        self._questions: dict[str, Question] = {}

    def ask(self, name: str, question: str, options: Sequence[str]) -> Question:
        """Return the widget that asks `question`; asked again in the same words it keeps its answer.

        Raises ValueError for options that are not at least two different texts.
        """
        old = self._questions.get(name)
        if old is None or (old.text, old.options) != (question, tuple(options)):
            self._questions[name] = Question(name, question, options)
        return self._questions[name]

    def commit(self, name: str, answer: str, confidence: float) -> None:
        """Commit by code what the widget commits by button.

        Raises ValueError for a name never asked, an answer that is no option, a confidence outside [1/options, 1], and
        for a question that is already committed or revealed.
        """
        self._question(name).commit(answer, confidence)

    def reveal(self, name: str, truth: str, because: str = "") -> Outcome:
        """Return the outcome beside the learner's answer; from here on the question is locked.

        `truth` comes from the notebook's own measurement, and so should the numbers in `because`. Raises ValueError for
        a name never asked and for a truth that is none of the options.
        """
        asked = self._question(name)
        asked.reveal(truth, because)
        return Outcome(asked.text, asked.said, truth, because, asked.score, len(asked.options))

    def score(self) -> Score:
        """Return the table of all questions so far with its mean Brier score in plain words."""
        return Score(tuple(self._questions.values()))

    def _question(self, name: str) -> Question:
        return self._questions[known("name", name, self._questions)]


LEFT = "text-align:left"


def _cell(text: str) -> str:
    return f'<td style="{LEFT}">{escape(text)}</td>'


def _row(question: Question) -> tuple[str, ...]:
    sure = f"{question.confidence:.0%}" if question.confidence is not None else ""
    score = f"{question.score:.2f}" if question.score is not None else ""
    return question.text, question.answer or NONE_MADE, sure, question.truth or "not yet known", score
