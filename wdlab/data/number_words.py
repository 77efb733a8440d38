"""Number words below a million, German and English, as parts of words: a real and small language pair."""

from __future__ import annotations

import importlib.metadata
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from wdlab.checks import whole
from wdlab.data.arrays import Pairs
from wdlab.data.cache import cache_dir, cached_tensors

if TYPE_CHECKING:
    from jaxtyping import Int64
    from torch import Tensor

LIMIT = 1_000_000  # the first number that is not spelled here
FEW = 100  # the first number that may be tested on
PAD, START, END = 0, 1, 2
MARKS = ("<pad>", "<start>", "<end>")
"""The first tokens of both languages: they fill up, begin and end a sentence."""

_UNITS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


@dataclass(frozen=True)
class Language:
    """A language of number words: its name, num2words's `code` for it, and the `parts` its words are made of.

    Compounds are cut into the words they are made of; what a suffix makes (zwan-zig, six-teen) stays whole. The
    first word of a compound may have a form of its own: sech-zehn.
    """

    name: str
    code: str
    parts: tuple[str, ...]

    @cached_property
    def tokens(self) -> dict[str, int]:
        """The number of every part; PAD, START and END come first."""
        return {part: number for number, part in enumerate((*MARKS, *self.parts))}

    @cached_property
    def _part(self) -> re.Pattern[str]:
        longest_first = sorted(self.parts, key=len, reverse=True)
        return re.compile("|".join(longest_first))

    def spell(self, number: int) -> str:
        """Return the words of `number`; raises ValueError unless it is a whole number from 1 to below a million.

        >>> GERMAN.spell(47)
        'siebenundvierzig'
        """
        from num2words import num2words  # here, for its import takes longer than most need

        words: str = num2words(whole("number", number, 1, LIMIT - 1), lang=self.code)
        return words

    def segment(self, text: str) -> list[str]:
        """Return the parts of `text`, which may be written with capitals, spaces, hyphens, "ue" or "ss".

        Raises ValueError for a text without words, and for one that holds something else than number words.

        >>> GERMAN.segment("dreiundzwanzigtausend")
        ['drei', 'und', 'zwanzig', 'tausend']
        """
        plain = _plain(text, self)
        if not plain:
            raise ValueError(f"text={text!r} is empty; type a {self.name} number in words: {self.spell(47)}.")
        parts, at = [], 0
        while at < len(plain):
            found = self._part.match(plain, at)
            if found is None:
                raise ValueError(
                    f"text={text!r:.80} is not a {self.name} number in words: {plain[at:]!r:.40} is unknown. Type one "
                    f"below a million, such as {self.spell(47)}; its parts may be {', '.join(self.parts)}."
                )
            parts.append(found.group())
            at = found.end()
        return parts

    def join(self, parts: Iterable[str]) -> str:
        """Return the parts as they are written: German in one word, English with its spaces, hyphens and commas.

        >>> ENGLISH.join(["twenty", "one", "thousand", "two", "hundred"])
        'twenty-one thousand, two hundred'
        """
        if self.code == "de":
            return "".join(parts)
        parts = list(parts)
        return "".join([*(first + _between(first, second) for first, second in pairwise(parts)), *parts[-1:]])

    def encode(self, parts: Sequence[str]) -> list[int]:
        """Return the tokens of a sentence, END included."""
        return [*(self.tokens[part] for part in parts), END]

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the sentence of `tokens` up to the first END, written out; other marks are left out."""
        words = (*MARKS, *self.parts)
        parts = []
        for token in tokens:
            if token == END:
                break
            if token >= len(MARKS):
                parts.append(words[token])
        return self.join(parts)


GERMAN = Language(
    "German",
    "de",
    (
        *("ein", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"),
        *("zehn", "elf", "zwölf", "sech", "sieb"),
        *("zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig"),
        *("und", "hundert", "tausend"),
    ),
)
ENGLISH = Language(
    "English",
    "en",
    (
        *(*_UNITS, "ten", "eleven", "twelve"),
        *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
        *(*_TENS, "and", "hundred", "thousand"),
    ),
)


def _between(first: str, second: str) -> str:
    if first in _TENS and second in _UNITS:
        return "-"
    return ", " if first == "thousand" and second != "and" else " "


def _plain(text: str, language: Language) -> str:
    """Only the letters, small, with umlauts and ß where a keyboard had none."""
    letters = re.sub(r"[\s,\-]", "", unicodedata.normalize("NFC", str(text)).lower())
    if language.code != "de":
        return letters
    return letters.replace("ue", "ü").replace("oe", "ö").replace("dreissig", "dreißig")


def number_words(pairs: int = 3000, seed: int = 42) -> Pairs:
    """Return German number words and the English ones for them, as tokens, in an order fixed by the seed.

    Shapes: inputs [pairs, token] and labels [pairs, token], at most 11 parts and END, filled up with PAD. Each number
    comes once, and n with a chance in proportion to 1/n, for in texts too small numbers are the frequent ones: with
    equal chances nine in ten would have six digits. There is no zero: few seeds would train on its word, and the others
    would have a word without a gradient, which decay that Adam divides could blow up. Those below a hundred, too few to
    test on, come last. The first call takes about 0.4 ms a pair; the pairs are then kept in `cache_dir()`. Raises
    ValueError when `pairs` is not from 1 to 100,000. The words are those of the package num2words.
    """
    whole("pairs", pairs, 1, 100_000)
    path = cache_dir() / "data" / f"number-words-{pairs}-{whole('seed', seed)}.safetensors"
    meta = {
        "data": "number words",
        "package": importlib.metadata.version("num2words"),
        "pairs": pairs,
        "seed": seed,
        "least": 1,
    }
    kept = cached_tensors(path, meta, lambda: _make(pairs, seed))
    return Pairs(kept["inputs"], kept["labels"])


def _make(pairs: int, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    chances = 1 / torch.arange(1, LIMIT, dtype=torch.float64)
    drawn = 1 + torch.multinomial(chances, pairs, generator=generator)
    drawn = drawn[torch.randperm(pairs, generator=generator)]
    numbers = torch.cat([drawn[drawn >= FEW], drawn[drawn < FEW]]).tolist()
    return {"inputs": tokens(GERMAN, numbers), "labels": tokens(ENGLISH, numbers)}


def tokens(language: Language, numbers: Iterable[int]) -> Int64[Tensor, "number token"]:
    """Return the words of `numbers` as tokens, each row ended by END and filled up with PAD."""
    return fill_up([language.encode(language.segment(language.spell(number))) for number in numbers])


def fill_up(sentences: Sequence[Sequence[int]]) -> Int64[Tensor, "sentence token"]:
    """Return sentences of different lengths as one tensor, filled up with PAD."""
    longest = max(map(len, sentences))
    return torch.tensor([[*sentence, *[PAD] * (longest - len(sentence))] for sentence in sentences])
