"""The subject: when weight decay acts (timing) and where it enters the optimizer (coupling). No training here."""

from wdlab.decay.axes import MASKS, SCALINGS, Decay, Mask, check_scaling, is_decayed, scale
from wdlab.decay.coupling import COUPLINGS, AdamBuffers, Coupling, Rates, adam_, coupling, rates, second_moment_, sgd_
from wdlab.decay.timing import Timing

__all__ = [
    "COUPLINGS",
    "MASKS",
    "SCALINGS",
    "AdamBuffers",
    "Coupling",
    "Decay",
    "Mask",
    "Rates",
    "Timing",
    "adam_",
    "check_scaling",
    "coupling",
    "is_decayed",
    "rates",
    "scale",
    "second_moment_",
    "sgd_",
]
