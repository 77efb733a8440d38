"""Arms of an experiment beside one another: what each gains, and what share of the whole gain that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from wdlab.figures.drawn import Drawn
from wdlab.figures.style import COLOURS, FAINT, INK, name, panels
from wdlab.stats import Effect, interval, share


def gains(values: Mapping[str, Sequence[float]], whole: str, label: str = "gain in test accuracy over never") -> Drawn:
    """Draw the gain of every arm with its 95% interval, and write beside it what share of the arm `whole` it recovers.

    `values` holds one gain a seed for every arm, paired; single seeds are the faint dots. Shares come with Fieller's
    interval; there is none where the whole gain itself may be zero.
    """
    figure, (axes,) = panels(1, width=8.6, height=0.9 + 0.55 * len(values))
    rows = []
    for place, (arm, gained) in enumerate(values.items()):
        found, part = interval(gained), share(gained, values[whole])
        axes.plot(gained, [-place] * len(gained), "o", color=FAINT, markersize=4, alpha=0.5)
        reach = [[found.mean - found.low], [found.high - found.mean]]
        colour = INK if arm == whole else COLOURS[0]
        axes.errorbar([found.mean], [-place], xerr=reach, fmt="D", color=colour, capsize=4, linewidth=2)
        told = "" if arm == whole else say_share(part)
        axes.text(1.02, -place, told, transform=axes.get_yaxis_transform(), va="center", fontsize=9, color=INK)
        rows.append({"arm": arm, **_columns("gain", found), **_columns("share", part)})
    axes.axvline(0, color=FAINT, linewidth=1)
    axes.set_yticks([-place for place in range(len(values))], list(values))
    axes.set_ylim(0.6 - len(values), 0.6)
    name(axes, f"Gain, and its share of the gain of {whole}", label, "")
    told = "; ".join(f"{row['arm']}: {row['gain']:+.4f}" for row in rows)
    count = len(values[whole])
    return Drawn(
        figure, f"{label[0].upper()}{label[1:]} of {len(rows)} arms over {count} seeds. {told}.", pd.DataFrame(rows)
    )


def say_share(part: Effect) -> str:
    """Return a share with its interval in words: 91% (67% to 118%)."""
    if not math.isfinite(part.low):
        return "share unknown"
    return f"{part.mean:.0%} ({part.low:.0%} to {part.high:.0%})"


def _columns(kind: str, effect: Effect) -> dict[str, float]:
    return {kind: effect.mean, f"{kind} low": effect.low, f"{kind} high": effect.high}
