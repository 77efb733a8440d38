"""Every empirical sentence of the course as an object that can be tried, with the control in which it must vanish.

A claim fixes, before any result is seen, what is compared, the direction, the smallest effect that would matter, and
the seeds. The effect is one number a seed; the verdict is read off its 95% interval (see `wdlab.stats.judge`). The
control is the same measurement where the claim must not hold. Each chapter's claims are in a module of its own.
"""

from wdlab.claims import (
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
)
from wdlab.claims.arms import ALWAYS, CONSTANT, EARLY, LATE, NEVER, image_resnet, network, signal_resnet
from wdlab.claims.chapter02 import (
    disagreement,
    equilibrium_table,
    network_equilibrium,
    trained_network,
    turning,
    turning_network,
    twin,
)
from wdlab.claims.chapter03 import linear_accuracy
from wdlab.claims.claim import SCALES, Claim, Level, Outcome, Setting, Verdict, versions

CLAIMS: dict[str, Claim] = {
    claim.id: claim
    for chapter in (
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
    )
    for claim in chapter.CLAIMS
}
"""Every claim of the course by its id, in the order of the chapters."""

__all__ = [
    "ALWAYS",
    "CLAIMS",
    "CONSTANT",
    "EARLY",
    "LATE",
    "NEVER",
    "SCALES",
    "Claim",
    "Level",
    "Outcome",
    "Setting",
    "Verdict",
    "disagreement",
    "equilibrium_table",
    "image_resnet",
    "linear_accuracy",
    "network",
    "network_equilibrium",
    "signal_resnet",
    "trained_network",
    "turning",
    "turning_network",
    "twin",
    "versions",
]
