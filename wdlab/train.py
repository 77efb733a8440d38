"""The one training loop: runs of one shape advance together as members, step by step.

`Training` is a stepper. `wdlab.sweep` drives it to the end; the Lab drives it by hand, forks it and turns its dials.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wdlab.checks import known, whole
from wdlab.decay import (
    AdamBuffers,
    Decay,
    Parts,
    Rates,
    RMSBuffers,
    Timing,
    adam_,
    adam_parts,
    coupling,
    first_moment_,
    is_decayed,
    momentum_,
    rates,
    rmsprop_,
    rmsprop_parts,
    scale,
    second_moment_,
    sgd_,
    sgd_parts,
)
from wdlab.decay.coupling import Scalar
from wdlab.matching import Matching
from wdlab.measures import effective_lr, rotation, weight_norm
from wdlab.models import MemberModel, flatten
from wdlab.run import Match, Run, Schedule
from wdlab.tasks import generator

if TYPE_CHECKING:
    from jaxtyping import Float

NARROW = 256  # widest MLP that trains on one thread
CURVES = (
    "lr",
    "weight_decay",
    "train_loss",
    "test_loss",
    "test_error",
    "weight_norm",
    "effective_lr",
    "rotation",
    "objective_step",
    "decay_step",
)


@dataclass(frozen=True)
class History:
    """What one run left behind: `curves` by name, each [evaluation], with the `steps` at which they were read.

    After s steps are read: lr and weight_decay (lambda times timing) of the step to come; train_loss, the mean over the
    batches since the reading before, each before its own step; test_loss and test_error; weight_norm of all matrices
    and kernels; effective_lr, from the lr of the step to come; rotation, the angle in radians by which the last step
    turned the scale-invariant weights, a mean over tensors; objective_step and decay_step, how far the last step moved
    the decayed weights for the gradient of the loss, and for lambda w (see `wdlab.decay.adam_parts`). What looks
    back is NaN at step 0.

    `network` holds the final parameters and running statistics by name, where they were asked for.

    `diverged_at` is the first step whose loss was not finite, in training or when tested, or at whose reading the
    weights were not, or None; from there on the member stood still. It is the number of steps taken until then, so it
    may be as large as the run is long.

    `broken_at` is the first step at which a game that a net played raised, or None: in training, where the member stood
    still from there on, or in a test, whose reading is NaN. Neither says anything of the net, so neither is divergence.
    """

    run: Run
    steps: tuple[int, ...]
    curves: dict[str, tuple[float, ...]]
    diverged_at: int | None = None
    network: dict[str, Tensor] | None = field(default=None, repr=False, compare=False)
    broken_at: int | None = None


def pick_device(device: str) -> torch.device:
    """Return the torch device called `device`; "auto" takes CUDA, then MPS, then the CPU.

    Raises ValueError for a device that is unknown or not there.
    """
    device = str(device)
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, index = device.partition(":")
    known("device", kind, ("auto", "cpu", "cuda", "mps"))
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (index and not index.isdecimal()) or int(index or 0) >= there.get(kind, 0):
        raise ValueError(f"device={device!r} is not there; use 'auto' or 'cpu', or install a build of torch for it.")
    return torch.device(device)


def group_key(run: Run) -> Run:
    """Return what runs must share to train as members of one batch; all else may differ between them."""
    optimizer = replace(run.optimizer, lr=1.0, momentum=0.0, betas=(0.0, 0.0), eps=1.0)
    seed = run.seed if run.task.one_seed else 0
    decay = Decay(coupling="decoupled", scaling=run.decay.scaling, mask=run.decay.mask)  # allowed with every scaling
    return replace(run, optimizer=optimizer, schedule=type(run.schedule)(), decay=decay, match=Match(), seed=seed)


class Training:
    """Runs of one shape trained together: advance it, fork it, turn its dials, read its histories.

    One step of member k is: its seed's next batch, the gradient of its own loss, the update rule of
    `wdlab.decay.coupling` with its own lr, lambda, timing and coupling. Members never exchange anything; each equals
    the same run trained alone, to rounding.

    A step uses `threads` of the processor, by default one for an MLP that is not wide: its products are done before
    a second thread is awake. On a busy machine, where it may not wake for a while, waiting for it made every step 15
    times slower.

    Raises ValueError when there are no runs or they cannot be members of one batch.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        device: str = "auto",
        dtype: torch.dtype = torch.float32,
        threads: int | None = None,
    ) -> None:
        _check_group(runs)
        self.runs = list(runs)
        # Runs that others copy from train along, unseen where nobody asked for them.
        leaders = dict.fromkeys(run.following(decay) for run in runs for decay in run.match.leaders)
        self._members = [*self.runs, *(leader for leader in leaders if leader not in self.runs)]
        self.device, self.dtype = pick_device(device), dtype
        few = runs[0].model.name == "mlp" and runs[0].model.width <= NARROW
        self.threads = whole("threads", threads or (1 if few else torch.get_num_threads()), 1)
        self.task, self.spec, self.steps = runs[0].task, runs[0].model, runs[0].steps
        self.step = 0
        self._load_data()
        self._build_model()
        self._set_tables()
        self._make_buffers()
        members = len(self._members)
        self.diverged_at = torch.full((members,), -1, dtype=torch.int64, device=self.device)
        self.broken_at = self.diverged_at.clone()
        self._stopped = self.diverged_at >= 0  # by its game, whatever its net
        self._loss_sum = torch.zeros(members, dtype=dtype, device=self.device)
        self._loss_steps = 0
        self._turned = torch.full((members,), torch.nan, dtype=dtype, device=self.device)
        self._parted = Parts(self._turned, self._turned)
        self.rows: list[tuple[int, Tensor]] = []
        with held_to(self.threads):
            self._record()

    # What members share and what each has of its own

    def _load_data(self) -> None:
        arrays = self.task.arrays()
        inputs = self.task.shape_inputs(arrays.inputs, self.spec)
        self.inputs = inputs.to(self.device, self.dtype if inputs.is_floating_point() else inputs.dtype)
        self.labels = arrays.labels.to(self.device)
        seeds = [run.seed for run in self._members]
        self.seeds = seeds if self.task.acts else sorted(set(seeds))
        self.batches = self.task.batches(self.seeds, len(arrays), self.device)
        self.train_labels = self.batches.labels(self.labels)
        of_member = range(len(seeds)) if self.task.acts else [self.seeds.index(seed) for seed in seeds]
        self._seed_of_member = torch.tensor(list(of_member), device=self.device)

    def _build_model(self) -> None:
        self.model = self.task.build(self.spec, len(self._members))
        self.model.initialize([generator(run.seed, "init") for run in self._members])
        self.model.to(self.device, self.dtype)
        mask = self.runs[0].decay.mask
        named = list(self.model.named_parameters())
        decayed = [name for name, p in named if is_decayed(mask, name, p, member_axis=True)]
        self._names = decayed + [name for name, _ in named if name not in decayed]
        self._flatten()
        self.batches.follow(self.model)
        matched = any(run.match != Match() for run in self.runs)
        self._matching = Matching(self._members, self.model, self._names, self.device) if matched else None
        sizes = dict((name, p[0].numel()) for name, p in named)
        self._decayed = sum(sizes[name] for name in decayed)

    def _flatten(self) -> None:
        # Decayed weights first, so that one slice of the buffer is all that decay ever touches.
        self.weights, self.gradient = flatten(self.model, self._names)

    def _column(self, values: Sequence[float]) -> Float[Tensor, "member 1"]:
        return torch.tensor(values, dtype=self.dtype, device=self.device).unsqueeze(1)

    def _set_tables(self) -> None:
        """Lay out lr and lambda as tables [step, member] and the five numbers as columns [member, 1]."""
        lr = torch.stack([run.optimizer.lr * run.schedule.table(self.steps) for run in self._members], 1)
        decay = torch.stack([run.decay.strength * run.decay.timing.table(self.steps) for run in self._members], 1)
        self.lr_table = lr.to(self.device, self.dtype)
        self.decay_table = decay.to(self.device, self.dtype)
        numbers = zip(*(coupling(run.decay.coupling).numbers for run in self._members), strict=True)
        # A number that is 0 for every member stays a plain 0, and its term is never computed.
        self._numbers: tuple[Scalar, ...] = tuple(self._column(n) if any(n) else 0.0 for n in numbers)
        optimizers = [run.optimizer for run in self._members]
        self._lr0 = self._column([o.lr for o in optimizers])
        self._momentum = self._column([o.momentum for o in optimizers])
        self._betas = (self._column([o.betas[0] for o in optimizers]), self._column([o.betas[1] for o in optimizers]))
        self._eps = self._column([o.eps for o in optimizers])

    def _make_buffers(self) -> None:
        """Make the optimizer's buffers, [member, weight] each; two more for Adam when a member has a_own."""
        adam = 4 if isinstance(self._numbers[2], Tensor) else 2
        count = 1 if self.runs[0].optimizer.name == "sgd" else adam
        self._buffers = [torch.zeros_like(self.weights) for _ in range(count)]
        # What the loss alone leaves in the first buffer of the decayed weights; made when decay first enters there.
        self._of_loss: Tensor | None = None

    @property
    def _scale_free(self) -> list[Tensor]:
        """The weights that feed a normalization; without one, all matrices and kernels."""
        named = dict(self.model.named_parameters())
        return [named[name] for name in self.model.scale_invariant] or [p for p in named.values() if p.ndim > 2]

    # One step

    def advance(self, steps: int = 1, read: bool = False) -> None:
        """Train `steps` more steps, at most to the end of the run; evaluate where the runs ask for it.

        With `read` also after each of these steps.
        """
        with held_to(self.threads):
            for _ in range(min(whole("steps", steps, 1), self.steps - self.step)):
                self._advance(read or self._is_evaluation(self.step + 1))

    def _advance(self, read: bool) -> None:
        before = [weight.detach().clone() for weight in self._scale_free] if read else []
        start = self.weights[self._slice].clone() if read else None
        inputs, labels = self._next_batch()
        self._notice_games()
        loss = self.model.loss_and_gradient(inputs, labels)
        self._loss_sum += loss
        self._loss_steps += 1
        self._notice_divergence(loss)
        lr, rate = self._update()
        self.step += 1
        if start is not None:
            self._parted = self._split(start, lr, rate)
            self._turned = _mean_rotation(before, self._scale_free)
            self._record()

    @property
    def done(self) -> bool:
        """Whether the last step has been taken."""
        return self.step >= self.steps

    def _next_batch(self) -> tuple[Tensor, Tensor]:
        # One gather a seed, shared by its members.
        inputs, labels = self.batches.take(self.step, self.inputs, self.train_labels)
        return inputs.index_select(0, self._seed_of_member), labels.index_select(0, self._seed_of_member)

    def _notice_games(self) -> None:
        """Note this step for members whose game raised while they still learned."""
        if self.batches.broken:
            raised = torch.zeros_like(self._stopped)
            raised[list(self.batches.broken)] = True
            self._stopped |= raised & (self.diverged_at < 0)
            self.broken_at.masked_fill_(self._stopped & (self.broken_at < 0), self.step)

    def _notice_divergence(self, loss: Float[Tensor, " member"]) -> None:
        """Note this step for members whose loss is no longer finite; nothing is read back, which would stop a GPU."""
        first = ~loss.isfinite() & (self.diverged_at < 0)
        self.diverged_at.masked_fill_(first, self.step)

    def _update(self) -> tuple[Tensor, Rates]:
        """Apply the update rule to the decayed slice of the buffer and to the rest; the diverged stand still.

        Returns lr and lambda times each of the five numbers, as they were at this step.
        """
        diverged = (self.diverged_at >= 0).unsqueeze(1)
        if self._may_stand_still():
            for still in (self.gradient, *self._buffers):
                still.masked_fill_(diverged, 0.0)
        self._keep_of_loss()
        lr = self.lr_table[self.step].unsqueeze(1)
        if self._matching is not None and self._matching.copies_lr:
            lr = lr * self._matching.spread(self._matching.lr_factors(self.model))
        lr = lr.masked_fill(diverged, 0.0)
        if self.runs[0].optimizer.name == "sgd":
            rate = self._rates(self.gradient.square().mean(1, keepdim=True) if self._by_gradient else None)
            for part, given in self._parts(rate):
                buffer = self._buffers[0][part]
                nesterov = self.runs[0].optimizer.nesterov
                sgd_(self.weights[part], self.gradient[part], buffer, given, _cut(lr, part), self._momentum, nesterov)
        elif self.runs[0].optimizer.name == "adam":
            rate = self._update_adam(lr)
        else:
            rate = self._rates(None)
            for part, given in self._parts(rate):
                means = RMSBuffers(*(buffer[part] for buffer in self._buffers))
                alpha, w, g = self._betas[1], self.weights[part], self.gradient[part]
                rmsprop_(w, g, means, given, _cut(lr, part), alpha, self._eps, eps_inside=True)
        if self._matching is not None and self._matching.copies_norm:
            self._matching.rescale_(self.model, self.diverged_at >= 0)
        return lr, rate

    def _may_stand_still(self) -> bool:
        """Whether a member has diverged, read on the CPU only: a GPU would stop for it, and fills at little cost."""
        return self.device.type != "cpu" or bool((self.diverged_at >= 0).any())

    def _update_adam(self, lr: Tensor) -> Rates:
        step = self.step + 1
        plain = self._rates(None) if not self._by_gradient else Rates()
        parts = [(part, given, AdamBuffers(*(b[part] for b in self._buffers))) for part, given in self._parts(plain)]
        for part, given, buffers in parts:
            second_moment_(buffers, self.weights[part], self.gradient[part], given, self._betas[1])
        if self._by_gradient:
            mean_square = (self._buffers[1] / (1 - self._betas[1] ** step)).mean(1, keepdim=True)
            plain = self._rates(mean_square)
        for (part, _, buffers), (_, given) in zip(parts, self._parts(plain), strict=True):
            adam_(self.weights[part], self.gradient[part], buffers, given, _cut(lr, part), self._betas, self._eps, step)
        return plain

    # The step in two parts

    def _keep_of_loss(self) -> None:
        """Follow what the gradients of the loss alone leave in the buffer that decay enters too, if any steps by it."""
        if self.runs[0].optimizer.name == "rmsprop":
            return
        sgd = self.runs[0].optimizer.name == "sgd"
        entered = self._numbers[:1] + (self._numbers[2:3] if sgd else ())
        if self._of_loss is None and any(isinstance(number, Tensor) for number in entered):
            self._of_loss = self._buffers[0][self._slice].clone()
        if self._of_loss is not None:
            g = self.gradient[self._slice]
            if sgd:
                momentum_(self._of_loss, g, g, Rates(), self._momentum)
            else:
                first_moment_(self._of_loss, g, g, Rates(), self._betas[0])

    def _split(self, start: Tensor, lr: Tensor, rate: Rates) -> Parts:
        """Return the lengths [member] of the two parts of the step that led here from the decayed weights `start`."""
        part, run = self._slice, self.runs[0]
        lr, buffers = _cut(lr, part), [buffer[part] for buffer in self._buffers]
        if run.optimizer.name == "sgd":
            given = (rate, lr, self._momentum, run.optimizer.nesterov)
            parts = sgd_parts(start, self.gradient[part], buffers[0], self._of_loss, *given)
        elif run.optimizer.name == "rmsprop":
            means = RMSBuffers(*buffers)
            parts = rmsprop_parts(start, self.gradient[part], means, rate, lr, self._eps, eps_inside=True)
        else:
            rest = (lr, self._betas, self._eps, self.step)
            parts = adam_parts(start, AdamBuffers(*buffers), self._of_loss, rate, *rest)
        return Parts(*(torch.linalg.vector_norm(moved, dim=1) for moved in parts))

    @property
    def _slice(self) -> tuple[slice, slice]:
        return slice(None), slice(self._decayed)

    @property
    def _by_gradient(self) -> bool:
        return self.runs[0].decay.scaling == "gradient_norm"

    def _rates(self, mean_square: Tensor | None) -> Rates:
        """Return lambda times timing times scaling times each of the five numbers, at this step."""
        lr = self.lr_table[self.step].unsqueeze(1)
        k = scale(self.runs[0].decay.scaling, lr, self._lr0, mean_square)
        return rates(self._numbers, self.decay_table[self.step].unsqueeze(1) * k)

    def _parts(self, rate: Rates) -> list[tuple[tuple[slice, slice], Rates]]:
        everything, cut = slice(None), self._decayed
        parts = [((everything, slice(cut)), rate), ((everything, slice(cut, None)), Rates())]
        return [(part, given) for part, given in parts if self.weights[part].numel()]

    # Reading

    def read(self) -> None:
        """Evaluate here too, unless this step was read; what tells of the last step is NaN, for it is over."""
        if self.rows[-1][0] != self.step:
            self._turned = torch.full_like(self._turned, torch.nan)
            self._parted = Parts(self._turned, self._turned)
            with held_to(self.threads):
                self._record()

    def _is_evaluation(self, step: int) -> bool:
        count = self.runs[0].evaluations
        return (step * count) // self.steps != ((step - 1) * count) // self.steps

    def _record(self) -> None:
        """Append one row [curve, member] of measurements; the numbers stay on the device until they are read."""
        at = min(self.step, self.steps - 1)
        parameters = dict(self.model.named_parameters())
        tested = self.task.evaluate(self.model, self.inputs[: self.task.test_size], self.labels[: self.task.test_size])
        raised = tested.pop("broken", torch.zeros_like(self.diverged_at, dtype=torch.bool))
        self.broken_at.masked_fill_(raised & (self.broken_at < 0), self.step)
        with torch.no_grad():
            norm = weight_norm([p for p in parameters.values() if p.ndim > 2])
            # A weight that no test example reads, such as the embedding of a rare word, can be lost without a trace.
            self._notice_divergence(tested["test_loss"].masked_fill(raised, 0.0) + norm)
            name, lr = self.runs[0].optimizer.name, self.lr_table[at]
            if self._matching is not None:
                lr = lr * self._matching.lr_factors(self.model)
            row = {
                "lr": self.lr_table[at],
                "weight_decay": self.decay_table[at],
                "train_loss": self._loss_sum / self._loss_steps if self._loss_steps else self._loss_sum * float("nan"),
                **tested,
                "weight_norm": norm,
                "effective_lr": effective_lr(lr, self._scale_free, name),
                "rotation": self._turned,
                "objective_step": self._parted.objective,
                "decay_step": self._parted.decay,
            }
            values = torch.stack([row[curve] for curve in CURVES])
            values[2:].masked_fill_(self.diverged_at >= 0, float("nan"))
        self.rows.append((self.step, values))
        self._loss_sum = torch.zeros_like(self._loss_sum)
        self._loss_steps = 0

    def histories(self, networks: bool = False) -> list[History]:
        """Return what every run has left so far, in the order of the runs; with `networks` also the nets."""
        steps = tuple(step for step, _ in self.rows)
        values = torch.stack([row for _, row in self.rows]).cpu().double()  # MPS itself has no float64
        diverged = self.diverged_at.masked_fill(self._stopped, -1)
        lost, raised = ([step if step >= 0 else None for step in at.tolist()] for at in (diverged, self.broken_at))
        return [
            History(
                run,
                steps,
                {name: tuple(values[:, index, member].tolist()) for index, name in enumerate(CURVES)},
                lost[member],
                self.network(member) if networks else None,
                raised[member],
            )
            for member, run in enumerate(self.runs)
        ]

    def network(self, member: int) -> dict[str, Tensor]:
        """Return a copy of the parameters and running statistics of `member`, by name, on the CPU."""
        return {name: tensor[member].to("cpu", copy=True) for name, tensor in self.model.state_dict().items()}

    # Forking and turning dials

    def fork(self) -> Training:
        """Return a copy in bit-identical state that goes on by itself."""
        other = self._gone_on(copy.deepcopy(self.model), torch.clone)
        other.lr_table, other.decay_table = self.lr_table.clone(), self.decay_table.clone()
        other.runs, other.rows = list(self.runs), list(self.rows)
        return other

    def _gone_on(self, model: MemberModel, pick: Callable[[Tensor], Tensor]) -> Training:
        """Return a copy with a model of its own, and of every state [member, ...] what `pick` makes of it."""
        other = object.__new__(Training)
        other.__dict__.update(self.__dict__)
        other.model = model
        other._flatten()
        other.batches = self.batches.fork()
        other.batches.follow(model)
        for name in ("_seed_of_member", "diverged_at", "broken_at", "_stopped", "_loss_sum", "_turned"):
            setattr(other, name, pick(getattr(self, name)))
        other._parted = Parts(*map(pick, self._parted))
        other._buffers = [pick(buffer) for buffer in self._buffers]
        other._of_loss = None if self._of_loss is None else pick(self._of_loss)
        return other

    def branch(self, runs: Sequence[Run], of: Sequence[int]) -> Training:
        """Return the training of `runs`, of which run k goes on from where member `of[k]` stands.

        Each must have asked until now, and for this step, for what that member did, be of its seed and copy from
        nobody (see `wdlab.branches`).
        """
        index = torch.tensor(of, device=self.device)
        model = self.task.build(self.spec, len(runs)).to(self.device, self.dtype)
        model.go_on_from(self.model, of)
        other = self._gone_on(model, lambda state: state[index])
        other.runs, other._members = list(runs), list(runs)
        other._set_tables()
        other.rows = [(step, values[:, index]) for step, values in self.rows]
        return other

    def turn(
        self,
        member: int,
        lr: float | None = None,
        weight_decay: float | None = None,
        timing: Timing | None = None,
        coupling: str | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        """From this step on, give `member` another learning rate, lambda, timing, coupling or schedule.

        A new lr or lambda by itself holds to the end of the run, whatever the schedule or the timing said. With a
        `timing` lambda follows it, the run's own lambda where none is given; so does lr with a `schedule`. Both count
        the steps from the beginning of the run. A coupling with buffers of its own finds them as they would be had
        lambda been 0 until now. The history's curves show all of it from the next reading on, while `runs` still holds
        the setting the run began with. Raises ValueError for what the run could not have had from the start.
        """
        run = self.runs[whole("member", member, 0, len(self.runs) - 1)]
        asked = replace(run.decay, timing=timing or Timing.always(), coupling=coupling or run.decay.coupling)
        if weight_decay is not None:
            asked = replace(asked, strength=weight_decay)
        base = replace(run.optimizer, lr=run.optimizer.lr if lr is None else lr)
        replace(run, decay=asked, optimizer=base)  # says what is wrong, if anything is
        if lr is not None or schedule is not None:
            table = base.lr * (schedule or Schedule("constant")).table(self.steps)
            self.lr_table[self.step :, member] = table.to(self.lr_table)[self.step :]
        if weight_decay is not None or timing is not None:
            table = asked.strength * asked.timing.table(self.steps)
            self.decay_table[self.step :, member] = table.to(self.decay_table)[self.step :]
        if coupling is not None:
            self._couple(member, coupling)

    def _couple(self, member: int, name: str) -> None:
        """Give `member` the five numbers of another coupling, and Adam the buffers they need."""
        columns = [self._column([0.0] * len(self._members)) + number for number in self._numbers]
        for column, value in zip(columns, coupling(name).numbers, strict=True):
            column[member] = value
        self._numbers = tuple(column if column.any() else 0.0 for column in columns)
        if self.runs[0].optimizer.name != "sgd" and isinstance(self._numbers[2], Tensor):
            self._buffers += [torch.zeros_like(self.weights) for _ in range(4 - len(self._buffers))]


@dataclass(frozen=True)
class Step:
    """One step seen from close by: number, lr [member], and by name the scale-invariant weights and their gradient.

    `before` holds them where the `gradient` was taken, `after` where the step led; each is a copy, [member, ...].
    """

    number: int
    lr: Float[Tensor, " member"]
    before: dict[str, Tensor]
    gradient: dict[str, Tensor]
    after: dict[str, Tensor]


def watch(training: Training) -> Iterator[Step]:
    """Advance `training` to its end, yielding every step; weights and gradients are copied, so this is slower.

    A network without normalization has no scale-invariant weights; there all matrices and kernels are watched.
    """
    named = dict(training.model.named_parameters())
    names = training.model.scale_invariant or [name for name, p in named.items() if p.ndim > 2]

    def copies(of: Callable[[Tensor], Tensor | None]) -> dict[str, Tensor]:
        found = {name: of(named[name]) for name in names}
        return {name: tensor.detach().clone() for name, tensor in found.items() if tensor is not None}

    while not training.done:
        number, before = training.step, copies(lambda p: p)
        training.advance()
        yield Step(number, training.lr_table[number].clone(), before, copies(lambda p: p.grad), copies(lambda p: p))


def _mean_rotation(before: Sequence[Tensor], after: Sequence[Tensor]) -> Float[Tensor, " member"]:
    with torch.no_grad():
        angles = [rotation(old, new) for old, new in zip(before, after, strict=True)]
    return torch.stack(angles).mean(0).to(after[0].dtype)


def _cut(lr: Tensor, part: tuple[slice, slice]) -> Tensor:
    """The part of lr that belongs to a part of the weights, where lr is not one number a member."""
    return lr if lr.shape[1] == 1 else lr[part]


@contextmanager
def held_to(threads: int) -> Iterator[None]:
    """Let torch use that many threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_group(runs: Sequence[Run]) -> None:
    if not runs:
        raise ValueError("runs=[] is not allowed; give at least one Run.")
    keys = {group_key(run) for run in runs}
    if len(keys) > 1:
        raise ValueError(
            f"runs of {len(keys)} different shapes cannot be members of one batch; wdlab.sweep groups them for you."
        )
