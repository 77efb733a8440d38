"""The widgets: dials, live runs, predictions; thin over the rest of wdlab."""

from wdlab.lab.classroom import class_totals
from wdlab.lab.dials import Dials
from wdlab.lab.fork import Fork
from wdlab.lab.lab import Lab
from wdlab.lab.perturb import Perturb
from wdlab.lab.predict import Predictions
from wdlab.lab.rescale import Rescale
from wdlab.lab.trajectory import Trajectory

__all__ = ["Dials", "Fork", "Lab", "Perturb", "Predictions", "Rescale", "Trajectory", "class_totals"]
