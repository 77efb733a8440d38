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

    def _ipython_display_(self) -> None:
        # JupyterLab gives an image output no alt attribute, so the words stand beside it, for everybody.
        from IPython.display import HTML, display

        display({"image/png": base64.b64encode(self.png()).decode(), "text/plain": self.alt}, raw=True)  # type: ignore[no-untyped-call]
        display(HTML(f"<details><summary>This figure in words</summary>{escape(self.alt)}</details>"))  # type: ignore[no-untyped-call]
