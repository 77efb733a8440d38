"""Exercises of notebook 09: decoupled decay in reinforcement learning."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from wdlab.exercises.draws import between, dials, distinct, pick, row, tenths, whole
from wdlab.exercises.harness import Case, Exercise, Function, check
from wdlab.exercises.report import Report


def check_target(target: object) -> Report:
    """Check `target(reward, terminated, truncated, values, gamma)`: what Q(s, a) is to become, [frame].

    values[frame, action] is what the target network says of the state that came after.
    """
    return check(TARGET, target)


def check_epsilon(epsilon: object) -> Report:
    """Check `epsilon(frame, warmup, frames, end)`: the share of random actions at a frame, from 1 down to `end`."""
    return check(EPSILON, epsilon)


def check_decayed_share(decayed_share: object) -> Report:
    """Check `decayed_share(m, root, w, lr, weight_decay, coupling)`: decay's share of a step's two lengths.

    m is the mean gradient of the loss and root = sqrt(v) + eps, both as the loss alone left them; coupling is
    "decoupled" or "adaptive".
    """
    return check(SHARE, decayed_share)


def check_middle_mean(middle_mean: object) -> Report:
    """Check `middle_mean(returns)`: the interquartile mean of returns, whose number is a multiple of four."""
    return check(MIDDLE, middle_mean)


# The target


def _target(stops: str = "terminated", mean: bool = False, inside: bool = False, discounted: bool = True) -> Function:
    def target(reward: Tensor, terminated: Tensor, truncated: Tensor, values: Tensor, gamma: float) -> Tensor:
        over = {"terminated": terminated, "both": terminated | truncated, "never": terminated & False,
                "truncated": truncated}[stops]  # fmt: skip
        best = values.mean(1) if mean else values.amax(1)
        going = (~over).to(reward)
        factor = gamma if discounted else 1.0
        return going * (reward + factor * best) if inside else reward + factor * going * best

    return target


def _frames(*ends: str, gamma: float = 0.9) -> Case:
    values = torch.tensor([[3.0, 5.0], [8.0, 2.0], [-1.0, -4.0]], dtype=torch.float64)[: len(ends)]
    return {
        "reward": row(1.0, 2.0, 0.5)[: len(ends)],
        "terminated": torch.tensor([end == "terminated" for end in ends]),
        "truncated": torch.tensor([end == "truncated" for end in ends]),
        "values": values,
        "gamma": gamma,
    }


def _drawn_frames(draw: Generator) -> Case:
    ends = [pick(draw, "", "terminated", "truncated") for _ in range(whole(draw, 2, 4))]
    return {
        "reward": tenths(draw, len(ends)),
        "terminated": torch.tensor([end == "terminated" for end in ends]),
        "truncated": torch.tensor([end == "truncated" for end in ends]),
        "values": tenths(draw, len(ends), whole(draw, 2, 3)),
        "gamma": between(draw, 0.5, 0.99),
    }


TARGET = Exercise(
    title="The target",
    returns=("target",),
    reference=_target(),
    cases=[
        _frames(""),
        _frames("terminated"),
        _frames("truncated"),
        _frames("", gamma=0.5),
        _frames("", "terminated", "truncated"),
        _frames("truncated", "", "terminated"),
    ],
    drawn=_drawn_frames,
    mistakes={
        "where the clock ran out, more could have been had: only termination ends the counting": _target("both"),
        "after the end of a game there is nothing more to be had": _target("never"),
        "the other way about: it is termination after which nothing comes": _target("truncated"),
        "the best action's value, not the mean over actions": _target(mean=True),
        "the reward of the last frame counts, too": _target(inside=True),
        "what comes a frame later is worth gamma as much": _target(discounted=False),
    },
)


# The share of random actions


def _epsilon(start: bool = True, waits: bool = True, clipped: bool = True, grows: bool = False) -> Function:
    def epsilon(frame: int, warmup: int, frames: int, end: float) -> float:
        done = (frame - (warmup if waits else 0)) / frames
        done = min(max(done, 0.0), 1.0) if clipped else done
        done = 1 - done if grows else done
        return (1.0 if start else 0.0) + done * (end - (1.0 if start else 0.0))

    return epsilon


def _at(frame: int, end: float = 0.1, warmup: int = 100, frames: int = 400) -> Case:
    return {"frame": frame, "warmup": warmup, "frames": frames, "end": end}


def _drawn_frame(draw: Generator) -> Case:
    warmup, frames = whole(draw, 50, 300), whole(draw, 100, 900)
    frame = whole(draw, 0, warmup + 2 * frames)
    return {"frame": frame, "warmup": warmup, "frames": frames, "end": between(draw, 0.01, 0.3)}


EPSILON = Exercise(
    title="The share of random actions",
    returns=("epsilon",),
    reference=_epsilon(),
    cases=[_at(100), _at(300), _at(500), _at(50), _at(2000), _at(200, 0.0), _at(80, 0.2, 40, 160)],
    drawn=_drawn_frame,
    mistakes={
        "it begins at 1: at first everything is random": _epsilon(start=False),
        "it falls after the warm-up, not during it": _epsilon(waits=False),
        "before and after the fall it stands still": _epsilon(clipped=False),
        "it falls: an agent that knows more tries less": _epsilon(grows=True),
    },
)


# Decay's share of a step


def _share(by_root: bool = True, swapped: bool = False, of_loss: bool = False, summed: bool = False) -> Function:
    def share(m: Tensor, root: Tensor, w: Tensor, lr: float, weight_decay: float, coupling: str) -> Tensor:
        divided = (coupling == "adaptive") != swapped
        loss, pull = lr * m / (root if by_root else 1), lr * weight_decay * w / (root if divided else 1)
        a, b = (part.sum().abs() if summed else part.norm() for part in (loss, pull))
        return b / a if of_loss else b / (a + b)

    return share


def _step(coupling: str, size: float) -> Case:
    m, root = size * row(0.3, -0.4), size * row(0.5, 0.8)
    return {"m": m, "root": root, "w": row(1.0, 2.0), "lr": 0.01, "weight_decay": 0.1, "coupling": coupling}


def _drawn_parts(draw: Generator) -> Case:
    m, root, w = tenths(draw, 3), tenths(draw, 3).abs(), tenths(draw, 3)
    coupling = pick(draw, "decoupled", "adaptive")
    return {"m": m, "root": root, "w": w, **dials(draw, "lr", "weight_decay"), "coupling": coupling}


SHARE = Exercise(
    title="Decay's share of a step",
    returns=("share",),
    reference=_share(),
    cases=[_step(coupling, size) for size in (1.0, 0.01) for coupling in ("decoupled", "adaptive")],
    drawn=_drawn_parts,
    mistakes={
        "Adam divides the gradient of the loss by root": _share(by_root=False),
        "adaptive decay is divided by root, decoupled decay is not": _share(swapped=True),
        "of both together, decay / (decay + loss)": _share(of_loss=True),
        "lengths, not sums: parts of opposite sign do not cancel in a length": _share(summed=True),
    },
)


# The interquartile mean


def _middle(cut: int = 4, median: bool = False, low: bool = True, sorts: bool = True) -> Function:
    def middle(returns: Tensor) -> Tensor:
        ordered = returns.sort().values if sorts else returns
        gone = len(returns) // cut
        kept = ordered[gone if low else 0 : len(returns) - gone]
        return kept.median() if median else kept.mean()

    return middle


def _returns(*values: float) -> Case:
    return {"returns": row(*values)}


MIDDLE = Exercise(
    title="The interquartile mean",
    returns=("mean",),
    reference=_middle(),
    cases=[
        _returns(10, 20, 30, 40),
        _returns(500, 100, 9, 120),
        _returns(9, 500, 200, 150, 190, 10, 480, 170),
    ],
    drawn=lambda draw: {"returns": (100 * distinct(draw, 4 * whole(draw, 1, 3), of=600)).round()},
    mistakes={
        "sort first: the quarters are of the sorted returns": _middle(sorts=False),
        "both ends go, the lowest quarter too": _middle(low=False),
        "the mean of the middle half, not its median": _middle(median=True),
        "that is the mean of all": _middle(cut=10_000),
    },
)

EXERCISES = (TARGET, EPSILON, SHARE, MIDDLE)
