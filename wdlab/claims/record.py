"""What came out, whatever it was, when claims were tried once on seeds that nobody had looked at.

Convolutions take longer than a notebook has, and a claim that was fixed after a look at some seeds wants others.
`wdlab reproduce --record` tries claims and keeps their verdicts in RECORD. Notebooks show them, and say that they are
not measured there. Nothing else writes the file; a later trial of a claim takes the place of the earlier one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from html import escape
from pathlib import Path
from typing import Any

from wdlab.claims.claim import Claim, Outcome, Verdict
from wdlab.store import source_digest

RECORD = Path(__file__).with_name("record.json")
UNSEEN = range(1000, 10_000)
"""The seeds of claims on record: settings were explored from 10,000 on, notebooks start at 0."""
HEADS = ("claim", "effect (95% interval)", "holds above", "control", "seeds", "minutes", "tried", "since then")
LEFT = "style='text-align:left'"


@dataclass(frozen=True)
class Trial:
    """A verdict on record, the day it was reached, and what has changed `since`: nothing, the claim, the code."""

    verdict: Verdict
    date: str
    since: str


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
    entries = _entries(path or RECORD)
    trials = tuple(_trial(entries[claim.id], claim) for claim in claims if claim.id in entries)
    return Record(trials, tuple(claim.id for claim in claims if claim.id not in entries))


def put(verdict: Verdict, date: str, path: Path | None = None) -> None:
    """Put `verdict`, reached on `date`, on record, in place of an earlier trial of the same claim."""
    path = path or RECORD
    entries = _entries(path) | {verdict.id: verdict.as_json() | {"date": date}}
    path.write_text(json.dumps(entries, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _entries(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    try:
        entries: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return {name: dict(entry) for name, entry in entries.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"path={str(path)!r} is no record of verdicts ({error}); take it from git again.") from error


def _trial(entry: Mapping[str, Any], claim: Claim) -> Trial:
    known = {field.name for field in fields(Verdict)}
    told = {name: value for name, value in entry.items() if name in known}
    verdict = Verdict(**{**_numbers(told), "control_outcome": Outcome(**_numbers(entry["control_outcome"]))})
    bar = claim.levels[verdict.scale].smallest
    asked = (verdict.statement, verdict.unit, verdict.control_says, verdict.smallest)
    same_claim = asked == (claim.statement, claim.unit, claim.control_says, bar)
    same_code = verdict.versions.get("numbers") == source_digest()
    since = "" if same_claim and same_code else "the code has changed" if same_claim else "the claim has changed"
    return Trial(verdict, entry["date"], since)


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
        f"{v.seeds[0]} to {v.seeds[-1]}",
        f"{v.seconds / 60:.1f}",
        trial.date,
        trial.since or "nothing changed",
    )


def _interval(found: Verdict | Outcome) -> str:
    return f"{found.effect:+.3g} ({found.low:+.3g} to {found.high:+.3g})"
