"""Runs are values that say everything about one training; what is not allowed is refused by name, value and range."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wdlab import TASKS, Decay, Model, Optimizer, Run, Schedule, Vision
from wdlab.decay import COUPLINGS
from wdlab.run import SCHEDULES

finals = st.floats(1e-6, 1)
warmups = st.floats(0, 1)
steps = st.integers(1, 400)
quick = settings(deadline=None, max_examples=60)


@quick
@given(st.sampled_from(SCHEDULES), finals, warmups, steps)
def test_a_schedule_is_a_share_of_the_start_at_every_step(name: str, final: float, warmup: float, steps: int) -> None:
    table = Schedule(name, final, warmup).table(steps)
    assert table.shape == (steps,) and table.dtype == torch.float64
    assert (table > 0).all() and (table <= 1).all()


@quick
@given(finals, steps)
def test_exponential_falls_by_one_factor_a_step(final: float, steps: int) -> None:
    table = Schedule("exponential", final).table(steps)
    assert table[0] == 1
    torch.testing.assert_close(table[1:] / table[:-1], torch.full((steps - 1,), final ** (1 / steps)).double())
    assert table[-1].item() * final ** (1 / steps) == pytest.approx(final)  # one more step would be there


@settings(deadline=None, max_examples=12)
@given(finals, st.integers(1, 60))
def test_cosine_is_torch_s(final: float, steps: int) -> None:
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=1.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps, eta_min=final)
    expected = []
    for _ in range(steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        cosine.step()
    assert Schedule("cosine", final).table(steps).tolist() == pytest.approx(expected, rel=1e-6)


@quick
@given(finals, warmups, steps)
def test_a_constant_rate_is_constant(final: float, warmup: float, steps: int) -> None:
    assert (Schedule("constant", final).table(steps) == 1).all()
    climb = Schedule("constant", final, warmup).table(steps)
    assert (climb.diff() >= 0).all() and climb[-1] == 1
    assert climb[math.ceil(warmup * steps) :].eq(1).all()


@quick
@given(st.sampled_from([name for name in SCHEDULES if name != "inverse_sqrt"]), finals, warmups, steps)
def test_warm_up_multiplies_the_schedule(name: str, final: float, warmup: float, steps: int) -> None:
    climb = Schedule("constant", final, warmup).table(steps)
    plain, warm = (Schedule(name, final, w).table(steps) for w in (0.0, warmup))
    torch.testing.assert_close(warm, plain * climb, rtol=1e-14, atol=0)


def test_warm_up_by_hand() -> None:
    assert Schedule("constant", warmup=0.3).table(10).tolist() == pytest.approx([1 / 3, 2 / 3, *[1.0] * 8], rel=1e-15)
    assert Schedule("constant", warmup=1.0).table(4).tolist() == [0.25, 0.5, 0.75, 1.0]


def test_inverse_sqrt_climbs_and_then_falls_with_the_root_of_the_step() -> None:
    found = Schedule("inverse_sqrt", warmup=0.25).table(16).tolist()
    assert found == pytest.approx([0.25, 0.5, 0.75, 1.0, *((4 / step) ** 0.5 for step in range(5, 17))], rel=1e-15)
    assert Schedule("inverse_sqrt").table(4).tolist() == pytest.approx([step**-0.5 for step in range(1, 5)], rel=1e-15)


def test_a_run_without_arguments_is_a_run() -> None:
    run = Run()
    assert run.task is TASKS["mnist1d"] and run.steps == run.task.steps == 40 * (4000 // 128)
    assert run.decay.strength == 0 and hash(run) == hash(Run())


def test_a_task_can_be_named() -> None:
    assert Run("fashion") == Run(TASKS["fashion"])  # type: ignore[arg-type]
    assert Run("fashion").steps == TASKS["fashion"].steps  # type: ignore[arg-type]


def test_numbers_are_kept_as_floats_so_that_equal_runs_look_alike() -> None:
    odd = Optimizer("adam", lr=1, momentum=0, betas=[np.float32(0.5), 0], eps=np.float64(1))  # type: ignore[arg-type]
    plain = Optimizer("adam", lr=1.0, momentum=0.0, betas=(0.5, 0.0), eps=1.0)
    assert odd == plain and hash(odd) == hash(plain)
    assert repr(odd) == repr(plain)
    assert repr(Schedule(final=1, warmup=0)) == repr(Schedule(final=1.0, warmup=0.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Model("resnt"),
            r"^model='resnt' is unknown; did you mean 'resnet'\? Allowed: convnet, mlp, resnet, transformer\.$",
        ),
        (lambda: Model(width=0), r"^width=0 is not allowed; give a whole number of at least 1\.$"),
        (lambda: Model(width=9.5), r"^width=9.5 is not allowed"),
        (lambda: Model(depth=0), r"^depth=0 is not allowed"),
        (lambda: Model(blocks=0), r"^blocks=0 is not allowed"),
        (lambda: Model("resnet", norm=False), r"^norm=False is not allowed with model='resnet'; use model='mlp'"),
        (
            lambda: Optimizer("adamw"),
            r"^optimizer='adamw' is unknown; did you mean 'adam'\? Allowed: adam, rmsprop, sgd\.$",
        ),
        (lambda: Optimizer(lr=0), r"^lr=0 is not allowed; give a finite number greater than 0\.$"),
        (lambda: Optimizer(lr=-0.1), r"^lr=-0.1 is not allowed"),
        (lambda: Optimizer(lr=math.nan), r"^lr=nan is not allowed"),
        (lambda: Optimizer(lr=math.inf), r"^lr=inf is not allowed"),
        (lambda: Optimizer(lr="0.1"), r"^lr='0.1' is not allowed"),
        (lambda: Optimizer(momentum=1), r"^momentum=1 is not allowed; give a finite number in \[0, 1\)\.$"),
        (lambda: Optimizer(momentum=-0.1), r"^momentum=-0.1 is not allowed"),
        (
            lambda: Optimizer("rmsprop"),
            r"^betas=\(0.9, 0.999\) is not allowed with optimizer='rmsprop'.*\(0.0, 0.999\)",
        ),
        (
            lambda: Run(
                optimizer=Optimizer("rmsprop", betas=(0.0, 0.9)),
                decay=Decay(scaling="gradient_norm", coupling="decoupled"),
            ),
            "^scaling='gradient_norm' is not allowed with optimizer='rmsprop'",
        ),
        (lambda: Optimizer(betas=(0.9, 1.0)), r"^betas\[1\]=1.0 is not allowed; give a finite number in \[0, 1\)\.$"),
        (lambda: Optimizer(betas=(-0.1, 0.9)), r"^betas\[0\]=-0.1 is not allowed"),
        (lambda: Optimizer(betas=(0.9,)), r"^betas=\(0.9,\) is not allowed; give two numbers in \[0, 1\)"),
        (lambda: Optimizer(betas=0.9), r"^betas=0.9 is not allowed; give two numbers in \[0, 1\)"),
        (lambda: Optimizer(eps=0), r"^eps=0 is not allowed; give a finite number greater than 0\.$"),
        (lambda: Schedule("cosin"), r"^schedule='cosin' is unknown; did you mean 'cosine'\?"),
        (lambda: Schedule(final=0), r"^final=0 is not allowed; give a finite number in \(0, 1\]\.$"),
        (lambda: Schedule(final=1.5), r"^final=1.5 is not allowed"),
        (lambda: Schedule(warmup=-0.1), r"^warmup=-0.1 is not allowed; give a finite number in \[0, 1\]\.$"),
        (lambda: Schedule().table(0), r"^steps=0 is not allowed; give a whole number of at least 1\.$"),
        (lambda: Run("mnist"), r"^task='mnist' is unknown; did you mean 'mnist1d'\?"),
        (lambda: Run(3), r"^task=3 is not allowed; give a wdlab\.Task\.$"),
        (lambda: Run(model="mlp"), r"^model='mlp' is not allowed; give a wdlab\.Model\.$"),
        (lambda: Run(optimizer="adam"), r"^optimizer='adam' is not allowed; give a wdlab\.Optimizer\.$"),
        (lambda: Run(schedule="cosine"), r"^schedule='cosine' is not allowed; give a wdlab\.Schedule\.$"),
        (lambda: Run(decay=0.01), r"^decay=0.01 is not allowed; give a wdlab\.Decay\.$"),
        (lambda: Run(decay=Decay(-0.01)), r"^weight_decay=-0.01 is not allowed; give a finite number of at least 0\.$"),
        (lambda: Run(decay=Decay(math.nan)), r"^weight_decay=nan is not allowed"),
        (lambda: Run(seed=-1), r"^seed=-1 is not allowed; give a whole number of at least 0\.$"),
        (lambda: Run(seed=0.5), r"^seed=0.5 is not allowed"),
        (lambda: Run(steps=-1), r"^steps=-1 is not allowed; give a whole number of at least 1\.$"),
        (lambda: Run(steps=2.5), r"^steps=2.5 is not allowed"),
        (lambda: Run(evaluations=0), r"^evaluations=0 is not allowed; give a whole number of at least 1\.$"),
        (
            lambda: Run(decay=Decay(0.1, coupling="second_moment")),
            r"^coupling='second_moment' does nothing under SGD, .*; use optimizer 'adam', or another coupling\.$",
        ),
        (
            lambda: Run(Vision("f", "fashion", augment=("mirror",), batch_size=2), Model()),
            r"^model='mlp' is not allowed with augment=.*, .*; use 'resnet'\.$",
        ),
    ],
)
def test_what_is_not_allowed_is_named(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", COUPLINGS)
def test_every_coupling_has_an_optimizer(name: str) -> None:
    optimizers = ["adam"] if name == "second_moment" else ["adam", "sgd"]
    runs = [Run(optimizer=Optimizer(kind), decay=Decay(0.1, coupling=name)) for kind in optimizers]
    assert [run.decay.coupling for run in runs] == [name] * len(optimizers)


def test_runs_are_frozen() -> None:
    for value in (Run(), Model(), Optimizer(), Schedule(), Decay(), Vision()):
        field = dataclasses.fields(value)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field, None)
