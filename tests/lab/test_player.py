"""The Player: it plays the nets it says it plays, frame by frame, before training and after it."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from wdlab import Decay, Model, Optimizer, Results, Run, Schedule, sweep
from wdlab.lab import Player
from wdlab.tasks import generator
from wdlab.tasks.rl import DQN, FIRST_TEST, network_of, play

TASK = DQN(frames=500, warmup=100, replay=400, batch_size=16, epsilon_frames=100, test_size=2)
BASE = Run(
    TASK, Model("mlp", 8, 2, norm=False), Optimizer("adam", 0.003, eps=1e-4), Schedule("constant"), evaluations=2
)
SEEDS = (10_000, 10_001)


@pytest.fixture(scope="module")
def results() -> Results:
    decays = [Decay(1e-3, coupling="l2"), Decay(1.0, coupling="decoupled")]
    return sweep([replace(BASE, decay=one, seed=seed) for one in decays for seed in SEEDS], jobs=1, networks=True)


@pytest.fixture(scope="module")
def made(results: Results) -> Player:
    return Player(results, coupling="l2")


@pytest.fixture
def widget(made: Player) -> Player:
    made.turn(coupling="l2", lr=0.003, weight_decay=1e-3)
    made.seed.value, made.when.value = SEEDS[0], "after training"
    return made


def test_it_plays_the_net_of_the_cell(widget: Player, results: Results) -> None:
    own = play(TASK, network_of(TASK, BASE.model, [results.histories[0].network]), FIRST_TEST)
    assert widget.played.actions == own.actions and widget.played.total == own.total
    assert f"return {own.total:g} in {len(own.actions)} frames" in widget.answer.value
    assert "l2, seed 10000, after training" in widget.answer.value


def test_before_training_it_plays_the_first_weights(widget: Player) -> None:
    widget.when.value = "before training"
    net = TASK.build(BASE.model, 1)
    net.initialize([generator(SEEDS[0], "init")])
    assert widget.played.actions == play(TASK, net, FIRST_TEST).actions
    assert "before training" in widget.answer.value


def test_another_seed_and_another_cell_are_other_nets(widget: Player, results: Results) -> None:
    widget.seed.value = SEEDS[1]
    widget.dials["coupling"].value = "decoupled"
    assert widget.history is not None and widget.history.run == results.runs[3]
    assert "decoupled, seed 10001" in widget.answer.value


def test_frames_are_drawn_and_told_one_by_one(widget: Player) -> None:
    first, words = widget.screen.value, widget.screen_words.value
    widget.frame.value = widget.frame.max
    assert widget.frame.max == len(widget.played.actions) - 1 > 3
    assert widget.screen.value != first and bytes(first).startswith(b"\x89PNG")
    assert widget.screen_words.value != words and "the pole leans by" in words
    assert f"frame {widget.frame.max + 1}." in widget.answer.value


def test_the_cell_keeps_the_picture_and_its_words(widget: Player) -> None:
    kept = widget._repr_mimebundle_()
    assert base64.b64decode(str(kept["image/png"])) == widget.image.value
    assert kept["text/plain"] == widget.alt


def test_a_game_is_told_by_its_return(made: Player, widget: Player, results: Results) -> None:
    row = results.table[results.table["coupling"] == "l2"]
    assert f"return (share of 500) {row['test_accuracy'].mean():.3g} (mean of 2 seeds)" in widget.alt
    assert "l2: return (share of 500) over learning rate" in widget.alt
    assert made.view._picture.side.get_ylabel() == "missing return (share of 500)"
    for metric, curve in (("test_error", "test_loss"), ("test_loss", "train_loss")):
        other = Player(results, metric, curve, coupling="l2")
        axis = other.view._picture.side.get_ylabel()
        assert "missing return" in other.alt and axis in ("missing return (points)", "training loss")
        assert not any(word in other.alt + axis for word in ("error", "accuracy", "test loss", "nats"))


def test_what_cannot_be_shown_is_refused(results: Results) -> None:
    bare = Results(tuple(replace(history, network=None) for history in results.histories[:2]))
    with pytest.raises(ValueError, match="lack the nets of 2 runs"):
        Player(bare)
    seen = sweep([replace(BASE, task="mnist1d", model=Model(width=4), steps=2)], jobs=1, networks=True)
    with pytest.raises(ValueError, match="task='mnist1d' has no picture here"):
        Player(seen)
