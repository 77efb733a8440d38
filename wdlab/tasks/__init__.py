"""What can be trained: data, model, loss and metrics in one value."""

from wdlab.checks import known
from wdlab.tasks.task import Task, generator
from wdlab.tasks.translation import TRANSLATIONS, Translation
from wdlab.tasks.vision import TASKS, Batches, Vision, evaluate, of_vision

__all__ = [
    "TASKS",
    "TRANSLATIONS",
    "Batches",
    "Task",
    "Translation",
    "Vision",
    "evaluate",
    "generator",
    "of_vision",
    "task",
]


def task(name: str) -> Task:
    """Return the task called `name`, of TASKS (vision) or TRANSLATIONS; raises ValueError when there is none."""
    everything: dict[str, Task] = {**TASKS, **TRANSLATIONS}
    return everything[known("task", name, everything)]
