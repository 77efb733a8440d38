"""What can be trained: data, model, loss and metrics in one value."""

from wdlab.checks import known
from wdlab.tasks.iwslt import IWSLT, Iwslt
from wdlab.tasks.rl import DQN, GAMES
from wdlab.tasks.task import Task, generator
from wdlab.tasks.translation import TRANSLATIONS, Translation, bleu, translate
from wdlab.tasks.vision import TASKS, Batches, Vision, evaluate, of_vision

__all__ = [
    "DQN",
    "GAMES",
    "IWSLT",
    "TASKS",
    "TRANSLATIONS",
    "Batches",
    "Iwslt",
    "Task",
    "Translation",
    "Vision",
    "bleu",
    "evaluate",
    "generator",
    "of_vision",
    "task",
    "translate",
]


def task(name: str) -> Task:
    """Return the task called `name`, of TASKS, TRANSLATIONS, IWSLT or GAMES; raises ValueError when there is none."""
    everything: dict[str, Task] = {**TASKS, **TRANSLATIONS, IWSLT.name: IWSLT, **GAMES}
    return everything[known("task", name, everything)]
