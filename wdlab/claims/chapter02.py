"""Claims of chapter 02: scale does not matter, step size does."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from wdlab import optim
from wdlab.checks import known, number, whole
from wdlab.claims.arms import CONSTANT, NEVER, image_resnet, levels, signal_resnet
from wdlab.claims.claim import Claim, Measure, Setting
from wdlab.decay import Decay
from wdlab.measures import relative_gradient, rotation, weight_norm
from wdlab.measures.complexity import rescale_
from wdlab.measures.equilibrium import Equilibrium, Walk, adamw_equilibrium, random_walk, sgd_equilibrium
from wdlab.measures.scale import Scaled, at_scale
from wdlab.models import MemberModel, cross_entropy
from wdlab.run import Model, Optimizer, Run
from wdlab.tasks import TASKS, Batches, generator, of_vision
from wdlab.train import Training, pick_device, watch

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

Base = Callable[[str], Run]
Turner = Callable[[str, str], Run]
"""(scale, optimizer) -> the run whose rotation is watched."""

WEIGHTS = 200
SETTINGS: dict[tuple[str, str], tuple[tuple[float, float], ...]] = {
    ("sgd", "l2"): ((0.1, 0.01), (0.3, 0.01), (0.03, 0.03), (0.03, 0.01)),
    ("sgd", "decoupled"): ((0.1, 0.1), (0.3, 0.03), (0.1, 0.03), (0.03, 0.1)),
    ("adam", "decoupled"): ((0.03, 0.3), (0.01, 0.3), (0.03, 0.1), (0.003, 1.0)),
}
"""The (lr, lambda) that walks are tried at; each has several times 1/(lr lambda) steps to come to rest."""

WALK_STEPS, SETTLED, EARLY_STEPS = 4000, 2000, 50
FACTORS = (0.25, 4.0)
TWIN = 3.0  # by how much the twin's weights are longer; no power of two, which would be exact in any arithmetic
TWIN_STEPS, TWIN_WIDTH, TWIN_LR, TWIN_DECAY = 100, 32, {"sgd": 0.1, "adam": 0.01}, 0.01
NO_EPS = 1e-30
LONG = 1e6  # times as long: beside the variance of what such weights make, BatchNorm's eps is nothing
POWERS = {"sgd": 2, "adam": 1}

KOSSON = "Kosson et al. 2024 (angle to first order); norm, exact forms, measurement and threshold are ours"
WEN = (
    "Kosson et al. 2024 (angle to first order); K. Wen's notes on weight decay and hyperballs, part 2 (norm and exact "
    "angle); measurement and threshold are ours"
)
LAARHOVEN = "after van Laarhoven 2017; the measurement is ours"
ANGLE = "van Laarhoven 2017; Zhang et al. 2019 for Adam's effective learning rate; the measurement is ours"
UNMATCHED = "the same longer weights with the learning rate and lambda left as they were"


# Walks of pure noise


def walk(seeds: Sequence[int], optimizer: str, coupling: str) -> Walk:
    """Return the random walk of an optimizer and coupling at all of its `SETTINGS`."""
    return _walk(tuple(seeds), optimizer, coupling)


@lru_cache(maxsize=16)
def _walk(seeds: tuple[int, ...], optimizer: str, coupling: str) -> Walk:
    """Kept, for a claim and its control look at two parts of one walk."""
    return random_walk(seeds, SETTINGS[optimizer, "decoupled" if optimizer == "adam" else coupling], WALK_STEPS,
                       optimizer, coupling, weights=WEIGHTS)  # fmt: skip


def predicted(optimizer: str, coupling: str, lr: float, weight_decay: float, first_order: bool = False) -> Equilibrium:
    """Return the closed form for such a walk; for Adam that of AdamW, whatever the coupling."""
    if optimizer == "adam":
        return adamw_equilibrium(lr, weight_decay, WEIGHTS, first_order=first_order)
    return sgd_equilibrium(lr, weight_decay, coupling=coupling, first_order=first_order)


def walk_error(
    seeds: Sequence[int], optimizer: str, coupling: str, start: int = SETTLED, stop: int | None = None
) -> Float[Tensor, " seed"]:
    """Return the largest relative error, over settings, norm and angle, of the closed form over steps start to stop."""
    norm, angle = walk(seeds, optimizer, coupling).mean(start, stop)
    settings = SETTINGS[optimizer, "decoupled" if optimizer == "adam" else coupling]
    forms = [predicted(optimizer, coupling, *setting) for setting in settings]
    errors = [
        measured / torch.tensor(form, dtype=measured.dtype) - 1
        for measured, form in ((norm, [form.norm for form in forms]), (angle, [form.angle for form in forms]))
    ]
    return torch.stack(errors).abs().amax((0, 2))


def equilibrium_table(seeds: Sequence[int]) -> pd.DataFrame:
    """Return what walks of each kind measured when settled, mean over seeds, beside the closed forms: a row a setting.

    Columns: kind, lr, weight_decay; norm, angle (measured); closed_norm, closed_angle; first_norm, first_angle (to
    first order in lr lambda).
    """
    rows = []
    for (optimizer, coupling), settings in SETTINGS.items():
        kind = "AdamW" if optimizer == "adam" else f"SGD with momentum, {coupling}"
        norm, angle = (values.mean(0).tolist() for values in walk(seeds, optimizer, coupling).mean(SETTLED))
        for place, (lr, weight_decay) in enumerate(settings):
            exact, first = (predicted(optimizer, coupling, lr, weight_decay, order) for order in (False, True))
            rows.append(
                {"kind": kind, "lr": lr, "weight_decay": weight_decay, "norm": norm[place], "angle": angle[place]}
                | {"closed_norm": exact.norm, "closed_angle": exact.angle}
                | {"first_norm": first.norm, "first_angle": first.angle}
            )
    return pd.DataFrame(rows)


def _sgd_walk(setting: Setting, start: int, stop: int | None) -> Sequence[float]:
    errors = [walk_error(setting.seeds, "sgd", coupling, start, stop) for coupling in ("l2", "decoupled")]
    return (-torch.stack(errors).amax(0)).tolist()


# A trained network, its weights multiplied


def trained_network(seeds: Sequence[int], norm: bool = True, steps: int = 200) -> Training:
    """Return a small network trained with Adam for `steps` steps, one member a seed, with BatchNorm or without."""
    return _with_adam(Run(model=Model(width=48, norm=norm)), seeds, steps)


def _with_adam(run: Run, seeds: Sequence[int], steps: int = 200, dtype: torch.dtype = torch.float64) -> Training:
    base = replace(run, optimizer=Optimizer("adam", 0.003), schedule=CONSTANT, decay=Decay(), steps=steps)
    training = Training([replace(base, seed=seed, evaluations=1) for seed in seeds], device="cpu", dtype=dtype)
    training.advance(steps)
    return training


def scaled_mlp(setting: Setting, norm: bool = True) -> Training:
    """Return the trained MLPs whose weights are multiplied, the same at every scale."""
    return _trained_mlp(setting.seeds, norm)


@lru_cache(maxsize=4)
def _trained_mlp(seeds: tuple[int, ...], norm: bool) -> Training:
    """Kept, for two claims look at the same networks; nobody trains these on."""
    return trained_network(seeds, norm)


def scaled_resnet(base: Base) -> Callable[[Setting], Training]:
    """Return the maker of the trained ResNets whose weights are multiplied: those that `base` has at a scale."""
    return lambda setting: _trained_resnet(base(setting.scale), setting.seeds)


@lru_cache(maxsize=4)
def _trained_resnet(run: Run, seeds: tuple[int, ...]) -> Training:
    """Kept like the MLPs; trained in float32, for convolutions in float64 take three times as long."""
    return _with_adam(run, seeds, dtype=torch.float32)


def _at(training: Training, factor: float, optimizer: str = "sgd", part: str = "hidden") -> Scaled:
    few = training.task.test_size if training.spec.name == "mlp" else 500  # a gradient of more takes a GB in a ResNet
    model, inputs = copy.deepcopy(training.model).double(), training.inputs[:few].double()
    lr = 0.1 if optimizer == "sgd" else 0.001
    return at_scale(model, inputs, training.labels[:few], factor, lr, optimizer, part)


def loss_change(training: Training, part: str = "hidden") -> Float[Tensor, " member"]:
    """Return the largest relative change of the test loss when a `part` of the weights is multiplied by 1/4 or 4."""
    before = _at(training, 1.0).loss
    return torch.stack([(_at(training, factor, part=part).loss / before - 1).abs() for factor in FACTORS]).amax(0)


def power_error(training: Training, part: str = "hidden") -> Float[Tensor, " member"]:
    """Return how far the angle of a step is from going with c^-2 (SGD) and c^-1 (Adam) in the scale c of the weights.

    The power is log(angle at 4 / angle at 1/4) / log 16; the larger of the two errors counts.
    """
    errors = []
    for optimizer, power in POWERS.items():
        low, high = (_at(training, factor, optimizer, part).angle for factor in FACTORS)
        errors.append((torch.log(high / low) / math.log(FACTORS[1] / FACTORS[0]) + power).abs())
    return torch.stack(errors).amax(0)


# Twins: longer weights, and a learning rate to match


def twin(
    seed: int, factor: float = 1.0, power: float = 0.0, optimizer: str = "sgd", steps: int = TWIN_STEPS,
    eps: float = NO_EPS,
) -> nn.Sequential:  # fmt: skip
    """Return a trained BatchNorm network whose hidden weights started `factor` times as long as the seed gives.

    Their learning rate is multiplied by factor^power and their lambda divided by it, so that lr lambda is kept. With
    power 2 under SGD (momentum 0.9, l2) or 1 under Adam (decoupled decay) the network stays the same function as with
    factor 1, up to the `eps` of BatchNorm, which is therefore nearly 0 here. In float64. (Derived.) `wdlab.train` gives
    a member one learning rate; here two kinds of tensors need two, so this is torch's loop with wdlab's optimizers.
    """
    number("factor", factor, 0, above=True)
    net, fed = _network(seed, eps)
    with torch.no_grad():
        for weight in fed:
            weight.mul_(factor)
        for layer in net:
            if isinstance(layer, nn.BatchNorm1d) and layer.running_var is not None:
                layer.running_var.mul_(factor**2)  # its memory starts at 1, which is a length like any other
    chosen = _optimizer(net, fed, factor**power, optimizer)
    task = TASKS["mnist1d"]
    arrays = task.arrays()
    inputs, batches = arrays.inputs.double(), Batches(task, [seed], len(arrays.labels))
    for step in range(whole("steps", steps, 1)):
        batch = batches.indices(step)[0]
        chosen.zero_grad()
        F.cross_entropy(net(inputs[batch]), arrays.labels[batch]).backward()  # type: ignore[no-untyped-call]
        chosen.step()
    return net.eval()


def _optimizer(net: nn.Module, fed: Sequence[Tensor], rate: float, optimizer: str) -> torch.optim.Optimizer:
    """The optimizer of a net whose weights `fed` learn `rate` times as fast and decay at lambda / `rate`."""
    lr, own = TWIN_LR[known("optimizer", optimizer, TWIN_LR)], {id(weight) for weight in fed}
    rest = [p for p in net.parameters() if id(p) not in own]
    groups = [{"params": fed, "lr": lr * rate, "weight_decay": TWIN_DECAY / rate}, {"params": rest, "lr": lr}]
    if optimizer == "sgd":
        return optim.SGD(groups, lr=lr, momentum=0.9)
    return optim.Adam(groups, lr=lr, coupling="decoupled", eps=NO_EPS)


def _network(seed: int, eps: float) -> tuple[nn.Sequential, list[Tensor]]:
    """A small BatchNorm network of one seed, and the weights that feed its normalizations."""
    sizes = (40, TWIN_WIDTH, TWIN_WIDTH, TWIN_WIDTH)
    layers: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):  # torch's layers draw from the global generator: give it back as it was
        torch.manual_seed(seed)
        for before, after in itertools.pairwise(sizes):
            layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after, eps=eps), nn.ReLU()]
        net = nn.Sequential(*layers, nn.Linear(TWIN_WIDTH, 10)).double()
    return net, [layer.weight for layer in list(net)[:-1] if isinstance(layer, nn.Linear)]


def disagreement(one: nn.Module, other: nn.Module) -> float:
    """Return the share of test signals that two networks answer differently."""
    return _apart(_answers(one), _answers(other))


@torch.no_grad()
def _answers(net: nn.Module) -> Int[Tensor, " signal"]:
    task = TASKS["mnist1d"]
    found: Tensor = net(task.arrays().inputs[: task.test_size].double()).argmax(1)
    return found


def _apart(one: Int[Tensor, " signal"], other: Int[Tensor, " signal"]) -> float:
    return float((one != other).double().mean())


@lru_cache(maxsize=64)
def _answers_of_twin(seed: int, factor: float, power: float, optimizer: str) -> Int[Tensor, " signal"]:
    """Kept, for the claim and its control compare with the same first twin."""
    return _answers(twin(seed, factor, power, optimizer))


def _twins(setting: Setting, matched: bool) -> Sequence[float]:
    """Minus the share answered differently, the larger of SGD's and Adam's."""
    found = []
    for seed in setting.seeds:
        pairs = [
            (_answers_of_twin(seed, 1.0, 0.0, name), _answers_of_twin(seed, TWIN, power if matched else 0.0, name))
            for name, power in POWERS.items()
        ]
        found.append(-max(_apart(*pair) for pair in pairs))
    return found


# Twins among ResNets


def twins(
    run: Run, seeds: Sequence[int], factor: float = 1.0, power: float = 0.0, optimizer: str = "sgd",
    steps: int = TWIN_STEPS,
) -> MemberModel:  # fmt: skip
    """Return what `twin` does for the network of `run`, one member a seed: trained, in float64.

    BatchNorm keeps its eps here, so all weights that feed it are `LONG` times as long as the seed gives, and `factor`
    times as long as that; beside the variance of what they make, eps is nothing. Their learning rate and lambda are
    those that belong to length `LONG` (the identity itself), changed by factor^power.
    """
    net = run.task.build(run.model, len(seeds))
    net.initialize([generator(seed, "init") for seed in seeds])
    net.double()
    rescale_(net, LONG * number("factor", factor, 0, above=True))
    fed = [net.get_parameter(name) for name in net.scale_invariant]
    rate = factor**power * LONG ** POWERS[known("optimizer", optimizer, POWERS)]
    chosen = _optimizer(net, fed, rate, optimizer)
    arrays = run.task.arrays()
    batches = run.task.batches(seeds, len(arrays.labels))
    inputs, labels = _shaped(run), batches.labels(arrays.labels)
    for step in range(whole("steps", steps, 1)):
        examples, answers = batches.take(step, inputs, labels)
        chosen.zero_grad()
        cross_entropy(net(examples), answers).sum().backward()  # type: ignore[no-untyped-call]
        chosen.step()
    return net


def _shaped(run: Run) -> Tensor:
    return of_vision(run.task).shape_inputs(run.task.arrays().inputs.double(), run.model)


@lru_cache(maxsize=16)
def _answers_of_twins(
    run: Run, seeds: tuple[int, ...], factor: float, power: float, optimizer: str
) -> Int[Tensor, "member example"]:
    """Kept, for the claim and its control compare with the same first twins."""
    net = twins(run, seeds, factor, power, optimizer).eval()
    inputs = _shaped(run)[: run.task.test_size]
    with torch.no_grad():
        found: Tensor = net(inputs.expand(net.members, *inputs.shape)).argmax(-1)
    return found


def _twin_resnets(base: Base, matched: bool) -> Measure:
    """Minus the share answered differently, the larger of SGD's and Adam's."""

    def measure(setting: Setting) -> Sequence[float]:
        run, apart = base("ci"), []  # as small at every scale, like the MLP's twins
        for name, power in POWERS.items():
            one = _answers_of_twins(run, setting.seeds, 1.0, 0.0, name)
            other = _answers_of_twins(run, setting.seeds, TWIN, power if matched else 0.0, name)
            apart.append((one != other).double().mean(1))
        return (-torch.stack(apart).amax(0)).tolist()

    return measure


# Networks in training


@dataclass(frozen=True)
class Turning:
    """What the steps of a training did to one layer's weights: norm, angle, relative gradient, [step, member]."""

    norm: Float[Tensor, "step member"]
    angle: Float[Tensor, "step member"]
    relative_gradient: Float[Tensor, "step member"]


def turning(runs: Sequence[Run], device: str = "cpu") -> dict[str, Turning]:
    """Train `runs` and return, for each scale-invariant layer, how every step turned it."""
    return dict(_turning(tuple(runs), str(pick_device(device))))


@lru_cache(maxsize=8)
def _turning(runs: tuple[Run, ...], device: str) -> dict[str, Turning]:
    """Kept, for the notebook looks at the networks that a claim is about."""
    rows: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {}
    for step in watch(Training(runs, device)):
        for name, before in step.before.items():
            seen = (
                weight_norm([before]),
                rotation(before, step.after[name]),
                relative_gradient(before, step.gradient[name]),
            )
            rows.setdefault(name, []).append(seen)
    return {
        name: Turning(*(torch.stack(column).cpu().double() for column in zip(*seen, strict=True)))
        for name, seen in rows.items()
    }


def turning_network(scale: str, optimizer: str = "sgd") -> Run:
    """Return the run whose rotation is watched: a BatchNorm MLP at a constant learning rate, decay long enough to act.

    lr lambda times steps is at least 3 where decay is decoupled (AdamW); under SGD an l2 penalty acts 1/(1 - momentum)
    times as fast.
    """
    epochs, width = (20, 32) if scale == "ci" else (40, 64)
    sgd = optimizer == "sgd"
    return Run(
        model=Model(width=width),
        optimizer=Optimizer("sgd", 0.1) if sgd else Optimizer("adam", 0.01, betas=(0.9, 0.99)),
        schedule=CONSTANT,
        decay=Decay(0.01) if sgd else Decay(0.6 if scale == "ci" else 0.3, coupling="decoupled"),
        steps=epochs * TASKS["mnist1d"].epoch,
        evaluations=1,
    )


def turning_resnet(base: Base) -> Turner:
    """Return what `turning_network` is for the ResNet of `base`: half the steps at twice the lambda.

    So lr lambda times steps is as it was. It learns from 4,000 examples, as the MLP does: from fewer, all learnt early,
    gradients would vanish, and with them what weight decay is to be balanced by.
    """

    def run(scale: str, optimizer: str = "sgd") -> Run:
        mlp, net = turning_network(scale, optimizer), base(scale)
        task = replace(of_vision(net.task), train_size=4000)
        decay = replace(mlp.decay, strength=2 * mlp.decay.strength)
        return replace(mlp, task=task, model=net.model, decay=decay, steps=mlp.steps // 2)

    return run


def network_equilibrium(run: Run, weights: int, relative: float = 1.0) -> Equilibrium:
    """Return the closed form for a layer of `weights` weights of `run`, whose ||w|| ||g|| is `relative`."""
    lr, strength, beta1 = run.optimizer.lr, run.decay.strength, run.optimizer.betas[0]
    if run.optimizer.name == "adam":
        return adamw_equilibrium(lr, strength, weights, beta1)
    return sgd_equilibrium(lr, strength, run.optimizer.momentum, run.decay.coupling, relative)


def _network_turns(network: Turner, optimizer: str, decays: bool) -> Measure:
    """Minus the largest relative error of the predicted angle over layers, mean over the second half of training."""

    def measure(setting: Setting) -> Sequence[float]:
        base = network(setting.scale, optimizer)
        form = network_equilibrium(base, 1).angle
        timing = base.decay.timing if decays else NEVER
        runs = [replace(base, seed=seed, decay=replace(base.decay, timing=timing)) for seed in setting.seeds]
        layers = turning(runs, setting.device).values()
        errors = [(layer.angle[base.steps // 2 :].mean(0) / form - 1).abs() for layer in layers]
        return (-torch.stack(errors).amax(0)).tolist()

    return measure


# Where, in words, and with how many seeds: 5 are what a few minutes allow to convolutions.
FEW = {"ci": 4, "demo": 5, "gpu": 10}
_RESNETS: tuple[tuple[str, str, Base], ...] = (
    ("-signals", "In a 1-D ResNet on MNIST-1D: ", signal_resnet),
    ("-images", "In a 2-D ResNet on Fashion-MNIST: ", image_resnet),
)
# wdlab's ResNet has no form without BatchNorm. Its last layer has none behind it: those weights multiplied, logits and
# loss move, and nothing makes the angle of a step of SGD go with c^-2.
LAST = "the weights of the last layer multiplied instead, which no normalization follows"
UNDECAYED = "the same network without decay: its norm keeps growing, and nothing holds the angle"


def _blind(where: str, told: str, base: Base) -> Claim:
    network = scaled_resnet(base)
    return Claim(
        f"scale-does-not-matter{where}",
        f"{told}the test loss stays when the weights that feed BatchNorm are multiplied by 1/4 or 4 (minus the "
        "relative change is above minus a thousandth, which is left for BatchNorm's eps).",
        LAARHOVEN,
        "minus the relative change of the test loss",
        lambda setting: (-loss_change(network(setting))).tolist(),
        LAST,
        lambda setting: (-loss_change(network(setting), "last")).tolist(),
        levels(-0.001, **FEW),
    )


def _knows(where: str, told: str, base: Base) -> Claim:
    network = scaled_resnet(base)
    return Claim(
        f"angle-knows-the-scale{where}",
        f"{told}in c times longer weights that feed BatchNorm a step of plain SGD turns them by an angle that goes "
        "with c^-2, and a step of Adam with c^-1 (minus the error of the power is above minus 0.05).",
        ANGLE,
        "minus the error of the power of c",
        lambda setting: (-power_error(network(setting))).tolist(),
        LAST,
        lambda setting: (-power_error(network(setting), "last")).tolist(),
        levels(-0.05, **FEW),
    )


def _alike(where: str, told: str, base: Base) -> Claim:
    return Claim(
        f"matched-lr-same-network{where}",
        f"{told}with weights 3 times longer and a learning rate 3^2 (SGD) or 3 (Adam) times higher for them, lr lambda "
        "kept, training ends at the same network (minus the share of test examples answered differently is above minus "
        "0.01).",
        "ours, derived; both start a million times as long as drawn, where BatchNorm's eps is nothing",
        "minus the share of test examples answered differently",
        _twin_resnets(base, matched=True),
        UNMATCHED,
        _twin_resnets(base, matched=False),
        levels(-0.01, **FEW),
    )


def _sgd_turns(where: str, told: str, base: Base) -> Claim:
    network = turning_resnet(base)
    return Claim(
        f"sgd-network-turns-as-predicted{where}",
        f"{told}SGD with momentum at a constant learning rate turns every layer that feeds BatchNorm by the angle of "
        "the closed form (minus the largest relative error over layers, in the second half, is above minus 5%).",
        KOSSON,
        "minus the largest relative error of the angle",
        _network_turns(network, "sgd", decays=True),
        UNDECAYED,
        _network_turns(network, "sgd", decays=False),
        levels(-0.05, **FEW),
    )


def _adamw_turns(where: str, told: str, base: Base) -> Claim:
    network = turning_resnet(base)
    return Claim(
        f"adamw-network-turns-as-predicted{where}",
        f"{told}AdamW at a constant learning rate turns every layer that feeds BatchNorm by the angle of the closed "
        "form (minus the largest relative error over layers, in the second half, is above minus 10%).",
        WEN,
        "minus the largest relative error of the angle",
        _network_turns(network, "adam", decays=True),
        UNDECAYED,
        _network_turns(network, "adam", decays=False),
        levels(-0.1, **FEW),
    )


CLAIMS = (
    Claim(
        "scale-does-not-matter",
        "A trained BatchNorm network keeps its test loss when its hidden weights are multiplied by 1/4 or 4 (minus the "
        "relative change is above minus a thousandth, which is left for BatchNorm's eps).",
        LAARHOVEN,
        "minus the relative change of the test loss",
        lambda setting: (-loss_change(scaled_mlp(setting))).tolist(),
        "the same network without BatchNorm, trained alike",
        lambda setting: (-loss_change(scaled_mlp(setting, norm=False))).tolist(),
        levels(-0.001),
    ),
    *(_blind(*place) for place in _RESNETS),
    Claim(
        "angle-knows-the-scale",
        "In c times longer weights of a BatchNorm network a step of plain SGD turns them by an angle that goes with "
        "c^-2, and a step of Adam with c^-1 (minus the error of the power is above minus 0.05).",
        ANGLE,
        "minus the error of the power of c",
        lambda setting: (-power_error(scaled_mlp(setting))).tolist(),
        "the same network without BatchNorm, trained alike",
        lambda setting: (-power_error(scaled_mlp(setting, norm=False))).tolist(),
        levels(-0.05),
    ),
    *(_knows(*place) for place in _RESNETS),
    Claim(
        "matched-lr-same-network",
        "With weights 3 times longer and a learning rate 3^2 (SGD) or 3 (Adam) times higher for them, lr lambda kept, "
        "training ends at the same network (minus the share of test signals answered differently is above minus 0.01).",
        "ours, derived; BatchNorm's eps is set to nothing, for it knows the scale",
        "minus the share of test signals answered differently",
        lambda setting: _twins(setting, matched=True),
        UNMATCHED,
        lambda setting: _twins(setting, matched=False),
        levels(-0.01, ci=4),
    ),
    *(_alike(*place) for place in _RESNETS),
    Claim(
        "sgd-equilibrium",
        "Scale-invariant weights under SGD with momentum and pure noise settle at the norm and the angle a step of the "
        "closed form, under l2 and under decoupled decay (minus the largest relative error is above minus 3%).",
        KOSSON,
        "minus the largest relative error",
        lambda setting: _sgd_walk(setting, SETTLED, None),
        "the first 50 steps of the same walks, before equilibrium",
        lambda setting: _sgd_walk(setting, 0, EARLY_STEPS),
        levels(-0.03, ci=5, demo=10),
    ),
    Claim(
        "adamw-equilibrium",
        "Weights under AdamW and pure noise settle at the norm and the angle a step of the closed form, in which the "
        "size of the gradient does not occur (minus the largest relative error is above minus 3%).",
        WEN,
        "minus the largest relative error",
        lambda setting: (-walk_error(setting.seeds, "adam", "decoupled")).tolist(),
        "the same decay as an l2 penalty inside Adam, for which no such form exists",
        lambda setting: (-walk_error(setting.seeds, "adam", "l2")).tolist(),
        levels(-0.03, ci=5, demo=10),
    ),
    Claim(
        "sgd-network-turns-as-predicted",
        "A BatchNorm network trained by SGD with momentum at a constant learning rate turns every layer by the angle "
        "of the closed form (minus the largest relative error over layers, in the second half, is above minus 5%).",
        KOSSON,
        "minus the largest relative error of the angle",
        _network_turns(turning_network, "sgd", decays=True),
        UNDECAYED,
        _network_turns(turning_network, "sgd", decays=False),
        levels(-0.05, ci=4, demo=5, gpu=10),
    ),
    *(_sgd_turns(*place) for place in _RESNETS),
    Claim(
        "adamw-network-turns-as-predicted",
        "The same under AdamW, to within 10%: Adam's division tilts the step, which is no longer at a right angle to "
        "the weights.",
        WEN,
        "minus the largest relative error of the angle",
        _network_turns(turning_network, "adam", decays=True),
        UNDECAYED,
        _network_turns(turning_network, "adam", decays=False),
        levels(-0.1, ci=4, demo=5, gpu=10),
    ),
    *(_adamw_turns(*place) for place in _RESNETS),
)
