"""The dials of the data: each turns what it says and nothing else, and the test examples never notice."""

from dataclasses import replace

import pytest
import torch

from wdlab import TASKS, Decay, Model, Run, Timing, Training, Vision
from wdlab.data import mnist1d
from wdlab.tasks import Batches, evaluate, generator, vision
from wdlab.tasks.augment import NOISE, REACH, SCALE, draw, move_signals
from wdlab.train import group_key

TASK = replace(TASKS["mnist1d"], train_size=500)
EXAMPLES = 10_000


def labels(noise: float, seeds=(0,), classes: int | None = None) -> torch.Tensor:
    task = replace(TASK, label_noise=noise, classes=classes)
    true = task.arrays().labels
    return Batches(task, seeds, len(true)).labels(true)


# --- label noise --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.0, 0.25, 0.5, 1.0])
def test_the_share_of_wrong_labels_is_the_noise_times_nine_tenths(noise: float) -> None:
    true, found = TASK.arrays().labels, labels(noise, range(4))
    wrong = (found != true).double().mean(1)
    deviation = 4 * (0.9 * noise * (1 - 0.9 * noise) / EXAMPLES) ** 0.5
    assert found.shape == (4, EXAMPLES)
    assert (wrong - 0.9 * noise).abs().max() <= deviation
    assert found.min() == 0 and found.max() == 9


def test_wrong_labels_are_spread_over_all_classes() -> None:
    true, found = TASK.arrays().labels, labels(1.0)[0]
    counts = torch.stack([found[true == label].bincount(minlength=10) for label in range(10)])
    assert counts.min() > 60 and counts.max() < 145  # 100 expected in each of the 100 cells


def test_more_noise_keeps_the_wrong_labels_of_less() -> None:
    less, more = labels(0.25)[0], labels(0.5)[0]
    changed = less != TASK.arrays().labels
    assert torch.equal(less[changed], more[changed])
    assert (more != TASK.arrays().labels).sum() > 1.5 * changed.sum()


def test_noise_belongs_to_the_seed() -> None:
    alone, among = labels(0.5, [3]), labels(0.5, [1, 3])
    assert torch.equal(alone[0], among[1]) and not torch.equal(among[0], among[1])
    assert torch.equal(alone, labels(0.5, [3]))


def test_without_noise_labels_are_true_for_every_seed() -> None:
    assert torch.equal(labels(0.0, range(3)), TASK.arrays().labels.expand(3, -1))


def test_noise_draws_only_from_the_classes_there_are() -> None:
    found = labels(1.0, classes=3)
    assert set(found.unique().tolist()) == {0, 1, 2}


def test_noise_changes_neither_examples_nor_order() -> None:
    clean, noisy = (Batches(replace(TASK, label_noise=noise), [0], EXAMPLES) for noise in (0.0, 0.5))
    assert all(torch.equal(clean.indices(step), noisy.indices(step)) for step in range(9))


def run(task: Vision, seed: int = 0, steps: int = 6) -> Run:
    return Run(task, Model(width=8, depth=1), decay=Decay(timing=Timing.never()), seed=seed, steps=steps, evaluations=2)


def test_a_noisy_member_equals_the_same_run_alone() -> None:
    task = replace(TASK, label_noise=0.5, augment=("shift", "noise"))
    together, alone = (Training([run(task, seed) for seed in seeds], "cpu", torch.float64) for seeds in ((0, 1), (1,)))
    for training in (together, alone):
        training.advance(6)
    for name, values in together.network(1).items():
        torch.testing.assert_close(values, alone.network(0)[name], rtol=1e-9, atol=1e-11, msg=name)


def test_noise_is_trained_on_and_never_tested_on(monkeypatch) -> None:
    seen = []
    monkeypatch.setattr("wdlab.tasks.vision.evaluate", lambda model, x, y: seen.append((x, y)) or evaluate(model, x, y))
    clean, noisy = (Training([run(replace(TASK, label_noise=noise))]) for noise in (0.0, 1.0))
    true = TASK.arrays().labels[: TASK.test_size]
    assert len(seen) == 2 and all(torch.equal(answers, true) for _, answers in seen)
    for training in (clean, noisy):
        training.advance(6)
    assert not torch.equal(clean.weights, noisy.weights)
    agree = (noisy.train_labels[0] == TASK.arrays().labels).double().mean()
    assert 0.08 < agree < 0.12


def test_networks_learn_the_noise_and_are_tested_on_the_truth() -> None:
    task = Vision("tiny", "fashion", train_size=500, test_size=100, batch_size=50, image_size=7)
    errors = []
    for noise in (0.0, 1.0):
        training = Training([replace(run(replace(task, label_noise=noise), steps=300), model=Model(width=32))])
        training.advance(300)
        errors.append(training.histories()[0].curves["test_error"][-1])
    assert errors[0] < 0.4 and errors[1] > 0.75


# --- set size -----------------------------------------------------------------------------------------------


@pytest.fixture
def small_chunks(monkeypatch):
    """More signals in chunks of 200, so that making them takes no time; what is kept in memory is put aside."""
    monkeypatch.setattr(vision, "CHUNK", 200)
    made = []

    def chunks(count: int):
        made.append(count)
        return mnist1d(200 * count, seed=77)

    monkeypatch.setattr(vision.data, "mnist1d_chunks", chunks)
    vision._with_more.cache_clear()
    yield made
    vision._with_more.cache_clear()


@pytest.mark.parametrize(("size", "chunks"), [(8000, 0), (8001, 1), (8200, 1), (8201, 2), (8600, 3)])
def test_what_goes_beyond_the_source_is_made(small_chunks, size: int, chunks: int) -> None:
    found, source = replace(TASK, train_size=size).arrays(), mnist1d()
    assert small_chunks == ([chunks] if chunks else [])
    assert len(found.labels) == EXAMPLES + 200 * chunks
    assert torch.equal(found.inputs[:EXAMPLES], source.inputs) and torch.equal(found.labels[:EXAMPLES], source.labels)


def test_a_large_set_is_tested_on_the_same_examples_and_trained_on_others(small_chunks) -> None:
    task = replace(TASK, train_size=8600)
    arrays = task.arrays()
    for chosen in Batches(task, range(3), len(arrays.labels)).sets:
        assert len(chosen.unique()) == 8600 and chosen.min() >= task.test_size
    assert torch.equal(arrays.inputs[: task.test_size], TASK.arrays().inputs[: task.test_size])
    tested = {tuple(signal) for signal in arrays.inputs[: task.test_size].tolist()}
    assert not tested & {tuple(signal) for signal in arrays.inputs[task.test_size :].tolist()}


def test_fresh_data_come_once(small_chunks) -> None:
    task = replace(TASK, train_size=65 * 128, batch_size=128)
    found = Batches(task, [0], len(task.arrays().labels))
    seen = torch.cat([found.indices(step)[0] for step in range(task.epoch)])
    assert task.epoch == 65 and len(seen.unique()) == len(seen) == 65 * 128


def test_a_smaller_set_is_part_of_a_larger_one() -> None:
    small, large = (Batches(replace(TASK, train_size=size), [0], EXAMPLES).sets[0] for size in (500, 4000))
    assert set(small.tolist()) < set(large.tolist())


# --- classes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 5, 9, 10])
def test_only_the_first_classes_are_kept(classes: int) -> None:
    task = replace(TASK, classes=classes, test_size=1000)
    found, source = task.arrays(), TASK.arrays()
    assert found.classes == classes and set(found.labels.tolist()) == set(range(classes))
    assert torch.equal(found.inputs, source.inputs[source.labels < classes])
    model = task.build(Model(width=4, depth=1), 1)
    assert model(found.inputs[:3].unsqueeze(0)).shape == (1, 3, classes)


def test_few_classes_and_many_examples_need_more_signals(small_chunks) -> None:
    found = replace(TASK, classes=2, train_size=1000, test_size=1040).arrays()
    assert small_chunks == [1] and len(found.labels) == 2040 and found.classes == 2


def test_tasks_of_different_data_never_train_as_one_batch() -> None:
    tasks = [TASK, *(replace(TASK, **d) for d in ({"label_noise": 0.5}, {"classes": 2}, {"augment": ("shift",)}))]
    assert len({group_key(run(task)) for task in tasks}) == 4


# --- augmentation -------------------------------------------------------------------------------------------

SIGNALS = torch.randn(2, 300, 40, generator=torch.Generator().manual_seed(0))
DRAWN = torch.stack([draw("mnist1d", 300, 40, generator(seed, "augment")) for seed in (0, 1)], 1)


def test_a_shift_turns_a_signal_round_and_does_nothing_else() -> None:
    moved, by = move_signals(SIGNALS, DRAWN, ("shift",)), torch.full((2, 300), REACH + 1)
    for seed in range(2):
        for number in range(300):
            turns = [
                s for s in range(-REACH, REACH + 1) if torch.equal(moved[seed, number], SIGNALS[seed, number].roll(-s))
            ]
            assert len(turns) == 1
            by[seed, number] = turns[0]
    counts = (by + REACH).flatten().bincount(minlength=2 * REACH + 1)
    assert counts.min() > 25  # 55 expected for each of the eleven


def test_a_scale_multiplies_a_signal_and_does_nothing_else() -> None:
    factors = move_signals(SIGNALS, DRAWN, ("scale",)) / SIGNALS
    torch.testing.assert_close(factors, factors[..., :1].expand_as(factors), rtol=1e-4, atol=1e-5)
    factor = factors[..., 0]
    assert 1 - SCALE / 2 <= factor.min() < 0.82 and 1.18 < factor.max() <= 1 + SCALE / 2
    assert factor.mean() == pytest.approx(1, abs=0.02)


def test_noise_is_added_to_every_point_and_does_nothing_else() -> None:
    added = move_signals(SIGNALS, DRAWN, ("noise",)) - SIGNALS
    assert added.std() == pytest.approx(NOISE, rel=0.03) and added.mean().abs() < 0.003
    assert torch.corrcoef(torch.stack([added[..., 0].flatten(), added[..., 1].flatten()]))[0, 1].abs() < 0.15


def test_kinds_share_their_draws_and_come_in_one_order() -> None:
    one, two = (move_signals(SIGNALS, DRAWN, kinds) for kinds in (("shift", "scale"), ("scale", "shift")))
    assert torch.equal(one, two)
    by_hand = move_signals(move_signals(SIGNALS, DRAWN, ("shift",)), DRAWN, ("scale",))
    torch.testing.assert_close(one, by_hand)
    assert Vision(augment=("noise", "shift")).augment == ("shift", "noise")
    assert Vision(augment=("noise", "shift")) == Vision(augment=("shift", "noise", "shift"))


def augmented(kinds: tuple[str, ...], seeds=(0,)) -> Batches:
    return Batches(replace(TASK, augment=kinds), seeds, EXAMPLES)


def test_every_pass_is_changed_anew_and_the_order_stays() -> None:
    plain, found = Batches(TASK, [0], EXAMPLES), augmented(("scale",))
    dot, passes = torch.ones(1, 128, 40), []
    for step in range(2 * TASK.epoch):
        assert torch.equal(plain.indices(step), found.indices(step))
        passes.append(found.augment(dot)[..., 0])
    assert not any(torch.equal(passes[step], passes[step + TASK.epoch]) for step in range(TASK.epoch))


def test_changes_belong_to_the_seed_and_a_fork_goes_on_alike() -> None:
    alone, among = augmented(("shift", "noise"), [1]), augmented(("shift", "noise"), [0, 1])
    signals = SIGNALS[:1, :128]
    for step in range(5):
        alone.indices(step), among.indices(step)
        both = among.augment(signals.expand(2, -1, -1))
        assert torch.equal(alone.augment(signals)[0], both[1]) and not torch.equal(both[0], both[1])
    copy = alone.fork()
    ahead = []
    for step in range(5, 9):
        copy.indices(step)
        ahead.append(copy.augment(signals))
    for step in range(5, 9):
        alone.indices(step)
        assert torch.equal(alone.augment(signals), ahead[step - 5])


@pytest.mark.parametrize("model", [Model(width=8, depth=1), Model("resnet", width=2, depth=1)])
@pytest.mark.parametrize("kind", ["shift", "scale", "noise"])
def test_each_kind_changes_training_and_never_the_test(model: Model, kind: str) -> None:
    ends = []
    for task in (TASK, replace(TASK, augment=(kind,))):
        training = Training([replace(run(task, steps=2), model=model)])
        assert torch.equal(training.inputs.flatten(1), TASK.arrays().inputs)
        training.advance(2)
        ends.append(training.weights.clone())
    assert not torch.equal(*ends)


def test_images_take_the_same_draws_whatever_is_asked() -> None:
    first, again = (draw("fashion", 5, 40, torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(first, again) and first.shape == (3, 5)
    task = Vision("tiny", "fashion", train_size=500, test_size=100, batch_size=50, image_size=7)
    images = torch.rand(1, 50, 1, 7, 7, generator=torch.Generator().manual_seed(0))
    for kinds in (("shift",), ("mirror",), ("shift", "mirror")):
        found = Batches(replace(task, augment=kinds), [0], 6000)
        found.indices(0)
        changed = found.augment(images)
        assert not torch.equal(changed, images)
        if kinds == ("mirror",):
            pairs = zip(images[0], changed[0], strict=True)
            assert all(torch.equal(a, b) or torch.equal(a.flip(-1), b) for a, b in pairs)


# --- what is not allowed ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        ({"label_noise": -0.1}, r"^label_noise=-0\.1 is not allowed"),
        ({"label_noise": "half"}, r"^label_noise='half' is not allowed"),
        ({"label_noise": True}, r"^label_noise=True is not allowed"),
        ({"classes": 11}, r"^classes=11 is not allowed; give a whole number from 2 to 10"),
        ({"classes": 2.0}, r"^classes=2\.0 is not allowed"),
        ({"augment": "shift"}, r"^augment='shift' is not allowed; give a tuple of 'shift', 'scale', 'noise'"),
        ({"augment": ("shift", "turn")}, r"^augment='turn' is unknown"),
        ({"train_size": 1e4}, r"^train_size=10000\.0 is not allowed"),
    ],
)
def test_bad_dials_are_refused_by_name(dials: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TASK, **dials)


def test_images_cannot_be_made() -> None:
    with pytest.raises(ValueError, match=r"^train_size=2001 is not allowed; fashion has 3000 examples"):
        Vision("f", "fashion", train_size=2001, test_size=1000, classes=5).arrays()
