"""DQN, from top to bottom: play, remember, and learn what each action is worth (Mnih et al. 2015).

A Q-network tells for each action the discounted return that is to be expected. It plays epsilon-greedily, every frame
goes into a replay, and a step of learning draws a batch from there and moves Q(s, a) towards its target,

    y = r + gamma max_a' Q'(s', a'),

where Q' is the target network, a copy that stands still and is renewed now and then; after the end of a game y = r.
`Training` takes the steps, as for every task: what is here is where its batches come from. Members never share
anything: each has its own game, its own replay, and its own chance.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from wdlab.checks import number, whole
from wdlab.models import QMLP, MemberModel, QConv
from wdlab.models.qnet import minatar, nature
from wdlab.tasks.games import ATARI, Games, check_installed, kind
from wdlab.tasks.task import Order, Task, copied, generator, only

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from numpy.typing import NDArray

    from wdlab.run import Model

AHEAD = 256  # steps for which random numbers are drawn at once
FIRST_TEST = 1_000_000_000
"""The seed of the first test episode; those after it follow."""


@dataclass(frozen=True)
class Episodes:
    """What a net is tested on: the seeds of the games that it plays greedily, the same for every run."""

    inputs: Int[Tensor, " episode"]

    @property
    def labels(self) -> Int[Tensor, " episode"]:
        """There is nothing to be answered."""
        return torch.zeros_like(self.inputs)

    def __len__(self) -> int:
        return len(self.inputs)


def _of(value: Any, says: str) -> Any:
    """A hyperparameter with its default, and what it is."""
    return field(default=value, metadata={"says": says})


@dataclass(frozen=True)
class DQN(Task):
    """Deep Q-learning on a game. A *frame* is one decision of the agent; a step is one step of learning.

    Every number is explained beside it, and `explained` tells all. Raises ValueError for an unknown environment and for
    numbers that are not allowed.
    """

    name: str = _of("cartpole", "what the task is called in tables")
    environment: str = _of(
        "cartpole", '"cartpole" (Gymnasium), "breakout" (MinAtar\'s) or "atari/" and the name of a game of ALE'
    )
    frames: int = _of(25_000, "frames that a run takes by default, those of the warm-up included")
    warmup: int = _of(1000, "frames of random actions before the first step: the replay needs something to draw from")
    replay: int = _of(
        25_000, "frames that are remembered; after that the oldest is forgotten. Old frames keep batches varied"
    )
    batch_size: int = _of(32, "transitions in a batch, drawn evenly from all that is remembered")
    train_every: int = _of(4, "frames between two steps of learning")
    gamma: float = _of(
        0.99, "γ, what a reward is worth one frame later: at 0.99 about a hundred frames ahead count, at 0.9 ten"
    )
    target_sync: int = _of(
        150, "steps between two renewals of the target network; a target that moves with the net chases itself"
    )
    epsilon: float = _of(
        0.05, "ε, the share of random actions, ends here: without any, what looks bad is never tried again"
    )
    epsilon_frames: int = _of(5000, "frames after the warm-up in which ε falls from 1 to its end")
    epsilon_test: float = _of(0.0, "the share of random actions in test episodes; at 0 the policy is greedy")
    double: bool = _of(
        False, "let the net choose a' and the target network judge it (van Hasselt et al. 2016); not so in DQN"
    )
    n_step: int = _of(1, "rewards counted before the target network takes over (Sutton 1988); 1 in DQN")
    clip: bool = _of(False, "cut rewards to [-1, 1] for learning, as for Atari; returns are told uncut")
    test_size: int = _of(10, "episodes that a test consists of, from the same beginnings for every run")
    best_return: float = _of(
        500.0, "the return that counts as 1 in scores: the most there is to be had in CartPole, our choice elsewhere"
    )

    def __post_init__(self) -> None:
        for name in ("warmup", "replay", "batch_size", "train_every", "target_sync", "n_step", "test_size"):
            whole(name, getattr(self, name), 1)
        whole("epsilon_frames", self.epsilon_frames)
        whole("frames", self.frames, self.warmup + self.train_every)
        for name in ("gamma", "epsilon", "epsilon_test"):
            object.__setattr__(self, name, number(name, getattr(self, name), 0, 1))
        object.__setattr__(self, "best_return", number("best_return", self.best_return, 0, above=True))
        there = min(self.warmup, self.replay) - self.n_step + 1
        if self.batch_size > there:
            raise ValueError(
                f"batch_size={self.batch_size} is not allowed: after the warm-up the replay holds {max(there, 0)} "
                f"transitions; give a smaller batch, or larger warmup={self.warmup} and replay={self.replay}."
            )
        kind(self.environment)

    def explained(self) -> list[tuple[str, object, str]]:
        """Return the name, the value and the meaning of every hyperparameter.

        >>> DQN().explained()[7][:2]
        ('gamma', 0.99)
        """
        return [(one.name, getattr(self, one.name), one.metadata["says"]) for one in fields(self)]

    @property
    def train_size(self) -> int:
        """Frames a run of the task's own length learns from."""
        return self.frames

    @property
    def epoch(self) -> int:
        """Steps of a run: a stream of frames has no passes."""
        return self.steps

    @property
    def steps(self) -> int:
        """Steps of a run of the task's own length."""
        return (self.frames - self.warmup) // self.train_every

    @property
    def packages(self) -> tuple[str, ...]:
        """Whose game it is."""
        return kind(self.environment).packages

    @property
    def acts(self) -> bool:
        """Batches come of what each member's own net did."""
        return True

    @property
    def together(self) -> int:
        """CartPoles are stepped all at once, so that a frame of many costs little more than a frame of one."""
        return 48 if self.environment == "cartpole" else 0

    @property
    def remembered(self) -> int:
        """Bytes of a member's replay: each frame twice, with its action, reward, and whether it ended and how."""
        seen = kind(self.environment)
        return self.replay * (2 * math.prod(seen.shape) * seen.bytes + 14)

    def check(self, model: Model) -> None:
        """Raise ValueError for a model that cannot play this game, and where the game is not installed."""
        check_installed(self.environment, self.packages)
        images = len(kind(self.environment).shape) == 3
        only(self, model, ("convnet",) if images else ("mlp",))
        if model.norm:
            raise ValueError(
                f"norm=True is not allowed with task={self.name!r}: what a net says of one state would depend on the "
                "other states of its batch; give norm=False."
            )
        depth = 3 if self.environment.startswith(ATARI) else 1
        if images and model.depth != depth:
            raise ValueError(f"depth={model.depth} is not allowed with task={self.name!r}; its net has depth={depth}.")

    def settings(self) -> dict[str, object]:
        """Return what a table says of this task."""
        return {"task": self.name, "double": self.double, "n_step": self.n_step}

    def arrays(self) -> Episodes:
        """Return the test episodes."""
        return Episodes(torch.arange(FIRST_TEST, FIRST_TEST + self.test_size))

    def build(self, model: Model, members: int) -> MemberModel:
        """Return the untrained `model` for `members` members: one input a number seen, one output an action."""
        game = kind(self.environment)
        if model.name == "mlp":
            return QMLP(members, (*game.shape, *[model.width] * model.depth, game.actions))
        layers = (nature if model.depth == 3 else minatar)(model.width)
        return QConv(members, game.shape, layers, game.actions)

    def batches(self, seeds: Sequence[int], examples: int, device: torch.device | str = "cpu") -> Experience:
        """Return what members play and remember, one for each of `seeds`."""
        return Experience(self, seeds, device)

    def evaluate(self, model: MemberModel, inputs: Tensor, labels: Tensor) -> dict[str, Float[Tensor, " member"]]:
        """Return each member's test_loss, by how many points its mean return is below best_return, and test_error.

        test_error = 1 - mean return / best_return, so that `test_accuracy` is the share of the best return; both are
        negative where a net does better than that. NaN where a game raised, which "broken" tells, as a bool.
        """
        found = returns(self, model, inputs.tolist()).mean(1)
        told = {"test_loss": self.best_return - found, "test_error": 1 - found / self.best_return}
        return {**told, "broken": found.isnan()}  # a net that diverged still plays, so only a game that raised has none

    def points(self, score: Any) -> Any:
        """Return the mean return that a `test_accuracy` stands for: a number, an array, a column."""
        return self.best_return * score


# Playing


def epsilon_at(task: DQN, frame: int) -> float:
    """Return the share of random actions at `frame`: 1 during the warm-up, then falling evenly to task.epsilon.

    >>> [epsilon_at(DQN(warmup=100, epsilon=0.1, epsilon_frames=1000), frame) for frame in (99, 100, 600, 9999)]
    [1.0, 1.0, 0.55, 0.1]
    """
    if frame < task.warmup:
        return 1.0
    left = max(1 - (frame - task.warmup) / task.epsilon_frames, 0.0) if task.epsilon_frames else 0.0
    return task.epsilon + left * (1 - task.epsilon)


@torch.no_grad()
def values(model: MemberModel, seen: NDArray[Any]) -> Float[Tensor, "member game action"]:
    """Return what `model` expects of every action in what is seen, [member, game, ...]."""
    first = next(iter(model.parameters()))
    answered: Tensor = model(as_inputs(torch.from_numpy(seen).to(first.device), first.dtype))
    return answered


def as_inputs(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what is seen as a net reads it: bytes of a screen become 0 to 1."""
    return seen.to(dtype).div_(255) if seen.dtype == torch.uint8 else seen.to(dtype)


def returns(task: DQN, model: MemberModel, seeds: Sequence[int]) -> Float[Tensor, "member episode"]:
    """Return the return of each member in episodes that begin from `seeds`, played with task.epsilon_test."""
    shape = (model.members, len(seeds))
    games = kind(task.environment).begin(list(seeds) * model.members)
    playing, total = np.ones(shape, dtype=np.bool_), np.zeros(shape)
    chance = np.random.default_rng(seeds) if task.epsilon_test else None
    while playing.any():
        best = values(model, games.seen.reshape(*shape, *games.seen.shape[1:])).argmax(-1).cpu().numpy()
        if chance is not None:  # the same for every member
            explored = chance.random(len(seeds)) < task.epsilon_test
            best = np.where(explored, chance.integers(kind(task.environment).actions, size=len(seeds)), best)
        moved = games.step(best.ravel(), playing.ravel())
        total += np.where(playing, moved.reward.reshape(shape), 0.0)
        playing &= ~(moved.terminated | moved.truncated | np.isnan(moved.reward)).reshape(shape)
    first = next(iter(model.parameters()))
    return torch.from_numpy(total).to(first.device, first.dtype)


def random_returns(task: DQN, seed: int, episodes: int) -> list[float]:
    """Return the returns of so many games in which every action is drawn at random: what chance gets."""
    game = kind(task.environment)
    games, draw = game.begin(range(episodes)), np.random.default_rng(seed)
    playing, total = np.ones(episodes, dtype=np.bool_), np.zeros(episodes)
    while playing.any():
        moved = games.step(draw.integers(game.actions, size=episodes), playing)
        total += np.where(playing, moved.reward, 0.0)
        playing &= ~(moved.terminated | moved.truncated | np.isnan(moved.reward))
    found: list[float] = total.tolist()
    return found


@dataclass(frozen=True)
class Played:
    """One greedy episode: what was seen before each action [frame, ...], the `actions`, and the return.

    `broken` is what the game raised, where it did; then the return is NaN.
    """

    seen: NDArray[Any]
    actions: tuple[int, ...]
    total: float
    broken: str = ""


def play(task: DQN, model: MemberModel, seed: int = FIRST_TEST) -> Played:
    """Return the episode that the one member of `model` plays greedily from `seed`."""
    game, seen, actions, total, over = kind(task.environment).begin([seed]), [], [], 0.0, False
    while not over:
        seen.append(game.seen[0].copy())
        actions.append(int(values(model, game.seen[None]).argmax(-1)))
        moved = game.step(np.array(actions[-1:]))
        total += float(moved.reward[0])
        over = bool(moved.terminated[0] | moved.truncated[0] | np.isnan(moved.reward[0]))
    return Played(np.stack(seen), tuple(actions), total, game.broken.get(0, ""))


# Learning


@dataclass(frozen=True)
class Transitions:
    """A batch of what happened, [member, batch, ...]: from `state`, `action` brought `reward`, and then came `after`.

    With n steps `reward` is r_1 + gamma r_2 + ... up to the end of the episode, if it came before; `after` is what was
    seen last, and `discount` what a value there is worth now: gamma to the number of rewards counted, and 0 where it
    terminated, for nothing comes after.
    """

    state: Tensor
    action: Int[Tensor, "member batch"]
    reward: Float[Tensor, "member batch"]
    after: Tensor
    discount: Float[Tensor, "member batch"]


def td_target(
    reward: Float[Tensor, "member batch"],
    discount: Float[Tensor, "member batch"],
    judged: Float[Tensor, "member batch action"],
    choosing: Float[Tensor, "member batch action"] | None = None,
) -> Float[Tensor, "member batch"]:
    """Return y = reward + discount Q'(s', a'), with the best a' by `choosing`, or without it by Q' (`judged`) itself.

    `discount` is gamma to the number of frames, and 0 where the game is over. Choosing by the net and judging by the
    target network is double Q-learning: van Hasselt, Guez and Silver (2016).
    """
    best = (judged if choosing is None else choosing).argmax(-1, keepdim=True)
    return reward + discount * judged.gather(-1, best).squeeze(-1)


class Replay:
    """The last frames of every member, [member, slot, ...] each; a frame of all members goes into the same slot.

    An observation is stored twice, as what was seen and as what came after: at the end of an episode they differ.
    """

    def __init__(self, members: int, slots: int, seen: NDArray[Any], device: torch.device | str) -> None:
        shape, dtype = seen.shape[1:], torch.from_numpy(seen[:0]).dtype
        self.slots, self.stored, self.device = slots, 0, device
        self.seen = torch.zeros(members, slots, *shape, dtype=dtype, device=device)
        self.after = torch.zeros_like(self.seen)
        self.action = torch.zeros(members, slots, dtype=torch.int64, device=device)
        self.reward = torch.zeros(members, slots, dtype=torch.float32, device=device)
        self.terminated = torch.zeros(members, slots, dtype=torch.bool, device=device)
        self.ended = torch.zeros_like(self.terminated)

    def add(self, **frame: NDArray[Any]) -> None:
        """Remember a frame of every member in place of the oldest one."""
        slot = self.stored % self.slots
        for name, told in frame.items():
            getattr(self, name)[:, slot] = torch.from_numpy(told)
        self.stored += 1

    def draw(self, chance: Float[Tensor, "member batch"], n_step: int, gamma: float) -> Transitions:
        """Return the transitions that begin at places from 0, the oldest frame, to 1, the newest with n frames."""
        held = min(self.stored, self.slots)
        first = (chance * (held - n_step + 1)).long() + max(self.stored - self.slots, 0)
        reward = torch.zeros(first.shape, device=self.device)
        discount, going, last = torch.ones_like(reward), torch.ones_like(first, dtype=torch.bool), first
        for ahead in range(n_step):
            slot = first + ahead
            last = torch.where(going, slot, last)
            reward = torch.where(going, reward + discount * self._at("reward", slot), reward)
            discount = torch.where(going, discount * gamma, discount)
            going = going & ~self._at("ended", slot)
        discount = discount.masked_fill(self._at("terminated", last), 0.0)  # terminated: nothing comes after
        return Transitions(
            self._at("seen", first), self._at("action", first), reward, self._at("after", last), discount
        )

    def _at(self, name: str, frame: Int[Tensor, "member batch"]) -> Tensor:
        """What every member remembers of these frames of its own."""
        of_member = torch.arange(len(frame), device=self.device).unsqueeze(1) * self.slots
        kept: Tensor = getattr(self, name)
        return (
            kept.flatten(0, 1)
            .index_select(0, (frame % self.slots + of_member).flatten())
            .view(*frame.shape, *kept.shape[2:])
        )

    def fork(self) -> Replay:
        """Return a replay of its own that remembers the same."""
        return copy.deepcopy(self)


class Draws:
    """Evenly distributed numbers of one stream, `count` a step, from each member's own generator."""

    def __init__(self, seeds: Sequence[int], stream: str, count: int) -> None:
        self.generators, self.count = [generator(seed, stream) for seed in seeds], count
        self.drawn, self.at = torch.empty(len(seeds), 0, count, dtype=torch.float64), 0

    def next(self) -> Float[Tensor, "member count"]:
        """Return the numbers of the next step."""
        if self.at == self.drawn.shape[1]:
            fresh = [torch.rand(AHEAD, self.count, generator=g, dtype=torch.float64) for g in self.generators]
            self.drawn, self.at = torch.stack(fresh), 0
        self.at += 1
        return self.drawn[:, self.at - 1]

    def fork(self) -> Draws:
        """Return draws of their own that go on the same."""
        other = copy.copy(self)
        other.generators = [copied(one) for one in self.generators]
        return other


class Experience(Order):
    """The batches of DQN: games, replay and target network of each member; `seeds` has one entry a member.

    Before step t the nets have played warmup + t train_every frames. Equal seeds mean equal beginnings of the games,
    equal chances to explore, and equal places of the replay.
    """

    def __init__(self, task: DQN, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.task, self.seeds, self.device = task, tuple(seeds), device
        game = kind(task.environment)
        starts = [int(torch.randint(2**31 - 1, (), generator=generator(seed, "game"))) for seed in seeds]
        self.games: Games = game.begin(starts)
        self.actions, self.frame = game.actions, 0
        self.replay = Replay(len(self.seeds), task.replay, self.games.seen, device)
        self.exploring = Draws(seeds, "explore", 2)
        self.drawing = Draws(seeds, "replay", task.batch_size)

    def follow(self, model: MemberModel) -> None:
        """Play by `model` from now on; the target network begins as a copy of it."""
        self.model = model
        if not hasattr(self, "target"):
            self.target = copy.deepcopy(model).requires_grad_(False)

    @property
    def broken(self) -> tuple[int, ...]:
        """The members whose game raised."""
        return tuple(self.games.broken)

    def labels(self, true: Tensor) -> Tensor:
        """Return the labels as they are: nothing is learned from them."""
        return true

    def take(self, step: int, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Play on until step `step` is due, and return states with their answers [member, batch, 2]: action, target."""
        while self.frame < self.task.warmup + step * self.task.train_every:
            self._play()
        if step % self.task.target_sync == 0:
            self.target.load_state_dict(self.model.state_dict())
        return self._batch()

    def _play(self) -> None:
        """One frame of every member: act, see what comes of it, remember it, begin anew where the episode is over."""
        actions, seen = self._act(), self.games.seen.copy()
        reward, terminated, truncated = self.games.step(actions)
        ended = terminated | truncated
        if self.task.clip:
            reward = reward.clip(-1, 1)
        frame = {"seen": seen, "action": actions, "reward": reward, "after": self.games.seen}
        self.replay.add(**frame, terminated=terminated, ended=ended)
        self.games.begin(np.flatnonzero(ended).tolist())
        self.frame += 1

    def _act(self) -> NDArray[np.int64]:
        """An action of every member: a random one with chance epsilon, else the one it thinks best."""
        chance, which = self.exploring.next().unbind(1)
        epsilon, random = epsilon_at(self.task, self.frame), (which * self.actions).long()
        if epsilon == 1:
            return random.numpy()
        best = values(self.model, self.games.seen[:, None]).argmax(-1).squeeze(1).cpu()
        return torch.where(chance < epsilon, random, best).numpy()

    @torch.no_grad()
    def _batch(self) -> tuple[Tensor, Tensor]:
        drawn = self.replay.draw(self.drawing.next().to(self.device), self.task.n_step, self.task.gamma)
        dtype = next(iter(self.model.parameters())).dtype
        after = as_inputs(drawn.after, dtype)
        choosing = self.model(after) if self.task.double else None
        target = td_target(drawn.reward.to(dtype), drawn.discount.to(dtype), self.target(after), choosing)
        target[list(self.broken)] = torch.nan  # its loss is NaN, so that this member stands still from here on
        return as_inputs(drawn.state, dtype), torch.stack([drawn.action.to(dtype), target], -1)

    def fork(self) -> Experience:
        """Return a copy in the same state, with games, replay and chances of its own; it must follow a net of its own.

        Raises ValueError for games that cannot be copied.
        """
        other = copy.copy(self)
        for name in ("games", "replay", "exploring", "drawing"):
            setattr(other, name, getattr(self, name).fork())
        other.target = copy.deepcopy(self.target)
        return other


def network_of(task: DQN, model: Model, networks: Sequence[Mapping[str, Tensor]]) -> MemberModel:
    """Return trained nets (`History.network`) as the members of one model, ready to play."""
    found = task.build(model, len(networks))
    found.load_state_dict({name: torch.stack([net[name] for net in networks]) for name in networks[0]})
    return found


CARTPOLE = DQN()
BREAKOUT = DQN(
    "breakout", "breakout", frames=20_000, replay=20_000, target_sync=250, epsilon_frames=5000, best_return=20.0
)
GAMES: dict[str, DQN] = {task.name: task for task in (CARTPOLE, BREAKOUT)}
"""The games of the course by name."""
