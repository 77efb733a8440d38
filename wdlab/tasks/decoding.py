"""From a trained transformer to sentences: greedy decoding and beam search, for all members side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wdlab.checks import number, whole
from wdlab.models import MemberModel, Transformer
from wdlab.models.transformer import END, PAD, START

if TYPE_CHECKING:
    from jaxtyping import Float, Int


UNSAID = (PAD, START)  # the first tokens, never part of an answer


def likeliest(words: Float[Tensor, "*any word"]) -> Int[Tensor, "*any"]:
    """Return the most likely word that may be said: any but PAD and START, which stand in no answer."""
    return words[..., len(UNSAID) :].argmax(-1) + len(UNSAID)


@torch.no_grad()
def greedy(
    model: Transformer, source: Int[Tensor, "member batch token"], longest: int
) -> Int[Tensor, "member batch position"]:
    """Return each member's translation, always taking the most likely next word: up to `longest` tokens, END and PAD.

    PAD and START are never taken, however likely: an untrained net, whose output layer is its embedding, says START.
    All sentences of all members go on side by side, until the last of them has ended.
    """
    with evaluating(model):
        memory = model.encode(source)
        found = source.new_full((*source.shape[:2], 1), START)
        ended = torch.zeros(source.shape[:2], dtype=torch.bool, device=source.device)
        while found.shape[-1] <= longest and not ended.all():
            word = likeliest(model.decode(found, *memory, last=True)[:, :, 0]).masked_fill(ended, PAD)
            found = torch.cat([found, word.unsqueeze(-1)], -1)
            ended |= word == END
    return found[..., 1:]


@torch.no_grad()
def beam_search(
    model: Transformer,
    source: Int[Tensor, "member batch token"],
    longest: int,
    beams: int = 5,
    length_penalty: float = 1.0,
) -> Int[Tensor, "member batch position"]:
    """Return each member's best translation among those that `beams` partial ones at a time lead to.

    At every word the `beams` sentences of largest log-probability go on, ended ones among them; in the end the largest
    log-probability / length^length_penalty wins, the length counting END. Without a penalty and with as many beams as
    there are sentences it is an exhaustive search; with one beam, greedy decoding. Raises ValueError for beams < 1.
    """
    whole("beams", beams, 1)
    number("length_penalty", length_penalty, 0)
    members, batch = source.shape[:2]
    with evaluating(model):
        memory = model.encode(source.repeat_interleave(beams, 1))
        found = source.new_full((members, batch, beams, 1), START)
        score = torch.full((members, batch, beams), -math.inf, device=source.device)
        score[..., 0] = 0.0  # all begin alike, so only one of them may branch
        while found.shape[-1] <= longest and not _ended(found).all():
            logits = model.decode(found.flatten(1, 2), *memory, last=True).view(members, batch, beams, -1)
            score, found = _extend(score, found, logits.log_softmax(-1).to(score.dtype))
    length = (found[..., 1:] != PAD).sum(-1).clamp(min=1)
    best = (score / length**length_penalty).argmax(-1)
    chosen = best[..., None, None].expand(-1, -1, 1, found.shape[-1])
    return found.gather(2, chosen).squeeze(2)[..., 1:]


def _extend(
    score: Float[Tensor, "member batch beam"],
    found: Int[Tensor, "member batch beam position"],
    words: Float[Tensor, "member batch beam word"],
) -> tuple[Tensor, Tensor]:
    """The best continuations by one word of all beams of a sentence; an ended one goes on with PAD at no cost."""
    beams, ended = score.shape[-1], _ended(found).unsqueeze(-1)
    words[..., : len(UNSAID)] = -math.inf
    stays = torch.full_like(words[:1, :1, :1], -math.inf)
    stays[..., PAD] = 0.0
    total = score.unsqueeze(-1) + torch.where(ended, stays, words)
    score, place = total.flatten(2).topk(beams)
    beam, word = place // words.shape[-1], place % words.shape[-1]
    kept = found.gather(2, beam.unsqueeze(-1).expand(-1, -1, -1, found.shape[-1]))
    return score, torch.cat([kept, word.unsqueeze(-1)], -1)


def _ended(found: Tensor) -> Tensor:
    return (found == END).any(-1)


@contextmanager
def evaluating(model: MemberModel) -> Iterator[None]:
    """Hold `model` in evaluation mode, and give it back in the mode it was in."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
