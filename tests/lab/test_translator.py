"""The Translator: its dials, what it hears of a cell's nets, and what it says to words that are none."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from wdlab import Decay, Model, Optimizer, Results, Run, Schedule, sweep
from wdlab.data.number_words import ENGLISH, GERMAN
from wdlab.lab import Translator
from wdlab.lab.translator import in_german
from wdlab.tasks import Translation, translate

LITTLE = Translation(train_size=50, test_size=20, batch_size=25)
BASE = Run(
    LITTLE, Model("transformer", 16, 1), Optimizer("adam", 0.01, betas=(0.9, 0.98), eps=1e-4), Schedule("constant"),
    steps=30, evaluations=2,
)  # fmt: skip
SEEDS, LOST = (10_000, 10_001), ("decoupled", 1e12)


@pytest.fixture(scope="module")
def results() -> Results:
    decays = [
        Decay(1e-3, coupling="l2"),
        Decay(1e-2, coupling="l2"),
        Decay(1.0, coupling="decoupled"),
        Decay(LOST[1], coupling="decoupled"),
    ]
    return sweep([replace(BASE, decay=one, seed=seed) for one in decays for seed in SEEDS], jobs=1, networks=True)


@pytest.fixture(scope="module")
def made(results: Results) -> Translator:
    return Translator(results, coupling="l2")


@pytest.fixture
def widget(made: Translator) -> Translator:
    made.turn(coupling="l2", lr=0.01, weight_decay=1e-3)
    made.typed.value = "siebenundvierzig"
    return made


def nets(results: Results, coupling: str, strength: float) -> list:
    found = [h for h in results.histories if (h.run.decay.coupling, h.run.decay.strength) == (coupling, strength)]
    return [history.network for history in found]


def test_it_says_what_the_nets_of_the_cell_say(widget: Translator, results: Results) -> None:
    assert list(widget.heard.values()) == translate(nets(results, "l2", 1e-3), "siebenundvierzig")
    assert list(widget.heard) == list(SEEDS)
    for seed, said in widget.heard.items():
        assert f"seed {seed}: {said or 'nothing'}" in widget.answer.value
    assert "right" not in widget.answer.value and "wrong" not in widget.answer.value


def test_another_cell_hears_the_same_words(widget: Translator, results: Results) -> None:
    widget.typed.value = "zwölf"
    widget.dials["coupling"].value = "decoupled"
    widget.turn(weight_decay=1.0)
    assert list(widget.heard.values()) == translate(nets(results, "decoupled", 1.0), "zwölf")
    assert "zwölf:" in widget.answer.value


def test_digits_are_spelled_and_the_answer_is_judged(widget: Translator) -> None:
    widget.typed.value = "47"
    assert f"{GERMAN.spell(47)} is {ENGLISH.spell(47)}." in widget.answer.value
    for said in widget.heard.values():
        assert f"{said or 'nothing'}, {'right' if said == ENGLISH.spell(47) else 'wrong'}" in widget.answer.value


@pytest.mark.parametrize(
    ("text", "told"),
    [("", "is empty"), ("  ", "is empty"), ("siebenundfünfzehnx", "x"), ("1000000", "below a million"),
     ("eins" * 60, "40 at most"), ("zwei" * 5000, "40 at most"), ("x" * 5000, "is unknown"), ("zwei" + "x" * 5000, "x"),
     ("9" * 5000, "below a million"), ("<script>alert(1)</script>", "&lt;script&gt;")],
)  # fmt: skip
def test_what_is_no_number_gets_a_message_and_changes_nothing_else(widget: Translator, text: str, told: str) -> None:
    before = widget.image.value
    widget.typed.value = text
    widget.typed.value = text + " "  # an empty line typed over an empty line is no change
    assert 'role="alert"' in widget.answer.value and told in widget.answer.value
    assert len(widget.answer.value) < 1000 and "<script>" not in widget.answer.value
    assert widget.heard == {} and widget.image.value == before
    with pytest.raises(ValueError, match="text="):
        widget.say(text)
    widget.typed.value = "acht"
    assert 'role="alert"' not in widget.answer.value and len(widget.heard) == 2


def test_a_net_that_diverged_says_when_and_no_more(widget: Translator, results: Results) -> None:
    lost = [h for h in results.histories if h.run.decay.strength == LOST[1]]
    assert all(h.diverged_at is not None for h in lost)
    widget.turn(coupling="decoupled", weight_decay=LOST[1])
    assert widget.heard == {}
    assert all(f"seed {h.run.seed}: diverged at step {h.diverged_at}" in widget.answer.value for h in lost)


def test_the_cell_keeps_the_picture_and_its_words(widget: Translator) -> None:
    kept = widget._repr_mimebundle_()
    assert base64.b64decode(str(kept["image/png"])) == widget.image.value
    assert kept["text/plain"] == widget.alt and "l2" in widget.alt


def test_results_without_nets_are_refused(results: Results) -> None:
    bare = Results(tuple(replace(history, network=None) for history in results.histories[:2]))
    with pytest.raises(ValueError, match="lack the nets of 2 runs"):
        Translator(bare)


def test_words_stay_as_they_are() -> None:
    assert (in_german(" 21 "), in_german("zwei"), in_german("")) == (GERMAN.spell(21), "zwei", "")
