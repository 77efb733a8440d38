"""The widgets: dials, live runs, predictions; thin over the rest of wdlab."""

from wdlab.lab.blind import BlindTuning
from wdlab.lab.budget import Budget
from wdlab.lab.classroom import class_totals
from wdlab.lab.dials import Dials
from wdlab.lab.explorer import Explorer, stored
from wdlab.lab.grid import Grid
from wdlab.lab.lab import Lab
from wdlab.lab.period import CriticalPeriod
from wdlab.lab.perturb import Perturb
from wdlab.lab.player import Player
from wdlab.lab.predict import Predictions
from wdlab.lab.rescale import Rescale
from wdlab.lab.split import SplitStep
from wdlab.lab.trajectory import Trajectory
from wdlab.lab.translator import Translator

__all__ = [
    "BlindTuning",
    "Budget",
    "CriticalPeriod",
    "Dials",
    "Explorer",
    "Grid",
    "Lab",
    "Perturb",
    "Player",
    "Predictions",
    "Rescale",
    "SplitStep",
    "Trajectory",
    "Translator",
    "class_totals",
    "stored",
]
