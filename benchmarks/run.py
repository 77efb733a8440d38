"""How fast many small networks train: wdlab beside three other ways, on the same runs, in this one run.

    python benchmarks/run.py [--device cpu] [--json FILE]      goals, overheads, growth and memory
    python benchmarks/run.py --select goals                      or overheads, growth, members, memory: a part of it
    python benchmarks/run.py --net mlp --width 64 100 --members 1 2 4 8         any other setting
    python benchmarks/run.py --net images --members 4 --width 8 --ways plain sweep --threads 1

For each setting: seconds, how many times wdlab's sweep is faster, the share of this machine's rate of matrix products
(the best seen in the whole run, for it swings), the peak of memory in a fresh process; then each goal of `goals.py`,
MET or MISSED. The ways (`ways.py`) take turns, after one warm-up each; ratios are of medians, with the smallest and
largest of the turns. "plain" and "vmap" are quoted with the better number of threads; one that is far behind at the
first turn that counts is not tried again. Every way begins with the same weights and sees the same batches; unless
losses and accuracies agree, nothing is believed. Agents that differ by rounding soon live different lives, so theirs
are compared over the first steps. What was measured so far is in the JSON, whatever comes after.

The share counts the products of every run, as if none had a past in common with another; runs of "timings" do not do
all of them. It is not told of translation: wdlab packs its sentences and the others pad them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

import goals
import machine
import peaks
import torch
import ways
from machine import Spent
from plain import Outcome
from settings import GROWTH, MEMBERS, NETS, Setting

SELECTIONS = {"goals": goals.SETTINGS, "overheads": [], "growth": GROWTH, "members": MEMBERS, "memory": []}
FIRST = 30  # steps of an agent's life in which all ways must agree
LOSS, ACCURACY = 0.02, 0.03  # how far the mean outcomes of two ways may be apart, for they round in another order

FAR = 1.5  # times slower at the first turn that counts, and a number of threads is given up

Key = tuple[str, int]
Taken = dict[Key, list[Spent]]


def measure(setting: Setting, options: argparse.Namespace) -> dict[str, object]:
    """All ways by turns; what each took, and the ratios."""
    device, taken, outcomes, rates = ways.device_called(options.device), Taken(), {}, []
    keys = [key for key in tried(options) if turn(key, setting, device, outcomes) is not None]  # the warm-up
    for number in range(options.repeats):
        if number == 1:
            keys = worth_trying({key: spent[0] for key, spent in taken.items()})
        rates.append(machine.sgemm(device))
        for key in keys:
            spent = turn(key, setting, device, outcomes)
            assert spent is not None
            taken.setdefault(key, []).append(spent)
    agree(first_steps(setting, options) if setting.runs()[0].task.acts else outcomes)
    best = {way: min((key for key in keys if key[0] == way), key=lambda key: middle(taken[key])) for way in outcomes}
    told = {way: told_of(key, taken[key], outcomes[way]) for way, key in best.items()}
    for way, of_way in told.items():
        of_way["peak_mb"] = peaks.of_way(way, setting, options.device) if options.peaks else None
    work = NETS[setting.net].operations
    gflop = work(setting.runs()) / 1e9 if work else None
    measured = {"repeats": options.repeats, "sgemm_gflops": max(rates), "gflop": gflop}
    return {**asdict(setting), **measured, "ways": told, "ratios": ratios(told)}


def turn(key: Key, setting: Setting, device: torch.device, outcomes: dict[str, list[Outcome]]) -> Spent | None:
    """One turn of one way, whose outcome is kept."""
    found = one(*key, setting, device)
    if found is None:
        return None
    outcomes[key[0]], spent = found
    return spent


def worth_trying(first: dict[Key, Spent]) -> list[Key]:
    """All but numbers of threads with which a way was far slower than with another."""
    best = {way: min(spent.seconds for (other, _), spent in first.items() if other == way) for way, _ in first}
    return [(way, threads) for (way, threads), spent in first.items() if spent.seconds <= FAR * best[way]]


def first_steps(setting: Setting, options: argparse.Namespace) -> dict[str, list[Outcome]]:
    """Where every way gets in the first steps."""
    short, device = replace(setting, steps=FIRST), ways.device_called(options.device)
    found = {way: one(way, threads, short, device) for way, threads in tried(options)}
    return {way: done[0] for way, done in found.items() if done is not None}


def tried(options: argparse.Namespace) -> list[Key]:
    """Every way with every number of threads that it is tried with."""
    counts = {way: options.threads for way in ways.THREADED} | {way: [1] for way in ways.ONE_CORE}
    return [(way, count) for way in options.ways for count in counts.get(way, [machine.cores()])]


def one(way: str, threads: int, setting: Setting, device: torch.device) -> tuple[list[Outcome], Spent] | None:
    """One turn of one way."""
    torch.set_num_threads(threads)
    work = ways.prepare(way, setting, device)
    if work is None:
        return None
    with machine.spending(device) as spent:
        found = work()
    return found, spent


def agree(outcomes: dict[str, list[Outcome]]) -> None:
    """Stop when two ways did not do the same work: run by run in the loss, on average in what the nets got right."""
    (first, expected), *others = outcomes.items()
    for way, found in others:
        losses = [abs(a.loss - b.loss) for a, b in zip(expected, found, strict=True)]
        accuracy = abs(mean_accuracy(expected) - mean_accuracy(found))
        if not (all(loss < LOSS for loss in losses) and accuracy < ACCURACY):  # so that NaN agrees with nothing
            raise SystemExit(f"{first} and {way} disagree, by {losses} in loss and {accuracy:g} in accuracy")


def mean_accuracy(found: Sequence[Outcome]) -> float:
    return statistics.fmean(one.accuracy for one in found)


def middle(spent: Sequence[Spent]) -> float:
    return statistics.median(one.seconds for one in spent)


def told_of(key: Key, spent: Sequence[Spent], found: Sequence[Outcome]) -> dict[str, object]:
    """What is kept of one way."""
    seconds = [one.seconds for one in spent]
    return {"threads": key[1], "seconds": seconds, "median_s": middle(spent), "accuracy": mean_accuracy(found)}


def ratios(told: dict[str, dict]) -> dict[str, dict[str, float]]:
    """How many times faster the sweep was than each other way."""
    if "sweep" not in told:
        return {}
    own, found = told["sweep"], {}
    for way, other in told.items():
        each = [theirs / ours for theirs, ours in zip(other["seconds"], own["seconds"], strict=True)]
        found[way] = {"median": other["median_s"] / own["median_s"], "low": min(each), "high": max(each)}
    return {way: ratio for way, ratio in found.items() if way != "sweep"}


def show(found: dict) -> None:
    """Print one setting's table."""
    what = f"{found['net']}, width {found['width']}, {found['members']} members, {found['steps']} steps"
    print(f"{what} (sgemm {found['sgemm_gflops']:.0f} GF/s)", flush=True)
    for way, told in found["ways"].items():
        ratio = found["ratios"].get(way)
        times = f"{ratio['median']:5.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})" if ratio else ""
        share = f"{told['sgemm_share']:4.0%}" if told["sgemm_share"] else "   -"
        peak = f"{told['peak_mb']:6.0f} MB" if told["peak_mb"] else ""
        low, high = min(told["seconds"]), max(told["seconds"])
        seconds = f"{told['median_s']:7.3f} s ({low:.3f} to {high:.3f})"
        line = f"  {way:9} {seconds:28} {share} of sgemm {peak}  right {told['accuracy']:.3f}  sweep is faster {times}"
        print(line.removesuffix("  sweep is faster "), flush=True)


def overheads(device: str) -> dict[str, object]:
    """What comes on top of training: a sweep's bookkeeping, the import, the command line."""
    found = {
        "sweep": ways.overhead(ways.device_called(device)),
        "import": machine.command("-c", "import wdlab"),
        "everything": machine.command("-c", "import wdlab; wdlab.sweep"),  # which is where torch is loaded
        "torch": machine.command("-c", "import torch"),
        "help": machine.command("-m", "wdlab", "--help"),
    }
    sweep = found["sweep"]
    print(f"sweep: {sweep['overhead_share']:.2%} on top of {sweep['training_s']:.1f} s of training, n={sweep['n']}")
    names = {
        "import": "import wdlab",
        "everything": "wdlab.sweep named",
        "torch": "import torch",
        "help": "wdlab --help",
    }
    for key, name in names.items():
        told = found[key]
        print(f"{name}: {told['median_s']:.3f} s ({told['low_s']:.3f} to {told['high_s']:.3f}, n={told['n']})")
    return found


def chosen(options: argparse.Namespace) -> list[Setting]:
    """The settings asked for by their parts, or else a selection."""
    if not options.net:
        return [setting for name in options.select for setting in SELECTIONS[name]]
    asked = product(options.net, options.width, options.members, options.steps)
    return [Setting(*parts) for parts in asked]


def parsed(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description="wdlab beside a plain loop, vmap and processes, on the same runs.")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--select", nargs="+", choices=SELECTIONS, default=["goals", "overheads", "growth", "memory"])
    parser.add_argument("--net", nargs="+", choices=NETS, help="instead of a selection")
    parser.add_argument("--width", type=int, nargs="+", default=[100])
    parser.add_argument("--members", "--runs", type=int, nargs="+", default=[48])
    parser.add_argument("--steps", type=int, nargs="+", default=[62])
    parser.add_argument("--ways", nargs="+", choices=ways.WAYS, default=list(ways.WAYS))
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, machine.cores()}))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peaks", action=argparse.BooleanOptionalAction, default=True, help="of memory")
    parser.add_argument("--json", type=Path, default=Path("build", "benchmark.json"))
    return parser.parse_args(words)


def main() -> None:
    """Measure, print, and write the JSON if asked to."""
    options, found = parsed(), []
    began, parts = time.perf_counter(), () if options.net else options.select
    told = {"machine": machine.described(ways.device_called(options.device)), "settings": found, "goals": []}
    print(", ".join(f"{name} {value}" for name, value in told["machine"].items()), flush=True)
    told |= {"overheads": None, "memory": []}
    for setting in chosen(options):
        found.append(measure(setting, options))
        goals.share_out(found)
        show(found[-1])
        keep(told, options.json)
    told["overheads"] = overheads(options.device) if "overheads" in parts else None
    told["memory"] = peaks.measure() if "memory" in parts else []
    peaks.show(told["memory"])
    told["goals"] = goals.verdicts(found, told["overheads"])
    goals.show(told["goals"])
    told["minutes"] = (time.perf_counter() - began) / 60
    print(f"{told['minutes']:.1f} minutes; {options.json}")
    keep(told, options.json)


def keep(told: dict, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
