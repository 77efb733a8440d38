"""Exercises of notebook 07: inside Adam."""

from __future__ import annotations

from typing import Any

from torch import Generator, Tensor

from wdlab.decay import COUPLINGS, AdamBuffers, adam_, rates, second_moment_
from wdlab.exercises.draws import between, dials, pick, row, tenths, whole
from wdlab.exercises.harness import Case, Exercise, Function, check
from wdlab.exercises.report import Report
from wdlab.tasks.unequal import CURVATURE

BETAS, EPS = (0.9, 0.99), 1e-8


def check_adam_step(step: object) -> Report:
    """Check `step(w, g, m, v, t, lr, weight_decay, a_m, a_v, a_adapt, a_post)`: one step of Adam under any coupling.

    It returns the new w, m and v; betas are (0.9, 0.99), eps is 1e-8, t counts from 1. (a_own is left out.)
    """
    return check(ADAM_STEP, step)


def check_two_moments(step: object) -> Report:
    """Check `step(w, g, m, p, v, t, lr, weight_decay)`: the l2 step with a first moment for the loss, one for decay.

    m is the mean of g, p that of d = lambda w; both are divided by the sqrt(v) they share, which sees g + d. It returns
    the new w, m, p and v.
    """
    return check(TWO_MOMENTS, step)


def check_parts(parts: object) -> Report:
    """Check `parts(m, p, v, t, lr)`: the two parts of a step of first_moment, from the loss and from decay.

    m is the mean of g + d after the step, p that of d alone, v that of g^2.
    """
    return check(PARTS, parts)


def check_adaptive(step: object) -> Report:
    """Check `step(w, g, m, v, t, lr, weight_decay)`: one step of Adam with adaptive decay; returns w, m and v.

    Only a w of two or more axes decays; one axis is a bias, and left alone.
    """
    return check(ADAPTIVE, step)


def check_rest(rest: object) -> Report:
    """Check `rest(scale, weight_decay, coupling)`: where w comes to rest under "l2" and under "decoupled"."""
    return check(REST, rest)


def _states(*more: str) -> list[Case]:
    """States of one weight: first steps, later steps, no decay, no gradient."""
    names = ("w", "g", "m", *more, "v")
    singles = [
        ((2.0, 0.0, 0.0, 0.0), {"t": 1, "lr": 0.1, "weight_decay": 0.5}),
        ((2.0, 1.0, 0.0, 0.0), {"t": 1, "lr": 0.1, "weight_decay": 0.5}),
        ((2.0, 1.0, 0.5, 1.0), {"t": 4, "lr": 0.1, "weight_decay": 0.5}),
        ((-1.0, 0.5, -0.5, 4.0), {"t": 9, "lr": 0.01, "weight_decay": 0.2}),
        ((1.0, 1.0, 1.0, 1.0), {"t": 3, "lr": 0.1, "weight_decay": 0.0}),
    ]
    cases: list[Case] = []
    for (w, g, m, v), rest in singles:
        values = {"w": w, "g": g, "m": m, "v": v} | {name: 0.25 if rest["t"] > 1 else 0.0 for name in more}
        tensors: Case = {name: row(values[name]) for name in names}
        cases.append({**tensors, **rest})
    return cases


def _drawn_state(draw: Generator, *more: str, shape: tuple[int, ...] = (2, 3)) -> dict[str, Any]:
    tensors = {name: tenths(draw, *shape) for name in ("w", "g", "m", *more, "v")}
    return {**tensors, "v": tensors["v"].abs(), "t": whole(draw, 2, 9), **dials(draw, "lr", "weight_decay")}


def _adam(
    name: str | None = None, *, sign: float = 1.0, lr_twice: bool = False, corrected: bool = True, no_lr: bool = False
) -> Function:
    """A step of Adam under coupling `name`, or under the numbers given to it, with something wrong if asked."""

    def step(
        w: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int, lr: float, weight_decay: float, *numbers: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        if name is None:
            a_m, a_v, a_adapt, a_post = numbers
            five = (a_m, a_v, 0.0, a_adapt, a_post)
        else:
            five = COUPLINGS[name].numbers
        strength = sign * weight_decay * (lr if lr_twice else 1 / lr if no_lr else 1)
        w, buffers, rate = w.clone(), AdamBuffers(m.clone(), v.clone()), rates(five, strength)
        second_moment_(buffers, w, g, rate, BETAS[1])
        adam_(w, g, buffers, rate, lr, BETAS, EPS, t if corrected else 10**9)
        return w, buffers.m, buffers.v

    return step


# The update rule from the five numbers


def _rule_cases() -> list[Case]:
    couplings = [COUPLINGS[name] for name in ("decoupled", "l2", "adaptive", "first_moment", "second_moment")]
    return [
        {**state, "a_m": c.a_m, "a_v": c.a_v, "a_adapt": c.a_adapt, "a_post": c.a_post}
        for c in couplings
        for state in _states()
    ]


def _drawn_rule(draw: Generator) -> Case:
    """A state under numbers that are each 0 or 1, also together as in no coupling that has a name."""
    return _drawn_state(draw) | {name: float(whole(draw, 0, 1)) for name in ("a_m", "a_v", "a_adapt", "a_post")}


def _always(name: str) -> Function:
    return lambda w, g, m, v, t, lr, weight_decay, *numbers: _adam(name)(w, g, m, v, t, lr, weight_decay)


def _no_root(
    w: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int, lr: float, weight_decay: float, *numbers: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Adam with everything in its place but the square root, which is missing."""
    a_m, a_v, a_adapt, a_post = numbers
    d = weight_decay * w
    m = BETAS[0] * m + (1 - BETAS[0]) * (g + a_m * d)
    v = BETAS[1] * v + (1 - BETAS[1]) * (g + a_v * d) ** 2
    m_hat, v_hat = m / (1 - BETAS[0] ** t), v / (1 - BETAS[1] ** t)
    return w - lr * ((m_hat + a_adapt * d) / (v_hat + EPS) + a_post * d), m, v


ADAM_STEP = Exercise(
    title="Adam under any coupling",
    returns=("w", "m", "v"),
    reference=_adam(),
    cases=_rule_cases(),
    drawn=_drawn_rule,
    mistakes={
        "missing bias correction: divide m by 1 - 0.9^t and v by 1 - 0.99^t": _adam(corrected=False),
        "the sign of the decay: weights must shrink, and these grow": _adam(sign=-1.0),
        "lambda times lr twice: the step as a whole is multiplied by lr, once": _adam(lr_twice=True),
        "the decay forgets the learning rate: lr multiplies every term of the step": _adam(no_lr=True),
        "decay inside the moments whatever the numbers say: this is l2": _always("l2"),
        "decay outside whatever the numbers say: this is decoupled": _always("decoupled"),
        "no decay at all": lambda w, g, m, v, t, lr, weight_decay, *numbers: _adam("l2")(w, g, m, v, t, lr, 0.0),
        "the square root of v is missing": _no_root,
    },
)


# Two first moments over one v


def _two(
    in_v: float = 1.0, undivided: bool = False, corrected: bool = True, sign: float = 1.0, scaled: float = 1.0
) -> Function:
    def step(
        w: Tensor, g: Tensor, m: Tensor, p: Tensor, v: Tensor, t: int, lr: float, weight_decay: float
    ) -> tuple[Tensor, ...]:
        d = sign * weight_decay * w
        m, p = BETAS[0] * m + (1 - BETAS[0]) * g, BETAS[0] * p + (1 - BETAS[0]) * d * (lr if scaled != 1 else 1)
        v = BETAS[1] * v + (1 - BETAS[1]) * (g + in_v * d) ** 2
        c = 1 - BETAS[0] ** t if corrected else 1.0
        root = (v / (1 - BETAS[1] ** t if corrected else 1.0)).sqrt() + EPS
        return w - lr * (m / c / root + (p / c if undivided else p / c / root)), m, p, v

    return step


TWO_MOMENTS = Exercise(
    title="Two first moments, one denominator",
    returns=("w", "m", "p", "v"),
    reference=_two(),
    cases=_states("p"),
    drawn=lambda draw: _drawn_state(draw, "p"),
    mistakes={
        "v sees the loss alone: that is first_moment; in l2 it sees g + d": _two(in_v=0.0),
        "decay's moment is not divided: both share the sqrt(v)": _two(undivided=True),
        "missing bias correction: p needs it as m does, and so does v": _two(corrected=False),
        "the sign of the decay: weights must shrink, and these grow": _two(sign=-1.0),
        "lambda times lr twice: lr multiplies the step, once": _two(scaled=0.0),
        "decay inside both moments: m holds the loss alone, or decay counts twice": (
            lambda w, g, m, p, v, t, lr, weight_decay: _two(in_v=0.0)(
                w, g + weight_decay * w, m, p, v, t, lr, weight_decay
            )
        ),
    },
)


# The two parts of a step


def _halves(corrected: bool = True, whole: bool = False, sign: float = -1.0, swapped: bool = False) -> Function:
    def parts(m: Tensor, p: Tensor, v: Tensor, t: int, lr: float) -> tuple[Tensor, Tensor]:
        c = 1 - BETAS[0] ** t if corrected else 1.0
        root = (v / (1 - BETAS[1] ** t if corrected else 1.0)).sqrt() + EPS
        found = sign * lr * (m if whole else m - p) / c / root, sign * lr * p / c / root
        return found[::-1] if swapped else found

    return parts


def _drawn_moments(draw: Generator) -> Case:
    m, p, v = tenths(draw, 3), tenths(draw, 3), tenths(draw, 3).abs()
    return {"m": m, "p": p, "v": v, "t": whole(draw, 2, 9), **dials(draw, "lr")}


PARTS = Exercise(
    title="The step in two parts",
    returns=("objective", "decay"),
    reference=_halves(),
    cases=[
        {"m": row(1.0), "p": row(0.25), "v": row(4.0), "t": 10**6, "lr": 0.1},
        {"m": row(0.1), "p": row(0.025), "v": row(0.04), "t": 1, "lr": 0.1},
        {"m": row(0.5), "p": row(0.75), "v": row(1.0), "t": 3, "lr": 0.1},
    ],
    drawn=_drawn_moments,
    mistakes={
        "missing bias correction: divide the moments by 1 - 0.9^t and v by 1 - 0.99^t": _halves(corrected=False),
        "m holds both already: the objective's share of it is m - p": _halves(whole=True),
        "the sign: a step is w after minus w before, so it goes against its gradient": _halves(sign=1.0),
        "the two in the wrong order: first the objective's part": _halves(swapped=True),
        "each part divided by the root of its own square: the denominator is shared": (
            lambda m, p, v, t, lr: (-lr * (m - p).sign(), -lr * p.sign())
        ),
    },
)


# The adaptive coupling


def _of_weights(step: Function, least: int = 2) -> Function:
    """The step with decay for tensors of at least so many axes."""

    def masked(
        w: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int, lr: float, weight_decay: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        found: tuple[Tensor, Tensor, Tensor] = step(w, g, m, v, t, lr, weight_decay if w.ndim >= least else 0.0)
        return found

    return masked


def _weights_and_a_bias() -> list[Case]:
    """The states above as weights of two axes, and one of them as a bias."""
    states = _states()
    tensors = ("w", "g", "m", "v")
    weights: list[Case] = [
        {**case, **{name: case[name].reshape(-1, case[name].shape[-1]) for name in tensors}} for case in states
    ]
    return [*weights[:2], states[1], *weights[2:], states[3]]


ADAPTIVE = Exercise(
    title="Write the adaptive coupling",
    returns=("w", "m", "v"),
    reference=_of_weights(_adam("adaptive")),
    cases=_weights_and_a_bias(),
    drawn=lambda draw: _drawn_state(draw, shape=pick(draw, (3,), (2, 3))),
    mistakes={
        "decay inside both moments: this is l2": _of_weights(_adam("l2")),
        "decay inside the first moment: this is first_moment; adaptive keeps it out": _of_weights(
            _adam("first_moment")
        ),
        "decay is not divided by sqrt(v): this is decoupled": _of_weights(_adam("decoupled")),
        "missing bias correction: divide m by 1 - 0.9^t and v by 1 - 0.99^t": _of_weights(
            _adam("adaptive", corrected=False)
        ),
        "the sign of the decay: weights must shrink, and these grow": _of_weights(_adam("adaptive", sign=-1.0)),
        "lambda times lr twice: lr multiplies the step, once": _of_weights(_adam("adaptive", lr_twice=True)),
        "biases decay too: only tensors of two or more axes should": _adam("adaptive"),
    },
)


# Where w comes to rest


def _resting(l2: Function, decoupled: Function) -> Function:
    return lambda scale, weight_decay, coupling: (l2 if coupling == "l2" else decoupled)(CURVATURE, scale, weight_decay)


REST = Exercise(
    title="Where it comes to rest",
    returns=("w",),
    reference=_resting(lambda h, s, lam: h * s / (h * s + lam), lambda h, s, lam: h / (h + lam)),
    cases=[
        {"scale": scale, "weight_decay": strength, "coupling": name}
        for name in ("l2", "decoupled")
        for scale, strength in ((1.0, 0.1), (0.1, 0.1), (0.1, 0.0), (0.01, 0.01), (0.001, 0.03))
    ],
    drawn=lambda draw: {
        "scale": between(draw, 0.02, 0.9),
        "weight_decay": between(draw, 0.01, 0.3, 3),
        "coupling": pick(draw, "l2", "decoupled"),
    },
    mistakes={
        "l2 as if nothing were small: there lambda w is divided by sqrt(v), which is about s": _resting(
            lambda h, s, lam: h / (h + lam), lambda h, s, lam: h / (h + lam)
        ),
        "decoupled decay is not divided by sqrt(v), so s does not matter there": _resting(
            lambda h, s, lam: h * s / (h * s + lam), lambda h, s, lam: h * s / (h * s + lam)
        ),
        "the two couplings are mixed up": _resting(
            lambda h, s, lam: h / (h + lam), lambda h, s, lam: h * s / (h * s + lam)
        ),
        "lambda is multiplied by s: dividing by a small sqrt(v) makes decay stronger": _resting(
            lambda h, s, lam: h / (h + lam * s), lambda h, s, lam: h / (h + lam)
        ),
        "the sign of the decay: w must end below 1": _resting(
            lambda h, s, lam: h * s / (h * s - lam) if h * s != lam else 0.0,
            lambda h, s, lam: h / (h - lam) if h != lam else 0.0,
        ),
        "how far it falls short, not where it rests: take it from 1": _resting(
            lambda h, s, lam: lam / (h * s + lam), lambda h, s, lam: lam / (h + lam)
        ),
    },
)

EXERCISES = (ADAM_STEP, TWO_MOMENTS, PARTS, ADAPTIVE, REST)
