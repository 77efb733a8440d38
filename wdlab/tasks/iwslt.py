"""IWSLT'14 German to English at the paper's scale: batches by tokens, dropout, label smoothing, beam search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wdlab import data
from wdlab.checks import number, whole
from wdlab.data.iwslt import Corpus, iwslt14, lengths
from wdlab.models import MemberModel, Transformer
from wdlab.models.transformer import PAD
from wdlab.tasks.decoding import beam_search
from wdlab.tasks.task import Order, Task, only
from wdlab.tasks.translation import EVALUATION_BATCH, TOGETHER, corpus_bleu, evaluate

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from wdlab.run import Model


@dataclass(frozen=True)
class Iwslt(Task):
    """IWSLT'14 German to English, with the settings of fairseq's example: see `wdlab.data.iwslt.iwslt14`.

    Batches hold at most `max_tokens` tokens, PAD counted, on either side; `dropout` and label `smoothing` are those of
    training only. `updates` is how long a run takes by default. The model is Model("transformer", 512, 6): six layers
    on each side, 512 wide, feed-forward parts 1024, four heads; fairseq's normalizes after each sublayer, ours before.
    """

    name: str = "iwslt14"
    train_size: int = 160_239
    test_size: int = 6_750
    max_tokens: int = 4096
    dropout: float = 0.3
    smoothing: float = 0.1
    updates: int = 22_021
    vocabulary: int = 10_000

    def __post_init__(self) -> None:
        for name in ("train_size", "test_size", "max_tokens", "updates"):
            whole(name, getattr(self, name), 1)
        for name in ("dropout", "smoothing"):
            object.__setattr__(self, name, number(name, getattr(self, name), 0, 1, below=True))

    @property
    def one_seed(self) -> bool:
        """The batches of two seeds differ in shape, so they never train side by side."""
        return True

    @property
    def epoch(self) -> int:
        """Steps in one pass over the training set."""
        return len(TokenBatches(self, [0], len(self.arrays())).cut())

    @property
    def steps(self) -> int:
        """Steps of a run of the task's own length."""
        return self.updates

    def check(self, model: Model) -> None:
        """Raise ValueError for a model that does not translate."""
        only(self, model, ("transformer",))

    def settings(self) -> dict[str, object]:
        """Return what a table says of this task."""
        return {"task": self.name, "train_size": self.train_size, "dropout": self.dropout, "smoothing": self.smoothing}

    def corpus(self) -> Corpus:
        """Return the corpus; raises as `wdlab.data.iwslt.iwslt14`."""
        return _corpus(self.vocabulary)

    def arrays(self) -> data.Pairs:
        """Return the test pairs and then the training pairs; raises ValueError when there are too few."""
        return _arrays(self)

    def build(self, model: Model, members: int) -> Transformer:
        """Return the untrained `model` for `members` members, with this task's dropout and label smoothing."""
        words = self.corpus().words
        times = torch.bincount(self.arrays().inputs[self.test_size :].flatten(), minlength=words)
        times[PAD] = 0
        unread = (times == 0).nonzero().flatten().tolist()
        return Transformer(members, (words, words), model.width, model.depth, self.dropout, self.smoothing, unread)

    def batches(self, seeds: Sequence[int], examples: int, device: torch.device | str = "cpu") -> TokenBatches:
        """Return the training batches of one seed."""
        return TokenBatches(self, seeds, examples, device)

    def evaluate(
        self, model: MemberModel, inputs: Int[Tensor, "example token"], labels: Int[Tensor, "example position"]
    ) -> dict[str, Float[Tensor, " member"]]:
        """Return each member's test loss (nats a token, without smoothing) and test error, see `evaluate`."""
        source, target = (length[: len(labels)] for length in lengths(self.arrays()))
        parts = cut(torch.arange(len(labels)), torch.maximum(source, target), self.max_tokens)
        return evaluate(
            model,
            [(inputs[part, : int(source[part].max())], labels[part, : int(target[part].max())]) for part in parts],
        )


@lru_cache(maxsize=1)
def _corpus(vocabulary: int) -> Corpus:
    return iwslt14(vocabulary=vocabulary)


@lru_cache(maxsize=1)
def _arrays(task: Iwslt) -> data.Pairs:
    corpus = task.corpus()
    test, train = corpus.test_size, len(corpus.pairs) - corpus.test_size
    if task.test_size > test or task.train_size > train:
        raise ValueError(
            f"train_size={task.train_size} and test_size={task.test_size} are not allowed; the files hold {train} and "
            f"{test} pairs."
        )
    rows = torch.cat([torch.arange(task.test_size), test + torch.arange(task.train_size)])
    return data.Pairs(corpus.pairs.inputs[rows], corpus.pairs.labels[rows])


class TokenBatches(Order):
    """Batches of sentences of like length, as many as `max_tokens` tokens hold, cut to the longest of them.

    Every pass has other batches, for ties in length are broken at random, and a random order of them.
    """

    def __init__(self, task: Iwslt, seeds: Sequence[int], examples: int, device: torch.device | str = "cpu") -> None:
        if len(seeds) != 1:
            raise ValueError(
                f"seeds={list(seeds)!r} is not allowed; the batches of each seed have shapes of their own."
            )
        super().__init__(task, 1, seeds, examples, device)
        self.max_tokens = task.max_tokens
        self.source, self.target = lengths(task.arrays())
        self.queue: list[Tensor] = []

    def indices(self, step: int) -> Int[Tensor, "1 batch"]:
        """Return the examples of the next batch; steps must come in order."""
        if not self.queue:
            self._shuffle()
        return self.queue.pop().unsqueeze(0)

    def _shuffle(self) -> None:
        batches = self.cut()
        places = torch.randperm(len(batches), generator=self.orders[0]).tolist()
        self.queue = [batches[place] for place in places]
        self.epoch += 1

    def cut(self) -> list[Int[Tensor, " batch"]]:
        """Return all examples in batches of like length."""
        (chosen,), (order,) = self.sets, self.orders
        chosen = chosen[torch.randperm(len(chosen), generator=order)]
        return cut(chosen, torch.maximum(self.source, self.target)[chosen], self.max_tokens)

    def take(self, step: int, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next batch [1, batch, token], cut to its longest sentences."""
        (chosen,) = self.indices(step)
        # Their lengths lie on the CPU, so that a GPU is never asked.
        source, target = (int(length[chosen].max()) for length in (self.source, self.target))
        rows = chosen.to(inputs.device)
        return inputs[rows, :source].unsqueeze(0), labels[0, rows, :target].unsqueeze(0)

    def fork(self) -> TokenBatches:
        """Return a copy with a generator of its own, in the same state."""
        copy = super().fork()
        assert isinstance(copy, TokenBatches)
        copy.queue = list(self.queue)
        return copy


def cut(
    examples: Int[Tensor, " example"], sizes: Int[Tensor, " example"], max_tokens: int
) -> list[Int[Tensor, " batch"]]:
    """Return `examples` by size, in as many as `max_tokens` tokens hold when each is filled up to the longest."""
    by_size = examples[sizes.argsort(stable=True)]
    cuts = [0]
    for place, longest in enumerate(sizes.sort().values.tolist()):
        if (place + 1 - cuts[-1]) * longest > max_tokens and place > cuts[-1]:
            cuts.append(place)
    return list(by_size.tensor_split(cuts[1:]))


def bleu(
    networks: Sequence[Mapping[str, Tensor]], task: Iwslt, beams: int = 5, device: torch.device | str = "cpu"
) -> list[float]:
    """Return each network's corpus BLEU (0 to 100) on the test pairs, words as the files have them, by beam search.

    Answers may be 1.2 times as long as the longest source beside them, in a hundred of like length, and ten tokens more
    (our operationalization of a limit). The networks are decoded on `device`, a few at a time.
    """
    references = task.corpus().references[: task.test_size]
    scores = []
    for start in range(0, len(networks), TOGETHER):
        model = Transformer.of(networks[start : start + TOGETHER]).to(device)
        scores += [corpus_bleu(said, references, tokenize="none") for said in _answers(model, task, beams, device)]
    return scores


def _answers(model: Transformer, task: Iwslt, beams: int, device: torch.device | str) -> list[list[str]]:
    """Each member's translations of the test pairs: [member][example]."""
    corpus, pairs = task.corpus(), task.arrays()
    source, _ = lengths(pairs)
    answers: list[list[str]] = [["" for _ in range(task.test_size)] for _ in range(model.members)]
    for part in torch.split(source[: task.test_size].argsort(), EVALUATION_BATCH):
        longest = int(source[part].max())
        tokens = pairs.inputs[part, :longest].to(device).expand(model.members, -1, -1)
        for sentences, found in zip(answers, beam_search(model, tokens, int(1.2 * longest) + 10, beams), strict=True):
            for place, sentence in zip(part.tolist(), found.tolist(), strict=True):
                sentences[place] = corpus.write(sentence)
    return answers


IWSLT = Iwslt()
