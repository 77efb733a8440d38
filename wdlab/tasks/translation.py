"""Translation of German number words into English: data, model, loss, exact match and BLEU, member by member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from wdlab import data
from wdlab.checks import whole
from wdlab.data.number_words import ENGLISH, GERMAN
from wdlab.models import MemberModel, Transformer
from wdlab.models.transformer import PAD
from wdlab.tasks.decoding import evaluating, greedy, likeliest
from wdlab.tasks.task import Order, Task, only

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from wdlab.run import Model

EVALUATION_BATCH = 100  # sentences a member is tested on at a time: little memory, and it stays in the caches
ROW = 16  # tokens of a row of a training batch: two or three sentences
TOGETHER = 4  # nets that decode side by side, few enough to stay in the caches
LONGEST = 16  # words after which an answer is cut off; the English for a number below a million has 11 at most
MOST_PARTS = 40  # of a sentence to translate; a real one has 11 at most


@dataclass(frozen=True)
class Translation(Task):
    """German number words below a million into English: `train_size` pairs drawn by the run's seed, `test_size` fixed.

    Words are cut into the words that their compounds are made of, see `wdlab.data.number_words`; the test pairs are
    never trained on, and the same for every seed. `epochs` passes are how long a run takes by default.
    """

    name: str = "translation"
    train_size: int = 300
    test_size: int = 500
    batch_size: int = 50
    epochs: int = 50

    def __post_init__(self) -> None:
        for name in ("train_size", "test_size", "batch_size", "epochs"):
            whole(name, getattr(self, name), 1)
        whole("batch_size", self.batch_size, 1, self.train_size)

    @property
    def epoch(self) -> int:
        """Steps in one pass over the training set; what is left over after whole batches waits for the next pass."""
        return self.train_size // self.batch_size

    @property
    def steps(self) -> int:
        """Steps of a run of the task's own length."""
        return self.epochs * self.epoch

    @property
    def wrong(self) -> str:
        """What `test_error` is the share of."""
        return "sentences with a wrong word"

    @property
    def packages(self) -> tuple[str, ...]:
        """What spells the numbers."""
        return ("num2words",)

    def check(self, model: Model) -> None:
        """Raise ValueError for a model that does not translate."""
        only(self, model, ("transformer",))

    def settings(self) -> dict[str, object]:
        """Return what a table says of this task."""
        return {"task": self.name, "train_size": self.train_size}

    def arrays(self) -> data.Pairs:
        """Return the test pairs and then all that training sets are drawn from, shared by all who ask.

        Raises ValueError when there are too few for this task.
        """
        found = _number_words()
        spare = len(found) - self.test_size
        if self.train_size > spare:
            raise ValueError(
                f"train_size={self.train_size} is not allowed; there are {len(found)} pairs, and test_size="
                f"{self.test_size} leaves {spare}."
            )
        return found

    def build(self, model: Model, members: int) -> Transformer:
        """Return the untrained `model` for `members` members, sized for German and English."""
        return Transformer(members, (len(GERMAN.tokens), len(ENGLISH.tokens)), model.width, model.depth)

    def batches(self, seeds: Sequence[int], examples: int, device: torch.device | str = "cpu") -> Packed:
        """Return the training batches of several seeds in step, several sentences to a row."""
        return Packed(self, seeds, examples, device)

    def evaluate(
        self, model: MemberModel, inputs: Int[Tensor, "example token"], labels: Int[Tensor, "example position"]
    ) -> dict[str, Float[Tensor, " member"]]:
        """Return each member's test loss (nats a word) and test error (share of sentences not translated exactly)."""
        return evaluate(
            model, list(zip(*(torch.split(tokens, EVALUATION_BATCH) for tokens in (inputs, labels)), strict=True))
        )


class Packed(Order):
    """Batches of pairs of which several share a row of ROW tokens: a quarter less to compute, and the same losses.

    Pairs that share a row of German share that row of English, in the same order: see `wdlab.models.Transformer`.
    """

    def __init__(
        self, task: Translation, seeds: Sequence[int], examples: int, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__(task, task.batch_size, seeds, examples, device)
        pairs = task.arrays()
        self.places = list(zip(*(_places(tokens) for tokens in (pairs.inputs, pairs.labels)), strict=True))
        self.rows: list[Tensor] = []

    def _shuffle(self) -> None:
        super()._shuffle()
        self.rows = [self._rows(batch) for batch in torch.split(self.order, self.batch_size, 1)]

    def _rows(self, batch: Int[Tensor, "seed batch"]) -> Int[Tensor, "seed row side place"]:
        """Where each token of the packed batch lies in the task's arrays, counted through; -1 where there is none."""
        packed = [pack([self.places[example] for example in examples], ROW) for examples in batch.tolist()]
        count = max(map(len, packed))
        full = [rows + [([], [])] * (count - len(rows)) for rows in packed]
        padded = [[[side + [-1] * (ROW - len(side)) for side in row] for row in rows] for rows in full]
        return torch.tensor(padded, device=self.device)

    def take(self, step: int, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return batch `step` of every seed [seed, row, place], from inputs [example, token] and all seeds' labels."""
        self.indices(step)
        places = self.rows[step % self.drawn_from.epoch].unbind(2)
        source, target = (
            tokens.flatten()[at.clamp(min=0)].masked_fill(at < 0, PAD)
            for tokens, at in zip((inputs, labels[0]), places, strict=True)
        )
        return source, target


def _places(tokens: Int[Tensor, "example token"]) -> list[range]:
    """Where the tokens of each example lie, all tokens counted through."""
    width, lengths = tokens.shape[1], (tokens != PAD).sum(1).tolist()
    return [range(example * width, example * width + length) for example, length in enumerate(lengths)]


def pack(pairs: Sequence[tuple[Sequence[int], Sequence[int]]], length: int) -> list[tuple[list[int], list[int]]]:
    """Return `pairs` of sentences in rows of at most `length` on either side: first fit, the longest first."""
    rows: list[tuple[list[int], list[int]]] = []
    for source, target in sorted(pairs, key=lambda pair: -max(map(len, pair))):
        with_room = (row for row in rows if max(len(row[0]) + len(source), len(row[1]) + len(target)) <= length)
        row = next(with_room, None)
        if row is None:
            row = ([], [])
            rows.append(row)
        row[0].extend(source)
        row[1].extend(target)
    return rows


@lru_cache(maxsize=1)
def _number_words() -> data.Pairs:
    return data.number_words()


@torch.no_grad()
def evaluate(model: MemberModel, parts: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Float[Tensor, " member"]]:
    """Return each member's mean test loss (nats a word, END included) and test error, in evaluation mode.

    `parts` are the test pairs, some at a time: sources [example, token] and targets [example, position]. The error is
    the share of sentences that greedy decoding does not give word for word. No decoding is needed to know: as long as
    it was right, what it reads is the true sentence, so it is right to the end exactly when, given the true words
    before each, the most likely word is the true one.
    """
    with evaluating(model):
        read = zip(*(_read_off(model, *part) for part in parts), strict=True)
        loss, right = (torch.stack(sums).sum(0) for sums in read)
    words, sentences = sum((labels != PAD).sum() for _, labels in parts), sum(len(labels) for _, labels in parts)
    return {"test_loss": loss / words, "test_error": 1 - right / sentences}


def _read_off(model: MemberModel, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of losses over all words, and the number of sentences that are right, of each member."""
    source, target = (tokens.expand(model.members, *tokens.shape) for tokens in (inputs, labels))
    words: Tensor = model(source, target)
    losses = F.cross_entropy(words.flatten(0, 2), target.flatten(), ignore_index=PAD, reduction="none")
    return losses.view(model.members, -1).sum(1), _exact(words, target).sum(1).to(losses.dtype)


def translate(networks: Sequence[Mapping[str, Tensor]], text: str) -> list[str]:
    """Return what each of the networks (`History.network`) makes of a German number in words.

    It may be any, seen in training or not. Raises ValueError for an empty text, for one that is no German number words,
    and for one of more than 40 parts.
    """
    parts = GERMAN.segment(text)
    if len(parts) > MOST_PARTS:
        raise ValueError(
            f"text={text!r:.80} has {len(parts)} parts; give a number below a million, {MOST_PARTS} at most."
        )
    source = torch.tensor([GERMAN.encode(parts)])
    return [answer for (answer,) in answers(networks, source)]


def answers(networks: Sequence[Mapping[str, Tensor]], source: Int[Tensor, "example token"]) -> list[list[str]]:
    """Return each network's greedy translation of every sentence, written out: [network][example]."""
    found: list[list[str]] = []
    for start in range(0, len(networks), TOGETHER):
        model = Transformer.of(networks[start : start + TOGETHER])
        parts = [
            greedy(model, part.expand(model.members, *part.shape), LONGEST).tolist()
            for part in torch.split(source, EVALUATION_BATCH)
        ]
        found += [[ENGLISH.decode(s) for sentences in member for s in sentences] for member in zip(*parts, strict=True)]
    return found


def bleu(networks: Sequence[Mapping[str, Tensor]], task: Translation) -> list[float]:
    """Return each network's corpus BLEU (0 to 100) on the test pairs of `task`, decoded greedily.

    Only sentences that are not right are decoded, word for word, for decoding takes longer than telling which are. The
    source: Papineni et al. (2002), as sacrebleu computes it by default (Post 2018), on the text as it is written.
    """
    pairs = task.arrays()
    inputs, labels = pairs.inputs[: task.test_size], pairs.labels[: task.test_size]
    references = [ENGLISH.decode(sentence) for sentence in labels.tolist()]
    scores = []
    for network in networks:
        wrong = (~_right(Transformer.of([network]), inputs, labels)).nonzero().flatten()
        said = dict(zip(wrong.tolist(), answers([network], inputs[wrong])[0], strict=True)) if len(wrong) else {}
        scores.append(corpus_bleu([said.get(place, true) for place, true in enumerate(references)], references))
    return scores


@torch.no_grad()
def _right(model: Transformer, inputs: Tensor, labels: Tensor) -> Bool[Tensor, " example"]:
    """Which sentences the one member of `model` translates word for word."""
    halves = (torch.split(tokens.unsqueeze(0), EVALUATION_BATCH, 1) for tokens in (inputs, labels))
    return torch.cat([_exact(model(source, target), target)[0] for source, target in zip(*halves, strict=True)])


def _exact(words: Float[Tensor, "member batch position word"], target: Tensor) -> Bool[Tensor, "member batch"]:
    return ((likeliest(words) == target) | (target == PAD)).all(-1)


def corpus_bleu(sentences: Sequence[str], references: Sequence[str], tokenize: str = "13a") -> float:
    """Return sacrebleu's BLEU of `sentences` against one reference each; "13a" is how it splits words by default."""
    import sacrebleu  # here, for its import takes longer than most need

    return float(sacrebleu.corpus_bleu(list(sentences), [list(references)], tokenize=tokenize, force=True).score)


TRANSLATIONS: dict[str, Translation] = {"translation": Translation()}
