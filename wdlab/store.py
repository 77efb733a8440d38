"""Results kept by the hash of what was asked: whole or absent, checked, never pickled."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from wdlab.data import DamagedFileError, cache_dir, read_tensors, write_tensors
from wdlab.decay import Decay, Timing
from wdlab.run import Match, Run
from wdlab.train import CURVES, History

logger = logging.getLogger(__name__)

NUMERICS = ("decay", "models", "data", "tasks", "measures", "run.py", "matching.py", "branches.py", "train.py")
NETWORK = "network/"
"""What the name of a network's tensor begins with in a file, where it stands beside the curves."""


@cache
def source_digest() -> str:
    """Return a hash of the source that decides what a run's numbers are, so that no result outlives its code."""
    digest = hashlib.sha256()
    package = Path(str(files("wdlab")))
    for name in NUMERICS:
        found = package / name
        for path in [found] if found.is_file() else sorted(found.rglob("*.py")):
            digest.update(path.relative_to(package).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def _version(package: str) -> str:
    """Asked once: reading what is installed took a third of a sweep of short runs."""
    return version(package)


def describe(run: Run) -> dict[str, Any]:
    """Return `run` as JSON has it, all that fixes its numbers; a timing is described by the multipliers it gives.

    Two timings with equal tables are equal decay, whatever they are called.
    """
    told = asdict(replace(run, decay=Decay(), match=Match()))
    told["decay"] = _describe_decay(run.decay, run.steps)
    for what in ("norm", "effective_lr"):
        leader = getattr(run.match, what)
        told["match"][what] = _describe_decay(leader, run.steps) if isinstance(leader, Decay) else leader
    as_json: dict[str, Any] = json.loads(json.dumps(told, default=float))
    return as_json


def _describe_decay(decay: Decay, steps: int) -> dict[str, Any]:
    told = asdict(replace(decay, timing=Timing.always()))
    told["timing"] = hashlib.sha256(decay.timing.table(steps).numpy().tobytes()).hexdigest()
    return told


@dataclass(frozen=True)
class Store:
    """A folder of finished runs, one file each, named by the hash of the run, the device kind and the source."""

    folder: Path
    device: str = "cpu"

    @staticmethod
    def default(device: str = "cpu") -> Store:
        """Return the store in wdlab's cache folder ($WDLAB_CACHE moves it)."""
        return Store(cache_dir() / "runs", device)

    def path(self, run: Run) -> Path:
        """Return where `run` is, or would be, kept."""
        made_by = {name: _version(name) for name in ("torch", "mnist1d", *run.task.packages)}
        told = {"run": describe(run), "device": self.device, "source": source_digest(), **made_by}
        key = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        return self.folder / key[:2] / f"{key}.safetensors"

    def get(self, run: Run, network: bool = False) -> History | None:
        """Return the history of `run`, or None when there is none, or none with the network that was asked for.

        A file that is damaged, holds another run or cannot be read is named in a warning and ignored.
        """
        path = self.path(run)
        try:
            tensors, meta = read_tensors(path)
        except FileNotFoundError:
            return None
        except (DamagedFileError, OSError) as error:
            logger.warning("%s The run is computed again.", error)
            return None
        if meta.get("run") != describe(run):
            logger.warning("%s is damaged (it holds another run). The run is computed again.", path)
            return None
        curves = {name: tuple(tensors[name].tolist()) for name in CURVES}
        net = {name.removeprefix(NETWORK): t for name, t in tensors.items() if name.startswith(NETWORK)}
        if network and not net:
            return None
        steps, kept = tuple(tensors["step"].tolist()), net if network else None
        return History(run, steps, curves, meta["diverged_at"], kept, meta["broken_at"])

    def put(self, history: History) -> None:
        """Keep `history`, replacing what was there; raises OSError when the disk says no."""
        tensors = {name: torch.tensor(curve, dtype=torch.float64) for name, curve in history.curves.items()}
        tensors["step"] = torch.tensor(history.steps)
        tensors |= {NETWORK + name: tensor for name, tensor in (history.network or {}).items()}
        meta = {
            "run": describe(history.run),
            "diverged_at": history.diverged_at,
            "broken_at": history.broken_at,
            "torch": torch.__version__,
        }
        write_tensors(self.path(history.run), tensors, meta)
