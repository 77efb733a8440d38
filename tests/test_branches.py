"""Branches: what runs have in common trains once, they part in time, and nobody's numbers change."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wdlab import Decay, Match, Model, Optimizer, Run, Timing, Training, Vision, sweep
from wdlab.branches import stretches
from wdlab.store import Store
from wdlab.sweeps import train_batch
from wdlab.tasks import GAMES
from wdlab.train import CURVES

TINY = Vision("tiny", "fashion", train_size=64, test_size=50, batch_size=16, image_size=7)
BASE = Run(TINY, Model(width=6, depth=1), decay=Decay(0.05), steps=40, evaluations=8)
TIMINGS = [
    Timing.never(),
    Timing.always(),
    Timing.first(0.1),
    Timing.first(0.5),
    Timing.after(0.5),
    Timing.window(0.3, 0.6),
    Timing.cyclical(),
]


def timed(*timings: Timing, **changes) -> list[Run]:
    return [replace(BASE, decay=replace(BASE.decay, timing=timing), **changes) for timing in timings]


def table(run: Run) -> torch.Tensor:
    return run.decay.strength * run.decay.timing.table(run.steps)


def test_a_seed_under_two_lengths_of_decay_by_hand() -> None:
    early, late, other = *timed(Timing.first(0.1), Timing.first(0.5)), replace(BASE, seed=1)
    first, second = stretches([early, late, other])
    assert (first.stop, first.runs, second.stop) == (3, (early, other), 40), "steps 0 to 2, for 3 is read with lambda 4"
    assert second.runs == (early, late, other) and second.of == (0, 0, 1)


@settings(deadline=None)  # it trains
@given(st.lists(st.sampled_from([r for seed in (0, 1) for r in timed(*TIMINGS, seed=seed)]), min_size=1, max_size=9))
def test_nobody_trains_under_another_s_decay_and_nobody_twice(runs: list[Run]) -> None:
    plan = stretches(runs)
    assert plan[-1].stop == BASE.steps and plan[-1].runs == tuple(runs)
    assert plan[0].of == tuple(dict.fromkeys(plan[0].of)) and len(plan[0].of) == len(plan[0].runs)
    ancestors = list(range(len(runs)))
    for number in range(len(plan) - 1, -1, -1):
        stretch, start = plan[number], plan[number - 1].stop if number else 0
        for run, place in zip(runs, ancestors, strict=True):
            told = stretch.runs[place]
            assert told.seed == run.seed and torch.equal(
                table(told)[start : stretch.stop + 1], table(run)[start : stretch.stop + 1]
            )
        if start < stretch.stop < BASE.steps:
            pasts = {(run.seed, *table(run)[: stretch.stop + 1].tolist()) for run in stretch.runs}
            assert len(pasts) == len(stretch.runs), "two that are the same so far are one"
        ancestors = [stretch.of[place] for place in ancestors]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": Optimizer("adam", 0.01)},
        {"optimizer": Optimizer("adam", 0.01), "decay": Decay(0.05, coupling="own_buffers")},
        {"decay": Decay(0.05, coupling="decoupled")},
        {"optimizer": Optimizer("rmsprop", 0.01, betas=(0.0, 0.99))},
        {"optimizer": Optimizer("adam", 0.01), "decay": Decay(0.05, coupling="decoupled", scaling="gradient_norm")},
        {"model": Model("resnet", width=2, depth=2)},
        {"task": replace(TINY, label_noise=0.2, augment=("shift",)), "model": Model("resnet", width=2, depth=2)},
    ],
    ids=["sgd", "adam", "own_buffers", "decoupled", "rmsprop", "gradient_norm", "resnet", "augmented"],
)
def test_a_run_that_shared_its_past_equals_the_same_run_alone(changes: dict) -> None:
    base = replace(BASE, **changes)
    runs = [replace(base, decay=replace(base.decay, timing=t), seed=seed) for seed in (3, 5) for t in TIMINGS]
    assert len(stretches(runs)[0].runs) < len(runs)
    apart = Training(runs, "cpu")
    apart.advance(BASE.steps)
    for shared, alone in zip(train_batch(runs, "cpu", networks=True), apart.histories(networks=True), strict=True):
        assert (shared.run, shared.steps, shared.diverged_at) == (alone.run, alone.steps, alone.diverged_at)
        for name in CURVES:
            ours, theirs = torch.tensor(shared.curves[name]), torch.tensor(alone.curves[name])
            torch.testing.assert_close(
                ours, theirs, rtol=2e-3, atol=1e-4, equal_nan=True, msg=lambda m, n=name: f"{n}: {m}"
            )
        for name, tensor in alone.network.items():
            torch.testing.assert_close(shared.network[name], tensor, rtol=2e-3, atol=1e-4)


def test_less_is_trained(monkeypatch) -> None:
    trained = []
    step = Training._advance

    def counted(self: Training, read: bool) -> None:
        trained.append(len(self.runs))
        step(self, read)

    monkeypatch.setattr(Training, "_advance", counted)
    runs = timed(Timing.first(0.25), Timing.first(0.5), Timing.always())
    train_batch(runs, "cpu")
    assert trained == [1] * 9 + [2] * 10 + [3] * 21


def test_a_past_that_diverged_is_everybody_s() -> None:
    runs = timed(Timing.after(0.5), Timing.after(0.75), optimizer=Optimizer(lr=1e12), model=Model(width=6, norm=False))
    found = train_batch(runs, "cpu")
    assert found[0].diverged_at == found[1].diverged_at < 10


def test_runs_that_copy_and_agents_train_apart() -> None:
    copying = [replace(run, match=Match("start")) for run in timed(*TIMINGS)]
    agents = [
        Run(GAMES["cartpole"], Model(norm=False), Optimizer("adam"), seed=0, steps=9, decay=Decay(s)) for s in (0, 0)
    ]
    for runs in (copying, agents):
        [only] = stretches(runs)
        assert only.runs == tuple(runs)


def test_the_sweep_counts_what_it_was_asked_for(tmp_path: Path, monkeypatch) -> None:
    runs, counter = timed(*TIMINGS), tmp_path / "done"
    train_batch(runs, "cpu", counter)
    assert counter.stat().st_size == len(runs) * BASE.evaluations
    found = sweep(runs, "cpu", jobs=1, store=Store(tmp_path))
    assert list(found.table["timing"]) == [str(timing) for timing in TIMINGS]
