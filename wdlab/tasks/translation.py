"""Translation of German number words into English ones: data, model, loss, exact match and BLEU, for members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from wdlab import data
from wdlab.checks import known, number, whole
from wdlab.data.number_words import END, ENGLISH, GERMAN, PAD, START
from wdlab.models import MemberModel, Transformer
from wdlab.tasks.task import Order

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from wdlab.run import Model

EVALUATION_BATCH = 250  # sentences a member is tested on at a time
LONGEST = 16  # words of an answer; no number below a million has more than eleven


@dataclass(frozen=True)
class Translation:
    """German to English number words below a million, as morphemes: `train_size` pairs drawn by the run's seed.

    The `test_size` test pairs are the same for every seed, and never trained on.
    """

    name: str = "translation"
    train_size: int = 300
    test_size: int = 500
    batch_size: int = 60
    epochs: int = 60
    flat: float = 0.5

    def __post_init__(self) -> None:
        for name in ("train_size", "test_size", "batch_size", "epochs"):
            whole(name, getattr(self, name), 1)
        whole("batch_size", self.batch_size, 1, self.train_size)

    @property
    def epoch(self) -> int:
        """Steps in one pass over the training set; what is left over after whole batches waits for the next pass."""
        return self.train_size // self.batch_size

    @property
    def steps(self) -> int:
        """Steps of a run of the task's own length."""
        return self.epochs * self.epoch

    def check(self, model: Model) -> None:
        """Raise ValueError for a model that does not translate."""
        known(f"model for the task {self.name!r}", model.name, ("transformer",))

    def settings(self) -> dict[str, object]:
        """Return what a table says of this task."""
        return {"task": self.name, "train_size": self.train_size}

    def arrays(self) -> data.Pairs:
        return _pairs(self.flat)

    def shape_inputs(self, inputs: Tensor, model: Model) -> Tensor:
        """Return the inputs as they are."""
        return inputs

    def build(self, model: Model, members: int) -> Transformer:
        return Transformer(members, (len(GERMAN.tokens), len(ENGLISH.tokens)), model.width, model.depth)

    def batches(self, seeds: Sequence[int], examples: int, device: torch.device | str = "cpu") -> Order:
        """Return the training batches of several seeds in step."""
        return Order(self, seeds, examples, device)

    def evaluate(self, model: MemberModel, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return evaluate(model, inputs, labels)


@lru_cache(maxsize=4)
def _pairs(flat):
    return data.number_words(flat=flat)


@torch.no_grad()
def evaluate(model, inputs, labels):
    model.eval()
    loss, right = (torch.zeros(model.members, device=inputs.device) for _ in range(2))
    for start in range(0, len(labels), EVALUATION_BATCH):
        source, target = (x[start : start + EVALUATION_BATCH].expand(model.members, -1, -1) for x in (inputs, labels))
        words = model(source, target)
        losses = F.cross_entropy(words.flatten(0, 2), target.flatten(), ignore_index=PAD, reduction="none")
        loss += losses.view(model.members, -1).sum(1)
        right += ((words.argmax(-1) == target) | (target == PAD)).all(-1).sum(-1)
    model.train()
    return {"test_loss": loss / (labels != PAD).sum(), "test_error": 1 - right / len(labels)}


TRANSLATIONS: dict[str, Translation] = {"translation": Translation()}
