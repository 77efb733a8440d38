"""Figures of chapter 05: they hold what they were given, and say it in words."""

import numpy as np
import pandas as pd
import pytest

from wdlab.figures.sharpness import scales, scatter, taus
from wdlab.measures import MEASURES
from wdlab.stats import bootstrap, kendall_over_seeds


def table(sign: float = 1.0, seeds: int = 4) -> pd.DataFrame:
    """Nets whose test error falls from timing to timing, and measures that follow it, with a sign."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        for t in range(4):
            error = 0.3 - 0.02 * t + 0.001 * rng.normal()
            measures = {"weight_norm": 9.0 - sign * t, "gaussian_sharpness": 1.0 + sign * t}
            rows.append({"timing": f"t{t}", "seed": seed, "test_error": error, **measures})
    return pd.DataFrame(rows)


def test_scales_are_relative_to_one() -> None:
    drawn = scales({"falls": [4.0, 1.0, 0.25], "stays": [7.0, 7.0, 7.0]}, [0.5, 1, 2])
    assert drawn.data["falls"].tolist() == [4.0, 1.0, 0.25] and drawn.data["stays"].tolist() == [1.0, 1.0, 1.0]
    axes = drawn.figure.axes[0]
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
    assert lines["falls"] == lines["1/c²"] == [4.0, 1.0, 0.25]
    assert "falls 4 at c = 0.5 and 0.25 at c = 2" in drawn.alt
    with pytest.raises(ValueError, match="1 must be among"):
        scales({"falls": [4.0, 0.25]}, [0.5, 2])


def test_taus_are_those_of_the_tables() -> None:
    names = ["weight_norm", "gaussian_sharpness"]
    drawn = taus({"all": table(), "turned": table(-1)}, names)
    found = drawn.data.set_index(["nets", "measure"])["tau"]
    one = table()
    expected = kendall_over_seeds(one["weight_norm"].tolist(), one["test_error"].tolist(), one["seed"].tolist())
    assert found["all", "weight_norm"] == pytest.approx(expected.mean) and expected.mean > 0.8
    assert found["all", "gaussian_sharpness"] == pytest.approx(-expected.mean)
    assert found["turned", "weight_norm"] == pytest.approx(-expected.mean)
    row, again = drawn.data.set_index(["nets", "measure"]).loc["all", "weight_norm"], bootstrap(expected.values)
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    assert (row["boot_low"], row["boot_high"]) == pytest.approx((again.low, again.high))
    assert set(drawn.data["kind"]) == {MEASURES[name].kind for name in names}
    assert "gaussian sharpness -" in drawn.alt and drawn.png().startswith(b"\x89PNG")


def test_the_scatter_shows_every_net_and_names_its_tau() -> None:
    drawn = scatter({"The norm": (table(), "weight_norm"), "Backwards": (table(), "gaussian_sharpness")})
    left = drawn.figure.axes[0]
    assert sum(len(line.get_xdata()) for line in left.get_lines()) == len(table())
    assert sum(sum(line.get_ydata()) for line in left.get_lines()) == pytest.approx(0, abs=1e-12)
    tau = drawn.data.set_index("panel")["tau"]
    assert tau["The norm"] > 0.8 > -0.8 > tau["Backwards"]
    assert f"{tau['The norm']:+.2f}" in left.get_title(loc="left") and "mean tau within a seed" in drawn.alt
