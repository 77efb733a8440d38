"""How much memory a member of a group takes while it trains, and how much there is."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from wdlab.run import Run

COPIES = {"sgd": 13, "adam": 16, "rmsprop": 16}
"""Arrays of all weights at the worst moment, a reading: five that stay, or six, and what splitting a step makes."""
CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
)


def available(device: torch.device) -> float:
    """Return the bytes that are free: of a GPU's own memory, else of this machine or this container.

    Infinity where nobody can be asked.
    """
    if device.type == "cuda" and torch.cuda.is_available():
        return float(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu":
        return float("inf")
    lines = [line.split() for line in _read("/proc/meminfo").splitlines()]
    free = [float(words[1]) * 1024 for words in lines if words[0] == "MemAvailable:"]
    return min([*free, *(_in_container(*paths) for paths in CGROUPS)])


def _in_container(limit: str, used: str, parts: str) -> float:
    most, now = _read(limit).strip(), _read(used).strip()
    if not (most.isdecimal() and now.isdecimal()):
        return float("inf")
    told = dict(line.split() for line in _read(parts).splitlines())
    files = told.get("total_inactive_file", told.get("inactive_file", 0))  # v1 counts children in the total alone
    return float(most) - float(now) + float(files)  # those that were read give way


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


@lru_cache(maxsize=256)
def needed(run: Run, device: torch.device) -> float:
    """Return about how many bytes each member of a group of `run`'s shape takes: 4 c P + 2 A.

    P is the number of weights, c how many arrays of their size training keeps, A the bytes that autograd keeps of one
    batch, counted as one member's loss is computed; gradients on the way and tests take as much again. Examples, which
    members share, do not count. A task that acts has no batch before it has played: what it remembers counts instead.
    """
    model = run.task.build(run.model, 1).to(device)
    weights = 4 * COPIES[run.optimizer.name] * sum(parameter.numel() for parameter in model.parameters())
    if run.task.acts:
        return float(weights + run.task.remembered)
    kept: dict[int, torch.UntypedStorage] = {}  # by address, for tensors share them

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model.loss(*(tensor.to(device) for tensor in _batch(run)))
    return float(weights + 2 * sum(storage.nbytes() for storage in kept.values()))


def _batch(run: Run) -> tuple[Tensor, Tensor]:
    """The first batch of the run, as one member sees it."""
    arrays = run.task.arrays()
    order = run.task.batches([run.seed], len(arrays))
    return order.take(0, run.task.shape_inputs(arrays.inputs, run.model), order.labels(arrays.labels))
