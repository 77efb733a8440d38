"""The five axes of weight decay as one value: strength, timing, coupling, scaling, mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from wdlab.checks import known, number
from wdlab.decay.coupling import Scalar, coupling
from wdlab.decay.timing import Timing

Mask = str | Callable[[str, Tensor], bool] | None
"""Which tensors decay: "weights" (matrices and kernels), "everything", or a callable on name and tensor."""

MASKS = ("weights", "everything")
SCALINGS = ("lr", "lr/lr0", "none", "gradient_norm")


@dataclass(frozen=True)
class Decay:
    """Weight decay in full: how much, when, where it enters the optimizer, times what, and on which tensors.

    Raises ValueError for a negative or non-finite `strength` (lambda) and for an unknown name.
    """

    strength: float = 0.0
    timing: Timing = field(default_factory=Timing.always)
    coupling: str = "l2"
    scaling: str = "lr"
    mask: str = "weights"

    def __post_init__(self) -> None:
        object.__setattr__(self, "strength", number("weight_decay", self.strength, 0))  # 1 and 1.0 are one run
        coupling(self.coupling)
        known("mask", self.mask, MASKS)
        check_scaling(self.scaling, self.coupling)


def check_scaling(scaling: str, coupling_name: str) -> None:
    """Raise ValueError for an unknown scaling, or one that a coupling cannot have.

    gradient_norm needs v before lambda is known, so it cannot serve a coupling that puts lambda into v.
    """
    known("scaling", scaling, SCALINGS)
    if scaling == "gradient_norm" and coupling(coupling_name).a_v:
        raise ValueError(
            f"scaling='gradient_norm' is not allowed with coupling={coupling_name!r}, whose decay enters v, of which "
            "the scaling is made; choose a coupling with a_v = 0, such as 'decoupled'."
        )


def is_decayed(mask: Mask, name: str, tensor: Tensor, member_axis: bool = False) -> bool:
    """Whether `mask` lets weight decay act on a parameter; with `member_axis` its first axis is not counted.

    "weights" takes tensors of two or more axes, which leaves biases and the scale and shift of normalization alone.
    """
    if callable(mask):
        return bool(mask(name, tensor))
    if mask is None or known("mask", mask, MASKS) == "everything":
        return True
    return tensor.ndim - int(member_axis) >= 2


def scale(scaling: str, lr: Scalar, lr0: Scalar, mean_square: Scalar | None = None) -> Scalar:
    """Return k, by which lambda is multiplied so that lr k lambda is the decay of one step.

    lr: k = 1, as torch. lr/lr0: k = 1/lr0, the schedule alone, as the AdamW paper (Loshchilov and Hutter 2019).
    none: k = 1/lr, so lr cancels. gradient_norm: k = 1/sqrt(mean_square), where mean_square is the mean over all
    parameters of the bias-corrected second moment (Xie et al. 2023); plain SGD has none, and takes the mean of the
    squared gradient itself (our extension).
    """
    if scaling == "lr/lr0":
        return 1 / lr0
    if scaling == "none":
        return _power_or_zero(lr, -1)
    if scaling == "gradient_norm":
        if mean_square is None:
            raise ValueError("mean_square=None is not allowed with scaling='gradient_norm'; give the mean of v.")
        return _power_or_zero(mean_square, -0.5)
    return 1.0


def _power_or_zero(value: Scalar, exponent: float) -> Scalar:
    """value^exponent, and 0 at 0: without lr or gradient no decay, or lambda/0 would stay in the buffers for good."""
    if isinstance(value, Tensor):
        return torch.where(value > 0, value**exponent, value)
    return value**exponent if value else 0.0
