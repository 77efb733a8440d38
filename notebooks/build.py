"""Generate the course's notebooks from their text sources.

    python notebooks/build.py build   [NN ...]   write the notebooks; unchanged cells keep their outputs
    python notebooks/build.py refresh [NN ...]   run the student versions at demo scale, keep what they show
    python notebooks/build.py check   [NN ...]   compare what is committed with the sources

A source, ``notebooks/src/NN_name.py`` (jupytext's py:percent), gives two notebooks. In it a code cell tagged
``exercise`` holds a stub and the code cell right after it, tagged ``solution``, what a learner should reach.
The student version, ``notebooks/NN_name.ipynb``, keeps the stub and folds the solution away; the solution
version, ``build/solutions/NN_name.ipynb``, has the solution in place of the stub. Markdown may use
``{{badges}}`` (links to Binder and Colab) and ``{{minutes}}`` (how long the last refresh took).
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import itertools
import os
import re
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
MAX_BYTES = 1_000_000
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
ABSOLUTE_PATH = re.compile(r"(?<![\w.,/:<~+})-])(?:/[\w.-]+){2,}|\b[A-Za-z]:\\+Users\b")
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,}")
PNG = re.compile(r"(?<=data:image/png;base64,)[\w+/=]+")
IMAGE = re.compile(r"<img\b[^>]*>")
ALT = re.compile(r'\balt="(?!&lt;)([^"]+)"')  # not what Python prints of an object that has no words
KEPT_METADATA = {"tags", "jupyter"}
TRANSLATE = ("chapter08", "chapter10")
"""The words in a notebook's code by which one that translates is known ..."""
FOR_TRANSLATION = ("num2words", "sacrebleu", "portalocker", "colorama")
"""... and what that needs on Colab beside wdlab: the last two are what Colab lacks of sacrebleu's own needs."""
PLAY = ("chapter09", "chapter10")
FOR_GAMES = ("gymnasium", "farama-notifications", "minatar")
"""The same for a notebook that plays: gymnasium with the one package of its own that it brings, and MinAtar."""
TOGETHER = ("08", "09", "10")
"""The last of these tunes on the runs of the others: refreshed by one command, they share a store, and its minutes are
those it takes after them."""
PYTHON = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}


# --- where things are ---------------------------------------------------------------------------------------


def sources(root: Path, only: Sequence[str] = ()) -> list[Path]:
    """The sources, in the course's order; `only` keeps those whose names start with one of its entries."""
    found = sorted((root / "notebooks" / "src").glob("[0-9][0-9]_*.py"))
    return [source for source in found if not only or source.stem.startswith(tuple(only))]


def student_path(root: Path, source: Path) -> Path:
    """Where the student version of `source` is committed."""
    return root / "notebooks" / f"{source.stem}.ipynb"


def project(root: Path) -> dict[str, Any]:
    """The [project] table of pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


# --- what the builder writes itself -------------------------------------------------------------------------


def badges(root: Path, name: str) -> str:
    """Markdown links that open notebook `name` on Binder and on Colab."""
    repository = project(root)["urls"]["Repository"].removeprefix("https://github.com/")
    path = f"notebooks/{name}.ipynb"
    binder = f"https://mybinder.org/v2/gh/{repository}/HEAD?urlpath=lab/tree/{path}"
    colab = f"https://colab.research.google.com/github/{repository}/blob/main/{path}"
    return (
        f"[![Open in Binder](https://mybinder.org/badge_logo.svg)]({binder}) "
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab})"
    )


def colab_cell(root: Path, more: Sequence[str] = ()) -> NotebookNode:
    """The first code cell: on Colab it installs wdlab at its tag, `more`, and nothing that Colab brings itself.

    Packages come at the version of requirements.txt, where it has one.
    """
    about, pins = project(root), (root / "requirements.txt").read_text(encoding="utf-8").split()
    pinned = {pin.partition("==")[0]: pin for pin in pins}
    needed = " ".join(pinned.get(name, name) for name in ("mnist1d", *more))
    return new_code_cell(
        f"""\
# On Google Colab this installs the course's library; anywhere else it does nothing.
import sys

if "google.colab" in sys.modules:
    from importlib.metadata import distributions

    installed = {{d.version for d in distributions(name="wdlab")}}
    if installed != {{"{about["version"]}"}}:
        %pip install --quiet --no-deps {needed} git+{about["urls"]["Repository"]}@v{about["version"]}""",
        metadata={"tags": ["colab"]},
    )


# --- from a source to a notebook ----------------------------------------------------------------------------


def generate(root: Path, source: Path, facts: Mapping[str, Any] | None = None, *, solved: bool = False) -> NotebookNode:
    """The notebook of `source` without outputs: the student version, or the `solved` one.

    `facts` are known from its last run: the `minutes` it took and a hash of the code that was `executed`.
    """
    facts = dict(facts or {})
    cells = read_cells(source)
    first_code = next((i for i, cell in enumerate(cells) if cell.cell_type == "code"), len(cells))
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    translates, plays = (any(word in code for word in words) for words in (TRANSLATE, PLAY))
    more = (*(FOR_TRANSLATION if translates else ()), *(FOR_GAMES if plays else ()))
    cells.insert(first_code, colab_cell(root, more))
    cells = [c for c in cells if "exercise" not in tags(c)] if solved else [folded(c) for c in cells]
    identify(source.stem, cells)
    fill_in(cells, {"badges": badges(root, source.stem), "minutes": f"{facts.get('minutes', '?')} minutes"})
    return new_notebook(cells=cells, metadata=nbformat.from_dict(PYTHON | {"wdlab": facts}))


def read_cells(source: Path) -> list[NotebookNode]:
    """The cells of a source, each exercise followed by its solution."""
    cells: list[NotebookNode] = jupytext.read(source, fmt="py:percent").cells
    for cell in cells:  # jupytext also notes how many blank lines it saw
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k in KEPT_METADATA})
    for before, after in itertools.pairwise([new_markdown_cell(), *cells, new_markdown_cell()]):
        if ("exercise" in tags(before)) != ("solution" in tags(after)):
            text = (before.source or after.source).splitlines()[0]
            raise ValueError(f"{source.name}: an `exercise` cell needs a `solution` cell right after it: {text}")
    return cells


def tags(cell: NotebookNode) -> list[str]:
    """The tags of a cell."""
    return cell.metadata.get("tags", [])


def folded(cell: NotebookNode) -> NotebookNode:
    """A solution as text that opens on a click; any other cell as it is."""
    if "solution" not in tags(cell):
        return cell
    text = f"<details><summary>Solution</summary>\n\n```python\n{cell.source}\n```\n\n</details>"
    return new_markdown_cell(text, metadata=cell.metadata)


def identify(name: str, cells: list[NotebookNode]) -> None:
    """Give each cell an id that depends on what it says, not on where it stands."""
    seen: Counter[str] = Counter()
    for cell in cells:
        text = f"{name} {cell.cell_type} {cell.source}"
        seen[text] += 1
        cell.id = short_hash(f"{seen[text]} {text}")


def short_hash(text: str) -> str:
    """Twelve hexadecimal digits of the text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def fill_in(cells: list[NotebookNode], values: dict[str, str]) -> None:
    """Replace {{name}} in markdown by its value."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise ValueError(f"unknown placeholder {match[0]}; there are {sorted(values)}")
        return values[match[1]]

    for cell in cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\{\{(\w+)\}\}", value, cell.source)


# --- build and refresh --------------------------------------------------------------------------------------


def build(root: Path, source: Path) -> None:
    """Write both notebooks of `source`; unchanged cells of the student version keep their outputs."""
    path = student_path(root, source)
    old = nbformat.read(path, as_version=4) if path.exists() else new_notebook()
    facts = old.metadata.get("wdlab", {})
    new = generate(root, source, facts)
    carry_outputs(old, new)
    write(new, path)
    write(generate(root, source, facts, solved=True), root / "build" / "solutions" / path.name)


def carry_outputs(old: NotebookNode, new: NotebookNode) -> None:
    """Copy to the code cells of `new` the outputs of the same cells in `old`."""
    known = {cell.id: cell for cell in code_cells(old)}
    for cell in code_cells(new):
        if cell.id in known:
            cell.outputs = [slimmed(output) for output in known[cell.id].outputs]
            cell.execution_count = known[cell.id].execution_count


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a valid notebook, with the same bytes on every system."""
    nbformat.validate(notebook)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8", newline="\n")


def refresh(root: Path, source: Path, store: str) -> None:
    """Run the student version at demo scale and commit what a reader should see; runs in the cache folder `store`."""
    notebook = generate(root, source)
    seconds = execute(notebook, root / "notebooks", store)
    for cell in code_cells(notebook):
        cell.outputs = [output for output in cell.outputs if worth_showing(output)]
    facts = {"executed": code_hash(notebook), "minutes": max(0.1, round(seconds / 60, 1))}
    notebook.metadata = nbformat.from_dict({"wdlab": facts})
    write(notebook, student_path(root, source))
    build(root, source)  # once more from the source, now that the minutes are known; its pictures get smaller


def execute(notebook: NotebookNode, folder: Path, store: str) -> float:
    """Run a notebook in `folder` and return the seconds it took; an error in a cell is raised."""
    from nbclient import NotebookClient

    env = os.environ | {"WDLAB_HEADLESS": "1", "WDLAB_SCALE": "demo", "WDLAB_CACHE": store}
    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    start = time.perf_counter()
    client.execute(env=env)
    return time.perf_counter() - start


def worth_showing(output: NotebookNode) -> bool:
    """Take the live widget out of an output; say whether a reader without a kernel still sees something."""
    if output.output_type == "stream":
        return output.name != "stderr"
    data = output.get("data", {})
    was_widget = data.pop(WIDGET_VIEW, None)
    return not was_widget or bool(data.keys() - {"text/plain"})


def slimmed(output: NotebookNode) -> NotebookNode:
    """The output with its pictures small, and only once: as HTML with their words, for JupyterLab gives a PNG none.

    What shows notebooks without a kernel prefers HTML, too; where it takes the picture out, the words are left.
    """
    data = output.get("data", {})
    if picture := data.pop("image/png", None):
        from wdlab.figures.drawn import image_html

        data["text/html"] = image_html(picture, data.get("text/plain", ""))
    if html := data.get("text/html"):
        data["text/html"] = PNG.sub(lambda found: in_few_colours(found[0]), html)
    return output


def in_few_colours(picture: str) -> str:
    """A PNG in 256 colours, which looks the same and takes about half the room; one that has no more as it is."""
    image = Image.open(io.BytesIO(base64.b64decode(picture)))
    if image.mode == "P":
        return picture
    small = io.BytesIO()
    image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return min(base64.b64encode(small.getvalue()).decode(), picture, key=len)


def pictures(output: NotebookNode) -> Iterator[tuple[str, str]]:
    """Each picture in an output, and its alt text: nothing where a reader is given none."""
    data = output.get("data", {})
    yield from ((str(data[kind]), "") for kind in data if kind.startswith("image/"))
    for image in IMAGE.findall(data.get("text/html", "")):
        alt = ALT.search(image)
        yield image, alt[1] if alt else ""


# --- check --------------------------------------------------------------------------------------------------


def check(root: Path, source: Path) -> list[str]:
    """What is wrong with the committed student version of `source`: one line each."""
    path = student_path(root, source)
    if not path.exists():
        return [f"{path.name}: is missing, run `make notebooks`"]
    notebook = nbformat.read(path, as_version=4)
    found = [*differences(root, source, notebook), *blemishes(notebook)]
    if (size := path.stat().st_size) > MAX_BYTES:
        found.append(f"{size / 1e6:.1f} MB, at most {MAX_BYTES / 1e6:g} MB: show less or draw smaller")
    return [f"{path.name}: {problem}" for problem in found]


def differences(root: Path, source: Path, notebook: NotebookNode) -> Iterator[str]:
    """Where a notebook is not what its source gives."""
    facts = notebook.metadata.get("wdlab", {})
    expected = generate(root, source, facts)
    if notebook.metadata != expected.metadata:
        yield f"its metadata are {sorted(notebook.metadata)}, not {sorted(expected.metadata)} as generated"
    for number, (got, want) in enumerate(itertools.zip_longest(notebook.cells, expected.cells), start=1):
        if inputs(got) != inputs(want):
            yield f"cell {number} is not what the source gives: {first_line(want or got)}"
            return
    if facts.get("executed") != code_hash(expected):
        yield "its outputs are older than its code: run `make notebooks`"


def inputs(cell: NotebookNode | None) -> Any:
    """What a cell says, without what it showed when it ran."""
    return cell and {key: cell[key] for key in ("cell_type", "id", "metadata", "source")}


def first_line(cell: NotebookNode) -> str:
    """The start of a cell, to find it by."""
    return repr(cell.source.partition("\n")[0][:70])


def blemishes(notebook: NotebookNode) -> Iterator[str]:
    """What no committed notebook may hold, or lack."""
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        yield f"not a valid notebook: {error.message}"
    if (notebook.nbformat, notebook.nbformat_minor) != (4, 5):
        yield f"notebook format {notebook.nbformat}.{notebook.nbformat_minor}, not 4.5"
    if not all(cell.source.strip() for cell in notebook.cells):
        yield "an empty cell"
    outputs = [(cell, output) for cell in code_cells(notebook) for output in cell.outputs]
    for cell, output in outputs:
        if output.output_type == "error":
            yield f"an error in its outputs: {output.ename} in {first_line(cell)}"
        if WIDGET_VIEW in output.get("data", {}):
            yield f"a live widget in its outputs: {first_line(cell)}"
    for text in texts(notebook):
        for match in itertools.chain(ABSOLUTE_PATH.finditer(text), ADDRESS.finditer(text)):
            yield f"an absolute path or an address in memory: {match[0]}"
    told = dict(itertools.chain.from_iterable(pictures(output) for _, output in outputs))
    if not told:
        yield "no picture in its outputs"
    if not all(told.values()):
        yield "a picture without alt text in its outputs"
    for words, count in Counter(filter(None, told.values())).items():
        if count > 1:
            yield f"{count} different pictures with the same words: {words}"


def texts(notebook: NotebookNode) -> Iterator[str]:
    """Everything in a notebook that a person can read."""
    for cell in notebook.cells:
        yield cell.source
        yield shown(cell)


def shown(cell: NotebookNode) -> str:
    """What a cell showed when it ran, without its pictures."""
    lines = []
    for output in cell.get("outputs", []):
        lines += [output.get("text", ""), *output.get("traceback", [])]
        data = output.get("data", {})
        lines += [PNG.sub("", str(data[kind])) for kind in data if not kind.startswith("image/")]
    return "\n".join(lines)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells of a notebook."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def code_hash(notebook: NotebookNode) -> str:
    """Changes with any code cell, their order included."""
    return short_hash(" ".join(cell.id for cell in code_cells(notebook)))


def strays(root: Path) -> list[str]:
    """A line for each committed notebook without a source."""
    known = {student_path(root, source) for source in sources(root)}
    return [f"{p.name}: has no source" for p in sorted((root / "notebooks").glob("*.ipynb")) if p not in known]


# --- the command --------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run one of the three commands and return its exit status."""
    parser = argparse.ArgumentParser(description="Generate the notebooks of the course from their sources.")
    parser.add_argument("command", choices=["build", "refresh", "check"])
    parser.add_argument("only", nargs="*", metavar="NN", help="numbers or names of notebooks; all by default")
    chosen = parser.parse_args(arguments)
    found = sources(root, chosen.only)
    if not found:
        parser.error(f"no source starts with {chosen.only}; there are {[s.stem for s in sources(root)]}")
    with tempfile.TemporaryDirectory() as shared:
        for source in found if chosen.command != "check" else ():
            print(f"{source.stem}: {chosen.command}", flush=True)
            with tempfile.TemporaryDirectory() as empty:
                store = shared if source.stem.startswith(TOGETHER) else empty
                build(root, source) if chosen.command == "build" else refresh(root, source, store)
    problems = [*strays(root), *(problem for source in found for problem in check(root, source))]
    print("\n".join(problems) or "the notebooks are what their sources give")
    return 1 if problems and chosen.command != "build" else 0


if __name__ == "__main__":
    sys.exit(main())
