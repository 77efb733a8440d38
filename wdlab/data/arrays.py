"""What every data set of wdlab is: inputs, labels and the number of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64, Shaped, UInt8
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Arrays:
    """Labelled examples, ready to train on.

    Shapes: inputs float32 [n, feature] or [n, channel, height, width], standardized; labels int64 [n],
    each in [0, classes). Raises ValueError when the three do not fit together.

    >>> len(Arrays(torch.zeros(3, 40), torch.tensor([0, 1, 1]), classes=2))
    3
    """

    inputs: Float32[Tensor, " example *feature"]
    labels: Int64[Tensor, " example"]
    classes: int

    def __post_init__(self) -> None:
        if self.inputs.dtype != torch.float32:
            raise ValueError(f"inputs has dtype {self.inputs.dtype}; give float32: inputs.float() makes it.")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.inputs.shape[:1]:
            raise ValueError(
                f"labels has dtype {self.labels.dtype} and shape {list(self.labels.shape)}; needed is int64 "
                f"and one label for each of the {len(self.inputs)} inputs."
            )
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < self.classes:
            low, high = int(self.labels.min()), int(self.labels.max())
            raise ValueError(
                f"labels go from {low} to {high}; with classes={self.classes} each must be in "
                f"[0, {self.classes}): renumber the labels or give the true number of classes."
            )

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Sentences with their translations, as tokens.

    Shapes: inputs int64 [n, source token] and labels int64 [n, target token], filled up with the token 0. Raises
    ValueError when they do not fit together.
    """

    inputs: Int64[Tensor, "example token"]
    labels: Int64[Tensor, "example token"]

    def __post_init__(self) -> None:
        for name, tensor in (("inputs", self.inputs), ("labels", self.labels)):
            if tensor.dtype != torch.int64 or tensor.ndim != 2 or len(tensor) != len(self.inputs):
                raise ValueError(
                    f"{name} has dtype {tensor.dtype} and shape {list(tensor.shape)}; needed is int64 and a row for "
                    f"each of the {len(self.inputs)} sentences."
                )

    def __len__(self) -> int:
        return len(self.inputs)


def from_records(
    data: bytes, label_bytes: int, shape: tuple[int, int, int]
) -> tuple[UInt8[Tensor, "example channel height width"], Int64[Tensor, " example"]]:
    """Split records of label bytes followed by one image of the given (channel, height, width).

    Of several label bytes the last is the class (CIFAR-100 writes the coarse label first). This is the
    binary format of the CIFAR files, and of the Fashion-MNIST subset shipped here. Raises ValueError when
    the data do not hold a whole number of records.

    >>> images, labels = from_records(bytes([7, 1, 2, 3, 4]), 1, (1, 2, 2))
    >>> images.tolist(), labels.tolist()
    ([[[[1, 2], [3, 4]]]], [7])
    """
    channel, height, width = shape
    size = label_bytes + channel * height * width
    if not data or len(data) % size:
        raise ValueError(f"data holds {len(data)} bytes; give a whole number of records of {size} bytes.")
    # A bytearray because torch warns about tensors over memory that it may not write to.
    records = torch.frombuffer(bytearray(data), dtype=torch.uint8).view(-1, size)
    return records[:, label_bytes:].reshape(-1, *shape), records[:, label_bytes - 1].long()


def standardize_(
    images: Float32[Tensor, "example channel height width"],
    like: Shaped[Tensor, "other channel height width"] | None = None,
) -> Float32[Tensor, "example channel height width"]:
    """Shift and scale the images in place until each channel of `like` (default: images) has mean 0, std 1.

    Test images take the numbers of the training images: `standardize_(test, like=train)`, then
    `standardize_(train)`. A channel without any spread is only shifted.
    """
    reference = images if like is None else like
    std, mean = torch.std_mean(reference, dim=(0, 2, 3), correction=0, keepdim=True)
    return images.sub_(mean).div_(torch.where(std > 0, std, 1.0))
