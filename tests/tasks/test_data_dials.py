"""The dials that turn the data: each changes what it names, for its own seed, and leaves the test examples alone."""

from dataclasses import replace

import pytest
import torch

from wdlab import TASKS, Decay, Model, Run, Training, Vision
from wdlab.tasks import Batches
from wdlab.tasks.augment import draw, move_signals

TINY = Vision("tiny", "fashion", train_size=500, test_size=100, batch_size=50, image_size=7)
SIGNALS = replace(TASKS["mnist1d"], train_size=200, test_size=100, batch_size=50)
TRUE = TINY.arrays().labels


def learned(noise: float, seeds=(0, 1)) -> torch.Tensor:
    return Batches(replace(TINY, label_noise=noise), seeds, len(TRUE)).labels(TRUE)


def test_label_noise_changes_the_share_of_labels_it_names() -> None:
    for noise in (0.0, 0.25, 0.5, 1.0):
        changed = (learned(noise) != TRUE).double().mean().item()
        assert changed == pytest.approx(noise * 0.9, abs=0.02), "a label drawn anew is the old one in one case of ten"


def test_more_noise_keeps_the_wrong_labels_of_less() -> None:
    little, much = learned(0.25), learned(0.5)
    wrong = little != TRUE
    assert torch.equal(little[wrong], much[wrong]) and (much != TRUE).sum() > wrong.sum()


def test_noise_belongs_to_the_seed() -> None:
    both = learned(0.5)
    assert not torch.equal(both[0], both[1])
    assert torch.equal(both[1], learned(0.5, (1,))[0])


def test_networks_learn_the_noise_and_are_tested_on_the_truth() -> None:
    run = Run(
        replace(TINY, label_noise=1.0), Model(width=32), steps=300, evaluations=1, schedule=TASKS and Run().schedule
    )
    clean = replace(run, task=TINY)
    noisy, true = (Training([one], "cpu") for one in (run, clean))
    assert torch.equal(noisy.labels[:100], true.labels[:100])
    for training in (noisy, true):
        training.advance(300)
    errors = [training.histories()[0].curves["test_error"][-1] for training in (noisy, true)]
    assert errors[0] > 0.75 and errors[1] < 0.4


@pytest.mark.parametrize(
    "turned", [replace(TINY, label_noise=0.5), replace(SIGNALS, augment=("shift", "scale", "noise"))]
)
def test_a_member_equals_the_same_run_alone(turned: Vision) -> None:
    runs = [Run(turned, Model(width=8), decay=Decay(0.01), steps=15, evaluations=1, seed=seed) for seed in (3, 4)]
    together, alone = Training(runs, "cpu", torch.float64), Training(runs[1:], "cpu", torch.float64)
    together.advance(15)
    alone.advance(15)
    torch.testing.assert_close(together.weights[1], alone.weights[0], rtol=1e-9, atol=1e-11)


def test_fewer_classes() -> None:
    arrays = replace(SIGNALS, classes=3).arrays()
    assert arrays.classes == 3 and set(arrays.labels.tolist()) == {0, 1, 2}
    whole = SIGNALS.arrays()
    assert torch.equal(arrays.inputs, whole.inputs[whole.labels < 3])
    model = replace(SIGNALS, classes=3).build(Model(width=8), 1)
    assert model(arrays.inputs[:5].unsqueeze(0)).shape == (1, 5, 3)
    noisy = replace(SIGNALS, classes=3, label_noise=1.0)
    assert set(Batches(noisy, [0], len(arrays)).labels(arrays.labels).unique().tolist()) == {0, 1, 2}


# Augmentation


def batch(kinds: tuple[str, ...], step: int = 0) -> torch.Tensor:
    batches = Batches(replace(SIGNALS, augment=kinds), [0], 10_000)
    for before in range(step + 1):
        chosen = batches.indices(before)
    return batches.augment(torch.ones(1, *chosen.shape[1:], 40).cumsum(-1))


def test_each_kind_changes_signals_in_its_own_way() -> None:
    plain, moved, scaled, noisy = (batch(kinds) for kinds in ((), ("shift",), ("scale",), ("noise",)))
    assert not torch.equal(moved, plain) and torch.equal(moved.sort(-1).values, plain)
    ratio = scaled / plain
    assert ratio.std(-1).max() < 1e-5 and ratio.min() >= 0.8 and ratio.max() <= 1.2 and ratio.std() > 0.05
    assert (noisy - plain).std().item() == pytest.approx(0.1, rel=0.1)


def test_kinds_share_their_draws_and_every_pass_has_new_ones() -> None:
    assert torch.equal(batch(("shift", "scale")), move_signals(batch(("shift",)), drawn_first(), ("scale",)))
    assert torch.equal(batch(("scale", "shift")), batch(("shift", "scale")))
    assert not torch.equal(batch(("shift",)), batch(("shift",), step=4)), "a pass has four batches"


def drawn_first() -> torch.Tensor:
    batches = Batches(replace(SIGNALS, augment=("shift",)), [0], 10_000)
    batches.indices(0)
    return batches.drawn[:, :, batches.batch]


def test_images_take_the_same_draws_whatever_is_asked() -> None:
    first, again = (draw("fashion", 5, 40, torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(first, again) and first.shape == (3, 5)
    images = torch.rand(1, 50, 1, 7, 7)
    for kinds in (("shift",), ("mirror",), ("shift", "mirror")):
        batches = Batches(replace(TINY, augment=kinds), [0], len(TRUE))
        batches.indices(0)
        assert not torch.equal(batches.augment(images), images)
    mirrored = Batches(replace(TINY, augment=("mirror",)), [0], len(TRUE))
    mirrored.indices(0)
    for before, after in zip(images[0], mirrored.augment(images)[0], strict=True):
        assert torch.equal(before, after) or torch.equal(before.flip(-1), after)


# More signals than the well-known ones


def test_more_signals_keep_the_test_examples_and_add_new_ones() -> None:
    few, more = SIGNALS.arrays(), replace(SIGNALS, train_size=9950).arrays()
    assert len(few) == 10_000 and len(more) == 20_000
    assert torch.equal(more.inputs[:10_000], few.inputs) and torch.equal(more.labels[:10_000], few.labels)
    assert not torch.equal(more.inputs[10_000:], few.inputs)
    assert more.inputs[10_000:].std().item() == pytest.approx(1.0, abs=0.02)
    fresh = Batches(replace(SIGNALS, train_size=9950), [0], len(more)).sets[0]
    assert len(set(fresh.tolist())) == 9950 and fresh.min() >= 100
