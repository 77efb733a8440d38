"""Every checker against right answers, every typical mistake, stubs, and answers of the wrong kind."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import wdlab
from wdlab.decay import AdamBuffers, Rates, adam_parts
from wdlab.exercises import (
    CHAPTERS,
    Exercise,
    Report,
    chapter00,
    chapter01,
    chapter02,
    chapter03,
    chapter04,
    chapter05,
    chapter06,
    chapter07,
    chapter08,
    chapter09,
    chapter10,
    check,
    harness,
)
from wdlab.exercises.chapter00 import (
    FIRST_QUARTER,
    check_decayed_steps,
    check_last_quarter,
    check_multiplier,
    check_one_line,
)
from wdlab.exercises.chapter01 import (
    check_momentum_step,
    check_same_rest,
    check_same_shrink,
    check_sgd_step,
    check_torch_lambda,
)
from wdlab.exercises.chapter02 import (
    check_decay_for_angle,
    check_effective_lr,
    check_equilibrium,
    check_same_path,
    check_tangent,
)
from wdlab.exercises.chapter03 import (
    check_early_dials,
    check_mask,
    check_paired_effect,
    check_same_dose,
    check_training_step,
)
from wdlab.exercises.chapter04 import check_copied_lr, check_rescale, check_same_state, check_share
from wdlab.exercises.chapter05 import (
    check_factors,
    check_fair_tau,
    check_fold,
    check_kendall,
    check_layer_noise,
)
from wdlab.exercises.chapter06 import (
    check_longer,
    check_noisy_labels,
    check_predicted_norm,
    check_times_as_long,
    check_wrong_share,
)
from wdlab.exercises.chapter07 import check_adam_step, check_adaptive, check_parts, check_rest, check_two_moments
from wdlab.exercises.chapter08 import check_good_share, check_greedy, check_new_lambda
from wdlab.exercises.chapter09 import check_decayed_share, check_epsilon, check_middle_mean, check_target
from wdlab.exercises.chapter10 import check_enough, check_expected_best, check_other_label, check_width
from wdlab.exercises.draws import whole
from wdlab.exercises.harness import Attempt, Case, attempt, cases_of, mistake_of, say, size
from wdlab.measures import Subject, fold, rescale_
from wdlab.measures.sharpness import NOISES, hessian_traces, noise_sharpness
from wdlab.models import MLP
from wdlab.models.mlp import BN_EPS
from wdlab.tasks import generator

NUMBERS: dict[Callable[[object], Report], Exercise] = {
    check_decayed_steps: chapter00.DECAYED_STEPS,
    check_same_shrink: chapter01.SAME_SHRINK,
    check_same_rest: chapter01.SAME_REST,
    check_same_path: chapter02.SAME_PATH,
    check_same_dose: chapter03.SAME_DOSE,
    check_times_as_long: chapter06.TIMES_AS_LONG,
    check_enough: chapter10.ENOUGH,
}
RUNS: dict[Callable[[object], Report], Exercise] = {check_last_quarter: chapter00.LAST_QUARTER}
FUNCTIONS: dict[Callable[[object], Report], Exercise] = {
    check_one_line: chapter00.ONE_LINE,
    check_multiplier: chapter00.MULTIPLIER,
    check_sgd_step: chapter01.SGD_STEP,
    check_momentum_step: chapter01.MOMENTUM_STEP,
    check_torch_lambda: chapter01.TORCH_LAMBDA,
    check_effective_lr: chapter02.EFFECTIVE_LR,
    check_tangent: chapter02.TANGENT,
    check_equilibrium: chapter02.EQUILIBRIUM,
    check_decay_for_angle: chapter02.DECAY_FOR_ANGLE,
    check_early_dials: chapter03.EARLY_DIALS,
    check_mask: chapter03.MASK,
    check_paired_effect: chapter03.PAIRED_EFFECT,
    check_training_step: chapter03.TRAINING_STEP,
    check_copied_lr: chapter04.COPIED_LR,
    check_rescale: chapter04.RESCALE,
    check_share: chapter04.SHARE,
    check_same_state: chapter04.SAME_STATE,
    check_factors: chapter05.FACTORS,
    check_fold: chapter05.FOLD,
    check_layer_noise: chapter05.LAYER_NOISE,
    check_kendall: chapter05.KENDALL,
    check_fair_tau: chapter05.FAIR_TAU,
    check_longer: chapter06.LONGER,
    check_noisy_labels: chapter06.NOISY_LABELS,
    check_wrong_share: chapter06.WRONG_SHARE,
    check_predicted_norm: chapter06.PREDICTED_NORM,
    check_adam_step: chapter07.ADAM_STEP,
    check_two_moments: chapter07.TWO_MOMENTS,
    check_parts: chapter07.PARTS,
    check_adaptive: chapter07.ADAPTIVE,
    check_rest: chapter07.REST,
    check_greedy: chapter08.GREEDY,
    check_new_lambda: chapter08.NEW_LAMBDA,
    check_good_share: chapter08.GOOD_SHARE,
    check_target: chapter09.TARGET,
    check_epsilon: chapter09.EPSILON,
    check_decayed_share: chapter09.SHARE,
    check_middle_mean: chapter09.MIDDLE,
    check_expected_best: chapter10.EXPECTED_BEST,
    check_width: chapter10.WIDTH,
    check_other_label: chapter10.OTHER_LABEL,
}
CHECKERS = NUMBERS | RUNS | FUNCTIONS
EVERY = [pytest.param(checker, id=checker.__name__) for checker in CHECKERS]
EVERY_FUNCTION = [pytest.param(checker, id=checker.__name__) for checker in FUNCTIONS]
EVERY_NUMBER = [pytest.param(checker, id=checker.__name__) for checker in NUMBERS]


def answer(checker: Callable[[object], Report], function: Callable[..., Any]) -> object:
    """What a learner would hand in: a function, the number it gives, or the run that its numbers stand for."""
    if checker in RUNS:
        return run_of(*function())
    return function() if checker in NUMBERS else function


def run_of(start: float, stop: float, weight_decay: float, lr: float, seed: float, others: float) -> wdlab.Run:
    assert not others
    decay = wdlab.Decay(weight_decay, wdlab.Timing.window(start, stop))
    return replace(FIRST_QUARTER, optimizer=wdlab.Optimizer(lr=lr), decay=decay, seed=int(seed))


def judged(checker: Callable[[object], Report], answer: object, seed: int = 0) -> Report:
    """What a checker says, of a function on the cases of `seed`, where the checker itself would draw afresh."""
    return check(FUNCTIONS[checker], answer, seed) if checker in FUNCTIONS else checker(answer)


def shown(report: Report) -> str:
    return f"{report!r}\n{report._repr_html_()}"


def test_no_exercise_is_missing_here() -> None:
    assert {id(one) for one in CHECKERS.values()} == {id(one) for chapter in CHAPTERS for one in chapter.EXERCISES}


# --- cases --------------------------------------------------------------------------------------------------

SEEDS = range(4)
ARGUMENTS = [
    pytest.param(checker, key, id=f"{checker.__name__}-{key}")
    for checker, exercise in FUNCTIONS.items()
    for key in exercise.cases[0]
]
UNUSED = {
    (check_mask, "name"): "it is there to mislead: what decays is told by the number of axes",
    (check_target, "truncated"): "it is there to mislead: only termination ends the counting",
    (check_decayed_share, "lr"): "both parts of the step have it as a factor, so the share does not",
}
"""Arguments that the right answer does not depend on."""


def with_frozen(exercise: Exercise, key: str, value: Any) -> Callable[..., Any]:
    """The right answer, but for one argument that is always `value`."""

    def hard_coded(*given: Any) -> Any:
        arguments = dict(zip(exercise.cases[0], given, strict=True)) | {key: copy.deepcopy(value)}
        return exercise.reference(*arguments.values())

    return hard_coded


def in_words(exercise: Exercise, answer: object, seed: int = 0) -> Report:
    """What its checker says of a function, without the picture, which takes most of the time."""
    return check(replace(exercise, draw=lambda found: 1 / 0), answer, seed)


def numbers(value: Any) -> list[str]:
    """The numbers (or the string) that an argument holds, as a learner reads them."""
    if isinstance(value, list):
        return [told for one in value for told in numbers(one)]
    return [say(one) for one in np.ravel(value).tolist()]


@pytest.mark.parametrize(("checker", "key"), ARGUMENTS)
def test_every_argument_varies(checker: Callable[[object], Report], key: str) -> None:
    assert len({tuple(numbers(case[key])) for case in cases_of(CHECKERS[checker], 0)}) >= 2


@pytest.mark.parametrize(("checker", "key"), ARGUMENTS)
def test_who_hard_codes_an_argument_fails(checker: Callable[[object], Report], key: str) -> None:
    exercise = CHECKERS[checker]
    for seed in SEEDS:
        hard_coded = with_frozen(exercise, key, exercise.cases[0][key])
        assert in_words(exercise, hard_coded, seed).passed is ((checker, key) in UNUSED)


@pytest.mark.parametrize("checker", EVERY_FUNCTION)
def test_another_seed_draws_other_cases_and_the_same_seed_the_same(checker: Callable[[object], Report]) -> None:
    exercise = CHECKERS[checker]
    here, again, elsewhere = (
        [[numbers(value) for value in case.values()] for case in cases_of(exercise, seed)] for seed in (0, 0, 1)
    )
    assert here == again != elsewhere
    assert len(here) == len(exercise.cases) + harness.DRAWS


SEVERAL = Exercise("Seeds", ("y",), lambda x: x, [{"x": 1}, {"x": 2}], {}, lambda draw: {"x": whole(draw, 3, 10**9)})


def test_every_check_draws_afresh_and_tells_the_seed_of_a_counter_example_that_was_drawn() -> None:
    told = [check(SEVERAL, lambda x: min(x, 2)).message for _ in range(2)]
    first, second = (
        int(re.search(r"6 of 8 cases fail. The smallest, drawn with seed (\d+): x =", one)[1]) for one in told
    )
    assert first != second
    assert [check(SEVERAL, lambda x: min(x, 2), seed=seed).message for seed in (first, second)] == told


def test_a_counter_example_made_by_hand_tells_no_seed() -> None:
    assert "8 of 8 cases fail. The smallest: x = 1.\n" in check(SEVERAL, lambda x: 0).message
    assert "7 of 8 cases fail. The smallest: x = 2.\n" in check(SEVERAL, lambda x: x if x == 1 else 0).message


@pytest.mark.parametrize("checker", EVERY_FUNCTION)
def test_the_small_cases_come_first_and_all_can_be_read(checker: Callable[[object], Report]) -> None:
    sizes = [size(case) for case in cases_of(CHECKERS[checker], 0)]
    assert sizes == sorted(sizes)
    assert sizes[-1] <= 40


def test_cases_made_by_hand_in_any_order_are_tried_by_size() -> None:
    cases: list[Case] = [{"x": torch.ones(2, 3)}, {"x": [torch.ones(2), torch.ones(2)]}, {"x": np.ones(5)}, {"x": 1.0}]
    exercise = Exercise("sizes", ("y",), lambda x: 0.0, cases, {}, drawn=lambda draw: {"x": torch.ones(1)})
    assert [size(case) for case in cases_of(exercise, 0)] == [1] * (1 + harness.DRAWS) + [4, 5, 6]
    assert cases_of(exercise, 0)[0] is cases[-1]
    assert "The smallest: x = 1." in check(exercise, lambda x: 1.0).message


# --- right answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("checker", EVERY)
def test_the_reference_passes(checker: Callable[[object], Report]) -> None:
    report = checker(answer(checker, CHECKERS[checker].reference))
    assert report.passed is True
    assert report.title == CHECKERS[checker].title
    assert bool(report)
    assert "correct" in shown(report)


def sgd_in_place(w, g, lr, wd):
    w.mul_(1 - lr * wd)
    w.sub_(lr * g)
    return w


def sgd_by_numpy(w, g, lr, wd):
    w, g = w.numpy(), g.numpy()
    return w - lr * (g + wd * w)


def sgd_by_torch(w, g, lr, wd):
    parameter = torch.nn.Parameter(w)
    parameter.grad = g
    torch.optim.SGD([parameter], lr, weight_decay=wd).step()
    return parameter


def sgd_turned_around(w, g, lr, wd):
    """A view of an array, whose last number comes first in memory."""
    return np.flip(np.flip(w.numpy() * (1 - lr * wd) - lr * g.numpy()).copy())


def momentum_as_a_list(w, g, buffer, lr, momentum, wd):
    b = buffer * momentum + g
    return [w - lr * b - lr * wd * w, b]


def momentum_in_place(w, g, buffer, lr, momentum, wd):
    buffer.mul_(momentum).add_(g)
    w.mul_(1 - lr * wd).sub_(lr * buffer)
    return w, buffer


def momentum_stacked(w, g, buffer, lr, momentum, wd):
    old = w.clone()
    b = torch.add(g, buffer, alpha=momentum)
    return torch.stack([old - lr * (b + wd * old), b])


def effective_by_hand(lr, w, optimizer):
    square = sum(float(x) ** 2 for x in w.flatten())
    return lr / square if optimizer == "sgd" else lr / math.sqrt(square)


def effective_in_steps(lr, w, optimizer):
    for _ in range({"sgd": 2, "adam": 1}[optimizer]):
        lr = lr / torch.linalg.vector_norm(w)
    return lr


def effective_by_numpy(lr, w, optimizer):
    return lr / np.linalg.norm(w.numpy().ravel()) ** (1 + (optimizer == "sgd"))


def tangent_by_unit_vector(g, w):
    unit = w / w.norm()
    return g - (g * unit).sum() * unit


def tangent_by_matrix(g, w):
    a, b = g.reshape(-1), w.reshape(-1)
    return ((torch.eye(len(b), dtype=b.dtype) - torch.outer(b, b) / b.dot(b)) @ a).reshape(g.shape)


def tangent_by_numpy(g, w):
    g, w = g.numpy(), w.numpy()
    return g - np.vdot(g, w) / np.vdot(w, w) * w


def equilibrium_in_steps(lr, weight_decay, momentum, relative_gradient):
    fourth = lr * relative_gradient**2 / (2 * weight_decay * (1 - momentum))
    return math.sqrt(math.sqrt(fourth)), math.sqrt(2 * lr * weight_decay / (1 + momentum))


def equilibrium_as_a_list(lr, weight_decay, momentum, relative_gradient):
    angle = (2 * lr * weight_decay / (1 + momentum)) ** 0.5
    step = lr * relative_gradient / (1 - momentum**2) ** 0.5  # rms length of a step, times the norm
    return [(step / angle) ** 0.5, angle]


def equilibrium_by_numpy(lr, weight_decay, momentum, relative_gradient):
    both = np.array(
        [lr * relative_gradient**2 / (1 - momentum) / (2 * weight_decay), 2 * lr * weight_decay / (1 + momentum)]
    )
    return both ** np.array([0.25, 0.5])


def decay_by_bisection(angle, lr, beta1):
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if 2 * lr * middle * (1 - beta1) / (1 + beta1) < angle**2 else (low, middle)
    return high


def dials_by_branches(step, steps, fraction, lr, weight_decay):
    if step < fraction * steps:
        return lr, weight_decay
    return lr, 0


def dials_by_product(step, steps, fraction, lr, weight_decay):
    return [lr, weight_decay * (step / steps < fraction)]


def dials_by_array(step, steps, fraction, lr, weight_decay):
    table = np.zeros(steps)
    table[: round(fraction * steps)] = weight_decay
    return np.array([lr, table[step]])


def effect_by_numpy(a, b):
    d = a - b
    reach = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean(), d.mean() - reach, d.mean() + reach


def effect_by_scipy(a, b):
    found = stats.ttest_rel(a, b)
    ends = found.confidence_interval(0.95)
    return (a - b).mean(), ends.low, ends.high


def effect_by_lists(a, b):
    d = [float(x) - float(y) for x, y in zip(a, b, strict=True)]
    n, mean = len(d), sum(d) / len(d)
    error = math.sqrt(sum((x - mean) ** 2 for x in d) / (n - 1) / n)
    return [mean, *stats.t.interval(0.95, n - 1, loc=mean, scale=error)]


def step_by_lambda_now(w, g, buffer, t, steps, fraction, lr, momentum, weight_decay):
    now = weight_decay if t < fraction * steps else 0.0
    buffer = momentum * buffer + g + now * w
    return w - lr * buffer, buffer


def step_by_torch(w, g, buffer, t, steps, fraction, lr, momentum, weight_decay):
    parameter = torch.nn.Parameter(w)
    parameter.grad = g
    on = float(t / steps < fraction)
    optimizer = torch.optim.SGD([parameter], lr, momentum=momentum, weight_decay=on * weight_decay)
    optimizer.state[parameter]["momentum_buffer"] = buffer
    optimizer.step()
    return parameter, optimizer.state[parameter]["momentum_buffer"]


def step_in_place(w, g, buffer, t, steps, fraction, lr, momentum, weight_decay):
    if t < fraction * steps:
        g += weight_decay * w
    buffer.mul_(momentum).add_(g)
    w -= lr * buffer
    return w, buffer


def copied_by_branches(lr, norm, leader_norm, optimizer):
    if optimizer == "adam":
        return lr / leader_norm * norm
    return (lr / leader_norm**2) * norm**2


def rescaled_in_place(w, leader):
    w /= w.square().sum().sqrt()
    return w.mul_(torch.linalg.vector_norm(leader))


def state_in_place(w, buffer, lr, c):
    return w.mul_(c), buffer.div_(c), lr * c**2


def fold_by_hand(w, scale, shift, mean, var, eps):
    weight, bias = w.clone(), shift.clone()
    for unit in range(len(scale)):
        gain = scale[unit] / math.sqrt(var[unit] + eps)
        weight[:, unit] = w[:, unit] * gain
        bias[unit] = shift[unit] - mean[unit] * gain
    return weight, bias


def fold_by_torch(w, scale, shift, mean, var, eps):
    both = torch.cat([w, torch.zeros_like(w[:1])])  # what the layer answers to each input alone, and to nothing
    answers = torch.nn.functional.batch_norm(both, mean, var, scale, shift, training=False, eps=eps)
    return answers[:-1] - answers[-1], answers[-1]


def fold_in_place(w, scale, shift, mean, var, eps):
    w *= (gain := scale * (var + eps) ** -0.5)
    return [w, shift.sub_(mean * gain)]


def noise_by_norm(weights, z, size):
    return [
        size * torch.linalg.vector_norm(w) * one / torch.linalg.vector_norm(one)
        for w, one in zip(weights, z, strict=True)
    ]


def noise_by_numpy(weights, z, size):
    found = []
    for w, one in zip(weights, z, strict=True):
        found.append(one.numpy() / np.linalg.norm(one) * np.linalg.norm(w) * size)
    return tuple(found)


def noise_in_place(weights, z, size):
    for w, one in zip(weights, z, strict=True):
        one.mul_(size * (w.square().sum() / one.square().sum()).sqrt())
    return z


def kendall_by_counting(a, b):
    same = opposite = 0
    for i in range(len(a)):
        for j in range(i):
            if (a[i] > a[j]) == (b[i] > b[j]):
                same += 1
            else:
                opposite += 1
    return (same - opposite) / (same + opposite)


def kendall_by_numpy(a, b):
    signs = np.sign(a[:, None] - a) * np.sign(b[:, None] - b)
    return signs.sum() / (len(a) * (len(a) - 1))


def fair_by_counting(measure, error, loss, tolerance):
    score = pairs = 0
    for i in range(len(loss)):
        for j in range(i + 1, len(loss)):
            if abs(loss[i] - loss[j]) <= tolerance:
                pairs += 1
                score += 1 if (measure[i] < measure[j]) == (error[i] < error[j]) else -1
    return score / pairs


def fair_by_numpy(measure, error, loss, tolerance):
    fair = np.abs(loss[:, None] - loss) <= tolerance
    fair &= ~np.eye(len(loss), dtype=bool)
    return np.mean((np.sign(measure[:, None] - measure) * np.sign(error[:, None] - error))[fair])


def fair_by_torch(measure, error, loss, tolerance):
    i, j = torch.combinations(torch.arange(len(loss))).T
    m, e, ell = (torch.from_numpy(values)[i] - torch.from_numpy(values)[j] for values in (measure, error, loss))
    return (m * e).sign()[ell.abs() <= tolerance].mean()


def noisy_in_place(labels, threshold, drawn, noise):
    chosen = threshold < noise
    labels[chosen] = drawn[chosen]
    return labels


def noisy_by_numpy(labels, threshold, drawn, noise):
    return np.where(threshold.numpy() < noise, drawn, labels)


def noisy_by_a_list(labels, threshold, drawn, noise):
    return [d if t < noise else y for y, t, d in zip(labels.tolist(), threshold, drawn.tolist(), strict=True)]


def predicted_step_by_step(start, lr, G, momentum):
    norm = start
    for rate, relative in zip(lr, G, strict=True):
        norm = (norm**4 + 2 * (rate / (1 - momentum) * relative) ** 2) ** 0.25
    return norm


def predicted_by_numpy(start, lr, G, momentum):
    return np.sqrt(np.sqrt(start**4 + 2 * np.sum(np.square(lr.numpy() * G.numpy())) / (1 - momentum) ** 2))


def predicted_by_torch(start, lr, G, momentum):
    return math.sqrt(math.hypot(start**2, 2**0.5 * (lr * G).norm() / (1 - momentum)))


def target_by_cases(reward, terminated, truncated, values, gamma):
    return [r if over else r + gamma * max(v) for r, over, v in zip(reward, terminated, values, strict=True)]


def target_by_where(reward, terminated, truncated, values, gamma):
    return torch.where(terminated, reward, reward + gamma * values.max(dim=1).values)


def target_by_numpy(reward, terminated, truncated, values, gamma):
    return reward.numpy() + gamma * np.max(values.numpy(), axis=1) * (1 - terminated.numpy())


def epsilon_by_cases(frame, warmup, frames, end):
    if frame < warmup:
        return 1
    return end if frame >= warmup + frames else 1 - (1 - end) * (frame - warmup) / frames


def epsilon_by_max(frame, warmup, frames, end):
    return max(end, min(1, 1 - (1 - end) * (frame - warmup) / frames))


def epsilon_by_numpy(frame, warmup, frames, end):
    return np.interp(frame, [warmup, warmup + frames], [1.0, end])


def decayed_share_by_hand(m, root, w, lr, weight_decay, coupling):
    divided = root if coupling == "adaptive" else torch.ones_like(root)
    decay = (weight_decay * w / divided).square().sum().sqrt()
    return decay / (decay + (m / root).square().sum().sqrt())


def decayed_share_by_numpy(m, root, w, lr, weight_decay, coupling):
    m, root, w = m.numpy(), root.numpy(), w.numpy()
    loss = np.linalg.norm(m / root)
    decay = np.linalg.norm(weight_decay * w / (root if coupling == "adaptive" else 1))
    return 1 / (1 + loss / decay)


def decayed_share_by_torch(m, root, w, lr, weight_decay, coupling):
    parts = torch.stack([m / root, weight_decay * (w / root if coupling == "adaptive" else w)])
    lengths = torch.linalg.vector_norm(parts, dim=1)
    return (lengths / lengths.sum())[1]


def middle_mean_by_list(returns):
    ordered = sorted(returns.tolist())
    kept = ordered[len(ordered) // 4 : 3 * len(ordered) // 4]
    return sum(kept) / len(kept)


def middle_mean_by_scipy(returns):
    from scipy.stats import trim_mean

    return trim_mean(returns.numpy(), 0.25)


def middle_mean_by_topk(returns):
    k = len(returns) // 4
    ends = returns.topk(k).values.sum() + returns.topk(k, largest=False).values.sum()
    return (returns.sum() - ends) / (len(returns) - 2 * k)


def greedy_as_a_list(table):
    found, word = [], 1
    while len(found) < len(table) and word != 2:
        word = max(range(len(table)), key=lambda j: table[word, j])
        found.append(word)
    return found + [0] * (len(table) - len(found))


def greedy_by_table(table):
    best, word, words = table.argmax(1), torch.tensor(1), []
    for _ in best:
        word = torch.where((word == 2) | (word == 0), 0, best[word])
        words.append(word)
    return torch.stack(words)


def greedy_by_numpy(table, word=1, left=None):
    left = len(table) if left is None else left
    if not left or word in (0, 2):
        return np.zeros(left)
    chosen = int(np.argmax(table.numpy()[word]))
    return np.concatenate([[chosen], greedy_by_numpy(table, chosen, left - 1)])


def share_by_torch(scores, near):
    flat = scores.flatten(1)
    best = flat[~flat.isnan()].max()
    return torch.where(flat.isnan(), -1.0, flat).ge(best - near).double().mean(1)


def best_in_closed_form(scores, trials):
    x, n = scores.sort().values, len(scores)
    return sum(x[i] * (((i + 1) / n) ** trials - (i / n) ** trials) for i in range(n))


def best_by_steps(scores, trials):
    """One trial more at a time: the chance that the best is at most each cell is multiplied anew."""
    ranked, at_most = sorted(scores.tolist()), [1.0] * len(scores)
    for _ in range(trials):
        at_most = [chance * (rank + 1) / len(ranked) for rank, chance in enumerate(at_most)]
    return ranked[0] * at_most[0] + sum(ranked[i] * (at_most[i] - at_most[i - 1]) for i in range(1, len(ranked)))


def best_by_numpy(scores, trials):
    x = np.sort(scores.numpy())
    below = np.arange(len(x)) / len(x)
    return x[-1] - np.sum(np.diff(x) * below[1:] ** trials)


def width_by_counting(scores, near):
    found = []
    for coupling in range(scores.shape[0]):
        each = []
        for seed in range(scores.shape[1]):
            level = scores[:, seed].max() * (1 - near)
            each.append((scores[coupling, seed] >= level).double().mean().item())
        found.append(sum(each) / len(each))
    return found


def width_by_numpy(scores, near):
    x = scores.numpy()
    return (x / x.max(axis=(0, 2), keepdims=True) >= 1 - near).mean(axis=(1, 2))


def width_by_seed(scores, near):
    each = [(one >= one.max() - near * one.max()).double().mean(1) for one in scores.unbind(1)]
    return torch.stack(each).mean(0)


def label_by_branches(lr, weight_decay, to_product):
    if to_product:
        return lr * weight_decay
    return weight_decay / lr


def lambda_by_branches(weight_decay, lr, new_lr, scaled_by_lr):
    if not scaled_by_lr:
        return weight_decay
    return weight_decay * lr / new_lr


def share_by_numpy(scores, near):
    scores = scores.numpy()
    good = scores >= np.nanmax(scores) - near
    return good.mean(axis=(1, 2))


def share_by_counting(scores, near):
    best = max(x for x in scores.flatten().tolist() if not math.isnan(x))
    return [sum(x >= best - near for x in one.flatten().tolist()) / one.numel() for one in scores]


def adam_in_place(w, g, m, v, t, lr, weight_decay, a_m, a_v, a_adapt, a_post):
    d = weight_decay * w
    m.mul_(0.9).add_(0.1 * (g + a_m * d))
    v.mul_(0.99).add_(0.01 * (g + a_v * d) ** 2)
    root = (v / (1 - 0.99**t)).sqrt() + 1e-8
    w -= lr * ((m / (1 - 0.9**t) + a_adapt * d) / root + a_post * d)
    return w, m, v


def adam_by_numpy(w, g, m, v, t, lr, weight_decay, a_m, a_v, a_adapt, a_post):
    w, g, m, v = (x.numpy() for x in (w, g, m, v))
    m, v = 0.9 * m + 0.1 * (g + a_m * weight_decay * w), 0.99 * v + 0.01 * (g + a_v * weight_decay * w) ** 2
    root = np.sqrt(v / (1 - 0.99**t)) + 1e-8
    shrunk = w * (1 - lr * weight_decay * (a_post + a_adapt / root))
    return [shrunk - lr / (1 - 0.9**t) * m / root, m, v]


def adam_with_the_corrections_folded_in(w, g, m, v, t, lr, weight_decay, a_m, a_v, a_adapt, a_post):
    d = w * weight_decay
    m, v = torch.lerp(m, g + a_m * d, 0.1), torch.lerp(v, (g + a_v * d).square(), 0.01)
    scale = (1 - 0.99**t) ** 0.5
    root = v.sqrt() + 1e-8 * scale
    return w - lr * scale * (m / (1 - 0.9**t) + a_adapt * d) / root - lr * a_post * d, m, v


def moments_in_place(w, g, m, p, v, t, lr, weight_decay):
    d = weight_decay * w
    m.mul_(0.9).add_(0.1 * g)
    p.mul_(0.9).add_(0.1 * d)
    v.mul_(0.99).add_(0.01 * (g + d) ** 2)
    return w - lr * (m + p) / (1 - 0.9**t) / ((v / (1 - 0.99**t)).sqrt() + 1e-8), m, p, v


def moments_one_after_the_other(w, g, m, p, v, t, lr, weight_decay):
    d = weight_decay * w
    m, p, v = 0.9 * m + 0.1 * g, 0.9 * p + 0.1 * d, 0.99 * v + 0.01 * (g + d).square()
    rate = lr / (1 - 0.9**t) / ((v / (1 - 0.99**t)).sqrt() + 1e-8)
    return [w - rate * m - rate * p, m, p, v]


def moments_by_torch(w, g, m, p, v, t, lr, weight_decay):
    one = torch.nn.Parameter(w)
    one.grad = g
    adam = torch.optim.Adam([one], lr, betas=(0.9, 0.99), weight_decay=weight_decay)
    adam.state[one] = {"step": torch.tensor(t - 1.0), "exp_avg": m + p, "exp_avg_sq": v.clone()}
    old = w.clone()
    adam.step()
    return one, 0.9 * m + 0.1 * g, 0.9 * p + 0.1 * weight_decay * old, adam.state[one]["exp_avg_sq"]


def parts_by_difference(m, p, v, t, lr):
    rate = -lr / (1 - 0.9**t) / (torch.sqrt(v / (1 - 0.99**t)) + 1e-8)
    return rate * m - rate * p, rate * p


def parts_by_wdlab(m, p, v, t, lr):
    return adam_parts(torch.zeros_like(m), AdamBuffers(m, v), m - p, Rates(), lr, (0.9, 0.99), 1e-8, t)


def adaptive_by_branches(w, g, m, v, t, lr, weight_decay):
    m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
    push = m / (1 - 0.9**t)
    if w.ndim > 1:
        push = push + weight_decay * w
    return w - lr * push / ((v / (1 - 0.99**t)).sqrt() + 1e-8), m, v


def adaptive_by_torch(w, g, m, v, t, lr, weight_decay):
    one = torch.nn.Parameter(w.clone())
    one.grad = g
    adam = torch.optim.Adam([one], lr, betas=(0.9, 0.99))
    adam.state[one] = {"step": torch.tensor(t - 1.0), "exp_avg": m, "exp_avg_sq": v}
    adam.step()
    root = (v / (1 - 0.99**t)).sqrt() + 1e-8  # torch has updated m and v in place
    return one - lr * weight_decay * (w.ndim >= 2) * w / root, m, v


def adaptive_by_wdlab(w, g, m, v, t, lr, weight_decay):
    one = torch.nn.Parameter(w)
    one.grad = g
    adam = wdlab.optim.Adam(
        [one], lr, betas=(0.9, 0.99), weight_decay=weight_decay, coupling="adaptive", mask="weights"
    )
    adam.state[one].update(step=t - 1, m=m, v=v)
    adam.step()
    return one, m, v


def rest_by_branches(scale, weight_decay, coupling):
    if coupling == "decoupled":
        return 0.1 / (0.1 + weight_decay)
    return 0.1 / (0.1 + weight_decay / scale)


def rest_by_solving(scale, weight_decay, coupling):
    pull = weight_decay / {"l2": scale, "decoupled": 1.0}[coupling]
    return np.linalg.solve([[0.1 + pull]], [0.1])


def rest_by_descent(scale, weight_decay, coupling):
    w = 0.0
    for _ in range(20_000):
        w += 0.05 * (0.1 * (1 - w) - weight_decay / (scale if coupling == "l2" else 1) * w)
    return w


def decayed_in_place(w, lr, weight_decay):
    w *= 1 - lr * weight_decay
    return w


def decayed_by_torch(w, lr, weight_decay):
    parameter = torch.nn.Parameter(w)
    parameter.grad = torch.zeros_like(w)
    torch.optim.AdamW([parameter], lr, weight_decay=weight_decay).step()
    return parameter


def multiplier_by_branches(step, steps, start, stop):
    if step < start * steps:
        return 0
    return 1 if step < stop * steps else 0


def multiplier_by_array(step, steps, start, stop):
    table = np.zeros(steps)
    table[round(start * steps) : round(stop * steps)] = 1
    return table[step]


LAST_QUARTER = replace(FIRST_QUARTER, decay=wdlab.Decay(0.01, wdlab.Timing.after(0.75)))

RIGHT: list[tuple[Callable[[object], Report], object]] = [
    (check_decayed_steps, 180),
    (check_decayed_steps, 0.15 * 1200),
    (check_decayed_steps, wdlab.Timing.window(0.1, 0.25).table(1200).sum()),
    (check_one_line, decayed_in_place),
    (check_one_line, decayed_by_torch),
    (check_one_line, lambda w, lr, wd: w - lr * wd * w),
    (check_multiplier, multiplier_by_branches),
    (check_multiplier, multiplier_by_array),
    (check_multiplier, lambda step, steps, start, stop: start <= step / steps < stop),
    (check_last_quarter, LAST_QUARTER),
    (check_last_quarter, wdlab.Run(decay=wdlab.Decay(0.01, wdlab.Timing.window(0.75, 1)), seed=1)),
    (
        check_last_quarter,
        replace(FIRST_QUARTER, decay=wdlab.Decay(0.01, wdlab.Timing.of(lambda step: float(step >= 930)))),
    ),
    (check_same_shrink, 0.25),
    (check_same_shrink, 1 / 4),
    (check_same_shrink, torch.tensor(0.25)),
    (check_same_rest, 0.5),
    (check_same_rest, np.float32(0.5)),
    (check_same_rest, [0.05 / (1 - 0.9)]),
    (check_sgd_step, sgd_in_place),
    (check_sgd_step, sgd_by_numpy),
    (check_sgd_step, sgd_by_torch),
    (check_sgd_step, sgd_turned_around),
    (check_sgd_step, lambda w, g, lr, wd: [(1 - lr * wd) * w.float() - lr * g.float()][0]),
    (check_momentum_step, momentum_as_a_list),
    (check_momentum_step, momentum_in_place),
    (check_momentum_step, momentum_stacked),
    (check_torch_lambda, lambda lam, lr: lam / lr),
    (check_torch_lambda, lambda lam, lr: torch.tensor(lam) * (1 / lr)),
    (check_torch_lambda, lambda *given: np.divide(*given)),
    (check_same_dose, 0.04),
    (check_same_dose, 0.01 / 0.25),
    (check_same_dose, np.float64(4) / 100),
    (check_times_as_long, 1.5),
    (check_times_as_long, 2.25**0.5),
    (check_times_as_long, torch.tensor(2.25).sqrt()),
    (check_same_path, 25),
    (check_same_path, 5.0**2),
    (check_same_path, torch.tensor(25.0)),
    (check_effective_lr, effective_by_hand),
    (check_effective_lr, effective_in_steps),
    (check_effective_lr, effective_by_numpy),
    (check_tangent, tangent_by_unit_vector),
    (check_tangent, tangent_by_matrix),
    (check_tangent, tangent_by_numpy),
    (check_equilibrium, equilibrium_in_steps),
    (check_equilibrium, equilibrium_as_a_list),
    (check_equilibrium, equilibrium_by_numpy),
    (check_decay_for_angle, lambda angle, lr, beta1: 0.5 * angle**2 / lr * (1 + beta1) / (1 - beta1)),
    (check_decay_for_angle, lambda angle, lr, beta1: (angle / math.sqrt(2 * lr * (1 - beta1) / (1 + beta1))) ** 2),
    (check_decay_for_angle, decay_by_bisection),
    (check_early_dials, dials_by_branches),
    (check_early_dials, dials_by_product),
    (check_early_dials, dials_by_array),
    (check_mask, lambda name, tensor: tensor.ndim >= 2),
    (check_mask, lambda name, p: int(len(p.shape) > 1)),
    (check_mask, lambda _, p: torch.tensor(p.dim() not in (0, 1))),
    (check_paired_effect, effect_by_numpy),
    (check_paired_effect, effect_by_scipy),
    (check_paired_effect, effect_by_lists),
    (check_training_step, step_by_lambda_now),
    (check_training_step, step_by_torch),
    (check_training_step, step_in_place),
    (check_copied_lr, copied_by_branches),
    (check_copied_lr, lambda lr, norm, leader, kind: lr / leader ** (p := 1 + (kind == "sgd")) * norm**p),
    (check_copied_lr, lambda lr, norm, leader, kind: torch.tensor(lr) * (norm / leader) ** {"sgd": 2, "adam": 1}[kind]),
    (check_rescale, rescaled_in_place),
    (check_rescale, lambda w, leader: w * (leader.square().sum() / w.square().sum()).sqrt()),
    (check_rescale, lambda w, leader: w.numpy() * (np.linalg.norm(leader) / np.linalg.norm(w))),
    (check_share, lambda arm, never, early: (arm.mean() - never.mean()) / (early.mean() - never.mean())),
    (check_share, lambda arm, never, early: sum(arm - never) / sum(early - never)),
    (check_share, lambda arm, never, early: 1 - np.mean(early - arm) / np.mean(early - never)),
    (check_same_state, lambda w, buffer, lr, c: (c * w, buffer / c, c * c * lr)),
    (check_same_state, state_in_place),
    (check_same_state, lambda w, buffer, lr, c: [w.numpy() * c, (buffer * (1 / c)).numpy(), np.float64(lr) * c**2]),
    (check_factors, lambda c: (c**-2, c**-2, 1)),
    (check_factors, lambda c: [1 / c / c, 1 / c**2, 1.0]),
    (check_factors, lambda c: torch.tensor([1 / c, 1 / c, 1]).square()),
    (check_fold, fold_by_hand),
    (check_fold, fold_by_torch),
    (check_fold, fold_in_place),
    (check_layer_noise, noise_by_norm),
    (check_layer_noise, noise_by_numpy),
    (check_layer_noise, noise_in_place),
    (check_kendall, lambda a, b: stats.kendalltau(a, b).statistic),
    (check_kendall, kendall_by_counting),
    (check_kendall, kendall_by_numpy),
    (check_fair_tau, fair_by_counting),
    (check_fair_tau, fair_by_numpy),
    (check_fair_tau, fair_by_torch),
    (check_longer, lambda norm, gradient, lr: (norm**2 + (lr * gradient) ** 2) ** 0.5),
    (check_longer, lambda *given: np.hypot(given[0], given[1] * given[2])),
    (check_longer, lambda norm, gradient, lr: torch.tensor([norm, lr * gradient]).norm()),
    (check_noisy_labels, noisy_in_place),
    (check_noisy_labels, noisy_by_numpy),
    (check_noisy_labels, noisy_by_a_list),
    (check_wrong_share, lambda noise, classes: noise * (1 - 1 / classes)),
    (check_wrong_share, lambda noise, classes: noise - noise / classes),
    (check_wrong_share, lambda noise, classes: torch.tensor(noise) * (classes - 1) / classes),
    (check_predicted_norm, predicted_step_by_step),
    (check_predicted_norm, predicted_by_numpy),
    (check_predicted_norm, predicted_by_torch),
    (check_target, target_by_cases),
    (check_target, target_by_where),
    (check_target, target_by_numpy),
    (check_epsilon, epsilon_by_cases),
    (check_epsilon, epsilon_by_max),
    (check_epsilon, epsilon_by_numpy),
    (check_decayed_share, decayed_share_by_hand),
    (check_decayed_share, decayed_share_by_numpy),
    (check_decayed_share, decayed_share_by_torch),
    (check_middle_mean, middle_mean_by_list),
    (check_middle_mean, middle_mean_by_scipy),
    (check_middle_mean, middle_mean_by_topk),
    (check_greedy, greedy_as_a_list),
    (check_greedy, greedy_by_table),
    (check_greedy, greedy_by_numpy),
    (check_new_lambda, lambda_by_branches),
    (check_new_lambda, lambda *given: np.array(given[0] * (given[1] / given[2]) ** given[3])),
    (
        check_new_lambda,
        lambda weight_decay, lr, new_lr, by_lr: torch.tensor(weight_decay) / (new_lr / lr if by_lr else 1),
    ),
    (check_good_share, share_by_torch),
    (check_good_share, share_by_numpy),
    (check_good_share, share_by_counting),
    (check_enough, 17),
    (check_enough, torch.tensor(17.0)),
    (check_enough, next(k for k in range(100) if 1 - (5 / 6) ** k >= 0.95)),
    (check_expected_best, best_in_closed_form),
    (check_expected_best, best_by_steps),
    (check_expected_best, best_by_numpy),
    (check_width, width_by_counting),
    (check_width, width_by_numpy),
    (check_width, width_by_seed),
    (check_other_label, label_by_branches),
    (check_other_label, lambda *given: np.array(given[1] * given[0] ** (2 * given[2] - 1))),
    (check_other_label, lambda lr, strength, to: torch.tensor(strength).double() * (lr if to else 1 / lr)),
    (check_adam_step, adam_in_place),
    (check_adam_step, adam_by_numpy),
    (check_adam_step, adam_with_the_corrections_folded_in),
    (check_two_moments, moments_in_place),
    (check_two_moments, moments_one_after_the_other),
    (check_two_moments, moments_by_torch),
    (check_parts, parts_by_difference),
    (check_parts, lambda *given: [part.numpy() for part in parts_by_difference(*given)]),
    (check_parts, parts_by_wdlab),
    (check_adaptive, adaptive_by_branches),
    (check_adaptive, adaptive_by_torch),
    (check_adaptive, adaptive_by_wdlab),
    (check_rest, rest_by_branches),
    (check_rest, rest_by_solving),
    (check_rest, rest_by_descent),
]


@pytest.mark.parametrize(("checker", "right"), RIGHT)
def test_right_answers_written_differently_pass(checker: Callable[[object], Report], right: object) -> None:
    report = judged(checker, right)
    assert report.passed is True, report


@pytest.mark.parametrize(("checker", "right"), [(checker, right) for checker, right in RIGHT if checker in FUNCTIONS])
def test_right_answers_pass_whatever_the_seed(checker: Callable[[object], Report], right: object) -> None:
    for seed in SEEDS[1:]:
        report = judged(checker, right, seed)
        assert report.passed is True, report


def test_three_right_answers_an_exercise() -> None:
    assert all(sum(checker is one for one, _ in RIGHT) >= 3 for checker in CHECKERS)


# --- typical mistakes ---------------------------------------------------------------------------------------

MISTAKES = [
    pytest.param(checker, label, id=f"{checker.__name__}: {label}")
    for checker, exercise in CHECKERS.items()
    for label in exercise.mistakes
]


NAMED = {  # by the course's page, and at what each of them can be made
    "lambda times lr twice": (
        *(check_one_line, check_sgd_step, check_momentum_step, check_training_step),
        *(check_adam_step, check_two_moments, check_adaptive),
    ),
    "the sign": (
        *(check_one_line, check_sgd_step, check_momentum_step, check_training_step, check_paired_effect),
        *(check_adam_step, check_two_moments, check_parts, check_adaptive, check_rest),
    ),
    "decay inside": (check_momentum_step, check_adam_step, check_two_moments, check_adaptive),
    "biases": (check_mask, check_adaptive),
}


@pytest.mark.parametrize("mistake", NAMED)
def test_the_mistakes_that_everybody_makes_are_known_wherever_they_can_be_made(mistake: str) -> None:
    for checker in NAMED[mistake]:
        assert any(mistake in label for label in CHECKERS[checker].mistakes), checker.__name__


@pytest.mark.parametrize(("checker", "label"), MISTAKES)
def test_each_typical_mistake_is_named_and_drawn(checker: Callable[[object], Report], label: str) -> None:
    report = judged(checker, answer(checker, CHECKERS[checker].mistakes[label]))
    assert report.passed is False
    assert not report
    assert label in report.message
    assert report.figure is not None
    assert as_printed(CHECKERS[checker], label, report.message) in report.figure.alt
    both = shown(report)
    assert "not yet right" in both
    assert "not yet done" not in both
    assert 'alt="' in both
    assert "data:image/png;base64,iVBOR" in both


def as_printed(exercise: Exercise, label: str, message: str) -> str:
    """The learner's values beside the right ones as they stand in the message; of a number, the learner's alone."""
    if exercise in NUMBERS.values():
        return say(float(exercise.mistakes[label]()))
    told = [line for line in message.splitlines() if ": yours " in line and ", expected " in line]
    assert len(told) == len(exercise.returns) or exercise in RUNS.values()
    return "; ".join(told)


def tried(exercise: Exercise, answer: Callable[..., Any], seed: int) -> list[Attempt]:
    return [attempt(exercise, answer, case) for case in cases_of(exercise, seed)]


EVERY_MISTAKE_OF_A_FUNCTION = [one for one in MISTAKES if one.values[0] in FUNCTIONS]


@pytest.mark.parametrize(("checker", "label"), EVERY_MISTAKE_OF_A_FUNCTION)
def test_a_counter_example_says_arguments_yours_and_expected_as_numbers(
    checker: Callable[[object], Report], label: str
) -> None:
    exercise = CHECKERS[checker]
    message = in_words(exercise, exercise.mistakes[label]).message
    first = next(one for one in tried(exercise, exercise.mistakes[label], 0) if not one.right)
    for key, value in first.case.items():
        _, told = message.split(f"{key} =", 1)
        assert all(number in told for number in numbers(value))
    assert "tensor" not in message.split("This is what you get")[0].replace("tensor =", "")
    assert all(f"{name}: yours " in message for name in exercise.returns)
    assert "expected " in message


@pytest.mark.parametrize(("checker", "label"), EVERY_MISTAKE_OF_A_FUNCTION)
def test_a_typical_mistake_is_named_whatever_the_seed(checker: Callable[[object], Report], label: str) -> None:
    exercise = CHECKERS[checker]
    for seed in SEEDS[1:]:
        found = tried(exercise, exercise.mistakes[label], seed)
        assert not all(one.right for one in found)
        assert mistake_of(exercise, found) == label


def test_the_smallest_counter_example_is_shown() -> None:
    report = judged(check_sgd_step, lambda w, g, lr, wd: w - lr * g - lr * wd * w + (w.ndim > 1))  # wrong for matrices
    assert "of 11 cases fail. The smallest, drawn with seed 0: w = [[" in report.message
    products = chapter05.LAYER_NOISE.mistakes[
        "not divided by the length of z: this noise is longer than `size` times the weights"
    ]
    report = check_layer_noise(products)
    smallest = "weights = [[[3, 4]], [[2], [0]]], z = [[[0.6, -0.8]], [[1.2], [-1.6]]], size = 0.5"
    assert f"The smallest: {smallest}" in report.message
    report = check_early_dials(lambda step, steps, fraction, lr, wd: (lr, wd if step <= fraction * steps else 0))
    assert "The smallest: step = 2, steps = 4, fraction = 0.5" in report.message
    report = check_greedy(lambda table: torch.zeros(len(table)))
    rows = ["  0.1  0.3  0.2  0.4", "  0.1  0.3  0.2    1", "  0.1  0.3  0.2  0.4", "  0.1  0.3    1  0.4"]
    table = "\n".join(rows)
    assert f"The smallest:\ntable =\n{table}\nwords: yours [0, 0, 0, 0], expected [3, 2, 0, 0]" in report.message
    assert report._repr_html_().count("font-family:monospace") == len(rows)


@pytest.mark.parametrize("checker", EVERY_NUMBER)
def test_a_number_is_not_given_away(checker: Callable[[object], Report]) -> None:
    exercise = CHECKERS[checker]
    right = f"{exercise.reference():.4g}"
    for wrong in (0.123, -1.0, *(function() for function in exercise.mistakes.values())):
        report = checker(wrong)
        assert report.passed is False
        assert right not in f"{report.message} {report.figure and report.figure.alt}"


def test_of_a_run_only_what_differs_is_told() -> None:
    message = check_last_quarter(FIRST_QUARTER).message
    assert "start: yours 0, expected 0.75" in message
    assert "lr" not in message


def test_the_normal_quantile_has_one_name_with_two_decimals_and_with_all() -> None:
    def effect(a, b, quantile=1.96):
        d = a - b
        reach = quantile * d.std(ddof=1) / len(d) ** 0.5
        return d.mean(), d.mean() - reach, d.mean() + reach

    for answer in (effect, lambda a, b: effect(a, b, stats.norm.ppf(0.975))):
        assert "the normal quantile 1.96: with few seeds" in check_paired_effect(answer).message


def test_a_mistake_nobody_thought_of_gets_a_counter_example_and_no_name() -> None:
    report = check_sgd_step(lambda w, g, lr, wd: w * 0 + 7)
    assert report.passed is False
    assert "yours [7]" in report.message
    assert "well-known mistake" not in report.message


# --- not yet done -------------------------------------------------------------------------------------------


def raises_not_implemented(*_):
    raise NotImplementedError


@pytest.mark.parametrize("checker", EVERY)
@pytest.mark.parametrize("stub", [None, ...])
def test_an_untouched_name_is_not_yet_done(checker: Callable[[object], Report], stub: object) -> None:
    report = checker(stub)
    assert report.passed is None
    assert not report
    assert "not yet done" in repr(report)
    assert "not yet done" in report._repr_html_()


@pytest.mark.parametrize("checker", EVERY_FUNCTION)
@pytest.mark.parametrize("stub", [lambda *_: None, lambda *_: ..., raises_not_implemented])
def test_an_untouched_stub_is_not_yet_done(checker: Callable[[object], Report], stub: object) -> None:
    report = checker(stub)
    assert report.passed is None
    assert "not yet done" in repr(report)


# --- answers of the wrong kind ------------------------------------------------------------------------------


def stops(*_):
    return 1 / 0


def leaves(*_):
    raise SystemExit


def recurses(*given):
    return recurses(*given)


class SilentError(Exception):
    def __str__(self):
        raise ValueError("even saying what happened fails")


def stops_in_silence(*_):
    raise SilentError


class LastWordError(BaseException):
    """Not an Exception, so that `except Exception` does not catch it."""


def stops_for_good(*_):
    raise LastWordError


class Closed:
    """Callable, and answers no question about itself."""

    def __getattribute__(self, name):
        raise RuntimeError(name)

    def __call__(self, *_):
        raise SilentError


def turns_to_float(*given):
    """Changes the type of what it is given, where it can, and returns something else."""
    for one in given:
        if isinstance(one, torch.Tensor):
            one.data = one.data.float()
        if isinstance(one, list):
            one[0] = None
    return 1.7e308


class Odd:
    def __call__(self, *_):
        return object()

    def __repr__(self):
        raise ValueError("even saying what this is fails")


class Unsayable:
    def __repr__(self):
        raise ValueError("even saying what this is fails")


UNSAYABLE = Unsayable()


def takes_something_unsayable(*_, needed, more=UNSAYABLE):
    return needed


class Uncountable(tuple):
    def __len__(self):
        raise ValueError("nobody knows how many")


class Nameless(type):
    @property
    def __name__(cls):
        raise ValueError("no name")


class NamelessError(Exception, metaclass=Nameless):
    pass


class NamelessThing(metaclass=Nameless):
    pass


def stops_namelessly(*_):
    raise NamelessError


class Words(str):
    def __format__(self, spec):
        raise LastWordError

    __bool__ = __len__ = __str__ = __format__  # type: ignore[assignment]


class WordyError(Exception):
    def __str__(self):
        return Words("wordy")


def stops_in_words_of_its_own(*_):
    raise WordyError


class Leaver:
    """Ends the session when it is looked at in any way."""

    def __getattribute__(self, name):
        raise SystemExit(name)

    def __call__(self, *_):
        return self

    __array__ = __float__ = __repr__ = __call__


def makes_its_arguments_odd(*given):
    for one in given:
        if isinstance(one, torch.Tensor):
            one.__class__ = OddTensor
    return 1.7e308


class OddTensor(torch.Tensor):
    @property
    def dtype(self):
        raise ValueError("no dtype")


WRONG_KIND: list[object] = [
    *(takes_something_unsayable, lambda *_: Uncountable((1, 2)), Uncountable((1, 2)), stops_namelessly),
    *(lambda *_: NamelessThing(), NamelessThing(), stops_in_words_of_its_own, Leaver(), lambda *_: Leaver()),
    *(makes_its_arguments_odd, lambda *_: torch.ones(1).as_subclass(OddTensor)),
    *(stops_in_silence, stops_for_good, Closed(), turns_to_float, lambda *_: 1.7e308, lambda *_: (-1.7e308, 1.7e308)),
    *(lambda *_: (1.7e308, -1.7e308, 1.0), 1.7e308, -1.7e308),
    *(stops, leaves, recurses, Odd(), lambda: 1.0, lambda *_: "a string", lambda *_: {"w": 1}, lambda *_: len),
    *(lambda *_: math.nan, lambda *_: torch.full((3,), math.nan), lambda *_: torch.ones(7, 5), lambda *_: ()),
    *(lambda *_: (1, 2), lambda *_: (1, 2, 3), lambda *_: ("a", "b"), lambda *_: [[1, 2], [3]], lambda *_: 1j),
    *(lambda *_: torch.ones(1, dtype=torch.complex64), lambda *_: torch.eye(2).to_sparse(), lambda *_: math.inf),
    *(lambda *_: (math.nan, math.nan, math.nan), lambda *_: (math.nan, math.nan), lambda *_: np.array(["x"])),
    *("a string", [1.0, 2.0], {}, object(), math.nan, math.inf, "0.25", int, torch.nn.Linear(2, 2), 1j),
    *(lambda *_: torch.tensor([1 + 5j]), lambda *_: np.array([1 + 5j]), lambda *_: [1 + 5j]),
    *(torch.tensor(0.25 + 5j), np.array(0.25 + 5j), np.complex128(0.25 + 5j)),
]


@pytest.mark.parametrize("checker", EVERY)
@pytest.mark.parametrize("odd", range(len(WRONG_KIND)))
def test_nothing_is_raised_and_nothing_odd_passes(checker: Callable[[object], Report], odd: int) -> None:
    report = judged(checker, WRONG_KIND[odd])
    assert report.passed is False
    assert report.message.strip()
    assert shown(report).count("not yet right") == 2


@pytest.mark.parametrize("checker", EVERY_FUNCTION)
@pytest.mark.parametrize("made", [torch.tensor, np.array, lambda value: np.array(value)[()]])
def test_what_is_right_but_for_an_imaginary_part_is_not_right(
    checker: Callable[[object], Report], made: Callable[[Any], Any]
) -> None:
    exercise = CHECKERS[checker]

    def slipped(*given: Any) -> Any:
        found = exercise.reference(*given)
        several = found if len(exercise.returns) > 1 else (found,)
        return tuple(made(np.asarray(one) + 5j) for one in several)

    report = judged(checker, slipped)
    assert report.passed is False
    assert "complex numbers are returned where real ones are expected" in report.message


@pytest.mark.parametrize("checker", EVERY_FUNCTION)
@pytest.mark.parametrize("extreme", [1.7e308, -1.7e308, math.inf, 5e-324])
def test_the_largest_and_the_smallest_numbers_harm_nothing(checker: Callable[[object], Report], extreme: float) -> None:
    exercise = CHECKERS[checker]

    def huge(*given: Any) -> Any:
        found = exercise.reference(*given)
        several = found if len(exercise.returns) > 1 else (found,)
        made = [np.full_like(np.asarray(one, dtype=np.float64), extreme) for one in several]
        return made if len(made) > 1 else made[0]

    report = judged(checker, huge)
    assert report.passed is False
    assert say(extreme) in report.message
    assert "not yet right" in shown(report)


SAID = [
    (check_sgd_step, stops, "your code stops with ZeroDivisionError: division by zero (in the line `return 1 / 0`)"),
    (check_sgd_step, leaves, "your code stops with SystemExit"),
    (check_sgd_step, stops_in_silence, "your code stops with SilentError (in the line `raise SilentError`)"),
    (check_sgd_step, stops_for_good, "your code stops with LastWordError (in the line `raise LastWordError`)"),
    (check_sgd_step, lambda w, g: w, "takes (w, g), and is called with (w, g, lr, weight_decay)"),
    (check_sgd_step, lambda *_: "w", "a str is returned where a number or a tensor is expected"),
    (check_sgd_step, lambda *_: 1j, "complex numbers are returned where real ones are expected"),
    (check_sgd_step, lambda *_: torch.ones(7), "w has the shape (7,) where (1,) is expected"),
    (check_sgd_step, lambda w, *_: w * math.nan, "w is [nan]: it holds NaN"),
    (check_sgd_step, 3.0, "A function is expected here, and this is a float"),
    (check_sgd_step, takes_something_unsayable, "takes other arguments, and is called with (w, g, lr, weight_decay)"),
    (check_sgd_step, stops_namelessly, "your code stops with an error (in the line `raise NamelessError`)"),
    (check_sgd_step, NamelessThing(), "A function is expected here, and this is a thing without a name"),
    (check_momentum_step, lambda *_: Uncountable((1, 2)), "your code stops with ValueError: nobody knows how many"),
    (check_last_quarter, NamelessThing(), "A wdlab.Run is expected here, and this is a thing without a name"),
    (check_momentum_step, lambda w, *_: w[0], "a Tensor is returned where 2 values are expected: w, buffer"),
    (check_momentum_step, lambda w, g, b, *_: (w, b, g), "a tuple is returned where 2 values are expected"),
    (check_same_shrink, "0.25", "a number is expected here, and this is a str"),
    (check_last_quarter, "after", "A wdlab.Run is expected here, and this is a str"),
    (check_last_quarter, replace(LAST_QUARTER, steps=100), "other differences: yours 1, expected 0"),
    (
        check_last_quarter,
        replace(FIRST_QUARTER, decay=wdlab.Decay(0.01, wdlab.Timing.of(lambda step: 1 / 0))),
        "ZeroDivisionError",
    ),
    (check_same_shrink, lambda: 0.25, "a number is expected here, and this is a function"),
    (check_same_shrink, [0.25, 0.25], "one number is expected here, and this holds 2"),
    (check_mask, lambda name, tensor: None if tensor.ndim < 2 else True, "it returns nothing"),
]


@pytest.mark.parametrize(("checker", "wrong", "said"), SAID)
def test_what_happened_is_said_in_plain_words(checker: Callable[[object], Report], wrong: object, said: str) -> None:
    assert said in checker(wrong).message


def stops_at_once(*_):
    raise KeyboardInterrupt


class StopsAtOnce:
    def __array__(self, *_):
        raise KeyboardInterrupt


class StopsAtOnceError(Exception):
    def __str__(self):
        raise KeyboardInterrupt


def stops_when_told(*_):
    raise StopsAtOnceError


@pytest.mark.parametrize("impatient", [stops_at_once, stops_when_told, lambda *_: StopsAtOnce()])
def test_only_the_way_out_of_an_endless_loop_is_raised(impatient: Callable[..., Any]) -> None:
    with pytest.raises(KeyboardInterrupt):
        check_sgd_step(impatient)


# --- arguments that are changed -----------------------------------------------------------------------------


def test_changing_the_arguments_is_noticed_and_does_no_harm() -> None:
    before = {
        key: value.clone() for key, value in chapter01.SGD_STEP.cases[0].items() if isinstance(value, torch.Tensor)
    }
    report = check_sgd_step(sgd_in_place)
    assert report.passed is True
    assert "it also changes w in place" in report.message
    assert all(torch.equal(value, chapter01.SGD_STEP.cases[0][key]) for key, value in before.items())
    assert "in place" not in check_sgd_step(sgd_by_numpy).message
    assert check_sgd_step(sgd_by_numpy).passed is True


def test_changing_a_tensor_in_a_list_is_noticed_and_does_no_harm() -> None:
    before = [z.clone() for z in chapter05.LAYER_NOISE.cases[0]["z"]]
    report = check_layer_noise(noise_in_place)
    assert report.passed is True
    assert "it also changes z in place" in report.message
    assert all(map(torch.equal, before, chapter05.LAYER_NOISE.cases[0]["z"]))
    assert "in place" not in check_layer_noise(noise_by_numpy).message


def test_changing_without_returning_is_told_apart_from_a_stub() -> None:
    def forgets_to_return(w, g, lr, wd):
        w.sub_(lr * (g + wd * w))

    report = check_sgd_step(forgets_to_return)
    assert report.passed is False
    assert "changes w but returns nothing: end it with `return ...`" in report.message


def test_the_interval_of_the_exercise_is_that_of_the_course() -> None:
    case = cases_of(chapter03.PAIRED_EFFECT, 0)[-1]
    assert chapter03.PAIRED_EFFECT.reference(*case.values()) == pytest.approx(effect_by_numpy(*case.values()))


def test_the_noise_and_the_fold_of_the_exercises_are_those_of_the_course() -> None:
    case = cases_of(chapter05.LAYER_NOISE, 0)[-1]
    for found, w, z in zip(chapter05.LAYER_NOISE.reference(*case.values()), case["weights"], case["z"], strict=True):
        torch.testing.assert_close(found, case["size"] * NOISES["layer"](w[None], z[None])[0])
    case = cases_of(chapter05.FOLD, 0)[-1]
    units = len(case["scale"])
    model = MLP(1, (units, units, 2)).double()
    with torch.no_grad():
        for name, key in {"weight_0": "w", "scale_0": "scale", "shift_0": "shift"}.items():
            model.get_parameter(name).copy_(case[key])
        model.mean_0.copy_(case["mean"])
        model.var_0.copy_(case["var"])
    weight, bias = chapter05.FOLD.reference(*{**case, "eps": BN_EPS}.values())
    torch.testing.assert_close(fold(model)["0"].weight[0], weight)
    torch.testing.assert_close(fold(model)["0"].bias[0], bias)


def test_c_does_to_the_measures_what_the_exercise_says() -> None:
    """On a network whose last layer is not moved, by noise so small that no unit is turned on or off."""
    model = MLP(1, (4, 8, 3)).double()
    model.initialize([generator(0, "init")])
    draw = generator(0, "data")
    inputs, labels = torch.randn(60, 4, generator=draw).double(), torch.randint(3, (60,), generator=draw)

    def measured() -> list[float]:
        seen, names = Subject(model, inputs, labels), model.scale_invariant
        return [
            noise_sharpness(seen, seen.generator(), 1e-5, names=names).item(),
            hessian_traces(seen, seen.generator(), names=names)["weight_0"].item(),
            noise_sharpness(seen, seen.generator(), 0.05, "layer", names=names).item(),
        ]

    before = measured()
    rescale_(model, 4.0)
    found = [now / then for now, then in zip(measured(), before, strict=True)]
    assert found == pytest.approx(chapter05.FACTORS.reference(4.0), rel=0.02)
