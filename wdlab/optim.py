"""SGD, Adam and RMSProp that take the five axes of weight decay: real torch optimizers, for any model.

What torch's own optimizers do is inherited: param groups, closures, hooks, learning rate schedulers,
`state_dict`. The update rule is not here either: it is written once, in `wdlab.decay.coupling`.

Options of all, for the whole optimizer or for one param group:

* `lr`: learning rate, above 0 (a scheduler may set 0 later)
* `weight_decay`: lambda, at least 0
* `coupling`: a name in COUPLINGS, where lambda w enters
* `timing`: a Timing, when it does; None is always
* `steps`: the run's length in calls of `step`, for a timing in fractions; beyond it the last multiplier holds
* `mask`: None or "everything" for every parameter, "weights" for those of two or more axes, or a function of
  name and tensor. Names come from `model.named_parameters()`; without them they are "group.index": "0.3"
* `scaling`: "lr" as torch, "lr/lr0", "none" or "gradient_norm", see `wdlab.decay.scale`

Every option that is a number may be a tensor of shape [member]: then each parameter needs that leading axis,
which "weights" does not count. Best is float64 (1 - beta2 keeps four digits in float32) on the parameters'
device. torch's schedulers write one number for all; with an lr for each member, write `group["lr"]` yourself.

Any option can be changed between steps in `optimizer.param_groups`. Three more keys are there: `lr0`, the
group's first learning rate, for scaling "lr/lr0"; `steps_done`, the calls of `step` so far, by which the
timing is read; and torch's `param_names`, when the parameters came with names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, overload

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from wdlab.checks import known, number, whole
from wdlab.decay.axes import MASKS, Mask, check_scaling, is_decayed, scale
from wdlab.decay.coupling import (
    AdamBuffers,
    Coupling,
    Rates,
    RMSBuffers,
    Scalar,
    adam_,
    coupling,
    rates,
    rmsprop_,
    second_moment_,
    sgd_,
    unbiased,
)
from wdlab.decay.timing import Timing

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["SGD", "Adam", "RMSprop"]

Group = dict[str, Any]


@dataclass(frozen=True)
class _Turn:
    """One parameter at one step: what the update rule is called with."""

    group: Group
    coupling: Coupling
    strength: Scalar
    w: Tensor
    g: Tensor
    state: dict[str, Any]
    members: int | None

    def fit(self, value: Scalar) -> Scalar:
        """Return a hyperparameter that broadcasts against w: a tensor [member] becomes [member, 1, ...]."""
        if not isinstance(value, Tensor):
            return value
        value = value.to(self.w.device)
        return value.reshape(-1, *[1] * (self.w.ndim - 1)) if value.ndim else value

    def rate(self, mean_square: Tensor | None = None) -> Rates:
        """Return how much of w enters where; without decay at this step there is no term at all."""
        if not isinstance(self.strength, Tensor) and self.strength == 0:
            return Rates()
        lr, lr0 = self.fit(self.group["lr"]), self.fit(self.group["lr0"])
        square = None if mean_square is None else self.fit(mean_square)
        factor = scale(self.group["scaling"], lr, lr0, square)
        return rates(self.coupling.numbers, self.fit(self.strength) * factor)


class _DecayOptimizer(Optimizer):
    """What all of them share: the course of a step, checked options, state saved as plain data."""

    def add_param_group(self, param_group: Group) -> None:
        """Add a group of parameters, with its own options; raises ValueError for one that is not allowed."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            _check_decay(group)
            self._check_rule(group)
            _check_parameters(self.param_groups)
        except ValueError:
            self.param_groups.pop()  # an optimizer that refused a group goes on without it
            raise
        group["steps_done"] = 0 if len(self.param_groups) == 1 else self.param_groups[0]["steps_done"]

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient; returns the loss of `closure`, if one is given.

        Raises RuntimeError for a sparse gradient.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        turns = list(self._turns())
        for turn in turns:
            self._look(turn)
        mean_square = self._mean_square(turns)  # of all tensors, so before any of them moves
        for turn in turns:
            self._move(turn, turn.rate(mean_square))
        for group in self.param_groups:
            group["steps_done"] += 1
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain data, which torch.save writes and `torch.load(weights_only=True)` reads.

        A timing is saved as its numbers. Of a function only the fact is saved: the optimizer that loads
        keeps its own.
        """
        saved = super().state_dict()
        groups = [
            {**group, "timing": _packed_timing(group["timing"]), "mask": _packed_mask(group["mask"])}
            for group in saved["param_groups"]
        ]
        return {**saved, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state, options included, as torch does; the run then goes on bit for bit.

        To go on with another timing, write it to `param_groups` afterwards. Tensors are copied, never shared
        with the optimizer they came from, so a run can be forked. Raises ValueError for another optimizer's
        state, and where a function was saved as `timing` or `mask` and this optimizer was made without one.
        """
        # A wrong number of groups is left for torch to refuse, so this zip is not strict.
        pairs = zip(state_dict["param_groups"], self.param_groups, strict=False)
        objects = [_unpacked(saved, own) for saved, own in pairs]
        state = {key: _copied(value) for key, value in state_dict["state"].items()}
        super().load_state_dict({**state_dict, "state": state})
        for group, found in zip(self.param_groups, objects, strict=True):
            group.update(found)

    def _turns(self) -> Iterator[_Turn]:
        members = _members(self.param_groups)
        for i, group in enumerate(self.param_groups):
            where, strength = self._coupling(group["coupling"]), _strength(group)
            for name, w in _named(i, group):
                if w.grad is not None:
                    _check_gradient(name, w.grad)
                    decayed = is_decayed(group["mask"], name, w, members is not None)
                    yield _Turn(group, where, strength if decayed else 0.0, w, w.grad, self.state[w], members)

    def _mean_square(self, turns: list[_Turn]) -> Tensor | None:
        """Return the mean of `_square` over all parameters, [] or [member]; None if no group asks for it."""
        if not any(turn.group["scaling"] == "gradient_norm" for turn in turns):
            return None
        members = turns[0].members or 1
        sums = [self._square(turn).reshape(members, turn.w.numel() // members).sum(1) for turn in turns]
        total = torch.stack([part.to(sums[0].device) for part in sums]).sum(0)
        mean = total / (sum(turn.w.numel() for turn in turns) // members)
        return mean if turns[0].members else mean[0]

    def _coupling(self, name: str) -> Coupling:
        return coupling(name)

    def _check_rule(self, group: Group) -> None:
        """Check the options that only this optimizer has."""
        raise NotImplementedError

    def _look(self, turn: _Turn) -> None:
        """Take in the gradient, before any weight moves."""

    def _square(self, turn: _Turn) -> Tensor:
        """The squares whose mean scales the decay under scaling "gradient_norm"."""
        raise NotImplementedError

    def _move(self, turn: _Turn, rate: Rates) -> None:
        """Move the weights."""
        raise NotImplementedError


class SGD(_DecayOptimizer):
    """SGD with momentum, as torch.optim.SGD, whose weight decay has a timing, coupling, scaling and mask.

    With d = lambda w, times the multipliers of timing and scaling:
    b <- momentum b + g + (a_m + a_own) d,  w <- w - lr (b + (a_adapt + a_post) d);
    with `nesterov` the step takes g + (a_m + a_own) d + momentum b in place of b.

    `momentum` is in [0, 1). Without it every coupling is the same; "second_moment" is refused, as there is
    none. Scaling "gradient_norm" takes the mean square of the whole gradient, for want of v. State of each
    parameter: `momentum_buffer` of its shape, unless momentum is 0. The other options are explained at the
    top of the module.

    Raises ValueError for an option outside its range, a parameter without the member axis or a complex one.
    Source: coupling as in Loshchilov and Hutter (2019), Algorithm 1.

    >>> model = torch.nn.Linear(3, 2)
    >>> optimizer = SGD(model.named_parameters(), momentum=0.9, weight_decay=1e-2, mask="weights",
    ...                 timing=Timing.first(0.5), steps=100)
    >>> model(torch.ones(4, 3)).square().mean().backward()
    >>> optimizer.step()
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Float[Tensor, " member"] = 0.1,
        momentum: float | Float[Tensor, " member"] = 0.0,
        nesterov: bool = False,
        weight_decay: float | Float[Tensor, " member"] = 0.0,
        coupling: str = "l2",
        timing: Timing | None = None,
        steps: int | None = None,
        mask: Mask = None,
        scaling: str = "lr",
    ) -> None:
        rule = {"lr": lr, "momentum": momentum, "nesterov": nesterov}
        when = {"timing": timing, "steps": steps}
        decay = {"weight_decay": weight_decay, "coupling": coupling, **when, "mask": mask, "scaling": scaling}
        super().__init__(params, {**rule, **decay})

    def _coupling(self, name: str) -> Coupling:
        if name == "second_moment":
            raise ValueError(
                "coupling='second_moment' is not allowed with SGD, which has no second moment, so weight "
                "decay would do nothing; choose 'l2' or 'decoupled', or take wdlab.optim.Adam."
            )
        return coupling(name)

    def _check_rule(self, group: Group) -> None:
        self._coupling(group["coupling"])
        group["momentum"] = _numbers("momentum", group["momentum"], 0, 1, below=True)
        if group["nesterov"] and not _has_momentum(group):
            raise ValueError("nesterov=True is not allowed with momentum=0; give a momentum, such as 0.9.")

    def _square(self, turn: _Turn) -> Tensor:
        return turn.g.square()

    def _move(self, turn: _Turn, rate: Rates) -> None:
        group, state, buffer = turn.group, turn.state, None
        if _has_momentum(group):
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(turn.w)
            buffer = state["momentum_buffer"]
        lr, momentum = turn.fit(group["lr"]), turn.fit(group["momentum"])
        sgd_(turn.w, turn.g, buffer, rate, lr, momentum, group["nesterov"])


class Adam(_DecayOptimizer):
    """Adam whose weight decay has a timing, coupling, scaling and mask: Adam, AdamW and what lies between.

    With d = lambda w, times the multipliers of timing and scaling:
    m <- EMA(g + a_m d),  v <- EMA((g + a_v d)^2),  s <- EMA(a_own d),  u <- EMA((a_own d)^2),
    w <- w - lr (m^ / (sqrt v^ + eps) + s^ / (sqrt u^ + eps) + a_adapt d / (sqrt v^ + eps) + a_post d).
    coupling="l2" is torch.optim.Adam and "decoupled" is torch.optim.AdamW.

    `betas` are in [0, 1). `eps` is at least 0, above 0 for coupling "own_buffers", where a weight of zero
    divides 0 by it. Scaling "gradient_norm" divides by the root of the mean of v^ over all parameters of all
    groups; it is refused where lambda enters v. State of each parameter: `step`, `m` and `v` of its shape, for
    "own_buffers" also `s` and `u`. The other options are explained at the top of the module.

    Raises ValueError for an option outside its range, a parameter without the member axis or a complex one.
    Source: Loshchilov and Hutter (2019), Algorithm 2, whose schedule multiplier is scaling "lr/lr0".

    >>> model = torch.nn.Linear(3, 2)
    >>> optimizer = Adam(model.parameters(), lr=1e-2, weight_decay=0.1, coupling="decoupled")
    >>> model(torch.ones(4, 3)).square().mean().backward()
    >>> optimizer.step()
    >>> sorted(optimizer.state[model.bias])
    ['m', 'step', 'v']
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Float[Tensor, " member"] = 1e-3,
        betas: tuple[float | Float[Tensor, " member"], float | Float[Tensor, " member"]] = (0.9, 0.999),
        eps: float | Float[Tensor, " member"] = 1e-8,
        weight_decay: float | Float[Tensor, " member"] = 0.0,
        coupling: str = "l2",
        timing: Timing | None = None,
        steps: int | None = None,
        mask: Mask = None,
        scaling: str = "lr",
    ) -> None:
        rule = {"lr": lr, "betas": betas, "eps": eps}
        when = {"timing": timing, "steps": steps}
        decay = {"weight_decay": weight_decay, "coupling": coupling, **when, "mask": mask, "scaling": scaling}
        super().__init__(params, {**rule, **decay})

    def _check_rule(self, group: Group) -> None:
        betas = group["betas"]
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise ValueError(f"betas={betas!r} is not allowed; give two numbers in [0, 1): (0.9, 0.999).")
        group["betas"] = tuple(_numbers(f"betas[{i}]", betas[i], 0, 1, below=True) for i in (0, 1))
        group["eps"] = _numbers("eps", group["eps"], 0, above=bool(coupling(group["coupling"]).a_own))

    def _look(self, turn: _Turn) -> None:
        state = turn.state
        if not state:
            state.update(step=0, m=torch.zeros_like(turn.w), v=torch.zeros_like(turn.w))
        if turn.coupling.a_own and "s" not in state:
            state.update(s=torch.zeros_like(turn.w), u=torch.zeros_like(turn.w))
        state["step"] += 1
        rate = turn.rate() if turn.coupling.a_v else Rates()
        second_moment_(_buffers(turn), turn.w, turn.g, rate, turn.fit(turn.group["betas"][1]))

    def _square(self, turn: _Turn) -> Tensor:
        return unbiased(turn.state["v"], turn.fit(turn.group["betas"][1]), turn.state["step"])

    def _move(self, turn: _Turn, rate: Rates) -> None:
        lr, eps = turn.fit(turn.group["lr"]), turn.fit(turn.group["eps"])
        beta1, beta2 = turn.group["betas"]
        betas = turn.fit(beta1), turn.fit(beta2)
        adam_(turn.w, turn.g, _buffers(turn), rate, lr, betas, eps, turn.state["step"])


class RMSprop(_DecayOptimizer):
    """RMSProp without momentum, as torch.optim.RMSprop, whose weight decay has a timing, coupling and mask.

    With d = lambda w, times the multipliers of timing and scaling, and means that keep `alpha` of themselves:
    m <- EMA(g + a_v d),  v <- EMA((g + a_v d)^2),  s <- EMA(a_own d),  u <- EMA((a_own d)^2),
    w <- w - lr ((g + (a_m + a_adapt) d) / root(v, m) + a_own d / root(u, s) + a_post d).
    root(v, m) is sqrt(v) + eps, or with `centered` sqrt(v - m^2) + eps, as torch has it; with `eps_inside` eps stands
    under the root, as TensorFlow has it. coupling="l2" is torch.optim.RMSprop.

    `alpha` is in [0, 1). `eps` is at least 0, above 0 for coupling "own_buffers". Scaling "gradient_norm" is refused:
    it is defined by Adam's v. State of each parameter: `v` of its shape, with `centered` also `m`; for "own_buffers"
    `u` and `s` as well. The other options are explained at the top of the module.

    Raises ValueError for an option outside its range, a parameter without the member axis or a complex one.
    Sources: Tieleman and Hinton (2012), Lecture 6.5; centered by Graves (2013), equation 40.

    >>> model = torch.nn.Linear(3, 2)
    >>> optimizer = RMSprop(model.parameters(), lr=2.5e-4, alpha=0.95, eps=1e-5, centered=True, eps_inside=True)
    >>> model(torch.ones(4, 3)).square().mean().backward()
    >>> optimizer.step()
    >>> sorted(optimizer.state[model.bias])
    ['m', 'v']
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Float[Tensor, " member"] = 1e-2,
        alpha: float | Float[Tensor, " member"] = 0.99,
        eps: float | Float[Tensor, " member"] = 1e-8,
        weight_decay: float | Float[Tensor, " member"] = 0.0,
        centered: bool = False,
        eps_inside: bool = False,
        coupling: str = "l2",
        timing: Timing | None = None,
        steps: int | None = None,
        mask: Mask = None,
        scaling: str = "lr",
    ) -> None:
        rule = {"lr": lr, "alpha": alpha, "eps": eps, "centered": centered, "eps_inside": eps_inside}
        when = {"timing": timing, "steps": steps}
        decay = {"weight_decay": weight_decay, "coupling": coupling, **when, "mask": mask, "scaling": scaling}
        super().__init__(params, {**rule, **decay})

    def _check_rule(self, group: Group) -> None:
        group["alpha"] = _numbers("alpha", group["alpha"], 0, 1, below=True)
        group["eps"] = _numbers("eps", group["eps"], 0, above=bool(coupling(group["coupling"]).a_own))
        if group["scaling"] == "gradient_norm":
            raise ValueError(
                "scaling='gradient_norm' is not allowed with RMSprop: it is defined by Adam's bias-corrected v; choose "
                "another scaling, such as 'lr', or take wdlab.optim.Adam."
            )

    def _look(self, turn: _Turn) -> None:
        twice = ("m", "s") if turn.group["centered"] else ()
        for name in ("v", *twice[:1], *(("u", *twice[1:]) if turn.coupling.a_own else ())):
            if name not in turn.state:
                turn.state[name] = torch.zeros_like(turn.w)

    def _move(self, turn: _Turn, rate: Rates) -> None:
        state, own = turn.state, bool(turn.coupling.a_own)
        mean, of_own = (state["m"], state["s"] if own else None) if turn.group["centered"] else (None, None)
        buffers = RMSBuffers(mean, state["v"], of_own, state["u"] if own else None)
        lr, alpha, eps = (turn.fit(turn.group[name]) for name in ("lr", "alpha", "eps"))
        rmsprop_(turn.w, turn.g, buffers, rate, lr, alpha, eps, turn.group["eps_inside"])


def _strength(group: Group) -> Scalar:
    """Lambda times the multiplier of this step, for which a timing is asked once in a group."""
    timing, strength = group["timing"], cast(Scalar, group["weight_decay"])
    return strength if timing is None else strength * timing.at(group["steps_done"], group["steps"])


def _buffers(turn: _Turn) -> AdamBuffers:
    own = (turn.state["s"], turn.state["u"]) if turn.coupling.a_own else (None, None)
    return AdamBuffers(turn.state["m"], turn.state["v"], *own)


def _has_momentum(group: Group) -> bool:
    return isinstance(group["momentum"], Tensor) or group["momentum"] != 0


def _numbers(argument: str, value: Any, low: float, high: float = float("inf"), **ends: bool) -> Scalar:
    """Check a hyperparameter, of which each member's number must be allowed; numbers come back as floats."""
    if not isinstance(value, Tensor):
        return number(argument, value, low, high, **ends)
    if value.ndim > 1 or value.numel() == 0:
        raise ValueError(
            f"{argument} of shape {tuple(value.shape)} is not allowed; "
            "give a number, or a tensor of shape [member] with at least one member."
        )
    for member, entry in enumerate(value.flatten().tolist()):
        number(f"{argument}[{member}]" if value.ndim else argument, entry, low, high, **ends)
    return value


def _check_decay(group: Group) -> None:
    """Check the options that all share, and note the group's first learning rate."""
    group["lr"] = _numbers("lr", group["lr"], 0, above=True)
    lr0 = group.setdefault("lr0", group.get("initial_lr", group["lr"]))
    # A copy, for torch's schedulers write into a tensor lr in place.
    group["lr0"] = lr0.clone() if isinstance(lr0, Tensor) else number("lr0", lr0, 0, above=True)
    group["weight_decay"] = _numbers("weight_decay", group["weight_decay"], 0)
    if not callable(group["mask"]) and group["mask"] is not None:
        known("mask", group["mask"], MASKS)
    coupling(group["coupling"])
    check_scaling(group["scaling"], group["coupling"])
    _check_timing(group["timing"], group["steps"])


def _check_timing(timing: object, steps: object) -> None:
    if steps is not None:
        whole("steps", steps, 1)
    if timing is None:
        return
    if not isinstance(timing, Timing):
        raise ValueError(f"timing={timing!r} is not allowed; give None or a Timing: Timing.first(0.2).")
    if timing.needs_steps and steps is None:
        raise ValueError(
            f"steps=None is not allowed with timing={str(timing)!r}, which is in fractions of the run; "
            "give the run's length in calls of optimizer.step(), such as steps=epochs * len(loader)."
        )


def _hyperparameters(group: Group) -> Iterator[tuple[str, Scalar]]:
    for argument in ("lr", "weight_decay", "momentum", "alpha", "eps"):
        if argument in group:
            yield argument, group[argument]
    for i, beta in enumerate(group.get("betas", ())):
        yield f"betas[{i}]", beta


def _per_member(groups: list[Group]) -> Iterator[tuple[str, int]]:
    """Yield the name and the member count of each hyperparameter that has a number for every member."""
    for group in groups:
        for argument, value in _hyperparameters(group):
            if isinstance(value, Tensor) and value.ndim:
                yield argument, len(value)


def _members(groups: list[Group]) -> int | None:
    return next((members for _, members in _per_member(groups)), None)


def _check_parameters(groups: list[Group]) -> None:
    """Check that parameters are real and that all agree on the members, where there are any."""
    named = [pair for i, group in enumerate(groups) for pair in _named(i, group)]
    for name, w in named:
        if w.is_complex():
            raise ValueError(f"parameter {name!r} of type {w.dtype} is not allowed; give real parameters.")
    counts = list(_per_member(groups))
    for argument, members in counts:
        if members != counts[0][1]:
            raise ValueError(
                f"{argument} for {members} members is not allowed beside {counts[0][0]} for {counts[0][1]}; "
                "give one number for each member, or one for all."
            )
    for name, w in named if counts else ():
        argument, members = counts[0]
        if w.ndim == 0 or w.shape[0] != members:
            raise ValueError(
                f"{argument} for {members} members is not allowed with parameter {name!r} of shape "
                f"{tuple(w.shape)}; give every parameter a leading axis of {members}, or one number."
            )


def _named(i: int, group: Group) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters of the i-th group with torch's names for them, else "group.index"."""
    names = group.get("param_names") or [f"{i}.{j}" for j in range(len(group["params"]))]
    return zip(names, group["params"], strict=True)


def _check_gradient(name: str, g: Tensor) -> None:
    if g.layout != torch.strided:
        raise RuntimeError(
            f"the gradient of parameter {name!r} is sparse, which is not allowed: weight decay acts on every "
            "weight; give dense gradients, such as those of Embedding(sparse=False)."
        )


def _packed_timing(timing: Timing | None) -> dict[str, Any] | None:
    if timing is None:
        return None
    fields = {field.name: getattr(timing, field.name) for field in dataclasses.fields(timing)}
    return {name: _plain(value) for name, value in fields.items() if name != "function"}


def _packed_mask(mask: Mask) -> Any:
    return {"kind": "function"} if callable(mask) else mask


def _plain(value: Any) -> Any:
    """A number without numpy around it, which weights_only would refuse."""
    return value.item() if hasattr(value, "item") else value


def _unpacked(saved: Group, own: Group) -> Group:
    """The timing and mask of a saved group as objects again; functions are taken from `own`."""
    missing = own.keys() - saved.keys() - {"param_names", "initial_lr"}
    if missing:
        raise ValueError(
            f"state_dict is not allowed: its groups lack {', '.join(sorted(missing))}, so another optimizer "
            "saved it; give one that this class of optimizer saved."
        )
    timing, mask = saved["timing"], saved["mask"]
    if isinstance(timing, dict):
        timing = _own_function("timing", own["timing"]) if timing["kind"] == "function" else Timing(**timing)
    if isinstance(mask, dict):
        mask = _own_function("mask", own["mask"])
    return {"timing": timing, "mask": mask}


def _own_function(argument: str, own: Any) -> Any:
    if callable(own) or (isinstance(own, Timing) and own.function is not None):
        return own
    raise ValueError(
        f"{argument}={own!r} is not allowed: the state was saved with a function there, and functions are "
        f"not saved; make this optimizer with the same {argument} before loading."
    )


def _copied(state: Any) -> Any:
    if not isinstance(state, dict):
        return state
    return {key: value.clone() if isinstance(value, Tensor) else value for key, value in state.items()}
