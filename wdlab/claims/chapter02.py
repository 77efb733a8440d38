"""Claims of chapter 02: scale does not matter, step size does."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from wdlab import optim
from wdlab.checks import known, number, whole
from wdlab.claims.arms import CONSTANT, NEVER, levels
from wdlab.claims.claim import Claim, Measure, Setting
from wdlab.decay import Decay
from wdlab.measures import relative_gradient, rotation, weight_norm
from wdlab.measures.equilibrium import Equilibrium, Walk, adamw_equilibrium, random_walk, sgd_equilibrium
from wdlab.measures.scale import Scaled, at_scale
from wdlab.run import Model, Optimizer, Run
from wdlab.tasks import TASKS, Batches
from wdlab.train import Training, pick_device, watch

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

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
POWERS = {"sgd": 2, "adam": 1}

KOSSON = "Kosson et al. 2024 (angle to first order); norm, exact forms, measurement and threshold are ours"
WEN = (
    "Kosson et al. 2024 (angle to first order); K. Wen's notes on weight decay and hyperballs, part 2 (norm and exact "
    "angle); measurement and threshold are ours"
)
LAARHOVEN = "after van Laarhoven 2017; the measurement is ours"


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
    base = Run(
        model=Model(width=48, norm=norm),
        optimizer=Optimizer("adam", 0.003),
        schedule=CONSTANT,
        steps=steps,
        evaluations=1,
    )
    training = Training([replace(base, seed=seed) for seed in seeds], device="cpu", dtype=torch.float64)
    training.advance(steps)
    return training


@lru_cache(maxsize=4)
def _trained(seeds: tuple[int, ...], norm: bool) -> Training:
    """Kept, for two claims look at the same networks; nobody trains these on."""
    return trained_network(seeds, norm)


def _at(training: Training, factor: float, optimizer: str = "sgd") -> Scaled:
    test = slice(training.task.test_size)
    lr = 0.1 if optimizer == "sgd" else 0.001
    return at_scale(training.model, training.inputs[test], training.labels[test], factor, lr, optimizer)


def loss_change(seeds: Sequence[int], norm: bool = True) -> Float[Tensor, " seed"]:
    """Return the largest relative change of the test loss when the hidden weights are multiplied by 1/4 or 4."""
    training = _trained(tuple(seeds), norm)
    before = _at(training, 1.0).loss
    return torch.stack([(_at(training, factor).loss / before - 1).abs() for factor in FACTORS]).amax(0)


def power_error(seeds: Sequence[int], norm: bool = True) -> Float[Tensor, " seed"]:
    """Return how far the angle of a step is from going with c^-2 (SGD) and c^-1 (Adam) in the scale c of the weights.

    The power is log(angle at 4 / angle at 1/4) / log 16; the larger of the two errors counts.
    """
    training = _trained(tuple(seeds), norm)
    errors = []
    for optimizer, power in POWERS.items():
        low, high = (_at(training, factor, optimizer).angle for factor in FACTORS)
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
    rate, own = factor**power, {id(weight) for weight in fed}
    lr = TWIN_LR[known("optimizer", optimizer, TWIN_LR)]
    rest = [p for p in net.parameters() if id(p) not in own]
    groups = [{"params": fed, "lr": lr * rate, "weight_decay": TWIN_DECAY / rate}, {"params": rest, "lr": lr}]
    chosen: torch.optim.Optimizer
    if optimizer == "sgd":
        chosen = optim.SGD(groups, lr=lr, momentum=0.9)
    else:
        chosen = optim.Adam(groups, lr=lr, coupling="decoupled", eps=NO_EPS)
    task = TASKS["mnist1d"]
    arrays = task.arrays()
    inputs, batches = arrays.inputs.double(), Batches(task, [seed], len(arrays.labels))
    for step in range(whole("steps", steps, 1)):
        batch = batches.indices(step)[0]
        chosen.zero_grad()
        F.cross_entropy(net(inputs[batch]), arrays.labels[batch]).backward()  # type: ignore[no-untyped-call]
        chosen.step()
    return net.eval()


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


def network_equilibrium(run: Run, weights: int, relative: float = 1.0) -> Equilibrium:
    """Return the closed form for a layer of `weights` weights of `run`, whose ||w|| ||g|| is `relative`."""
    lr, strength, beta1 = run.optimizer.lr, run.decay.strength, run.optimizer.betas[0]
    if run.optimizer.name == "adam":
        return adamw_equilibrium(lr, strength, weights, beta1)
    return sgd_equilibrium(lr, strength, run.optimizer.momentum, run.decay.coupling, relative)


def _network_turns(optimizer: str, decays: bool) -> Measure:
    """Minus the largest relative error of the predicted angle over layers, mean over the second half of training."""

    def measure(setting: Setting) -> Sequence[float]:
        base = turning_network(setting.scale, optimizer)
        form = network_equilibrium(base, 1).angle
        timing = base.decay.timing if decays else NEVER
        runs = [replace(base, seed=seed, decay=replace(base.decay, timing=timing)) for seed in setting.seeds]
        layers = turning(runs, setting.device).values()
        errors = [(layer.angle[base.steps // 2 :].mean(0) / form - 1).abs() for layer in layers]
        return (-torch.stack(errors).amax(0)).tolist()

    return measure


CLAIMS = (
    Claim(
        "scale-does-not-matter",
        "A trained BatchNorm network keeps its test loss when its hidden weights are multiplied by 1/4 or 4 (minus the "
        "relative change is above minus a thousandth, which is left for BatchNorm's eps).",
        LAARHOVEN,
        "minus the relative change of the test loss",
        lambda setting: (-loss_change(setting.seeds)).tolist(),
        "the same network without BatchNorm, trained alike",
        lambda setting: (-loss_change(setting.seeds, norm=False)).tolist(),
        levels(-0.001),
    ),
    Claim(
        "angle-knows-the-scale",
        "In c times longer weights of a BatchNorm network a step of plain SGD turns them by an angle that goes with "
        "c^-2, and a step of Adam with c^-1 (minus the error of the power is above minus 0.05).",
        "van Laarhoven 2017; Zhang et al. 2019 for Adam's effective learning rate; the measurement is ours",
        "minus the error of the power of c",
        lambda setting: (-power_error(setting.seeds)).tolist(),
        "the same network without BatchNorm, trained alike",
        lambda setting: (-power_error(setting.seeds, norm=False)).tolist(),
        levels(-0.05),
    ),
    Claim(
        "matched-lr-same-network",
        "With weights 3 times longer and a learning rate 3^2 (SGD) or 3 (Adam) times higher for them, lr lambda kept, "
        "training ends at the same network (minus the share of test signals answered differently is above minus 0.01).",
        "ours, derived; BatchNorm's eps is set to nothing, for it knows the scale",
        "minus the share of test signals answered differently",
        lambda setting: _twins(setting, matched=True),
        "the same longer weights with the learning rate and lambda left as they were",
        lambda setting: _twins(setting, matched=False),
        levels(-0.01, ci=4),
    ),
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
        _network_turns("sgd", decays=True),
        "the same network without decay: its norm keeps growing, and nothing holds the angle",
        _network_turns("sgd", decays=False),
        levels(-0.05, ci=4, demo=5, gpu=10),
    ),
    Claim(
        "adamw-network-turns-as-predicted",
        "The same under AdamW, to within 10%: Adam's division tilts the step, which is no longer at a right angle to "
        "the weights.",
        WEN,
        "minus the largest relative error of the angle",
        _network_turns("adam", decays=True),
        "the same network without decay: its norm keeps growing, and nothing holds the angle",
        _network_turns("adam", decays=False),
        levels(-0.1, ci=4, demo=5, gpu=10),
    ),
)
