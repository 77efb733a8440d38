"""Claims of chapter 01: what weight decay is, on quadratics and ridge regression."""

from __future__ import annotations

from wdlab.claims.arms import levels
from wdlab.claims.claim import Claim
from wdlab.tasks import convex

LOSHCHILOV = "Loshchilov and Hutter 2019, Proposition {}; the measurement is ours"
OURS = "ours, derived on a quadratic; SGD with decoupled decay is Algorithm 1 of Loshchilov and Hutter 2019"

CLAIMS = (
    Claim(
        "momentum-parts-them",
        "With momentum, SGD with an l2 penalty and SGD with decoupled decay of the same strength end apart.",
        OURS,
        "of what l2 decay does to the resting point",
        lambda setting: convex.coupling_gap(setting.seeds, momentum=0.9).tolist(),
        "plain SGD, momentum 0: there the two are the same method",
        lambda setting: convex.coupling_gap(setting.seeds, momentum=0.0).tolist(),
        levels(0.01, ci=10, demo=20),
    ),
    Claim(
        "sgd-l2-is-decay",
        "Under plain SGD an l2 penalty and decoupled decay follow the same path (minus the gap between them is above "
        "minus a rounding error).",
        LOSHCHILOV.format(1),
        "minus the gap, of what l2 decay does to the resting point",
        lambda setting: (-convex.path_gap(setting.seeds, momentum=0.0)).tolist(),
        "momentum 0.9, decoupled decay made stronger so that both rest at the same point: the paths still part",
        lambda setting: (-convex.path_gap(setting.seeds, momentum=0.9)).tolist(),
        levels(-1e-9, ci=10, demo=20),
    ),
    Claim(
        "adam-parts-them",
        "Under Adam, l2 and decoupled decay of the same strength rest at different points when the sizes of the "
        "gradients differ from weight to weight.",
        LOSHCHILOV.format(2),
        "of what l2 decay does to the resting point",
        lambda setting: convex.adam_gap(setting.seeds).tolist(),
        "gradient noise of size 1 in every weight: Adam then divides by about 1, and the two are one method",
        lambda setting: convex.adam_gap(setting.seeds, equal=True).tolist(),
        levels(0.25, ci=10, demo=20),
    ),
    Claim(
        "ridge-keeps-no-trace",
        "Ridge regression trained to convergence keeps no trace of decay in the first half of training (minus the "
        "trace is above minus one percent of what lasting decay does).",
        "after a remark of Golatkar et al. 2019 on convex problems; the measurement is ours",
        "minus the distance from never, of the distance between always and never",
        lambda setting: (-convex.trace_of_early_decay(setting.seeds, steps=4000)).tolist(),
        "the same regression stopped early, where the trace must be seen",
        lambda setting: (-convex.trace_of_early_decay(setting.seeds, steps=40)).tolist(),
        levels(-0.01, ci=10, demo=20),
    ),
)
