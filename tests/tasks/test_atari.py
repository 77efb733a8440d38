"""Atari through ALE, as the paper's scale asks for it: the true games, with the true settings, for a few steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from wdlab import Model, Training, sweep
from wdlab.claims import chapter09
from wdlab.tasks import games
from wdlab.tasks.games import SCREEN, kind, shrunk
from wdlab.tasks.rl import DQN

ale = pytest.mark.skipif(
    games.find_spec("ale_py") is None, reason="ale-py, in which Atari's games come, is not installed: extra rl"
)


def little(game: str = "Pong") -> DQN:
    """Few frames of a game in which whoever does nothing soon loses."""
    return replace(
        chapter09.atari(game), frames=180, warmup=100, replay=150, target_sync=5, epsilon_frames=20, test_size=1
    )


def test_a_screen_shrinks_to_the_means_of_areas() -> None:
    """What is even stays so, the whole mean is kept, and whole areas are plain means."""
    assert (shrunk(np.full((210, 160), 200, np.uint8)) == 200).all()
    screen = np.random.default_rng(0).integers(0, 256, (210, 160)).astype(np.uint8)
    assert shrunk(screen).shape == (SCREEN, SCREEN) and shrunk(screen).mean() == pytest.approx(screen.mean(), abs=0.1)
    double = np.random.default_rng(1).integers(0, 256, (2 * SCREEN, 3 * SCREEN)).astype(np.uint8)
    expected = double.reshape(SCREEN, 2, SCREEN, 3).mean((1, 3))
    assert np.abs(shrunk(double) - expected).max() <= 0.5 + 1e-4


@ale
def test_what_is_seen_is_what_gymnasiums_atari_wrapper_shows() -> None:
    """Its own wrapper shrinks by OpenCV's area means: alike to a grey level, the rest exactly, over a whole game."""
    pytest.importorskip("cv2", reason="OpenCV, which Gymnasium's wrapper needs and wdlab does not, is not installed")
    import gymnasium
    from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

    ours = games._atari("atari/Breakout")()
    raw = gymnasium.make("ALE/Breakout-v5", frameskip=1, repeat_action_probability=0.25)
    theirs = FrameStackObservation(AtariPreprocessing(raw, noop_max=0, frame_skip=4, screen_size=84), 4)
    draw, (seen, _), (expected, _) = np.random.default_rng(0), ours.reset(seed=3), theirs.reset(seed=3)
    for _ in range(300):
        assert np.abs(seen.astype(int) - expected).max() <= 1
        action = int(draw.integers(4))
        seen, *told = ours.step(action)
        expected, *also = theirs.step(action)
        assert told[:3] == also[:3]
        if told[1]:
            (seen, _), (expected, _) = ours.reset(), theirs.reset()


@ale
def test_the_games_are_dopamines() -> None:
    """Four grey images, a quarter of the actions stick, no end where a life is lost, and 27,000 decisions at most."""
    found = kind("atari/Breakout")
    assert found.shape == (4, SCREEN, SCREEN) and found.actions == 4
    game = games._atari("atari/Breakout")()
    assert game.observation_space.dtype == np.uint8 and game.observation_space.shape == found.shape
    told = game.unwrapped.spec.kwargs
    assert (told["repeat_action_probability"], told["frameskip"]) == (0.25, 1)
    assert told["max_num_frames_per_episode"] == 4 * 27_000
    (seen, info), lives = game.reset(seed=0), set()
    assert (seen == seen[-1]).all(), "images before the first are copies of it"
    over = False
    while not over:
        seen, _, terminated, truncated, info = game.step(1)  # fire, and never move
        lives.add(info["lives"])
        over = terminated or truncated
        assert terminated == (info["lives"] == 0)
    assert len(lives) >= 4


@ale
def test_sticky_actions_make_one_policy_play_many_games() -> None:
    def played(seed: int) -> np.ndarray:
        game = games._atari("atari/Breakout")()
        game.reset(seed=seed)
        return np.stack([game.step(1 + step % 3)[0][-1] for step in range(60)])

    assert np.array_equal(played(1), played(1)) and not np.array_equal(played(1), played(2))


@ale
@pytest.mark.slow
@pytest.mark.parametrize("optimizer", chapter09.DOPAMINE)
def test_an_agent_learns_from_atari_and_is_the_same_alone(optimizer: str) -> None:
    run = replace(
        chapter09.dopamine(optimizer), task=little(), model=Model("convnet", 4, 3, norm=False), steps=12,
        evaluations=1, seed=10_000,
    )  # fmt: skip
    pair = [run, replace(run, decay=replace(run.decay, strength=0.01, coupling="decoupled"))]
    together = Training(pair, "cpu")
    start = together.weights.clone()
    assert together.batches.replay.seen.dtype == torch.uint8
    together.advance(12)
    [first, second] = together.histories()
    assert first.broken_at is None and np.isfinite(first.curves["train_loss"][-1])
    assert -21.01 < run.task.points(1 - first.curves["test_error"][-1]) < 21.01, "a game of Pong is to 21 points"
    assert not torch.equal(together.weights[0], start[0]) and not torch.equal(together.weights[0], together.weights[1])
    alone = Training([run], "cpu")
    alone.advance(12)
    torch.testing.assert_close(alone.weights[0], together.weights[0], rtol=1e-4, atol=1e-6)
    assert second.diverged_at is None


@ale
@pytest.mark.slow
def test_a_sweep_plays_atari_with_its_test_episodes() -> None:
    run = replace(chapter09.dopamine("adam"), task=little(), model=Model("convnet", 2, 3, norm=False), evaluations=1)
    (row,) = sweep([replace(run, steps=4, seed=10_000)], device="cpu", jobs=1).table.itertuples()
    assert -21.01 < run.task.points(row.test_accuracy) < 21.01


@ale
def test_an_unknown_atari_game_is_refused() -> None:
    with pytest.raises(ValueError, match="environment='atari/Brakout' is unknown to ale-py"):
        chapter09.atari("Brakout")


def test_without_ale_py_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(games, "find_spec", lambda name: None if name == "ale_py" else name)
    with pytest.raises(ValueError, match=r"environment='atari/Boxing' needs the package 'ale-py'.*wdlab\[rl\]"):
        chapter09.atari("Boxing")


def test_both_published_configurations_are_there_number_for_number() -> None:
    adam, rmsprop = chapter09.DOPAMINE["adam"], chapter09.DOPAMINE["rmsprop"]
    assert (adam.name, adam.lr, adam.eps, adam.betas) == ("adam", 6.25e-5, 1.5e-4, (0.9, 0.999))
    assert (rmsprop.name, rmsprop.lr, rmsprop.eps, rmsprop.betas) == ("rmsprop", 2.5e-4, 1e-5, (0.0, 0.95))
    for name, optimizer in chapter09.DOPAMINE.items():
        assert optimizer.lr in chapter09.rates("paper", name) and len(chapter09.rates("paper", name)) == 3


@ale
@pytest.mark.parametrize("optimizer", chapter09.DOPAMINE)
def test_what_both_share_is_published_too(optimizer: str) -> None:
    run = chapter09.dopamine(optimizer)
    task = run.task
    assert isinstance(task, DQN) and run.optimizer == chapter09.DOPAMINE[optimizer] and run.schedule.name == "constant"
    assert (task.gamma, task.n_step, task.warmup, task.train_every) == (0.99, 1, 20_000, 4)
    assert task.target_sync * task.train_every == 8000, "Dopamine counts decisions, and here steps are counted"
    assert (task.epsilon, task.epsilon_test, task.epsilon_frames) == (0.01, 0.001, 250_000)
    assert (task.replay, task.batch_size, task.frames) == (1_000_000, 32, 200 * 250_000)
    assert not task.double and task.clip
    found = chapter09.over_the_grid(run, "paper", (10_000,))
    assert {one.optimizer.lr for one in found} == set(chapter09.rates("paper", optimizer))
    assert {one.optimizer.name for one in found} == {optimizer}


def test_an_unknown_configuration_is_refused() -> None:
    with pytest.raises(ValueError, match="optimizer='sgd' is unknown"):
        chapter09.dopamine("sgd")
