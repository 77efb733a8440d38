"""(a): the loop that a good engineer writes for one network, of torch.nn modules and torch.optim's optimizers.

Data on the device; channels last for images and for signals, which as images one row tall take a fifth less time;
fused optimizers, which were the fastest of torch's four kinds of loop at every width tried; one network after another.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from wdlab import Run
from wdlab.models import MLP, MemberModel, ResNet, Transformer
from wdlab.models.transformer import PAD, START, positions
from wdlab.tasks import generator
from wdlab.tasks.task import Order


class Outcome(NamedTuple):
    """Where one run ended, by which the ways are held to each other."""

    loss: float
    accuracy: float


class Data(NamedTuple):
    """What a run learns from and is tested on, on the device."""

    inputs: Tensor
    labels: Tensor
    tested: int


def data(run: Run, device: torch.device) -> Data:
    arrays = run.task.arrays()
    return Data(
        run.task.shape_inputs(arrays.inputs, run.model).to(device), arrays.labels.to(device), run.task.test_size
    )


def networks(runs: list[Run], device: torch.device) -> list[nn.Module]:
    """Every run's network, from the weights that wdlab gives it."""
    start = runs[0].task.build(runs[0].model, len(runs))
    start.initialize([generator(run.seed, "init") for run in runs])
    return [network(start, member).to(device) for member in range(len(runs))]


def prepare(runs: list[Run], device: torch.device) -> Callable[[], list[Outcome]]:
    """Lay everything ready; what is returned trains the networks one after another."""
    given, nets = data(runs[0], device), networks(runs, device)
    return lambda: [train(run, net, given) for run, net in zip(runs, nets, strict=True)]


def train(run: Run, net: nn.Module, given: Data) -> Outcome:
    """The training loop everybody knows, with the toggle of weight decay in it."""
    optimizer = optimizer_of(run, net)
    on, rates = run.decay.timing.table(run.steps).tolist(), run.schedule.table(run.steps).tolist()
    device = given.labels.device
    batches, total = order([run.seed], run, device), torch.zeros((), device=device)
    for step in range(run.steps):
        batch = batches.indices(step)[0]
        loss = loss_of(net, given.inputs[batch], given.labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["weight_decay"] = run.decay.strength * on[step]
        for group in optimizer.param_groups:
            group["lr"] = run.optimizer.lr * rates[step]
        optimizer.step()
        total += loss.detach()
    with torch.no_grad():
        return Outcome(float(total) / run.steps, float(accuracy(net.eval(), given)))


def order(seeds: list[int], run: Run, device: torch.device) -> Order:
    """Which examples come when, on the device once a pass."""
    return Order(run.task, run.task.batch_size, seeds, len(run.task.arrays()), device)


def optimizer_of(run: Run, net: nn.Module) -> torch.optim.Optimizer:
    """Weight decay on matrices and kernels only."""
    groups = [{"params": [p for p in net.parameters() if p.ndim > 1]}]
    groups += [{"params": [p for p in net.parameters() if p.ndim == 1], "weight_decay": 0.0}]
    if run.optimizer.name == "sgd":
        return torch.optim.SGD(groups, lr=run.optimizer.lr, momentum=run.optimizer.momentum, fused=True)
    kind = torch.optim.AdamW if run.decay.coupling == "decoupled" else torch.optim.Adam
    return kind(groups, lr=run.optimizer.lr, betas=run.optimizer.betas, eps=run.optimizer.eps, fused=True)


def loss_of(net: Callable[..., Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy, of examples or of words."""
    if labels.ndim > 1:
        return F.cross_entropy(net(inputs, labels).flatten(0, 1), labels.flatten(), ignore_index=PAD)
    return F.cross_entropy(net(inputs), labels)


def accuracy(net: Callable[..., Tensor], given: Data) -> Tensor:
    """The share of test examples that are right; of sentences, that are right word for word given the words before."""
    inputs, labels = given.inputs[: given.tested], given.labels[: given.tested]
    if labels.ndim > 1:
        return ((net(inputs, labels).argmax(-1) == labels) | (labels == PAD)).all(-1).float().mean()
    return (net(inputs).argmax(-1) == labels).float().mean()


def operations(runs: list[Run]) -> int:
    """Multiplications and additions in all matrix products and convolutions of the training steps."""
    given, [net] = data(runs[0], torch.device("cpu")), networks(runs[:1], torch.device("cpu"))
    batch = order([runs[0].seed], runs[0], torch.device("cpu")).indices(0)[0]
    with FlopCounterMode(display=False) as counted:
        loss_of(net, given.inputs[batch], given.labels[batch]).backward()
    return counted.get_total_flops() * sum(run.steps for run in runs)


def network(model: MemberModel, member: int) -> nn.Module:
    """One member of `model` as a network of torch.nn modules."""
    if isinstance(model, Transformer):
        return PlainTransformer(model, member)
    if isinstance(model, ResNet):
        return PlainResNet(model, member).to(memory_format=torch.channels_last)
    assert isinstance(model, MLP)
    return perceptron(model, member)


class PlainResNet(nn.Module):
    """One member of a ResNet, its layers by their names in the model; a signal is an image one row tall."""

    def __init__(self, model: ResNet, member: int) -> None:
        super().__init__()
        self.names, self.layers = model.blocks, nn.ModuleDict()
        for name, stride in model.strides.items():
            weight = model.get_parameter(f"weight_{name}").data[member].clone()
            weight = weight.unsqueeze(2) if model.spatial == 1 else weight
            after, before, *size = weight.shape
            layer = nn.Conv2d(before, after, size, stride, [length // 2 for length in size], bias=False)
            layer.weight.data = weight
            self.layers[name] = nn.Sequential(layer, nn.BatchNorm2d(after))
        self.head = nn.Linear(*model.weight_head.shape[1:])
        self.head.weight.data = model.weight_head.data[member].T.contiguous()
        self.head.bias.data = model.bias_head.data[member].clone()

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.layers["stem"](x if x.ndim == 4 else x.unsqueeze(2)))
        for name in self.names:
            short = self.layers[f"{name}_short"](x) if f"{name}_short" in self.layers else x
            x = self.layers[f"{name}_b"](F.relu(self.layers[f"{name}_a"](x)))
            x = F.relu(x + short)
        return self.head(x.flatten(2).mean(-1))


class PlainTransformer(nn.Module):
    """One member of a Transformer, of torch.nn.Transformer and two embeddings."""

    def __init__(self, model: Transformer, member: int, longest: int = 64) -> None:
        super().__init__()
        self.width = model.width
        own = {name: p.data[member].clone() for name, p in model.named_parameters()}
        self.source = nn.Embedding.from_pretrained(own["embed_source"], freeze=False, padding_idx=PAD)
        self.target = nn.Embedding.from_pretrained(own["embed_target"], freeze=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about nested tensors, which need post-norm
            self.layers = nn.Transformer(
                model.width,
                model.heads,
                model.depth,
                model.depth,
                2 * model.width,
                0.0,
                batch_first=True,
                norm_first=True,
            )
        self.register_buffer("positions", positions(longest, model.width, torch.float32, torch.device("cpu")).clone())
        self.register_buffer("future", torch.full((longest, longest), -math.inf).triu(1))
        self._fill(own)

    @torch.no_grad()
    def _fill(self, own: dict[str, Tensor]) -> None:
        encoder, decoder = self.layers.encoder, self.layers.decoder
        layers: dict[str, nn.Module] = {"memory": encoder.norm, "output": decoder.norm}
        for side, stack in (("encoder", encoder), ("decoder", decoder)):
            for number, layer in enumerate(stack.layers):
                name, last = f"{side}{number}", layer.norm2 if side == "encoder" else layer.norm3
                layers |= {f"{name}_self": layer.norm1, f"{name}_feed": last}
                layers |= {f"{name}_self_out": layer.self_attn.out_proj}
                layers |= {f"{name}_feed_in": layer.linear1, f"{name}_feed_out": layer.linear2}
                layer.self_attn.in_proj_weight.copy_(own[f"weight_{name}_self_in"].T)
        for number, layer in enumerate(decoder.layers):
            name, pair = f"decoder{number}_cross", slice(2 * number * self.width, 2 * (number + 1) * self.width)
            layers |= {name: layer.norm2, f"{name}_out": layer.multihead_attn.out_proj}
            both = torch.cat([own[f"weight_{name}_in"], own["weight_memory"][:, pair]], 1)
            layer.multihead_attn.in_proj_weight.copy_(both.T)
        for name, layer in layers.items():  # biases begin at 0 on both sides
            if isinstance(layer, nn.Linear):
                layer.weight.copy_(own[f"weight_{name}"].T)
                layer.bias.zero_()

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        before = F.pad(target[:, :-1], (1, 0), value=START)
        x, y = (
            table(tokens) * math.sqrt(self.width) + self.positions[: tokens.shape[1]]
            for table, tokens in ((self.source, source), (self.target, before))
        )
        length, pad = before.shape[1], torch.zeros_like(x[..., 0]).masked_fill(source == PAD, -math.inf)
        y = self.layers(
            x,
            y,
            tgt_mask=self.future[:length, :length],
            src_key_padding_mask=pad,
            memory_key_padding_mask=pad,
            tgt_is_causal=True,
        )
        return y @ self.target.weight.T


def perceptron(model: MLP, member: int) -> nn.Sequential:
    """One member of an MLP as torch.nn modules."""
    layers: list[nn.Module] = []
    for layer in range(model.hidden):
        linear = nn.Linear(model.sizes[layer], model.sizes[layer + 1], bias=False)
        linear.weight.data = getattr(model, f"weight_{layer}").data[member].T.contiguous()
        layers += [linear, nn.BatchNorm1d(model.sizes[layer + 1]), nn.ReLU()]
    head = nn.Linear(*model.sizes[-2:])
    head.weight.data = getattr(model, f"weight_{model.hidden}").data[member].T.contiguous()
    head.bias.data = getattr(model, f"bias_{model.hidden}").data[member].clone()
    return nn.Sequential(*layers, head)
