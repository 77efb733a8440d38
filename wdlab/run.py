"""What a run is: frozen values that say everything about one training, and nothing about how it is carried out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from wdlab.checks import known, number, whole
from wdlab.decay import Decay
from wdlab.decay.coupling import COUPLINGS
from wdlab.models.transformer import HEADS
from wdlab.tasks import TASKS, Task, task

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

MODELS = ("mlp", "resnet", "transformer", "convnet")
OPTIMIZERS = ("sgd", "adam", "rmsprop")
SCHEDULES = ("constant", "exponential", "cosine", "inverse_sqrt")


@dataclass(frozen=True)
class Model:
    """A network: its kind, width (units or channels), depth (hidden layers or stages), with BatchNorm or not.

    A "transformer" has `depth` layers on each side; it always normalizes, by LayerNorm. A "convnet" is the Q-network of
    games that are seen as images, with `depth` convolutions.

    `blocks` is how many residual blocks a stage has; ResNet-18 is Model("resnet", 64, 4, blocks=2).
    """

    name: str = "mlp"
    width: int = 100
    depth: int = 3
    norm: bool = True
    blocks: int = 1

    def __post_init__(self) -> None:
        known("model", self.name, MODELS)
        whole("blocks", self.blocks, 1)
        whole("width", self.width, 1)
        whole("depth", self.depth, 1)
        if self.name not in ("mlp", "convnet") and not self.norm:
            raise ValueError(
                f"norm=False is not allowed with model={self.name!r}; use model='mlp' for a net without BatchNorm."
            )
        if self.name == "transformer" and self.width % (2 * HEADS):
            raise ValueError(
                f"width={self.width} is not allowed with model='transformer', which has {HEADS} heads; give a "
                f"multiple of {2 * HEADS}."
            )


@dataclass(frozen=True)
class Optimizer:
    """SGD (with `momentum`, `nesterov`), Adam or RMSProp (with `betas`, `eps`) at a starting learning rate `lr`.

    "rmsprop" is TensorFlow's: centered, no momentum, eps inside the root. No mean stands in its numerator, so its
    `betas` are (0.0, alpha); see `wdlab.decay.rmsprop_`.

    `eps` is above 0: a weight that never had a gradient would divide 0 by it.
    """

    name: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        known("optimizer", self.name, OPTIMIZERS)
        if not isinstance(self.betas, tuple | list) or len(self.betas) != 2:
            raise ValueError(f"betas={self.betas!r} is not allowed; give two numbers in [0, 1): (0.9, 0.999).")
        betas = tuple(number(f"betas[{index}]", beta, 0, 1, below=True) for index, beta in enumerate(self.betas))
        if self.name == "rmsprop" and betas[0]:
            raise ValueError(
                f"betas={betas} is not allowed with optimizer='rmsprop', which has no mean of gradients in its "
                f"numerator; give (0.0, alpha): betas=(0.0, {betas[1]:g})."
            )
        lr, eps = number("lr", self.lr, 0, above=True), number("eps", self.eps, 0, above=True)
        _keep(self, lr=lr, momentum=number("momentum", self.momentum, 0, 1, below=True), betas=betas, eps=eps)


@dataclass(frozen=True)
class Schedule:
    """How the learning rate moves: constant, or down to `final` times its start, exponentially or along a cosine.

    lr_t / lr_0 = final^(t/T) (exponential) or final + (1 - final)(1 + cos(pi t/T))/2 (cosine), t = 0 ... T-1. The first
    `warmup` fraction of the run climbs linearly. "inverse_sqrt" knows no end: sqrt(c/(t + 1)) after the c steps of its
    climb (Vaswani et al. 2017).
    """

    name: str = "exponential"
    final: float = 0.002
    warmup: float = 0.0

    def __post_init__(self) -> None:
        known("schedule", self.name, SCHEDULES)
        _keep(self, final=number("final", self.final, 0, 1, above=True), warmup=number("warmup", self.warmup, 0, 1))

    def table(self, steps: int) -> Float[Tensor, " step"]:
        """Return the multipliers of the starting learning rate at each of `steps` steps, float64 of shape [step].

        >>> Schedule("exponential", final=0.25).table(2)
        tensor([1.0000, 0.5000], dtype=torch.float64)
        """
        whole("steps", steps, 1)
        step = torch.arange(steps, dtype=torch.float64)
        done = step / steps
        climb = self.warmup * steps
        if self.name == "constant":
            table = torch.ones_like(done)
        elif self.name == "inverse_sqrt":
            table = (max(climb, 1.0) / (step + 1)).sqrt().clamp(max=1.0)
        elif self.name == "exponential":
            table = self.final**done
        else:
            table = self.final + (1 - self.final) * (1 + torch.cos(math.pi * done)) / 2
        return table * (((step + 1) / climb).clamp(max=1.0) if climb >= 1 else 1.0)


@dataclass(frozen=True)
class Match:
    """What a run copies, at every step, from its leader: the same run under the decay given here, and without a match.

    Only scale-invariant weights (those that feed a normalization) are touched, tensor by tensor.

    norm: after each step W <- W ||W'|| / ||W||, where W' is the leader's tensor; "start" stands for the norm that W
    began with. effective_lr: W learns at lr ||W||^2 / ||W'||^2 under SGD and lr ||W|| / ||W'|| under Adam, which turns
    it as lr turns the leader's. Both leave the function that the network computes as it is; what they change is how
    far the next steps turn the weights. Our operationalization.
    """

    norm: Decay | str | None = None
    effective_lr: Decay | None = None

    def __post_init__(self) -> None:
        if isinstance(self.norm, str):
            known("norm", self.norm, ("start",))
        for name, value in (("norm", self.norm), ("effective_lr", self.effective_lr)):
            if not isinstance(value, Decay | str | None) or (name == "effective_lr" and isinstance(value, str)):
                raise ValueError(f"{name}={value!r} is not allowed; give the wdlab.Decay of the run to copy from.")

    @property
    def leaders(self) -> tuple[Decay, ...]:
        """The decays of the runs that are copied from."""
        return tuple(one for one in (self.norm, self.effective_lr) if isinstance(one, Decay))

    def __str__(self) -> str:
        told = []
        if self.norm is not None:
            told.append(f"norm of {self.norm if isinstance(self.norm, str) else self.norm.timing}")
        if self.effective_lr is not None:
            told.append(f"effective lr of {self.effective_lr.timing}")
        return " and ".join(told)


@dataclass(frozen=True)
class Run:
    """One training: a task, a model, an optimizer with its schedule, weight decay, a seed and a number of steps.

    `match` lets it copy its norm or its effective lr from a run with other decay.

    `task` is a name from `wdlab.tasks.TASKS` or a task; `steps` defaults to the task's own; the net is tested at
    `evaluations` evenly spaced moments. Runs with the same task and seed see the same training set in the same order,
    and start from the same weights when their models agree. Raises ValueError for anything that is not allowed.
    """

    task: Task = field(default_factory=lambda: TASKS["mnist1d"])
    model: Model = field(default_factory=Model)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    decay: Decay = field(default_factory=Decay)
    seed: int = 0
    steps: int = 0
    evaluations: int = 20
    match: Match = field(default_factory=Match)

    def __post_init__(self) -> None:
        if isinstance(self.task, str):
            _keep(self, task=task(self.task))
        for name, kind in _PARTS.items():
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"{name}={getattr(self, name)!r} is not allowed; give a wdlab.{kind.__name__}.")
        whole("seed", self.seed)
        if self.steps == 0:
            _keep(self, steps=self.task.steps)
        whole("steps", self.steps, 1)
        whole("evaluations", self.evaluations, 1)
        self.task.check(self.model)
        self._check_match()
        if self.optimizer.name == "sgd" and not _reaches_sgd(self.decay.coupling):
            raise ValueError(
                f"coupling={self.decay.coupling!r} does nothing under SGD, which has no second moment; use optimizer "
                "'adam', or another coupling."
            )
        if self.optimizer.name == "rmsprop" and self.decay.scaling == "gradient_norm":
            raise ValueError(
                "scaling='gradient_norm' is not allowed with optimizer='rmsprop': it is defined by Adam's "
                "bias-corrected v; use another scaling, such as 'lr', or optimizer 'adam'."
            )

    def _check_match(self) -> None:
        if self.match != Match() and (not self.model.norm or self.model.name == "transformer"):
            raise ValueError(
                "match needs weights that feed a normalization; use an 'mlp' with norm=True or a 'resnet'."
            )
        for leader in self.match.leaders:
            if (leader.scaling, leader.mask) != (self.decay.scaling, self.decay.mask):
                raise ValueError(
                    f"match={str(self.match)!r} is not allowed: the run to copy from must have this scaling and mask "
                    f"too, {self.decay.scaling!r} and {self.decay.mask!r}, for the two train side by side."
                )

    def following(self, decay: Decay) -> Run:
        """Return the run that this one would copy from under `decay`."""
        return replace(self, decay=decay, match=Match())


_PARTS = {
    "task": Task,
    "model": Model,
    "optimizer": Optimizer,
    "schedule": Schedule,
    "decay": Decay,
    "match": Match,
}


def _keep(made: object, **values: object) -> None:
    """Set fields of a frozen dataclass while it is made: numbers as plain floats, so that equal runs look alike."""
    for name, value in values.items():
        object.__setattr__(made, name, value)


def _reaches_sgd(name: str) -> bool:
    a_m, _, *rest = COUPLINGS[name].numbers
    return bool(a_m) or any(rest)
