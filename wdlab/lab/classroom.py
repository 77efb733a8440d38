"""A class's predictions, gathered without names: one line of JSON an answer in the file that WDLAB_CLASS names."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from wdlab.figures.drawn import Drawn
from wdlab.figures.sketch import calibration

VARIABLE = "WDLAB_CLASS"
FIELDS: dict[str, type | tuple[type, ...]] = {
    "question": str,
    "kind": str,
    "answer": (str, float, int, list),
    "confidence": (float, int),
    "right": (float, int),
    "score": (float, int),
    "blind": (float, int),
}
"""What a line holds, and nothing else: no name, no time, no machine."""
PATIENCE = 2.0  # seconds to wait for others who write


def class_file() -> Path | None:
    """Return the file that WDLAB_CLASS names, or None."""
    named = os.environ.get(VARIABLE, "").strip()
    return Path(named).expanduser() if named else None


def gathers() -> str:
    """Return what a learner should know before answering: whether answers are gathered."""
    return "Your teacher gathers the answers, without names." if class_file() else ""


def gather(entry: Mapping[str, Any]) -> str:
    """Append `entry` to the class's file, where there is one; return what to tell the learner if that fails, or ""."""
    path = class_file()
    if path is None:
        return ""
    try:
        append(path, json.dumps({field: entry[field] for field in FIELDS}, allow_nan=False))
    except (OSError, ValueError) as error:
        return f"This answer is not in the class's totals: {path} cannot be written ({_reason(error)})."
    return ""


def append(path: Path, text: str) -> None:
    """Append `text` as one line of `path`, whole and alone, whoever else writes; raises OSError when that cannot be."""
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        with _locked(handle):
            end = os.lseek(handle, 0, os.SEEK_END)
            torn = end > 0 and _byte(handle, end - 1) != b"\n"  # somebody was cut off in the middle of a line
            data = (("\n" if torn else "") + text + "\n").encode()
            if os.write(handle, data) < len(data):
                raise OSError("the disk is full")
    finally:
        os.close(handle)


def _byte(handle: int, place: int) -> bytes:
    os.lseek(handle, place, os.SEEK_SET)
    return os.read(handle, 1)


@contextmanager
def _locked(handle: int) -> Iterator[None]:
    """Hold the file to ourselves; raises OSError when somebody else keeps it for too long."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            _lock(handle)
            break
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
    try:
        yield
    finally:
        _unlock(handle)


if sys.platform == "win32":
    import msvcrt

    _BYTE = 2**30  # one byte far beyond the text stands for the file: Windows locks parts

    def _lock(handle: int) -> None:
        os.lseek(handle, _BYTE, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

    def _unlock(handle: int) -> None:
        os.lseek(handle, _BYTE, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)


@dataclass(frozen=True)
class Totals:
    """What a class predicted: `table` has one row a question, `picture` the confidence stated against the share right.

    `skipped` counts lines of the file that are no answers.
    """

    table: pd.DataFrame
    picture: Drawn
    skipped: int = 0

    @property
    def words(self) -> str:
        """How many answers there are to how many questions."""
        skipped = f" {self.skipped} lines were no answers and are left out." if self.skipped else ""
        return f"{int(self.table['answers'].sum())} answers to {len(self.table)} questions.{skipped}"

    def __repr__(self) -> str:
        return f"{self.words}\n{self.table.to_string(index=False)}\n{self.picture.alt}"

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display({"text/plain": self.words}, raw=True)  # type: ignore[no-untyped-call]
        display(self.table, self.picture)  # type: ignore[no-untyped-call]


def class_totals(path: str | Path) -> Totals:
    """Return what the file holds that WDLAB_CLASS named while a class answered.

    The table has question, kind, answers, confidence (mean stated), right (share; of a curve, the share of moments in
    the band), score and blind (means; for numbers and curves in units of their own). The picture takes choices and
    numbers, each of which is right or wrong. Raises ValueError for a file that cannot be read.
    """
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        wanted = f"give the file that {VARIABLE} named"
        raise ValueError(f"path={str(path)!r} cannot be read ({_reason(error)}); {wanted}.") from error
    read = [_entry(line) for line in lines if line.strip()]
    entries = pd.DataFrame([entry for entry in read if entry], columns=list(FIELDS))
    single = entries[entries["kind"] != "curve"]
    picture = calibration(single["confidence"].tolist(), single["right"].tolist())
    return Totals(_by_question(entries), picture, read.count(None))


def _by_question(entries: pd.DataFrame) -> pd.DataFrame:
    means = {field: (field, "mean") for field in ("confidence", "right", "score", "blind")}
    found = entries.groupby(["question", "kind"], sort=False)
    table: pd.DataFrame = found.agg(answers=("answer", "size"), **means).reset_index()
    return table


def _entry(line: str) -> dict[str, Any] | None:
    """Return a line as what it holds, or None: anybody may have written to the file."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.keys() != FIELDS.keys():
        return None
    if not all(isinstance(found[field], kind) and not isinstance(found[field], bool) for field, kind in FIELDS.items()):
        return None
    shares = (found["confidence"], found["right"])
    finite = all(math.isfinite(found[field]) for field in ("score", "blind"))
    whole = found["kind"] == "curve" or found["right"] in (0, 1)
    return found if finite and whole and all(0 <= share <= 1 for share in shares) else None


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
