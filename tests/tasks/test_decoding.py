"""Beam search against exhaustive search and greedy decoding (which test_translation holds to a brute-force loop)."""

import itertools

import pytest
import torch

from wdlab.models import Transformer
from wdlab.models.transformer import END, PAD, START
from wdlab.tasks import generator
from wdlab.tasks.decoding import beam_search, greedy

MEMBERS, WORDS, LONGEST = 2, (7, 6), 3


def make() -> tuple[Transformer, torch.Tensor]:
    """Nets whose words are far from equally likely, and sentences of different lengths."""
    model = Transformer(MEMBERS, WORDS, 8, 1).double()
    model.initialize([generator(seed, "init") for seed in range(MEMBERS)])
    with torch.no_grad():
        model.embed_target *= 2
        model.shift_output += 1.0
        model.embed_target[:, END] += 0.45
    return model, torch.tensor([[[3, 4, END, PAD], [5, END, PAD, PAD], [6, 6, 3, END]]]).expand(MEMBERS, -1, -1)


def every_sentence() -> list[tuple[int, ...]]:
    """All that can be said in LONGEST words: sentences that end, and sentences that are cut off."""
    words = range(END + 1, WORDS[1])
    ended = [(*before, END) for length in range(LONGEST) for before in itertools.product(words, repeat=length)]
    return [*ended, *itertools.product(words, repeat=LONGEST)]


def log_probability(model: Transformer, source: torch.Tensor, sentence: tuple[int, ...]) -> torch.Tensor:
    """Of one sentence, [member, source]; PAD and START are never said, yet take their share of the softmax."""
    target = torch.tensor(sentence).expand(*source.shape[:2], -1)
    words = model(source, target).log_softmax(-1)
    return words.gather(-1, target.unsqueeze(-1)).sum((-1, -2)).detach()


@pytest.mark.parametrize("penalty", [0.0, 1.0, 3.0])
def test_wide_enough_it_finds_the_best_of_all_sentences(penalty: float) -> None:
    model, source = make()
    sentences = every_sentence()
    scores = torch.stack([log_probability(model, source, one) / len(one) ** penalty for one in sentences])
    found = beam_search(model, source, LONGEST, len(sentences), penalty)
    for member, row in itertools.product(range(MEMBERS), range(3)):
        best = sentences[int(scores[:, member, row].argmax())]
        assert [token for token in found[member, row].tolist() if token != PAD] == list(best)


def test_the_penalty_prefers_longer_sentences() -> None:
    model, source = make()
    short, long = (beam_search(model, source, LONGEST, 50, penalty) for penalty in (0.0, 3.0))
    assert (long != PAD).sum() > (short != PAD).sum()


def test_one_beam_is_greedy() -> None:
    model, source = make()
    wide, plain = beam_search(model, source, 8, beams=1), greedy(model, source, 8)
    assert torch.equal(wide, plain) and model.training


@pytest.mark.parametrize("beams", [None, 1, 4])
def test_an_untrained_net_says_no_mark_either(beams: int | None) -> None:
    """The last word read is the likeliest next one where the output layer is the embedding: START, at first."""
    model = Transformer(MEMBERS, WORDS, 64, 1).double()
    model.initialize([generator(seed, "init") for seed in range(MEMBERS)])
    source = make()[1]
    found = greedy(model, source, 6) if beams is None else beam_search(model, source, 6, beams)
    assert (model(source, source.clamp(max=5))[:, :, 0].argmax(-1) == START).any()
    assert not (found == START).any() and not (found[..., 0] == PAD).any()


def test_more_beams_never_find_less() -> None:
    model, source = make()
    scores = []
    for beams in (1, 2, 100):
        found = beam_search(model, source, LONGEST, beams, 0.0)
        said = [[tuple(t for t in row if t != PAD) for row in member] for member in found.tolist()]
        scores.append(
            [
                float(log_probability(model, source, said[member][row])[member, row])
                for member, row in itertools.product(range(MEMBERS), range(3))
            ]
        )
    assert all(few <= many + 1e-12 for few, many in zip(scores[0], scores[2], strict=True))
    assert all(few <= many + 1e-12 for few, many in zip(scores[1], scores[2], strict=True))


def test_padding_changes_no_answer() -> None:
    model, source = make()
    wider = torch.nn.functional.pad(source, (0, 3))
    assert torch.equal(beam_search(model, source, 5), beam_search(model, wider, 5))


@pytest.mark.parametrize("options", [{"beams": 0}, {"length_penalty": -1.0}])
def test_what_is_not_allowed_is_named(options) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(options))}="):
        beam_search(*make(), 3, **options)
