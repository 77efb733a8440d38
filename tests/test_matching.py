"""Members that copy norm or effective lr: they copy just that, and where theory says so nothing else changes."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from wdlab import Decay, Model, Optimizer, Run, Timing, Training, Vision
from wdlab.run import Match
from wdlab.train import watch

TINY = Vision("tiny", "fashion", train_size=96, test_size=60, batch_size=16, image_size=7)
NEVER, EARLY = Decay(0.1, Timing.never()), Decay(0.1, Timing.first(0.5))
PLAIN, MOMENTUM, ADAM = Optimizer(lr=0.3, momentum=0.0), Optimizer(), Optimizer("adam", lr=0.01)
BASE = Run(TINY, Model(width=8, depth=2), PLAIN, decay=NEVER, steps=30, evaluations=3)
RESNET = Model("resnet", width=2, depth=2)

OF_LR, OF_NORM = Match(effective_lr=EARLY), Match(norm=EARLY)


def trained(*runs: Run) -> Training:
    training = Training(runs, "cpu", torch.float64)
    training.advance(training.steps)
    return training


def directions(training: Training) -> list[torch.Tensor]:
    """What each member's network computes, up to the scale that a normalization takes out: W / ||W||, and the rest."""
    parts = [
        tensor.detach().flatten(1) / (tensor.detach().flatten(1).norm(dim=1, keepdim=True) if free else 1.0)
        for name, tensor in training.model.named_parameters()
        for free in [name in training.model.scale_invariant]
    ]
    return list(torch.cat(parts, 1)[: len(training.runs)])


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    return (a - b).norm().item()


@pytest.mark.parametrize("model", [BASE.model, RESNET], ids=["mlp", "resnet"])
@pytest.mark.parametrize("optimizer", [MOMENTUM, ADAM], ids=["sgd", "adam"])
def test_what_is_matched_is_the_leaders_at_every_reading(model, optimizer) -> None:
    base = replace(BASE, model=model, optimizer=optimizer)
    early = replace(base, decay=EARLY)
    training = trained(early, replace(base, match=OF_LR), replace(base, match=OF_NORM), base)
    leader, of_lr, of_norm, never = training.histories()
    assert of_lr.curves["effective_lr"] == pytest.approx(leader.curves["effective_lr"], rel=1e-9)
    assert of_lr.curves["weight_norm"][-1] != pytest.approx(leader.curves["weight_norm"][-1], rel=0.01)
    for name in training.model.scale_invariant:
        norms = training.model.get_parameter(name).detach().flatten(1).norm(dim=1)
        assert norms[2] == pytest.approx(norms[0].item(), rel=1e-12)
        assert norms[3] != pytest.approx(norms[0].item(), rel=0.01)
    assert of_norm.curves["effective_lr"] == pytest.approx(leader.curves["effective_lr"], rel=1e-9)
    assert never.curves["effective_lr"][-1] != pytest.approx(leader.curves["effective_lr"][-1], rel=0.01)


def test_the_start_is_the_norm_a_run_began_with() -> None:
    training = Training([replace(BASE, match=Match(norm="start"))], "cpu", torch.float64)
    before = [training.model.get_parameter(n).norm().item() for n in training.model.scale_invariant]
    training.advance(training.steps)
    assert [training.model.get_parameter(n).norm().item() for n in training.model.scale_invariant] == pytest.approx(
        before, rel=1e-12
    )


def test_without_momentum_copying_the_norm_and_copying_the_effective_lr_are_one_method() -> None:
    """Both turn the weights as the leader's lr turns the leader's; BatchNorm's eps alone tells them apart."""
    training = trained(replace(BASE, match=OF_LR), replace(BASE, match=OF_NORM), BASE)
    of_lr, of_norm, never = directions(training)
    assert apart(of_lr, of_norm) < 0.01 * apart(of_lr, never)


@pytest.mark.parametrize("norm", ["start", EARLY], ids=["start", "early"])
def test_without_momentum_a_small_norm_with_the_old_effective_lr_changes_nothing(norm) -> None:
    rescaled = replace(BASE, match=Match(norm=norm, effective_lr=NEVER))
    same, never, freed = directions(trained(rescaled, BASE, replace(BASE, match=Match(norm=norm))))
    assert apart(same, never) < 0.01 * apart(freed, never)


@pytest.mark.parametrize("match", [Match(norm=NEVER), Match(effective_lr=NEVER)])
def test_copying_from_oneself_changes_no_bit(match: Match) -> None:
    training = trained(replace(BASE, match=match), BASE)
    assert torch.equal(training.weights[0], training.weights[1])


@pytest.mark.parametrize("match", [OF_LR, OF_NORM, Match("start", EARLY)])
def test_a_matched_member_equals_the_same_run_alone_with_its_leader_unseen(match: Match) -> None:
    run = replace(BASE, optimizer=MOMENTUM, match=match)
    among = trained(replace(BASE, seed=1, optimizer=MOMENTUM), run, replace(run, seed=2))
    alone = trained(run)
    assert len(alone.histories()) == 1 and len(alone.weights) == 2
    torch.testing.assert_close(among.weights[1], alone.weights[0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("match", [OF_LR, OF_NORM])
def test_a_fork_goes_on_matching(match: Match) -> None:
    training = Training([replace(BASE, optimizer=MOMENTUM, match=match)], "cpu")
    training.advance(12)
    copy = training.fork()
    training.advance(18)
    copy.advance(18)
    assert torch.equal(training.weights, copy.weights)


def test_a_diverged_leader_takes_only_its_followers_along() -> None:
    wild = Decay(1e30)
    training = trained(replace(BASE, match=Match(norm=wild)), BASE)
    follower, other = training.histories()
    assert follower.diverged_at is not None and other.diverged_at is None
    torch.testing.assert_close(training.weights[1], trained(BASE).weights[0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Match(norm="begin"), "norm='begin' is unknown; Allowed: start"),
        (lambda: Match(effective_lr="start"), "effective_lr='start' is not allowed; give the wdlab.Decay"),
        (lambda: Match(norm=0.1), "norm=0.1 is not allowed"),
        (lambda: replace(BASE, model=Model(norm=False), match=OF_LR), "with norm=True or a"),
        (lambda: replace(BASE, match=Match(norm=Decay(0.1, mask="everything"))), "this scaling and mask"),
        (lambda: replace(BASE, match=None), "match=None is not allowed; give a wdlab.Match"),
    ],
)
def test_what_cannot_be_matched_is_refused(make, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()


def test_watching_shows_each_step_as_it_was_taken() -> None:
    watched, plain = Training([BASE, replace(BASE, decay=EARLY)], "cpu", torch.float64), trained(BASE)
    steps = list(watch(watched))
    assert [step.number for step in steps] == list(range(30))
    for step, then in pairwise(steps):
        for name in step.before:
            assert torch.equal(step.after[name], then.before[name])
            moved = step.before[name][0] - step.lr[0] * step.gradient[name][0]  # member 0 has no decay, no momentum
            torch.testing.assert_close(step.after[name][0], moved, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(watched.weights[0], plain.weights[0], rtol=1e-9, atol=1e-11)
    assert set(steps[0].before) == set(watched.model.scale_invariant)
