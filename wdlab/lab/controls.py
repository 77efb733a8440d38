"""What every widget of the course shares: colours, labels a learner can see, and figures as PNG without pyplot."""

from __future__ import annotations

import base64
import io
import weakref
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

import ipywidgets as widgets
import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from wdlab.figures.drawn import image_html
from wdlab.figures.style import BACKGROUND, COLOURS

QUIET = "#57606a"  # ticks, axis titles, second thoughts
SHADE = "#e6f1f8"  # where weight decay acts
ALARM = "#a40e26"
PALE = 0.7
"""Opacity of text that is there to compare with; still readable on every theme."""
PALETTE = COLOURS

DASHES: tuple[tuple[float, tuple[float, ...]], ...] = (
    (0, ()),
    (0, (6, 1.5)),
    (0, (2.5, 1.2)),
    (0, (8, 1.5, 1.5, 1.5)),
    (0, (1.2, 1.2)),
    (0, (4, 1.5, 1, 1.5, 1, 1.5)),
    (0, (10, 3)),
)
"""Line styles that go with PALETTE, one each: colour never stands alone."""

DPI = 160
VIEW = "application/vnd.jupyter.widget-view+json"


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of `width` x `height` inches that takes nothing from pyplot or the user's style."""
    with matplotlib.style.context("default"):
        figure = Figure(figsize=(width, height), dpi=DPI, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    return figure


def figure_png(figure: Figure) -> bytes:
    """Return `figure` drawn as PNG; its size depends on nothing but the figure, so that a live picture never jumps."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=figure.dpi, metadata={"Software": None})
    return buffer.getvalue()


def picture(png: bytes, width: str = "640px") -> Any:
    """Return an image widget that shows `png`, at most `width` wide; put its text next to it with `unseen`.

    In a very narrow place it keeps a readable width: let its box scroll. An image widget takes no alt text, and setting
    its `tooltip` breaks it in the browser (ipywidgets 8.1).
    """
    layout = widgets.Layout(width="100%", max_width=width, min_width="480px")
    return widgets.Image(value=png, format="png", layout=layout)


def line(text: str, role: str = "") -> str:
    """Return `text`, escaped, as one line of HTML in the theme's own colours."""
    role = f' role="{role}"' if role else ""
    return f'<div{role} style="line-height:1.4; overflow-wrap:anywhere">{escape(text)}</div>'


def alarm(text: str) -> str:
    """Return `text`, escaped, as HTML for something that went wrong: in a box that reads the same on every theme."""
    box = f"line-height:1.4; overflow-wrap:anywhere; padding:4px 8px; border-left:4px solid {ALARM}"
    return f'<div role="alert" style="{box}; color:{ALARM}; background:{BACKGROUND}">{escape(text)}</div>'


def unseen(text: str) -> str:
    """Return `text`, escaped, as HTML that a screen reader reads and nobody sees."""
    hidden = "position:absolute; width:1px; height:1px; overflow:hidden; clip-path:inset(50%); white-space:nowrap"
    return f'<span style="{hidden}">{escape(text)}</span>'


def bundle(widget: Any, png: bytes, alt: str) -> dict[str, object]:
    """Return what a cell stores for `widget`: its view, and for those who have no kernel the picture with its text.

    Whoever can show the view prefers it; whoever shows HTML gives the picture its alt text.
    """
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    coded = base64.b64encode(png).decode("ascii")
    return {VIEW: view, "text/html": image_html(coded, alt), "image/png": coded, "text/plain": alt}


def label(text: str, hint: str = "") -> str:
    """Return a visible label as HTML: `text` in bold, then a quiet `hint`."""
    more = f' <span style="opacity:.8">{escape(hint)}</span>' if hint else ""
    return f'<div style="line-height:1.3; padding-top:6px"><b>{escape(text)}</b>{more}</div>'


def labelled(widget: Any, text: str, hint: str = "") -> Any:
    """Return `widget` below a visible label: its own `description` would be cut, and a slider's handle has no name.

    A field or a list has the label's text as its `description`, too, without a width: a screen reader finds it there.
    """
    if isinstance(widget, (widgets.Text, widgets.Dropdown)):
        widget.description, widget.style.description_width = text, "0px"
    return stack([widgets.HTML(label(text, hint)), widget])


def stack(children: Sequence[Any], **layout: str) -> Any:
    """Return `children` one above another."""
    return widgets.VBox(list(children), layout=widgets.Layout(**layout))


def row(children: Sequence[Any], **layout: str) -> Any:
    """Return `children` side by side; they wrap where there is no room."""
    return widgets.HBox(list(children), layout=widgets.Layout(flex_flow="row wrap", **layout))


def log_slider(value: float, low: float, high: float) -> Any:
    """Return a slider over powers of ten from `low` to `high` (exponents), four stops a decade."""
    return widgets.FloatLogSlider(
        value=value, base=10, min=low, max=high, step=0.25, readout_format=".2g", continuous_update=False,
        layout=widgets.Layout(width="auto"),
    )  # fmt: skip


def window_slider(start: float, stop: float) -> Any:
    """Return a slider with two handles over [0, 1], read in percent."""
    return widgets.FloatRangeSlider(
        value=(start, stop), min=0.0, max=1.0, step=0.05, readout_format=".0%", continuous_update=False,
        layout=widgets.Layout(width="auto"),
    )  # fmt: skip


def share_slider(value: float) -> Any:
    """Return a slider over [0, 1], read in percent."""
    return widgets.FloatSlider(
        value=value, min=0.0, max=1.0, step=0.05, readout_format=".0%", continuous_update=False,
        layout=widgets.Layout(width="auto"),
    )  # fmt: skip


def size_slider(value: int, sizes: Sequence[int]) -> Any:
    """Return a slider over `sizes` and `value`."""
    return widgets.SelectionSlider(
        value=value, options=size_options({*sizes, value}), continuous_update=False,
        layout=widgets.Layout(width="auto"),
    )  # fmt: skip


def size_options(sizes: Iterable[int]) -> list[tuple[str, int]]:
    """Return what a size slider offers, as it reads and as it is."""
    return [(f"{size:,}", size) for size in sorted(sizes)]


def toggles(options: Sequence[tuple[str, object]], value: object) -> Any:
    """Return buttons of which one is pressed."""
    return widgets.ToggleButtons(options=list(options), value=value, style={"button_width": "auto"})


def button(name: str, **look: object) -> Any:
    """Return a button that is as wide as its name needs."""
    layout = widgets.Layout(width="auto", min_width="64px", margin="2px 4px 2px 0")
    return widgets.Button(description=name, layout=layout, **look)


def switch(name: str, value: bool = False, **look: object) -> Any:
    """Return a button that stays pressed, as wide as its name needs."""
    layout = widgets.Layout(width="auto", min_width="64px", margin="2px 4px 2px 0")
    return widgets.ToggleButton(value=value, description=name, layout=layout, **look)


def weakly(method: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return a callback that does not keep its owner alive: widgets live in a registry for as long as the kernel."""
    held = weakref.WeakMethod(method)

    def call(event: Any) -> None:
        found = held()
        if found is not None:
            found(event)

    return call


def close_all(several: Sequence[Any]) -> None:
    """Close widgets and everything in them."""
    for widget in several:
        close_all(getattr(widget, "children", ()))
        for part in (getattr(widget, "style", None), widget.layout):
            if isinstance(part, widgets.Widget):
                part.close()
        widget.lab = None
        widget.close()
