"""The files that say what wdlab needs agree with each other."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from notebooks import build

ROOT = Path(__file__).resolve().parents[1]
PROJECT = build.project(ROOT)
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def lines(path: str) -> list[str]:
    """The lines of a requirements file that pip acts on."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def pins(path: str) -> dict[str, str]:
    """Name -> version in a requirements file, in which everything is pinned."""
    found = {}
    for requirement in (Requirement(line) for line in lines(path) if not line.startswith("-")):
        (only,) = requirement.specifier
        assert only.operator == "==", f"{requirement} is not pinned"
        found[canonicalize_name(requirement.name)] = only.version
    return found


def ranges(*extras: str) -> dict[str, SpecifierSet]:
    """Name -> range in pyproject.toml: what wdlab needs, and what some extras add."""
    texts = [*PROJECT["dependencies"], *(t for e in extras for t in PROJECT["optional-dependencies"][e])]
    return {canonicalize_name(r.name): r.specifier for r in map(Requirement, texts)}


def test_requirements_pin_what_pyproject_names() -> None:
    assert pins("requirements.txt").keys() == ranges("lab", "rl", "test").keys()


@pytest.mark.parametrize("name", ranges("lab", "rl", "test"))
def test_a_pin_lies_in_its_range(name: str) -> None:
    assert pins("requirements.txt")[name] in ranges("lab", "rl", "test")[name]


def test_requirements_end_with_wdlab_and_name_no_index() -> None:
    assert [line for line in lines("requirements.txt") if line.startswith("-")] == ["-e ."]
    assert lines("requirements.txt")[-1] == "-e ."


def test_binder_pins_what_wdlab_needs_at_the_tested_versions() -> None:
    binder, tested = pins("binder/requirements.txt"), pins("requirements.txt")
    assert binder.keys() == ranges("rl").keys() | {"ipykernel"}
    assert binder == {name: tested[name] for name in binder}


def test_binder_takes_torch_from_its_own_cpu_index_and_has_no_other_option() -> None:
    options = [line for line in lines("binder/requirements.txt") if line.startswith("-")]
    assert options == [f"--extra-index-url {TORCH_CPU_INDEX}"]


def test_binder_runs_a_python_that_wdlab_supports() -> None:
    python = lines("binder/runtime.txt")[0].removeprefix("python-")
    assert python in SpecifierSet(PROJECT["requires-python"])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no executable bit")
@pytest.mark.parametrize("script", ["binder/postBuild", ".ci/run"])
def test_scripts_are_executable(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)


def test_the_readme_has_the_badges_of_notebook_00() -> None:
    assert build.badges(ROOT, "00_start_here") in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_address_on_github_is_the_repositorys() -> None:
    owner_and_name = PROJECT["urls"]["Repository"].removeprefix("https://github.com/")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    ours = re.findall(r"(?:mybinder\.org/v2/gh|colab\.research\.google\.com/github)/([\w.-]+/[\w.-]+)", readme)
    assert set(ours) == {owner_and_name}
