"""Claims about convolutions, which no notebook has the minutes to try: at ci scale each comes to a verdict."""

import math

import pytest

from wdlab.claims import CLAIMS, of_chapter

NAMES = [
    claim.id for number in ("04", "05") for claim in of_chapter(number) if claim.id.endswith(("-signals", "-images"))
]


@pytest.mark.parametrize("name", NAMES)
def test_a_claim_elsewhere_comes_to_a_verdict_and_its_control_is_another_measurement(name: str) -> None:
    verdict = CLAIMS[name].check("ci", seed_offset=10_000, device="cpu", seeds=2)
    both = (verdict.values, verdict.control_outcome.values)
    assert all(any(map(math.isfinite, values)) for values in both)  # one net may diverge at this scale
    assert both[0] != both[1]
    assert verdict.statement.startswith(("In a ", "For a ")) and "ResNet on" in verdict.statement


def test_each_claim_about_convolutions_has_its_twin_on_the_mlp() -> None:
    mlps = {name.removesuffix("-signals").removesuffix("-images") for name in NAMES}
    assert mlps - {"norm-stays-small"} <= set(CLAIMS), "chapter 03 has norm-stays-small for the MLP"
    assert {f"{name}{where}" for name in mlps for where in ("-signals", "-images")} == set(NAMES)
