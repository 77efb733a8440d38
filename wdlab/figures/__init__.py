"""Matplotlib figures of the course; each function returns the picture, its data and its alt text."""

from wdlab.figures.drawn import Drawn

__all__ = ["Drawn"]
