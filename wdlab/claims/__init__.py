"""Every empirical sentence of the course as an object that can be tried, with the control in which it must vanish.

A claim fixes, before any result is seen, what is compared, the direction, the smallest effect that would matter, and
the seeds. The effect is one number a seed; the verdict is read off its 95% interval (see `wdlab.stats.judge`). The
control is the same measurement where the claim must not hold. Each chapter's claims are in a module of its own.
"""

from wdlab.checks import known
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
from wdlab.claims.chapter03 import at_equal_dose, half_dose, linear_accuracy
from wdlab.claims.claim import SCALES, Claim, Level, Outcome, Setting, Verdict, versions
from wdlab.claims.record import Record, read

CHAPTERS = (
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
CLAIMS: dict[str, Claim] = {claim.id: claim for chapter in CHAPTERS for claim in chapter.CLAIMS}
"""Every claim of the course by its id, in the order of the chapters."""


def of_chapter(chapter: str) -> tuple[Claim, ...]:
    """Return the claims of the chapter with these two digits; raises ValueError for one that makes none."""
    by_number: dict[str, tuple[Claim, ...]] = {module.__name__[-2:]: module.CLAIMS for module in CHAPTERS}
    return by_number[known("chapter", chapter, by_number)]


def recorded(chapter: str, *ids: str) -> Record:
    """Return what is on record of the claims of a chapter, or of those called `ids`; see `wdlab.claims.record`.

    Raises ValueError for a chapter without claims and for an id that is none of its.
    """
    claims = {claim.id: claim for claim in of_chapter(chapter)}
    return read([claims[known("ids", name, claims)] for name in ids or claims])


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
    "Record",
    "Setting",
    "Verdict",
    "at_equal_dose",
    "disagreement",
    "equilibrium_table",
    "half_dose",
    "image_resnet",
    "linear_accuracy",
    "network",
    "network_equilibrium",
    "of_chapter",
    "recorded",
    "signal_resnet",
    "trained_network",
    "turning",
    "turning_network",
    "twin",
    "versions",
]
