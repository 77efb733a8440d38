"""The machine: its clock, its memory, its best rate of products, what it is."""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import joblib
import torch


def cores() -> int:
    """How many this process may use."""
    return int(joblib.cpu_count())


def clock(device: torch.device) -> float:
    """Seconds now, once the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@dataclass
class Spent:
    """What a piece of work took: seconds by the clock."""

    seconds: float = 0.0


@contextmanager
def spending(device: torch.device) -> Iterator[Spent]:
    """Measure what is done within the block."""
    spent, began = Spent(), clock(device)
    yield spent
    spent.seconds = clock(device) - began


def peak(device: torch.device) -> float | None:
    """The peak of memory in MB since this process began, with those that came from it; on a GPU of its memory.

    None where nobody tells: on a GPU when other processes did the work, and on systems other than Linux.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6 or None
    found = [_status(folder).get("VmHWM") for folder in _family()]
    return sum(int(one.split()[0]) for one in found if one) / 1e3 or None


def _family() -> list[Path]:
    """This process and all that come from it, as folders of Linux's /proc; none on another system."""
    own = Path("/proc/self")
    if not own.exists():
        return []
    parents = {folder.name: _status(folder).get("PPid") for folder in Path("/proc").glob("[0-9]*")}
    found = [own.resolve().name]
    for name in found:  # which grows while we go
        found += [child for child, parent in parents.items() if parent == name]
    return [Path("/proc", name) for name in found]


def _status(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / "status").read_text().splitlines()
    except OSError:  # it has ended
        return {}
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def sgemm(device: torch.device, size: int = 1536) -> float:
    """The best rate of a square float32 matrix product seen here with all cores, in GF/s."""
    size = size if device.type == "cpu" else 4 * size  # a GPU is done with a small one before it is asked again
    before = torch.get_num_threads()
    torch.set_num_threads(cores())
    a = torch.randn(size, size, device=device)
    best = min(timed(device, lambda: a @ a) for _ in range(20))
    torch.set_num_threads(before)
    return 2 * size**3 / best / 1e9


def timed(device: torch.device, work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    start = clock(device)
    work()
    return clock(device) - start


def command(*words: str, repeats: int = 5) -> dict[str, float]:
    """Seconds that Python takes with these words on its command line, from start to end."""
    cpu = torch.device("cpu")
    calls = [lambda: subprocess.run([sys.executable, *words], check=True, capture_output=True)] * (repeats + 1)
    _, *seconds = [timed(cpu, call) for call in calls]  # the first warms the disk's cache
    return {"n": repeats, "median_s": statistics.median(seconds), "low_s": min(seconds), "high_s": max(seconds)}


def described(device: torch.device) -> dict[str, object]:
    """What a reader needs to know of this machine."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    versions = {package: version(package) for package in ("wdlab", "torch", "numpy", "joblib")}
    return {"device": device.type, "name": name, "cores": cores(), "python": platform.python_version(), **versions}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
