"""Checks of arguments, worded so that the reader knows what to type instead."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable


def known(argument: str, value: object, allowed: Iterable[str]) -> str:
    """Return `value` if it is one of the `allowed` names.

    Raises ValueError with the nearest allowed name otherwise.

    >>> known("coupling", "l3", ["l2", "decoupled"])
    Traceback (most recent call last):
    ValueError: coupling='l3' is unknown; did you mean 'l2'? Allowed: decoupled, l2.
    """
    names = sorted(allowed)
    if isinstance(value, str) and value in names:
        return value
    near = difflib.get_close_matches(str(value), names, n=1, cutoff=0.3)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"{argument}={value!r} is unknown; {hint}Allowed: {', '.join(names)}.")


def number(
    argument: str,
    value: object,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: bool = False,
    below: bool = False,
) -> float:
    """Return `value` as a float if it is finite and in [low, high].

    With `above` the lower end is excluded, with `below` the upper end. Raises ValueError otherwise.

    >>> number("lr", 0, 0, above=True)
    Traceback (most recent call last):
    ValueError: lr=0 is not allowed; give a finite number greater than 0.
    """
    try:
        found = math.nan if isinstance(value, str | bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, RuntimeError):  # RuntimeError: a tensor of several numbers
        found = math.nan
    inside = (low < found if above else low <= found) and (found < high if below else found <= high)
    if math.isfinite(found) and inside:
        return found
    raise ValueError(f"{argument}={value!r} is not allowed; give a finite number{_range(low, high, above, below)}.")


def whole(argument: str, value: object, low: int = 0, high: int | None = None) -> int:
    """Return `value` if it is an int in [low, high]; raises ValueError otherwise.

    >>> whole("steps", 2.5, 1)
    Traceback (most recent call last):
    ValueError: steps=2.5 is not allowed; give a whole number of at least 1.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= low and (high is None or value <= high):
        return value
    end = f"of at least {low}" if high is None else f"from {low} to {high}"
    raise ValueError(f"{argument}={value!r} is not allowed; give a whole number {end}.")


def _range(low: float, high: float, above: bool, below: bool) -> str:
    if math.isinf(low) and math.isinf(high):
        return ""
    if math.isinf(high):
        return f" greater than {low:g}" if above else f" of at least {low:g}"
    if math.isinf(low):
        return f" less than {high:g}" if below else f" of at most {high:g}"
    return f" in {'(' if above else '['}{low:g}, {high:g}{')' if below else ']'}"
