"""The widgets: dials, live runs, predictions; thin over the rest of wdlab."""

from wdlab.lab.dials import Dials
from wdlab.lab.lab import Lab

__all__ = ["Dials", "Lab"]
