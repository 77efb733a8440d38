"""Training against a loop of torch.nn and torch.optim, and what the comparisons of the course rest on.

Members equal the same runs alone, timings and couplings do what they say and nothing else, runs of one seed start
alike, and a member that diverges disturbs nobody.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from wdlab import COUPLINGS, Decay, History, Model, Optimizer, Run, Schedule, Timing, Training, Vision
from wdlab.models import MLP
from wdlab.optim import RMSprop
from wdlab.run import Match
from wdlab.tasks import TASKS, TRANSLATIONS, Batches, Task
from wdlab.train import CURVES, group_key, pick_device

TINY = Vision("tiny", "fashion", train_size=96, test_size=60, batch_size=16, image_size=7)
NET = Model(width=8, depth=2)
ADAM = Optimizer("adam", lr=0.01, betas=(0.8, 0.95), eps=1e-4)
RMSPROP = Optimizer("rmsprop", lr=0.003, betas=(0.0, 0.95), eps=1e-4)
BASE = Run(TINY, NET, decay=Decay(0.05), steps=40, evaluations=4)


def run(timing: Timing | None = None, coupling: str = "l2", strength: float = 0.05, **changes) -> Run:
    """BASE with other decay, and with other fields."""
    decay = Decay(strength, timing or Timing.always(), coupling, **changes.pop("axes", {}))
    return replace(BASE, decay=decay, **changes)


def trained(*runs: Run, steps: int | None = None, dtype: torch.dtype = torch.float64) -> Training:
    training = Training(runs, "cpu", dtype)
    training.advance(steps or training.steps)
    return training


def same_history(a: History, b: History, **tolerance: float) -> None:
    assert a.steps == b.steps and a.diverged_at == b.diverged_at and list(a.curves) == list(b.curves) == list(CURVES)
    for name in CURVES:
        torch.testing.assert_close(
            torch.tensor(a.curves[name]), torch.tensor(b.curves[name]), equal_nan=True, **tolerance
        )


BACK = ("train_loss", "rotation", "objective_step", "decay_step")  # curves that look back, so not yet at step 0
EXACT = {"rtol": 0.0, "atol": 0.0}
ROUNDING = {"rtol": 1e-9, "atol": 1e-11}


# Against the loop that any engineer would write


def torch_net(model: MLP) -> nn.Sequential:
    """The one member of `model` as torch.nn modules, in float64."""
    layers: list[nn.Module] = []
    for layer, (fan_in, fan_out) in enumerate(zip(model.sizes, model.sizes[1:], strict=False)):
        head = layer == model.hidden
        linear = nn.Linear(fan_in, fan_out, bias=head or not model.norm)
        linear.weight.data = model.get_parameter(f"weight_{layer}").detach()[0].T.clone()
        if linear.bias is not None:
            linear.bias.data = model.get_parameter(f"bias_{layer}").detach()[0].clone()
        norm = [nn.BatchNorm1d(fan_out)] if model.norm and not head else []
        layers += [linear, *norm, *([] if head else [nn.ReLU()])]
    return nn.Sequential(*layers).double()


def data_of(run: Run) -> tuple[Tensor, Tensor, Batches]:
    arrays = run.task.arrays()
    return arrays.inputs.flatten(1).double(), arrays.labels, Batches(run.task, [run.seed], len(arrays))


def torch_optimizer(run: Run, net: nn.Module) -> torch.optim.Optimizer:
    """Weight decay on matrices only, or on everything, by the couplings that torch has."""
    some = [p for p in net.parameters() if p.ndim >= 2 or run.decay.mask == "everything"]
    rest = [p for p in net.parameters() if not any(p is q for q in some)]
    groups = [{"params": some, "weight_decay": run.decay.strength}, {"params": rest, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    o = run.optimizer
    if o.name == "sgd":
        assert run.decay.coupling == "l2"
        return torch.optim.SGD(groups, lr=o.lr, momentum=o.momentum, nesterov=o.nesterov)
    kind = {"l2": torch.optim.Adam, "decoupled": torch.optim.AdamW}[run.decay.coupling]
    return kind(groups, lr=o.lr, betas=o.betas, eps=o.eps)


def plain_loop(run: Run) -> tuple[nn.Sequential, dict[str, list[float]]]:
    """Train `run` in torch alone; its network and the curves that it should have."""
    inputs, labels, batches = data_of(run)
    net = torch_net(Training([run], "cpu", torch.float64).model)
    optimizer = torch_optimizer(run, net)
    lrs, timing = run.optimizer.lr * run.schedule.table(run.steps), run.decay.timing.table(run.steps)
    losses, curves, lengths = [], {name: [] for name in CURVES}, ([], [])
    some = optimizer.param_groups[0]["params"]
    keep = run.optimizer.momentum if run.optimizer.name == "sgd" else run.optimizer.betas[0]
    of_loss = [torch.zeros_like(p) for p in some]  # what the loss alone leaves in the buffer, or in Adam's m
    for step in range(run.steps):
        for group in optimizer.param_groups:
            group["lr"] = lrs[step].item()
        optimizer.param_groups[0]["weight_decay"] = run.decay.strength * timing[step].item()
        chosen = batches.indices(step)[0]
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(inputs[chosen]), labels[chosen])
        loss.backward()
        before, old = matrices_of(net, run), [p.detach().clone() for p in some]
        gradients = [p.grad.clone() for p in some]
        optimizer.step()
        for i, g in enumerate(gradients):
            of_loss[i] = keep * of_loss[i] + (1 if run.optimizer.name == "sgd" else 1 - keep) * g
        losses.append(loss.item())
        if (step + 1) % (run.steps // run.evaluations) == 0:
            after = min(step + 1, run.steps - 1)
            measure(run, net, inputs, labels, curves, lrs[after].item(), timing[after].item())
            curves["train_loss"].append(sum(losses) / len(losses))
            cosines = [
                torch.cosine_similarity(*pair, dim=0) for pair in zip(before, matrices_of(net, run), strict=True)
            ]
            curves["rotation"].append(sum(math.acos(cosine.item()) for cosine in cosines) / len(cosines))
            for p, g, loss_part, whole in zip(some, gradients, of_loss, old, strict=True):
                moved = lrs[step].item() * objective_direction(run, optimizer.state[p], g, loss_part, step + 1)
                lengths[0].append(moved.square().sum().item())
                lengths[1].append((whole - p.detach() - moved).square().sum().item())
            curves["objective_step"].append(math.sqrt(sum(lengths[0])))
            curves["decay_step"].append(math.sqrt(sum(lengths[1])))
            lengths = [], []
            losses = []
    return net, curves


def objective_direction(run: Run, state: dict, g: Tensor, of_loss: Tensor, step: int) -> Tensor:
    """The part of torch's step that comes from the loss, before lr; over Adam's own v."""
    o = run.optimizer
    if o.name == "sgd":
        return g + o.momentum * of_loss if o.nesterov else of_loss
    root = (state["exp_avg_sq"] / (1 - o.betas[1] ** step)).sqrt() + o.eps
    return of_loss / (1 - o.betas[0] ** step) / root


def matrices_of(net: nn.Sequential, run: Run) -> list[Tensor]:
    found = [layer.weight.detach().flatten().clone() for layer in net if isinstance(layer, nn.Linear)]
    return found[:-1] if run.model.norm else found


@torch.no_grad()
def measure(run: Run, net: nn.Sequential, inputs, labels, curves, lr: float, multiplier: float) -> None:
    net.eval()
    logits, answers = net(inputs[: run.task.test_size]), labels[: run.task.test_size]
    net.train()
    squares = [layer.weight.square().sum().item() for layer in net if isinstance(layer, nn.Linear)]
    power = 1.0 if run.optimizer.name == "sgd" else 0.5
    curves["lr"].append(lr)
    curves["weight_decay"].append(run.decay.strength * multiplier)
    curves["test_loss"].append(nn.functional.cross_entropy(logits, answers).item())
    curves["test_error"].append((logits.argmax(1) != answers).double().mean().item())
    curves["weight_norm"].append(math.sqrt(sum(squares)))
    hidden = squares[:-1] if run.model.norm else squares
    curves["effective_lr"].append(sum(lr / square**power for square in hidden) / len(hidden))


def weights_of(training: Training, member: int = 0) -> list[Tensor]:
    named = dict(training.model.named_parameters())
    ordered = sorted(
        named, key=lambda name: (name.rsplit("_", 1)[1], "weight scale shift bias".index(name.split("_")[0]))
    )
    return [
        named[name].detach()[member].T if named[name].ndim == 3 else named[name].detach()[member] for name in ordered
    ]


LONG = {"steps": 120, "evaluations": 6}
EARLY = Timing.first(0.5)


@pytest.mark.parametrize(
    "asked",
    [
        run(**LONG),
        run(EARLY, **LONG),
        run(EARLY, axes={"mask": "everything"}, **LONG),
        run(optimizer=Optimizer(lr=0.05, momentum=0.8, nesterov=True), schedule=Schedule("cosine", 0.1, 0.2), **LONG),
        run(optimizer=Optimizer(momentum=0.0), schedule=Schedule("constant"), **LONG),
        run(EARLY, optimizer=ADAM, **LONG),
        run(EARLY, "decoupled", 2.0, optimizer=ADAM, **LONG),
        run(None, "decoupled", 2.0, optimizer=ADAM, axes={"mask": "everything"}, **LONG),
        run(Timing.window(0.2, 0.6), model=replace(NET, norm=False, depth=1), seed=3, **LONG),
    ],
    ids=["sgd", "early", "everything", "nesterov", "plain", "adam l2", "adamw", "adamw everything", "no norm"],
)
def test_training_is_the_loop_any_engineer_would_write(asked: Run) -> None:
    net, curves = plain_loop(asked)
    ours = trained(asked)
    torch.testing.assert_close(weights_of(ours), [p.detach() for p in net.parameters()], rtol=1e-6, atol=1e-8)
    [history] = ours.histories()
    assert history.steps == (0, 20, 40, 60, 80, 100, 120) and history.diverged_at is None
    for name in CURVES:
        assert history.curves[name][1:] == pytest.approx(curves[name], rel=1e-7, abs=1e-9), name
    assert math.isnan(history.curves["train_loss"][0]), "nothing is trained yet"
    assert curves["test_error"][-1] < 0.7, "something is learned, so the comparison means something"


@pytest.mark.parametrize("spatial", [1, 2])
def test_a_residual_network_is_stepped_by_torch_s_sgd(spatial: int) -> None:
    """The gradient is held to torch.nn in tests/models; here the update and the batches are."""
    task = TINY if spatial == 2 else Vision("signals", "mnist1d", train_size=96, test_size=60, batch_size=16)
    asked = run(task=task, model=Model("resnet", width=2, depth=2), steps=8, evaluations=1)
    start, ours = Training([asked], "cpu", torch.float64), trained(asked)
    model = start.model
    some = [p for p in model.parameters() if p.ndim > 2]
    rest = [p for p in model.parameters() if p.ndim <= 2]
    optimizer = torch.optim.SGD([{"params": some, "weight_decay": 0.05}, {"params": rest}], lr=0.1, momentum=0.9)
    arrays, lrs = task.arrays(), asked.schedule.table(8)
    inputs = task.shape_inputs(arrays.inputs, asked.model).double()
    batches = Batches(task, [0], len(arrays))
    for step in range(8):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * lrs[step].item()
        chosen = batches.indices(step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[chosen])[0], arrays.labels[chosen[0]]).backward()
        optimizer.step()
    pairs = zip(model.named_parameters(), ours.model.named_parameters(), strict=True)
    for (name, theirs), (_, mine) in pairs:
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10, msg=name)


@pytest.mark.parametrize("name", COUPLINGS)
def test_rmsprop_takes_the_steps_of_the_optimizer_of_that_name(name: str) -> None:
    """Which is held to torch's own, and to plain Python; here it is given the gradients that the training found."""
    asked = run(Timing.first(0.5), name, 0.02, optimizer=RMSPROP)
    training = Training([asked], "cpu", torch.float64)
    params = [nn.Parameter(p.detach().clone()) for p in training.model.parameters()]
    axes = {"coupling": name, "timing": asked.decay.timing, "steps": asked.steps, "mask": lambda _, p: p.ndim > 2}
    kinds = {"centered": True, "eps_inside": True, "alpha": 0.95, "eps": 1e-4}
    optimizer = RMSprop(params, RMSPROP.lr, weight_decay=0.02, **kinds, **axes)
    lrs = RMSPROP.lr * asked.schedule.table(asked.steps)
    for step in range(asked.steps):
        optimizer.param_groups[0]["lr"] = lrs[step].item()
        training.advance()
        for mine, theirs in zip(params, training.model.parameters(), strict=True):
            mine.grad = theirs.grad.clone()
        optimizer.step()
    for mine, theirs in zip(params, training.model.parameters(), strict=True):
        torch.testing.assert_close(mine.detach(), theirs.detach(), rtol=1e-9, atol=1e-11)


# The step in two parts

PARTED = [(optimizer, name) for optimizer in ("sgd", "adam", "rmsprop") for name in COUPLINGS]
PARTED.remove(("sgd", "second_moment"))


@pytest.mark.parametrize(("optimizer", "coupling"), PARTED)
def test_the_two_parts_of_a_step_are_lengths_of_what_adds_up_to_it(optimizer: str, coupling: str) -> None:
    """Three sides that close a triangle, and where a part is known in closed form, that length."""
    made = {"adam": ADAM, "rmsprop": RMSPROP, "sgd": Optimizer(momentum=0.9)}[optimizer]
    training = Training([run(None, coupling, optimizer=made, evaluations=40)], "cpu", torch.float64)
    part = training._slice
    for _ in range(training.steps):
        before = training.weights[part].clone()
        training.advance()
        step = (training.weights[part] - before).norm().item()
        loss, decay = (training.rows[-1][1][CURVES.index(name)].item() for name in ("objective_step", "decay_step"))
        assert abs(loss - decay) <= step * (1 + 1e-9) and step <= (loss + decay) * (1 + 1e-9)
        assert loss > 0 and (decay > 0) == (coupling != "second_moment")
        if coupling == "second_moment":
            assert loss == pytest.approx(step, rel=1e-9)
        if coupling == "decoupled":
            lr = training.lr_table[training.step - 1].item()
            assert decay == pytest.approx(lr * 0.05 * before.norm().item(), rel=1e-9)


@pytest.mark.parametrize("optimizer", [ADAM, Optimizer(momentum=0.9)], ids=["adam", "sgd"])
def test_a_step_without_decay_is_all_objective(optimizer: Optimizer) -> None:
    ended, never = trained(
        run(Timing.first(0.2), optimizer=optimizer), run(Timing.never(), optimizer=optimizer)
    ).histories()
    assert set(never.curves["decay_step"][1:]) == {0.0}
    assert ended.curves["decay_step"][1] > 0
    # l2 stays in the buffer when decay is over, and is forgotten as the buffer forgets.
    assert 0 < ended.curves["decay_step"][-1] < 0.2 * ended.curves["decay_step"][1]


# Scalings, by hand


def by_hand(asked: Run, move: Callable[[int, list[Tensor], list[Tensor], float], None]) -> list[Tensor]:
    """A loop in which `move(step, weights, gradients, lr)` is the update, step counted from 1."""
    inputs, labels, batches = data_of(asked)
    net = torch_net(Training([asked], "cpu", torch.float64).model)
    lrs = asked.optimizer.lr * asked.schedule.table(asked.steps)
    for step in range(asked.steps):
        chosen = batches.indices(step)[0]
        loss = nn.functional.cross_entropy(net(inputs[chosen]), labels[chosen])
        gradients = torch.autograd.grad(loss, list(net.parameters()))
        with torch.no_grad():
            move(step + 1, [p.data for p in net.parameters()], list(gradients), lrs[step].item())
    return [p.detach() for p in net.parameters()]


def mean_square(tensors: list[Tensor]) -> float:
    return torch.cat([t.flatten() for t in tensors]).square().mean().item()


@pytest.mark.parametrize("scaling", ["lr", "lr/lr0", "none", "gradient_norm"])
def test_scaling_of_decoupled_sgd_by_hand(scaling: str) -> None:
    asked = run(EARLY, "decoupled", 0.02, axes={"scaling": scaling})
    table, buffers = EARLY.table(asked.steps), []

    def move(step: int, weights: list[Tensor], gradients: list[Tensor], lr: float) -> None:
        buffers[:] = buffers or [torch.zeros_like(w) for w in weights]
        shrink = {"lr": lr, "lr/lr0": lr / 0.1, "none": 1.0, "gradient_norm": lr / math.sqrt(mean_square(gradients))}
        for w, g, b in zip(weights, gradients, buffers, strict=True):
            b.mul_(0.9).add_(g)
            if w.ndim == 2:
                w.mul_(1 - shrink[scaling] * 0.02 * table[step - 1].item())
            w.sub_(lr * b)

    torch.testing.assert_close(weights_of(trained(asked)), by_hand(asked, move), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("scaling", ["lr", "lr/lr0", "none"])
def test_scaling_of_l2_by_hand(scaling: str) -> None:
    asked = run(None, "l2", 0.003, axes={"scaling": scaling})
    buffers: list[Tensor] = []

    def move(step: int, weights: list[Tensor], gradients: list[Tensor], lr: float) -> None:
        buffers[:] = buffers or [torch.zeros_like(w) for w in weights]
        strength = 0.003 * {"lr": 1.0, "lr/lr0": 1 / 0.1, "none": 1 / lr}[scaling]
        for w, g, b in zip(weights, gradients, buffers, strict=True):
            b.mul_(0.9).add_(g + (strength * w if w.ndim == 2 else 0))
            w.sub_(lr * b)

    torch.testing.assert_close(weights_of(trained(asked)), by_hand(asked, move), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("mask", ["weights", "everything"])
def test_decay_scaled_by_the_gradient_norm_is_adams(mask: str) -> None:
    """AdamS of Xie et al.: w shrinks by lr lambda / sqrt(mean of v^ over all parameters), then Adam's step."""
    asked = run(EARLY, "decoupled", 0.002, optimizer=ADAM, axes={"scaling": "gradient_norm", "mask": mask})
    table, (beta1, beta2), eps = EARLY.table(asked.steps), ADAM.betas, ADAM.eps
    m: list[Tensor] = []
    v: list[Tensor] = []

    def move(step: int, weights: list[Tensor], gradients: list[Tensor], lr: float) -> None:
        m[:] = m or [torch.zeros_like(w) for w in weights]
        v[:] = v or [torch.zeros_like(w) for w in weights]
        for i, g in enumerate(gradients):
            m[i] = beta1 * m[i] + (1 - beta1) * g
            v[i] = beta2 * v[i] + (1 - beta2) * g * g
        hats = [x / (1 - beta2**step) for x in v]
        mean = torch.cat([hat.flatten() for hat in hats]).mean().sqrt()
        for i, w in enumerate(weights):
            if w.ndim == 2 or mask == "everything":
                w.mul_(1 - lr * 0.002 * table[step - 1] / mean)
            w.sub_(lr * m[i] / (1 - beta1**step) / (hats[i].sqrt() + eps))

    torch.testing.assert_close(weights_of(trained(asked)), by_hand(asked, move), rtol=1e-7, atol=1e-9)


# Members

TIMINGS = {
    "never": Timing.never(),
    "always": Timing.always(),
    "first": Timing.first(0.4),
    "after": Timing.after(0.4),
    "window": Timing.window(0.2, 0.7),
    "cyclical": Timing.cyclical(0.0, 2.0),
    "of": Timing.of(lambda step: 1 / (1 + step)),
}
SGD_MEMBERS = [
    run(TIMINGS["never"], seed=1),
    run(TIMINGS["first"], "decoupled", 0.5, optimizer=Optimizer(lr=0.02, momentum=0.5)),
    run(TIMINGS["window"], "own_buffers", seed=1, schedule=Schedule("cosine", warmup=0.2)),
    run(TIMINGS["cyclical"], "adaptive", 0.2, optimizer=Optimizer(momentum=0.0), seed=2),
    run(TIMINGS["of"], "first_moment", schedule=Schedule("constant")),
    run(TIMINGS["after"], "l2", 0.001, optimizer=Optimizer(lr=0.3)),
]
ADAM_MEMBERS = [
    run(timing, coupling, strength, seed=seed, optimizer=replace(ADAM, **changes))
    for timing, coupling, strength, seed, changes in [
        (TIMINGS["always"], "l2", 0.02, 0, {}),
        (TIMINGS["first"], "first_moment", 0.1, 1, {"lr": 0.02}),
        (TIMINGS["after"], "second_moment", 0.3, 1, {"betas": (0.0, 0.999)}),
        (TIMINGS["window"], "own_buffers", 0.2, 2, {"eps": 1e-8}),
        (TIMINGS["cyclical"], "adaptive", 0.01, 0, {"eps": 1e-2, "betas": (0.9, 0.5)}),
        (TIMINGS["never"], "decoupled", 1.0, 0, {}),
        (TIMINGS["of"], "decoupled", 3.0, 3, {"lr": 0.005}),
    ]
]
RMSPROP_MEMBERS = [
    run(TIMINGS["first"], name, 0.02, seed=seed % 2, optimizer=replace(RMSPROP, betas=(0.0, 0.9 + seed / 100)))
    for seed, name in enumerate(COUPLINGS)
]
BY_GRADIENT = [
    run(TIMINGS["first"], coupling, 0.002, seed=seed, optimizer=ADAM, axes={"scaling": "gradient_norm"})
    for seed, coupling in enumerate(("decoupled", "adaptive", "first_moment", "own_buffers"))
]
SCALED = [
    [
        run(TIMINGS["first"], "decoupled", 0.002, seed=seed, optimizer=replace(o, lr=lr), axes={"scaling": scaling})
        for seed, lr in enumerate((0.03, 0.01, 0.02))
    ]
    for o, scaling in ((ADAM, "lr/lr0"), (Optimizer(), "lr/lr0"), (Optimizer(), "none"), (Optimizer(), "gradient_norm"))
]
MATCHED = [replace(run(seed=1), match=Match(norm, Decay(0.05, TIMINGS["first"]))) for norm in (None, "start")]
CONVOLUTIONS = [
    run(TIMINGS["first"], coupling, seed=seed, model=Model("resnet", width=2, depth=2), steps=8)
    for seed, coupling in enumerate(("l2", "decoupled"))
]


@pytest.mark.parametrize("members", [SGD_MEMBERS, ADAM_MEMBERS, RMSPROP_MEMBERS, BY_GRADIENT, *SCALED, CONVOLUTIONS])
def test_a_member_of_a_mixed_batch_equals_the_same_run_alone(members: list[Run]) -> None:
    together = trained(*members)
    for member, (asked, history) in enumerate(zip(members, together.histories(), strict=True)):
        alone = trained(asked)
        assert history.run is asked
        torch.testing.assert_close(weights_of(together, member), weights_of(alone), **ROUNDING)
        same_history(history, alone.histories()[0], **ROUNDING)


def test_the_order_of_members_does_not_matter() -> None:
    there, back = trained(*ADAM_MEMBERS), trained(*ADAM_MEMBERS[::-1])
    torch.testing.assert_close(there.weights, back.weights.flip(0), **ROUNDING)


def test_runs_of_one_seed_start_alike_and_see_the_same_batches() -> None:
    members = [run(Timing.never(), seed=4), run(Timing.always(), "decoupled", 0.3, seed=4), run(seed=5)]
    training = Training(members, "cpu")
    assert torch.equal(training.weights[0], training.weights[1])
    for _ in range(8):
        inputs, labels = training._next_batch()
        assert torch.equal(inputs[0], inputs[1]) and torch.equal(labels[0], labels[1])
        assert not torch.equal(inputs[0], inputs[2])
        training.advance(1)
    own = dict(Training([members[2]], "cpu").model.named_parameters())
    for name, parameter in Training(members, "cpu").model.named_parameters():
        assert torch.equal(parameter[2], own[name][0])
        if name.startswith("weight"):
            assert not torch.equal(parameter[0], parameter[2]), name


def test_test_examples_are_never_trained_on() -> None:
    training = Training([run()], "cpu")
    tested = training.inputs[: TINY.test_size]
    for step in range(12):
        chosen = training.batches.indices(step)
        assert chosen.min() >= TINY.test_size and len(tested) == TINY.test_size


# The toggle


OPTIMIZERS = {"sgd": Optimizer(), "nesterov": Optimizer(nesterov=True), "adam": ADAM}


@pytest.mark.parametrize(
    ("name", "coupling"),
    [
        (name, coupling)
        for name in OPTIMIZERS
        for coupling in COUPLINGS
        if name == "adam" or coupling != "second_moment"
    ],
)
def test_no_decay_is_no_decay_bit_for_bit(name: str, coupling: str) -> None:
    """Never, an empty window and lambda = 0 are one; so are always, the whole window and first(1)."""
    optimizer = OPTIMIZERS[name]
    none = [(Timing.never(), 0.05), (Timing.window(0.3, 0.3), 0.05), (Timing.always(), 0.0), (Timing.first(0), 0.05)]
    full = [(Timing.always(), 0.05), (Timing.window(0, 1), 0.05), (Timing.first(1), 0.05), (Timing.after(0), 0.05)]
    for pairs in (none, full):
        short = {"optimizer": optimizer, "steps": 12, "evaluations": 1}
        members = [run(timing, coupling, strength, **short) for timing, strength in pairs]
        ends = [trained(member, dtype=torch.float32).weights for member in members]
        assert all(torch.equal(ends[0], end) for end in ends[1:])
        together = trained(*members, dtype=torch.float32).weights
        assert all(torch.equal(together[0], other) for other in together[1:])


def distance(a: Tensor, b: Tensor) -> float:
    return ((a - b).norm() / a.norm()).item()


def test_every_timing_is_alive() -> None:
    ends = trained(*(run(timing) for timing in TIMINGS.values())).weights
    apart = [distance(a, b) for i, a in enumerate(ends) for b in ends[:i]]
    assert min(apart) > 1e-3


def test_every_coupling_of_adam_is_alive() -> None:
    ends = trained(
        *(run(None, coupling, 0.2, optimizer=ADAM) for coupling in COUPLINGS), run(Timing.never(), optimizer=ADAM)
    )
    apart = [distance(a, b) for i, a in enumerate(ends.weights) for b in ends.weights[:i]]
    assert min(apart) > 1e-3


def test_sgd_has_two_couplings() -> None:
    names = ["l2", "first_moment", "own_buffers", "adaptive", "decoupled"]
    inside, *same, adaptive, decoupled = trained(*(run(None, name) for name in names)).weights
    assert all(torch.equal(inside, other) for other in same) and torch.equal(adaptive, decoupled)
    assert distance(inside, decoupled) > 1e-3
    without = replace(Optimizer(), momentum=0.0)
    plain = trained(*(run(None, name, optimizer=without) for name in names)).weights
    assert max(distance(plain[0], other) for other in plain[1:]) < 1e-12


def test_every_scaling_is_alive() -> None:
    ends = [
        trained(run(None, "decoupled", 0.02, optimizer=ADAM, axes={"scaling": scaling})).weights
        for scaling in ("lr", "lr/lr0", "none", "gradient_norm")
    ]
    assert min(distance(a, b) for i, a in enumerate(ends) for b in ends[:i]) > 1e-3


def test_timing_acts_in_its_steps_and_in_no_other() -> None:
    """After w is decoupled from the loss, what is left of it counts the steps at which decay acted."""
    asked = run(Timing.window(0.25, 0.5), "decoupled", 0.1, schedule=Schedule("constant"))
    training, never = Training([asked], "cpu", torch.float64), Training([run(Timing.never())], "cpu", torch.float64)
    for step in range(asked.steps):
        before = training.weights[:, : training._decayed].clone()
        training.gradient.zero_()
        training._buffers[0].zero_()
        training.diverged_at.fill_(-1)
        training._update()
        shrunk = training.weights[:, : training._decayed] / before
        expected = 1 - 0.1 * 0.1 if 10 <= step < 20 else 1.0
        torch.testing.assert_close(shrunk, torch.full_like(shrunk, expected), rtol=1e-12, atol=0)
        training.step += 1
    rest = slice(training._decayed, None)
    assert torch.equal(training.weights[:, rest], never.weights[:, rest]), "what the mask spares stays"


# Stepping, forking, turning


@pytest.mark.parametrize("optimizer", [Optimizer(), ADAM], ids=["sgd", "adam"])
def test_advancing_in_pieces_is_advancing_at_once(optimizer: Optimizer) -> None:
    members = [run(EARLY, optimizer=optimizer), run(EARLY, "decoupled", seed=1, optimizer=optimizer)]
    whole, pieces = trained(*members), Training(members, "cpu", torch.float64)
    for size in (1, 2, 5, 13, 100):
        assert not pieces.done
        pieces.advance(size)
    assert pieces.done and pieces.step == BASE.steps
    pieces.advance(7)
    assert pieces.step == BASE.steps and torch.equal(whole.weights, pieces.weights)
    for a, b in zip(whole.histories(), pieces.histories(), strict=True):
        same_history(a, b, **EXACT)


@pytest.mark.parametrize("optimizer", [Optimizer(), ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("model", [NET, Model("resnet", width=2, depth=2)], ids=["mlp", "resnet"])
def test_a_fork_goes_on_bit_for_bit_and_by_itself(model: Model, optimizer: Optimizer) -> None:
    members = [
        run(EARLY, "own_buffers", model=model, optimizer=optimizer, steps=12),
        run(model=model, optimizer=optimizer, steps=12),
    ]
    straight, original = trained(*members), Training(members, "cpu", torch.float64)
    original.advance(7)  # in the middle of a pass and between two evaluations
    fork, other = original.fork(), original.fork()
    before = original.weights.clone()
    other.turn(0, lr=0.5)
    other.turn(1, weight_decay=3.0)
    other.advance(100)
    assert torch.equal(original.weights, before) and original.step == 7 and len(original.rows) == 3
    fork.advance(100)
    original.advance(100)
    for found in (fork, original):
        assert torch.equal(found.weights, straight.weights)
        assert all(torch.equal(a, b) for a, b in zip(found.model.buffers(), straight.model.buffers(), strict=True))
        for a, b in zip(found.histories(), straight.histories(), strict=True):
            same_history(a, b, **EXACT)
    assert not torch.equal(other.weights[0], straight.weights[0])
    assert not torch.equal(other.weights[1], straight.weights[1])


def test_turning_lambda_acts_from_that_step_on() -> None:
    """Turning is the timing that has the new value from there: the same numbers as a run made so from the start."""
    turned = Training([run(Timing.always(), strength=0.05), run(seed=1)], "cpu", torch.float64)
    turned.advance(15)
    turned.turn(0, weight_decay=0.4)
    turned.advance(100)
    asked = trained(run(Timing.of(lambda step: 1.0 if step < 15 else 8.0), strength=0.05), run(seed=1))
    assert torch.equal(turned.weights, asked.weights)
    [history, beside] = turned.histories()
    assert history.curves["weight_decay"] == pytest.approx((0.05, 0.05, 0.4, 0.4, 0.4))
    assert history.run.decay.strength == 0.05
    same_history(beside, trained(run(seed=1)).histories()[0], **ROUNDING)


def test_turning_lr_acts_from_that_step_on() -> None:
    constant = run(schedule=Schedule("constant"))
    turned = Training([constant, constant], "cpu", torch.float64)
    turned.advance(15)
    before = turned.weights.clone()
    turned.turn(1, lr=0.025)
    turned.advance(1)
    steps = turned.weights - before
    torch.testing.assert_close(steps[1], steps[0] / 4, rtol=1e-9, atol=1e-15)
    turned.advance(100)
    assert [history.curves["lr"] for history in turned.histories()] == [(0.1,) * 5, (0.1, 0.1, *(0.025,) * 3)]


@pytest.mark.parametrize("before", ["l2", "decoupled"])
@pytest.mark.parametrize("name", COUPLINGS)
@pytest.mark.parametrize("optimizer", [Optimizer(), ADAM, RMSPROP], ids=["sgd", "adam", "rmsprop"])
def test_turning_the_coupling_finds_its_buffers_as_if_it_had_always_been_there(optimizer, name, before) -> None:
    """Without decay every coupling is the same: so turned on at step 15 each is its own "after" from the start."""
    if optimizer.name == "sgd" and name == "second_moment":
        pytest.skip("SGD has no second moment")
    quiet = [run(Timing.never(), before, optimizer=optimizer), run(seed=1, optimizer=optimizer)]
    turned = Training(quiet, "cpu", torch.float64)
    turned.advance(15)
    beside = turned.fork()
    turned.turn(0, timing=Timing.after(15 / BASE.steps), coupling=name)
    turned.advance(100)
    asked = trained(run(Timing.after(15 / BASE.steps), name, optimizer=optimizer), quiet[1])
    torch.testing.assert_close(turned.weights, asked.weights, **EXACT)
    assert not torch.equal(turned.weights[0], trained(*quiet).weights[0]), "it does nothing"
    beside.advance(100)
    assert torch.equal(beside.weights, trained(*quiet).weights), "a fork hears nothing of it"


def test_a_coupling_that_is_turned_away_from_fades() -> None:
    """Back at decoupled, with lambda 0, nothing but Adam's own step is left once the buffers of the other are empty."""
    training = Training([run(None, "own_buffers", 0.1, optimizer=ADAM, steps=60)], "cpu", torch.float64)
    training.advance(5)
    training.turn(0, coupling="decoupled", timing=Timing.never())
    training.advance(1)
    residue = training._buffers[2].abs().max().item()
    training.advance(50)
    assert 0 < training._buffers[2].abs().max().item() < 0.01 * residue


def test_turning_the_timing_keeps_lambda_and_the_schedule_moves_lr() -> None:
    turned = Training([run(Timing.never(), strength=0.05)], "cpu", torch.float64)
    turned.advance(10)
    turned.turn(0, timing=Timing.window(0.5, 0.75), lr=0.3, schedule=Schedule("cosine"))
    turned.advance(100)
    expected = 0.05 * Timing.window(0.5, 0.75).table(BASE.steps)
    assert torch.equal(turned.decay_table[:, 0], expected)
    assert torch.equal(turned.lr_table[10:, 0], 0.3 * Schedule("cosine").table(BASE.steps)[10:])
    assert torch.equal(turned.lr_table[:10, 0], 0.1 * BASE.schedule.table(BASE.steps)[:10])


@pytest.mark.parametrize("optimizer", [Optimizer(), ADAM], ids=["sgd", "adam"])
def test_reading_in_between_changes_no_weight(optimizer: Optimizer) -> None:
    straight, watched = (
        trained(run(EARLY, optimizer=optimizer)),
        Training([run(EARLY, optimizer=optimizer)], "cpu", torch.float64),
    )
    watched.advance(3, read=True)
    watched.advance(2)
    watched.read()
    watched.read()
    watched.advance(100)
    assert torch.equal(straight.weights, watched.weights)
    [history] = watched.histories()
    assert history.steps == (0, 1, 2, 3, 5, 10, 20, 30, 40)
    rotation = dict(zip(history.steps, history.curves["rotation"], strict=True))
    assert math.isnan(rotation[5]) and all(math.isfinite(rotation[step]) for step in (1, 2, 3, 10))
    [usual] = straight.histories()
    for step in usual.steps:
        for name in ("test_error", "weight_norm", "rotation"):
            mine = dict(zip(history.steps, history.curves[name], strict=True))[step]
            its = dict(zip(usual.steps, usual.curves[name], strict=True))[step]
            assert mine == its or (math.isnan(mine) and math.isnan(its))


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        ({"member": 2}, r"^member=2 is not allowed; give a whole number from 0 to 1\.$"),
        ({"member": -1}, r"^member=-1 is not allowed"),
        ({"member": 0, "lr": 0}, r"^lr=0 is not allowed; give a finite number greater than 0\.$"),
        ({"member": 0, "lr": math.nan}, r"^lr=nan is not allowed"),
        ({"member": 0, "coupling": "second_moment"}, r"^coupling='second_moment' does nothing under SGD"),
        ({"member": 0, "coupling": "l3"}, r"^coupling='l3' is unknown; did you mean 'l2'"),
        ({"member": 0, "weight_decay": -1}, r"^weight_decay=-1 is not allowed; give a finite number of at least 0\.$"),
    ],
)
def test_a_dial_turned_too_far_is_refused(turn, message: str) -> None:
    training = Training([run(), run(seed=1)], "cpu")
    with pytest.raises(ValueError, match=message):
        training.turn(**turn)
    with pytest.raises(ValueError, match=r"^steps=0 is not allowed; give a whole number of at least 1\.$"):
        training.advance(0)


@pytest.mark.parametrize(
    ("steps", "evaluations", "expected"),
    [(10, 1, [0, 10]), (10, 3, [0, 4, 7, 10]), (7, 7, [*range(8)]), (3, 9, [0, 1, 2, 3]), (9, 2, [0, 5, 9])],
)
def test_evaluations_are_evenly_spaced_and_the_last_is_at_the_end(steps, evaluations, expected) -> None:
    [history] = trained(run(steps=steps, evaluations=evaluations)).histories()
    assert list(history.steps) == expected
    assert {len(curve) for curve in history.curves.values()} == {len(expected)}


def test_how_often_it_is_tested_changes_nothing_else() -> None:
    often, seldom = (trained(run(evaluations=count)) for count in (40, 1))
    assert torch.equal(often.weights, seldom.weights)
    first, last = (training.histories()[0].curves for training in (often, seldom))
    assert first["test_error"][-1] == last["test_error"][-1]
    assert last["train_loss"][-1] == pytest.approx(sum(first["train_loss"][1:]) / 40), "the mean since the last reading"


def test_a_step_uses_its_threads_and_torch_keeps_its_own(monkeypatch) -> None:
    used: list[int] = []
    update = Training._update
    monkeypatch.setattr(Training, "_update", lambda self: (used.append(torch.get_num_threads()), update(self))[1])
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for model, threads in ((NET, None), (NET, 2), (Model(width=300, depth=1), None), (Model("resnet", 2, 1), None)):
            Training([run(model=model, steps=1)], "cpu", threads=threads).advance(1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert used == [1, 2, 2, 2], "one for a small MLP, else what is asked for, else torch's"


class NoReading(TorchDispatchMode):
    """Fails when a number is read off a tensor, for which a GPU would have to be waited for."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert "_local_scalar_dense" not in str(function), f"{function} reads a number"
        assert not any(name in str(function) for name in ("nonzero", "aten.equal", "unique")), f"{function} waits"
        return function(*args, **(kwargs or {}))


def every_coupling(task: Task, model: Model, optimizer: Optimizer) -> list[Run]:
    """A member for each coupling that the optimizer has."""
    names = [name for name in COUPLINGS if optimizer.name == "adam" or name != "second_moment"]
    return [Run(task, model, optimizer, decay=Decay(0.01, coupling=name), steps=8, evaluations=2) for name in names]


WORDS = replace(TRANSLATIONS["translation"], train_size=60, batch_size=10, test_size=20)
NOISY = replace(TASKS["fashion"], train_size=64, test_size=20, batch_size=16, image_size=7, label_noise=0.2)
MOVED = replace(NOISY, augment=("shift", "mirror"))
EVERY = [
    every_coupling(*parts)
    for parts in product(
        (NOISY,), (NET, replace(NET, norm=False), Model("resnet", 2, 1)), (Optimizer(), Optimizer(nesterov=True), ADAM)
    )
]
EVERY += [every_coupling(WORDS, Model("transformer", 16, 1), optimizer) for optimizer in (Optimizer(), ADAM)]
EVERY += [every_coupling(MOVED, Model("resnet", 2, 1), Optimizer())]
EVERY += [SGD_MEMBERS, ADAM_MEMBERS, RMSPROP_MEMBERS, BY_GRADIENT, CONVOLUTIONS, MATCHED]


def refuse(tensor: Tensor, *given: object, **named: object) -> None:
    raise AssertionError(f"a tensor of shape {tuple(tensor.shape)} is read")


@pytest.mark.parametrize("members", EVERY)
def test_a_step_reads_nothing_back_from_the_device(members: list[Run], monkeypatch) -> None:
    monkeypatch.setattr(Training, "_may_stand_still", lambda self: True)  # as on a GPU
    training = Training(members, "cpu")
    packs = members[0].task == WORDS
    if packs:
        training.advance()  # sentences are packed on the host, once a pass
    for name in ("tolist", "numpy", "cpu"):  # of which a CPU's tensors tell no dispatch mode
        monkeypatch.setattr(Tensor, name, refuse)
    with NoReading():
        training.advance(WORDS.epoch - 1 if packs else 8)
    with pytest.raises(AssertionError, match="reads a number"), NoReading():
        training.weights.sum().item()
    with pytest.raises(AssertionError, match="is read"):
        training.weights.tolist()


def test_members_of_a_seed_share_one_gather() -> None:
    members = [run(seed=seed, strength=strength) for seed in (3, 5) for strength in (0.0, 0.1, 0.2)]
    training = Training(members, "cpu")
    inputs, labels = training.batches.take(0, training.inputs, training.train_labels)
    assert len(inputs) == len(labels) == 2 and len(training._next_batch()[0]) == 6


# Scale does not matter


@pytest.mark.parametrize(("optimizer", "power"), [(Optimizer(), -2), (ADAM, -1)], ids=["sgd", "adam"])
@pytest.mark.parametrize("model", [NET, Model("resnet", width=2, depth=2)], ids=["mlp", "resnet"])
def test_rescaling_what_feeds_a_normalization_moves_only_norm_and_effective_lr(model, optimizer, power) -> None:
    c, training = 3.0, trained(run(model=model, optimizer=optimizer, steps=20, evaluations=1))
    training._record()
    net, head = training.model, training.model.get_parameter("weight_2" if model.name == "mlp" else "weight_head")
    with torch.no_grad():
        for name in net.scale_invariant:
            layer = name.split("_", 1)[1]
            net.get_parameter(name).mul_(c)
            net.get_buffer(f"mean_{layer}").mul_(c)  # what running statistics would become
            net.get_buffer(f"var_{layer}").mul_(c**2)
    training._record()
    before, after = ({name: row[i].item() for i, name in enumerate(CURVES)} for _, row in training.rows[-2:])
    assert before["test_error"] == after["test_error"]
    assert after["test_loss"] == pytest.approx(before["test_loss"], rel=1e-3)
    assert after["effective_lr"] == pytest.approx(before["effective_lr"] * c**power, rel=1e-12)
    fixed = head.square().sum().item()
    expected = math.sqrt(c**2 * (before["weight_norm"] ** 2 - fixed) + fixed)
    assert after["weight_norm"] == pytest.approx(expected, rel=1e-12)
    head.data.mul_(30)  # which feeds no normalization
    training._record()
    assert abs(training.rows[-1][1][CURVES.index("test_loss")].item() / after["test_loss"] - 1) > 0.01


# Divergence


def check_diverged(history: History, at: int) -> None:
    """From that step on there are no numbers; before it there are."""
    assert history.diverged_at == at
    for name in CURVES[2:]:
        for step, value in zip(history.steps, history.curves[name], strict=True):
            if step > at:
                assert math.isnan(value), (name, step)
            if step < at and not (name in BACK and step == 0):
                assert math.isfinite(value), (name, step)
    assert all(math.isfinite(value) for name in CURVES[:2] for value in history.curves[name])


@pytest.mark.parametrize("optimizer", [Optimizer(), ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("poison", [math.nan, math.inf])
@pytest.mark.parametrize(
    "model", [NET, replace(NET, norm=False), Model("resnet", width=2, depth=2)], ids=["mlp", "no norm", "resnet"]
)
def test_a_poisoned_member_is_marked_stands_still_and_disturbs_nobody(model, poison: float, optimizer) -> None:
    members = [run(seed=seed, model=model, optimizer=optimizer, steps=16) for seed in range(3)]
    healthy, training = trained(*members), Training(members, "cpu", torch.float64)
    training.advance(6)
    with torch.no_grad():
        training.model.get_parameter("weight_0" if model.name == "mlp" else "weight_stem")[1].flatten()[0] = poison
    before = training.weights[1].clone()
    training.advance(100)
    found = training.histories()
    if math.isnan(poison):
        torch.testing.assert_close(training.weights[1], before, equal_nan=True, **EXACT)
        check_diverged(found[1], at=6)
    else:  # an infinite weight may first give a finite loss with a gradient that is not
        check_diverged(found[1], at=found[1].diverged_at or 0)
        assert found[1].diverged_at in (6, 7)
    for member in (0, 2):
        assert torch.equal(training.weights[member], healthy.weights[member])
        same_history(found[member], healthy.histories()[member], **EXACT)


def first_bad_step(asked: Run) -> int:
    """The first step at which a plain loop of torch sees a loss that is not finite."""
    inputs, labels, batches = data_of(asked)
    net = torch_net(Training([asked], "cpu", torch.float64).model).to(torch.float32)
    optimizer = torch_optimizer(asked, net)
    for step in range(asked.steps):
        chosen = batches.indices(step)[0]
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(inputs[chosen].float()), labels[chosen])
        if not loss.isfinite():
            return step
        loss.backward()
        optimizer.step()
    raise AssertionError("it did not diverge")


def test_too_high_a_learning_rate_is_reported_at_the_step_where_the_loss_broke() -> None:
    calm = run(model=replace(NET, norm=False), schedule=Schedule("constant"))
    wild = replace(calm, optimizer=Optimizer(lr=2000.0))
    expected = first_bad_step(wild)
    assert 1 < expected < 30
    training = trained(calm, wild, replace(calm, seed=1), dtype=torch.float32)
    found = training.histories()
    check_diverged(found[1], expected)
    for member, asked in ((0, calm), (2, replace(calm, seed=1))):
        alone = trained(asked, dtype=torch.float32)
        torch.testing.assert_close(training.weights[member], alone.weights[0], rtol=1e-5, atol=1e-6)
        assert found[member].diverged_at is None


def test_adaptive_decay_blows_up_where_v_is_small_and_says_so() -> None:
    """lr lambda / (sqrt v + eps) < 2 is broken where gradients are small; with a larger eps it holds."""
    small = [run(None, "adaptive", 0.5, optimizer=replace(ADAM, eps=eps), steps=200) for eps in (1e-8, 1.0)]
    beside = run(None, "decoupled", 0.5, optimizer=ADAM, steps=200)
    training = trained(*small, beside, dtype=torch.float32)
    broken, tame, decoupled = training.histories()
    assert broken.diverged_at is not None and tame.diverged_at is None and decoupled.diverged_at is None
    check_diverged(broken, broken.diverged_at)
    for member, asked in ((1, small[1]), (2, beside)):
        alone = trained(asked, dtype=torch.float32).weights[0]
        torch.testing.assert_close(training.weights[member], alone, rtol=1e-3, atol=1e-4)


def test_divergence_in_the_very_last_step_is_reported() -> None:
    """Nothing is trained on after the last step, so only the test can see that it broke the net."""
    training = Training([run(), run(seed=1)], "cpu")
    training.advance(BASE.steps - 1)
    training.turn(0, lr=1e38)
    training._buffers[0][0] = 1e38
    training.advance(1)
    broken, healthy = training.histories()
    check_diverged(broken, BASE.steps)
    assert math.isnan(broken.curves["test_error"][-1]) and healthy.diverged_at is None
    same_history(healthy, trained(run(seed=1), dtype=torch.float32).histories()[0], rtol=1e-5, atol=1e-6)


def test_a_fork_of_a_diverged_member_stays_diverged() -> None:
    training = Training([run(), run(seed=1)], "cpu")
    training.weights[0, 0] = math.nan
    training.advance(3)
    fork = training.fork()
    fork.advance(100)
    assert fork.histories()[0].diverged_at == 0 and fork.histories()[1].diverged_at is None
    assert training.histories()[0].diverged_at == 0


# What may be a batch, and on which device


def test_runs_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^runs=\[\] is not allowed; give at least one Run\.$"):
        Training([])
    with pytest.raises(ValueError, match=r"^runs of 2 different shapes cannot be members .*; wdlab\.sweep groups them"):
        Training([run(), run(model=replace(NET, width=9))])


FREE = {"optimizer.lr", "optimizer.momentum", "optimizer.betas", "optimizer.eps", "seed"}
FREE |= {"decay.strength", "decay.timing", "decay.coupling", "schedule.name", "schedule.final", "schedule.warmup"}
OTHER = {
    "task": replace(TINY, train_size=80),
    "model.width": 9,
    "optimizer.name": "adam",
    "optimizer.nesterov": True,
    "decay.scaling": "lr/lr0",
    "decay.mask": "everything",
    "steps": 41,
    "evaluations": 5,
    "optimizer.lr": 0.2,
    "optimizer.momentum": 0.1,
    "optimizer.betas": (0.1, 0.2),
    "optimizer.eps": 0.1,
    "schedule.name": "cosine",
    "schedule.final": 0.5,
    "schedule.warmup": 0.5,
    "decay.strength": 1.0,
    "decay.timing": Timing.never(),
    "decay.coupling": "decoupled",
    "seed": 9,
}


def changed(asked: Run, field: str, value: object) -> Run:
    outer, _, inner = field.partition(".")
    return replace(asked, **{outer: replace(getattr(asked, outer), **{inner: value}) if inner else value})


@pytest.mark.parametrize("field", OTHER)
def test_members_share_shapes_and_nothing_else(field: str) -> None:
    other = changed(BASE, field, OTHER[field])
    assert (group_key(BASE) == group_key(other)) == (field in FREE)


@pytest.mark.parametrize("scaling", ["lr", "lr/lr0", "none", "gradient_norm"])
def test_couplings_of_one_scaling_train_together(scaling: str) -> None:
    names = ["decoupled", "first_moment"] if scaling == "gradient_norm" else list(COUPLINGS)
    keys = {group_key(run(None, name, optimizer=ADAM, axes={"scaling": scaling})) for name in names}
    assert len(keys) == 1 and next(iter(keys)).decay.scaling == scaling


def test_devices() -> None:
    assert pick_device("cpu") == pick_device(torch.device("cpu")) == torch.device("cpu")  # type: ignore[arg-type]
    assert pick_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(
        ValueError, match=r"^device='cdua' is unknown; did you mean 'cuda'\? Allowed: auto, cpu, cuda, mps"
    ):
        pick_device("cdua")
    for name in ("cuda", "cuda:1", "mps"):
        if not getattr(torch, name.split(":")[0]).is_available():
            with pytest.raises(ValueError, match=rf"^device='{name}' is not there; use 'auto' or 'cpu', or install"):
                pick_device(name)


def test_a_history_says_what_it_holds() -> None:
    [history] = trained(run()).histories()
    assert tuple(history.curves) == CURVES and dataclasses.is_dataclass(history)
    assert all(isinstance(value, float) for curve in history.curves.values() for value in curve)
