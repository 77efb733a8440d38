"""The runs of a Lab as a table: to look at, to sort, to take along as CSV."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import pandas as pd

from wdlab.lab.controls import alarm, button, line, row, stack, weakly
from wdlab.lab.trial import Trial
from wdlab.tasks import DQN, Vision

RESULTS = ("test_error", "train_loss", "weight_norm", "effective_lr")
ALWAYS = ("run", "timing", "weight_decay", "lr", "steps", *RESULTS)
"""Columns that are shown in any case; the others where they differ between runs."""
NUMBERS = {
    "test_error": "{:.1%}",
    "train_loss": "{:.3f}",
    "weight_norm": "{:.1f}",
    "effective_lr": "{:.1e}",
    "mean_return": "{:.0f}",
}
NAMES = {"weight_decay": "λ", "test_error_sd": "sd of error", "effective_lr": "effective lr"}
FILE = "wdlab-runs.csv"


def table(trials: Sequence[Trial]) -> pd.DataFrame:
    """Return one row a run: its dials, what was done to it by hand, how far it is, and what it measured last.

    test_error, train_loss, weight_norm and effective_lr are means over `seeds` seeds from `seed` on, `test_error_sd`
    the standard deviation of the first, `mean_return` what it means in points of a game; `start` and `stop` are the
    ends of the timing as shares of the run; `diverged_at` and `broken_at` are the first steps at which a seed diverged
    or its game raised. What a task has not got is left empty.
    """
    rows = pd.DataFrame([_row(trial) for trial in trials], columns=COLUMNS)
    return rows.astype({"train_size": "Int64", "mean_return": float})


def _row(trial: Trial) -> dict[str, object]:
    dials, task = trial.dials, trial.run.task
    said = {"run": trial.number, "task": task.name, "optimizer": dials.optimizer, "timing": dials.timing}
    said |= {"start": dials.ends[0], "stop": dials.ends[1], "coupling": dials.coupling}
    said |= {"weight_decay": dials.weight_decay, "lr": dials.lr, "schedule": dials.schedule}
    said |= {"train_size": task.settings().get("train_size")}
    if isinstance(task, Vision):
        said |= {"label_noise": task.label_noise, "augment": bool(task.augment)}
    said |= {"seed": dials.seed, "seeds": dials.seeds, "by_hand": trial.told, "steps": (0, *trial.steps)[-1]}
    errors = [history.curves["test_error"][-1] for history in trial.histories]
    said |= {name: trial.last(name) for name in RESULTS}
    if isinstance(task, DQN):
        said |= {"mean_return": task.points(1 - trial.last("test_error"))}
    ends = {"diverged_at": min(trial.diverged, default=None), "broken_at": min(trial.broken, default=None)}
    return said | {"test_error_sd": pd.Series(errors, dtype=float).std(), **ends}


COLUMNS = [
    "run", "task", "optimizer", "timing", "start", "stop", "coupling", "weight_decay", "lr", "schedule", "label_noise",
    "train_size", "augment", "seed", "seeds", "by_hand", "steps", "mean_return", *RESULTS,
    "test_error_sd", "diverged_at", "broken_at",
]  # fmt: skip


def seen(rows: pd.DataFrame) -> list[str]:
    """Return the columns that a table on the screen needs."""
    differs = [name for name in rows.columns if rows[name].nunique(dropna=False) > 1]
    wanted, played = {*ALWAYS, *differs}, rows["mean_return"].notna()
    if played.any():
        wanted |= {"mean_return"}
    if len(rows) and played.all():  # a return says the same in points
        wanted -= {"test_error", "test_error_sd"}
    return [name for name in rows.columns if name in wanted]


def spoken(name: str) -> str:
    """Return how a column is called on the screen."""
    return NAMES.get(name, name.replace("_", " "))


def to_html(rows: pd.DataFrame, by: str = "run", down: bool = False) -> str:
    """Return the rows, sorted, as a table that a screen reader can walk through."""
    cell = 'style="padding:2px 6px; text-align:left; white-space:nowrap; border-bottom:1px solid rgba(128,128,128,.4)"'
    order = {by: "descending" if down else "ascending"}
    head = "".join(
        f'<th scope="col" aria-sort="{order.get(name, "none")}" {cell}>{escape(spoken(name))}'
        f"{' ▾' if down and name == by else ' ▴' if name == by else ''}</th>"
        for name in seen(rows)
    )
    body = "".join(
        "<tr>" + "".join(f"<td {cell}>{escape(_say(name, record[name]))}</td>" for name in seen(rows)) + "</tr>"
        for record in rows.sort_values(by, ascending=not down, kind="stable").to_dict("records")
    )
    style = "border-collapse:collapse; line-height:1.4; font-variant-numeric:tabular-nums"
    return f'<table style="{style}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _say(name: str, value: Any) -> str:
    if pd.isna(value):
        return "–"
    return NUMBERS.get(name, "{:.3g}" if isinstance(value, float) else "{}").format(value)


def to_link(rows: pd.DataFrame) -> str:
    """Return HTML that downloads the rows as CSV in any browser, from the page itself."""
    data = base64.b64encode(rows.to_csv(index=False).encode()).decode("ascii")
    return (
        f'<a download="{FILE}" href="data:text/csv;base64,{data}" style="text-decoration:underline">Download {FILE}</a>'
    )


def free_path(folder: Path) -> Path:
    """Return where a new file can be written: never over one that is there."""
    path, number = folder / FILE, 2
    while path.exists():
        path, number = folder / f"{Path(FILE).stem}-{number}.csv", number + 1
    return path


class Table:
    """The table as widgets: what to sort by, which way, the rows, and two ways to take them along."""

    def __init__(self, clear_button: Any) -> None:
        self._rows = table([])
        self.by = widgets.Dropdown(
            options=[("run", "run")], value="run", description="Sort by", style={"description_width": "initial"},
            layout=widgets.Layout(width="auto"),
        )  # fmt: skip
        self.down = widgets.Checkbox(value=False, description="largest first", indent=False)
        self.down.layout.width = "auto"
        self.save_button = button("Save CSV", icon="save", tooltip="write the table beside the notebook")
        self.html, self.link, self.told = widgets.HTML(), widgets.HTML(), widgets.HTML()
        tools = row(
            [self.by, self.down, self.save_button, clear_button, self.link],
            align_items="center", grid_gap="2px 8px",
        )  # fmt: skip
        self.box = stack([tools, self.told, stack([self.html], overflow="auto")], min_width="0")
        for control in (self.by, self.down):
            control.observe(weakly(self._on_sort), "value")
        self.save_button.on_click(weakly(self._on_save))

    def show(self, rows: pd.DataFrame) -> None:
        """Show `rows`, sorted as before."""
        self._rows = rows
        options = tuple((spoken(name), name) for name in seen(rows))
        if self.by.options != options:
            kept = self.by.value if self.by.value in dict(options).values() else "run"
            self.by.options = options
            self.by.value = kept
        self._draw()

    def _draw(self) -> None:
        self.html.value = to_html(self._rows, self.by.value or "run", self.down.value)
        self.link.value = to_link(self._rows) if len(self._rows) else ""

    def _on_sort(self, _: object) -> None:
        self._draw()

    def _on_save(self, _: object) -> None:
        try:
            path = free_path(Path.cwd())
            self._rows.to_csv(path, index=False)
        except OSError as error:
            self.told.value = alarm(f"The table could not be written here ({error}). The link downloads it.")
        else:
            self.told.value = line(f"Written: {path.name}, in the folder of the notebook.", role="status")
