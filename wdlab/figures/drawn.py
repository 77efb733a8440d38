"""What every figure function returns: the picture, the data it shows, and the picture in words."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from html import escape

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 110


@dataclass(frozen=True)
class Drawn:
    """A figure with the `data` it shows and its `alt` text, written from those data; displays itself in a notebook."""

    figure: Figure
    alt: str
    data: pd.DataFrame = field(default_factory=pd.DataFrame)

    def png(self) -> bytes:
        """Return the picture as PNG, drawn without pyplot."""
        canvas = self.figure.canvas
        if not isinstance(canvas, FigureCanvasAgg):
            canvas = FigureCanvasAgg(self.figure)
        out = io.BytesIO()
        self.figure.savefig(out, format="png", dpi=DPI, facecolor="white")
        return out.getvalue()

    def html(self) -> str:
        """Return the picture as an HTML image whose alt text is `alt`, with nothing but itself to fetch."""
        return image_html(self._coded(), self.alt)

    def _coded(self) -> str:
        return base64.b64encode(self.png()).decode("ascii")

    def _ipython_display_(self) -> None:
        # JupyterLab gives an image/png no alt attribute, so the picture is HTML, too; code hosts want the PNG.
        # The words also stand beside it, for everybody.
        from IPython.display import HTML, display

        png = self._coded()
        shown = {"text/html": image_html(png, self.alt), "image/png": png, "text/plain": self.alt}
        display(shown, raw=True)  # type: ignore[no-untyped-call]
        display(HTML(f"<details><summary>This figure in words</summary>{escape(self.alt)}</details>"))  # type: ignore[no-untyped-call]


def image_html(png: str, alt: str) -> str:
    """Return HTML for a picture, given as PNG in base64, that says `alt` where it cannot be seen."""
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{png}" style="max-width:100%"/>'
