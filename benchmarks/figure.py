"""How cost grows with members, width and steps: the README's picture and table, from the benchmark's JSON.

    python benchmarks/figure.py goals.json growth.json [--picture benchmarks/cost.png] [--readme README.md]

Writes the picture and prints what the README says of it; with --readme puts it between the marks there. Several files
are read as parts of one.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path

import goals
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BEGIN, END = "<!-- benchmark: written by benchmarks/figure.py -->", "<!-- end of benchmark -->"
NAMES = {
    "plain": "plain loop",
    "vmap": "torch.func.vmap",
    "processes": "plain loop, a process a core",
    "sweep": "wdlab",
}
SHARED = (
    "Runs of `timings`, the MLP again, differ in when decay acts, six timings a seed: a sweep trains once what they "
    "have in common, which no other way does. All other runs differ from the first step on."
)
LOOK = {"plain": "o-", "vmap": "s--", "processes": "^:", "sweep": "D-"}
RIVALS = ("plain", "vmap", "processes")
PANELS = (
    ("members", "members, width 100, 62 steps"),
    ("width", "width, 12 members, 62 steps"),
    ("steps", "steps, 12 members, width 100"),
)
USUAL = {"net": "mlp", "width": 100, "members": 12, "steps": 62}


def panel(settings: list[dict], by: str) -> list[dict]:
    """The settings in which, but for `by`, all is as usual, in the order of `by`."""
    others = [name for name in USUAL if name != by]
    return sorted((s for s in settings if all(s[name] == USUAL[name] for name in others)), key=lambda s: s[by])


def draw(settings: list[dict]) -> Figure:
    """Milliseconds a member and step by members and width; seconds by steps."""
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    for axes, (by, label) in zip(figure.subplots(1, 3), PANELS, strict=True):
        for way, name in NAMES.items():
            if found := [s for s in panel(settings, by) if way in s["ways"]]:
                lines(axes, found, by, way, name)
        scale = "log" if panel(settings, by) else "linear"  # matplotlib refuses a logarithm of nothing
        axes.set(xscale=scale, yscale=scale, xlabel=label)
        marks = [s[by] for s in panel(settings, by) if s[by] != USUAL["members"]]  # too close to its neighbours
        axes.set_xticks(marks, [str(mark) for mark in marks], fontsize=7)
        axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
        axes.set_ylabel("seconds" if by == "steps" else "ms a member and step")
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=7)
    return figure


def lines(axes: Axes, settings: list[dict], by: str, way: str, name: str) -> None:
    axes.plot([s[by] for s in settings], [cost(s, way, by) for s in settings], LOOK[way], label=name, markersize=4)


def cost(setting: dict, way: str, by: str) -> float:
    seconds = setting["ways"][way]["median_s"]
    return seconds if by == "steps" else 1000 * seconds / setting["members"] / setting["steps"]


def in_words(settings: list[dict]) -> str:
    """The picture's alternative text, with its numbers."""
    told = []
    for by, _ in PANELS:
        found = panel(settings, by)
        unit = "s" if by == "steps" else "ms a member and step"
        for way in ("plain", "sweep"):
            pairs = ", ".join(f"{cost(s, way, by):.2g} at {s[by]}" for s in found if way in s["ways"])
            told.append(f"by {by}, {NAMES[way]}: {pairs} ({unit})")
    labels = "; ".join(label for _, label in PANELS)
    return f"Cost of training MLPs ({labels}) " + "; ".join(told) + "."


def by_members(settings: list[dict]) -> list[str]:
    """One line a number of members: what a step of each net costs one of them, in three ways."""
    short = [s for s in settings if s.get("tested")]
    if not short:
        return []
    series = [*panel(settings, "members"), *short]
    nets, counts = list(dict.fromkeys(name_of(s) for s in series)), sorted({s["members"] for s in short})
    cells = {(name_of(s), s["members"]): costs(s) for s in series}
    told = f"Milliseconds a member and step, {' / '.join(NAMES.values())}, in short runs"
    rows = [f"{told} (what is done once weighs much; -: not measured, or no such way):", ""]
    rows += [f"| members | {' | '.join(nets)} |", "|---" * (1 + len(nets)) + "|"]
    return rows + [f"| {count} | {' | '.join(cells.get((net, count), '') for net in nets)} |" for count in counts]


def name_of(setting: dict) -> str:
    return f"{setting['net']} {setting['width']}"


def costs(setting: dict) -> str:
    """What a member and step cost in every way, in milliseconds."""
    return " / ".join(f"{cost(setting, way, 'members'):.3g}" if way in setting["ways"] else "-" for way in NAMES)


def table(settings: list[dict]) -> list[str]:
    """One line a setting that is no part of the picture: how many times faster wdlab's sweep is."""
    drawn = [s for by, _ in PANELS for s in panel(settings, by)]
    ways = "plain loop / wdlab | vmap / wdlab | plain in processes / wdlab | vmap / wdlab, one core each"
    rows = [f"| net | width | runs | steps | {ways} | of sgemm | peak |", "|---" * 10 + "|"]
    for s in settings:
        if s not in drawn and not s.get("tested") and "sweep" in s["ways"]:
            cells = [*(ratio(s, way) for way in RIVALS), on_one_core(s, settings)]
            own = s["ways"]["sweep"]
            share = f"{own['sgemm_share']:.0%}" if own["sgemm_share"] and s["net"] != "timings" else ""
            peak = f"{own['peak_mb']:.0f} MB" if own["peak_mb"] else ""
            what = [str(s[name]) for name in ("net", "width", "members", "steps")]
            rows.append(f"| {' | '.join([*what, *cells, share, peak])} |")
    return rows


def on_one_core(setting: dict, settings: list[dict]) -> str:
    """How many times as fast as vmap a sweep is on one core; it may have been measured apart from the other ways."""
    same = [s["ways"] for s in settings if all(s.get(name) == setting.get(name) for name in (*USUAL, "tested"))]
    both = [ways for ways in same if {"vmap-core", "sweep-core"} <= set(ways)]
    found = [ways["vmap-core"]["median_s"] / ways["sweep-core"]["median_s"] for ways in both]
    return f"{found[0]:.1f}" if found else ""


def losses(settings: list[dict]) -> list[str]:
    """Where another way was the faster one, in all that was measured."""
    told = []
    for way in RIVALS:
        lost: dict[str, list[str]] = {}
        for s in sorted(settings, key=lambda s: s["members"]):
            if s["ratios"].get(way, {"median": 1})["median"] < 1:
                lost.setdefault(name_of(s), []).append(f"{s['members']}")
        where = "; ".join(f"{net} ({', '.join(dict.fromkeys(counts))})" for net, counts in lost.items())
        told += [f"- {NAMES[way]}: {where}"] if lost else []
    said = "Faster than wdlab by their medians, in all that was measured (members in brackets):"
    return [said, "", *told] if told else []


def verdicts(goals: list[dict]) -> list[str]:
    """One line a goal."""
    rows = ["| goal | | measured | |", "|---|---|---|---|"] if goals else []
    for told in goals:
        met = "met" if told["met"] else "MISSED"
        rows.append(f"| {told['what']} | {told['goal']} | {told['measured']:.3g} | {met} |")
    return rows


def loading(overheads: dict | None) -> list[str]:
    """What the first use of torch costs: `import wdlab` alone leaves it out."""
    if not overheads:
        return []
    whole, torch = (overheads[name]["median_s"] for name in ("everything", "torch"))
    return [
        f"`import wdlab` leaves torch to its first use: that of `wdlab.sweep` takes {whole:.1f} s, "
        f"of which `import torch` alone takes {torch:.1f} s."
    ]


def ratio(setting: dict, way: str) -> str:
    found = setting["ratios"].get(way)
    return f"{found['median']:.1f} ({found['low']:.1f} to {found['high']:.1f})" if found else ""


def threads(where: str, settings: list[dict]) -> list[str]:
    """How many threads the plain loop and vmap had: the better number, where more than one was tried."""
    found = sorted({s["ways"][way]["threads"] for s in settings for way in ("plain", "vmap") if way in s["ways"]})
    return [f"Threads of the plain loop and vmap in {where}: {' or '.join(map(str, found))}."] if found else []


def by_member(memory: list[dict]) -> list[str]:
    """One line a net: what a member more takes of memory, twice, beside what is said before the start."""
    if not memory:
        return []
    rows = ["Memory that a member more takes, MB, twice in a row, beside what `wdlab.memory` says beforehand:", ""]
    rows += ["| net | width | from members to members | taken | said |", "|---" * 5 + "|"]
    for told in memory:
        counts = " / ".join(f"{a} to {b}" for a, b in pairwise(told["members"]))
        each = " / ".join(f"{mb:.1f}" for mb in told["each_mb"])
        rows.append(f"| {told['net']} | {told['width']} | {counts} | {each} | {told['said_mb']:.1f} |")
    return rows


def block(told: dict, picture: Path) -> str:
    """What the README says."""
    machine, settings = told["machine"], told["settings"]
    where = f"{machine['name']}, {machine['cores']} cores, torch {machine['torch']}, Python {machine['python']}"
    repeats = " or ".join(map(str, sorted({s["repeats"] for s in settings})))
    turns = f"medians of {repeats} turns (smallest to largest)"
    rates = [s["sgemm_gflops"] for s in settings]
    speed = f"{max(rates):.0f} GF/s (the best at one setting: {min(rates):.0f} to {max(rates):.0f})"
    says = [f"Measured on {where}, device {machine['device']}; {turns}.", SHARED]
    says += [f"Products of float32 matrices alone (sgemm) reached {speed}; a share is of that."]
    says += threads("the picture", [s for by, _ in PANELS for s in panel(settings, by)])
    short = [s for s in settings if s.get("tested")]
    says += threads("the short runs of MLPs", [s for s in short if s["net"] == "mlp"])
    says += threads("the short runs of other nets", [s for s in short if s["net"] != "mlp"])
    image = [f"![{in_words(settings)}]({picture.as_posix()})"] if any(panel(settings, by) for by, _ in PANELS) else []
    parts = [
        says,
        [*table(settings), "", *losses(settings)],
        verdicts(told["goals"]),
        loading(told.get("overheads")),
        by_members(settings),
        image,
        by_member(told["memory"]),
    ]
    return "\n".join([BEGIN, "\n\n".join("\n".join(part) for part in parts if part), END])


def joined(files: list[Path]) -> dict:
    """The parts of a benchmark that ran one after another, as one."""
    parts = [json.loads(file.read_text()) for file in files]
    if len({json.dumps(part["machine"]) for part in parts}) > 1:
        raise SystemExit(f"{', '.join(map(str, files))} were not measured on one machine with one set of versions")
    settings, memory = ([one for part in parts for one in part[name]] for name in ("settings", "memory"))
    overheads = next((part["overheads"] for part in parts if part["overheads"]), None)
    goals.share_out(settings)
    rows = goals.verdicts(settings, overheads)
    return parts[0] | {"settings": settings, "memory": memory, "overheads": overheads, "goals": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the benchmark's figure and write what the README says of it.")
    parser.add_argument("json", type=Path, nargs="+")
    parser.add_argument("--picture", type=Path, default=Path(__file__).with_name("cost.png"))
    parser.add_argument("--readme", type=Path)
    options = parser.parse_args()
    told, picture = joined(options.json), options.picture
    draw(told["settings"]).savefig(picture, dpi=80)
    text = block(told, Path("benchmarks") / picture.name)
    print(text)
    if options.readme:
        before, rest = options.readme.read_text().split(BEGIN)
        options.readme.write_text(before + text + rest.split(END)[1])


if __name__ == "__main__":
    main()
