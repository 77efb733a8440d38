"""IWSLT'14 at the paper's scale, proved on a tiny file in the same format: loader, batches, the full-size model.

Where `datasets` and `tokenizers` are installed they are used; elsewhere stand-ins with the few functions that are asked
of them, the files then being JSON inside.
"""

import importlib.util
import json
import random
import sys
import types
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from wdlab import Decay, Model, Optimizer, Run, Schedule, Timing, Training
from wdlab.branches import stretches
from wdlab.data.iwslt import LONGEST, _encode, _subwords, iwslt14, lengths
from wdlab.models import Transformer, flatten
from wdlab.models.transformer import END, PAD, START
from wdlab.sweeps import train_batch
from wdlab.tasks import IWSLT, Iwslt, generator, iwslt
from wdlab.tasks.iwslt import TokenBatches, bleu
from wdlab.tasks.translation import evaluate
from wdlab.train import group_key

REAL = all(importlib.util.find_spec(name) for name in ("datasets", "tokenizers"))
GERMAN = ["das", "haus", "ist", "groß", "klein", "und", "der", "hund", "läuft", "schnell", ".", ","]
ENGLISH = ["the", "house", "is", "big", "small", "and", "the", "dog", "runs", "fast", ".", ","]
TINY = Iwslt(train_size=40, test_size=6, max_tokens=60, updates=5, vocabulary=80)
RUN = Run(
    TINY,
    Model("transformer", 16, 1),
    Optimizer("adam", 0.01, betas=(0.9, 0.98)),
    Schedule("inverse_sqrt", warmup=0.4),
    Decay(1e-4, coupling="decoupled"),
    evaluations=1,
)


def rows(count: int, seed: int) -> list[dict[str, dict[str, str]]]:
    """Sentences of 1 to 12 words, translated word by word."""
    draw, found = random.Random(seed), []
    for _ in range(count):
        places = [draw.randrange(len(GERMAN)) for _ in range(draw.randint(1, 12))]
        texts = (" ".join(words[place] for place in places) for words in (GERMAN, ENGLISH))
        found.append({"translation": dict(zip(("de", "en"), texts, strict=True))})
    return found


def write(path: Path, content: list[dict[str, dict[str, str]]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not REAL:
        path.write_text(json.dumps(content))
        return
    import datasets

    datasets.disable_progress_bars()
    features = datasets.Features({"translation": datasets.Translation(languages=("de", "en"))})
    datasets.Dataset.from_list(content, features=features).to_parquet(str(path))


class WholeWords:
    """What is asked of tokenizers.Tokenizer, with whole words for subwords."""

    def __init__(self, model: object = None) -> None:
        self.words: list[str] = []

    @staticmethod
    def from_file(path: str) -> "WholeWords":
        found = WholeWords()
        found.words = json.loads(Path(path).read_text())
        return found

    def save(self, path: str) -> None:
        Path(path).write_text(json.dumps(self.words))

    def train_from_iterator(self, texts, trainer: types.SimpleNamespace) -> None:
        frequent = Counter(word for text in texts for word in text.split()).most_common()
        self.words = [*trainer.special_tokens, *(word for word, _ in frequent)][: trainer.vocab_size]

    def get_vocab_size(self) -> int:
        return len(self.words)

    def encode_batch(self, texts: list[str]) -> list[types.SimpleNamespace]:
        return [types.SimpleNamespace(ids=[self.words.index(word) for word in text.split()]) for text in texts]

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return " ".join(self.words[token] for token in ids if token > 3)


def stand_ins() -> dict[str, types.ModuleType]:
    datasets, tokenizers = (types.ModuleType(name) for name in ("datasets", "tokenizers"))

    def load_dataset(kind: str, data_files: dict[str, str], cache_dir: str):
        assert kind == "parquet"
        found = {part: json.loads(Path(file).read_text()) for part, file in data_files.items()}
        return {part: {"translation": [row["translation"] for row in content]} for part, content in found.items()}

    datasets.load_dataset = load_dataset
    tokenizers.Tokenizer = WholeWords
    empty = types.SimpleNamespace
    tokenizers.models, tokenizers.decoders = empty(BPE=empty), empty(BPEDecoder=empty)
    tokenizers.pre_tokenizers, tokenizers.trainers = empty(WhitespaceSplit=empty), empty(BpeTrainer=empty)
    return {"datasets": datasets, "tokenizers": tokenizers}


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Two files in the set's format, in an otherwise empty cache folder."""
    monkeypatch.setenv("WDLAB_CACHE", str(tmp_path))
    monkeypatch.delenv("WDLAB_DOWNLOAD", raising=False)
    if not REAL:
        for name, module in stand_ins().items():
            monkeypatch.setitem(sys.modules, name, module)
    for part, count in (("train", 50), ("test", 8)):
        write(tmp_path / "data" / "iwslt14" / f"{part}.parquet", rows(count, seed=count))
    kept = (iwslt._corpus, iwslt._arrays)
    for function in kept:
        function.cache_clear()
    yield tmp_path / "data" / "iwslt14"
    for function in kept:
        function.cache_clear()


# --- data ---------------------------------------------------------------------------------------------------


def test_texts_become_tokens_and_texts_again(tiny) -> None:
    corpus = iwslt14(vocabulary=80)
    assert corpus.test_size == 8 and len(corpus.pairs) == 58 and corpus.words <= 80
    told = [row["translation"] for row in [*rows(8, seed=8), *rows(50, seed=50)]]
    for row, source, target in zip(told, corpus.pairs.inputs.tolist(), corpus.pairs.labels.tolist(), strict=True):
        assert (corpus.write(source), corpus.write(target)) == (row["de"], row["en"])
        assert source.count(END) == target.count(END) == 1 and START not in source


def test_subwords_are_learned_once_and_kept(tiny) -> None:
    first = iwslt14(vocabulary=80)
    kept = tiny / "subwords-80.json"
    learned = kept.read_bytes()
    again = iwslt14(vocabulary=80)
    assert kept.read_bytes() == learned and torch.equal(first.pairs.inputs, again.pairs.inputs)


def test_long_sentences_are_cut_and_end_there_and_references_stay_whole(tiny) -> None:
    long = {"translation": {"de": " ".join(["hund"] * (LONGEST + 5)), "en": "dog"}}
    write(tiny / "train.parquet", [*rows(50, seed=50), long])
    write(tiny / "test.parquet", [long, *rows(8, seed=8)])
    corpus = iwslt14(vocabulary=80)
    assert len(corpus.pairs) == 51 + 9 and corpus.pairs.inputs.shape[1] == LONGEST
    for cut in (corpus.pairs.inputs[0], corpus.pairs.inputs[-1]):
        assert cut[-1] == END and (cut == END).sum() == 1 and PAD not in cut
    told = [row["translation"]["en"] for row in [long, *rows(8, seed=8)]]
    assert corpus.references == tuple(told)


def test_tokens_that_no_training_source_holds_begin_at_zero_and_stay(tiny) -> None:
    """English words among them: adaptive decay divides by the root of what they never hear."""
    run = replace(RUN, optimizer=replace(RUN.optimizer, lr=0.003), decay=Decay(1e-3, coupling="adaptive"), steps=40)
    training = Training([run], "cpu", threads=1)
    read = set(TINY.arrays().inputs[TINY.test_size :].flatten().tolist()) - {PAD}
    unread = [token for token in range(TINY.corpus().words) if token not in read]
    assert START in unread and len(unread) > 5
    training.advance()
    (history,) = training.histories()
    table = training.network(0)["embed_source"]
    assert history.diverged_at is None and (table[unread] == 0).all() and (table[sorted(read)] != 0).any(1).all()


def test_real_byte_pairs_are_read_back_and_lose_what_they_do_not_know(tmp_path) -> None:
    """Which is why references are the texts of the file."""
    pytest.importorskip("tokenizers")
    texts = [(row["translation"]["de"], row["translation"]["en"]) for row in rows(50, seed=50)]
    subwords = _subwords(tmp_path / "subwords.json", texts, 80)
    again = _subwords(tmp_path / "subwords.json", [], 80)
    assert subwords.token_to_id("<pad>") == PAD and subwords.token_to_id("<end>") == END
    assert [subwords.decode(source[:-1]) for source, _ in _encode(again, texts)] == [german for german, _ in texts]
    ((_, lost),) = _encode(again, [("das", "the ŵ house")])
    assert subwords.decode(lost[:-1]) != "the ŵ house"


def test_without_the_files_it_says_what_to_do(tiny) -> None:
    (tiny / "test.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"test\.parquet is not there.*WDLAB_DOWNLOAD=1"):
        iwslt14()


def test_without_the_packages_it_says_what_to_install(tiny, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r"'datasets'.*pip install 'wdlab\[paper\]'"):
        iwslt14()


# --- batches ------------------------------------------------------------------------------------------------


def test_batches_hold_as_many_tokens_as_allowed_and_a_pass_is_all_examples(tiny) -> None:
    pairs = TINY.arrays()
    batches = TokenBatches(TINY, [3], len(pairs))
    labels, size = batches.labels(pairs.labels), torch.maximum(*lengths(pairs))
    passes = []
    for _ in range(2):
        seen, shapes = [], []
        for _ in range(TINY.epoch):
            fork = batches.fork()
            (chosen,) = batches.indices(0)
            source, target = fork.take(0, pairs.inputs, labels)
            assert (source != PAD).any(1).all() and (target != PAD).any(1).all(), "cut to the longest"
            assert torch.equal(source[0], pairs.inputs[chosen][:, : source.shape[2]])
            assert torch.equal(target[0], pairs.labels[chosen][:, : target.shape[2]])
            assert int(source.sum() + target.sum()) == int(pairs.inputs[chosen].sum() + pairs.labels[chosen].sum())
            assert len(chosen) * int(size[chosen].max()) <= TINY.max_tokens
            seen += chosen.tolist()
            shapes.append(tuple(source.shape))
        assert sorted(seen) == list(range(TINY.test_size, TINY.test_size + TINY.train_size))
        passes.append(seen)
    assert passes[0] != passes[1] and not batches.queue
    other = TokenBatches(TINY, [4], len(pairs))
    assert other.indices(0).tolist() != TokenBatches(TINY, [3], len(pairs)).indices(0).tolist()


def test_a_sentence_longer_than_a_batch_is_a_batch(tiny) -> None:
    assert TokenBatches(replace(TINY, max_tokens=1), [0], 46).indices(0).shape == (1, 1)


def test_seeds_train_apart(tiny) -> None:
    assert group_key(RUN) != group_key(replace(RUN, seed=1)) and group_key(RUN) == group_key(
        replace(RUN, decay=Decay())
    )
    with pytest.raises(ValueError, match="of 2 different shapes"):
        Training([RUN, replace(RUN, seed=1)], "cpu")
    with pytest.raises(ValueError, match=r"^seeds=\[0, 1\] is not allowed"):
        TokenBatches(TINY, [0, 1], 46)


# --- training -----------------------------------------------------------------------------------------------


def test_members_under_dropout_equal_their_runs_alone_and_a_fork_goes_on(tiny) -> None:
    runs = [replace(RUN, decay=Decay(strength, coupling="decoupled")) for strength in (0.0, 1.0)]
    together, alone = (Training(some, "cpu", torch.float64, threads=1) for some in (runs, runs[1:]))
    together.advance(2)
    forked = together.fork()
    for training in (together, alone, forked):
        training.advance(5)
    assert torch.equal(forked.weights, together.weights)
    torch.testing.assert_close(together.weights[1], alone.weights[0], rtol=1e-7, atol=1e-9)
    assert not torch.equal(together.weights[0], together.weights[1])


def test_a_branch_goes_on_with_the_noise_of_the_same_run_alone(tiny) -> None:
    timings = (Timing.always(), Timing.first(0.6))
    runs = [replace(RUN, decay=Decay(1.0, timing, coupling="decoupled")) for timing in timings]
    assert [(one.stop, one.of) for one in stretches(runs)] == [(2, (0,)), (5, (0, 0))]
    apart = Training(runs, "cpu")
    apart.advance(5)
    for shared, alone in zip(train_batch(runs, "cpu", networks=True), apart.histories(networks=True), strict=True):
        for name, tensor in alone.network.items():
            torch.testing.assert_close(shared.network[name], tensor, rtol=1e-4, atol=1e-5)


def test_dropout_drops_its_share_in_training_only(tiny) -> None:
    pairs = TINY.arrays()
    inputs, labels = pairs.inputs[None, :20], pairs.labels[None, :20]
    model = TINY.build(Model("transformer", 16, 1), 1).double()
    model.initialize([generator(0, "init")])
    flatten(model, [name for name, _ in model.named_parameters()])
    noisy = [model.loss_and_gradient(inputs, labels) for _ in range(3)]
    assert len({float(loss) for loss in noisy}) == 3
    still = [model.eval().loss(inputs, labels) for _ in range(2)]
    assert torch.equal(*still) and model.training is False
    model._noise = torch.Generator().manual_seed(0)
    dropped = model._drop(torch.ones(1, 400, 100, dtype=torch.float64))
    assert (dropped == 0).double().mean().item() == pytest.approx(0.3, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1, abs=0.01) and dropped.max().item() == pytest.approx(1 / 0.7)


def test_smoothing_mixes_even_odds_into_the_labels(tiny) -> None:
    """loss = (1 - s) cross-entropy + s mean over words of -log p, written out on every word that is there."""
    task, pairs = replace(TINY, dropout=0.0), TINY.arrays()
    model = task.build(Model("transformer", 16, 1), 1).double()
    model.initialize([generator(0, "init")])
    inputs, labels = pairs.inputs[None, :9], pairs.labels[None, :9]
    log_p, real = model(inputs, labels).log_softmax(-1), labels != PAD
    true = log_p.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    expected = -(0.9 * true + 0.1 * log_p.mean(-1))[real].mean()
    torch.testing.assert_close(model.loss(inputs, labels)[0], expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(model.eval().loss(inputs, labels)[0], -true[real].mean(), rtol=1e-12, atol=0)


def test_what_is_tested_is_every_word_of_every_test_pair(tiny) -> None:
    """In parts of like length, yet the same as all at once."""
    training = Training([RUN], "cpu", torch.float64, threads=1)
    inputs, labels = (tokens[: TINY.test_size] for tokens in (training.inputs, training.labels))
    found = TINY.evaluate(training.model, inputs, labels)
    whole = evaluate(training.model, [(inputs, labels)])
    torch.testing.assert_close(found, whole, rtol=1e-12, atol=0)
    model = training.model.eval()
    torch.testing.assert_close(found["test_loss"], model.loss(inputs[None], labels[None]).detach(), rtol=1e-12, atol=0)


def test_one_step_of_the_full_size_model(tiny) -> None:
    run = replace(RUN, model=Model("transformer", 512, 6), steps=1)
    training = Training([run], "cpu", threads=1)
    before = training.weights.clone()
    training.advance()
    (history,) = training.histories()
    assert history.curves["train_loss"][-1] > 0 and history.diverged_at is None
    assert not torch.equal(before, training.weights)
    reference = nn.Transformer(512, 4, 6, 6, 1024, batch_first=True)  # without embeddings
    embeddings = 2 * TINY.corpus().words * 512
    assert training.weights.shape[1] - embeddings == sum(p.numel() for p in reference.parameters())


def test_the_paper_runs_rate_rises_for_4000_steps_and_then_falls_as_the_root() -> None:
    lr = Schedule("inverse_sqrt", warmup=4000 / IWSLT.steps).table(IWSLT.steps)
    assert lr[3999] == pytest.approx(1) and lr[15_999] == pytest.approx(0.5, rel=1e-3)


def test_bleu_of_a_net_that_learned_the_test_sentences(tiny) -> None:
    """Trained on what it is tested on, so that it is right: BLEU is then nearly 100, and untrained nearly 0."""
    write(tiny / "test.parquet", rows(6, seed=50))  # the first six of the training file
    task = replace(TINY, dropout=0.0, smoothing=0.0, train_size=8, max_tokens=150)
    adam, cosine = replace(RUN.optimizer, lr=0.01), Schedule("cosine", warmup=0.2)
    run = replace(RUN, task=task, model=Model("transformer", 32, 1), optimizer=adam, schedule=cosine, steps=300)
    training = Training([run], "cpu", threads=1)
    nets = [training.network(0)]
    training.advance(300)
    nets.append(training.network(0))
    untrained, trained = bleu(nets, task)
    assert untrained < 10 and trained > 90
    assert isinstance(Transformer.of(nets), Transformer)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Iwslt(dropout=1.0), "^dropout=1.0 is not allowed"),
        (lambda: Iwslt(max_tokens=0), "^max_tokens=0 is not allowed"),
        (lambda: Run(TINY, Model("mlp")), "^model='mlp' is not allowed with task='iwslt14'"),
        (lambda: replace(TINY, test_size=9).arrays(), "test_size=9 are not allowed; the files hold 50 and 8 pairs"),
    ],
)
def test_what_is_not_allowed_is_named(tiny, make, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()
