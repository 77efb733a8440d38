"""The ways to train the same runs; each lays everything ready and returns what is timed.

"plain", one network after another; "vmap", the same networks stacked; "processes", the plain loop in one process a
core, of one thread each; "sweep", wdlab in as many processes, also for work so short that it would take one by itself.
The processes of both are up and warm, and both make their networks within the time. "vmap-core" and "sweep-core" run in
one process of one thread, which is what a core does by itself.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import joblib
import machine
import torch
from plain import Outcome
from settings import NETS, Setting

from wdlab import Run, sweep, sweeps
from wdlab.store import Store
from wdlab.train import pick_device

Work = Callable[[], list[Outcome]]
WAYS = ("plain", "vmap", "processes", "sweep", "vmap-core", "sweep-core")
THREADED = ("plain", "vmap")  # tried with one thread and with more; the better one counts
ONE_CORE = ("vmap-core", "sweep-core")


def prepare(way: str, setting: Setting, device: torch.device) -> Work | None:
    """Lay everything ready for one way; None where it is not measured."""
    net, runs = NETS[setting.net], setting.runs()
    if way == "plain":
        return net.plain(runs, device)
    if way in ("vmap", "vmap-core"):
        return net.stacked(runs, device) if net.stacked else None
    if way == "processes":
        processes()
        return lambda: in_processes(setting, device)
    jobs = machine.cores() if way == "sweep" and device.type == "cpu" else 1
    if jobs > 1:
        warm_workers()
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
    """One process a core, of one thread each, every one of them up and warm."""
    pool = ProcessPoolExecutor(machine.cores(), get_context("spawn"), torch.set_num_threads, (1,))
    list(pool.map(warm, range(machine.cores())))
    return pool


@cache
def warm_workers() -> None:
    """Bring up the processes that a sweep will find."""
    joblib.Parallel(machine.cores())(joblib.delayed(warm)(number) for number in range(machine.cores()))


def warm(_: int) -> None:
    """In a process: load what is needed, and be busy for so long that every process gets one of these calls."""
    torch.ones(1) + sweeps.SMALL
    time.sleep(2.0)


def overhead(device: torch.device, repeats: int = 5) -> dict[str, float]:
    """What a sweep of 12 runs of usual length adds to their training: hashing, grouping, storing; medians."""
    found = [once(device, 10_000 + 12 * number) for number in range(repeats + 1)][1:]  # the first is the warm-up
    inside, whole = (statistics.median(times) for times in zip(*found, strict=True))
    shares = [(both - alone) / alone for alone, both in found]
    return {"n": repeats, "training_s": inside, "sweep_s": whole, "overhead_share": statistics.median(shares)}


def once(device: torch.device, seed: int) -> tuple[float, float]:
    """Seconds in which a sweep into a new store trains, and seconds of all of it."""
    runs = [Run(seed=seed + number) for number in range(12)]
    with tempfile.TemporaryDirectory() as folder, training_timed(device) as trained:
        whole = machine.timed(device, lambda: sweep(runs, str(device), 1, Store(Path(folder), device.type)))
    return sum(trained), whole


@contextmanager
def training_timed(device: torch.device) -> Iterator[list[float]]:
    """Seconds of each batch that sweeps of this process train within the block."""
    found, train = [], sweeps.train_batch

    def timed(*given: object) -> object:
        start = machine.clock(device)
        histories = train(*given)
        found.append(machine.clock(device) - start)
        return histories

    sweeps.train_batch = timed
    try:
        yield found
    finally:
        sweeps.train_batch = train


def device_called(name: str) -> torch.device:
    return pick_device(name)
