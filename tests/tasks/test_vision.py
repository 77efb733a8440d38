"""What is trained on and tested on: no example serves both, seeds differ, and a pass shows each example once."""

import pytest
import torch

from wdlab import TASKS, Model, Vision, data
from wdlab.models import MLP, ResNet
from wdlab.tasks import Batches, evaluate, generator, vision

TINY = Vision("tiny", "fashion", train_size=50, test_size=30, batch_size=16, image_size=7)


def batches(seeds=(0, 1), task: Vision = TINY, examples: int = 6000) -> Batches:
    return Batches(task, seeds, examples)


def test_a_pass_shows_every_chosen_example_at_most_once() -> None:
    found = batches()
    shown = torch.stack([found.indices(step) for step in range(9)], 1).unflatten(1, (3, 3)).flatten(2)
    assert TINY.epoch == 3 and shown.shape == (2, 3, 48)  # [seed, pass, example]; 2 of 50 are left over
    for seed in range(2):
        for one in shown[seed]:
            assert len(one.unique()) == 48 and set(one.tolist()) <= set(found.sets[seed].tolist())
        assert not torch.equal(shown[seed, 0], shown[seed, 1]), "a fresh order"
    assert set(shown[0].flatten().tolist()) == set(found.sets[0].tolist()), "who is left over changes"


def test_no_example_is_both_trained_on_and_tested_on() -> None:
    found = batches(range(8))
    for chosen in found.sets:
        assert chosen.min() >= TINY.test_size and chosen.max() < 6000
        assert len(chosen.unique()) == TINY.train_size
    greedy = Vision("all", "fashion", train_size=5970, test_size=30, batch_size=16, image_size=7)
    assert batches([0], greedy).sets[0].sort().values.tolist() == list(range(30, 6000))


def test_seeds_differ_in_what_they_learn_from_and_in_what_order() -> None:
    found = batches(range(6))
    assert len({tuple(chosen.tolist()) for chosen in found.sets}) == 6
    everyone = Vision("all", "fashion", train_size=5970, test_size=30, batch_size=16, image_size=7)
    orders = batches(range(3), everyone).indices(0)
    assert len({tuple(order.tolist()) for order in orders}) == 3


def test_a_seed_has_the_same_batches_whoever_is_beside_it() -> None:
    alone, among = batches([3]), batches([1, 3, 2])
    for step in range(7):
        assert torch.equal(alone.indices(step)[0], among.indices(step)[1])


def test_a_fork_goes_on_where_the_original_was() -> None:
    original, untouched = batches(), batches()
    for step in range(5):
        original.indices(step), untouched.indices(step)
    copy = original.fork()
    ahead = [copy.indices(step) for step in range(5, 12)]
    assert all(torch.equal(a, original.indices(step)) for a, step in zip(ahead, range(5, 12), strict=True))
    assert all(torch.equal(a, untouched.indices(step)) for a, step in zip(ahead, range(5, 12), strict=True))


def test_streams_are_independent_of_one_another() -> None:
    streams = [torch.rand(1000, generator=generator(seed, name)) for seed in range(4) for name in ("init", "order")]
    correlations = torch.corrcoef(torch.stack(streams))
    assert (correlations - torch.eye(8)).abs().max() < 0.15
    assert torch.equal(torch.rand(5, generator=generator(7, "x")), torch.rand(5, generator=generator(7, "x")))


class Fixed(MLP):
    """Answers the class written in the first feature, and remembers whether it was training."""

    def forward(self, inputs):
        assert not self.training
        self.largest = max(getattr(self, "largest", 0), inputs.shape[1])
        return 20.0 * torch.nn.functional.one_hot(inputs[..., 0].long(), 4).to(inputs.dtype)


def test_evaluate_counts_every_example_once(monkeypatch) -> None:
    monkeypatch.setattr(vision, "EVALUATION_BATCH", 8)
    labels = torch.arange(30) % 4
    inputs = labels.double().unsqueeze(1).clone()
    inputs[[0, 9, 29]] = (inputs[[0, 9, 29]] + 1) % 4  # three wrong answers, the last in the short last batch
    model = Fixed(3, [1, 2, 4])
    found = evaluate(model, inputs, labels)
    assert found["test_error"].tolist() == pytest.approx([0.1] * 3)
    right, wrong = 4.0 * 0 + torch.tensor([20.0, 0, 0, 0]).double().log_softmax(0)[:2]
    assert found["test_loss"].tolist() == pytest.approx([-(27 * right + 3 * wrong).item() / 30] * 3)
    assert model.largest == 8 and model.training


def test_evaluate_is_the_same_in_any_portions(monkeypatch) -> None:
    model = MLP(2, [49, 5, 10]).double()
    model.initialize([generator(0, "init"), generator(1, "init")])
    inputs, labels = torch.randn(100, 49).double(), torch.randint(10, (100,))
    before = [buffer.clone() for buffer in model.buffers()]
    results = []
    for size in (100, 33, 1):
        monkeypatch.setattr(vision, "EVALUATION_BATCH", size)
        results.append(evaluate(model, inputs, labels))
    for name in ("test_loss", "test_error"):
        for other in results[1:]:
            torch.testing.assert_close(results[0][name], other[name], rtol=1e-12, atol=0)
    assert all(torch.equal(a, b) for a, b in zip(before, model.buffers(), strict=True)), "no running statistic moves"
    expected = [torch.nn.functional.cross_entropy(model.eval()(inputs.expand(2, -1, -1))[k], labels) for k in (0, 1)]
    torch.testing.assert_close(results[0]["test_loss"], torch.stack(expected).detach())


@pytest.mark.parametrize(
    ("task", "model", "shape", "kind"),
    [
        (TINY, Model(width=6, depth=2), (49,), MLP),
        (TINY, Model("resnet", width=4, depth=2, blocks=2), (1, 7, 7), ResNet),
        (TASKS["mnist1d"], Model(width=6, depth=1), (40,), MLP),
        (TASKS["mnist1d"], Model("resnet", width=4, depth=2), (1, 40), ResNet),
    ],
)
def test_models_fit_the_inputs(task: Vision, model: Model, shape: tuple[int, ...], kind: type) -> None:
    inputs = task.shape_inputs(task.arrays().inputs[:5], model)
    assert inputs.shape == (5, *shape)
    net = task.build(model, members=2)
    assert type(net) is kind and net(inputs.expand(2, *inputs.shape)).shape == (2, 5, 10)
    if kind is MLP:
        assert net.sizes == (*shape, *[model.width] * model.depth, 10) and net.norm
        assert not task.build(Model(norm=False), 1).norm
    else:
        assert len(net.blocks) == model.depth * model.blocks


def test_flat_images_are_the_images() -> None:
    inputs = TINY.arrays().inputs[:3]
    assert torch.equal(TINY.shape_inputs(inputs, Model()), inputs.flatten(1))
    assert torch.equal(TINY.shape_inputs(inputs, Model("resnet")), inputs)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Vision(source="mnist"), r"^source='mnist' is unknown; did you mean 'mnist1d'\?"),
        (lambda: Vision(train_size=0), r"^train_size=0 is not allowed; give a whole number of at least 1\.$"),
        (lambda: Vision(test_size=0), r"^test_size=0 is not allowed"),
        (lambda: Vision(test_size=2.5), r"^test_size=2.5 is not allowed"),
        (lambda: Vision(epochs=0), r"^epochs=0 is not allowed"),
        (lambda: Vision(batch_size=1), r"^batch_size=1 is not allowed; give a whole number from 2 to 4000\.$"),
        (lambda: Vision(train_size=64), r"^batch_size=128 is not allowed; give a whole number from 2 to 64\.$"),
        (lambda: Vision(source="fashion", image_size=15), r"^image_size=15 is not allowed; give 7, 14 or 28"),
        (lambda: Vision(augment=True), r"^augment=True is not allowed; give a tuple of 'shift', 'scale', 'noise'\.$"),
        (lambda: Vision(augment=("mirror",)), r"^augment='mirror' is unknown"),
        (lambda: Vision(label_noise=1.5), r"^label_noise=1\.5 is not allowed"),
        (lambda: Vision(classes=1), r"^classes=1 is not allowed"),
    ],
)
def test_a_task_that_cannot_be_is_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_more_examples_than_there_are_is_refused() -> None:
    task = Vision("fashion", "fashion", train_size=4001, test_size=2000, image_size=7)
    message = r"^train_size=4001 is not allowed; fashion has 6000 examples, and test_size=2000 leaves 4000\.$"
    with pytest.raises(ValueError, match=message):
        task.arrays()
    assert len(Vision("fashion", "fashion", train_size=4000, test_size=2000, image_size=7).arrays()) == 6000


def test_the_named_tasks_can_be_had() -> None:
    for name, task in TASKS.items():
        assert task.name == name and task.steps == task.epochs * (task.train_size // task.batch_size)
        if task.source != "cifar10":
            assert len(task.arrays()) >= task.train_size + task.test_size


def test_cifar10_is_tested_on_its_own_test_images(monkeypatch) -> None:
    def arrays(first: int, count: int) -> data.Arrays:
        inputs = torch.arange(first, first + count).float().view(-1, 1, 1, 1).expand(-1, 3, 32, 32).contiguous()
        return data.Arrays(inputs, torch.zeros(count, dtype=torch.int64), 10)

    monkeypatch.setattr(data, "cifar10", lambda: (arrays(0, 40), arrays(1000, 20)))
    vision._source.cache_clear()
    task = Vision("cifar10", "cifar10", train_size=40, test_size=20, batch_size=8, augment=("shift", "mirror"))
    inputs = task.arrays().inputs
    vision._source.cache_clear()
    assert (inputs[: task.test_size] >= 1000).all()
    assert (inputs[Batches(task, [0], len(inputs)).sets[0]] < 1000).all()


AUGMENTED = Vision(
    "moved", "fashion", train_size=50, test_size=30, batch_size=16, image_size=7, augment=("shift", "mirror")
)


def moved(image: torch.Tensor) -> set[tuple[float, ...]]:
    """Every picture that moving by up to 4 pixels and mirroring can make of one."""
    wide = torch.nn.functional.pad(image, (4,) * 4)
    crops = [wide[:, y : y + 7, x : x + 7] for y in range(9) for x in range(9)]
    return {tuple(c.flatten().tolist()) for crop in crops for c in (crop, crop.flip(-1))}


def test_augmented_images_are_moved_or_mirrored_and_nothing_else() -> None:
    found, inputs = batches(task=AUGMENTED), AUGMENTED.arrays().inputs
    places = set()
    for step in range(3):
        images = inputs[found.indices(step)]
        changed = found.augment(images)
        assert changed.shape == images.shape
        for before, after in zip(images.flatten(0, 1), changed.flatten(0, 1), strict=True):
            assert tuple(after.flatten().tolist()) in moved(before)
        places.add(float((changed != images).flatten(2).any(-1).double().mean()))
    assert max(places) > 0.9, "nearly all are changed"


def test_every_move_is_as_likely_as_every_other() -> None:
    dot, found = torch.zeros(1, 16, 1, 15, 15), batches([0], AUGMENTED)
    dot[..., 7, 6] = 1.0  # one pixel left of the middle
    places = []
    for step in range(90):
        found.indices(step)
        places.append(found.augment(dot).flatten(0, 2).nonzero())
    _, rows, columns = torch.cat(places).T  # 1,440 draws
    assert rows.bincount().tolist()[:3] == [0, 0, 0] and (rows.bincount()[3:] > 100).all() and rows.max() == 11
    steps_right = columns.bincount()  # from 2 to 10 as it is, mirrored from 4 to 12
    assert steps_right[:2].sum() == 0 and len(steps_right) == 13
    assert (steps_right[[2, 3, 11, 12]] > 50).all() and (steps_right[4:11] > 100).all()


def test_augmentation_belongs_to_the_seed_and_is_fresh_in_every_pass() -> None:
    image = torch.arange(49.0).view(1, 1, 1, 7, 7)
    alone, among = batches([1], AUGMENTED), batches([0, 1], AUGMENTED)
    drawn = []
    for step in range(6):
        alone.indices(step), among.indices(step)
        mine = alone.augment(image.expand(1, 16, 1, 7, 7))
        theirs = among.augment(image.expand(2, 16, 1, 7, 7))
        assert torch.equal(mine[0], theirs[1]) and not torch.equal(theirs[0], theirs[1])
        drawn.append(mine)
    assert not any(torch.equal(drawn[step], drawn[step + 3]) for step in range(3))
    plain, moved_order = batches([1]), batches([1], AUGMENTED)
    assert all(torch.equal(plain.indices(step), moved_order.indices(step)) for step in range(6))
    copy = alone.fork()
    for step in range(6, 10):
        alone.indices(step), copy.indices(step)
        assert torch.equal(alone.augment(image.expand(1, 16, 1, 7, 7)), copy.augment(image.expand(1, 16, 1, 7, 7)))


def test_without_augmentation_images_stay_as_they_are() -> None:
    found, images = batches(), torch.randn(2, 16, 1, 7, 7)
    found.indices(0)
    assert found.augment(images) is images
