"""A curve to draw before it is measured: a slider for each of some moments, and the line they make."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import ipywidgets as widgets
import numpy as np

from wdlab.checks import number
from wdlab.figures.drawn import Drawn
from wdlab.figures.sketch import sketch
from wdlab.lab.controls import labelled, line, picture, row, stack, unseen
from wdlab.lab.questions import LEAST, MOST, Question
from wdlab.lab.scores import crps, crps_of_a_range, spread

LINES = 40  # stops of the sliders

Curve = tuple[Sequence[float], Sequence[float]]
"""Where a curve was read, and what was read there."""


class Sketch(Question):
    """A curve drawn before it is measured: a slider for each of some moments, and a band around the line.

    The band is `within` to either side (a tenth of the range, unless given); the confidence says how likely the
    measured curve is to lie in it at a moment. The score is that of numbers, the mean over the moments. `beside` holds
    curves that are known already, by label. Raises ValueError for fewer than two moments, or an empty range.
    """

    kind = "curve"
    how = "Draw the curve with the sliders, say how sure you are of the band around it, then commit."
    offline = "Run the cell to draw, or use commit(name, values, confidence)."

    def __init__(
        self, name: str, text: str, moments: Sequence[float], low: float, high: float,
        x: str = "", y: str = "", within: float | None = None, beside: Mapping[str, Curve] | None = None,
    ) -> None:  # fmt: skip
        if len(moments) < 2 or list(moments) != sorted(set(moments)):
            raise ValueError(f"moments={list(moments)!r} is not allowed; give at least two, each later than the last.")
        self.low = number("low", low)
        self.high = number("high", high, self.low, above=True)
        super().__init__(name, text)
        self.moments, self.x, self.y = tuple(map(float, moments)), x, y
        self.within = number("within", (high - low) / 10 if within is None else within, 0, above=True)
        self.beside = dict(beside or {})
        self.curve: Curve | None = None
        self.plain = f"at {', '.join(f'{moment:g}' for moment in moments)} ({x})"
        self.offered = line(f"{self.plain}, between {low:g} and {high:g}")
        self._make_widgets(
            self._board(), LEAST, 0.5, 0.05, "that the measured curve lies in the band, at any one moment"
        )
        self._redraw()

    def _board(self) -> Any:
        """The picture, and below it the sliders that draw."""
        self.moved = False
        self.sliders = [self._slider() for _ in self.moments]
        self.image, self.words = picture(b"", "640px"), widgets.HTML()
        for slider in self.sliders:
            slider.observe(self._on_change, "value")
        pens = [labelled(s, f"at {moment:g}") for s, moment in zip(self.sliders, self.moments, strict=True)]
        note = widgets.HTML(line(f"One slider for each moment ({self.x}); arrow keys move it."))
        return stack([widgets.HTML(f"<b>{escape(self.text)}</b>"), self.image, self.words, note, row(pens)])

    def _slider(self) -> Any:
        step = (self.high - self.low) / LINES
        return widgets.FloatSlider(
            value=self.low + LINES // 2 * step, min=self.low, max=self.high, step=step, readout_format=".3g",
            orientation="vertical", continuous_update=False, layout=widgets.Layout(height="130px", width="76px"),
        )  # fmt: skip

    def _on_change(self, _: object) -> None:
        self.moved = True
        self._redraw()

    @property
    def asked(self) -> tuple[object, ...]:
        """What makes this question the same as another."""
        return self.text, self.moments, self.low, self.high, self.within, str(self.beside)

    @property
    def controls(self) -> list[Any]:
        """The sliders that draw."""
        return list(self.sliders)

    def given(self) -> Any:
        """Return the heights of the line."""
        if not self.moved:
            raise ValueError("Draw first: move at least one of the sliders.")
        return ([slider.value for slider in self.sliders],)

    def commit(self, answer: Sequence[float], confidence: float) -> None:
        """Lock in one height a moment; raises ValueError when they are not allowed or it is too late."""
        if not self.locked:
            if len(answer) != len(self.moments):
                raise ValueError(f"answer has {len(answer)} values; give {len(self.moments)}, one a moment.")
            answer = tuple(number("answer", value, self.low, self.high) for value in answer)
        self._lock_in(answer, confidence, LEAST, MOST)

    def reveal(self, truth: Curve, because: str) -> None:
        """Say what was measured, as a curve; raises ValueError where it does not reach over all moments."""
        x, y = np.asarray(truth[0], dtype=float), np.asarray(truth[1], dtype=float)
        if x.shape != y.shape or x.ndim != 1 or len(x) < 2 or not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise ValueError("truth is not allowed; give two lists of equal length, of finite numbers: x and y.")
        if x[0] > self.moments[0] or x[-1] < self.moments[-1] or (np.diff(x) <= 0).any():
            raise ValueError(f"truth runs from {x[0]:g} to {x[-1]:g}; give a curve that rises in x over all moments.")
        self.curve, self.because = (x.tolist(), y.tolist()), because
        self.truth = tuple(np.interp(self.moments, x, y).tolist())
        self._lock()

    @property
    def score(self) -> float | None:
        """The mean continuous ranked probability score over the moments, or None while something is missing."""
        if not self.scored:
            return None
        deviation = spread(self.within, self.confidence or 0.0)
        scores = [crps(a, deviation, t) for a, t in zip(self.answer, self.truth, strict=True)]
        return sum(scores) / len(scores)

    @property
    def blind(self) -> float:
        """What knowing only the range scores."""
        if self.truth is None:
            return math.nan
        return sum(crps_of_a_range(self.low, self.high, t) for t in self.truth) / len(self.truth)

    @property
    def right(self) -> float | None:
        """The share of moments at which the measured curve lies in the band."""
        if not self.scored:
            return None
        return float(np.mean(np.abs(np.subtract(self.answer, self.truth)) <= self.within))

    @property
    def error(self) -> float | None:
        """The mean distance between sketch and measured curve over the moments."""
        return float(np.mean(np.abs(np.subtract(self.answer, self.truth)))) if self.scored else None

    @property
    def verdict(self) -> str:
        """Error and score in words; nothing where no prediction was made."""
        if self.score is None or self.right is None:
            return ""
        held = round(self.right * len(self.moments))
        return (
            f"Off by {self.error:.2g} on average; in your band at {held} of {len(self.moments)} moments. "
            f"Score {self.score:.2g} (0 is best, knowing only the range gives {self.blind:.2g})."
        )

    def in_words(self, value: Any, truth: bool = False) -> str:
        """Return the heights of a curve."""
        heights = ", ".join(f"{height:.3g}" for height in value)
        return heights if truth else f"{heights} ± {self.within:.3g}"

    def drawn(self) -> Drawn:
        """Return the picture: the line with its band, what is known already, and once revealed the measured curve."""
        heights = (
            [slider.value for slider in self.sliders] if self.answer is None and self.truth is None else self.answer
        )
        return sketch(
            self.text,
            self.moments,
            heights,
            self.within,
            (self.low, self.high),
            self.x,
            self.y,
            self.beside,
            self.curve,
        )

    def _redraw(self) -> None:
        drawn = self.drawn()
        self.data, self.alt = drawn.data, drawn.alt
        self.image.value, self.words.value = drawn.png(), unseen(drawn.alt)

    def _lock(self) -> None:
        if self.answer is not None:
            for slider, height in zip(self.sliders, self.answer, strict=True):
                slider.unobserve_all("value")
                slider.value = height
        super()._lock()
        self._redraw()
