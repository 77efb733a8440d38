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

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        # The bare PNG is for code hosts that show stored notebooks; the HTML carries the alt text to a screen reader.
        data = base64.b64encode(self.png()).decode()
        html = f'<img src="data:image/png;base64,{data}" alt="{escape(self.alt)}" style="max-width: 100%">'
        return {"text/plain": self.alt, "text/html": html, "image/png": data}
