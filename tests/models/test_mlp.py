"""The MLP against the same network built of torch.nn modules, and its hand-written gradient against autograd."""

import pytest
import torch
from torch import Tensor, nn

from wdlab.models import MLP, MemberModel, flatten
from wdlab.tasks import generator

MEMBERS, BATCH, SIZES = 3, 7, (5, 4, 6, 3)
sizes = pytest.mark.parametrize("sizes", [SIZES, (5, 8, 3)], ids=["two hidden", "one hidden"])
norms = pytest.mark.parametrize("norm", [True, False], ids=["norm", "bias"])


def ours(sizes=SIZES, norm: bool = True, members: int = MEMBERS) -> MLP:
    """An MLP in float64 whose every parameter has been moved from where it starts."""
    model = MLP(members, sizes, norm=norm).double()
    model.initialize([generator(seed, "init") for seed in range(members)])
    with torch.no_grad():
        for seed, parameter in enumerate(model.parameters()):
            for member in range(members):
                noise = torch.rand(parameter.shape[1:], generator=generator(member, f"noise {seed}")) - 0.5
                parameter[member] += noise
    flatten(model, [name for name, _ in model.named_parameters()])
    return model


def theirs(model: MLP, member: int) -> nn.Sequential:
    """The network of one member as anyone would write it in torch, with its weights and statistics."""
    layers: list[nn.Module] = []
    last = len(model.sizes) - 2
    for layer, (fan_in, fan_out) in enumerate(zip(model.sizes, model.sizes[1:], strict=False)):
        linear = nn.Linear(fan_in, fan_out, bias=layer == last or not model.norm)
        linear.weight.data = model.get_parameter(f"weight_{layer}").data[member].T.clone()
        if linear.bias is not None:
            linear.bias.data = model.get_parameter(f"bias_{layer}").data[member].clone()
        layers.append(linear)
        if layer < last and model.norm:
            norm = nn.BatchNorm1d(fan_out).double()
            norm.weight.data = model.get_parameter(f"scale_{layer}").data[member].clone()
            norm.bias.data = model.get_parameter(f"shift_{layer}").data[member].clone()
            norm.running_mean = model.get_buffer(f"mean_{layer}")[member].clone()
            norm.running_var = model.get_buffer(f"var_{layer}")[member].clone()
            layers.append(norm)
        if layer < last:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def batch(members: int = MEMBERS) -> tuple[Tensor, Tensor]:
    draw = generator(0, "batch")
    inputs = torch.randn(members, BATCH, 5, generator=draw, dtype=torch.float64)
    return inputs, torch.randint(3, (members, BATCH), generator=draw)


def gradients(net: nn.Sequential) -> list[Tensor]:
    """In our order of a layer: weight, then scale and shift or bias; our weights are [in, out]."""
    return [p.grad.T if p.ndim == 2 else p.grad for p in net.parameters()]


def statistics(model: MLP, member: int) -> list[Tensor]:
    return [model.get_buffer(f"{kind}_{layer}")[member] for layer in range(model.hidden) for kind in ("mean", "var")]


def torch_statistics(net: nn.Sequential) -> list[Tensor]:
    return [s for layer in net if isinstance(layer, nn.BatchNorm1d) for s in (layer.running_mean, layer.running_var)]


@sizes
@norms
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_forward_is_torch_s(sizes, norm: bool, training: bool) -> None:
    model, (inputs, _) = ours(sizes, norm), batch()
    for _ in range(2):
        model.train()(inputs + 1)  # move the running statistics off their start
    nets = [theirs(model, member).train(training) for member in range(MEMBERS)]
    logits = model.train(training)(inputs)
    for member, net in enumerate(nets):
        torch.testing.assert_close(logits[member], net(inputs[member]), rtol=1e-11, atol=1e-12)
        if norm:
            torch.testing.assert_close(statistics(model, member), torch_statistics(net), rtol=1e-12, atol=1e-13)


def test_evaluation_leaves_the_running_statistics_alone() -> None:
    model, (inputs, _) = ours(), batch()
    before = [s.clone() for s in model.buffers()]
    model.eval()(inputs)
    assert all(torch.equal(a, b) for a, b in zip(before, model.buffers(), strict=True))


@sizes
@norms
def test_loss_gradient_and_statistics_are_torch_s(sizes, norm: bool) -> None:
    model, (inputs, labels) = ours(sizes, norm), batch()
    nets = [theirs(model, member) for member in range(MEMBERS)]
    for step in range(3):  # the second pass finds the scratch buffers as the first left them
        loss = model.loss_and_gradient(inputs + step, labels)
        for member, net in enumerate(nets):
            net.zero_grad()
            its = nn.functional.cross_entropy(net(inputs[member] + step), labels[member])
            its.backward()
            torch.testing.assert_close(loss[member], its.detach(), rtol=1e-12, atol=1e-13)
            mine = [p.grad[member] for p in model.parameters()]
            torch.testing.assert_close(mine, gradients(net), rtol=1e-9, atol=1e-13)
            if norm:
                torch.testing.assert_close(statistics(model, member), torch_statistics(net), rtol=1e-12, atol=1e-13)


@norms
def test_the_gradient_by_hand_is_autograd_s(norm: bool) -> None:
    by_hand, by_autograd = ours(norm=norm), ours(norm=norm)
    inputs, labels = batch()
    for _ in range(2):
        losses = by_hand.loss_and_gradient(inputs, labels), MemberModel.loss_and_gradient(by_autograd, inputs, labels)
        torch.testing.assert_close(*losses, rtol=1e-12, atol=1e-13)
        for (name, a), (_, b) in zip(by_hand.named_parameters(), by_autograd.named_parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-13, msg=name)
    for a, b in zip(by_hand.buffers(), by_autograd.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


def test_units_that_are_constant_or_dead_have_finite_gradients() -> None:
    """A unit without spread divides by sqrt(eps); a unit that is never positive passes nothing on."""
    model, (inputs, labels) = ours(), batch()
    with torch.no_grad():
        model.weight_0[:, :, 0] = 0.0
        model.shift_0[:, 1] = -100.0
    net = theirs(model, 0)
    model.loss_and_gradient(inputs, labels)
    nn.functional.cross_entropy(net(inputs[0]), labels[0]).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert (model.weight_0.grad[:, :, 1] == 0).all() and (model.scale_0.grad[:, 1] == 0).all()
    mine = [p.grad[0] for p in model.parameters()]
    torch.testing.assert_close(mine, gradients(net), rtol=1e-9, atol=1e-12)


@norms
def test_a_member_among_others_equals_itself_alone(norm: bool) -> None:
    together, (inputs, labels) = ours(norm=norm), batch()
    loss = together.loss_and_gradient(inputs, labels)
    logits = together.eval()(inputs)
    for member in range(MEMBERS):
        alone = MLP(1, SIZES, norm=norm).double()
        with torch.no_grad():
            for mine, its in zip(alone.parameters(), ours(norm=norm).parameters(), strict=True):
                mine.copy_(its[member : member + 1])
        flatten(alone, [name for name, _ in alone.named_parameters()])
        one = slice(member, member + 1)
        torch.testing.assert_close(alone.loss_and_gradient(inputs[one], labels[one]), loss[one], rtol=1e-13, atol=0)
        for mine, its in zip(alone.parameters(), together.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, its.grad[one], rtol=1e-10, atol=1e-14)
        torch.testing.assert_close(alone.eval()(inputs[one]), logits[one], rtol=1e-12, atol=1e-13)


def test_one_training_pass_with_another_batch_size() -> None:
    """Scratch buffers follow the shape of the batch."""
    model, (inputs, labels) = ours(), batch()
    model.loss_and_gradient(inputs, labels)
    first = model.weight_1.grad.clone()
    model.loss_and_gradient(inputs[:, :4], labels[:, :4])
    model.loss_and_gradient(inputs, labels)
    torch.testing.assert_close(model.weight_1.grad, first, rtol=1e-13, atol=0)


def test_weights_that_feed_a_normalization_are_scale_free() -> None:
    """L(cW) = L(W), so the gradient is orthogonal to W and shrinks as 1/c; the other weights are not so."""
    model, (inputs, labels) = ours(), batch()
    assert model.scale_invariant == ("weight_0", "weight_1")
    assert ours(norm=False).scale_invariant == ()
    loss = model.loss_and_gradient(inputs, labels)
    before = {name: p.grad.clone() for name, p in model.named_parameters()}
    products = {name: (g * model.get_parameter(name)).flatten(1).sum(1) for name, g in before.items()}
    for name in model.scale_invariant:
        norms = before[name].flatten(1).norm(dim=1) * model.get_parameter(name).flatten(1).norm(dim=1)
        assert (products[name].abs() < 1e-3 * norms).all()  # not 0: BatchNorm adds eps to the variance
    assert products["weight_2"].abs().min() > 1e-3
    with torch.no_grad():
        model.weight_0.mul_(10)
    torch.testing.assert_close(model.loss_and_gradient(inputs, labels), loss, rtol=1e-3, atol=0)
    torch.testing.assert_close(model.weight_0.grad, before["weight_0"] / 10, rtol=0.02, atol=1e-5)
