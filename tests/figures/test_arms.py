"""The picture of arms: gains and shares are those of the data, and are said."""

import math

import pytest

from wdlab.figures import gains
from wdlab.figures.arms import say_share
from wdlab.stats import Effect, interval, share

VALUES = {"early": [0.03, 0.04, 0.035], "half": [0.015, 0.02, 0.018], "none": [0.001, -0.001, 0.0]}


def test_gains_and_shares_are_those_of_the_data() -> None:
    drawn = gains(VALUES, whole="early")
    rows = drawn.data.set_index("arm")
    for arm, values in VALUES.items():
        found, part = interval(values), share(values, VALUES["early"])
        assert tuple(rows.loc[arm, ["gain", "gain low", "gain high"]]) == (found.mean, found.low, found.high)
        assert rows.loc[arm, "share"] == part.mean
        assert f"{arm}: {found.mean:+.4f}" in drawn.alt
    [axes] = drawn.figure.axes
    assert say_share(share(VALUES["half"], VALUES["early"])) in [text.get_text() for text in axes.texts]


def test_a_share_of_what_may_be_nothing_is_called_unknown() -> None:
    assert say_share(share([0.01, 0.02, 0.0], [0.01, -0.01, 0.0])) == "share unknown"
    assert say_share(Effect(0.5, 0.25, 0.75, ())) == "50% (25% to 75%)"


def test_without_the_whole_there_is_no_share() -> None:
    with pytest.raises(KeyError):
        gains(VALUES, whole="always")
    assert math.isfinite(gains(VALUES, whole="half").data["share"].iloc[0])
