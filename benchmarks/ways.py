"""The ways to train the same runs; each lays everything ready and returns what is timed.

"plain", one network after another; "vmap", the same networks stacked; "processes", the plain loop in one process a
core, of one thread each, which are up and warm; "sweep", wdlab as users get it; "alone", a sweep in one process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import machine
import torch
from plain import Outcome
from settings import NETS, Setting

from wdlab import Run, Training, sweep
from wdlab.store import Store
from wdlab.train import pick_device

Work = Callable[[], list[Outcome]]
WAYS = ("plain", "vmap", "processes", "sweep", "alone")
USUAL = WAYS[:4]
THREADED = ("plain", "vmap")  # tried with one thread and with more; the better one counts


def prepare(way: str, setting: Setting, device: torch.device) -> Work | None:
    """Lay everything ready for one way; None where it is not measured."""
    net, runs = NETS[setting.net], setting.runs()
    if way == "plain":
        return net.plain(runs, device)
    if way == "vmap":
        return net.stacked(runs, device) if net.stacked else None
    if way == "processes":
        return lambda: in_processes(setting, device)
    jobs = machine.cores() if way == "sweep" and device.type == "cpu" else 1
    return lambda: swept(runs, device, jobs)


def swept(runs: list[Run], device: torch.device, jobs: int) -> list[Outcome]:
    """A sweep into a new store, from hashing to the table; `jobs` is what it takes by itself for longer runs."""
    with tempfile.TemporaryDirectory() as folder:
        table = sweep(runs, str(device), jobs, Store(Path(folder))).table
    return list(map(Outcome, table["train_loss"], table["test_accuracy"]))


def in_processes(setting: Setting, device: torch.device) -> list[Outcome]:
    """The plain loop, every process on its share of the runs."""
    count = min(machine.cores(), setting.members)
    shares = [processes().submit(share, setting, device, first, count) for first in range(count)]
    found = [done.result() for done in shares]
    return [found[number % count][number // count] for number in range(setting.members)]


def share(setting: Setting, device: torch.device, first: int, count: int) -> list[Outcome]:
    """In a process: the plain loop on every `count`-th run."""
    return NETS[setting.net].plain(setting.runs()[first::count], device)()


@cache
def processes() -> ProcessPoolExecutor:
    """One process a core, of one thread each."""
    return ProcessPoolExecutor(machine.cores(), get_context("spawn"), torch.set_num_threads, (1,))


def overhead(device: torch.device) -> dict[str, float]:
    """What a sweep adds to training 12 runs of usual length: hashing, grouping, storing, reading back."""
    runs = [Run(seed=seed) for seed in range(10_000, 10_012)]
    with tempfile.TemporaryDirectory() as folder:
        store, training = Store(Path(folder), device.type), Training(runs, str(device))
        alone = machine.timed(device, lambda: training.advance(training.steps))
        whole = machine.timed(device, lambda: sweep(runs, str(device), 1, store))
        again = machine.timed(device, lambda: sweep(runs, str(device), 1, store))
    return {"training_s": alone, "sweep_s": whole, "from_store_s": again, "bookkeeping_share": again / whole}


def device_called(name: str) -> torch.device:
    return pick_device(name)
