"""The command line, `wdlab list | run | reproduce | cache`; only the standard library loads before it is needed."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wdlab.claims import Verdict
    from wdlab.decay import Timing

COLUMNS = (
    ("claim", 26),
    ("effect", 10),
    ("95% interval", 22),
    ("seeds", 5),
    ("verdict", 13),
    ("control", 15),
    ("s", 6),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, or 1 when a claim failed, or 2 for what was typed wrong."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        status: int = options.act(options)
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except (ValueError, OSError) as error:
        print(f"wdlab {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; what had finished is kept, the same command goes on from there", file=sys.stderr)
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="wdlab", description="See, step by step, what weight decay does.")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="the claims, tasks, couplings and scales there are")
    listing.set_defaults(act=_list)
    _add_run(commands.add_parser("run", help="train one setting over a few seeds and print where it ends"))
    _add_reproduce(commands.add_parser("reproduce", help="try the course's claims and print the verdicts"))
    cache = commands.add_parser("cache", help="where results and data are kept; warm or clear it")
    cache.add_argument("--warm", action="store_true", help="make the embedded data now, so that nothing waits later")
    cache.add_argument("--clear", action="store_true", help="delete the stored runs")
    cache.set_defaults(act=_cache)
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", default="mnist1d")
    parser.add_argument("--model", default="mlp")
    parser.add_argument("--width", type=int, default=100)
    parser.add_argument("--optimizer", default="sgd", help="sgd, adam or rmsprop (whose mean keeps 0.99 of itself)")
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--schedule", default="exponential")
    parser.add_argument("--weight-decay", type=float, default=0.01, help="lambda")
    parser.add_argument("--timing", default="always", help="never, always, first:F, after:F or window:A,B (fractions)")
    parser.add_argument("--coupling", default="l2")
    parser.add_argument("--steps", type=int, default=0, help="0 takes the task's own length")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seed-offset", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.set_defaults(act=_run)


def _add_reproduce(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", metavar="ID", action="append", help="try this claim alone; may be given again")
    parser.add_argument("--chapter", metavar="NN", action="append", help="try those of a chapter; may be given again")
    parser.add_argument("--scale", default="demo", help="ci, demo, gpu or paper")
    parser.add_argument("--seed-offset", type=int, default=0, help="the first seed; give your own")
    parser.add_argument("--record", action="store_true", help="put verdicts on record; from seed 1000 on")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the verdicts there")
    parser.add_argument("--device", default="auto")
    parser.set_defaults(act=_reproduce)


def _list(_: argparse.Namespace) -> int:
    from wdlab.claims import CLAIMS, SCALES
    from wdlab.decay import COUPLINGS
    from wdlab.tasks import IWSLT, TASKS, TRANSLATIONS

    print("claims")
    for claim in CLAIMS.values():
        print(f"  {claim.id}: {claim.statement}")
    print("couplings")
    for name, coupling in COUPLINGS.items():
        print(f"  {name}: {coupling.says}")
    print(f"tasks\n  {', '.join([*TASKS, *TRANSLATIONS, IWSLT.name])}\nscales\n  {', '.join(SCALES)}")
    return 0


def _run(options: argparse.Namespace) -> int:
    from wdlab.checks import whole
    from wdlab.decay import Decay
    from wdlab.run import Model, Optimizer, Run, Schedule
    from wdlab.sweeps import sweep

    decay = Decay(options.weight_decay, _timing(options.timing), options.coupling)
    betas = (0.0, 0.99) if options.optimizer == "rmsprop" else Optimizer.betas  # RMSProp takes no others
    model, optimizer = Model(options.model, options.width), Optimizer(options.optimizer, options.lr, betas=betas)
    seeds = range(whole("seed_offset", options.seed_offset), options.seed_offset + whole("seeds", options.seeds, 1))
    runs = [
        Run(options.task, model, optimizer, Schedule(options.schedule), decay, seed, whole("steps", options.steps))
        for seed in seeds
    ]
    table = sweep(runs, device=options.device).table
    shown = [
        "timing",
        "weight_decay",
        "seed",
        "test_accuracy",
        "train_loss",
        "weight_norm",
        "effective_lr",
        "diverged_at",
        "broken_at",
    ]
    print(table[shown].to_string(index=False))
    return 0


def _timing(text: str) -> Timing:
    """Return the timing written as `never`, `always`, `first:F`, `after:F` or `window:A,B`."""
    from wdlab.checks import known
    from wdlab.decay import Timing

    name, _, rest = text.partition(":")
    counts = {"never": 0, "always": 0, "first": 1, "after": 1, "window": 2}
    count = counts[known("timing", name, counts)]
    try:
        numbers = [float(part) for part in rest.split(",")] if rest else []
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise ValueError(f"timing={text!r} is not allowed; {name} takes {count} numbers in [0, 1] after a colon.")
    made: Timing = getattr(Timing, name)(*numbers)
    return made


def _reproduce(options: argparse.Namespace) -> int:
    from wdlab.checks import known, whole
    from wdlab.claims import CLAIMS, SCALES, of_chapter, record

    if options.json is not None:
        options.json.write_text("[]\n")  # now, so that a folder that is not there is not found out after minutes
    in_chapters = [claim.id for chapter in options.chapter or () for claim in of_chapter(chapter)]
    named = [*in_chapters, *(options.only or ())]
    chosen = [CLAIMS[known("only", name, CLAIMS)] for name in dict.fromkeys(named or CLAIMS)]
    if options.record:
        whole("seed_offset", options.seed_offset, record.UNSEEN.start, record.UNSEEN.stop - 1)
        record.refuse_another_try(chosen, options.seed_offset)
    known("scale", options.scale, SCALES)
    print("  ".join(head.ljust(width) for head, width in COLUMNS))
    verdicts = []
    for claim in chosen:
        verdict = claim.check(options.scale, options.seed_offset, options.device)
        verdicts.append(verdict)
        print(_row(verdict), flush=True)
        if options.record:
            record.put(verdict, date.today().isoformat())
        if options.json is not None:
            options.json.write_text(json.dumps([done.as_json() for done in verdicts], indent=2) + "\n")
    for verdict in verdicts:
        print(f"\n{verdict.id}: {verdict.statement}\n  control: {verdict.control_says}")
    return 0 if all(verdict.holds for verdict in verdicts) else 1


def _row(verdict: Verdict) -> str:
    cells = (
        verdict.id,
        f"{verdict.effect:+.3g}",
        f"{verdict.low:+.3g} to {verdict.high:+.3g}",
        str(len(verdict.seeds)),
        verdict.verdict,
        verdict.control,
        f"{verdict.seconds:.1f}",
    )
    return "  ".join(cell.ljust(width) for cell, (_, width) in zip(cells, COLUMNS, strict=True))


def _cache(options: argparse.Namespace) -> int:
    from wdlab.data import cache_dir, fashion_mnist, mnist1d

    folder = cache_dir() / "runs"
    if options.clear:
        for entry in folder.glob("*/*.safetensors"):
            entry.unlink()
    if options.warm:
        mnist1d()
        fashion_mnist()
    entries = list(folder.glob("*/*.safetensors"))
    size = sum(entry.stat().st_size for entry in entries) / 1e6
    print(f"{cache_dir()}: {len(entries)} runs, {size:.1f} MB")
    return 0
