"""Random changes of training examples that leave their class as it is, drawn anew in every pass over the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

SIGNALS, IMAGES = ("shift", "scale", "noise"), ("shift", "mirror")
KINDS = {"mnist1d": SIGNALS, "fashion": IMAGES, "cifar10": IMAGES}
"""What may be done to the examples of each source."""

PADDING = 4  # pixels by which an image may be moved, as is usual for CIFAR
REACH = 5  # points by which a signal may be moved, round its ends, as MNIST-1D moves its digits
SCALE = 0.4  # width of the range of factors, the one MNIST-1D makes its signals with
NOISE = 0.1  # standard deviation of the noise added, where a signal has 1


def draw(source: str, size: int, features: int, generator: torch.Generator) -> Float[Tensor, "number example"]:
    """Return the random numbers of one pass over `size` examples: the same ones whatever kinds are asked for."""
    uniform = torch.rand(3, size, generator=generator, dtype=torch.float32)
    if KINDS[source] is IMAGES:
        return uniform
    return torch.cat([uniform, torch.randn(features, size, generator=generator, dtype=torch.float32)])


def move_images(
    images: Float[Tensor, "seed batch channel side side"],
    drawn: Float[Tensor, "number seed batch"],
    kinds: Sequence[str],
) -> Tensor:
    """Return images moved by up to 4 pixels in both directions ("shift") and mirrored or not ("mirror")."""
    side, channels = images.shape[-1], images.shape[2]
    reach = torch.arange(side, device=images.device)
    rows, columns = (
        ((d * (2 * PADDING + 1)).long() if "shift" in kinds else torch.full_like(d, PADDING).long()).unsqueeze(-1)
        + reach
        for d in drawn[:2]
    )
    if "mirror" in kinds:
        columns = torch.where((drawn[2] < 0.5).unsqueeze(-1), columns.flip(-1), columns)
    wide = torch.nn.functional.pad(images, (PADDING,) * 4)
    wide = wide.gather(3, rows[:, :, None, :, None].expand(-1, -1, channels, -1, wide.shape[-1]))
    return wide.gather(4, columns[:, :, None, None, :].expand(-1, -1, channels, side, -1))


def move_signals(
    signals: Float[Tensor, "seed batch *channel point"], drawn: Float[Tensor, "number seed batch"], kinds: Sequence[str]
) -> Tensor:
    """Return signals turned round by up to 5 points ("shift"), times 0.8 to 1.2 ("scale"), with noise of 0.1 added."""
    points, flat = signals.shape[-1], signals.flatten(2)
    if "shift" in kinds:
        start = (drawn[0] * (2 * REACH + 1)).long() - REACH
        places = (torch.arange(points, device=flat.device) + start.unsqueeze(-1)) % points
        flat = flat.gather(-1, places)
    if "scale" in kinds:
        flat = flat * (1 + SCALE * (drawn[1] - 0.5)).unsqueeze(-1)
    if "noise" in kinds:
        flat = flat + NOISE * drawn[3:].movedim(0, -1)
    return flat.view(signals.shape)
