"""DQN: targets by hand, what ends an episode, replays that do not mix, member = solo, seeds, games that raise."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from wdlab import Decay, Model, Optimizer, Run, Schedule, Training, sweep
from wdlab.claims import chapter09
from wdlab.models import QMLP
from wdlab.store import Store
from wdlab.sweeps import Results
from wdlab.tasks import GAMES, games, generator, rl
from wdlab.tasks.games import CartPoles, Separate, kind
from wdlab.tasks.rl import DQN, Experience, Replay, epsilon_at, network_of, random_returns, returns, td_target

LITTLE = DQN(frames=700, warmup=100, replay=300, batch_size=16, target_sync=20, epsilon_frames=200, test_size=3)
NET, ADAM = Model("mlp", 16, 2, norm=False), Optimizer("adam", 1e-3, eps=1.5e-4)
BASE = Run(LITTLE, NET, ADAM, Schedule("constant"), seed=10_000, evaluations=3)


def replay_of(rewards: list[float], terminated: list[int], truncated: list[int], slots: int = 8) -> Replay:
    """A replay of one member in which the frame t was seen as t, and what came after as t + 1/2."""
    kept = Replay(1, slots, np.zeros((1, 1), dtype=np.float32), "cpu")
    for t, reward in enumerate(rewards):
        over = np.array([t in terminated])
        kept.add(
            seen=np.full((1, 1), t, np.float32), action=np.array([t % 2]), reward=np.array([reward], np.float32),
            after=np.full((1, 1), t + 0.5, np.float32), terminated=over, ended=over | (t in truncated),
        )  # fmt: skip
    return kept


def at(kept: Replay, frame: int, n_step: int = 1, gamma: float = 0.5) -> tuple[float, float, float, float]:
    """What is drawn for one frame, counted from the oldest: seen, reward, after, discount."""
    held = min(kept.stored, kept.slots) - n_step + 1
    found = kept.draw(torch.tensor([[(frame + 0.5) / held]], dtype=torch.float64), n_step, gamma)
    return found.state.item(), found.reward.item(), found.after.item(), found.discount.item()


def test_targets_are_those_computed_by_hand() -> None:
    reward, discount = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.9, 0.9, 0.0]])
    judged = torch.tensor([[[1.0, 5.0], [4.0, 2.0], [7.0, 8.0]]])
    assert td_target(reward, discount, judged)[0].tolist() == pytest.approx([1 + 0.9 * 5, 2 + 0.9 * 4, 3])


def test_double_lets_the_net_choose_and_the_target_judge() -> None:
    judged, chooses = torch.tensor([[[1.0, 5.0], [4.0, 2.0]]]), torch.tensor([[[9.0, 0.0], [0.0, 9.0]]])
    found = td_target(torch.zeros(1, 2), torch.ones(1, 2), judged, chooses)
    assert found[0].tolist() == [1.0, 2.0]


def test_termination_stops_the_bootstrap_and_truncation_does_not() -> None:
    kept = replay_of([1, 1, 1, 1], terminated=[1], truncated=[2])
    assert at(kept, 0) == (0, 1, 0.5, 0.5)
    assert at(kept, 1) == (1, 1, 1.5, 0)
    assert at(kept, 2) == (2, 1, 2.5, 0.5)


def test_n_steps_stop_where_the_episode_ends() -> None:
    kept = replay_of([1, 2, 4, 8, 16, 32], terminated=[3], truncated=[5])
    assert at(kept, 0, 3) == (0, 1 + 0.5 * 2 + 0.25 * 4, 2.5, 0.125)
    assert at(kept, 2, 3) == (2, 4 + 0.5 * 8, 3.5, 0)
    assert at(kept, 3, 3) == (3, 8, 3.5, 0)
    short = replay_of([1, 2, 4, 8], terminated=[], truncated=[1])
    assert at(short, 0, 3) == (0, 1 + 0.5 * 2, 1.5, 0.25)
    assert at(short, 1, 3) == (1, 2, 1.5, 0.5)


def test_a_full_replay_forgets_the_oldest_and_never_looks_across_its_seam() -> None:
    kept = replay_of(list(range(11)), terminated=[], truncated=[], slots=4)
    assert [at(kept, frame)[:3] for frame in range(4)] == [(t, t, t + 0.5) for t in (7, 8, 9, 10)]
    assert [at(kept, frame, 2)[:3] for frame in range(3)] == [(t, t + (t + 1) / 2, t + 1.5) for t in (7, 8, 9)]


def test_every_frame_is_drawn_and_none_that_was_not_played() -> None:
    kept = replay_of([0, 1, 2], terminated=[], truncated=[])
    drawn = kept.draw(torch.rand(1, 4000, generator=generator(0, "draws"), dtype=torch.float64), 1, 0.9)
    counts = drawn.reward.long().flatten().bincount(minlength=3)
    assert len(counts) == 3 and (counts - 4000 / 3).abs().max() < 150


def test_replays_never_mix_members() -> None:
    kept = Replay(3, 5, np.zeros((3, 1), dtype=np.float32), "cpu")
    who = np.arange(3, dtype=np.float32)
    for _ in range(7):
        no = np.zeros(3, dtype=bool)
        kept.add(seen=who[:, None], action=who.astype(int), reward=who, after=who[:, None], terminated=no, ended=no)
    drawn = kept.draw(torch.rand(3, 50, dtype=torch.float64, generator=generator(0, "draws")), 2, 0.5)
    for told in (drawn.state.squeeze(-1), drawn.action, drawn.reward / 1.5, drawn.after.squeeze(-1)):
        assert torch.equal(told.double(), torch.arange(3.0).double().unsqueeze(1).expand(3, 50))


def test_epsilon_falls_evenly_from_one() -> None:
    task = replace(LITTLE, warmup=100, epsilon=0.2, epsilon_frames=400)
    assert [epsilon_at(task, frame) for frame in (0, 99, 100, 300, 500, 9999)] == pytest.approx(
        [1, 1, 1, 0.6, 0.2, 0.2]
    )
    assert epsilon_at(replace(task, epsilon_frames=0), 100) == 0.2


def test_columns_of_cartpole_are_gymnasiums_own_games() -> None:
    seeds, draw = (3, 4, 5), np.random.default_rng(0)
    columns, alone = CartPoles(seeds), Separate(lambda: gymnasium.make("CartPole-v1"), seeds)
    ends = 0
    for _ in range(3000):
        leaning = (columns.seen[:, 2] + columns.seen[:, 3] > 0).astype(np.int64)  # a policy that lasts long, mostly
        actions = np.where(draw.random(3) < 0.1, draw.integers(0, 2, 3), leaning)
        assert np.array_equal(columns.seen, alone.seen)
        found, expected = columns.step(actions), alone.step(actions)
        assert all(map(np.array_equal, found, expected))
        over = np.flatnonzero(found.terminated | found.truncated).tolist()
        ends += len(over)
        columns.begin(over)
        alone.begin(over)
    assert ends > 10


def test_cartpole_is_truncated_after_500_frames() -> None:
    poles = CartPoles([1])
    for frame in range(500):
        moved = poles.step((poles.seen[:, 2] + poles.seen[:, 3] > 0).astype(np.int64))
        assert bool(moved.truncated[0]) == (frame == 499) and not moved.terminated[0]


def test_a_random_policy_lasts_about_22_frames() -> None:
    assert np.mean(random_returns(LITTLE, 0, 400)) == pytest.approx(22.3, abs=2)


def test_chance_gets_the_same_from_the_same_seed_and_little_in_breakout() -> None:
    found = [random_returns(GAMES["breakout"], seed, 40) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert 0 < np.mean(found[0]) < 2, "a brick or so"


MEMBERS = [
    BASE,
    replace(BASE, decay=Decay(1e-2, coupling="l2")),
    replace(BASE, seed=10_001, decay=Decay(0.1, coupling="decoupled")),
]


@pytest.mark.parametrize("task", [LITTLE, replace(LITTLE, double=True, n_step=3)], ids=["dqn", "double, 3 steps"])
def test_a_member_is_the_same_run_alone(task: DQN) -> None:
    runs = [replace(run, task=task) for run in MEMBERS]
    together = Training(runs, "cpu")
    together.advance(together.steps)
    for run, history in zip(runs, together.histories(networks=True), strict=True):
        alone = Training([run], "cpu")
        alone.advance(alone.steps)
        (own,) = alone.histories(networks=True)
        assert own.steps == history.steps
        for name, curve in own.curves.items():
            assert np.array_equal(curve, history.curves[name], equal_nan=True) or np.allclose(
                curve, history.curves[name], rtol=1e-5, equal_nan=True
            )
        for name, tensor in own.network.items():
            torch.testing.assert_close(tensor, history.network[name], rtol=1e-5, atol=1e-6)


def test_one_seed_is_one_beginning_whatever_the_decay() -> None:
    training = Training(MEMBERS, "cpu")
    kept = training.batches.replay
    training.advance()
    assert torch.equal(kept.seen[0, :100], kept.seen[1, :100]) and torch.equal(kept.action[0], kept.action[1])
    assert not torch.equal(kept.seen[0, :100], kept.seen[2, :100])
    weights = dict(training.model.named_parameters())["weight_0"]
    assert torch.allclose(weights[0], weights[1], atol=0.01) and not torch.allclose(weights[0], weights[2], atol=0.01)


def test_seeds_reproduce_bit_for_bit() -> None:
    found = []
    for _ in range(2):
        training = Training(MEMBERS, "cpu")
        training.advance(80)
        found.append((training.weights.clone(), training.batches.replay.seen.clone()))
    assert all(torch.equal(once, again) for once, again in zip(*found, strict=True))


def test_a_fork_goes_on_identically_and_by_itself() -> None:
    training = Training(MEMBERS, "cpu")
    training.advance(30)
    other = training.fork()
    training.advance(60)
    assert not torch.equal(other.weights, training.weights)
    other.advance(60)
    assert torch.equal(other.weights, training.weights)
    assert torch.equal(other.batches.replay.seen, training.batches.replay.seen)


def test_the_target_network_is_renewed_every_so_many_steps() -> None:
    training = Training([BASE], "cpu")
    target = training.batches.target
    first = [p.clone() for p in target.parameters()]
    training.advance(20)
    assert all(map(torch.equal, first, target.parameters()))
    now = [p.clone() for p in training.model.parameters()]
    training.advance(1)
    assert all(map(torch.equal, now, target.parameters())) and not torch.equal(now[0], first[0])


@pytest.mark.parametrize(("name", "value"), [("double", True), ("n_step", 3), ("gamma", 0.5), ("target_sync", 5)])
def test_each_option_changes_what_is_learned(name: str, value: Any) -> None:
    ends = []
    slow = replace(LITTLE, target_sync=60)
    for task in (slow, replace(slow, **{name: value})):
        training = Training([replace(BASE, task=task, optimizer=replace(ADAM, lr=0.01))], "cpu")
        training.advance(training.steps)
        ends.append(training.weights.clone())
    assert not torch.equal(*ends)


class Breaks(gymnasium.Env[Any, Any]):
    """A game of two frames that raises in the one whose number is `fails`."""

    observation_space = gymnasium.spaces.Box(-1, 1, (4,), dtype=np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    frames, fails = 0, -1

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros(4, np.float32), {}

    def step(self, action: int) -> Any:
        self.frames += 1
        if self.frames == self.fails:
            raise RuntimeError("the ball is lost")
        return np.full(4, 0.1, np.float32), 1.0, self.frames % 2 == 0, False, {}


def breaking(fails: int, count: int) -> Separate:
    """So many games, of which the second raises at its frame `fails` while more than two are played."""
    made: list[Breaks] = []

    def make() -> Breaks:
        made.append(Breaks())
        made[-1].fails = fails if len(made) == 2 and count == 2 else -1
        return made[-1]

    return Separate(make, range(count))


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[int], Separate]], None]]:
    """Lets "cartpole" be games that `made` makes, so many of them."""

    def use(made: Callable[[int], Separate]) -> None:
        monkeypatch.setitem(games.KINDS, "cartpole", games.Kind(lambda seeds: made(len(seeds)), (4,), 2, ()))
        kind.cache_clear()

    yield use
    kind.cache_clear()


def test_a_game_that_raises_stops_its_member_alone(raising: Any, caplog: pytest.LogCaptureFixture) -> None:
    raising(lambda count: breaking(180, count))
    training = Training(MEMBERS[:2], "cpu")
    with caplog.at_level(logging.WARNING):
        training.advance(training.steps)
    first, second = training.histories()
    assert (first.diverged_at, first.broken_at) == (None, None)
    assert (second.diverged_at, second.broken_at) == (None, 20), (
        "frame 180 is played before step 20, and no net diverged"
    )
    assert "RuntimeError: the ball is lost" in caplog.text and training.batches.broken == (1,)
    assert np.isfinite(first.curves["test_error"]).all() and np.isnan(second.curves["test_error"][-1])
    assert training.weights.isfinite().all()


def test_a_net_that_diverged_before_its_game_raised_stays_diverged(raising: Any) -> None:
    raising(lambda count: breaking(180, count))
    training = Training(MEMBERS[:2], "cpu")
    training.advance(10)
    training.weights[1] = torch.nan
    forked = training.fork()
    for one in (training, forked):
        one.advance(one.steps)
        _, second = one.histories()
        assert one.batches.broken == (1,) and (second.diverged_at, second.broken_at) == (10, None)


def in_a_test(count: int) -> Separate:
    """Games of which those of a test raise in the episode of the second member's first game, once."""
    made = breaking(-1, count)
    if count == 2 * LITTLE.test_size:
        made.games[LITTLE.test_size].fails = 2
    return made


def test_a_test_that_raises_is_broken_and_no_score_and_training_goes_on(raising: Any, tmp_path: Path) -> None:
    raising(in_a_test)
    training = Training(MEMBERS[:2], "cpu")
    training.advance(training.steps)
    first, second = training.histories()
    assert (first.broken_at, second.broken_at, second.diverged_at) == (None, 0, None)
    assert np.isnan(second.curves["test_error"]).all() and np.isfinite(second.curves["train_loss"][1:]).all()
    assert np.isfinite(first.curves["test_error"]).all()
    alone = Training(MEMBERS[1:2], "cpu")
    alone.advance(alone.steps)
    torch.testing.assert_close(alone.weights[0], training.weights[1], rtol=1e-5, atol=1e-6)

    results = Results((first, second))
    assert results.table["broken_at"].tolist()[1] == 0 and results.table["diverged_at"].isna().all()
    table = chapter09.scored(results)
    assert np.isfinite(table["score"][0]) and np.isnan(table["score"][1])
    assert np.isnan(chapter09.told(lambda runs: 1.0, table)) and chapter09.told(lambda runs: 1.0, table[:1]) == 1.0
    store = Store(tmp_path)
    store.put(second)
    kept = store.get(second.run)
    assert kept is not None and kept.broken_at == 0


def test_an_episode_to_watch_that_raises_says_so(raising: Any) -> None:
    raising(in_a_test)
    assert rl.play(LITTLE, network()).broken == ""
    raising(lambda count: failing(count))
    played = rl.play(LITTLE, network())
    assert played.broken == "RuntimeError: the ball is lost" and np.isnan(played.total)


def failing(count: int) -> Separate:
    made = breaking(-1, count)
    made.games[0].fails = 2
    return made


def network() -> QMLP:
    net = QMLP(1, (4, 8, 2))
    net.initialize([generator(0, "init")])
    return net


@pytest.mark.parametrize(
    ("task", "missing"),
    [(LITTLE, "gymnasium"), (GAMES["breakout"], "gymnasium"), (GAMES["breakout"], "minatar")],
)
def test_a_game_that_is_not_installed_is_named_with_what_to_install(
    task: DQN, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    net = NET if task is LITTLE else Model("convnet", 4, 1, norm=False)
    with pytest.raises(ValueError, match=rf"needs the package '{missing}'.*pip install 'wdlab\[rl\]'"):
        Run(task, net, ADAM)


def test_wdlab_and_its_list_need_no_games() -> None:
    blocked = "import sys; sys.modules.update(dict.fromkeys(('gymnasium', 'minatar', 'ale_py')));"
    code = (
        "import wdlab.claims, wdlab.lab, wdlab.exercises; from wdlab.cli import main; raise SystemExit(main(['list']))"
    )
    told = subprocess.run([sys.executable, "-c", blocked + code], capture_output=True, text=True)
    assert told.returncode == 0 and "early-beats-never" in told.stdout, told.stderr


def test_every_hyperparameter_is_explained() -> None:
    told = LITTLE.explained()
    assert [name for name, _, _ in told] == [one.name for one in fields(DQN)]
    assert dict((name, value) for name, value, _ in told)["frames"] == 700 and all(says for _, _, says in told)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"environment": "cartpol"}, "environment='cartpol' is unknown; did you mean 'cartpole'"),
        ({"batch_size": 200}, "batch_size=200 is not allowed: after the warm-up the replay holds 100"),
        ({"replay": 10}, "batch_size=16 is not allowed: after the warm-up the replay holds 10"),
        ({"gamma": 1.5}, "gamma=1.5"),
        ({"frames": 100}, "frames=100"),
        ({"best_return": 0}, "best_return=0"),
        ({"n_step": 0}, "n_step=0"),
    ],
)
def test_what_is_not_allowed_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(LITTLE, **changes)


@pytest.mark.parametrize(
    ("task", "model", "said"),
    [
        (LITTLE, Model("mlp", 16, 2), "norm=True"),
        (LITTLE, Model("resnet", 16), "use 'mlp'"),
        (GAMES["breakout"], NET, "use 'convnet'"),
        (GAMES["breakout"], Model("convnet", 4, 2, norm=False), "depth=2"),
    ],
)
def test_a_net_that_cannot_play_is_refused(task: DQN, model: Model, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Run(task, model, ADAM)


def test_scores_and_returns_are_two_names_of_one_thing() -> None:
    results = sweep([BASE], jobs=1, networks=True)
    net = network_of(LITTLE, NET, [results.histories[0].network])
    played = returns(LITTLE, net, LITTLE.arrays().inputs.tolist()).mean().item()
    row = results.table.iloc[0]
    assert LITTLE.points(row["test_accuracy"]) == pytest.approx(played) == pytest.approx(500 - row["test_loss"])


def test_test_episodes_do_not_depend_on_who_else_plays() -> None:
    net = QMLP(3, (4, 8, 2))
    net.initialize([generator(seed, "init") for seed in range(3)])
    together = returns(LITTLE, net, [7, 8, 9])
    assert torch.equal(returns(LITTLE, net, [8])[:, 0], together[:, 1])


@pytest.mark.slow
def test_a_trained_agent_is_far_better_than_chance() -> None:
    base = Run(GAMES["cartpole"], Model("mlp", 64, 2, norm=False), ADAM, Schedule("constant"), evaluations=4)
    table = sweep([replace(base, seed=seed, steps=2500) for seed in (10_000, 10_001, 10_002)], jobs=1).table
    assert base.task.points(table["test_accuracy"]).median() > 4 * 22.3


def a_little_breakout() -> Run:
    task = replace(GAMES["breakout"], frames=250, warmup=100, epsilon_frames=50, test_size=2, batch_size=8)
    return Run(task, Model("convnet", 4, 1, norm=False), ADAM, Schedule("constant"), seed=10_000, evaluations=2)


def test_breakout_reproduces_bit_for_bit() -> None:
    found = []
    for _ in range(2):
        training = Training([a_little_breakout()], "cpu")
        training.advance(30)
        found.append((training.weights.clone(), training.batches.replay.seen.clone()))
    assert all(torch.equal(once, again) for once, again in zip(*found, strict=True))


def test_breakout_is_learned_from_images() -> None:
    run = a_little_breakout()
    together = Training([run, replace(run, decay=Decay(0.1, coupling="decoupled"))], "cpu")
    assert together.batches.replay.seen.dtype == torch.bool
    together.advance(together.steps)
    alone = Training([run], "cpu")
    alone.advance(alone.steps)
    torch.testing.assert_close(alone.weights[0], together.weights[0], rtol=1e-4, atol=1e-6)
    assert np.isfinite(together.histories()[0].curves["train_loss"][-1])
    assert isinstance(together.batches, Experience) and together.inputs[0].item() == rl.FIRST_TEST


@pytest.mark.parametrize("task", list(GAMES.values()), ids=list(GAMES))
def test_what_is_remembered_is_what_the_replay_holds(task: DQN) -> None:
    replay = replace(task, replay=1000).batches([10_000, 10_001], 0).replay
    held = sum(kept.nbytes for kept in vars(replay).values() if isinstance(kept, torch.Tensor))
    assert held == 2 * replace(task, replay=1000).remembered
