"""Figures: what they return is what they draw, and the words hold the numbers."""

from base64 import b64decode
from html.parser import HTMLParser

import numpy as np
import pytest
from nbconvert import HTMLExporter
from nbformat.v4 import new_code_cell, new_notebook, new_output

from wdlab import Decay, Model, Run, Timing, figures, sweep
from wdlab.claims import SCALES, Claim, Level
from wdlab.figures.style import BACKGROUND, COLOURS

TIMINGS = (Timing.never(), Timing.first(0.5))


def runs(timings) -> list[Run]:
    model = Model(width=8, depth=1)
    return [Run(model=model, decay=Decay(0.05, t), seed=s, steps=40, evaluations=4) for s in (0, 1) for t in timings]


@pytest.fixture(scope="module")
def results():
    return sweep(runs(TIMINGS), jobs=1)


def assert_png(drawn: figures.Drawn) -> None:
    assert drawn.png().startswith(b"\x89PNG") and drawn.alt.endswith(".")


def test_curves_draw_the_mean_over_seeds(results) -> None:
    drawn = figures.curves(results, ("test_error", "weight_norm"))
    left, right = drawn.figure.axes
    assert [line.get_label() for line in left.lines] == ["never", "first 0.5"]
    expected = results.curves.query("timing == 'never'").groupby("step")["weight_norm"].mean()
    assert np.allclose(right.lines[0].get_ydata(), expected) and np.allclose(right.lines[0].get_xdata(), expected.index)
    assert f"{expected.iloc[-1]:.3g}" in drawn.alt
    assert_png(drawn)


def test_ends_draw_every_seed_and_the_mean(results) -> None:
    drawn = figures.ends(results)
    left = drawn.figure.axes[0]
    seeds = [line.get_ydata() for line in left.lines if len(line.get_xdata()) == 2 and line.get_marker() == "None"]
    assert np.allclose(sorted(map(tuple, seeds))[:2], sorted(map(tuple, drawn.data.to_numpy())))
    assert all(f"{drawn.data[c].mean():.3f}" in drawn.alt for c in drawn.data)
    assert_png(drawn)


def test_critical_period_starts_and_ends_at_never() -> None:
    moments = (0.0, 0.5, 1.0)
    until = sweep(runs([Timing.window(0, t) for t in moments]), jobs=1)
    since = sweep(runs([Timing.window(t, 1) for t in moments]), jobs=1)
    drawn = figures.critical_period(until, since)
    gain = drawn.data.set_index(["side", "t0"])["gain"]
    assert gain["decay until t0", 0.0] == 0 and gain["decay from t0", 1.0] == 0
    assert gain["decay until t0", 1.0] == gain["decay from t0", 0.0]
    worth = until.table.groupby("timing", sort=False)["test_accuracy"].mean()
    assert gain["decay until t0", 0.5] == pytest.approx(worth["0 to 0.5"] - worth["0 to 0"])
    assert_png(drawn)


def test_forest_has_a_row_for_each_claim_and_control() -> None:
    levels = {scale: Level(2, 0.1) for scale in SCALES}
    claim = Claim("a-claim", "s.", "o", "u", lambda s: [0.34, 0.36], "c", lambda s: [0.0, 0.0], levels)
    drawn = figures.forest([claim.check()])
    labels = [tick.get_text() for tick in drawn.figure.axes[0].get_yticklabels()]
    assert labels == ["a-claim: supported", "control vanishes"]
    assert list(drawn.data["effect"]) == pytest.approx([0.35, 0.0])
    assert_png(drawn)


def test_lines_are_their_data() -> None:
    drawn = figures.lines({"one": [1.0, 2.0], "two": [3.0, 5.0]}, "Title", "x", "y")
    assert [list(line.get_ydata()) for line in drawn.figure.axes[0].lines] == [[1.0, 2.0], [3.0, 5.0]]
    assert "one goes from 1 to 2" in drawn.alt
    assert_png(drawn)


class Images(HTMLParser):
    """The attributes of every image in a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.found.append(dict(attrs))


def test_a_figure_shows_itself_with_its_words(results, monkeypatch) -> None:
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda thing, raw=False: shown.append(thing))
    drawn = figures.ends(results)
    drawn._ipython_display_()
    picture, words = shown
    assert picture["text/plain"] == drawn.alt and drawn.alt[:20] in words.data
    (image,) = Images(picture["text/html"]).found
    assert image["alt"] == drawn.alt and image["src"] == f"data:image/png;base64,{picture['image/png']}"
    assert b64decode(picture["image/png"]).startswith(b"\x89PNG")


def test_nbconvert_gives_the_picture_its_words(results, monkeypatch) -> None:
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda thing, raw=False: shown.append(thing))
    drawn = figures.ends(results)
    drawn._ipython_display_()
    cell = new_code_cell(outputs=[new_output("display_data", shown[0])])
    page, _ = HTMLExporter().from_notebook_node(new_notebook(cells=[cell]))
    assert [image["alt"] for image in Images(page).found] == [drawn.alt]


def test_alt_text_stays_text() -> None:
    drawn = figures.lines({"one": [1.0, 2.0]}, '"><script>x</script>', "x", "y")
    (image,) = Images(drawn.html()).found
    assert image["alt"] == drawn.alt and "<script>" in drawn.alt and "<script>" not in drawn.html()


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("colour", COLOURS)
def test_lines_stand_out_from_the_paper(colour: str) -> None:
    assert (luminance(BACKGROUND) + 0.05) / (luminance(colour) + 0.05) >= 3


def test_lines_count_from_where_they_are_told_to() -> None:
    for first in (0, 1):
        drawn = figures.lines({"a": [1.0, 2.0, 3.0]}, "A title", "trials", "best", first=first)
        assert (
            drawn.figure.axes[0].lines[0].get_xdata().tolist()
            == drawn.data.index.tolist()
            == [first, first + 1, first + 2]
        )
