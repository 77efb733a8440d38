"""What can be trained: data, model, loss and metrics in one value."""

from wdlab.tasks.vision import TASKS, Batches, Vision, evaluate, generator

__all__ = ["TASKS", "Batches", "Vision", "evaluate", "generator"]
