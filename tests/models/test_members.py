"""What all models share: initial weights, the loss, and parameters as views of one buffer."""

import math

import pytest
import torch

from wdlab.models import MLP, MemberModel, ResNet, cross_entropy, flatten
from wdlab.tasks import generator


def mlp(members: int = 3, norm: bool = True) -> MLP:
    model = MLP(members, [5, 4, 4, 3], norm=norm)
    model.initialize([generator(seed, "init") for seed in range(members)])
    return model


def resnet(members: int = 3) -> ResNet:
    model = ResNet(members, channels=2, width=3, stages=2, classes=4, spatial=2)
    model.initialize([generator(seed, "init") for seed in range(members)])
    return model


@pytest.mark.parametrize("model", [mlp(), mlp(norm=False), resnet()], ids=["mlp", "mlp without norm", "resnet"])
def test_flatten_moves_everything_into_two_buffers(model: MemberModel) -> None:
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    names = sorted(before)
    weights, gradient = flatten(model, names)
    assert weights.shape == gradient.shape == (3, sum(p[0].numel() for p in before.values()))
    start = 0
    for name in names:
        parameter, size = model.get_parameter(name), before[name][0].numel()
        assert torch.equal(parameter, before[name])
        assert torch.equal(weights[:, start : start + size], before[name].flatten(1)), "in the order of the names"
        start += size
    weights.fill_(2.0)
    gradient.fill_(3.0)
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert (parameter == 2).all() and (parameter.grad == 3).all(), "views, not copies"


@pytest.mark.parametrize("make", [mlp, resnet])
def test_the_loss_leaves_its_gradient_in_the_buffer(make) -> None:
    model = make()
    _, gradient = flatten(model, [name for name, _ in model.named_parameters()])
    views = {name: p.grad.data_ptr() for name, p in model.named_parameters()}
    inputs = torch.randn(3, 6, 5) if make is mlp else torch.randn(3, 6, 2, 5, 5)
    model.loss_and_gradient(inputs, torch.randint(3, (3, 6)))
    assert gradient.abs().sum(1).min() > 0
    assert views == {name: p.grad.data_ptr() for name, p in model.named_parameters()}


def test_without_buffers_the_message_says_what_to_call() -> None:
    with pytest.raises(AssertionError, match=r"call wdlab\.models\.flatten first"):
        mlp().loss_and_gradient(torch.randn(3, 6, 5), torch.zeros(3, 6, dtype=torch.int64))
    with pytest.raises(AssertionError, match=r"call wdlab\.models\.flatten first"):
        resnet().loss_and_gradient(torch.randn(3, 6, 2, 5, 5), torch.zeros(3, 6, dtype=torch.int64))


@pytest.mark.parametrize(
    ("make", "layer", "ours"),
    [
        (lambda: mlp(1, norm=False), lambda: torch.nn.Linear(5, 400), "weight_0"),
        (lambda: mlp(1, norm=False), lambda: torch.nn.Linear(5, 400), "bias_0"),
        (lambda: resnet(1), lambda: torch.nn.Conv2d(3, 400, 3), "weight_stage0_block0_a"),
        (lambda: resnet(1), lambda: torch.nn.Linear(6, 400), "bias_head"),
    ],
)
def test_initial_weights_have_the_bounds_of_torch(make, layer, ours) -> None:
    """torch draws uniformly within 1/sqrt(fan in); the largest of many draws comes close to the end."""
    torch.manual_seed(0)
    bound = getattr(layer(), ours.split("_")[0]).abs().max().item()
    values = make().get_parameter(ours)
    assert 1 / math.sqrt(make().fan_in(ours)) == pytest.approx(bound, rel=0.01)
    assert values.abs().max() <= bound * 1.01 and values.abs().max() > bound * 0.5


def test_normalization_starts_as_the_identity() -> None:
    for name, parameter in [*mlp().named_parameters(), *resnet().named_parameters()]:
        if name.startswith(("scale", "shift")):
            assert (parameter == (1 if name.startswith("scale") else 0)).all(), name


@pytest.mark.parametrize("make", [mlp, resnet])
def test_a_member_is_drawn_from_its_own_generator_alone(make) -> None:
    model = make()
    for member in range(3):
        alone = type(model)(1, [5, 4, 4, 3]) if make is mlp else ResNet(1, 2, 3, 2, 4, 2)
        alone.initialize([generator(member, "init")])
        for (name, ours), (_, its) in zip(model.named_parameters(), alone.named_parameters(), strict=True):
            assert torch.equal(ours[member], its[0]), name
    first, second = (model.get_parameter("weight_0" if make is mlp else "weight_stem")[k] for k in (0, 1))
    assert not torch.equal(first, second)


def test_a_float64_model_starts_from_the_float32_weights() -> None:
    wide = MLP(3, [5, 4, 4, 3]).double()
    wide.initialize([generator(seed, "init") for seed in range(3)])
    assert all(torch.equal(a.double(), b) for a, b in zip(mlp().parameters(), wide.parameters(), strict=True))


def test_cross_entropy_is_torch_s_for_each_member() -> None:
    logits, labels = torch.randn(3, 7, 5), torch.randint(5, (3, 7))
    expected = torch.stack([torch.nn.functional.cross_entropy(logits[k], labels[k]) for k in range(3)])
    torch.testing.assert_close(cross_entropy(logits, labels), expected)


def test_members_never_exchange_anything() -> None:
    """A member that is all NaN leaves the loss and the gradient of the others bit for bit as they are."""
    for make, shape in ((mlp, (3, 6, 5)), (resnet, (3, 6, 2, 5, 5))):
        inputs, labels = torch.randn(shape), torch.randint(3, (3, 6))
        losses, gradients = [], []
        for poisoned in (False, True):
            model = make()
            weights, gradient = flatten(model, [name for name, _ in model.named_parameters()])
            if poisoned:
                weights[1] = math.nan
            losses.append(model.loss_and_gradient(inputs, labels)[[0, 2]])
            gradients.append(gradient[[0, 2]])
        assert torch.equal(*losses) and torch.equal(*gradients), make
        assert model.loss_and_gradient(inputs, labels)[1].isnan()


def test_the_default_dtype_of_the_user_does_not_change_what_is_drawn() -> None:
    def drawn() -> torch.Tensor:
        model = MLP(1, [4, 3, 2])
        model.initialize([torch.Generator().manual_seed(0)])
        return model.get_parameter("weight_0").detach().float()

    single = drawn()
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(single, drawn())
    finally:
        torch.set_default_dtype(torch.float32)
