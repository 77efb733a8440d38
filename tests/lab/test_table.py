"""The table of runs: numbers, sorting, CSV."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import pandas as pd
import pytest

from wdlab.lab.table import COLUMNS, FILE, free_path, seen, to_html

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def lab(make):
    made = make(steps=8)
    for timing, lr in (("never", 0.1), ("always", 0.05), ("early", 0.2)):
        made.run(timing=timing, lr=lr)
    return made


def column(lab, name: str = "run") -> list[str]:
    """A column of the table on the screen, top to bottom."""
    html = lab.desk.table.html.value
    heads = [re.sub(r" [▾▴]", "", head) for head in re.findall(r"<th[^>]*>([^<]*)</th>", html)]
    rows = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", html)[1:]]
    return [row[heads.index(name)] for row in rows]


def test_a_row_holds_the_dials_and_what_was_measured_last(lab) -> None:
    rows = lab.table
    assert list(rows.columns) == COLUMNS and list(rows["run"]) == [1, 2, 3]
    assert list(rows["timing"]) == ["never", "always", "early"] and list(rows["lr"]) == [0.1, 0.05, 0.2]
    assert list(zip(rows["start"], rows["stop"], strict=True)) == [(0, 0), (0, 1), (0, 0.25)]
    for name in ("test_error", "weight_norm", "train_loss", "effective_lr"):
        assert list(rows[name]) == [history.curves[name][-1] for history in lab.histories]
    assert set(rows["steps"]) == {8} and set(rows["by_hand"]) == {""} and rows["diverged_at"].isna().all()


def test_seeds_share_a_row_of_means(make) -> None:
    lab = make(steps=8)
    lab.run(seeds=3, seed=5)
    errors = pd.Series([history.curves["test_error"][-1] for history in lab.histories])
    (row,) = lab.table.to_dict("records")
    assert (row["seed"], row["seeds"]) == (5, 3)
    assert row["test_error"] == pytest.approx(errors.mean()) and row["test_error_sd"] == pytest.approx(errors.std())


def test_what_was_done_by_hand_and_what_diverged_is_told(make) -> None:
    lab = make(steps=8)
    lab.run(until=0.5)
    lab.fork(timing="never")
    lab.resume()
    lab.run(lr=1e30)
    assert list(lab.table["by_hand"]) == ["", "forked at 50%", ""]
    assert lab.table["diverged_at"].notna().tolist() == [False, False, lab.histories[-1].diverged_at is not None]


@pytest.mark.parametrize("name", ["run", "timing", "lr", "test_error", "weight_norm", "effective_lr", "train_loss"])
@pytest.mark.parametrize("down", [False, True])
def test_any_column_sorts(lab, name: str, down: bool) -> None:
    lab.desk.table.by.value, lab.desk.table.down.value = name, down
    expected = lab.table.sort_values(name, ascending=not down, kind="stable")["run"]
    assert column(lab) == [str(number) for number in expected]
    assert re.findall(r'aria-sort="(\w+)"', lab.desk.table.html.value).count("none") == len(seen(lab.table)) - 1
    lab.run(timing="late")
    assert lab.desk.table.by.value == name and len(column(lab)) == 4, "it stays sorted when a run is added"


def test_the_screen_shows_what_differs_and_the_file_everything(lab) -> None:
    assert "optimizer" not in seen(lab.table) and "coupling" not in seen(lab.table)
    lab.run(optimizer="adam", coupling="decoupled")
    assert {"optimizer", "coupling"} <= set(seen(lab.table))
    assert {value for _, value in lab.desk.table.by.options} == set(seen(lab.table))
    assert column(lab, "coupling") == ["l2", "l2", "l2", "decoupled"]


NUMBERS = ["run", "start", "stop", "weight_decay", "lr", "seed", "steps", "test_error", "weight_norm", "effective_lr"]


def test_csv_holds_the_same_numbers(lab, tmp_path: Path) -> None:
    lab.to_csv(tmp_path / "runs.csv")
    written = (tmp_path / "runs.csv").read_text(encoding="utf-8")
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(written))[NUMBERS], lab.table[NUMBERS])
    encoded = re.search(r'href="data:text/csv;base64,([^"]+)"', lab.desk.table.link.value)
    assert encoded is not None and base64.b64decode(encoded[1]).decode() == written.replace("\r\n", "\n")
    assert f'download="{FILE}"' in lab.desk.table.link.value


def test_the_button_writes_beside_the_notebook_and_over_nothing(lab, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    lab.desk.table.save_button.click()
    lab.desk.table.save_button.click()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wdlab-runs-2.csv", "wdlab-runs.csv"]
    assert "Written: wdlab-runs-2.csv" in lab.desk.table.told.value
    assert len(pd.read_csv(tmp_path / FILE)) == 3 and free_path(tmp_path).name == "wdlab-runs-3.csv"


def test_a_folder_that_cannot_be_written_is_said(lab, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("read-only <folder>")

    monkeypatch.setattr(pd.DataFrame, "to_csv", refuse)
    lab.desk.table.save_button.click()
    assert "could not be written" in lab.desk.table.told.value and "&lt;folder&gt;" in lab.desk.table.told.value


def test_all_runs_stay_in_the_table_until_cleared(make) -> None:
    lab = make(steps=1)
    for _ in range(9):
        lab.run()
    assert len(lab.table) == 9 and len(lab.histories) == 7
    lab.desk.clear.click()
    assert len(lab.table) == 0 and column(lab) == [] and lab.desk.table.link.value == ""


def test_an_empty_or_hostile_table_is_harmless() -> None:
    assert "<td" not in to_html(pd.DataFrame([], columns=COLUMNS))
    row = dict.fromkeys(COLUMNS, 0.0) | {"run": 1, "timing": "<img onerror=x>"}
    assert "<img" not in to_html(pd.DataFrame([row], columns=COLUMNS))
