"""(b): torch.func.vmap over the stacked modules of the plain loop, as in PyTorch's tutorial on ensembling.

One optimizer steps the stacked tensors. It knows one weight decay for all, so each member's own enters by hand.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import plain
import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from wdlab import Run

Tensors = dict[str, Tensor]


def prepare(runs: list[Run], device: torch.device) -> Callable[[], list[plain.Outcome]]:
    """Lay everything ready; what is returned trains all members together."""
    given, nets = plain.data(runs[0], device), plain.networks(runs, device)
    parameters, buffers = stack_module_state(nets)
    warnings.filterwarnings("ignore", "There is a performance drop")  # vmap loops where it has no rule: attention
    return lambda: train(runs, copy.deepcopy(nets[0]).to("meta"), parameters, buffers, given)


def train(
    runs: list[Run], net: torch.nn.Module, parameters: Tensors, buffers: Tensors, given: plain.Data
) -> list[plain.Outcome]:
    device, first = given.labels.device, runs[0]
    optimizer = optimizer_of(first, parameters)
    seeds = sorted({run.seed for run in runs})
    batches = plain.order(seeds, first, device)
    member = torch.tensor([seeds.index(run.seed) for run in runs], device=device)
    rates, decay = first.schedule.table(first.steps).tolist(), decays(runs).to(device)
    anywhere = decay.amax((0, 2)).gt(0).tolist()
    losses, total = vmap(loss_of(net)), torch.zeros(len(runs), device=device)
    for step in range(first.steps):
        batch = batches.indices(step)[member]
        loss = losses(parameters, buffers, given.inputs[batch], given.labels[batch])
        optimizer.zero_grad()
        loss.sum().backward()
        lr = optimizer.param_groups[0]["lr"] = first.optimizer.lr * rates[step]
        decay_by_hand(parameters, decay[step], lr, anywhere)
        optimizer.step()
        total += loss.detach()
    with torch.no_grad():
        right = vmap(accuracy_of(net.eval(), given))(parameters, buffers)
    return list(map(plain.Outcome, (total / first.steps).tolist(), right.tolist()))


def optimizer_of(run: Run, parameters: Tensors) -> torch.optim.Optimizer:
    own = run.optimizer
    if own.name == "sgd":
        return torch.optim.SGD(parameters.values(), own.lr, own.momentum, fused=True)
    return torch.optim.Adam(parameters.values(), own.lr, own.betas, own.eps, fused=True)


def decays(runs: list[Run]) -> Tensor:
    """Lambda [step, place, member] at its two places: in the gradient, and beside it."""
    tables = [run.decay.strength * run.decay.timing.table(run.steps) for run in runs]
    beside = torch.tensor([float(run.decay.coupling == "decoupled") for run in runs])
    return torch.stack([torch.stack(tables, 1) * (1 - beside), torch.stack(tables, 1) * beside], 1).float()


@torch.no_grad()
def decay_by_hand(parameters: Tensors, decay: Tensor, lr: float, anywhere: list[bool]) -> None:
    """Let lambda act at its two places; one at which no run ever has any is left out."""
    for p in parameters.values():
        if p.ndim > 2 and p.grad is not None:
            inside, beside = decay.view(2, -1, *[1] * (p.ndim - 1))
            if anywhere[0]:
                p.grad.addcmul_(p, inside)
            if anywhere[1]:
                p.mul_(1 - lr * beside)


def loss_of(net: torch.nn.Module) -> Callable[..., Tensor]:
    def loss(parameters: Tensors, buffers: Tensors, inputs: Tensor, labels: Tensor) -> Tensor:
        return plain.loss_of(lambda *x: functional_call(net, (parameters, buffers), x), inputs, labels)

    return loss


def accuracy_of(net: torch.nn.Module, given: plain.Data) -> Callable[..., Tensor]:
    def accuracy(parameters: Tensors, buffers: Tensors) -> Tensor:
        return plain.accuracy(lambda *x: functional_call(net, (parameters, buffers), x), given)

    return accuracy
