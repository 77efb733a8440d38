"""Members that copy their norm or their effective learning rate from another member, tensor by tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wdlab.measures import squared_norm
from wdlab.run import Run

if TYPE_CHECKING:
    from jaxtyping import Float

    from wdlab.models import MemberModel


class Matching:
    """Who copies what from whom among `members` (see `wdlab.run.Match`), for scale-invariant tensors only.

    Every leader must be among the members. A member that copies nothing is its own leader, and every factor of its
    own is exactly 1.
    """

    def __init__(self, members: Sequence[Run], model: MemberModel, names: Sequence[str], device: torch.device) -> None:
        self.names = model.scale_invariant
        self.copies_norm = any(run.match.norm is not None for run in members)
        self.copies_lr = any(run.match.effective_lr is not None for run in members)
        self.power = 2 if members[0].optimizer.name == "sgd" else 1
        by_run = {run: number for number, run in enumerate(members)}

        def index(leaders: Sequence[Run]) -> Tensor:
            return torch.tensor([by_run[leader] for leader in leaders], device=device)

        self._norm_leader = index([_leader(run, "norm") for run in members])
        self._lr_leader = index([_leader(run, "effective_lr") for run in members])
        self._keeps_start = torch.tensor([run.match.norm == "start" for run in members], device=device)
        self._start = self._norms(model)
        # Where each weight of the flat buffer finds its tensor's factor; the last row is for weights that have none.
        rows = {name: row for row, name in enumerate(self.names)}
        parameters = dict(model.named_parameters())
        places = [torch.full((parameters[n][0].numel(),), rows.get(n, len(rows)), device=device) for n in names]
        self._row_of_weight = torch.cat(places)

    def lr_factors(self, model: MemberModel) -> Float[Tensor, "tensor member"]:
        """Return by what each tensor's lr is multiplied: (||W|| / ||W'||)^2 for SGD, ||W|| / ||W'|| for Adam."""
        norms = self._norms(model)
        return (norms / norms[:, self._lr_leader]) ** self.power

    def spread(self, factors: Float[Tensor, "tensor member"]) -> Float[Tensor, "member weight"]:
        """Return the factors laid out as the flat buffer of weights is, 1 for weights that nobody matches."""
        with_one = torch.cat([factors, torch.ones_like(factors[:1])])
        return with_one.T[:, self._row_of_weight]

    def rescale_(self, model: MemberModel, still: Tensor) -> None:
        """Give every tensor of every member that copies a norm the norm of its leader; members `still` stay."""
        norms = self._norms(model)
        wanted = torch.where(self._keeps_start, self._start, norms[:, self._norm_leader])
        factors = (wanted / norms).masked_fill(still, 1.0)
        with torch.no_grad():
            for name, factor in zip(self.names, factors, strict=True):
                tensor = model.get_parameter(name)
                tensor.mul_(factor.view(-1, *[1] * (tensor.ndim - 1)))

    def _norms(self, model: MemberModel) -> Float[Tensor, "tensor member"]:
        with torch.no_grad():
            return torch.stack([squared_norm(model.get_parameter(name)) for name in self.names]).sqrt()


def _leader(run: Run, what: str) -> Run:
    """The run from which `run` copies its "norm" or its "effective_lr", or the run itself."""
    decay = getattr(run.match, what)
    return run if decay is None or decay == "start" else run.following(decay)
