"""What became of claims, in a sentence: a claim stands by its verdict and its control, and each counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wdlab.claims import Verdict, recorded
from wdlab.figures import beside, forest, what_stood
from wdlab.figures.verdicts import stands


def verdict(name: str, verdict: str, control: str = "vanishes") -> Verdict:
    return replace(recorded("04").verdicts[0], id=name, verdict=verdict, control=control)


YES = verdict("early", "supported")
OPEN = verdict("open", "supported", "inconclusive")
NO = verdict("late", "not supported")
UNSURE = verdict("wide", "inconclusive")


def test_a_claim_stands_only_where_it_is_supported_and_its_control_vanishes() -> None:
    assert stands(YES)
    assert not any(map(stands, (OPEN, NO, UNSURE, verdict("both", "supported", "supported"))))


def test_the_sentence_counts_those_that_stand_and_says_of_each_what_became_of_it() -> None:
    assert what_stood([YES, OPEN, NO]) == (
        "Of the 3 claims of this notebook 1 stood on these seeds: "
        "*early* (stands), *open* (supported, control inconclusive), *late* (not supported)."
    )
    assert what_stood([NO, UNSURE], "on couplings") == (
        "Of the 2 claims on couplings none stood on these seeds: *late* (not supported), *wide* (inconclusive)."
    )


def test_an_effect_that_is_undefined_is_said_in_the_picture_and_in_its_words() -> None:
    nan = float("nan")
    drawn = forest([YES, replace(UNSURE, effect=nan, low=nan, high=nan)])
    assert "wide undefined (no number for a seed), bar" in drawn.alt and "nan" not in drawn.alt
    (axes,) = drawn.figure.axes
    assert [text.get_text().strip() for text in axes.texts] == ["no number for a seed"]


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ([NO, OPEN], "what these runs do not show"),
        ([YES, NO], "more than these runs show"),
        ([YES, YES], "the same"),
    ],
)
def test_a_report_that_all_hold_is_the_same_only_where_all_stand(verdicts: list[Verdict], said: str) -> None:
    assert beside(verdicts) == said
