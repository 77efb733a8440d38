"""What a checker answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape

from wdlab.figures.drawn import Drawn

WORDS = {True: "correct", False: "not yet right", None: "not yet done"}
COLOURS = {True: "#007a5a", False: "#d55e00", None: "#8c8c8c"}


@dataclass(frozen=True, repr=False)
class Report:
    """A checker's answer: `passed` (None where the exercise is not yet done), a message, and a picture if one helps.

    True in an `if` only when the exercise is passed. Shows itself in a notebook: the picture's words are its alt text,
    and indented lines of the message are rows of a table.

    >>> Report(None, "Plain SGD", "The stub is untouched.")
    Plain SGD: not yet done. The stub is untouched.
    """

    passed: bool | None
    title: str
    message: str
    figure: Drawn | None = None

    def __bool__(self) -> bool:
        return self.passed is True

    def __repr__(self) -> str:
        return f"{self.title}: {WORDS[self.passed]}. {self.message}"

    def _repr_html_(self) -> str:
        head = f"<b>{escape(self.title)}: {WORDS[self.passed]}</b>"
        text = f'<div style="white-space:pre-wrap">{_with_tables(escape(self.message))}</div>'
        style = f"border-left:0.3em solid {COLOURS[self.passed]}; padding:0.2em 0.8em; line-height:1.5"
        return f'<div role="status" style="{style}">{head}{text}{self._picture()}</div>'

    def _picture(self) -> str:
        """The picture, or its words where numbers are too large to be drawn: a report never raises."""
        if self.figure is None:
            return ""
        try:
            return self.figure.html()
        except Exception:
            return f"<div>{escape(self.figure.alt)}</div>"


def _with_tables(text: str) -> str:
    """The text with its indented lines in a font of one width, in which columns stand under one another."""
    return re.sub("^ .*", r'<span style="font-family:monospace">\g<0></span>', text, flags=re.MULTILINE)
