"""Networks as plain torch modules whose parameters have a leading member axis."""

from wdlab.models.members import MemberModel, cross_entropy, flatten
from wdlab.models.mlp import MLP
from wdlab.models.qnet import QMLP, QConv
from wdlab.models.resnet import ResNet
from wdlab.models.transformer import Transformer

__all__ = ["MLP", "QMLP", "MemberModel", "QConv", "ResNet", "Transformer", "cross_entropy", "flatten"]
