"""The machine: its clock, its memory, its best rate of products, what it is."""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import joblib
import torch

TICKS = 3  # hundredths of a second of work that make a process one of those that worked


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
    """What a piece of work took: seconds by the clock, seconds of this process, the peak of memory in MB."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float | None = None


@contextmanager
def spending(device: torch.device) -> Iterator[Spent]:
    """Measure what is done within the block; on a GPU its memory, else the sum over the processes that worked."""
    spent, before = Spent(), _reset_peaks(device)
    began, cpu = clock(device), time.process_time()
    yield spent
    spent.seconds, spent.cpu_seconds = clock(device) - began, time.process_time() - cpu
    spent.peak_mb = _peak(device, before)


def _reset_peaks(device: torch.device) -> dict[Path, int]:
    """Forget the peaks so far; the ticks that every process here has worked."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    found = {folder: _ticks(folder) for folder in _family()}
    for folder in found:
        with suppress(OSError):  # not on this system, or not allowed: peaks are then those since the start
            (folder / "clear_refs").write_text("5")
    return found


def _peak(device: torch.device, before: dict[Path, int]) -> float | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    own, *others = _family() or [Path()]
    worked = [own, *(folder for folder in others if _ticks(folder) - before.get(folder, 0) >= TICKS)]
    peaks = [_status(folder).get("VmHWM") for folder in worked]
    return sum(int(peak.split()[0]) for peak in peaks if peak) / 1e3 if peaks[0] else None


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


def _ticks(folder: Path) -> int:
    try:
        user, system = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
    except OSError:
        return 0
    return int(user) + int(system)


def sgemm(device: torch.device, size: int = 1536) -> float:
    """The best rate of a square float32 matrix product seen here with all cores, in GF/s."""
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
