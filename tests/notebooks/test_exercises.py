"""What every notebook's exercises have: three or more, rated, with hints, a stub, a folded solution and a checker."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from notebooks import build
from wdlab import exercises

ROOT = Path(__file__).resolve().parents[2]
RATING = re.compile(r"^difficulty ([1-5]) of 5 · importance [1-5] of 5 · \d+ minutes$", re.MULTILINE)
HEADING = re.compile(r"^### (\d+)\. \S", re.MULTILINE)
CHECK = re.compile(r"\bcheck_\w+")
HINT = re.compile(r"<details>\s*<summary>(?!Solution)[^<]*</summary>(.*?)</details>", re.DOTALL)

every_notebook = pytest.mark.parametrize("source", build.sources(ROOT), ids=lambda source: source.stem)


def parts(source: Path) -> list[list]:
    """The cells of each exercise of the student version, from its heading to the next heading of any kind."""
    found: list[list] = []
    inside = False
    for cell in build.generate(ROOT, source).cells:
        if cell.cell_type == "markdown" and re.search(r"^#{1,3} ", cell.source, re.MULTILINE):
            inside = bool(HEADING.search(cell.source))
            found += [[]] if inside else []
        if inside:
            found[-1].append(cell)
    return found


def code(cells: list) -> str:
    return "\n".join(cell.source for cell in cells if cell.cell_type == "code")


@every_notebook
def test_a_notebook_has_three_exercises_or_more_numbered_from_one(source: Path) -> None:
    numbers = [int(HEADING.search(cells[0].source)[1]) for cells in parts(source)]
    assert len(numbers) >= 3
    assert numbers == list(range(1, len(numbers) + 1))


@every_notebook
def test_an_exercise_is_rated_and_has_hint_stub_solution_and_checker(source: Path) -> None:
    for cells in parts(source):
        title, text = cells[0].source, "\n".join(cell.source for cell in cells)
        assert len(RATING.findall(title)) == 1, title
        assert HINT.search(text), f"no hint: {title}"
        assert all("`" not in hint for hint in HINT.findall(title)), f"in HTML it takes <code>, not backticks: {title}"
        tags = [build.tags(cell) for cell in cells]
        assert any("exercise" in one for one in tags) and any("solution" in one for one in tags), title
        assert all("solution" in after for before, after in pairwise(tags) if "exercise" in before), title
        assert CHECK.search(code(cells)), f"no checker: {title}"


@every_notebook
def test_every_checker_of_a_chapter_is_used_by_its_notebook(source: Path) -> None:
    chapter = getattr(exercises, f"chapter{source.stem[:2]}")
    made = {name for name in vars(chapter) if name.startswith("check_")} - {"check_value"}
    used = set(CHECK.findall(code(build.generate(ROOT, source).cells)))
    assert made == used
    assert len(chapter.EXERCISES) == len(made) >= 3


def test_the_exercises_reach_from_a_number_to_the_adaptive_coupling() -> None:
    first = parts(build.sources(ROOT)[0])[0]
    assert "Change the number" in first[0].source
    difficulties = [int(RATING.search(cells[0].source)[1]) for s in build.sources(ROOT) for cells in parts(s)]
    assert {1, 2, 3, 4} <= set(difficulties)
    adam = next(source for source in build.sources(ROOT) if source.stem.startswith("07"))
    (written,) = [cells for cells in parts(adam) if "Write the adaptive coupling" in cells[0].source]
    assert "check_adaptive" in code(written) and "def adaptive_step(w, g, m, v, t, lr, weight_decay)" in code(written)


@every_notebook
def test_the_last_cell_that_runs_tells_the_learners_calibration(source: Path) -> None:
    *_, last = (cell for cell in build.read_cells(source) if cell.cell_type == "code")
    assert last.source.strip() == "predictions.score()"
