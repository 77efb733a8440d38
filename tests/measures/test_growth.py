"""Growth of scale-invariant weights: exact for plain SGD, near with momentum, and blind to everything but G."""

from dataclasses import replace

import pytest
import torch

from wdlab import TASKS, Decay, Model, Optimizer, Run, Timing, Training
from wdlab.measures.growth import Growth, norm_from_gradients, record
from wdlab.train import Step, watch

RUN = Run(
    replace(TASKS["mnist1d"], train_size=500, batch_size=50),
    Model(width=16, depth=2),
    Optimizer(lr=2.0, momentum=0.0),
    decay=Decay(timing=Timing.never()),
    steps=60,
    evaluations=1,
)


def grown(run: Run, seeds=(0, 1), dtype=torch.float64) -> Growth:
    training = Training([replace(run, seed=seed) for seed in seeds], "cpu", dtype)
    return record(watch(training), run.optimizer.momentum)


def with_momentum(momentum: float, lr: float) -> Run:
    return replace(RUN, optimizer=Optimizer(lr=lr, momentum=momentum))


def test_what_is_recorded_is_what_happened() -> None:
    found, training = grown(RUN), Training([replace(RUN, seed=seed) for seed in (0, 1)], "cpu", torch.float64)
    names = training.model.scale_invariant
    assert found.names == tuple(names) and found.lr.shape == (60, 2)
    assert found.norm.shape == (61, 2, 2) and found.gradient.shape == found.buffer.shape == (60, 2, 2)
    parameters = dict(training.model.named_parameters())
    assert found.measured[0] == pytest.approx(
        torch.stack([parameters[n].square().flatten(1).sum(1) for n in names]).sum(0).sqrt().detach()
    )
    training.advance(60)
    end = torch.stack([parameters[n].square().flatten(1).sum(1) for n in names]).sum(0).sqrt()
    assert found.measured[-1] == pytest.approx(end.detach())


def test_a_step_of_plain_sgd_lengthens_by_pythagoras() -> None:
    """Up to BatchNorm's eps, which is not scaled with the weights."""
    found = grown(RUN)
    gain = found.norm[1:].square() - found.norm[:-1].square()
    expected = found.lr.unsqueeze(1).square() * found.gradient.square()
    assert (found.norm[-1] > 1.1 * found.norm[0]).all()
    assert gain.sum(0) == pytest.approx(expected.sum(0), rel=1e-3)


def test_plain_sgd_is_predicted_and_whiteness_is_one() -> None:
    found = grown(RUN)
    assert found.predicted[-1] == pytest.approx(found.measured[-1], rel=0.03)  # lr is large: lr^4 is left out
    assert found.predicted[0] == pytest.approx(found.measured[0], rel=1e-12)
    assert found.whiteness == pytest.approx(torch.ones(2), rel=1e-12)


def test_with_momentum_the_buffer_gives_the_norm_exactly() -> None:
    """The recursion at the top of the module."""
    mu, found = 0.8, grown(with_momentum(0.8, 0.3))
    square, c = found.norm[0].square(), torch.zeros_like(found.norm[0])
    for step in range(60):
        lr, b = found.lr[step], found.buffer[step]
        before = found.lr[step - 1] * found.buffer[step - 1].square() if step else torch.zeros_like(c)
        c = mu * (c - before)
        square = square - 2 * lr * c + lr**2 * b.square()
    assert square.sqrt() == pytest.approx(found.norm[-1], rel=1e-3)


def test_with_momentum_the_prediction_is_near() -> None:
    found = grown(with_momentum(0.9, 0.2))
    assert found.predicted[-1] == pytest.approx(found.measured[-1], rel=0.15)
    assert (found.measured[-1] > 1.1 * found.measured[0]).all()
    assert ((found.whiteness > 0.3) & (found.whiteness < 3)).all()


def steps_of(gradients: torch.Tensor, c: float = 1.0) -> list[Step]:
    """Steps of one weight at norm `c`, with these gradients [step, weight]; only norms and the buffer are read off."""
    w = {"w": torch.full((1, gradients.shape[1]), c, dtype=torch.float64)}
    lr = torch.full((1,), 0.1 * c**2, dtype=torch.float64)
    return [Step(k, lr, w, {"w": g.unsqueeze(0) / c}, w) for k, g in enumerate(gradients)]


def test_whiteness_of_gradients_of_which_all_is_known() -> None:
    """White: 1. Always the same: (1 + mu)/(1 - mu). Turning round each time: (1 - mu)/(1 + mu)."""
    mu, steps, size = 0.9, 2000, 200
    noise = torch.randn(steps, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    # A cosine of two steps has spread 1/sqrt(size); weighed by the buffer's memory and averaged over the steps it adds
    # a spread of 2 sqrt(sum mu^2k) / sqrt(size steps) = 2 * 2.06 / 632 = 0.7%. The buffer starts empty, which takes
    # 1/((1 - mu^2) steps) = 0.3%. Three spreads and the start make 2.3%.
    assert record(steps_of(noise), mu).whiteness.item() == pytest.approx(1, abs=0.023)
    same = torch.ones(steps, size, dtype=torch.float64)
    back = same * torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(steps // 2).unsqueeze(1)
    assert record(steps_of(same), mu).whiteness.item() == pytest.approx((1 + mu) / (1 - mu), rel=0.01)
    assert record(steps_of(back), mu).whiteness.item() == pytest.approx((1 - mu) / (1 + mu), rel=0.02)


def test_whiteness_knows_no_scale() -> None:
    """Weights c times as long have gradients 1/c as large."""
    noise = torch.randn(50, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    short, long = (record(steps_of(noise, c), 0.9).whiteness.item() for c in (1.0, 7.0))
    assert long == pytest.approx(short, rel=1e-12) and abs(short - 1) > 1e-3


def test_white_gradients_walk_like_plain_sgd_at_the_long_rate() -> None:
    """A walk of pure noise, in which nothing but the approximation's own assumption is at work."""
    mu, lr, steps, size = 0.9, 0.05, 4000, 200
    draw = torch.Generator().manual_seed(0)
    w, b = torch.ones(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    start, relative = w.norm(), []
    for _ in range(steps):
        z = torch.randn(size, generator=draw, dtype=torch.float64)
        g = (z - w * (z @ w) / (w @ w)) / w.norm()
        relative.append(w.norm() * g.norm())
        b = mu * b + g
        w = w - lr * b
    rates = torch.full((steps, 1), lr, dtype=torch.float64)
    predicted = norm_from_gradients(start.view(1, 1), rates, torch.stack(relative).view(-1, 1, 1), mu)
    assert w.norm() > 1.7 * start
    assert predicted[-1].item() == pytest.approx(w.norm().item(), rel=0.03)
    forgetful = norm_from_gradients(start.view(1, 1), rates, torch.stack(relative).view(-1, 1, 1))
    assert forgetful[-1] < 0.7 * w.norm()


def test_the_formula_on_numbers_worked_by_hand() -> None:
    start, lr = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.5], [0.25]])
    G = torch.tensor([[[2.0], [0.0]], [[4.0], [8.0]]])  # [step, tensor, member]
    found = norm_from_gradients(start, lr, G)[..., 0]
    assert found.T.tolist() == [pytest.approx([1, 3**0.25, 5**0.25]), pytest.approx([2, 2, 24**0.25])]
    longer = norm_from_gradients(start, lr, G, momentum=0.5)[-1, :, 0]
    assert longer.tolist() == pytest.approx([17**0.25, 48**0.25])


def test_g_does_not_depend_on_the_length_of_the_weights() -> None:
    short, long = (Training([RUN], "cpu", torch.float64) for _ in range(2))
    with torch.no_grad():
        for name in long.model.scale_invariant:
            long.model.get_parameter(name).mul_(7)
    first = [record(watch(one), 0.0) for one in (short, long)]
    assert first[1].norm[0] == pytest.approx(7 * first[0].norm[0])
    assert first[1].relative_gradient[0] == pytest.approx(first[0].relative_gradient[0], rel=1e-3)
    assert first[1].gradient[0] == pytest.approx(first[0].gradient[0] / 7, rel=1e-3)


def test_members_are_recorded_as_if_alone() -> None:
    together, alone = grown(RUN), grown(RUN, [1])
    assert together.norm[..., 1:] == pytest.approx(alone.norm)
    assert together.predicted[:, 1:] == pytest.approx(alone.predicted)


def test_what_is_not_allowed() -> None:
    ended = Training([replace(RUN, steps=1)], "cpu")
    ended.advance(1)
    with pytest.raises(ValueError, match=r"^steps=\[\] is not allowed"):
        record(watch(ended), 0.0)
    one = torch.ones(1, 1)
    with pytest.raises(ValueError, match=r"^momentum=1 is not allowed"):
        norm_from_gradients(one, one, one.unsqueeze(0), 1)
