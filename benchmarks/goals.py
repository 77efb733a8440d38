"""What wdlab promises of its speed on two cores, and whether it was kept in this run."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from settings import Setting

# Long enough that what a sweep does once (a reading of every net before its first step, files) weighs little, as it
# does in the course, whose nets take 1,240 steps: in runs of 62 it was a third of the time.
MLP = Setting("mlp", 100, 48, 248)


@dataclass(frozen=True)
class Goal:
    """The sweep of `setting` is to be at least `least` times as fast as the way `than`, or that share of sgemm."""

    setting: Setting
    than: str
    least: float

    def measured(self, found: dict) -> float | None:
        """What was found for it among a setting's numbers; None where that was not measured."""
        if self.than == "sgemm":
            share: float | None = found["ways"].get("sweep", {}).get("sgemm_share")
            return share
        ratio = found["ratios"].get(self.than)
        return ratio["median"] if ratio else None


GOALS = [
    Goal(MLP, "plain", 5),
    Goal(MLP, "vmap", 1.5),
    Goal(MLP, "processes", 1),
    Goal(Setting("mlp", 64, 48, 248), "plain", 6),
    Goal(Setting("mlp", 256, 24, 124), "plain", 2),
    Goal(Setting("mlp", 256, 24, 124), "sgemm", 0.6),
    Goal(Setting("signals", 8, 12, 62), "plain", 1.7),
    Goal(Setting("images", 8, 12, 40), "plain", 1.7),
    Goal(Setting("translation", 64, 8, 36), "plain", 1.7),
    Goal(Setting("cartpole", 64, 24, 250), "plain", 4),
]
# Measured without a goal: the course's usual comparison, and a game of images.
OTHERS = [Setting("timings", 100, 48, 248), Setting("timings", 64, 48, 248), Setting("breakout", 8, 8, 500)]
SETTINGS = list(dict.fromkeys([*(goal.setting for goal in GOALS), *OTHERS]))
LIMITS = {"what a sweep adds to training": 0.03, "import wdlab, seconds": 2.0, "wdlab --help, seconds": 0.3}


def share_out(settings: list[dict]) -> None:
    """Write down what share of the best rate of products seen so far each way reached."""
    rate = max((found["sgemm_gflops"] for found in settings), default=None)
    for found in settings:
        for told in found["ways"].values():
            told["sgemm_share"] = found["gflop"] / told["median_s"] / rate if found["gflop"] else None


def verdicts(settings: list[dict], overheads: dict | None) -> list[dict]:
    """One row a goal that was measured: what, the goal, what came out, whether it was met."""
    rows = []
    for goal in GOALS:
        for found in settings:
            if all(found[name] == value for name, value in asdict(goal.setting).items()):
                rows.append(row(f"{goal.setting}, {TOLD[goal.than]}", goal.least, goal.measured(found), True))
    if overheads:
        came = (overheads["sweep"]["overhead_share"], overheads["import"]["median_s"], overheads["help"]["median_s"])
        rows += [row(what, LIMITS[what], value, False) for what, value in zip(LIMITS, came, strict=True)]
    return [row for row in rows if row["measured"] is not None]


TOLD = {
    "plain": "times as fast as the plain loop",
    "vmap": "times as fast as vmap",
    "processes": "times as fast as plain loops in processes",
    "sgemm": "share of sgemm",
}


def row(what: str, goal: float, measured: float | None, at_least: bool) -> dict:
    met = measured is not None and (measured >= goal if at_least else measured < goal)
    return {"what": what, "goal": f"{'at least' if at_least else 'under'} {goal:g}", "measured": measured, "met": met}


def show(rows: list[dict]) -> None:
    """Print the table."""
    for told in rows:
        said = "MET   " if told["met"] else "MISSED"
        print(f"{said} {told['measured']:8.3f}  {told['goal']:>14}  {told['what']}")
