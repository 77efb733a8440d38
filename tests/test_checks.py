import math

import pytest
import torch

from wdlab.checks import known, number, whole


@pytest.mark.parametrize("value", [0, 0.5, 1, torch.tensor(0.5), torch.tensor([1.0])])
def test_a_number_in_range_comes_back_as_a_float(value: object) -> None:
    found = number("x", value, 0, 1)
    assert type(found) is float and found == float(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value", [-0.1, 1.1, math.nan, math.inf, -math.inf, None, "0.5", True, 10**400, 1j, torch.ones(2), [0.5]]
)
def test_anything_else_is_refused_and_named(value: object) -> None:
    with pytest.raises(ValueError, match=r"^x=.* is not allowed; give a finite number in \[0, 1\]\.$"):
        number("x", value, 0, 1)


@pytest.mark.parametrize(
    ("bounds", "ends", "allowed"),
    [
        ((0, 1), {"above": True}, r"in \(0, 1\]"),
        ((0, 1), {"below": True}, r"in \[0, 1\)"),
        ((0, 1), {"above": True, "below": True}, r"in \(0, 1\)"),
        ((0, math.inf), {"above": True}, "greater than 0"),
        ((2, math.inf), {}, "of at least 2"),
        ((-math.inf, -2), {"below": True}, "less than -2"),
        ((-math.inf, -2), {}, "of at most -2"),
    ],
)
def test_the_message_says_which_ends_are_allowed(
    bounds: tuple[float, float], ends: dict[str, bool], allowed: str
) -> None:
    excluded = bounds[0] if ends.get("above") else bounds[1] if ends.get("below") else 0
    with pytest.raises(ValueError, match=rf"give a finite number {allowed}\.$"):
        number("x", excluded, *bounds, **ends)
    if not ends:
        assert number("x", bounds[0] if math.isfinite(bounds[0]) else bounds[1], *bounds) in bounds


def test_without_bounds_only_finiteness_counts() -> None:
    assert number("x", -1e300) == -1e300
    with pytest.raises(ValueError, match=r"^x=nan is not allowed; give a finite number\.$"):
        number("x", math.nan)


@pytest.mark.parametrize("value", [1, 3])
def test_a_whole_number_in_range_comes_back(value: int) -> None:
    assert whole("steps", value, 1, 3) == value


@pytest.mark.parametrize(
    ("value", "high", "allowed"), [(0, None, "of at least 1"), (4, 3, "from 1 to 3"), (2.0, 3, "from 1 to 3")]
)
def test_other_whole_numbers_are_refused(value: object, high: int | None, allowed: str) -> None:
    with pytest.raises(ValueError, match=rf"^steps={value} is not allowed; give a whole number {allowed}\.$"):
        whole("steps", value, 1, high)


def test_true_is_not_a_whole_number() -> None:
    with pytest.raises(ValueError, match="steps=True"):
        whole("steps", True, 1)


@pytest.mark.parametrize(
    ("value", "hint"),
    [("decopled", "did you mean 'decoupled'"), ("L2", "did you mean 'l2'"), ("", "Allowed")],
)
def test_an_unknown_name_is_answered_with_the_nearest(value: str, hint: str) -> None:
    with pytest.raises(ValueError, match=rf"^coupling='{value}' is unknown; {hint}"):
        known("coupling", value, ["l2", "decoupled"])


@pytest.mark.parametrize("value", [None, 2, ["l2"]])
def test_a_name_is_a_string(value: object) -> None:
    with pytest.raises(ValueError, match=r"is unknown;.*Allowed: decoupled, l2\.$"):
        known("coupling", value, ["l2", "decoupled"])
