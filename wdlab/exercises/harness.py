"""Trying a learner's answer: calls that cannot hurt, comparison with the reference, and the mistake by its name."""

from __future__ import annotations

import inspect
import linecache
import secrets
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
from wdlab.tasks import generator

Case = Mapping[str, Any]
"""Arguments by name, in the order of the call: numbers, strings, float64 tensors, NumPy arrays, or lists of these."""

Function = Callable[..., Any]

UNTOUCHED = "The stub is untouched: replace it by your answer, then run this cell again."
RTOL, ATOL = 1e-5, 1e-6  # an answer worked out in float32 passes, also where numbers near 3 cancel
DRAWS = 6
"""How many cases of an exercise are drawn."""


@dataclass(frozen=True)
class Exercise:
    """What a learner is to write, and all that is needed to judge it.

    `returns` names the values the function returns. `cases` are arguments it is tried on, made by hand; `drawn` draws
    more of them, in which every argument varies. `mistakes` maps the name of a typical mistake, as the learner will
    read it, to a function that makes it. `draw` makes the picture of a counter-example.
    """

    title: str
    returns: tuple[str, ...]
    reference: Function
    cases: Sequence[Case]
    mistakes: Mapping[str, Function]
    drawn: Callable[[torch.Generator], Case] | None = None
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


def check(exercise: Exercise, answer: object, seed: int | None = None) -> Report:
    """Return the report on `answer`, a learner's function.

    An answer that is None, Ellipsis, returns one of these or raises NotImplementedError is "not yet done". Whatever the
    function does, or a class of the learner's that comes out of it, nothing is raised here but KeyboardInterrupt: it is
    the way out of an endless loop.

    Beside the cases made by hand some are drawn, afresh in every check, so that no answer can be made for those it will
    meet. Where one of them is the counter-example its seed is told, and with that `seed` all are the same again:

    >>> from wdlab.exercises import chapter01
    >>> check(chapter01.TORCH_LAMBDA, lambda lambda_paper, lr: lambda_paper / lr, seed=7)
    From the AdamW paper's lambda to torch's: correct. Right in all 10 cases tried.
    """
    if answer is None or answer is ...:
        return Report(None, exercise.title, UNTOUCHED)
    if not callable(answer):
        return Report(False, exercise.title, f"A function is expected here, and this is {kind(answer)}.")
    if problem := _or_nothing(lambda: _signature_problem(exercise, answer)):
        return Report(False, exercise.title, problem)
    seed = secrets.randbits(32) if seed is None else seed
    attempts = [attempt(exercise, answer, case) for case in cases_of(exercise, seed)]
    if all(one.nothing for one in attempts):
        return _nothing(exercise, attempts[0])
    wrong = [one for one in attempts if not one.right]
    if wrong:
        return _wrong(exercise, attempts, wrong[0], seed)
    if not exercise.cases[0]:
        return Report(True, exercise.title, "Right.")
    changed = sorted({name for one in attempts for name in one.changed})
    note = f"\nOne thing to know: it also changes {' and '.join(changed)} in place, which its caller may not expect."
    return Report(True, exercise.title, f"Right in all {len(attempts)} cases tried.{note if changed else ''}")


def cases_of(exercise: Exercise, seed: int) -> list[Case]:
    """Return all cases of an exercise, made by hand and drawn from `seed`, smallest first, and those by hand first.

    So the first one to fail is the smallest counter-example, where size is how many numbers the arguments hold.
    """
    draw = generator(seed, exercise.title)
    drawn = [exercise.drawn(draw) for _ in range(DRAWS)] if exercise.drawn else []
    return sorted([*exercise.cases, *drawn], key=size)


def size(case: Case) -> int:
    """Return how many numbers (or strings) the arguments of a case hold."""
    return sum(map(_count, case.values()))


def _count(value: object) -> int:
    if isinstance(value, list):
        return sum(map(_count, value))
    return value.numel() if isinstance(value, Tensor) else int(np.size(value))  # type: ignore[arg-type]


def secret(exercise: Exercise) -> bool:
    """Whether the answer is one number, which no counter-example may give away."""
    return not exercise.cases[0] and len(exercise.returns) == 1


def check_value(exercise: Exercise, answer: object) -> Report:
    """Return the report on `answer`, a number; `exercise` holds functions without arguments and one empty case."""
    if answer is None or answer is ...:
        return Report(None, exercise.title, UNTOUCHED)
    return check(exercise, lambda: _one_number(answer))


def _one_number(answer: object) -> Tensor:
    try:
        number = _number(answer)
    except _AnswerError:
        raise _AnswerError(f"a number is expected here, and this is {kind(answer)}") from None
    if number.numel() != 1:
        raise _AnswerError(f"one number is expected here, and this holds {number.numel()}")
    return number


def attempt(exercise: Exercise, function: Function, case: Case) -> Attempt:
    """Return what `function` makes of copies of the case's arguments; nothing is raised but KeyboardInterrupt."""
    arguments = {key: _copy(value) for key, value in case.items()}
    expected = tuple(_number(value) for value in _several(exercise.reference(*_copies(case)), exercise.returns))
    found = Attempt(exercise, function, case, expected)
    try:
        value = function(*arguments.values())
        changed = tuple(key for key, before in case.items() if not _untouched(before, arguments[key]))
        if value is None or value is ...:
            return replace(found, nothing=True, changed=changed, trouble="it returns nothing")
        given = tuple(_number(one) for one in _several(value, exercise.returns))
    except _AnswerError as problem:
        return replace(found, trouble=str(problem))
    except NotImplementedError:
        return replace(found, nothing=True, trouble="it raises NotImplementedError")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # of the function itself, or of a class of the learner's that is looked at
        return replace(found, trouble=_told(error, function))
    trouble = next((text for text in map(_value_problem, exercise.returns, given, expected) if text), "")
    if trouble:
        return replace(found, trouble=trouble)
    shaped = tuple(one.reshape(other.shape) for one, other in zip(given, expected, strict=True))
    return replace(found, given=shaped, changed=changed)


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
    return Drawn(figure, "Your values beside the expected ones.", data)


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


def _wrong(exercise: Exercise, attempts: Sequence[Attempt], smallest: Attempt, seed: int) -> Report:
    failed = sum(not one.right for one in attempts)
    by_hand = any(smallest.case is case for case in exercise.cases)
    which = "The smallest" if by_hand else f"The smallest, drawn with seed {seed}"
    arguments = _arguments(smallest.case)
    lines = [f"{failed} of {len(attempts)} cases fail. {which}:{arguments}"] if arguments else []
    if smallest.given is None:
        lines.append(f"What happened: {smallest.trouble or 'it returns nothing'}.")
        return Report(False, exercise.title, "\n".join(lines))
    told = [] if secret(exercise) else _comparison(smallest, smallest.given)
    lines += told or [f"{say(smallest.given[0])} is not the number."]
    if label := mistake_of(exercise, attempts):
        lines.append(f"This is what you get from a well-known mistake: {label}.")
    return Report(False, exercise.title, "\n".join(lines), _picture(smallest, told))


def _comparison(found: Attempt, given: Sequence[Tensor]) -> list[str]:
    """The learner's values and the expected ones, a line each; of a case without arguments, only those that differ."""
    rows = zip(found.exercise.returns, given, found.expected, strict=True)
    return [_compared(*row) for row in rows if found.case or not same(row[1:2], row[2:])]


def _compared(key: str, yours: Tensor, expected: Tensor) -> str:
    digits = 4 if say(yours) != say(expected) or torch.equal(yours, expected) else 10
    return f"{key}: yours {say(yours, digits)}, expected {say(expected, digits)}"


def _picture(found: Attempt, told: Sequence[str]) -> Drawn | None:
    """The counter-example drawn, with `told` at the end of its words.

    A picture is a help: where a strange answer cannot be drawn, the message stands alone.
    """
    try:
        drawn = found.exercise.draw(found)
        return replace(drawn, alt=f"{drawn.alt} {'; '.join(told)}.") if told else drawn
    except Exception:
        return None


def _arguments(case: Case) -> str:
    """The arguments as numbers: in one line, or a line each where one of them is a table."""
    told = [f"{key} ={_shown(value)}" for key, value in case.items()]
    if any("\n" in one for one in told):
        return "".join(f"\n{one}" for one in told)
    return f" {', '.join(told)}." if told else ""


def _shown(value: object) -> str:
    if isinstance(value, Tensor) and value.ndim > 1 and value.numel() > 8:
        return f"\n{_rows(value)}"
    return f" {say(value)}"


def _rows(value: Tensor) -> str:
    """A matrix row by row, indented, its columns under one another; matrices one after the other."""
    if value.ndim > 2:
        return "\n\n".join(map(_rows, value))
    rows = [[say(one) for one in row] for row in value.tolist()]
    width = max(len(one) for row in rows for one in row)
    return "\n".join("".join(f"  {one:>{width}}" for one in row) for row in rows)


def _told(error: BaseException, function: Function) -> str:
    """An error of the learner's code in words, with the line it comes from."""
    name = _or_nothing(lambda: type(error).__name__) or "an error"
    words, line = _or_nothing(lambda: str(error)), _or_nothing(lambda: _line(error, function))
    text = f"your code stops with {name}{': ' if words else ''}{words}"
    return f"{text} (in the line `{line}`)" if line else text


def _or_nothing(text: Callable[[], str]) -> str:
    """What `text` says, or "" where something of the learner's raises before it is said."""
    try:
        return "".join([text()])  # a plain str, where the class makes one that is not
    except KeyboardInterrupt:
        raise
    except BaseException:
        return ""


def _line(error: BaseException, function: Function) -> str:
    """The last line of a learner's own code that an error went through, or ""."""
    code = getattr(function, "__code__", None)
    own = [one for one in traceback.extract_tb(error.__traceback__) if code and one.filename == code.co_filename]
    return linecache.getline(own[-1].filename, own[-1].lineno or 0).strip() if own else ""


def _signature_problem(exercise: Exercise, function: Function) -> str:
    """What is wrong with the arguments a function takes, or ""; some built-in functions do not tell them."""
    wanted = tuple(exercise.cases[0])
    signature = inspect.signature(function)
    try:
        signature.bind(*wanted)
    except TypeError:
        told = _or_nothing(lambda: str(signature)) or "other arguments"
        return f"Your function takes {told}, and is called with ({', '.join(wanted)})."
    return ""


# Values


def is_a(value: object, *kinds: type) -> bool:
    """Whether a value is of one of these kinds, without asking it: isinstance would, and a class may raise then."""
    return issubclass(type(value), kinds)


def kind(value: object) -> str:
    """Return what a value is in words: a float."""
    return f"a {_or_nothing(lambda: type(value).__name__) or 'thing without a name'}"


class _AnswerError(Exception):
    """What a learner's function returned is not what was asked for."""


def _several(value: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    if len(names) == 1:
        return tuple(value) if is_a(value, tuple) and len(value) == 1 else (value,)
    several = is_a(value, tuple, list) or (is_a(value, Tensor, np.ndarray) and value.ndim > 0)
    if several and len(value) == len(names):
        return tuple(value)
    raise _AnswerError(f"{kind(value)} is returned where {len(names)} values are expected: {', '.join(names)}")


def _number(value: Any) -> Tensor:
    """A value as a plain float64 tensor of its own."""
    if is_a(value, str, bytes, dict, set) or (callable(value) and not is_a(value, Tensor)):
        raise _AnswerError(f"{kind(value)} is returned where a number or a tensor is expected")
    if _is_complex(value):
        raise _AnswerError("complex numbers are returned where real ones are expected")
    try:
        if is_a(value, Tensor):
            value = value.to_dense().to("cpu", torch.float64).numpy(force=True)
        return torch.from_numpy(np.array(value, dtype=np.float64))
    except Exception:  # whatever it is, it is no number
        raise _AnswerError(f"{kind(value)} is returned where a number or a tensor is expected") from None


def _is_complex(value: Any) -> bool:
    """Whether a value holds complex numbers, of which float64 would keep the real part alone."""
    try:
        return bool(value.is_complex() if is_a(value, Tensor) else np.iscomplexobj(value))
    except Exception:  # whatever it is, it is no number
        return False


def _value_problem(key: str, given: Tensor, expected: Tensor) -> str:
    if given.shape != expected.shape and not given.numel() == expected.numel() == 1:
        return f"{key} has the shape {tuple(given.shape)} where {tuple(expected.shape)} is expected"
    if given.isnan().any():
        return f"{key} is {say(given)}: it holds NaN, which is not a number"
    return ""


def _copy(value: Any) -> Any:
    if isinstance(value, list):
        return [_copy(one) for one in value]
    if isinstance(value, np.ndarray):
        return value.copy()
    return value.clone() if isinstance(value, Tensor) else value


def _copies(case: Case) -> list[Any]:
    return [_copy(value) for value in case.values()]


def _untouched(before: Any, after: Any) -> bool:
    if is_a(before, list) and is_a(after, list):
        return len(before) == len(after) and all(map(_untouched, before, after))
    if is_a(before, np.ndarray):
        return np.array_equal(before, np.asarray(after))
    if is_a(before, Tensor) and is_a(after, Tensor):
        alike = before.dtype == after.dtype and before.shape == after.shape
        return alike and bool(torch.allclose(before, after, 0, 0, equal_nan=True))
    return before is after


def _place(index: int, value: Tensor) -> str:
    return (
        f"[{', '.join(str(i) for i in np.unravel_index(index, value.shape))}]"
        if value.ndim and value.numel() > 1
        else ""
    )
