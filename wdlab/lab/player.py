"""The Player: a grid of agents; choose a cell, and watch one of its nets play, before training and after it."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets

from wdlab.figures.rl import draw_breakout, draw_cartpole
from wdlab.figures.style import BACKGROUND
from wdlab.lab.controls import figure_png, labelled, line, new_figure, picture, row, stack, unseen
from wdlab.lab.explorer import Explorer
from wdlab.lab.grid import Grid
from wdlab.models import MemberModel
from wdlab.sweeps import Results
from wdlab.tasks import generator
from wdlab.tasks.rl import DQN, FIRST_TEST, Played, network_of, play
from wdlab.train import History

STATES = ("before training", "after training")


class Player(Explorer):
    """An Explorer over a grid of Q-networks that shows a greedy episode of one of its nets, frame by frame.

    `results` are those of `sweep(runs, networks=True)` over lr, lambda, coupling and seed, of CartPole or Breakout; the
    rest are the arguments of `Grid` and its first setting. `played` is the episode that is shown. It begins from the
    same numbers for every net. Raises ValueError for results without nets, and for a game that has no picture here.
    """

    def __init__(
        self, results: Results, metric: str = "test_accuracy", curve: str = "test_error", **setting: Any
    ) -> None:
        missing = sum(history.network is None for history in results.histories)
        if missing:
            raise ValueError(f"results lack the nets of {missing} runs; train them by sweep(runs, networks=True).")
        task = results.runs[0].task
        if not isinstance(task, DQN) or task.environment not in ("cartpole", "breakout"):
            raise ValueError(f"task={task.name!r} has no picture here; give runs of 'cartpole' or 'breakout'.")
        self.task, self._nets = task, dict[tuple[str, float, float, int], History]()
        for history in results.histories:
            run = history.run
            self._nets[run.decay.coupling, run.optimizer.lr, run.decay.strength, run.seed] = history
        self._known: dict[tuple[object, ...], Played] = {}
        super().__init__(Grid(results, metric, curve=curve), **setting)

    def _make_widgets(self) -> None:
        super()._make_widgets()
        seeds = sorted({seed for *_, seed in self._nets})
        self.seed = widgets.Dropdown(options=[(f"seed {seed}", seed) for seed in seeds], value=seeds[0])
        self.seed.layout.width = "95%"  # by itself it is wider than its column on a small screen
        self.when = widgets.ToggleButtons(options=STATES, value=STATES[1])
        self.frame = widgets.IntSlider(value=0, min=0, max=0)
        self.runner = widgets.Play(value=0, min=0, max=0, interval=80)
        widgets.jslink((self.runner, "value"), (self.frame, "value"))
        self.screen, self.screen_words, self.answer = picture(b"", "480px"), widgets.HTML(), widgets.HTML()
        for control in (self.seed, self.when):
            control.observe(lambda _: self._begin(), "value")
        self.frame.observe(lambda _: self._show(), "value")
        chosen = [
            labelled(self.seed, "Which net", "one for each seed"),
            labelled(self.when, "When", "the weights it began with, or those it ended with"),
            labelled(self.frame, "Frame", "of one greedy episode"),
            labelled(self.runner, "Let it run", "play, pause, stop, repeat"),
        ]
        left = stack(chosen, flex="1 1 230px", min_width="0")
        right = stack([self.screen, self.answer, self.screen_words], flex="3 1 460px", min_width="0")
        self._root = stack([self._root, row([left, right], align_items="flex-start", width="100%")], width="100%")

    def _redraw(self) -> None:
        super()._redraw()
        self._begin()

    def _begin(self) -> None:
        """Play the episode of the net that is chosen, and show its first frame."""
        at = self.setting
        self.history = self._nets.get((at.coupling, at.lr, at.weight_decay, self.seed.value))
        self.played = self._episode() if self.history is not None else None
        last = len(self.played.actions) - 1 if self.played is not None else 0
        self.frame.max = self.runner.max = last
        self.frame.value = self.runner.value = 0
        self._show()

    def _episode(self) -> Played:
        assert self.history is not None
        key = (self.history.run, self.when.value)
        if key not in self._known:
            self._known[key] = play(self.task, self._net(self.history), FIRST_TEST)
        return self._known[key]

    def _net(self, history: History) -> MemberModel:
        if self.when.value == STATES[1] and history.network is not None:
            return network_of(self.task, history.run.model, [history.network])
        net = self.task.build(history.run.model, 1)
        net.initialize([generator(history.run.seed, "init")])
        return net

    def _show(self) -> None:
        """Draw the frame that the slider is at, and say the return beside it."""
        if self.played is None or self.history is None:
            self.answer.value = line("There is no net of this seed in this cell.", role="status")
            return
        figure = new_figure(4.8, 2.6)
        axes = figure.add_axes((0.02, 0.02, 0.96, 0.96), facecolor=BACKGROUND)
        frame = min(self.frame.value, len(self.played.seen) - 1)
        (draw_cartpole if self.task.environment == "cartpole" else draw_breakout)(axes, self.played.seen[frame])
        self.screen.value = figure_png(figure)
        self.answer.value = line(self._told(frame), role="status")
        self.screen_words.value = unseen(self._told(frame) + self._in_words(frame))

    def _told(self, frame: int) -> str:
        assert self.played is not None and self.history is not None
        if self.played.broken:
            return f"The game raised {self.played.broken}, so this episode has no return; frame {frame + 1}."
        lost = self.history.diverged_at
        marked = "" if lost is None or self.when.value == STATES[0] else f" It diverged at step {lost}."
        return (
            f"{self.history.run.decay.coupling}, seed {self.history.run.seed}, {self.when.value}: return "
            f"{self.played.total:g} in {len(self.played.actions)} frames; frame {frame + 1}.{marked}"
        )

    def _in_words(self, frame: int) -> str:
        assert self.played is not None
        state = self.played.seen[frame]
        if self.task.environment != "cartpole":
            return f" {int(state[3].sum())} bricks are left."
        return f" The cart is at {state[0]:+.2f}, the pole leans by {float(state[2]) * 57.3:+.1f} degrees."
