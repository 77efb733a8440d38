"""The residual network against the same network built of torch.nn modules, for signals and images."""

import copy

import pytest
import torch
from torch import Tensor, nn

from wdlab.models import ResNet, cross_entropy, flatten
from wdlab.tasks import generator

MEMBERS, BATCH, CHANNELS, WIDTH, CLASSES = 2, 4, 2, 3, 5
shapes = pytest.mark.parametrize(
    ("spatial", "stages", "blocks"), [(1, 3, 1), (1, 1, 2), (2, 2, 1), (2, 2, 2)], ids=["1-D", "1-D one", "2-D", "deep"]
)


class Block(nn.Module):
    """He et al.'s basic block: two 3-wide convolutions around a shortcut."""

    def __init__(self, before: int, after: int, stride: int, spatial: int) -> None:
        super().__init__()
        conv, norm = (nn.Conv1d, nn.BatchNorm1d) if spatial == 1 else (nn.Conv2d, nn.BatchNorm2d)
        self.a, self.norm_a = conv(before, after, 3, stride=stride, padding=1, bias=False), norm(after)
        self.b, self.norm_b = conv(after, after, 3, padding=1, bias=False), norm(after)
        same = stride == 1 and before == after
        self.short = None if same else conv(before, after, 1, stride=stride, bias=False)
        self.norm_short = None if same else norm(after)

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm_b(self.b(self.norm_a(self.a(x)).relu()))
        return (out + (x if self.short is None else self.norm_short(self.short(x)))).relu()


class Reference(nn.Module):
    """The whole network as anyone would write it in torch."""

    def __init__(self, spatial: int, stages: int, blocks: int) -> None:
        super().__init__()
        conv, norm = (nn.Conv1d, nn.BatchNorm1d) if spatial == 1 else (nn.Conv2d, nn.BatchNorm2d)
        self.stem, self.norm = conv(CHANNELS, WIDTH, 3, padding=1, bias=False), norm(WIDTH)
        self.blocks, before = nn.ModuleDict(), WIDTH
        for stage in range(stages):
            for block in range(blocks):
                after = WIDTH * 2**stage
                stride = 2 if stage > 0 and block == 0 else 1
                self.blocks[f"stage{stage}_block{block}"] = Block(before, after, stride, spatial)
                before = after
        self.head = nn.Linear(before, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x)).relu()
        for block in self.blocks.values():
            x = block(x)
        return self.head(x.flatten(2).mean(-1))

    def layers(self) -> dict[str, tuple[nn.Module, nn.Module]]:
        """Every convolution with its normalization, under our name."""
        found = {"stem": (self.stem, self.norm)}
        for name, block in self.blocks.items():
            found[f"{name}_a"], found[f"{name}_b"] = (block.a, block.norm_a), (block.b, block.norm_b)
            if block.short is not None:
                found[f"{name}_short"] = (block.short, block.norm_short)
        return found

    def told(self) -> dict[str, Tensor]:
        """Every parameter and statistic under our name."""
        told = {"weight_head": self.head.weight.T, "bias_head": self.head.bias}
        for name, (conv, norm) in self.layers().items():
            told |= {f"weight_{name}": conv.weight, f"scale_{name}": norm.weight, f"shift_{name}": norm.bias}
            told |= {f"mean_{name}": norm.running_mean, f"var_{name}": norm.running_var}
        return told

    def gradients(self) -> dict[str, Tensor]:
        told = {"weight_head": self.head.weight.grad.T, "bias_head": self.head.bias.grad}
        for name, (conv, norm) in self.layers().items():
            told |= {f"weight_{name}": conv.weight.grad}
            told |= {f"scale_{name}": norm.weight.grad, f"shift_{name}": norm.bias.grad}
        return told


def make(spatial: int, stages: int, blocks: int) -> tuple[ResNet, list[Reference]]:
    model = ResNet(MEMBERS, CHANNELS, WIDTH, stages, CLASSES, spatial, blocks).double()
    model.initialize([generator(seed, "init") for seed in range(MEMBERS)])
    with torch.no_grad():
        for seed, tensor in enumerate([*model.parameters(), *model.buffers()]):
            tensor += torch.rand(tensor.shape, generator=generator(seed, "noise")) / 2
    flatten(model, [name for name, _ in model.named_parameters()])
    nets = [Reference(spatial, stages, blocks).double() for _ in range(MEMBERS)]
    own = dict(model.named_parameters()) | dict(model.named_buffers())
    for member, net in enumerate(nets):
        told = net.told()
        assert told.keys() == own.keys()
        with torch.no_grad():
            for name, tensor in told.items():
                tensor.copy_(own[name][member])
    return model, nets


def batch(spatial: int) -> tuple[Tensor, Tensor]:
    draw = generator(0, "batch")
    shape = (MEMBERS, BATCH, CHANNELS, *([9] if spatial == 1 else [5, 7]))
    return torch.randn(shape, generator=draw, dtype=torch.float64), torch.randint(5, (MEMBERS, BATCH), generator=draw)


def same_statistics(model: ResNet, nets: list[Reference]) -> None:
    for name, ours in model.named_buffers():
        for member, net in enumerate(nets):
            torch.testing.assert_close(ours[member], net.told()[name], rtol=1e-12, atol=1e-13, msg=name)


@shapes
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_forward_and_statistics_are_torch_s(spatial: int, stages: int, blocks: int, training: bool) -> None:
    model, nets = make(spatial, stages, blocks)
    inputs, _ = batch(spatial)
    logits = model.train(training)(inputs)
    for member, net in enumerate(nets):
        its = net.train(training)(inputs[member])
        torch.testing.assert_close(logits[member], its, rtol=1e-10, atol=1e-11)
    same_statistics(model, nets)


@shapes
def test_loss_and_gradient_are_torch_s(spatial: int, stages: int, blocks: int) -> None:
    model, nets = make(spatial, stages, blocks)
    inputs, labels = batch(spatial)
    for step in range(2):
        loss = model.loss_and_gradient(inputs + step, labels)
        for member, net in enumerate(nets):
            net.zero_grad()
            its = nn.functional.cross_entropy(net(inputs[member] + step), labels[member])
            its.backward()
            torch.testing.assert_close(loss[member], its.detach(), rtol=1e-11, atol=1e-12)
            for name, gradient in net.gradients().items():
                mine = model.get_parameter(name).grad[member]
                torch.testing.assert_close(mine, gradient, rtol=1e-8, atol=1e-11, msg=name)
    same_statistics(model, nets)


@shapes
def test_float32_goes_the_same_way(spatial: int, stages: int, blocks: int) -> None:
    """On a CPU float32 has convolutions of its own, and layouts of memory that float64 has not."""
    wide, _ = make(spatial, stages, blocks)
    narrow = copy.deepcopy(wide).float()
    names = [name for name, _ in narrow.named_parameters()]
    flatten(narrow, names)
    inputs, labels = batch(spatial)
    losses = wide.loss_and_gradient(inputs, labels), narrow.loss_and_gradient(inputs.float(), labels)
    torch.testing.assert_close(losses[1], losses[0].float(), rtol=1e-5, atol=1e-6)
    for name in names:
        gradients = [model.get_parameter(name).grad.float() for model in (narrow, wide)]
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5, msg=name)
    torch.testing.assert_close(narrow.eval()(inputs.float()), wide.eval()(inputs).float(), rtol=1e-4, atol=1e-5)


@shapes
def test_a_member_among_others_equals_itself_alone(spatial: int, stages: int, blocks: int) -> None:
    together, _ = make(spatial, stages, blocks)
    (inputs, labels), before = batch(spatial), batch(spatial)[0]
    alone = [pick(together, member, (stages, spatial, blocks)) for member in range(MEMBERS)]
    loss = together.loss_and_gradient(inputs, labels)
    logits = together.eval()(inputs)
    assert torch.equal(inputs, before), "what is done in place is not done to the inputs"
    for member, model in enumerate(alone):
        one = slice(member, member + 1)
        torch.testing.assert_close(model.loss_and_gradient(inputs[one], labels[one]), loss[one], rtol=1e-12, atol=0)
        torch.testing.assert_close(model.eval()(inputs[one]), logits[one], rtol=1e-11, atol=1e-12)
        for name, parameter in model.named_parameters():
            its = together.get_parameter(name).grad[one]
            torch.testing.assert_close(parameter.grad, its, rtol=1e-9, atol=1e-12, msg=name)


def pick(model: ResNet, member: int, shape: tuple[int, int, int]) -> ResNet:
    """One member of `model` as a model of its own, in its present state."""
    stages, spatial, blocks = shape
    alone = ResNet(1, CHANNELS, WIDTH, stages, CLASSES, spatial, blocks).double()
    alone.load_state_dict({name: tensor[member : member + 1] for name, tensor in model.state_dict().items()})
    flatten(alone, [name for name, _ in alone.named_parameters()])
    return alone


@shapes
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_the_gradient_can_be_differentiated_again(spatial: int, stages: int, blocks: int, training: bool) -> None:
    """A Hessian times a direction, by autograd twice and by a small step along the direction."""
    model = make(spatial, stages, blocks)[0].train(training)
    inputs, labels = batch(spatial)
    parameters = list(model.parameters())
    along = [torch.randn(p.shape, generator=generator(i, "along"), dtype=p.dtype) for i, p in enumerate(parameters)]

    def gradient(step: float, graph: bool = False) -> tuple[Tensor, ...]:
        with torch.no_grad():
            torch._foreach_add_(parameters, along, alpha=step)
        loss = cross_entropy(model(inputs), labels).sum()
        return torch.autograd.grad(loss, parameters, create_graph=graph)

    first = gradient(0.0, graph=True)
    twice = torch.autograd.grad(first, parameters, along)
    step = 1e-7
    there, back = gradient(step), gradient(-2 * step)
    for (name, _), exact, a, b in zip(model.named_parameters(), twice, there, back, strict=True):
        torch.testing.assert_close((a - b) / (2 * step), exact, rtol=1e-4, atol=1e-5, msg=name)


@shapes
def test_every_convolution_is_scale_free_and_nothing_else(spatial: int, stages: int, blocks: int) -> None:
    model, nets = make(spatial, stages, blocks)
    assert set(model.scale_invariant) == {f"weight_{name}" for name in nets[0].layers()}
    inputs, labels = batch(spatial)
    loss = model.loss_and_gradient(inputs, labels)
    with torch.no_grad():
        for name in model.scale_invariant:
            model.get_parameter(name).mul_(7)
    torch.testing.assert_close(model.loss_and_gradient(inputs, labels), loss, rtol=1e-4, atol=0)


def test_resnet18_has_the_parameters_of_resnet18() -> None:
    """For CIFAR: 64 channels, four stages of two blocks, a 3-wide stem: 11,173,962 parameters (10 classes)."""
    model = ResNet(1, 3, 64, 4, 10, spatial=2, blocks=2)
    assert sum(p.numel() for p in model.parameters()) == 11_173_962
