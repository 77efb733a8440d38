"""Trying a learner's answer: calls that cannot hurt, comparison with the reference, and the mistake by its name."""

from __future__ import annotations

import inspect
import linecache
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from wdlab.exercises.report import Report
from wdlab.figures.drawn import Drawn
from wdlab.figures.style import COLOURS, name, panels

Case = Mapping[str, Any]
"""Arguments by name, in the order of the call: numbers, strings, float64 tensors, NumPy arrays, or lists of these."""

Function = Callable[..., Any]

UNTOUCHED = "The stub is untouched: replace it by your answer, then run this cell again."
RTOL, ATOL = 1e-5, 1e-7  # an answer worked out in float32 passes


@dataclass(frozen=True)
class Exercise:
    """What a learner is to write, and all that is needed to judge it.

    `returns` names the values the function returns. `cases` are the arguments it is tried on, smallest first, so that
    the first one to fail is the smallest counter-example. `mistakes` maps the name of a typical mistake, as the learner
    will read it, to a function that makes it. `draw` makes the picture of a counter-example.
    """

    title: str
    returns: tuple[str, ...]
    reference: Function
    cases: Sequence[Case]
    mistakes: Mapping[str, Function]
    draw: Callable[[Attempt], Drawn] = field(default_factory=lambda: draw_values)


@dataclass(frozen=True)
class Attempt:
    """A learner's function on one case: what it gave, what was expected, or the `trouble` it met, in words."""

    exercise: Exercise
    function: Function
    case: Case
    expected: tuple[Tensor, ...]
    given: tuple[Tensor, ...] | None = None
    trouble: str = ""
    nothing: bool = False
    changed: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        """Whether the learner's values are the expected ones, to rounding."""
        return self.given is not None and same(self.given, self.expected)


def check(exercise: Exercise, answer: object) -> Report:
    """Return the report on `answer`, a learner's function; whatever the function does, nothing is raised.

    An answer that is None, Ellipsis, returns one of these or raises NotImplementedError is "not yet done".
    """
    if answer is None or answer is ...:
        return Report(None, exercise.title, UNTOUCHED)
    if not callable(answer):
        return Report(False, exercise.title, f"A function is expected here, and this is {_kind(answer)}.")
    if problem := _signature_problem(exercise, answer):
        return Report(False, exercise.title, problem)
    attempts = [attempt(exercise, answer, case) for case in exercise.cases]
    if all(one.nothing for one in attempts):
        return _nothing(exercise, attempts[0])
    wrong = [one for one in attempts if not one.right]
    if wrong:
        return _wrong(exercise, attempts, wrong[0])
    if not exercise.cases[0]:
        return Report(True, exercise.title, "Right.")
    changed = sorted({name for one in attempts for name in one.changed})
    note = f"\nOne thing to know: it also changes {' and '.join(changed)} in place, which its caller may not expect."
    return Report(True, exercise.title, f"Right in all {len(attempts)} cases tried.{note if changed else ''}")


def secret(exercise: Exercise) -> bool:
    """Whether the answer is one number, which no counter-example may give away."""
    return not exercise.cases[0] and len(exercise.returns) == 1


def check_value(exercise: Exercise, answer: object) -> Report:
    """Return the report on `answer`, a number; `exercise` holds functions without arguments and one empty case."""
    if answer is None or answer is ...:
        return Report(None, exercise.title, UNTOUCHED)
    try:
        number = _number(answer)
    except _AnswerError:
        return Report(False, exercise.title, f"A number is expected here, and this is {_kind(answer)}.")
    if number.numel() != 1:
        return Report(False, exercise.title, f"One number is expected here, and this holds {number.numel()}.")
    return check(exercise, lambda: number)


def attempt(exercise: Exercise, function: Function, case: Case) -> Attempt:
    """Return what `function` makes of copies of the case's arguments."""
    arguments = {key: _copy(value) for key, value in case.items()}
    expected = tuple(_number(value) for value in _several(exercise.reference(*_copies(case)), exercise.returns))
    found = Attempt(exercise, function, case, expected)
    try:
        value = function(*arguments.values())
    except NotImplementedError:
        return _with(found, nothing=True, trouble="it raises NotImplementedError")
    except (Exception, SystemExit) as error:
        return _with(found, trouble=_told(error, function))
    changed = tuple(key for key, value in case.items() if not _untouched(value, arguments[key]))
    if value is None or value is ...:
        return _with(found, nothing=True, changed=changed, trouble="it returns nothing")
    try:
        given = tuple(_number(one) for one in _several(value, exercise.returns))
    except _AnswerError as problem:
        return _with(found, trouble=str(problem))
    trouble = next((text for text in map(_value_problem, exercise.returns, given, expected) if text), "")
    if trouble:
        return _with(found, trouble=trouble)
    return _with(
        found,
        given=tuple(one.reshape(other.shape) for one, other in zip(given, expected, strict=True)),
        changed=changed,
    )


def same(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    """Whether two lists of tensors agree in shape and, to rounding, in value."""
    return all(x.shape == y.shape and torch.allclose(x, y, RTOL, ATOL) for x, y in zip(a, b, strict=True))


def mistake_of(exercise: Exercise, attempts: Sequence[Attempt]) -> str:
    """Return the name of the typical mistake that gives the learner's values in every case, or ""."""
    if any(one.given is None for one in attempts):
        return ""
    for label, function in exercise.mistakes.items():
        made = [attempt(exercise, function, one.case).given for one in attempts]
        if all(one.given and other and same(one.given, other) for one, other in zip(attempts, made, strict=True)):
            return label
    return ""


def draw_values(found: Attempt) -> Drawn:
    """Draw the learner's values beside the expected ones, number by number."""
    labels = [
        f"{key}{_place(index, value)}"
        for key, value in zip(found.exercise.returns, found.expected, strict=True)
        for index in range(value.numel())
    ]
    expected = torch.cat([value.flatten() for value in found.expected])
    yours = torch.cat([value.flatten() for value in found.given or ()])
    figure, (axes,) = panels(1, width=max(3.6, 0.5 * len(labels) + 2.4), height=2.6)
    axes.plot(
        expected, "o", markersize=13, markerfacecolor="none", markeredgewidth=2, color=COLOURS[1], label="expected"
    )
    axes.plot(yours, "X", markersize=8, color=COLOURS[2], label="yours")
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.margins(y=0.25)
    name(axes, "The smallest counter-example", "", "value")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    data = pd.DataFrame({"value": labels, "expected": expected.tolist(), "yours": yours.tolist()})
    told = "; ".join(f"{row.value}: expected {row.expected:.4g}, yours {row.yours:.4g}" for row in data.itertuples())
    return Drawn(figure, f"Your values beside the expected ones. {told}.", data)


def say(value: object, digits: int = 4) -> str:
    """Return a value as a learner would write it: 0.5, [1, 2], 'name'."""
    if isinstance(value, (Tensor, np.ndarray)):
        value = value.tolist()
    if isinstance(value, list):
        return f"[{', '.join(say(one, digits) for one in value)}]"
    return f"{value:.{digits}g}" if isinstance(value, float) else repr(value)


# What went wrong, in words


def _nothing(exercise: Exercise, first: Attempt) -> Report:
    if first.changed:
        text = f"Your function changes {' and '.join(first.changed)} but returns nothing: end it with `return ...`."
        return Report(False, exercise.title, text)
    return Report(None, exercise.title, f"{UNTOUCHED} (If you did: it returns nothing; does it end with `return`?)")


def _wrong(exercise: Exercise, attempts: Sequence[Attempt], smallest: Attempt) -> Report:
    failed = sum(not one.right for one in attempts)
    lines = (
        [f"{failed} of {len(attempts)} cases fail. The smallest: {_arguments(smallest.case)}."] if smallest.case else []
    )
    if smallest.given is None:
        return Report(
            False, exercise.title, "\n".join([*lines, f"What happened: {smallest.trouble or 'it returns nothing'}."])
        )
    if secret(exercise):
        lines.append(f"{say(smallest.given[0])} is not the number.")
    else:
        told = zip(exercise.returns, smallest.given, smallest.expected, strict=True)
        lines += [
            _compared(key, yours, expected)
            for key, yours, expected in told
            if smallest.case or not same((yours,), (expected,))
        ]
    if label := mistake_of(exercise, attempts):
        lines.append(f"This is what you get from a well-known mistake: {label}.")
    return Report(False, exercise.title, "\n".join(lines), _safely(exercise.draw, smallest))


def _compared(key: str, yours: Tensor, expected: Tensor) -> str:
    digits = 4 if say(yours) != say(expected) or torch.equal(yours, expected) else 10
    return f"{key}: yours {say(yours, digits)}, expected {say(expected, digits)}"


def _safely(draw: Callable[[Attempt], Drawn], found: Attempt) -> Drawn | None:
    """A picture is a help: where a strange answer cannot be drawn, the words stand alone."""
    try:
        return draw(found)
    except Exception:
        return None


def _arguments(case: Case) -> str:
    return ", ".join(f"{key} = {_shown(value)}" for key, value in case.items())


def _shown(value: object) -> str:
    if isinstance(value, Tensor) and value.numel() > 8:
        return f"a tensor of shape {tuple(value.shape)}"
    return say(value)


def _told(error: BaseException, function: Function) -> str:
    """An error of the learner's code in words, with the line it comes from."""
    text = (
        f"your code stops with {type(error).__name__}: {error}"
        if str(error)
        else f"your code stops with {type(error).__name__}"
    )
    code = getattr(function, "__code__", None)
    own = [one for one in traceback.extract_tb(error.__traceback__) if code and one.filename == code.co_filename]
    if not own or own[-1].lineno is None:
        return text
    source = linecache.getline(own[-1].filename, own[-1].lineno).strip()
    return f"{text} (in the line `{source}`)" if source else text


def _signature_problem(exercise: Exercise, function: Function) -> str:
    """What is wrong with the arguments a function takes, or ""."""
    wanted = tuple(exercise.cases[0])
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):  # some built-in functions do not tell
        return ""
    try:
        signature.bind(*wanted)
    except TypeError:
        return f"Your function takes {signature}, and is called with ({', '.join(wanted)})."
    return ""


# Values


class _AnswerError(Exception):
    """What a learner's function returned is not what was asked for."""


def _several(value: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    if len(names) == 1:
        return tuple(value) if isinstance(value, tuple) and len(value) == 1 else (value,)
    several = isinstance(value, (tuple, list)) or (isinstance(value, (Tensor, np.ndarray)) and value.ndim > 0)
    if several and len(value) == len(names):
        return tuple(value)
    raise _AnswerError(f"{_kind(value)} is returned where {len(names)} values are expected: {', '.join(names)}")


def _number(value: Any) -> Tensor:
    """A value as a float64 tensor of its own."""
    if isinstance(value, (str, bytes, dict, set)) or (callable(value) and not isinstance(value, Tensor)):
        raise _AnswerError(f"{_kind(value)} is returned where a number or a tensor is expected")
    try:
        if isinstance(value, Tensor):
            return value.detach().to_dense().to("cpu", torch.float64, copy=True)
        return torch.tensor(np.asarray(value, dtype=np.float64))
    except Exception:  # whatever it is, it is no number
        raise _AnswerError(f"{_kind(value)} is returned where a number or a tensor is expected") from None


def _value_problem(key: str, given: Tensor, expected: Tensor) -> str:
    if given.shape != expected.shape and not given.numel() == expected.numel() == 1:
        return f"{key} has the shape {tuple(given.shape)} where {tuple(expected.shape)} is expected"
    if given.isnan().any():
        return f"{key} is {say(given)}: it holds NaN, which is not a number"
    return ""


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"


def _copy(value: Any) -> Any:
    if isinstance(value, list):
        return [_copy(one) for one in value]
    if isinstance(value, np.ndarray):
        return value.copy()
    return value.clone() if isinstance(value, Tensor) else value


def _copies(case: Case) -> list[Any]:
    return [_copy(value) for value in case.values()]


def _untouched(before: object, after: object) -> bool:
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(_untouched, before, after))
    if isinstance(before, np.ndarray):
        return np.array_equal(before, np.asarray(after))
    if isinstance(before, Tensor) and isinstance(after, Tensor):
        return before.shape == after.shape and torch.allclose(before, after, 0, 0, equal_nan=True)
    return True


def _place(index: int, value: Tensor) -> str:
    return (
        f"[{', '.join(str(i) for i in np.unravel_index(index, value.shape))}]"
        if value.ndim and value.numel() > 1
        else ""
    )


def _with(found: Attempt, **changes: Any) -> Attempt:
    return replace(found, **changes)
