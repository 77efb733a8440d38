"""What every task offers to the training loop, and the order in which its examples come."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from wdlab.models import MemberModel
    from wdlab.run import Model


class Examples(Protocol):
    """Inputs [example, ...] with their labels [example, ...]; the first `test_size` of them are the test set."""

    @property
    def inputs(self) -> Tensor:
        """What is read, [example, ...]."""

    @property
    def labels(self) -> Tensor:
        """What is to be answered, [example, ...]."""

    def __len__(self) -> int: ...


class Task(ABC):
    """Data, batches, model, loss and metrics: all that `wdlab.train` needs to know of what is trained."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called in tables."""

    @property
    @abstractmethod
    def train_size(self) -> int:
        """How many examples a seed learns from."""

    @property
    @abstractmethod
    def test_size(self) -> int:
        """How many examples, the first ones, are only tested on."""

    @property
    @abstractmethod
    def epoch(self) -> int:
        """Steps in one pass over the training set."""

    @property
    @abstractmethod
    def steps(self) -> int:
        """Steps of a run of the task's own length."""

    @property
    def wrong(self) -> str:
        """What `test_error` is the share of, in words for the axis of a figure."""
        return "wrong answers"

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages, besides torch and mnist1d, whose versions decide what the examples are."""
        return ()

    @property
    def one_seed(self) -> bool:
        """Whether only runs of one seed can be members of one batch, for the shapes of batches are the seed's own."""
        return False

    @property
    def acts(self) -> bool:
        """Whether batches come of what each member's own net does, so that members of one seed have none in common."""
        return False

    @property
    def remembered(self) -> int:
        """Bytes that each member of a task that acts keeps of what it did."""
        return 0

    @property
    def together(self) -> int:
        """How many members train together on a CPU at most, or 0 where that is for the model to say."""
        return 0

    @abstractmethod
    def check(self, model: Model) -> None:
        """Raise ValueError for a model that cannot learn this task."""

    @abstractmethod
    def settings(self) -> dict[str, object]:
        """Return what a table says of the task, its name under "task"."""

    @abstractmethod
    def arrays(self) -> Examples:
        """Return all examples, shared by all who ask: clone before you change them."""

    def shape_inputs(self, inputs: Tensor, model: Model) -> Tensor:
        """Return inputs [..., example] in the shape `model` reads: as they are, if the task says nothing else."""
        return inputs

    @abstractmethod
    def build(self, model: Model, members: int) -> MemberModel:
        """Return the untrained `model` for `members` members."""

    @abstractmethod
    def batches(self, seeds: Sequence[int], examples: int, device: torch.device | str = "cpu") -> Order:
        """Return the training batches of several seeds in step."""

    @abstractmethod
    def evaluate(self, model: MemberModel, inputs: Tensor, labels: Tensor) -> dict[str, Float[Tensor, " member"]]:
        """Return each member's test_loss and test_error; a task that acts may say which tests were "broken", a bool."""


def generator(seed: int, stream: str) -> torch.Generator:
    """Return the generator of one `stream` of random numbers ("init", "order", ...) of a run's seed.

    Streams are independent of one another, so that drawing more from one never shifts another.
    """
    digest = hashlib.sha256(f"{seed}/{stream}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def only(task: Task, model: Model, names: Sequence[str]) -> None:
    """Raise ValueError when `model` is none of those called `names`, which alone can learn `task`."""
    if model.name not in names:
        allowed = " or ".join(map(repr, names))
        raise ValueError(f"model={model.name!r} is not allowed with task={task.name!r}; use {allowed}.")


class Order:
    """The training batches of several seeds in step: one gather serves all members of a seed.

    `indices(step)` -> [seed, batch]; every pass over the training set has a fresh order from the seed's generator.
    Passes are drawn in turn and never again, so a copy of this object goes on exactly where the original was.
    """

    @property
    def broken(self) -> tuple[int, ...]:
        """The members that cannot go on, whatever their net: none, where batches come of examples."""
        return ()

    def __init__(
        self, task: Task, batch_size: int, seeds: Sequence[int], examples: int, device: torch.device | str = "cpu"
    ) -> None:
        self.drawn_from, self.batch_size, self.seeds, self.device = task, batch_size, tuple(seeds), device
        pool = examples - task.test_size
        self.sets = [
            torch.randperm(pool, generator=generator(seed, "training set"))[: task.train_size] + task.test_size
            for seed in seeds
        ]
        self.orders = [generator(seed, "order") for seed in seeds]
        self.epoch = -1
        self.order = torch.empty(0, dtype=torch.int64)
        self.batch = slice(0)

    def follow(self, model: MemberModel) -> None:
        """Take note of the nets that learn: nothing, where batches do not come of what they do."""

    def indices(self, step: int) -> Int[Tensor, "seed batch"]:
        """Return the examples of batch `step` of every seed; steps must come in order."""
        epoch, within = divmod(step, self.drawn_from.epoch)
        while self.epoch < epoch:
            self._shuffle()
        self.batch = slice(within * self.batch_size, (within + 1) * self.batch_size)
        return self.order[:, self.batch]

    def _shuffle(self) -> None:
        pairs = zip(self.sets, self.orders, strict=True)
        order = torch.stack([chosen[torch.randperm(len(chosen), generator=order)] for chosen, order in pairs])
        self.order = order.to(self.device)  # once a pass: a copy at every step would make a GPU wait
        self.epoch += 1

    def labels(self, true: Int[Tensor, "example *label"]) -> Int[Tensor, "seed example *label"]:
        """Return the labels that each seed learns from."""
        return true.expand(len(self.seeds), *true.shape)

    def take(self, step: int, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return batch `step` of every seed, from inputs [example, ...] and each seed's labels [seed, example, ...]."""
        chosen = self.indices(step)
        rows = torch.arange(len(chosen), device=chosen.device).unsqueeze(1)
        return inputs[chosen], labels[rows, chosen]

    def fork(self) -> Order:
        """Return a copy with generators of its own, in the same state."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy.orders = [copied(one) for one in self.orders]
        return copy


def copied(one: torch.Generator) -> torch.Generator:
    """Return a generator of its own in the same state."""
    return torch.Generator().set_state(one.get_state())
