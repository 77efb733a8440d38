"""The setting of a Lab as a small JSON string, and back: whatever the string says, nothing in it is ever run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from wdlab.checks import known, whole
from wdlab.lab.dials import Dials
from wdlab.lab.usual import NAMED, PLAYED
from wdlab.run import Model
from wdlab.tasks import DQN, Task, Translation, Vision

VERSION = 2  # in version 1 a task had no kind, for every one was a Vision
LONGEST = 4000  # characters
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .-]{0,39}")
MOST = {
    "steps": 1_000_000, "width": 4096, "depth": 64, "blocks": 64, "train_size": 200_000, "test_size": 50_000,
    "batch_size": 50_000, "epochs": 10_000, "seed": 2**62, "frames": 10_000_000, "warmup": 200_000, "replay": 200_000,
    "train_every": 10_000, "target_sync": 1_000_000, "epsilon_frames": 10_000_000, "n_step": 1000,
}  # fmt: skip
"""No string asks for more than a machine might have."""
PLAYED_MOST = {
    "test_size": 200, "batch_size": 4096, "frames": 1_000_000, "warmup": 20_000, "replay": 100_000, "train_every": 100,
    "n_step": 100,
}  # fmt: skip
"""For a game it is less: a test plays `test_size` games, and while a step plays its frames no Stop is heard."""
KINDS: dict[str, type[Task]] = {kind.__name__: kind for kind in (Vision, Translation, DQN)}
"""Tasks of which a string may say every field."""
SWITCHES = ("norm", "double", "clip")


@dataclass(frozen=True)
class Setting:
    """All that a link says: what the Lab was made of, and where its dials stood."""

    task: str | Task
    model: Model
    steps: int | None
    show: tuple[str, ...]
    curves: tuple[str, ...]
    dials: Dials


def pack(setting: Setting) -> str:
    """Return a setting as JSON; a task that has a name of its own is written as that."""
    task = setting.task
    names = [name for name, known_task in NAMED.items() if known_task == task]
    told: object = task if isinstance(task, str) else names[0] if names else _fields(task)
    rest = {"steps": setting.steps, "show": setting.show, "curves": setting.curves}
    content = {"wdlab_lab": VERSION, "task": told, "model": asdict(setting.model), **rest}
    return json.dumps(content | {"dials": asdict(setting.dials)}, separators=(",", ":"))


def unpack(link: object) -> Setting:
    """Return the setting that `link` says.

    Raises ValueError for anything that `pack` could not have made: other keys, other types, too long, not JSON.
    """
    said = _object("link", _parsed(link), ("wdlab_lab", *(field.name for field in fields(Setting))))
    version = whole("wdlab_lab", said["wdlab_lab"], 1, VERSION)
    task = said["task"] if isinstance(said["task"], str) else _task(_with_kind(said["task"], version))
    steps = None if said["steps"] is None else whole("steps", said["steps"], 1, MOST["steps"])
    show, curves = (_names(name, said[name]) for name in ("show", "curves"))
    if isinstance(task, str):
        known("task", task, NAMED)
    return Setting(
        task, _made(Model, "model", said["model"]), steps, show, curves, _made(Dials, "dials", said["dials"])
    )


def _fields(task: Task) -> dict[str, object]:
    return {"kind": type(task).__name__, **asdict(task)}  # type: ignore[call-overload]  # every task is a dataclass


def _with_kind(task: object, version: int) -> object:
    return {**task, "kind": Vision.__name__} if version == 1 and isinstance(task, dict) else task


def _task(value: object) -> Task:
    """Return the task of which every field is said."""
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(kind, str):
        raise ValueError(f"task={_short(value)} is not allowed; give a name, or an object with a kind and its fields.")
    found = KINDS[known("kind", kind[:40], KINDS)]
    if "environment" in value:  # before a package is asked for it
        known("environment", value["environment"], PLAYED)
    made: Task = _made(found, "task", {key: one for key, one in value.items() if key != "kind"})
    return made


def _parsed(link: object) -> object:
    if not isinstance(link, str):
        raise ValueError(f"link={_short(link)} is not allowed; give the string that lab.link() returned.")
    if len(link) > LONGEST:
        raise ValueError(f"link of {len(link):,} characters is not allowed; a link has at most {LONGEST:,}.")
    if max(link.count("{"), link.count("[")) > 20:
        raise ValueError(f"link={_short(link)} is not allowed; it is nested too deeply.")
    try:
        return json.loads(link, parse_constant=_refuse, object_pairs_hook=_once)
    except ValueError as error:  # json.JSONDecodeError is one, too
        raise ValueError(f"link={_short(link)} is not a setting of the Lab, which is JSON: {error}") from None


def _refuse(name: str) -> object:
    raise ValueError(f"{name} is not a number")


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key comes twice")
    return dict(pairs)


def _object(name: str, value: object, keys: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name}={_short(value)} is not allowed; give an object with {', '.join(keys)}.")
    for key in value:
        known(f"key of {name}", key if len(key) < 40 else key[:40], keys)
    if missing := [key for key in keys if key not in value]:
        raise ValueError(f"{name} lacks {', '.join(missing)}; give the string that lab.link() returned.")
    return value


def _names(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"{name}={_short(value)} is not allowed; give a list of names.")
    return tuple(value)


def _made(kind: type[Any], name: str, value: object) -> Any:
    """Return a frozen value made of an object that has all of its fields, and nothing else."""
    said = _object(name, value, [field.name for field in fields(kind)])
    plain = {key: tuple(found) if isinstance(found, list) else found for key, found in said.items()}
    most = MOST | PLAYED_MOST if kind is DQN else MOST
    for key, found in plain.items():
        if isinstance(found, dict):
            raise ValueError(f"{key}={_short(found)} is not allowed; give a plain value.")
        if key in most and found is not None:
            whole(key, found, 0, most[key])
    for key in SWITCHES:
        if key in plain and not isinstance(plain[key], bool):
            raise ValueError(f"{key}={_short(plain[key])} is not allowed; give true or false.")
    if issubclass(kind, Task) and not (isinstance(plain["name"], str) and NAME.fullmatch(plain["name"])):
        raise ValueError(f"name={_short(plain['name'])} is not allowed; give up to 40 letters, digits, '_', '.', '-'.")
    return kind(**plain)


def _short(value: object) -> str:
    told = repr(value)
    return told if len(told) <= 60 else f"{told[:57]}..."
