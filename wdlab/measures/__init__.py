"""What can be read off a network and its training: norms and effective updates."""

from wdlab.measures.dynamics import effective_lr
from wdlab.measures.norms import squared_norm, weight_norm

__all__ = ["effective_lr", "squared_norm", "weight_norm"]
