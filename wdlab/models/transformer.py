"""An encoder-decoder transformer, many members at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wdlab.models.members import MemberModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int

PAD, START, END = 0, 1, 2
"""Tokens of every vocabulary: what fills a short sentence up, what the decoder reads first, what ends a sentence."""

HEADS = 4
LN_EPS = 1e-5  # torch's default


class Transformer(MemberModel):
    """Encoder-decoder transformer (Vaswani et al. 2017) with `depth` layers on each side, for sentences of tokens.

    Every sublayer reads its input normalized and adds to it (pre-norm), and both stacks end with a normalization. The
    hidden layer of a feed-forward part is twice as wide as the rest, positions are sines, and the target's embedding
    is also the output layer.

    Shapes: source [member, batch, token], target [member, batch, position] -> logits [member, batch, position, word].
    A row holds a sentence, or several one after another, and then PAD. Each ends with END, the target's row has as many
    as the source's, and a token sees its own sentence alone (`sentences` says which that is). In training, `loss` sets
    the share `dropout` of the embeddings and of what sublayers add to zero, the same entries for every member, and
    mixes the share `smoothing` of even odds into the labels. The embeddings of `unread`, the source tokens that no
    training sentence holds, begin at zero.
    """

    def __init__(
        self,
        members: int,
        words: tuple[int, int],
        width: int,
        depth: int,
        dropout: float = 0.0,
        smoothing: float = 0.0,
        unread: Sequence[int] = (PAD, START),
    ) -> None:
        super().__init__()
        self.members, self.width, self.depth, self.heads = members, width, depth, HEADS
        self.dropout, self.smoothing, self.unread = dropout, smoothing, list(unread)
        self._seed, self._steps = 0, 0
        self._noise: torch.Generator | None = None
        self.embed_source = nn.Parameter(torch.zeros(members, words[0], width))
        self.embed_target = nn.Parameter(torch.zeros(members, words[1], width))
        for layer in range(depth):
            self._sublayer(f"encoder{layer}_self", 3 * width, width)
            self._sublayer(f"encoder{layer}_feed", 2 * width, 2 * width)
        self._norm("memory")
        self._linear("memory", width, 2 * width * depth)
        for layer in range(depth):
            self._sublayer(f"decoder{layer}_self", 3 * width, width)
            self._sublayer(f"decoder{layer}_cross", width, width)
            self._sublayer(f"decoder{layer}_feed", 2 * width, 2 * width)
        self._norm("output")

    @staticmethod
    def of(networks: Sequence[Mapping[str, Tensor]]) -> Transformer:
        """Return trained networks of one shape, each its parameters by name, as members of one model."""
        first = networks[0]
        words = len(first["embed_source"]), len(first["embed_target"])
        depth = sum(name.startswith("weight_encoder") and name.endswith("self_in") for name in first)
        model = Transformer(len(networks), words, first["embed_source"].shape[1], depth)
        model.load_state_dict({name: torch.stack([net[name] for net in networks]) for name in first})
        return model.eval()

    def _sublayer(self, name: str, inner: int, outer: int) -> None:
        self._norm(name)
        self._linear(f"{name}_in", self.width, inner)
        self._linear(f"{name}_out", outer, self.width)

    def _norm(self, name: str) -> None:
        setattr(self, f"scale_{name}", nn.Parameter(torch.ones(self.members, self.width)))
        setattr(self, f"shift_{name}", nn.Parameter(torch.zeros(self.members, self.width)))

    def _linear(self, name: str, fan_in: int, fan_out: int) -> None:
        setattr(self, f"weight_{name}", nn.Parameter(torch.zeros(self.members, fan_in, fan_out)))
        setattr(self, f"bias_{name}", nn.Parameter(torch.zeros(self.members, fan_out)))

    def initialize(self, generators: Sequence[torch.Generator]) -> None:
        """Draw every member's parameters from its own generator, and what dropout needs from the first.

        Linear maps are as `MemberModel` draws them, with biases of 0; embeddings are normal with variance 1/width.
        """
        super().initialize(generators)
        self._seed = int(torch.randint(2**62, (), generator=generators[0]))

    def go_on_from(self, other: Self, of: Sequence[int]) -> None:
        """Take the state of `other`, member k that of its member of[k], and go on with the noise that dropout draws."""
        super().go_on_from(other, of)
        self._seed, self._steps = other._seed, other._steps

    def _draw(self, name: str, parameter: nn.Parameter, generators: Sequence[torch.Generator]) -> None:
        if name.startswith("bias"):
            parameter.fill_(0.0)
        elif name.startswith("embed"):
            for values, generator in zip(parameter, generators, strict=True):
                drawn = torch.randn(values.shape, generator=generator, dtype=torch.float32)
                values.copy_(drawn / math.sqrt(self.width))
            # What is never read never has a gradient. At zero it stays; elsewhere adaptive decay, which divides by the
            # root of its second moment, would blow it up. PAD of the target begins there too, though as an output it
            # learns.
            parameter[:, self.unread if name == "embed_source" else [PAD]] = 0.0
        else:
            super()._draw(name, parameter, generators)

    def fan_in(self, name: str) -> int:
        """Return how many inputs one output of the layer of parameter `name` sums over."""
        return self.get_parameter(name).shape[1]

    def forward(  # type: ignore[override]
        self, source: Int[Tensor, "member batch token"], target: Int[Tensor, "member batch position"]
    ) -> Float[Tensor, "member batch position word"]:
        """Return the logits of each next word, given the true words before it (teacher forcing)."""
        number, place = sentences(target)
        before = F.pad(target[..., :-1], (1, 0)).masked_fill(place == 0, START)
        return self.decode(before, *self.encode(source), number, place)

    def encode(self, source: Int[Tensor, "member batch token"]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return what the decoder reads of the source: each layer's keys and values, and each token's sentence."""
        number, place = sentences(source)
        hidden = self._mask(number, number)
        x = self._embed(self.embed_source, source, place)
        for layer in range(self.depth):
            name = f"encoder{layer}_self"
            qkv = self._heads(self._read(x, name, f"{name}_in"), 3, source)
            x = self._attend(x, name, hidden, *qkv)
            x = self._feed(x, f"encoder{layer}_feed")
        return torch.split(self._heads(self._read(x, "memory", "memory"), 2 * self.depth, source), 2), number

    def decode(
        self,
        before: Int[Tensor, "member batch position"],
        memory: tuple[Tensor, ...],
        of_source: Int[Tensor, "member batch token"],
        number: Int[Tensor, "member batch position"] | None = None,
        place: Int[Tensor, "member batch position"] | None = None,
        last: bool = False,
    ) -> Float[Tensor, "member batch position word"]:
        """Return the logits of the word after each position, given the words `before` and up to it and the source.

        `memory` and `of_source` are what `encode` returns; `number` and `place` of the words before, where a row holds
        more than one sentence, are those of `sentences`. With `last` only the logits after the last position:
        [member, batch, 1, word].
        """
        length = before.shape[-1]
        number = torch.zeros_like(before) if number is None else number
        place = torch.arange(length, device=before.device).expand_as(before) if place is None else place
        future, hidden = self._mask(number, number, causal=True), self._mask(of_source, number)
        x = self._embed(self.embed_target, before, place)
        for layer in range(self.depth):
            name = f"decoder{layer}_self"
            x = self._attend(x, name, future, *self._heads(self._read(x, name, f"{name}_in"), 3, before))
            name = f"decoder{layer}_cross"
            q = self._heads(self._read(x, name, f"{name}_in"), 1, before)
            x = self._attend(x, name, hidden, *q, *memory[layer])
            x = self._feed(x, f"decoder{layer}_feed")
        if last:
            x = x.view(self.members, -1, length, self.width)[:, :, -1]
        words = self._linear_of_norm(x, "output", self.embed_target.mT)
        return words.view(*before.shape[:2], -1, words.shape[-1])

    def loss(
        self, inputs: Int[Tensor, "member batch token"], labels: Int[Tensor, "member batch position"]
    ) -> Float[Tensor, " member"]:
        """Return each member's mean loss over the real words of its batch, in nats a word."""
        if self.training and self.dropout:  # a generator a step, so that a fork goes on with the same noise
            self._steps += 1
            self._noise = torch.Generator(inputs.device).manual_seed(self._seed + self._steps)
        words, self._noise = self(inputs, labels).flatten(0, 2), None
        smoothing = self.smoothing if self.training else 0.0
        losses = F.cross_entropy(words, labels.flatten(), ignore_index=PAD, reduction="none", label_smoothing=smoothing)
        return losses.view(self.members, -1).sum(1) / (labels != PAD).sum((1, 2))

    # The parts of a layer

    def _embed(self, table: Tensor, tokens: Tensor, place: Tensor) -> Float[Tensor, "member row width"]:
        offset = torch.arange(self.members, device=tokens.device).view(-1, 1, 1) * table.shape[1]
        rows = F.embedding(tokens + offset, (table * math.sqrt(self.width)).flatten(0, 1))
        rows.add_(F.embedding(place, positions(tokens.shape[-1], self.width, rows.dtype, rows.device)))
        return self._drop(rows.flatten(1, 2))

    def _mask(self, read: Tensor, by: Tensor, causal: bool = False) -> Float[Tensor, "sentence*head key query"]:
        """What hides other sentences, and with `causal` later words, when added to scores.

        It is so far below 0 that no softmax sees it, yet finite, for a row of only PAD.
        """
        hidden = read.flatten(0, 1).unsqueeze(2) != by.flatten(0, 1).unsqueeze(1)
        if causal:
            hidden |= torch.ones(hidden.shape[1:], dtype=torch.bool, device=hidden.device).tril(-1)
        mask = torch.zeros(hidden.shape, dtype=self.embed_source.dtype, device=hidden.device)
        return mask.masked_fill_(hidden, torch.finfo(mask.dtype).min / 2).repeat_interleave(self.heads, 0)

    def _heads(self, x: Tensor, parts: int, tokens: Tensor) -> Float[Tensor, "part sentence*head token feature"]:
        members, batch, length = tokens.shape
        heads = x.view(members * batch, length, parts, self.heads, -1).permute(2, 0, 3, 1, 4)
        return heads.reshape(parts, members * batch * self.heads, length, -1)

    def _attend(self, x: Tensor, name: str, mask: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        y = attention(q, k, v, mask).view(-1, self.heads, *q.shape[1:])
        return self._write(x, y.transpose(1, 2).reshape(x.shape), name)

    def _feed(self, x: Tensor, name: str) -> Tensor:
        return self._write(x, self._read(x, name, f"{name}_in").relu_(), name)

    def _read(self, x: Tensor, norm: str, linear: str) -> Tensor:
        return self._linear_of_norm(x, norm, self.get_parameter(f"weight_{linear}"), self._row(f"bias_{linear}"))

    def _linear_of_norm(self, x: Tensor, norm: str, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """LayerNorm(x) weight + bias, the normalization's own scale and shift worked into the two: fewer passes."""
        shift = torch.bmm(self._row(f"shift_{norm}"), weight)
        normal = F.layer_norm(x, (self.width,), x.new_ones(self.width), eps=LN_EPS)  # without weights it is slower
        scale = self.get_parameter(f"scale_{norm}").unsqueeze(-1)
        return torch.baddbmm(shift if bias is None else shift + bias, normal, weight * scale)

    def _write(self, x: Tensor, y: Tensor, name: str) -> Tensor:
        written = torch.baddbmm(self._row(f"bias_{name}_out"), y, self.get_parameter(f"weight_{name}_out"))
        return self._drop(written).add_(x)

    def _drop(self, x: Tensor) -> Tensor:
        if self._noise is None:
            return x
        drawn = torch.rand(x.shape[1:], generator=self._noise, device=x.device)
        return x * ((drawn >= self.dropout).to(x.dtype) / (1 - self.dropout))

    def _row(self, name: str) -> Float[Tensor, "member 1 feature"]:
        return self.get_parameter(name).unsqueeze(1)


def attention(
    q: Float[Tensor, "sentence query feature"],
    k: Float[Tensor, "sentence key feature"],
    v: Float[Tensor, "sentence key feature"],
    mask: Float[Tensor, "#sentence key #query"],
) -> Float[Tensor, "sentence query feature"]:
    """Return softmax(q k' / sqrt(feature) + mask) v (Vaswani et al. 2017).

    Scores are laid out [sentence, key, query]: torch's softmax along the last axis, and its fused attention, are made
    for rows of hundreds; along an inner axis a dozen scores take a quarter of the time.
    """
    scores = torch.baddbmm(mask, k, (q * q.shape[-1] ** -0.5).mT)
    return torch.bmm(scores.softmax(1).mT, v)


def sentences(tokens: Int[Tensor, "*row token"]) -> tuple[Int[Tensor, "*row token"], Int[Tensor, "*row token"]]:
    """Return of each token which sentence of its row it belongs to, and its place in there; both count from 0.

    A sentence goes on up to END, so the PAD after the last one are a sentence of their own.
    """
    first = F.pad(tokens[..., :-1] == END, (1, 0))
    places = torch.arange(tokens.shape[-1], device=tokens.device)
    return first.cumsum(-1), places - (places * first).cummax(-1).values


@lru_cache(maxsize=64)
def positions(length: int, width: int, like: torch.dtype, device: torch.device) -> Float[Tensor, "position width"]:
    """Return the sines and cosines that tell positions apart (Vaswani et al. 2017); shared by all who ask."""
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10_000) / width))
    angle = torch.arange(length).unsqueeze(1) * rate
    return torch.cat([angle.sin(), angle.cos()], 1).to(device, like)
