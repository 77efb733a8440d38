"""notebooks/build.py, on a course of one tiny notebook."""

from __future__ import annotations

import base64
import io
import re
import shutil
import sys
import types
from collections.abc import Callable
from html import unescape
from pathlib import Path

import nbformat
import numpy as np
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from PIL import Image

from notebooks import build
from wdlab.figures.drawn import image_html

ROOT = Path(__file__).resolve().parents[2]

TINY = '''\
# %% [markdown]
# # Tiny
# {{badges}} {{minutes}}

# %% tags=["parameters"]
seed_offset = 0

# %% tags=["exercise"]
def double(x):
    """Return twice x."""


# %% tags=["solution"]
def double(x):
    """Return twice x."""
    return 2 * x


# %%
import os, sys
import ipywidgets
from wdlab import figures

print("right" if double(1) == 2 else "not yet done")
print(os.environ["WDLAB_SCALE"], os.environ["WDLAB_HEADLESS"])
print("noise", file=sys.stderr)

# %%
ipywidgets.IntSlider()

# %%
figures.lines({"one": [1.0, 2.0]}, "A line", "x", "y")
'''


def make_course(root: Path, text: str = TINY) -> Path:
    """Write a course of one notebook in an empty folder; the path of its source."""
    for name in ["pyproject.toml", "requirements.txt"]:
        shutil.copy(ROOT / name, root)
    source = root / "notebooks" / "src" / "00_tiny.py"
    source.parent.mkdir(parents=True)
    source.write_text(text, encoding="utf-8")
    return source


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_course(tmp_path)


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("refreshed")
    make_course(root)
    assert build.main(["refresh"], root) == 0
    return root


@pytest.fixture
def course(refreshed: Path, tmp_path: Path) -> Path:
    """A copy of a course just refreshed, to damage."""
    return shutil.copytree(refreshed, tmp_path / "course")


def committed(root: Path) -> NotebookNode:
    return nbformat.read(root / "notebooks" / "00_tiny.ipynb", as_version=4)


def pictures(notebook: NotebookNode) -> list[tuple[str, str]]:
    outputs = [output for cell in build.code_cells(notebook) for output in cell.outputs]
    return [found for output in outputs for found in build.pictures(output)]


def code_of(notebook: NotebookNode) -> str:
    return "\n".join(cell.source for cell in build.code_cells(notebook))


# --- the two versions ---------------------------------------------------------------------------------------


def test_the_student_version_keeps_the_stub_and_folds_the_solution(tmp_path: Path, source: Path) -> None:
    notebook = build.generate(tmp_path, source)
    assert "2 * x" not in code_of(notebook)
    assert "def double" in code_of(notebook)
    folded = next(cell for cell in notebook.cells if "solution" in build.tags(cell))
    assert folded.cell_type == "markdown"
    assert folded.source.startswith("<details><summary>Solution</summary>\n\n```python\ndef double")


def test_the_solution_version_replaces_the_stub(tmp_path: Path, source: Path) -> None:
    notebook = build.generate(tmp_path, source, solved=True)
    assert code_of(notebook).count("def double") == 1
    assert "return 2 * x" in code_of(notebook)
    assert "<details>" not in str(notebook)


@pytest.mark.parametrize("lost", ['tags=["exercise"]', 'tags=["solution"]'])
def test_an_exercise_and_its_solution_stand_together(tmp_path: Path, lost: str) -> None:
    source = make_course(tmp_path, TINY.replace(lost, ""))
    with pytest.raises(ValueError, match=r"00_tiny\.py.*solution.*def double"):
        build.generate(tmp_path, source)


def test_placeholders(tmp_path: Path, source: Path) -> None:
    title = build.generate(tmp_path, source, {"minutes": 1.5}).cells[0].source
    assert "1.5 minutes" in title
    assert build.badges(tmp_path, "00_tiny") in title
    source.write_text(TINY.replace("{{minutes}}", "{{hours}}"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"\{\{hours\}\}.*badges.*minutes"):
        build.generate(tmp_path, source)


def test_badges_point_to_the_notebook_in_the_repository(tmp_path: Path, source: Path) -> None:
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("github.com/wdlab/wdlab", "github.com/someone/course"))
    links = re.findall(r"\]\((https://(?:mybinder|colab)[^)]*/00_tiny\.ipynb)\)", build.badges(tmp_path, "00_tiny"))
    assert len(links) == 2
    assert all("someone/course" in link for link in links)


def test_ids_are_valid_unique_and_stay_when_a_cell_is_inserted(tmp_path: Path, source: Path) -> None:
    def ids() -> list[str]:
        return [cell.id for cell in build.generate(tmp_path, source).cells]

    before = ids()
    assert before == ids()
    assert all(re.fullmatch(r"[a-zA-Z0-9-_]{1,64}", cell_id) for cell_id in before)
    source.write_text("# %%\nprint()\n\n# %%\nprint()\n\n" + TINY, encoding="utf-8")
    after = ids()
    assert len(set(after)) == len(after) == len(before) + 2
    assert set(before) < set(after)


# --- Colab --------------------------------------------------------------------------------------------------


def pip_calls(root: Path, monkeypatch: pytest.MonkeyPatch, *, colab: bool, version: str | None) -> list[str]:
    """What Colab's cell would hand to pip where wdlab is installed in a version, or not at all."""
    calls: list[str] = []
    shell = types.SimpleNamespace(run_line_magic=lambda name, text: calls.append(f"{name} {text}"))
    there = [types.SimpleNamespace(version=version)] if version else []
    monkeypatch.setattr("importlib.metadata.distributions", lambda name: there)
    if colab:
        monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    code = TransformerManager().transform_cell(build.colab_cell(root).source)
    exec(code, {"get_ipython": lambda: shell})
    return calls


@pytest.mark.parametrize(
    ("colab", "version", "installs"),
    [(False, None, 0), (False, "0.0.1", 0), (True, None, 1), (True, "0.0.1", 1), (True, "same", 0)],
)
def test_colab_installs_wdlab_once(
    source: Path, monkeypatch: pytest.MonkeyPatch, colab: bool, version: str | None, installs: int
) -> None:
    root = source.parents[2]
    ours = build.project(root)["version"]
    calls = pip_calls(root, monkeypatch, colab=colab, version=ours if version == "same" else version)
    assert len(calls) == installs
    for call in calls:
        assert call.startswith("pip install ")
        assert "--no-deps" in call
        assert call.endswith(f"github.com/wdlab/wdlab@v{ours}")


def test_colab_installs_what_translation_needs_where_it_is_needed(tmp_path: Path, source: Path) -> None:
    def installed() -> str:
        return build.code_cells(build.generate(ROOT, source))[0].source

    plain = installed()
    source.write_text(source.read_text() + "\n# %%\nfrom wdlab.claims import chapter08\n", encoding="utf-8")
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").split()
    needed = [next((pin for pin in pins if pin.startswith(f"{name}==")), name) for name in build.FOR_TRANSLATION]
    assert needed[0].startswith("num2words==") and needed[1].startswith("sacrebleu==")
    assert installed() == plain.replace(" git+", f" {' '.join(needed)} git+")


def test_colabs_cell_is_the_first_code_cell(tmp_path: Path, source: Path) -> None:
    for solved in (False, True):
        assert build.tags(build.code_cells(build.generate(tmp_path, source, solved=solved))[0]) == ["colab"]


# --- outputs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        ({build.WIDGET_VIEW: {"model_id": "1"}, "text/plain": "IntSlider()"}, None),
        ({build.WIDGET_VIEW: {"model_id": "1"}, "image/png": "iVBO"}, {"image/png": "iVBO"}),
        ({"text/plain": "3"}, {"text/plain": "3"}),
    ],
)
def test_widgets_are_taken_out_and_their_pictures_stay(data: dict[str, object], kept: object) -> None:
    output = nbformat.from_dict({"output_type": "display_data", "data": data, "metadata": {}})
    assert build.worth_showing(output) == (kept is not None)
    assert kept is None or output.data == kept


def test_a_picture_takes_less_room_and_looks_the_same() -> None:
    rising = np.add.outer(np.arange(200), np.arange(300)) / 499
    picture = np.stack([255 * rising, 255 * (1 - rising), 128 * np.ones_like(rising)], -1).astype(np.uint8)
    whole = io.BytesIO()
    Image.fromarray(picture).save(whole, format="png")
    png = base64.b64encode(whole.getvalue()).decode()
    data = {"image/png": png, "text/html": image_html(png, 'w < "2"'), "text/plain": 'w < "2"'}
    output = build.slimmed(nbformat.from_dict({"output_type": "display_data", "data": data, "metadata": {}}))
    assert set(output.data) == {"text/html", "text/plain"}, "the picture is stored once"
    ((image, alt),) = build.pictures(output)
    assert unescape(alt) == output.data["text/plain"] == 'w < "2"'
    (coded,) = build.PNG.findall(image)
    small = base64.b64decode(coded)
    assert len(small) < len(whole.getvalue())
    seen = np.asarray(Image.open(io.BytesIO(small)).convert("RGB"), dtype=int)
    assert np.abs(seen - picture).max() < 16


def test_build_gives_stored_pictures_their_words_and_does_so_once(course: Path) -> None:
    path, notebook = course / "notebooks" / "00_tiny.ipynb", committed(course)
    ((image, words),) = pictures(notebook)
    (kept,) = (output for output in build.code_cells(notebook)[-1].outputs if image in str(output))
    kept.data = {"image/png": build.PNG.findall(image)[0], "text/plain": words}  # which JupyterLab shows without words
    nbformat.write(notebook, path)
    assert build.main(["check"], course) == 1
    assert build.main(["build"], course) == 0
    assert pictures(committed(course)) == [(image, words)]
    once = path.read_bytes()
    assert build.main(["build"], course) == build.main(["check"], course) == 0
    assert path.read_bytes() == once


def test_refresh_runs_at_demo_scale_and_keeps_what_a_reader_sees(refreshed: Path) -> None:
    notebook = committed(refreshed)
    shown = [build.shown(cell) for cell in build.code_cells(notebook)]
    assert "not yet done\ndemo 1\n" in shown
    assert not any("noise" in text or "IntSlider" in text for text in shown)
    ((_, alt),) = pictures(notebook)
    assert "one goes from 1 to 2" in alt
    assert f"{notebook.metadata.wdlab.minutes} minutes" in notebook.cells[0].source
    assert build.WIDGET_VIEW not in nbformat.writes(notebook)
    assert (refreshed / "build" / "solutions" / "00_tiny.ipynb").exists()
    assert build.main(["check"], refreshed) == 0


def test_build_keeps_the_outputs_of_unchanged_cells(course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = build.sources(course)[0]
    source.write_text(TINY + "\n# %%\nprint(seed_offset)\n", encoding="utf-8")
    before = [cell.outputs for cell in build.code_cells(committed(course))]
    assert build.main(["build"], course) == 0
    assert [cell.outputs for cell in build.code_cells(committed(course))] == [*before, []]
    assert build.main(["check"], course) == 1
    assert "older than its code" in capsys.readouterr().out


def add_output(notebook: NotebookNode, **output: object) -> None:
    notebook.cells[-1].outputs.append(nbformat.from_dict(output))


def print_in(text: str) -> Callable[[NotebookNode], None]:
    return lambda nb: add_output(nb, output_type="stream", name="stdout", text=text)


def picture(notebook: NotebookNode, size: int, words: str) -> None:
    show(notebook, **{"text/html": f'<img {words} src="data:image/png;base64,{"A" * size}"/>'})


def show(notebook: NotebookNode, **data: str) -> None:
    add_output(notebook, output_type="display_data", data=data, metadata={})


def two_pictures(notebook: NotebookNode) -> None:
    for size in (4, 8):
        picture(notebook, size, 'alt="A figure."')


DAMAGE: dict[str, tuple[str, Callable[[NotebookNode], object]]] = {
    "source": ("not what the source gives", lambda nb: nb.cells[-1].update(source="1 + 1")),
    "tags": ("not what the source gives", lambda nb: nb.cells[2].metadata.update(tags=[])),
    "id": ("not what the source gives", lambda nb: nb.cells[2].update(id="mine")),
    "cell lost": ("not what the source gives", lambda nb: nb.cells.pop()),
    "minutes": ("not what the source gives", lambda nb: nb.metadata.wdlab.update(minutes=9)),
    "not run": ("older than its code", lambda nb: nb.metadata.wdlab.update(executed="")),
    "widget state": ("'widgets'", lambda nb: nb.metadata.update(widgets={})),
    "papermill": ("'papermill'", lambda nb: nb.metadata.update(papermill={})),
    "timing": ("not what the source gives", lambda nb: nb.cells[2].metadata.update(execution={})),
    "live widget": (
        "live widget",
        lambda nb: add_output(nb, output_type="display_data", data={build.WIDGET_VIEW: {}}, metadata={}),
    ),
    "error": (
        "an error in its outputs: ValueError",
        lambda nb: add_output(nb, output_type="error", ename="ValueError", evalue="", traceback=[]),
    ),
    "path": ("absolute path or an address in memory: /home/me/x.py", print_in("see /home/me/x.py")),
    "windows": ("absolute path or an address", print_in(r"see C:\Users\me")),
    "address": ("in memory: at 0x7f0011223344", print_in("<object at 0x7f0011223344>")),
    "empty": ("an empty cell", lambda nb: nb.cells.append(nbformat.v4.new_code_cell("\n"))),
    "no picture": ("no picture", lambda nb: nb.cells[-1].update(outputs=[])),
    "no alt": ("a picture without alt text", lambda nb: picture(nb, 4, "")),
    "empty alt": ("a picture without alt text", lambda nb: picture(nb, 4, 'alt=""')),
    "no words": ("a picture without alt text", lambda nb: picture(nb, 4, 'alt="&lt;Figure size 640x480&gt;"')),
    "not HTML": (
        "a picture without alt text",
        lambda nb: show(nb, **{"image/png": "AAAA", "text/plain": "JupyterLab does not show these words."}),
    ),
    "constant words": ("2 different pictures with the same words: A figure.", two_pictures),
    "too big": ("1.1 MB, at most 1 MB", lambda nb: picture(nb, 1_100_000, 'alt="Big."')),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_check_finds(course: Path, capsys: pytest.CaptureFixture[str], damage: str) -> None:
    message, harm = DAMAGE[damage]
    notebook = committed(course)
    harm(notebook)
    nbformat.write(notebook, course / "notebooks" / "00_tiny.ipynb")
    assert build.main(["check"], course) == 1
    assert re.search(rf"^00_tiny\.ipynb: .*{re.escape(message)}", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize(
    "text",
    [
        "lr/lr0 and 3/4/5",
        "https://host.org/a/b",
        "</details>",
        "../src/a.py",
        "src='data:image/png;base64,/9j/4A+/b/c'",
    ],
)
def test_what_only_looks_like_an_absolute_path_passes(course: Path, text: str) -> None:
    notebook = committed(course)
    print_in(text)(notebook)
    nbformat.write(notebook, course / "notebooks" / "00_tiny.ipynb")
    assert build.main(["check"], course) == 0


def test_check_finds_missing_and_stray_notebooks(course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (course / "notebooks" / "00_tiny.ipynb").rename(course / "notebooks" / "01_other.ipynb")
    assert build.main(["check"], course) == 1
    said = capsys.readouterr().out
    assert "01_other.ipynb: has no source" in said
    assert "00_tiny.ipynb: is missing" in said


def test_an_unknown_notebook_is_refused(course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build.main(["check", "42"], course)
    assert "['42']; there are ['00_tiny']" in capsys.readouterr().err
