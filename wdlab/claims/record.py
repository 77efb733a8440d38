"""What came out, whatever it was, when claims were tried on seeds that nobody had looked at when they were fixed.

Convolutions take longer than a notebook has, and a claim that was fixed after a look at some seeds wants others.
`wdlab reproduce --record` tries claims and keeps their verdicts in RECORD. Notebooks show them, and say that they are
not measured there. Nothing else writes the file, and a claim is not tried again until it changes, or its code. What
came out before stays on record beside the new verdict: with another processor, or another number of threads, the same
seeds train convolutions to other numbers, and verdicts turn.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from wdlab.claims.claim import Claim, Outcome, Verdict
from wdlab.data.cache import replacing
from wdlab.store import source_digest

RECORD = Path(__file__).with_name("record.json")
UNSEEN = range(1000, 9_900)
"""Where the seeds of claims on record begin: settings were explored from 10,000 on, notebooks start at 0."""
JUDGES = ("claims", "stats.py", "optim.py")
"""What decides a verdict beside the source of a run's numbers."""
HEADS = (
    "claim",
    "effect (95% interval)",
    "holds above",
    "control",
    "scale",
    "seeds",
    "tried on",
    "changed since",
    "came out earlier, same seeds",
)
ASKED = ("statement", "unit", "control_says", "smallest")
"""What makes a claim the one it is."""
CODE, CLAIM = "the code has changed", "the claim has changed"
LEFT = "style='text-align:left'"


@dataclass(frozen=True)
class Trial:
    """A verdict on record, the day it was reached, and what has changed `since`: nothing, the claim, the code.

    `before` are earlier trials of the same claim on the same seeds, the first one first, each as the day and the words
    for claim and control.
    """

    verdict: Verdict
    date: str
    since: str
    before: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, repr=False)
class Record:
    """Trials of claims, in the order of the claims; shows itself as a table. `missing` are claims without a trial."""

    trials: tuple[Trial, ...]
    missing: tuple[str, ...] = ()

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdicts, as a trial in a notebook returns them."""
        return tuple(trial.verdict for trial in self.trials)

    def __repr__(self) -> str:
        return "\n".join([trial.verdict.line for trial in self.trials] + [self._lacks()] * bool(self.missing))

    def _repr_html_(self) -> str:
        head = "".join(f"<th {LEFT}>{word}</th>" for word in HEADS)
        rows = ("".join(f"<td {LEFT}>{cell}</td>" for cell in _cells(trial)) for trial in self.trials)
        lacks = f"<p>{escape(self._lacks())}</p>" if self.missing else ""
        return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>{lacks}"

    def _lacks(self) -> str:
        return f"Not on record: {', '.join(self.missing)}."


def read(claims: Sequence[Claim], path: Path | None = None) -> Record:
    """Return the trials on record of `claims`; raises ValueError for a file that is not such a record."""
    path = path or RECORD
    entries = _entries(path)
    with _as_record(path):
        trials = tuple(_trial(entries[claim.id], claim) for claim in claims if claim.id in entries)
    return Record(trials, tuple(claim.id for claim in claims if claim.id not in entries))


def put(verdict: Verdict, date: str, path: Path | None = None) -> None:
    """Put `verdict`, reached on `date`, on record; of an earlier trial of the same claim its day and words are kept."""
    path = path or RECORD
    entries = _entries(path)
    before = _before(entries[verdict.id], verdict) if verdict.id in entries else []
    entry = verdict.as_json() | {"date": date, "judges": judges_digest(), "before": before}
    with replacing(path) as new:
        new.write_text(json.dumps(entries | {verdict.id: entry}, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _before(entry: Mapping[str, Any], verdict: Verdict) -> list[list[str]]:
    """The trials before this one of the same claim, at the same scale and on the same seeds."""
    same = all(entry[name] == getattr(verdict, name) for name in (*ASKED, "scale"))
    if not same or entry["seeds"] != list(verdict.seeds):
        return []
    return [*entry.get("before", []), [entry["date"], entry["verdict"], entry["control"]]]


def refuse_another_try(claims: Sequence[Claim], seed_offset: int, path: Path | None = None) -> None:
    """Raise ValueError if one of `claims` may not be tried from `seed_offset` on: nobody throws the dice twice.

    A claim that is on record as it stands is not tried again; after a change of the code alone it is tried on the seeds
    it was tried on; after a change of the claim itself, on others.
    """
    for trial in read(claims, path).trials:
        first, last = trial.verdict.seeds[0], trial.verdict.seeds[-1]
        allowed = {"": False, CODE: seed_offset == first, CLAIM: seed_offset > last}[trial.since]
        if not allowed:
            do = {"": "it is not tried again", CODE: f"give {first}", CLAIM: f"give one above {last}"}[trial.since]
            raise ValueError(
                f"seed_offset={seed_offset!r} is not allowed: {trial.verdict.id} is on record, tried from seed {first} "
                f"on ({trial.since or 'nothing changed'} since); {do}."
            )


@cache
def judges_digest() -> str:
    """Return a hash of the source that makes verdicts of numbers: the claims themselves, statistics, optimizers.

    Lines that are comments do not count.
    """
    digest, package = hashlib.sha256(), Path(__file__).parents[1]
    for name in JUDGES:
        found = package / name
        judging = set(found.glob("*.py")) - {Path(__file__), found / "__init__.py"} if found.is_dir() else {found}
        for path in sorted(judging):
            lines = path.read_bytes().splitlines()
            digest.update(b"\n".join(line for line in lines if not line.lstrip().startswith(b"#")))
    return digest.hexdigest()[:16]


def _entries(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    with _as_record(path):
        entries: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return {name: dict(entry) for name, entry in entries.items()}


@contextmanager
def _as_record(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"path={str(path)!r} is no record of verdicts ({error!r}); take it from git again.") from error


def _trial(entry: Mapping[str, Any], claim: Claim) -> Trial:
    known = {field.name for field in fields(Verdict)}
    told = {name: value for name, value in entry.items() if name in known}
    verdict = Verdict(**{**_numbers(told), "control_outcome": Outcome(**_numbers(entry["control_outcome"]))})
    asked = [getattr(verdict, name) for name in ASKED]
    same_claim = asked == [claim.statement, claim.unit, claim.control_says, claim.levels[verdict.scale].smallest]
    same_code = (verdict.versions["numbers"], entry["judges"]) == (source_digest(), judges_digest())
    since = "" if same_claim and same_code else CODE if same_claim else CLAIM
    return Trial(verdict, entry["date"], since, tuple((day, *words) for day, *words in entry.get("before", ())))


def _numbers(told: Mapping[str, Any]) -> dict[str, Any]:
    """Undo `Verdict.as_json`: lists were tuples, and None was a number that is not finite."""
    as_number = {name: math.nan if value is None else value for name, value in told.items()}
    return {
        name: tuple(math.nan if one is None else one for one in value) if isinstance(value, list) else value
        for name, value in as_number.items()
    }


def _cells(trial: Trial) -> tuple[str, ...]:
    v, control = trial.verdict, trial.verdict.control_outcome
    return (
        f"<b>{escape(v.id)}</b>: {escape(v.statement)}",
        f"<b>{v.verdict}</b>: {_interval(v)} {escape(v.unit)}",
        f"{v.smallest:+g}",
        f"<b>{v.control}</b>: {_interval(control)}; {escape(v.control_says)}",
        v.scale,
        f"{v.seeds[0]} to {v.seeds[-1]}",
        trial.date,
        trial.since or "nothing",
        "; ".join(_told(trial, *earlier) for earlier in trial.before) or "first trial on these seeds",
    )


def _told(trial: Trial, day: str, verdict: str, control: str) -> str:
    same = (verdict, control) == (trial.verdict.verdict, trial.verdict.control)
    return f"{day}: {'the same verdicts' if same else f'<b>{verdict}</b>, control {control}'}"


def _interval(found: Verdict | Outcome) -> str:
    if not math.isfinite(found.effect):
        return f"undefined (no number for {sum(map(math.isnan, found.values))} of {len(found.values)} seeds)"
    return span(found.effect, found.low, found.high)


def span(effect: float, low: float, high: float) -> str:
    """Return an effect with its interval in three digits; what is a millionth of the interval's width is told as 0.

    >>> span(2e-9, -0.1, 0.1)
    '+0 (-0.1 to +0.1)'
    """
    effect, low, high = (0.0 if abs(value) < 1e-6 * (high - low) else value for value in (effect, low, high))
    return f"{effect:+.3g} ({low:+.3g} to {high:+.3g})"
