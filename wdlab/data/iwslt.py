"""IWSLT'14 German to English, the set of the paper's translations: its files, cut into subwords."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from wdlab.checks import whole
from wdlab.data.arrays import Pairs
from wdlab.data.cache import cache_dir, replacing
from wdlab.data.number_words import END, MARKS, PAD, fill_up

if TYPE_CHECKING:
    from tokenizers import Tokenizer

REPOSITORY, REVISION = "bbaaaa/iwslt14-de-en-preprocess", "refs/convert/parquet"
PARTS = ("train", "test")
VOCABULARY = 10_000  # subwords of both languages together
LONGEST = 175  # tokens, END included; what is longer is cut off, and ends there

_WORD_END, _UNKNOWN = "</w>", "<unk>"


@dataclass(frozen=True, eq=False)
class Corpus:
    """The pairs of a corpus as tokens, test pairs first, and the `subwords` that turn tokens into text again.

    `references` are the English test texts as the file has them, whole, with words that no subwords make.
    """

    pairs: Pairs
    references: tuple[str, ...]
    subwords: Tokenizer

    @property
    def test_size(self) -> int:
        """How many of the pairs, the first ones, are to be tested on."""
        return len(self.references)

    @property
    def words(self) -> int:
        """How many tokens there are, in both languages together."""
        return int(self.subwords.get_vocab_size())

    def write(self, tokens: Iterable[int]) -> str:
        """Return the text of `tokens` up to the first END."""
        kept = []
        for token in tokens:
            if token == END:
                break
            kept.append(token)
        return str(self.subwords.decode(kept, skip_special_tokens=True))


def iwslt14(root: str | os.PathLike[str] | None = None, *, vocabulary: int = VOCABULARY) -> Corpus:
    """Return the IWSLT'14 German-English pairs, 160,239 to train on and 6,750 to test on.

    Read from iwslt14/train.parquet and iwslt14/test.parquet in `root` (default: `cache_dir()/data`) by the package
    `datasets`; with WDLAB_DOWNLOAD=1 in the environment it fetches absent ones. Assumed of each: one column,
    "translation", whose entries hold "de" and "en", already split into words by spaces and in small letters (the set
    as prepared for fairseq). Byte pairs are learned from the training texts of both languages by the package
    `tokenizers`, until there are `vocabulary` tokens, and kept in iwslt14/subwords-<vocabulary>.json. Raises
    ModuleNotFoundError without the two packages, FileNotFoundError without the files.
    """
    folder = (cache_dir() / "data" if root is None else Path(root).expanduser()) / "iwslt14"
    rows = _rows(folder)
    subwords = _subwords(folder / f"subwords-{whole('vocabulary', vocabulary, 10)}.json", rows["train"], vocabulary)
    test, train = (_encode(subwords, rows[part]) for part in ("test", "train"))
    sources, targets = zip(*((_cut(source), _cut(target)) for source, target in [*test, *train]), strict=True)
    references = tuple(english for _, english in rows["test"])
    return Corpus(Pairs(fill_up(sources), fill_up(targets)), references, subwords)


def lengths(pairs: Pairs) -> tuple[torch.Tensor, torch.Tensor]:
    """Return how many tokens each source and each target has, END included."""
    source, target = ((tokens != PAD).sum(1) for tokens in (pairs.inputs, pairs.labels))
    return source, target


def _rows(folder: Path) -> dict[str, list[tuple[str, str]]]:
    files = {part: str(folder / f"{part}.parquet") for part in PARTS}
    missing = [file for file in files.values() if not Path(file).is_file()]
    if missing and os.environ.get("WDLAB_DOWNLOAD") != "1":
        raise FileNotFoundError(
            f"{missing[0]} is not there, and nothing is downloaded unless you ask. Set WDLAB_DOWNLOAD=1, or fetch the "
            f"data set {REPOSITORY} yourself and put train.parquet and test.parquet into {folder}."
        )
    datasets = _package("datasets")
    if missing:
        found = datasets.load_dataset(REPOSITORY, data_dir="de-en", revision=REVISION)
        folder.mkdir(parents=True, exist_ok=True)
        for part, file in files.items():
            found[part].to_parquet(file)
    found = datasets.load_dataset("parquet", data_files=files, cache_dir=str(folder / "unpacked"))
    return {part: [(row["de"], row["en"]) for row in found[part]["translation"]] for part in PARTS}


def _subwords(path: Path, rows: list[tuple[str, str]], vocabulary: int) -> Tokenizer:
    """The byte pairs kept at `path`, or learned from `rows` now."""
    tokenizers: Any = _package("tokenizers")
    if path.is_file():
        return tokenizers.Tokenizer.from_file(str(path))
    subwords = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token=_UNKNOWN, end_of_word_suffix=_WORD_END))
    subwords.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    subwords.decoder = tokenizers.decoders.BPEDecoder(suffix=_WORD_END)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[*MARKS, _UNKNOWN],  # in this order, so that PAD, START and END are 0, 1 and 2
        end_of_word_suffix=_WORD_END,
        show_progress=False,
    )
    subwords.train_from_iterator((text for row in rows for text in row), trainer)
    with replacing(path) as temporary:
        subwords.save(str(temporary))
    return subwords


def _cut(sentence: list[int]) -> list[int]:
    return sentence if len(sentence) <= LONGEST else [*sentence[: LONGEST - 1], END]


def _encode(subwords: Tokenizer, rows: list[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
    sides = [[[*one.ids, END] for one in subwords.encode_batch(list(side))] for side in zip(*rows, strict=True)]
    return list(zip(*sides, strict=True))


def _package(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"IWSLT'14 needs the package {name!r}, which is not installed: pip install 'wdlab[paper]'.", name=name
        ) from error
