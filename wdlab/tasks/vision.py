"""Classification of small images and signals: data, model, loss and metrics, for members side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wdlab import data
from wdlab.checks import known, number, whole
from wdlab.data.fashion import SIZES
from wdlab.data.mnist_1d import CHUNK
from wdlab.models import MLP, MemberModel, ResNet, cross_entropy
from wdlab.tasks.augment import KINDS, draw, move_images, move_signals
from wdlab.tasks.task import Order, Task, copied, generator, only

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from wdlab.run import Model

SOURCES = ("mnist1d", "fashion", "cifar10")
CLASSES = 10  # of each source
SIGNAL = 40  # points of a signal of MNIST-1D
EVALUATION_BATCH = 250  # examples a member is tested on at a time: little memory, and it stays in the caches


@dataclass(frozen=True)
class Vision(Task):
    """A classification task: `train_size` examples drawn by the run's seed from `source`, `test_size` fixed ones.

    The test examples are the first of the source and the same for every seed; training examples are drawn from the
    rest, so that seeds differ in what they learn from, in their initial weights and in the order of their batches.
    `image_size` is the side of an image in pixels (Fashion-MNIST only). `steps` is how long a run takes by default.

    Four dials turn the data: `label_noise`, the share of training labels replaced by one drawn uniformly from all
    classes (tests keep the true ones); `classes`, to keep only the first few classes; `augment`, what is done to the
    training examples at random, anew in every pass ("shift", "scale", "noise" for signals; "shift", "mirror" for
    images); and `train_size`, which for MNIST-1D may be as large as you like: what goes beyond the first 10,000 signals
    is made.
    """

    name: str = "mnist1d"
    source: str = "mnist1d"
    train_size: int = 4000
    test_size: int = 2000
    batch_size: int = 128
    image_size: int = 14
    epochs: int = 40
    augment: tuple[str, ...] = ()
    label_noise: float = 0.0
    classes: int | None = None

    def __post_init__(self) -> None:
        known("source", self.source, SOURCES)
        for name in ("train_size", "test_size", "batch_size", "image_size", "epochs"):
            whole(name, getattr(self, name), 1)
        whole("batch_size", self.batch_size, 2, self.train_size)
        if self.source == "fashion" and self.image_size not in SIZES:
            raise ValueError(f"image_size={self.image_size!r} is not allowed; give 7, 14 or 28 (the original's).")
        object.__setattr__(self, "augment", _kinds(self.augment, self.source))
        object.__setattr__(self, "label_noise", number("label_noise", self.label_noise, 0, 1))
        if self.classes is not None:
            whole("classes", self.classes, 2, CLASSES)

    @property
    def epoch(self) -> int:
        """Steps in one pass over the training set; what is left over after whole batches waits for the next pass."""
        return self.train_size // self.batch_size

    @property
    def steps(self) -> int:
        """Steps of a run of the task's own length."""
        return self.epochs * self.epoch

    def arrays(self) -> data.Arrays:
        """Return every example of the source, shared by all who ask: clone before you change them.

        Raises ValueError when the source holds too few for this task.
        """
        found = self._pool()
        spare = len(found.labels) - self.test_size
        if self.train_size > spare:
            raise ValueError(
                f"train_size={self.train_size} is not allowed; {self.source} has {len(found.labels)} examples, and "
                f"test_size={self.test_size} leaves {spare}."
            )
        return found

    def _pool(self) -> data.Arrays:
        """Every example there is to draw from: those of the source, of the classes kept, and as many more as needed."""
        found = _source(self.source, self.image_size)
        if self.source == "mnist1d":
            missing = self.train_size + self.test_size - len(found.labels) * (self.classes or CLASSES) // CLASSES
            if missing > 0:
                found = _with_more(math.ceil(missing / (self.classes or CLASSES) * CLASSES / CHUNK))
        if self.classes is None:
            return found
        kept = found.labels < self.classes
        return data.Arrays(found.inputs[kept], found.labels[kept], self.classes)

    def build(self, model: Model, members: int) -> MemberModel:
        """Return the untrained `model` for `members` members, sized for this task's inputs and classes."""
        arrays = self.arrays()
        shape = tuple(arrays.inputs.shape[1:])
        if model.name == "mlp":
            features = int(torch.tensor(shape).prod())
            return MLP(members, [features, *[model.width] * model.depth, arrays.classes], norm=model.norm)
        channels = 1 if len(shape) == 1 else shape[0]
        spatial = 1 if len(shape) == 1 else len(shape) - 1
        return ResNet(members, channels, model.width, model.depth, arrays.classes, spatial, model.blocks)

    def check(self, model: Model) -> None:
        """Raise ValueError for a model that does not classify, or one whose inputs `augment` could not move."""
        only(self, model, ("mlp", "resnet"))
        if self.augment and self.source != "mnist1d" and model.name != "resnet":
            raise ValueError(
                f"model={model.name!r} is not allowed with augment={self.augment!r}, which moves images; use 'resnet'."
            )

    def settings(self) -> dict[str, object]:
        """Return what a table says of this task."""
        return {
            "task": self.name,
            "train_size": self.train_size,
            "label_noise": self.label_noise,
            "classes": self.classes or CLASSES,
            "augment": " ".join(self.augment),
        }

    def batches(self, seeds: Sequence[int], examples: int, device: torch.device | str = "cpu") -> Batches:
        """Return the training batches of several seeds in step."""
        return Batches(self, seeds, examples, device)

    def evaluate(
        self, model: MemberModel, inputs: Float[Tensor, "example ..."], labels: Int[Tensor, " example"]
    ) -> dict[str, Float[Tensor, " member"]]:
        """Return each member's test loss and test error, see `evaluate`."""
        return evaluate(model, inputs, labels)

    def shape_inputs(self, inputs: Tensor, model: Model) -> Tensor:
        """Return inputs [..., example] in the shape `model` reads: flat for an MLP, with channels for a ResNet."""
        lead = inputs.shape[: inputs.ndim - (1 if self.source == "mnist1d" else 3)]
        if model.name == "mlp":
            return inputs.reshape(*lead, -1)
        return inputs.unsqueeze(-2) if self.source == "mnist1d" else inputs


def of_vision(task: Task) -> Vision:
    """Return `task` if it is one of vision; raises ValueError for another, which has none of its dials."""
    if isinstance(task, Vision):
        return task
    raise ValueError(f"task={task.name!r} is not allowed here; give a wdlab.Vision, such as 'mnist1d'.")


def _kinds(augment: object, source: str) -> tuple[str, ...]:
    if isinstance(augment, bool | str) or not isinstance(augment, Iterable):
        raise ValueError(f"augment={augment!r} is not allowed; give a tuple of {', '.join(map(repr, KINDS[source]))}.")
    return tuple(kind for kind in KINDS[source] if kind in {known("augment", one, KINDS[source]) for one in augment})


@lru_cache(maxsize=1)
def _with_more(chunks: int) -> data.Arrays:
    """MNIST-1D and `chunks` times 10,000 more signals made with other seeds, the well-known ones first."""
    first, more = data.mnist1d(), data.mnist1d_chunks(chunks)
    return data.Arrays(torch.cat([first.inputs, more.inputs]), torch.cat([first.labels, more.labels]), first.classes)


@lru_cache(maxsize=2)
def _source(source: str, image_size: int) -> data.Arrays:
    if source == "mnist1d":
        return data.mnist1d()
    if source == "fashion":
        return data.fashion_mnist(image_size)
    train, test = data.cifar10()
    inputs, labels = torch.cat([test.inputs, train.inputs]), torch.cat([test.labels, train.labels])
    return data.Arrays(inputs, labels, train.classes)  # the official test set is the fixed part, as everywhere


class Batches(Order):
    """The batches of a vision task: as `Order`, with labels that may be noise and examples changed at random."""

    def __init__(self, task: Vision, seeds: Sequence[int], examples: int, device: torch.device | str = "cpu") -> None:
        super().__init__(task, task.batch_size, seeds, examples, device)
        self.task, self.classes, self.features = task, task.classes or CLASSES, SIGNAL
        self.moves = [generator(seed, "augment") for seed in seeds]
        self.drawn = torch.empty(0)

    def _shuffle(self) -> None:
        super()._shuffle()
        if self.task.augment:
            size = self.task.train_size
            passes = [draw(self.task.source, size, self.features, move) for move in self.moves]
            self.drawn = torch.stack(passes, 1).to(self.device)

    def labels(self, true: Int[Tensor, " example"]) -> Int[Tensor, "seed example"]:
        """Return the labels that each seed learns from, of which `label_noise` are drawn uniformly from all classes.

        More noise keeps the wrong labels that less noise has: the example's threshold and its drawn label are the
        seed's own.
        """
        if not self.task.label_noise:
            return super().labels(true)
        noise = [generator(seed, "label noise") for seed in self.seeds]
        threshold = torch.stack([torch.rand(len(true), generator=one) for one in noise]).to(true.device)
        drawn = torch.stack([torch.randint(self.classes, (len(true),), generator=one) for one in noise])
        return torch.where(threshold < self.task.label_noise, drawn.to(true.device), true)

    def take(self, step: int, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return batch `step` of every seed as `Order` does, its inputs changed at random as the task says."""
        inputs, labels = super().take(step, inputs, labels)
        return self.augment(inputs), labels

    def augment(self, inputs: Float[Tensor, "seed batch ..."]) -> Tensor:
        """Return the inputs of the batch last asked for, changed at random in the ways that the task names."""
        if not self.task.augment:
            return inputs
        move = move_signals if self.task.source == "mnist1d" else move_images
        return move(inputs, self.drawn[:, :, self.batch], self.task.augment)

    def fork(self) -> Batches:
        """Return a copy with generators of its own, in the same state."""
        copy = super().fork()
        assert isinstance(copy, Batches)
        copy.moves = [copied(one) for one in self.moves]
        return copy


@torch.no_grad()
def evaluate(
    model: MemberModel, inputs: Float[Tensor, "example ..."], labels: Int[Tensor, " example"]
) -> dict[str, Float[Tensor, " member"]]:
    """Return each member's mean test loss (nats) and test error (share of examples) in evaluation mode."""
    model.eval()
    loss = torch.zeros(model.members, dtype=inputs.dtype, device=inputs.device)
    wrong = torch.zeros_like(loss)
    for start in range(0, len(labels), EVALUATION_BATCH):
        part, answer = inputs[start : start + EVALUATION_BATCH], labels[start : start + EVALUATION_BATCH]
        answers = answer.expand(model.members, -1)
        logits = model(part.expand(model.members, *part.shape))
        loss += cross_entropy(logits, answers) * len(answer)
        wrong += (logits.argmax(-1) != answers).sum(-1)
    model.train()
    return {"test_loss": loss / len(labels), "test_error": wrong / len(labels)}


_MNIST1D = Vision()
_FASHION = Vision(name="fashion", source="fashion", train_size=1000, test_size=2000, epochs=60)

TASKS: dict[str, Vision] = {
    "mnist1d": _MNIST1D,
    "fashion": _FASHION,
    "fashion_full": replace(_FASHION, name="fashion_full", train_size=4000, image_size=28, epochs=40),
    "cifar10": Vision("cifar10", "cifar10", 50_000, 10_000, epochs=200, augment=("shift", "mirror")),
}
