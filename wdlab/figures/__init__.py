"""Matplotlib figures of the course; each function returns the picture, its data and its alt text."""

from wdlab.figures.arms import gains
from wdlab.figures.drawn import Drawn
from wdlab.figures.timing import critical_period, curves, ends, lines
from wdlab.figures.verdicts import beside, forest, what_stood

__all__ = ["Drawn", "beside", "critical_period", "curves", "ends", "forest", "gains", "lines", "what_stood"]
