"""wdlab: see, step by step, what weight decay does. Two dials: WHEN it acts, and HOW it is coupled to the optimizer."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wdlab import claims, exercises, figures, lab, optim
    from wdlab.decay import COUPLINGS, Coupling, Decay, Timing
    from wdlab.run import Match, Model, Optimizer, Run, Schedule
    from wdlab.sweeps import Results, sweep
    from wdlab.tasks import TASKS, Vision
    from wdlab.train import History, Training

__version__ = "0.1.0"

# Names are loaded when first used: torch takes a second to import, and `wdlab --help` needs none of it.
_HOMES = {
    "COUPLINGS": "decay",
    "Coupling": "decay",
    "Decay": "decay",
    "Timing": "decay",
    "Match": "run",
    "Model": "run",
    "Optimizer": "run",
    "Run": "run",
    "Schedule": "run",
    "Results": "sweeps",
    "sweep": "sweeps",
    "TASKS": "tasks",
    "Vision": "tasks",
    "History": "train",
    "Training": "train",
}
_ROOMS = ("claims", "exercises", "figures", "lab", "optim")

__all__ = [
    "COUPLINGS",
    "TASKS",
    "Coupling",
    "Decay",
    "History",
    "Match",
    "Model",
    "Optimizer",
    "Results",
    "Run",
    "Schedule",
    "Timing",
    "Training",
    "Vision",
    "claims",
    "exercises",
    "figures",
    "lab",
    "optim",
    "sweep",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"wdlab.{_HOMES[name]}"), name)
    if name in _ROOMS:
        return import_module(f"wdlab.{name}")
    raise AttributeError(f"module 'wdlab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
