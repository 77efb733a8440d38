"""The Lab on every kind of task: it trains, forks, names and tells what the task has, and nothing it has not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import wdlab
from tests.lab.live import visible
from wdlab.claims import chapter08, chapter09
from wdlab.lab import Dials, Lab, worker
from wdlab.lab.dials import SCHEDULES
from wdlab.lab.quantities import quantity
from wdlab.lab.usual import NAMED, OFFLINE, usual
from wdlab.run import Run
from wdlab.tasks import DQN, IWSLT, Task, Translation
from wdlab.train import Training

pytestmark = pytest.mark.usefixtures("quick")

WORDS = Translation(name="words", train_size=40, test_size=20, batch_size=10)
POLE = DQN(name="pole", frames=300, warmup=60, replay=300, batch_size=8, epsilon_frames=50, test_size=2)
NETS = {WORDS: wdlab.Model("transformer", 16, 1), POLE: wdlab.Model("mlp", 8, 1, norm=False)}
each = pytest.mark.parametrize("task", NETS, ids=lambda task: task.name)


@pytest.fixture
def little(make):
    def little(task: Task, **options: object) -> Lab:
        return make(**{"task": task, "model": NETS[task], "steps": 12} | options)

    return little


@each
def test_a_run_equals_the_librarys_own(little, task: Task) -> None:
    lab = little(task, seed=10_003)
    lab.run(timing="late", weight_decay=0.1)
    run = lab.histories[0].run
    assert (run.task, run.optimizer.name, run.seed) == (task, "adam", 10_003)
    training = Training([run], "cpu")
    training.advance(12)
    (history,) = training.histories()
    for name in ("test_error", "weight_norm", "decay_step"):
        assert lab.histories[0].curves[name][-1] == history.curves[name][-1]


@pytest.mark.parametrize(("name", "base"), [("translation", chapter08.translating), ("cartpole", chapter09.playing)])
def test_a_lab_starts_where_the_chapter_does(make, name: str, base) -> None:
    lab, run = make(task=name, model=None, steps=None), base("demo")
    planned = lab._planned.run
    assert (planned.task, planned.model, planned.optimizer, planned.schedule, planned.steps) == (
        run.task, run.model, run.optimizer, run.schedule, run.steps,
    )  # fmt: skip


@pytest.mark.parametrize("optimizer", ["rmsprop", chapter09.DOPAMINE["rmsprop"]], ids=["name", "value"])
@pytest.mark.parametrize("dials", [{}, {"task": "translation"}, {"task": "mnist1d"}], ids=["own", "words", "images"])
def test_an_optimizer_that_no_lab_has_is_refused_in_words(make, optimizer: object, dials: dict[str, str]) -> None:
    lab = make(task="cartpole", model=None)
    with pytest.raises(ValueError, match=r"^optimizer=.*rmsprop.* is unknown; Allowed: adam, plain_sgd, sgd\.$"):
        lab.run(optimizer=optimizer, **dials)
    assert lab.histories == () and lab.dials.optimizer == "adam"


def test_neither_a_run_with_it_nor_a_link_to_it_opens_a_lab() -> None:
    run = replace(chapter09.playing("demo"), optimizer=chapter09.DOPAMINE["rmsprop"])
    with pytest.raises(ValueError, match=r"^task=Run.* is not allowed in a Lab; give a wdlab\.Vision"):
        Lab(run, device="cpu")
    for task in ("cartpole", "translation", "mnist1d"):
        lab = Lab(task, device="cpu")
        link = lab.link().replace(f'"optimizer":"{lab.dials.optimizer}"', '"optimizer":"rmsprop"')
        lab.close()
        with pytest.raises(ValueError, match=r"^optimizer='rmsprop' is unknown; Allowed: adam, plain_sgd, sgd\.$"):
            Lab.from_link(link, device="cpu")


@each
def test_every_dial_of_the_task_changes_the_weights(little, task: Task) -> None:
    lab = little(task)
    changes = [{}, {"timing": "early"}, {"weight_decay": 0.5}, {"lr": 0.02}, {"seed": 1}, {"schedule": "falls to 5%"}]
    changes += [{"coupling": name} for name in wdlab.COUPLINGS if name != "l2"]
    changes += [{"optimizer": name} for name in ("sgd", "plain_sgd")]
    first, norms = lab.dials, []
    for change in changes:
        lab.dials = replace(first, weight_decay=0.1, lr=0.005)
        lab.run(**change)
        norms.append(lab.histories[-1].curves["weight_norm"][-1])
    assert len(set(norms)) == len(changes)


@each
def test_a_fork_goes_on_from_the_same_bits(little, task: Task, monkeypatch) -> None:
    made: list[Training] = []

    class Kept(Training):
        def __init__(self, *given: object) -> None:
            super().__init__(*given)
            made.append(self)

        def fork(self) -> Training:
            made.append(super().fork())
            return made[-1]

    monkeypatch.setattr(worker, "Training", Kept)
    lab, other = little(task, seed=10_000), little(task, seed=10_000)
    lab.run(timing="always", weight_decay=0.1, until=0.5)
    lab.fork(timing="never")
    lab.resume()
    other.run(window=(0, 0.5), weight_decay=0.1)
    original, fork, half = made
    assert torch.equal(fork.weights, half.weights) and not torch.equal(original.weights, fork.weights)
    assert "never, fork at 50%" in lab._curves._panels[0]._pens[1].label.get_text()


@each
def test_a_link_opens_the_same_run(little, task: Task) -> None:
    lab = little(task, show="all", curves=("test_error", "step_parts"))
    lab.panel.controls["coupling"].value = "decoupled"
    other = Lab.from_link(lab.link(), device="cpu", block=True)
    try:
        for one in (lab, other):
            one.run()
        assert other.histories[0].run == lab.histories[0].run and other.link() == lab.link()
        assert other.histories[0].curves["test_error"] == lab.histories[0].curves["test_error"]
    finally:
        other.close()


@each
def test_dials_that_the_task_has_not_got_are_hidden_and_refused(little, task: Task) -> None:
    lab = little(task, show="all")
    for name in ("label_noise", "train_size", "augment"):
        assert lab.panel._boxes[name].layout.display == "none"
    for dial in ({"label_noise": 0.5}, {"train_size": 20}, {"augment": True}):
        with pytest.raises(ValueError, match=f"is not allowed with task='{task.name}', which has no such dial"):
            lab.run(**dial)
        assert "which has no such dial" in lab.desk.status.value
    lab.panel.controls["task"].value = "mnist1d"
    assert lab.panel._boxes["label_noise"].layout.display is None


def test_a_game_is_told_by_its_return(little) -> None:
    lab = little(POLE)
    assert lab.desk.curves["test_error"].description == "return"
    assert lab.figure.axes[0].get_title("left") == "return: mean of 2 test games of pole"
    lab.run(seeds=2)
    first, second = lab.histories
    errors = zip(first.curves["test_error"], second.curves["test_error"], strict=True)
    returns = [500 * (1 - sum(pair) / 2) for pair in errors]
    (line,) = visible(lab)
    assert list(line.get_ydata()) == pytest.approx(returns)
    low, high = lab.figure.axes[0].get_ylim()
    assert low == 0 and max(returns) < high
    path = lab._curves._panels[0]._pens[0].band.get_paths()[0].vertices
    assert path[:, 1].max() == pytest.approx(max(500 * (1 - e) for e in first.curves["test_error"] + second.curves["test_error"]))  # fmt: skip # noqa: E501
    for said in (lab.alt, lab.desk.status.value):
        assert f"mean return {returns[-1]:.0f}" in said and "error" not in said
    assert lab.table["mean_return"].tolist() == pytest.approx(returns[-1:])
    shown = lab.desk.table.html.value
    assert "mean return" in shown and "test error" not in shown
    assert lab.table["test_error"].notna().all(), "the file has both"


def test_translation_is_told_by_sentences(little) -> None:
    lab = little(WORDS)
    lab.run()
    assert lab.figure.axes[0].get_title("left") == "test error: share of sentences with a wrong word"
    error = lab.histories[0].curves["test_error"][-1]
    assert f"test error {error:.1%}" in lab.alt and "mean return" not in lab.desk.table.html.value
    assert lab.table["train_size"].tolist() == [40] and lab.table["label_noise"].isna().all()


def test_another_kind_of_task_brings_its_net_numbers_and_a_new_picture(make, monkeypatch) -> None:
    monkeypatch.setitem(NAMED, "cartpole", replace(POLE, name="cartpole"))
    lab = make(show=("task", "optimizer", "lr", "label_noise"))
    lab.panel.controls["label_noise"].value = 0.5
    lab.run()
    lab.panel.controls["task"].value = "cartpole"
    start = usual(POLE).starts["adam"]
    assert (lab.dials.optimizer, lab.dials.lr, lab.dials.weight_decay) == ("adam", start.optimizer.lr, 1e-3)
    assert (lab.dials.schedule, lab.dials.label_noise) == ("constant", None)
    assert lab.panel.controls["lr"].max == start.lrs[1] and lab.desk.curves["test_error"].description == "return"
    lab.run()
    assert len(lab.histories) == 1 and len(visible(lab)) == 1, "an error and a return cannot share an axis"
    assert lab.histories[0].run.model == usual(POLE).model
    assert lab.table["task"].tolist() == ["mnist1d", "cartpole"], "the table keeps all"
    assert "cartpole" in lab.desk.table.html.value
    lab.panel.controls["task"].value = "mnist1d"
    assert lab.desk.curves["test_error"].description == "error" and lab.dials.optimizer == "sgd"
    lab.run()
    assert lab.histories[-1].run.model == lab.model and lab.figure.axes[0].get_title("left").startswith("test error")


def test_labels_call_every_task_by_its_name(make) -> None:
    lab = make(steps=2)
    lab.run()
    lab.run(task="fashion")
    said = [pen.label.get_text().split("  ")[1] for pen in lab._curves._panels[0]._pens if pen.label.get_visible()]
    assert sorted(said) == ["fashion", "mnist1d"]


def test_a_given_optimizer_stays_with_another_task() -> None:
    turned = Dials().turned(task="cartpole", optimizer="sgd")
    assert (turned.optimizer, turned.lr) == ("sgd", usual(POLE).starts["sgd"].optimizer.lr)
    assert Dials().turned(task="fashion", lr=0.2).lr == 0.2
    kept = Dials(optimizer="adam", coupling="second_moment").turned(lr=0.2)
    assert (kept.coupling, kept.lr) == ("second_moment", 0.2)
    assert kept.turned(optimizer="plain_sgd").coupling == "l2"


@pytest.mark.parametrize("name", OFFLINE)
def test_the_task_dial_offers_runs_that_can_be(make, name: str) -> None:
    lab = make(show=("task",), model=None, steps=None)
    lab.panel.controls["task"].value = name
    run: Run = lab._planned.run
    assert run.task == NAMED[name] and run.steps == run.task.steps
    assert str(lab.dials) in lab.desk.status.value or name == "mnist1d"


def test_a_task_that_nobody_would_wait_for_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^task=Iwslt.* is not allowed in a Lab"):
        Lab(task=IWSLT)
    with pytest.raises(ValueError, match=r"^task='iwslt' is unknown"):
        Lab(task="iwslt")


def test_every_kind_starts_within_its_sliders() -> None:
    for task in NAMED.values():
        found = usual(task)
        assert found.optimizer in found.starts and found.schedule in SCHEDULES
        for start in found.starts.values():
            assert 10 ** start.lrs[0] <= start.optimizer.lr <= 10 ** start.lrs[1]
            assert 10 ** start.lambdas[0] <= start.weight_decay <= 10 ** start.lambdas[1]
        assert quantity("test_error", task).tell(0.5)
