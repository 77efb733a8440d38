"""Every registered measure: whether it sees the scale of the weights, member by member, and without leaving a trace."""

import math
from functools import lru_cache

import pytest
import torch
from torch import Tensor

from wdlab.measures import MEASURES, Subject, complexity, measure, rescale_
from wdlab.measures.complexity import Reading, weight_tensors
from wdlab.measures.sharpness import ascent_sharpness, hessian_traces, noise_sharpness, tolerated_noise
from wdlab.models import MLP, MemberModel, ResNet, flatten
from wdlab.tasks import generator

MEMBERS, CLASSES, EXAMPLES, STEPS = 3, 3, 45, 60
NETS = {
    "mlp": lambda members: MLP(members, (8, 7, 6, CLASSES)),
    "resnet": lambda members: ResNet(members, 1, 4, 2, CLASSES, spatial=1),
    "resnet2d": lambda members: ResNet(members, 1, 4, 2, CLASSES, spatial=2),
}
SHAPES = {"mlp": (8,), "resnet": (1, 8), "resnet2d": (1, 4, 4)}
C = 3.0
every_net = pytest.mark.parametrize("kind", NETS)
every_measure = pytest.mark.parametrize("name", MEASURES)


def data(kind: str) -> tuple[Tensor, Tensor]:
    """Three noisy shapes of 8 points each (images: 16), which every network here can tell apart."""
    draw, points = generator(0, "data"), math.prod(SHAPES[kind])
    labels = torch.arange(EXAMPLES) % CLASSES
    shapes = torch.randn(CLASSES, points, generator=draw, dtype=torch.float64)
    inputs = shapes[labels] + 0.5 * torch.randn(EXAMPLES, points, generator=draw, dtype=torch.float64)
    return inputs.view(EXAMPLES, *SHAPES[kind]), labels


@lru_cache
def trained(kind: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The state of a trained network and its first weights."""
    model, (inputs, labels) = NETS[kind](MEMBERS).double(), data(kind)
    model.initialize([generator(seed, "init") for seed in range(MEMBERS)])
    initial = {name: weight.clone() for name, weight in weight_tensors(model).items()}
    flat, grad = flatten(model, [name for name, _ in model.named_parameters()])
    inputs, labels = inputs.expand(MEMBERS, *inputs.shape), labels.expand(MEMBERS, -1)
    for _ in range(STEPS):
        model.loss_and_gradient(inputs, labels)
        flat.sub_(grad, alpha=0.2)
    refresh(model, inputs)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}, initial


def refresh(model: MemberModel, inputs: Tensor) -> None:
    """Let the running statistics catch up with the weights."""
    with torch.no_grad():
        for _ in range(250):
            model.train()(inputs)


def subject(kind: str, **fields) -> Subject:
    model = NETS[kind](MEMBERS).double()
    state, initial = trained(kind)
    model.load_state_dict(state)
    return Subject(model, *data(kind), initial, **fields)


@lru_cache
def measured(kind: str, change: str = "nothing") -> dict[str, Tensor]:
    """All measures of the trained network: as it is, rescaled, or with longer weights and refreshed statistics."""
    one = subject(kind)
    if change == "rescaled":
        rescale_(one.model, C)
    elif change == "refreshed":
        with torch.no_grad():
            for name in one.model.scale_invariant:
                one.model.get_parameter(name).mul_(C)
        refresh(one.model, one.examples()[0])
    return measure(one)


# What sees the scale of the weights


@every_net
@every_measure
@pytest.mark.parametrize("change", ["rescaled", "refreshed"])
def test_the_flag_says_whether_a_measure_sees_scale(kind: str, name: str, change: str) -> None:
    """Multiply what feeds BatchNorm by 3: the network is the same, and a measure either moves or it does not."""
    before, after = measured(kind)[name], measured(kind, change)[name]
    assert before.isfinite().all() and before.shape == (MEMBERS,) and not before.requires_grad
    moved = ((after - before).abs() / before.abs()).tolist()
    if MEASURES[name].scale_invariant:
        assert max(moved) < 0.01, moved  # what eps does to it
    else:
        assert min(moved) > 0.04, moved  # least for a step uphill, which is mostly a step of the head


@every_net
def test_absolute_sharpness_of_longer_weights_is_that_of_smaller_noise(kind: str) -> None:
    one, longer = subject(kind), subject(kind)
    rescale_(longer.model, C)
    names = one.model.scale_invariant

    def noise() -> torch.Generator:
        return generator(5, "noise")

    def same(found: Tensor, expected: Tensor, rtol: float = 2e-3) -> None:
        torch.testing.assert_close(found, expected, rtol=rtol, atol=1e-9)

    same(noise_sharpness(longer, noise(), C * 0.05, names=names), noise_sharpness(one, noise(), 0.05, names=names))
    same(ascent_sharpness(longer, C * 0.05, names=names), ascent_sharpness(one, 0.05, names=names))
    before, after = (hessian_traces(s, noise(), names=names) for s in (one, longer))
    for name in names:
        same(after[name] * C**2, before[name], rtol=1e-2)
    sigmas = [tolerated_noise(s, noise(), steps=16, names=names) for s in (one, longer)]
    same(sigmas[1], C * sigmas[0])
    assert (
        noise_sharpness(longer, noise(), 0.05, names=names).max()
        < noise_sharpness(one, noise(), 0.05, names=names).min()
    )


@every_net
def test_a_factor_for_each_member_moves_that_member_alone(kind: str) -> None:
    one = subject(kind)
    rescale_(one.model, torch.tensor([1.0, C, 1.0]))
    for name in ("weight_norm", "gaussian_sharpness"):
        after = measure(one, [name])[name]
        assert torch.equal(after[[0, 2]], measured(kind)[name][[0, 2]])
        assert after[1].item() == pytest.approx(measured(kind, "rescaled")[name][1].item(), rel=1e-9)


def test_norms_margins_and_loss_of_a_network_worked_by_hand() -> None:
    """Its logits are its inputs, and the right one beats the others by 0, 2, ... 20: the hardest tenth by 2."""
    model, gaps = MLP(1, (3, 3)).double(), 2 * torch.arange(11, dtype=torch.float64)
    with torch.no_grad():
        model.weight_0.copy_(torch.eye(3))
    inputs = torch.stack([torch.full_like(gaps, -50.0), gaps + 2, torch.full_like(gaps, 2.0)], 1)
    start = {"weight_0": torch.zeros(1, 3, 3, dtype=torch.float64)}
    expected = {
        "weight_norm": math.sqrt(3),
        "distance_from_init": math.sqrt(3),
        "log_frobenius_product": math.log(3),
        "log_spectral_product": 0.0,
        "stable_rank": 3.0,
        "path_norm": math.sqrt(3),
        "negative_margin": -2.0,
        "inverse_squared_margin": 1 / 4,
        "frobenius_over_margin": math.log(3 / 4),
        "spectral_over_margin": math.log(1 / 4),
        "training_loss": (-gaps).exp().log1p().mean().item(),  # the first logit is too small to count
    }
    assert set(expected) == {name for name, row in MEASURES.items() if row.kind in ("norm", "margin", "loss")}
    found = measure(Subject(model, inputs, torch.ones(11, dtype=torch.int64), start), list(expected))
    assert {name: value.item() for name, value in found.items()} == pytest.approx(expected)


# Members


@every_net
@every_measure
def test_a_member_among_others_is_measured_as_if_alone(kind: str, name: str) -> None:
    state, initial = trained(kind)
    for member in range(MEMBERS):
        one = slice(member, member + 1)
        model = NETS[kind](1).double()
        model.load_state_dict({key: tensor[one] for key, tensor in state.items()})
        alone = Subject(model, *data(kind), {key: weight[one] for key, weight in initial.items()})
        torch.testing.assert_close(measure(alone, [name])[name], measured(kind)[name][one], rtol=1e-6, atol=1e-9)


@every_net
@pytest.mark.parametrize("together", [1, 2])
def test_how_many_are_measured_at_once_changes_nothing(kind: str, together: int) -> None:
    found = measure(subject(kind, together=together))
    for name, values in found.items():
        torch.testing.assert_close(values, measured(kind)[name], rtol=1e-6, atol=1e-9, msg=name)


@every_net
def test_members_may_have_examples_of_their_own(kind: str) -> None:
    inputs, labels = data(kind)
    shift = torch.tensor([0, 7, 20])
    own = [(inputs.roll(-k.item(), 0)[:30], labels.roll(-k.item())[:30]) for k in shift]
    full = subject(kind, together=2)
    names = ["gaussian_sharpness", "negative_margin", "asam_sharpness", "path_norm"]
    stacked = Subject(full.model, torch.stack([x for x, _ in own]), torch.stack([y for _, y in own]), together=2)
    found = measure(stacked, names)
    for member, (x, y) in enumerate(own):
        shared = measure(Subject(full.model, x, y), names)
        for name in names:
            torch.testing.assert_close(found[name][member], shared[name][member], rtol=1e-8, atol=1e-10)
    assert (found["gaussian_sharpness"] - measured(kind)["gaussian_sharpness"]).abs().min() > 1e-6


# Purity


@every_net
def test_parts_are_copies_of_some_members_without_their_scratch(kind: str) -> None:
    one = subject(kind, together=2)
    flatten(one.model, [name for name, _ in one.model.named_parameters()])
    one.model.loss_and_gradient(*one.examples())
    parts = list(one.parts())
    assert [part.model.members for part in parts] == [2, 1]
    assert kind != "mlp" or one.model._scratch, "the MLP keeps its intermediates"
    for name, whole in one.model.state_dict().items():
        assert torch.equal(torch.cat([part.model.state_dict()[name] for part in parts]), whole)
    for part in parts:
        assert not vars(part.model).get("_scratch") and all(
            p.grad is None and p.is_contiguous() for p in part.model.parameters()
        )
        with torch.no_grad():
            for tensor in [*part.model.parameters(), *part.model.buffers()]:
                tensor.fill_(7)
    assert not any((tensor == 7).any() for tensor in one.model.state_dict().values())


@every_net
def test_measuring_leaves_no_trace(kind: str) -> None:
    one = subject(kind)
    one.model.eval()
    state = {name: tensor.clone() for name, tensor in one.model.state_dict().items()}
    rng = torch.get_rng_state()
    measure(one)
    assert all(torch.equal(tensor, state[name]) for name, tensor in one.model.state_dict().items())
    assert not one.model.training and all(p.grad is None and p.requires_grad for p in one.model.parameters())
    assert torch.equal(torch.get_rng_state(), rng)


@every_net
def test_the_mode_and_the_running_statistics_do_not_matter_to_sharpness(kind: str) -> None:
    one = subject(kind)
    with torch.no_grad():
        for buffer in one.model.buffers():
            buffer.mul_(1.5)
    one.model.eval()
    for name, row in MEASURES.items():
        if row.kind in ("absolute", "relative"):
            torch.testing.assert_close(measure(one, [name])[name], measured(kind)[name], rtol=1e-12, atol=0)


def test_a_diverged_member_is_nan_and_leaves_the_others_alone() -> None:
    one = subject("mlp")
    with torch.no_grad():
        one.model.weight_1[1] = float("nan")
    for name, values in measure(one).items():
        assert values[1].isnan(), name
        torch.testing.assert_close(values[[0, 2]], measured("mlp")[name][[0, 2]], rtol=1e-6, atol=1e-9, msg=name)


# The registry itself


def test_what_measures_share_is_computed_once_a_reading() -> None:
    asked: list[Subject] = []

    def found(one: Subject) -> int:
        asked.append(one)
        return len(asked)

    one = subject("mlp")
    reading = Reading(one)
    assert [reading.once(found), reading.once(found)] == [1, 1] and asked == [one]
    assert Reading(one).once(found) == 2, "weights may have changed since"


def test_measure_folds_once_and_again_at_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, fold = [], complexity.fold

    def counted(model: MemberModel) -> dict[str, complexity.Folded]:
        calls.append(model)
        return fold(model)

    monkeypatch.setattr(complexity, "fold", counted)
    for call in (1, 2):
        measure(subject("mlp"), ["log_frobenius_product", "log_spectral_product", "stable_rank"])
        assert len(calls) == call


def test_rows_are_complete_and_called_by_name() -> None:
    kinds = {"norm", "margin", "loss", "absolute", "relative"}
    for name, row in MEASURES.items():
        assert row.name == name and row.kind in kinds and row.source
        assert row.says.endswith(".") and row.says[0].isupper()
    assert list(measure(subject("mlp"), ["path_norm", "weight_norm"])) == ["path_norm", "weight_norm"]


def test_the_seed_decides_the_noise() -> None:
    found = [measure(subject("mlp", seed=seed), ["gaussian_sharpness"])["gaussian_sharpness"] for seed in (0, 0, 1)]
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
