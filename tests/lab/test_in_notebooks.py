"""Every notebook of the course has a Lab; the first shows it bare."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from wdlab.lab.panel import EVERY
from wdlab.lab.quantities import QUANTITIES

SOURCES = sorted((Path(__file__).resolve().parents[2] / "notebooks" / "src").glob("[0-9][0-9]_*.py"))


def labs(source: Path) -> Iterator[dict[str, ast.expr]]:
    """What is given by name to each Lab that a notebook makes, in the order of the page."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Lab":
            yield {word.arg: word.value for word in node.keywords if word.arg is not None}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_every_notebook_has_a_lab_with_dials_of_its_own(source: Path) -> None:
    found = list(labs(source))
    assert found
    for given in found:
        assert "device" in given and "seed" in given, "what the parameters cell says holds for the Lab too"
        for name, allowed in (("show", EVERY), ("curves", QUANTITIES)):
            if name in given:
                assert set(ast.literal_eval(given[name])) <= set(allowed)
    if not source.stem.startswith("00"):
        assert all("show" in given for given in found)


def test_the_first_notebook_shows_the_lab_bare_before_it_shows_chosen_dials() -> None:
    first, *others = labs(SOURCES[0])
    assert set(first) <= {"steps", "seed", "device"}
    assert others and all("show" in given for given in others)
