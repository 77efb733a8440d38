"""The subject: when weight decay acts (timing) and where it enters the optimizer (coupling). No training here."""

from wdlab.decay.axes import MASKS, SCALINGS, Decay, Mask, check_scaling, is_decayed, scale
from wdlab.decay.coupling import (
    COUPLINGS,
    AdamBuffers,
    Coupling,
    Parts,
    Rates,
    adam_,
    adam_parts,
    coupling,
    first_moment_,
    momentum_,
    rates,
    second_moment_,
    sgd_,
    sgd_parts,
)
from wdlab.decay.timing import Timing

__all__ = [
    "COUPLINGS",
    "MASKS",
    "SCALINGS",
    "AdamBuffers",
    "Coupling",
    "Decay",
    "Mask",
    "Parts",
    "Rates",
    "Timing",
    "adam_",
    "adam_parts",
    "check_scaling",
    "coupling",
    "first_moment_",
    "is_decayed",
    "momentum_",
    "rates",
    "scale",
    "second_moment_",
    "sgd_",
    "sgd_parts",
]
