"""A checker's answer as text, as HTML and as a truth value."""

from __future__ import annotations

import dataclasses

import pytest

from wdlab.exercises import Report
from wdlab.figures.drawn import Drawn
from wdlab.figures.style import panels

NASTY = '<script>alert("x")</script> & more'


def test_only_a_pass_is_true() -> None:
    assert [bool(Report(passed, "t", "m")) for passed in (True, False, None)] == [True, False, False]


@pytest.mark.parametrize(("passed", "word"), [(True, "correct"), (False, "not yet right"), (None, "not yet done")])
def test_the_verdict_stands_in_words(passed: bool | None, word: str) -> None:
    report = Report(passed, "Title", "Message.")
    assert repr(report) == f"Title: {word}. Message."
    assert f"Title: {word}" in report._repr_html_()


def test_text_and_alt_text_are_escaped() -> None:
    html = Report(False, NASTY, NASTY, Drawn(panels(1)[0], NASTY))._repr_html_()
    assert "<script>" not in html
    assert html.count("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; more") == 3
    assert 'src="data:image/png;base64,' in html


def test_rows_of_a_table_alone_are_in_a_font_whose_columns_stand_under_one_another() -> None:
    html = Report(False, "t", "The smallest:\nw =\n  1.5  <2\n   -3   4\n\nw: yours [1]")._repr_html_()
    rows = [f'<span style="font-family:monospace">{row}</span>' for row in ("  1.5  &lt;2", "   -3   4")]
    assert "\n".join(["The smallest:", "w =", *rows, "", "w: yours [1]"]) in html
    assert html.count("monospace") == 2


def test_where_the_picture_cannot_be_drawn_its_words_stand() -> None:
    figure, (axes,) = panels(1)
    axes.plot([0, 1], [0, 1])
    axes.set_title("$\\nothing$")  # which matplotlib finds out only when it draws
    html = Report(False, "t", "m", Drawn(figure, f"In words. {NASTY}"))._repr_html_()
    assert "<img" not in html
    assert "In words. &lt;script&gt;" in html


def test_a_report_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Report(True, "t", "m").passed = False  # type: ignore[misc]
