"""DQN as a good engineer writes it for one agent: Gymnasium's environment, a replay of tensors, torch's optimizer.

It takes the same random numbers as wdlab, so that both sides play the same games as long as rounding lets them. It
stays on the CPU, where the games are.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import gymnasium
import torch
import torch.nn.functional as F
from plain import Outcome, optimizer_of
from torch import Tensor, nn

from wdlab import Run
from wdlab.models import QMLP, MemberModel, QConv
from wdlab.tasks.games import _breakout
from wdlab.tasks.rl import DQN, Draws, as_inputs, epsilon_at
from wdlab.tasks.task import generator


def prepare(runs: list[Run], device: torch.device) -> Callable[[], list[Outcome]]:
    """Lay everything ready; what is returned trains the agents one after another."""
    start = runs[0].task.build(runs[0].model, len(runs))
    start.initialize([generator(run.seed, "init") for run in runs])
    agents = [PlainDQN(run, plain_net(start, member)) for member, run in enumerate(runs)]
    return lambda: [agent.train(optimizer_of(agent.run, agent.net)) for agent in agents]


def plain_net(model: MemberModel, member: int) -> nn.Sequential:
    """One member of a Q-network as torch.nn modules."""
    layers: list[nn.Module] = []
    if isinstance(model, QConv):
        layer = model.layers[0]
        weight = model.weight_conv_0.data[member]
        conv = nn.Conv2d(weight.shape[0] // layer.size**2, layer.filters, layer.size, layer.stride)
        conv.weight.data = weight.mT.reshape(conv.weight.shape).clone()
        conv.bias.data = model.bias_conv_0.data[member].clone()
        layers += [conv, nn.ReLU(), nn.Flatten()]
    names = ["hidden", "head"] if isinstance(model, QConv) else [str(k) for k in range(model.hidden + 1)]
    assert isinstance(model, QMLP | QConv)
    for name in names:
        weight = getattr(model, f"weight_{name}").data[member]
        linear = nn.Linear(*weight.shape)
        linear.weight.data, linear.bias.data = weight.mT.clone(), getattr(model, f"bias_{name}").data[member].clone()
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class PlainDQN:
    """One agent with its environment and its replay."""

    def __init__(self, run: Run, net: nn.Module) -> None:
        assert isinstance(run.task, DQN)
        self.run, self.task, self.net, self.target = run, run.task, net, copy.deepcopy(net)
        cartpole = self.task.environment == "cartpole"
        self.env: Any = gymnasium.make("CartPole-v1", disable_env_checker=True) if cartpole else _breakout()
        start = int(torch.randint(2**31 - 1, (), generator=generator(run.seed, "game")))
        self.seen, self.frame = torch.from_numpy(self.env.reset(seed=start)[0].copy()), 0
        slots = self.task.replay
        self.states = torch.zeros(slots, *self.seen.shape, dtype=self.seen.dtype)
        self.after = torch.zeros_like(self.states)
        self.actions, self.going = torch.zeros(slots, dtype=torch.int64), torch.zeros(slots)
        self.rewards = torch.zeros(slots)
        self.exploring, self.drawing = (
            Draws([run.seed], "explore", 2),
            Draws([run.seed], "replay", self.task.batch_size),
        )

    @torch.no_grad()
    def play(self) -> None:
        """One frame."""
        chance, which = self.exploring.next()[0].tolist()
        if chance < epsilon_at(self.task, self.frame):
            action = int(which * int(self.env.action_space.n))
        else:
            action = int(self.net(as_inputs(self.seen, torch.float32).unsqueeze(0)).argmax())
        seen, reward, terminated, truncated, _ = self.env.step(action)
        slot, after = self.frame % self.task.replay, torch.from_numpy(seen.copy())
        self.states[slot], self.after[slot], self.actions[slot] = self.seen, after, action
        self.rewards[slot], self.going[slot] = float(reward), float(not terminated)
        self.seen = torch.from_numpy(self.env.reset()[0].copy()) if terminated or truncated else after
        self.frame += 1

    def loss(self) -> Tensor:
        """The Huber loss of one batch."""
        held = min(self.frame, self.task.replay)
        first = (self.drawing.next()[0] * held).long() + max(self.frame - self.task.replay, 0)
        drawn = first % self.task.replay
        with torch.no_grad():
            best = self.target(as_inputs(self.after[drawn], torch.float32)).amax(1)
            target = self.rewards[drawn] + self.task.gamma * self.going[drawn] * best
        said = self.net(as_inputs(self.states[drawn], torch.float32)).gather(1, self.actions[drawn].unsqueeze(1))
        return F.huber_loss(said.squeeze(1), target)

    @torch.no_grad()
    def share(self) -> float:
        """The return of greedy episodes from the beginnings that wdlab tests on, as a share of the best."""
        total = 0.0
        for start in self.task.arrays().inputs.tolist():
            seen, over = self.env.reset(seed=start)[0], False
            while not over:
                best = self.net(as_inputs(torch.from_numpy(seen.copy()), torch.float32).unsqueeze(0)).argmax()
                seen, reward, terminated, truncated, _ = self.env.step(int(best))
                total, over = total + float(reward), terminated or truncated
        return total / self.task.test_size / self.task.best_return

    def train(self, optimizer: torch.optim.Optimizer) -> Outcome:
        """Take every step of the run, and test; the mean loss and the share of the best return."""
        total = torch.zeros(())
        for step in range(self.run.steps):
            while self.frame < self.task.warmup + step * self.task.train_every:
                self.play()
            if step % self.task.target_sync == 0:
                self.target.load_state_dict(self.net.state_dict())
            loss = self.loss()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return Outcome(float(total) / self.run.steps, self.share())
