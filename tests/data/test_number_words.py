"""Number words: cut into parts and written out again, for numbers of every size, and the pairs made of them."""

import random
import unicodedata

import pytest
import torch
from num2words import num2words

from wdlab.data import Pairs, number_words
from wdlab.data.number_words import END, ENGLISH, FEW, GERMAN, LIMIT, MARKS, PAD, START, fill_up, tokens
from wdlab.tasks import TRANSLATIONS

LANGUAGES = pytest.mark.parametrize("language", [GERMAN, ENGLISH], ids=["German", "English"])
# All below a thousand, all thousands, and some of every other kind: what stands before "tausend" has the same parts.
SAMPLE = [*range(1, 1100), *range(1000, LIMIT, 1000), *random.Random(0).sample(range(1, LIMIT), 2000)]


@LANGUAGES
def test_every_number_can_be_cut_and_written_out_again(language) -> None:
    seen = set()
    for number in SAMPLE:
        words = num2words(number, lang=language.code)
        parts = language.segment(words)
        assert language.spell(number) == language.join(parts) == words
        assert language.decode(language.encode(parts)) == words
        seen |= set(parts)
    assert seen == set(language.parts), "a part that no number has"


@LANGUAGES
def test_every_number_has_parts_of_its_own(language) -> None:
    assert len({tuple(language.segment(language.spell(n))) for n in set(SAMPLE)}) == len(set(SAMPLE))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("dreiundzwanzigtausend", "drei und zwanzig tausend"),
        ("sechzehn", "sech zehn"),
        ("siebenhundertsiebzehn", "sieben hundert sieb zehn"),
        ("siebzigtausendeins", "siebzig tausend eins"),
        ("Sieben und VIERZIG ", "sieben und vierzig"),
        ("zwoelf", "zwölf"),
        ("fuenfunddreissig", "fünf und dreißig"),
        (unicodedata.normalize("NFD", "fünf-und-dreißig"), "fünf und dreißig"),
        ("hundertundeins", "hundert und eins"),  # no such spelling in the data, yet all its parts are known
    ],
)
def test_what_a_learner_types_is_cut(text: str, parts: str) -> None:
    assert GERMAN.segment(text) == parts.split()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", r"^text='' is empty; type a German number in words: siebenundvierzig\.$"),
        (" - ", "is empty"),
        ("siebnundvierzig", r"'nundvierzig' is unknown\. Type one below a million, such as siebenundvierzig"),
        ("eine Million", "'emillion' is unknown"),
        ("47", "'47' is unknown"),
    ],
)
def test_what_is_no_number_gets_a_message(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        GERMAN.segment(text)


@pytest.mark.parametrize("number", [0, LIMIT, 2.0, True])
def test_only_numbers_below_a_million_are_spelled(number) -> None:
    with pytest.raises(ValueError, match=r"^number=.* give a whole number from 1 to 999999\.$"):
        ENGLISH.spell(number)


def test_english_is_written_with_its_hyphens_and_commas() -> None:
    said = ENGLISH.join(ENGLISH.segment("fourhundredandeightyseventhousandthreehundredandtwentyone"))
    assert said == "four hundred and eighty-seven thousand, three hundred and twenty-one"
    assert ENGLISH.join([]) == "" and ENGLISH.join(["and", "and"]) == "and and"  # what an untrained net may say


def test_marks_end_or_leave_out() -> None:
    one, two = (ENGLISH.tokens[word] for word in ("one", "two"))
    assert ENGLISH.decode([START, one, PAD, two, END, one]) == "one two"
    assert MARKS[PAD] == "<pad>" and MARKS[START] == "<start>" and MARKS[END] == "<end>"
    assert fill_up([[5, END], [END]]).tolist() == [[5, END], [END, PAD]]


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WDLAB_CACHE", str(tmp_path))
    return tmp_path


def test_pairs_mean_the_same_number_once_and_small_ones_come_last(own_cache) -> None:
    pairs = number_words(400, seed=1)
    words = {GERMAN.spell(number): number for number in range(1, 1100)}
    number_of = {ENGLISH.spell(number): number for number in range(1, 1100)}
    sources = [GERMAN.decode(row) for row in pairs.inputs.tolist()]
    found = [
        (words.get(source), number_of.get(ENGLISH.decode(row)))
        for source, row in zip(sources, pairs.labels.tolist(), strict=True)
    ]
    assert all(one == other for one, other in found) and len(set(sources)) == len(pairs) == 400
    few = [number is not None and number < FEW for number, _ in found]
    assert few == sorted(few) and 20 < sum(few) <= FEW
    for rows in (pairs.inputs, pairs.labels):
        assert ((rows == END).sum(1) == 1).all() and torch.equal(
            rows != PAD, (rows == END).flip(1).cumsum(1).flip(1) > 0
        )


def test_numbers_of_every_length_are_drawn(own_cache) -> None:
    """With equal chances all but one in a thousand would be above a thousand."""
    pairs = number_words(400, seed=2)
    thousands = (pairs.inputs == GERMAN.tokens["tausend"]).any(1).double().mean()
    assert 0.4 < thousands < 0.75


def test_pairs_belong_to_the_seed_and_are_kept(own_cache) -> None:
    one, other = number_words(30, seed=3), number_words(30, seed=4)
    again = number_words(30, seed=3)
    assert torch.equal(one.inputs, again.inputs) and not torch.equal(one.inputs[:, :3], other.inputs[:, :3])
    assert len(list((own_cache / "data").glob("number-words-30-*"))) == 2


@pytest.mark.parametrize("pairs", [0, 100_001, 1.5])
def test_a_size_that_is_not_allowed_is_named(pairs) -> None:
    with pytest.raises(ValueError, match=r"^pairs="):
        number_words(pairs)


def test_tokens_are_the_words(own_cache) -> None:
    assert [GERMAN.decode(row) for row in tokens(GERMAN, [1, 21, 316]).tolist()] == [
        "eins",
        "einundzwanzig",
        "dreihundertsechzehn",
    ]


@pytest.mark.parametrize(
    ("inputs", "labels"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 3).long()),
        (torch.zeros(2, 3).long(), torch.zeros(3, 3).long()),
        (torch.zeros(2, 3).long(), torch.zeros(2).long()),
    ],
)
def test_pairs_must_fit_together(inputs, labels) -> None:
    with pytest.raises(ValueError, match="needed is int64 and a row for each of the 2 sentences"):
        Pairs(inputs, labels)


def test_nearly_every_seed_trains_on_every_german_word() -> None:
    """A word without a gradient has v = 0, and decay that Adam divides would be divided by eps alone."""
    task = TRANSLATIONS["translation"]
    pairs, words = task.arrays(), set(GERMAN.tokens.values()) - set(range(len(MARKS)))
    sets = task.batches(range(10_000, 10_020), len(pairs)).sets
    whole = [words <= set(pairs.inputs[one].flatten().tolist()) for one in sets]
    assert sum(whole) >= 19
