"""Games to play, several of one kind side by side: Gymnasium's CartPole, MinAtar's Breakout, Atari through ALE.

None is written anew here. A game begins from its own seed and hears nothing of the others; it tells what was seen, the
reward, and whether it *terminated* (the game is over: nothing more is to be had) or was *truncated* (the clock ran out:
more could have been had).
"""

from __future__ import annotations

import copy
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wdlab.checks import known

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

ATARI = "atari/"
"""What the names of Atari games begin with; the rest is ALE's own name, such as "atari/Breakout"."""


class Moved(NamedTuple):
    """What one frame brought, [game] each: the reward, and whether the episode terminated or was truncated."""

    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]


class Games(ABC):
    """Games of one kind in step. `seen` [game, ...] is what each shows now; `broken` says which raised, and what."""

    seen: NDArray[Any]
    broken: dict[int, str]

    @abstractmethod
    def begin(self, which: Iterable[int]) -> None:
        """Begin a new episode in some games: the first time from the game's seed, then from where its numbers are."""

    @abstractmethod
    def step(self, actions: NDArray[np.int64], playing: NDArray[np.bool_] | None = None) -> Moved:
        """Take one action in each game, or in those that are `playing`; what the rest would tell means nothing."""

    @abstractmethod
    def fork(self) -> Games:
        """Return games of their own in the same state."""


class CartPoles(Games):
    """CartPole-v1, by the vector environment that Gymnasium has of it: each column is one game.

    A column begins every episode with the numbers that gymnasium.make("CartPole-v1") would draw from the same seed, and
    goes on bit for bit as that would (a test compares them); all columns together cost as much as seven such games.
    Frames: x, its speed, the pole's angle (radians), its speed. Reward 1 a frame, over at 12 degrees, 2.4 units
    from the middle, or truncated after 500 frames.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
        from gymnasium.utils.seeding import np_random

        self.game: Any = CartPoleVectorEnv(num_envs=len(seeds))
        self.game.reset(seed=0)
        self.starts = [np_random(seed)[0] for seed in seeds]
        self.seen, self.broken = np.zeros((len(seeds), 4), dtype=np.float32), {}
        self.begin(range(len(seeds)))

    def begin(self, which: Iterable[int]) -> None:
        """Begin a new episode in some games."""
        for k in which:
            start = self.starts[k].uniform(-0.05, 0.05, size=(4,))
            self.game.state[:, k], self.game.steps[k], self.seen[k] = start, 0, start

    def step(self, actions: NDArray[np.int64], playing: NDArray[np.bool_] | None = None) -> Moved:
        """Take one action in each game."""
        self.seen, reward, terminated, truncated, _ = self.game.step(actions)
        self.game.prev_done[:] = False  # else it would begin episodes by itself, from numbers that all columns share
        return Moved(reward, terminated, truncated)

    def fork(self) -> CartPoles:
        """Return games of their own in the same state."""
        return copy.deepcopy(self)


class Separate(Games):
    """Games that are environments of Gymnasium's, one after the other.

    One that raises is out: it is named in a warning and in `broken`, and its rewards are NaN from there on.
    """

    def __init__(self, make: Callable[[], Any], seeds: Sequence[int]) -> None:
        self.games = [make() for _ in seeds]
        self.seeds: list[int | None] = list(seeds)
        space = self.games[0].observation_space
        self.seen, self.broken = np.zeros((len(seeds), *space.shape), dtype=space.dtype), {}
        self.begin(range(len(seeds)))

    def begin(self, which: Iterable[int]) -> None:
        """Begin a new episode in some games."""
        for k in which:
            if k not in self.broken:
                self._try(k, partial(self._reset, k))

    def _reset(self, k: int) -> None:
        self.seen[k] = self.games[k].reset(seed=self.seeds[k])[0]
        self.seeds[k] = None

    def step(self, actions: NDArray[np.int64], playing: NDArray[np.bool_] | None = None) -> Moved:
        """Take one action in each game, or in those that are `playing`."""
        count = len(self.games)
        moved = Moved(np.full(count, np.nan, np.float32), np.zeros(count, np.bool_), np.zeros(count, np.bool_))
        for k in range(count) if playing is None else np.flatnonzero(playing).tolist():
            if k not in self.broken:
                self._try(k, partial(self._act, k, int(actions[k]), moved))
        return moved

    def _act(self, k: int, action: int, moved: Moved) -> None:
        self.seen[k], reward, moved.terminated[k], moved.truncated[k], _ = self.games[k].step(action)
        moved.reward[k] = reward

    def _try(self, k: int, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception as error:  # whatever it is, the other games go on
            self.broken[k] = f"{type(error).__name__}: {error}"
            logger.warning("game %d raised %s; it is over for this one, and the others go on.", k, self.broken[k])

    def fork(self) -> Separate:
        """Return games of their own in the same state; raises ValueError where an environment cannot be copied."""
        try:
            return copy.deepcopy(self)
        except (TypeError, AttributeError) as error:
            raise ValueError(
                f"{self.games[0]} cannot be copied ({error}), so this training cannot be forked; use 'cartpole' or "
                "'breakout'."
            ) from error


@dataclass(frozen=True)
class Kind:
    """A kind of game: how to begin some, what is seen of it, how many actions there are, and whose it is.

    `bytes` is what each of the numbers seen takes.
    """

    begin: Callable[[Sequence[int]], Games]
    shape: tuple[int, ...]
    actions: int
    packages: tuple[str, ...]
    bytes: int = 1


@cache
def kind(environment: str) -> Kind:
    """Return the kind of game called `environment`: "cartpole", "breakout", or "atari/" and the name of a game.

    The games themselves are in packages of the extra "rl", and are asked for when one is begun.

    Raises ValueError for a game that nobody knows, and for an Atari game where ale-py is not installed.
    """
    if environment.startswith(ATARI):
        return Kind(lambda seeds: Separate(_atari(environment), seeds), (4, 84, 84), _atari_actions(environment), _ALE)
    return KINDS[known("environment", environment, (*KINDS, f"{ATARI}Breakout"))]


def _breakout() -> Any:
    """MinAtar's Breakout as its authors have it, sticky actions and all, with its image as [channel, row, column]."""
    import gymnasium
    from gymnasium.wrappers import TransformObservation
    from minatar.gym import BaseEnv

    game = BaseEnv("breakout", use_minimal_action_set=True)
    space = gymnasium.spaces.Box(0, 1, (4, 10, 10), dtype=np.bool_)  # type: ignore[arg-type]
    limited = gymnasium.wrappers.TimeLimit(game, BREAKOUT_FRAMES)
    return TransformObservation(limited, lambda image: image.transpose(2, 0, 1), space)


BREAKOUT_FRAMES = 1000
"""After so many frames we stop a game of Breakout, which by itself has no end for whoever never misses."""

KINDS = {
    "cartpole": Kind(CartPoles, (4,), 2, ("gymnasium",), 4),
    "breakout": Kind(lambda seeds: Separate(_breakout, seeds), (4, 10, 10), 3, ("gymnasium", "minatar")),
}

_ALE = ("gymnasium", "ale-py")
SCREEN = 84
"""Rows and columns of an Atari screen as the net sees it."""


def check_installed(environment: str, packages: Iterable[str]) -> None:
    """Raise ValueError where one of the `packages` in which a game comes is missing."""
    for name in packages:
        if find_spec(name.replace("-", "_")) is None:
            raise ValueError(
                f"environment={environment!r} needs the package {name!r}, which is not installed: "
                "pip install 'wdlab[rl]'."
            )


def _atari(environment: str) -> Callable[[], Any]:
    """An Atari game as Dopamine plays it.

    Sticky actions (0.25), every fourth frame, the larger of the last two, 84 x 84 in grey, the last four such images;
    the end of a life is no end; 27,000 decisions at most. By Gymnasium's own wrappers; those that shrink a screen ask
    for OpenCV, so that one step is `shrunk`, to a grey level the same (a test compares them). Images before the first
    of an episode are copies of it, where Dopamine has black ones.
    """
    check_installed(environment, _ALE)
    import ale_py
    import gymnasium
    from gymnasium.wrappers import FrameStackObservation, MaxAndSkipObservation, TransformObservation

    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # else every game begins by printing who made it
    gymnasium.register_envs(ale_py)
    name = f"ALE/{environment.removeprefix(ATARI)}-v5"
    told: Any = {"obs_type": "grayscale", "frameskip": 1, "repeat_action_probability": 0.25}
    space = gymnasium.spaces.Box(0, 255, (SCREEN, SCREEN), dtype=np.uint8)

    def make() -> Any:
        raw = gymnasium.make(name, max_num_frames_per_episode=108_000, **told)
        return FrameStackObservation(TransformObservation(MaxAndSkipObservation(raw, 4), shrunk, space), 4)

    try:
        make().close()
    except gymnasium.error.Error as error:
        raise ValueError(f"environment={environment!r} is unknown to ale-py: {error}") from error
    return make


def shrunk(screen: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a grey screen [row, column] as `SCREEN` by `SCREEN` pixels, each the mean of the area that it covers."""
    rows, columns = (_areas(side) for side in screen.shape)
    found: NDArray[np.uint8] = np.rint(rows @ screen.astype(np.float32) @ columns.T).astype(np.uint8)
    return found


@cache
def _areas(side: int) -> NDArray[np.float32]:
    """Return which share of each of `SCREEN` equal parts of a line every one of its `side` pixels is, [part, pixel]."""
    ends = np.arange(SCREEN + 1)[:, None] * side / SCREEN
    inside = (np.minimum(ends[1:], np.arange(1, side + 1)) - np.maximum(ends[:-1], np.arange(side))).clip(0)
    return (inside * SCREEN / side).astype(np.float32)


@cache
def _atari_actions(environment: str) -> int:
    game = _atari(environment)()
    return int(game.action_space.n)
