"""What can be read off a network and its training: norms and effective updates."""

from wdlab.measures.complexity import Measure, Subject, fold, rescale_
from wdlab.measures.dynamics import effective_lr, relative_gradient, relative_update, rotation
from wdlab.measures.norms import squared_norm, weight_norm
from wdlab.measures.sharpness import MEASURES, measure

__all__ = [
    "MEASURES",
    "Measure",
    "Subject",
    "effective_lr",
    "fold",
    "measure",
    "relative_gradient",
    "relative_update",
    "rescale_",
    "rotation",
    "squared_norm",
    "weight_norm",
]
