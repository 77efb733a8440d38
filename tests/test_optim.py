"""The optimizers against torch's own, against hand-written loops, and against themselves."""

import copy
import io
import math
import pickle
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR, LRScheduler, OneCycleLR

from wdlab.decay import COUPLINGS, Timing
from wdlab.optim import SGD, Adam, RMSprop

SHAPES = [(), (3,), (1, 5), (2, 3, 1), (0, 2)]
STEPS = 200

MEMBERS = 3

Ours = type[SGD] | type[Adam] | type[RMSprop]
Make = Callable[[list[Parameter]], Optimizer]


def parameters(shapes: Iterable[Sequence[int]] = SHAPES, seed: int = 0) -> list[Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [Parameter(torch.randn(tuple(shape), generator=generator, dtype=torch.float64)) for shape in shapes]


def push(params: list[Parameter], step: int) -> None:
    """A gradient that depends on the weights, so that one wrong step is never forgotten."""
    generator = torch.Generator().manual_seed(1000 + step)
    for w in params:
        w.grad = 0.3 * w.detach() + torch.randn(w.shape, generator=generator, dtype=w.dtype)


def go(optimizer: Optimizer, params: list[Parameter], first: int, last: int) -> list[Tensor]:
    for step in range(first, last):
        push(params, step)
        optimizer.step()
    return [w.detach().clone() for w in params]


def trained(make: Make, steps: int = 40, schedule: Callable[[Optimizer], LRScheduler] | None = None) -> list[Tensor]:
    params = parameters()
    optimizer = make(params)
    scheduler = schedule(optimizer) if schedule else None
    for step in range(steps):
        go(optimizer, params, step, step + 1)
        if scheduler:
            scheduler.step()
    return [w.detach() for w in params]


def ends(kind: Ours, length: int = 40, /, **options: Any) -> list[Tensor]:
    return trained(lambda params: kind(params, **options), length)


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def assert_close(a: list[Tensor], b: list[Tensor]) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


# --- against torch -----------------------------------------------------------------------------------------------

TORCH = {
    "plain SGD": (SGD, torch.optim.SGD, {"lr": 0.05}, {}),
    "plain SGD, decay": (SGD, torch.optim.SGD, {"lr": 0.05, "weight_decay": 0.2}, {}),
    "momentum": (SGD, torch.optim.SGD, {"lr": 0.02, "momentum": 0.9}, {}),
    "momentum, decay": (SGD, torch.optim.SGD, {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.2}, {}),
    "nesterov": (SGD, torch.optim.SGD, {"lr": 0.02, "momentum": 0.9, "nesterov": True}, {}),
    "nesterov, decay": (
        SGD,
        torch.optim.SGD,
        {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.2},
        {},
    ),
    "Adam": (Adam, torch.optim.Adam, {"lr": 0.03, "betas": (0.8, 0.99), "eps": 1e-4}, {}),
    "Adam, l2": (Adam, torch.optim.Adam, {"lr": 0.03, "weight_decay": 0.2}, {}),
    "AdamW": (Adam, torch.optim.AdamW, {"lr": 0.03, "weight_decay": 0.2}, {"coupling": "decoupled"}),
    "RMSprop": (RMSprop, torch.optim.RMSprop, {"lr": 0.03}, {}),
    "RMSprop, l2": (RMSprop, torch.optim.RMSprop, {"lr": 0.03, "alpha": 0.9, "weight_decay": 0.2}, {}),
    "centered": (RMSprop, torch.optim.RMSprop, {"lr": 0.03, "alpha": 0.95, "centered": True}, {}),
    "centered, l2": (
        RMSprop,
        torch.optim.RMSprop,
        {"lr": 0.03, "alpha": 0.95, "eps": 1e-3, "centered": True, "weight_decay": 0.2},
        {},
    ),
}


def cycled(optimizer: Optimizer) -> set[str]:
    """What a cycle may turn beside lr: a momentum that is not 0, or Adam's first beta."""
    return {name for name in ("momentum", "betas") if optimizer.defaults.get(name)}


SCHEDULES: dict[str, Callable[[Optimizer], LRScheduler] | None] = {
    "constant": None,
    "warmup and cosine to 0": lambda optimizer: LambdaLR(
        optimizer, lambda step: min(step / 10, (1 + math.cos(math.pi * step / STEPS)) / 2)
    ),
    "one cycle, which turns momentum too": lambda optimizer: OneCycleLR(
        optimizer, max_lr=0.05, total_steps=STEPS + 1, cycle_momentum=bool({"momentum", "betas"} & cycled(optimizer))
    ),
}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("case", TORCH.values(), ids=TORCH)
def test_equals_torch(case: Any, schedule: Callable[[Optimizer], LRScheduler] | None) -> None:
    ours, theirs, options, coupling = case
    # torch's AdamW decays by 0.01 unless told otherwise, so every option that matters is given.
    assert_close(
        trained(lambda params: ours(params, **options, **coupling), STEPS, schedule),
        trained(lambda params: theirs(params, **options), STEPS, schedule),
    )


def test_several_groups_equal_torch() -> None:
    def grouped(params: list[Parameter]) -> list[dict[str, Any]]:
        return [
            {"params": params[:2], "lr": 0.1, "weight_decay": 0.0},
            {"params": params[2:], "betas": (0.5, 0.9), "eps": 1e-2},
        ]

    assert_close(
        trained(lambda params: Adam(grouped(params), lr=0.03, weight_decay=0.3, coupling="decoupled"), STEPS),
        trained(lambda params: torch.optim.AdamW(grouped(params), lr=0.03, weight_decay=0.3), STEPS),
    )


def test_a_model_and_float32_and_a_closure() -> None:
    def losses(kind: Any) -> list[float]:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        x, y = torch.randn(16, 4), torch.randn(16, 1)
        optimizer = kind(model.named_parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(x), y)
            loss.backward()
            return loss

        return [optimizer.step(closure).item() for _ in range(30)]

    ours = losses(SGD)
    assert ours == pytest.approx(losses(torch.optim.SGD), rel=1e-5)
    assert ours[-1] < 0.5 * ours[0]


# --- coupling, timing, lambda ------------------------------------------------------------------------------------

EVERY = [(kind, name) for kind in (Adam, RMSprop) for name in COUPLINGS] + [
    (SGD, name) for name in COUPLINGS if name != "second_moment"
]
every_coupling = pytest.mark.parametrize(("kind", "coupling"), EVERY)


@every_coupling
def test_zero_lambda_is_no_decay_bit_for_bit(kind: Ours, coupling: str) -> None:
    assert same(ends(kind, coupling=coupling, weight_decay=0.0), ends(kind))


@every_coupling
def test_the_whole_window_is_always_and_the_empty_one_never(kind: Ours, coupling: str) -> None:
    def at(timing: Timing | None) -> list[Tensor]:
        return ends(kind, coupling=coupling, weight_decay=0.3, timing=timing, steps=40)

    always, never = at(None), at(Timing.never())
    assert same(at(Timing.window(0.0, 1.0)), always) and same(at(Timing.always()), always)
    assert same(at(Timing.window(0.3, 0.3)), never) and same(never, ends(kind))
    assert not same(always, never)


@every_coupling
def test_each_timing_changes_the_weights(kind: Ours, coupling: str) -> None:
    timings = [
        Timing.never(),
        Timing.always(),
        Timing.first(0.3),
        Timing.after(0.7),
        Timing.window(0.3, 0.6),
        Timing.cyclical(0.0, 1.0, 2),
        Timing.of(lambda step: step % 3 / 2),
    ]
    options = {"lr": 0.03, "coupling": coupling, "weight_decay": 0.3, "steps": 40}
    found = [ends(kind, timing=timing, **options)[1] for timing in timings]
    assert all((a - b).abs().max() > 1e-4 for i, a in enumerate(found) for b in found[:i])


def test_each_coupling_changes_the_weights() -> None:
    found = [ends(Adam, lr=0.03, coupling=name, weight_decay=0.3)[1] for name in COUPLINGS]
    found += [ends(Adam, lr=0.03)[1]]
    assert all((a - b).abs().max() > 1e-4 for i, a in enumerate(found) for b in found[:i])


@pytest.mark.parametrize("option", ["centered", "eps_inside"])
def test_each_option_of_rmsprop_changes_the_weights(option: str) -> None:
    off, on = (ends(RMSprop, lr=0.03, eps=1e-3, **{option: value}) for value in (False, True))
    assert (off[1] - on[1]).abs().max() > 1e-4


def test_only_momentum_tells_l2_from_decoupled_in_sgd() -> None:
    assert_close(ends(SGD, weight_decay=0.2), ends(SGD, weight_decay=0.2, coupling="decoupled"))
    l2, decoupled = (ends(SGD, momentum=0.9, weight_decay=0.2, coupling=name) for name in ("l2", "decoupled"))
    assert (l2[1] - decoupled[1]).abs().max() > 1e-2


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_a_timing_is_a_weight_decay_set_by_hand(kind: Ours) -> None:
    """Turning lambda off and on in `param_groups` between steps is the same; beyond `steps` the last one holds."""
    timing, steps = Timing.cyclical(0.2, 1.0, 2, peak=0.3), 30
    params, by_hand = parameters(), parameters()
    ours = kind(params, weight_decay=0.3, coupling="decoupled", timing=timing, steps=steps)
    theirs = kind(by_hand, coupling="decoupled")
    for step in range(steps + 5):
        theirs.param_groups[0]["weight_decay"] = 0.3 * timing.table(steps)[min(step, steps - 1)].item()
        assert same(go(ours, params, step, step + 1), go(theirs, by_hand, step, step + 1))


def test_a_function_is_asked_once_a_step() -> None:
    seen: list[int] = []

    def function(step: int) -> float:
        seen.append(step)
        return 1.0

    ends(Adam, 4, weight_decay=0.1, timing=Timing.of(function))
    assert seen == [0, 1, 2, 3]
    ends(Adam, 4, weight_decay=0.1, timing=Timing.of(function), steps=2)
    assert seen[4:] == [0, 1, 1, 1]


def test_a_bad_multiplier_is_refused_before_anything_moves() -> None:
    params = parameters()
    optimizer = Adam(params, weight_decay=0.1, timing=Timing.of(lambda step: -1.0))
    push(params, 0)
    with pytest.raises(ValueError, match=r"timing at step 0=-1\.0"):
        optimizer.step()
    assert same(params, parameters()) and not any(optimizer.state.values())


@pytest.mark.parametrize("root_v", [0.0, 0.4])
@pytest.mark.parametrize(("product", "stable"), [(1.9, True), (2.1, False)])
def test_adaptive_decay_diverges_beyond_two(root_v: float, product: float, stable: bool) -> None:
    """Each step multiplies w by 1 - lr lambda / (sqrt v + eps): stable only where that quotient is below 2."""
    lr, eps, beta2 = 1e-3, 0.01, 0.99
    w = Parameter(torch.tensor([1.0], dtype=torch.float64))
    strength = product * (root_v + eps) / lr
    optimizer = Adam([w], lr=lr, betas=(0.0, beta2), eps=eps, weight_decay=strength, coupling="adaptive")
    for step in range(200):
        w.grad = torch.tensor([root_v if step % 2 else -root_v], dtype=torch.float64)
        optimizer.step()
    assert (w.abs() < 0.1).item() if stable else (w.abs() > 1e6).item()


# --- scaling -----------------------------------------------------------------------------------------------------


def halving(optimizer: Optimizer) -> LRScheduler:
    return ExponentialLR(optimizer, 0.9)


class ByHand:
    """torch's AdamW or plain SGD, whose weight decay is rewritten before each step: an optimizer of one scaling."""

    def __init__(self, params: list[Parameter], adam: bool, scaling: str, strength: float, lr: float) -> None:
        self.params, self.adam, self.scaling, self.strength, self.lr0 = params, adam, scaling, strength, lr
        kind = torch.optim.AdamW if adam else torch.optim.SGD
        self.optimizer = kind(params, lr=lr)
        self.v, self.steps = [torch.zeros_like(w) for w in params], 0

    def step(self) -> None:
        group = self.optimizer.param_groups[0]
        k = {"lr": 1, "lr/lr0": 1 / self.lr0, "none": 1 / group["lr"], "gradient_norm": self.gradient_norm()}
        group["weight_decay"] = self.strength * k[self.scaling]
        self.optimizer.step()

    def gradient_norm(self) -> float:
        """1 over the root of the mean, over all weights, of the bias-corrected v; SGD's v is the last square."""
        beta2, self.steps, squares = 0.999 if self.adam else 0.0, self.steps + 1, []
        for i, w in enumerate(self.params):
            assert w.grad is not None
            self.v[i] = beta2 * self.v[i] + (1 - beta2) * w.grad**2
            squares += (self.v[i] / (1 - beta2**self.steps)).flatten().tolist()
        return 1 / math.sqrt(sum(squares) / len(squares))


@pytest.mark.parametrize("scaling", ["lr", "lr/lr0", "none", "gradient_norm"])
@pytest.mark.parametrize("kind", [SGD, Adam])
def test_scaling_equals_a_loop_by_hand(kind: Ours, scaling: str) -> None:
    lr, strength = 0.05, 0.02
    params, by_hand = parameters(), parameters()
    split = [{"params": params[:2]}, {"params": params[2:]}]  # the mean goes over all groups
    ours = kind(split, lr=lr, weight_decay=strength, coupling="decoupled", scaling=scaling)
    theirs = ByHand(by_hand, kind is Adam, scaling, strength, lr)
    schedules = halving(ours), halving(theirs.optimizer)
    for step in range(30):
        push(params, step), push(by_hand, step)
        ours.step(), theirs.step()
        for schedule in schedules:
            schedule.step()
    assert_close(list(params), list(by_hand))
    assert not same(list(params), ends(kind, 30, lr=lr, coupling="decoupled"))


@pytest.mark.parametrize("wrap", [float, torch.tensor], ids=["number", "tensor"])
def test_lr0_is_the_first_lr_though_a_warmup_divides_it_at_once(wrap: Callable[[float], Any]) -> None:
    optimizer = Adam(parameters(), lr=wrap(0.5), scaling="lr/lr0", coupling="decoupled")
    LambdaLR(optimizer, lambda step: (step + 1) / 10)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
    assert optimizer.param_groups[0]["lr0"] == 0.5
    optimizer.add_param_group({"params": parameters([(2,)]), "lr": 0.2})
    optimizer.add_param_group({"params": parameters([(2,)]), "lr": 0.2, "initial_lr": 0.4})  # a run taken up again
    assert [group["lr0"] for group in optimizer.param_groups] == [0.5, 0.2, 0.4]


@pytest.mark.parametrize(("kind", "coupling"), [pair for pair in EVERY if pair[1] != "own_buffers"])
def test_a_step_at_lr_zero_leaves_nothing_behind(kind: Ours, coupling: str) -> None:
    """Schedules start and end at 0, where lambda/lr has no value and the buffers must not keep one."""

    def run(strength: float) -> list[Tensor]:
        params = parameters()
        optimizer = kind(params, weight_decay=strength, coupling=coupling, scaling="none")
        optimizer.param_groups[0]["lr"] = 0.0
        go(optimizer, params, 0, 1)
        optimizer.param_groups[0].update(lr=0.01, weight_decay=0.0)
        return go(optimizer, params, 1, 5)

    assert same(run(0.1), run(0.0))


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_without_any_gradient_its_norm_scales_nothing(kind: Ours) -> None:
    params = parameters()
    optimizer = kind(params, weight_decay=0.1, coupling="decoupled", scaling="gradient_norm")
    optimizer.step()  # no gradient anywhere
    for w in params:
        w.grad = torch.zeros_like(w)
    optimizer.step()
    assert same(params, parameters())


# --- mask and names ----------------------------------------------------------------------------------------------

MASKED: dict[str, tuple[Any, list[int]]] = {
    "None": (None, [0, 1, 2, 3]),
    "everything": ("everything", [0, 1, 2, 3]),
    "weights": ("weights", [2, 3]),
    "by index": (lambda name, tensor: name in ("0.0", "0.3"), [0, 3]),
    "by tensor": (lambda name, tensor: tensor.ndim == 1, [1]),
}


@pytest.mark.parametrize(("mask", "decayed"), MASKED.values(), ids=MASKED)
@every_coupling
def test_a_mask_leaves_the_others_alone(kind: Ours, coupling: str, mask: Any, decayed: list[int]) -> None:
    plain, found = ends(kind, 8), ends(kind, 8, coupling=coupling, weight_decay=0.3, mask=mask)
    changed = [i for i, (a, b) in enumerate(zip(plain, found, strict=True)) if not torch.equal(a, b)]
    assert changed == decayed


def test_a_mask_is_told_the_names_it_can_know() -> None:
    def names(params: Any) -> list[str]:
        seen: list[str] = []
        optimizer = SGD(params, weight_decay=0.1, mask=lambda name, tensor: bool(seen.append(name)))
        for group in optimizer.param_groups:
            push(group["params"], 0)
        optimizer.step()
        return seen

    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    assert names(model.named_parameters()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert names(model.parameters()) == ["0.0", "0.1", "0.2", "0.3"]
    groups = [{"params": list(layer.parameters())} for layer in model]
    assert names(groups) == ["0.0", "0.1", "1.0", "1.1"]
    named = [{"params": list(layer.named_parameters())} for layer in model]
    assert names(named) == ["weight", "bias", "weight", "bias"]


# --- groups ------------------------------------------------------------------------------------------------------


def test_every_option_may_belong_to_one_group() -> None:
    own = [
        {"weight_decay": 0.4},
        {"coupling": "decoupled", "lr": 0.1},
        {"timing": Timing.first(0.5), "steps": 20},
        {"scaling": "none", "coupling": "adaptive", "eps": 0.5},
    ]
    together = parameters(SHAPES[:4])
    both = Adam([{"params": [w], **more} for w, more in zip(together, own, strict=True)], weight_decay=0.1)
    for step in range(20):
        go(both, together, step, step + 1)
    for i, more in enumerate(own):
        alone = trained(lambda params, i=i, more=more: Adam([params[i]], **{"weight_decay": 0.1, **more}), 20)
        assert torch.equal(together[i], alone[i])


def test_a_group_that_comes_later_shares_the_clock() -> None:
    params, late = parameters([(2,)]), parameters([(2,)], seed=1)
    optimizer = SGD(params, weight_decay=0.5, timing=Timing.first(0.5), steps=10)
    go(optimizer, params, 0, 5)
    optimizer.add_param_group({"params": late})
    go(optimizer, late, 5, 10)
    without = parameters([(2,)], seed=1)
    assert same(late, go(SGD(without), without, 5, 10))


def test_a_refused_group_is_not_added() -> None:
    optimizer = SGD(parameters())
    with pytest.raises(ValueError, match="weight_decay=-1"):
        optimizer.add_param_group({"params": parameters([(2,)]), "weight_decay": -1})
    assert len(optimizer.param_groups) == 1


# --- what torch's optimizers do ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_a_parameter_without_gradient_stays_as_it_is(kind: Ours) -> None:
    params = parameters()
    optimizer = kind(params, weight_decay=0.5)
    push(params, 0)
    params[1].grad = None
    before = params[1].detach().clone()
    optimizer.step()
    assert torch.equal(params[1], before) and params[1] not in optimizer.state
    assert not torch.equal(params[2], parameters()[2])


def test_a_parameter_that_comes_later_has_its_own_bias_correction() -> None:
    def late(kind: Any) -> list[Tensor]:
        params = parameters()
        optimizer = kind(params, lr=0.03)
        go(optimizer, params[1:], 0, 5)
        return go(optimizer, params, 5, 15)

    assert_close(late(Adam), late(torch.optim.Adam))


STATES = [
    (SGD, {}, set()),
    (SGD, {"momentum": 0.9}, {"momentum_buffer"}),
    (Adam, {}, {"step", "m", "v"}),
    (Adam, {"coupling": "own_buffers"}, {"step", "m", "v", "s", "u"}),
]


@pytest.mark.parametrize(("kind", "options", "keys"), STATES)
def test_state_is_made_when_needed(kind: Ours, options: dict[str, Any], keys: set[str]) -> None:
    params = parameters()
    optimizer = kind(params, **options)
    assert len(optimizer.state) == 0
    go(optimizer, params, 0, 1)
    for w in params:
        state = optimizer.state[w]
        assert set(state) == keys and all(state[key].shape == w.shape for key in keys - {"step"})


def test_a_coupling_may_change_on_the_way() -> None:
    params = parameters()
    optimizer = Adam(params, weight_decay=0.1)
    for i, name in enumerate(COUPLINGS):
        optimizer.param_groups[0]["coupling"] = name
        go(optimizer, params, i, i + 1)
    assert all(w.isfinite().all() for w in params)
    for kind, name in [(SGD, "second_moment"), (Adam, "nothing")]:
        optimizer = kind(params)
        optimizer.param_groups[0]["coupling"] = name
        with pytest.raises(ValueError, match=f"coupling='{name}'"):
            optimizer.step()


def test_buffers_of_the_penalty_fall_silent_when_the_coupling_changes() -> None:
    def run(forget: bool) -> list[Tensor]:
        params = parameters()
        optimizer = Adam(params, weight_decay=0.5, coupling="own_buffers")
        go(optimizer, params, 0, 5)
        optimizer.param_groups[0]["coupling"] = "decoupled"
        for w in params if forget else ():
            del optimizer.state[w]["s"], optimizer.state[w]["u"]
        return go(optimizer, params, 5, 10)

    assert same(run(forget=False), run(forget=True))


def test_weights_stay_leaves_and_a_step_leaves_no_graph() -> None:
    params = parameters()
    optimizer = Adam(params, weight_decay=0.1)
    go(optimizer, params, 0, 1)
    assert all(w.is_leaf and w.requires_grad and w.grad is not None for w in params)
    assert not any(optimizer.state[w][key].requires_grad for w in params for key in ("m", "v"))


def test_gradients_are_read_and_never_written() -> None:
    for kind, coupling in EVERY:
        params = parameters()
        optimizer = kind(params, weight_decay=0.3, coupling=coupling)
        push(params, 0)
        before = [w.grad.clone() for w in params if w.grad is not None]
        optimizer.step()
        assert same(before, [w.grad for w in params if w.grad is not None])


def test_hooks_and_zero_grad_are_inherited() -> None:
    params, calls = parameters(), []
    optimizer = SGD(params)
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    go(optimizer, params, 0, 1)
    optimizer.zero_grad()
    assert calls == ["before", "after"] and all(w.grad is None for w in params)
    assert "weight_decay: 0.0" in repr(optimizer)


def test_a_step_without_closure_returns_nothing() -> None:
    optimizer = SGD(parameters())
    assert optimizer.step() is None
    assert optimizer.step(lambda: 2.5) == 2.5


# --- saving and loading ------------------------------------------------------------------------------------------

SAVED: dict[str, tuple[Ours, dict[str, Any]]] = {
    "SGD": (SGD, {"momentum": 0.9, "nesterov": True, "timing": Timing.window(0.2, 0.6), "steps": 30}),
    "Adam": (Adam, {"timing": Timing.cyclical(0.1, 2.0, 3), "steps": 30, "mask": "weights"}),
    "own buffers": (Adam, {"coupling": "own_buffers", "timing": Timing.first(0.7), "steps": 30, "eps": 1e-3}),
    "scaled": (Adam, {"coupling": "adaptive", "scaling": "gradient_norm", "betas": (0.8, 0.9)}),
    "lr/lr0": (SGD, {"coupling": "decoupled", "scaling": "lr/lr0", "timing": Timing.after(0.5), "steps": 30}),
    "numpy's numbers": (Adam, {"lr": np.float64(0.02), "timing": Timing.first(np.float64(0.5)), "steps": 30}),
    "RMSprop": (RMSprop, {"centered": True, "eps_inside": True, "coupling": "own_buffers", "lr": 1e-3}),
    "tensors": (Adam, {"lr": torch.tensor(0.02, dtype=torch.float64), "timing": Timing.always()}),
}


def stored(optimizer: Optimizer) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize(("kind", "options"), SAVED.values(), ids=SAVED)
def test_a_run_goes_on_bit_for_bit(kind: Ours, options: dict[str, Any]) -> None:
    """The optimizer that loads knows none of the options: all of them, and the clock, are in the file."""
    params = parameters()
    optimizer = kind(params, weight_decay=0.3, **options)
    scheduler = halving(optimizer)
    go(optimizer, params, 0, 10)
    scheduler.step()
    resumed = [Parameter(w.detach().clone()) for w in params]
    other = kind(resumed)
    other.load_state_dict(stored(optimizer))
    assert same(go(optimizer, params, 10, 30), go(other, resumed, 10, 30))
    assert other.param_groups[0]["timing"] == optimizer.param_groups[0]["timing"]


class ManyAxes:
    """A mask that is a method: copying it would copy whatever it belongs to."""

    def mask(self, name: str, tensor: Tensor) -> bool:
        return tensor.ndim > 1


def test_functions_stay_with_the_optimizer_that_loads() -> None:
    options: dict[str, Any] = {"weight_decay": 0.3, "mask": ManyAxes().mask}
    options["timing"] = Timing.of(lambda step: step / 10)
    params = parameters()
    optimizer = Adam(params, **options)
    go(optimizer, params, 0, 10)
    resumed = [Parameter(w.detach().clone()) for w in params]
    other = Adam(resumed, **options)
    other.load_state_dict(stored(optimizer))
    assert all(other.param_groups[0][name] is options[name] for name in ("timing", "mask"))
    assert same(go(optimizer, params, 10, 20), go(other, resumed, 10, 20))


@pytest.mark.parametrize("argument", ["timing", "mask"])
def test_a_function_that_is_missing_is_missed(argument: str) -> None:
    function: Any = {"timing": Timing.of(float), "mask": lambda name, tensor: True}[argument]
    saved = stored(Adam(parameters(), **{argument: function}))
    other = Adam(parameters(), weight_decay=0.5)
    with pytest.raises(ValueError, match=rf"^{argument}=None is not allowed: .* with the same {argument} before"):
        other.load_state_dict(saved)
    assert other.param_groups[0]["weight_decay"] == 0.5  # nothing was loaded by halves


@pytest.mark.parametrize(
    ("source", "target", "missing"),
    [
        (torch.optim.Adam, Adam, "coupling"),
        (torch.optim.SGD, SGD, "coupling"),
        (SGD, Adam, "betas"),
        (Adam, SGD, "momentum"),
    ],
)
def test_the_state_of_another_optimizer_is_refused(source: Any, target: Ours, missing: str) -> None:
    saved = source(parameters(), lr=0.1).state_dict()
    with pytest.raises(ValueError, match=f"^state_dict is not allowed: its groups lack .*{missing}"):
        target(parameters()).load_state_dict(saved)


def test_another_number_of_groups_is_refused_by_torch() -> None:
    with pytest.raises(ValueError, match="different number of parameter groups"):
        SGD(parameters()).load_state_dict(SGD([{"params": [w]} for w in parameters()]).state_dict())


def test_a_fork_shares_nothing() -> None:
    """Loading a live optimizer's state copies it; torch's own would step the same buffers twice."""
    params, forked = parameters(), parameters()
    optimizer, fork = Adam(params, weight_decay=0.1), Adam(forked)
    go(optimizer, params, 0, 5)
    saved = copy.deepcopy(optimizer.state_dict())
    fork.load_state_dict(optimizer.state_dict())
    go(fork, forked, 5, 10)
    for before, now in zip(saved["state"].values(), optimizer.state_dict()["state"].values(), strict=True):
        assert before["step"] == now["step"] and torch.equal(before["m"], now["m"])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_go_on_bit_for_bit(copied: Callable[[Any], Any]) -> None:
    params = parameters()
    optimizer = Adam(params, weight_decay=0.3, timing=Timing.window(0.2, 0.8), steps=20)
    go(optimizer, params, 0, 10)
    twin, twins = copied((optimizer, params))
    assert same(go(optimizer, params, 10, 20), go(twin, twins, 10, 20))


# --- members -----------------------------------------------------------------------------------------------------


def each(low: float, high: float) -> Tensor:
    return torch.linspace(low, high, MEMBERS, dtype=torch.float64)


SGD_MEMBERS = {"lr": each(0.01, 0.1), "momentum": each(0.0, 0.9), "weight_decay": each(0.0, 0.5)}
ADAM_MEMBERS = {
    "lr": each(0.01, 0.1),
    "weight_decay": each(0.0, 0.5),
    "betas": (each(0.5, 0.9), each(0.9, 0.999)),
    "eps": each(1e-8, 1e-2),
}
RMS_MEMBERS = {"lr": each(0.01, 0.1), "weight_decay": each(0.0, 0.5), "alpha": each(0.5, 0.99), "eps": each(1e-4, 1e-2)}
HYPER = {SGD: SGD_MEMBERS, Adam: ADAM_MEMBERS, RMSprop: RMS_MEMBERS | {"centered": True, "eps_inside": True}}
SCALED = [(kind, "decoupled", scaling) for kind in (SGD, Adam) for scaling in ("lr/lr0", "none", "gradient_norm")]


def of_member(value: Any, k: int) -> Any:
    if isinstance(value, tuple):
        return tuple(of_member(part, k) for part in value)
    return value[k].item() if isinstance(value, Tensor) else value


@pytest.mark.parametrize(("kind", "coupling", "scaling"), [(*pair, "lr") for pair in EVERY] + SCALED)
@pytest.mark.parametrize("mask", ["everything", "weights"])
def test_a_member_equals_the_same_run_alone(kind: Ours, coupling: str, scaling: str, mask: str) -> None:
    hyper: dict[str, Any] = HYPER[kind]
    options: dict[str, Any] = {"coupling": coupling, "scaling": scaling, "mask": mask, "steps": 12}
    options |= {"timing": Timing.first(0.6)}
    together = parameters([(MEMBERS, *shape) for shape in SHAPES])
    alone = [[Parameter(w.detach()[k].clone()) for w in together] for k in range(MEMBERS)]
    batch = kind(together, **hyper, **options)
    solos = [
        kind(alone[k], **{name: of_member(value, k) for name, value in hyper.items()}, **options)
        for k in range(MEMBERS)
    ]
    for step in range(12):
        push(together, step)
        for k, params in enumerate(alone):
            for w, whole in zip(params, together, strict=True):
                assert whole.grad is not None
                w.grad = whole.grad[k].clone()
        batch.step()
        for solo in solos:
            solo.step()
    for k, params in enumerate(alone):
        assert_close([w.detach()[k] for w in together], [w.detach() for w in params])


def test_one_hyperparameter_per_member_is_enough_and_float32_stays_float32() -> None:
    params = [Parameter(torch.ones(MEMBERS, 2, dtype=torch.float32))]
    optimizer = Adam(params, weight_decay=each(0, 0.5), coupling="own_buffers")
    for _ in range(3):
        params[0].grad = torch.zeros_like(params[0])
        optimizer.step()
    assert params[0].dtype == torch.float32
    assert (params[0][0] == 1).all() and (params[0][1:] < 1).all()


# --- mistakes ----------------------------------------------------------------------------------------------------

two = torch.tensor([0.1, 0.2])
MISTAKES: list[tuple[Ours, dict[str, Any], str]] = [
    (SGD, {"lr": 0}, r"^lr=0 is not allowed; give a finite number greater than 0\.$"),
    (SGD, {"lr": -1.0}, "^lr=-1.0 is not allowed"),
    (Adam, {"lr": math.nan}, "^lr=nan is not allowed"),
    (Adam, {"lr": torch.tensor(-0.5)}, "^lr=-0.5 is not allowed"),
    (SGD, {"lr": torch.tensor([0.1, 0.0])}, r"^lr\[1\]=0.0 is not allowed; give a finite number greater than 0"),
    (SGD, {"lr": torch.ones(2, 2)}, r"^lr of shape \(2, 2\) is not allowed; give a number, or a tensor"),
    (SGD, {"lr": torch.ones(0)}, r"^lr of shape \(0,\) is not allowed"),
    (SGD, {"weight_decay": -0.1}, "^weight_decay=-0.1 is not allowed; give a finite number of at least 0"),
    (Adam, {"weight_decay": math.inf}, "^weight_decay=inf is not allowed"),
    (SGD, {"momentum": 1.0}, r"^momentum=1.0 is not allowed; give a finite number in \[0, 1\)"),
    (SGD, {"momentum": -0.1}, "^momentum=-0.1 is not allowed"),
    (SGD, {"nesterov": True}, "^nesterov=True is not allowed with momentum=0; give a momentum"),
    (Adam, {"betas": (0.9, 1.0)}, r"^betas\[1\]=1.0 is not allowed; give a finite number in \[0, 1\)"),
    (Adam, {"betas": (-0.1, 0.9)}, r"^betas\[0\]=-0.1 is not allowed"),
    (Adam, {"betas": 0.9}, r"^betas=0.9 is not allowed; give two numbers in \[0, 1\)"),
    (Adam, {"eps": -1e-8}, "^eps=-1e-08 is not allowed; give a finite number of at least 0"),
    (Adam, {"eps": 0.0, "coupling": "own_buffers"}, "^eps=0.0 is not allowed; .* greater than 0"),
    (RMSprop, {"alpha": 1.0}, r"^alpha=1.0 is not allowed; give a finite number in \[0, 1\)"),
    (RMSprop, {"eps": 0.0, "coupling": "own_buffers"}, "^eps=0.0 is not allowed; .* greater than 0"),
    (RMSprop, {"coupling": "decoupled", "scaling": "gradient_norm"}, "^scaling='gradient_norm' .* with RMSprop"),
    (RMSprop, {"alpha": two}, r"^alpha for 2 members is not allowed with parameter '0.0'"),
    (Adam, {"coupling": "decoupld"}, "^coupling='decoupld' is unknown; did you mean 'decoupled'"),
    (SGD, {"coupling": "second_moment"}, "^coupling='second_moment' is not allowed with SGD, .* choose 'l2'"),
    (SGD, {"scaling": "norm"}, "^scaling='norm' is unknown; did you mean"),
    (Adam, {"scaling": "gradient_norm"}, "^scaling='gradient_norm' is not allowed with coupling='l2'"),
    (SGD, {"mask": "weight"}, "^mask='weight' is unknown; did you mean 'weights'"),
    (SGD, {"timing": "first"}, "^timing='first' is not allowed; give None or a Timing"),
    (SGD, {"timing": Timing.first(0.2)}, r"^steps=None is not allowed with timing='first 0.2', .* len\(loader\)"),
    (SGD, {"timing": Timing.cyclical()}, "^steps=None is not allowed with timing='cyclical"),
    (SGD, {"timing": Timing.first(0.2), "steps": 0}, "^steps=0 is not allowed; give a whole number of at least 1"),
    (SGD, {"steps": 2.5}, "^steps=2.5 is not allowed"),
    (SGD, {"lr": two}, r"^lr for 2 members is not allowed with parameter '0.0' of shape \(\); give every parameter"),
    (Adam, {"betas": (two, 0.9)}, r"^betas\[0\] for 2 members is not allowed with parameter '0.0'"),
    (Adam, {"lr": two, "eps": torch.ones(3)}, "^eps for 3 members is not allowed beside lr for 2"),
]


@pytest.mark.parametrize(("kind", "options", "message"), MISTAKES)
def test_a_mistake_is_named(kind: Ours, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(parameters(), **options)
    with pytest.raises(ValueError, match=message):
        kind([{"params": parameters(), **options}])


def test_members_are_asked_of_every_group() -> None:
    named = [("a", parameters([(2, 3)])[0]), ("b", parameters([(3, 2)])[0])]
    with pytest.raises(ValueError, match=r"^weight_decay for 2 members .* parameter 'b' of shape \(3, 2\)"):
        SGD([{"params": named[:1], "weight_decay": two}, {"params": named[1:]}])


def test_complex_parameters_and_sparse_gradients_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^parameter .0\.0. of type torch\.complex64 is not allowed; give real"):
        SGD([Parameter(torch.ones(2, dtype=torch.complex64))])
    embedding = torch.nn.Embedding(4, 2, sparse=True)
    optimizer = Adam(embedding.named_parameters())
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match=re.escape("of parameter 'weight' is sparse, which is not allowed")):
        optimizer.step()


def test_a_scheduler_may_set_zero_where_the_constructor_may_not() -> None:
    params = parameters()
    optimizer = SGD(params, weight_decay=0.1)
    LambdaLR(optimizer, lambda step: 0.0)
    go(optimizer, params, 0, 2)
    assert same(params, parameters())
