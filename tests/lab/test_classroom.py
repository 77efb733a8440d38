"""A class's totals: what is written, that nothing else is, that many can write, and that nothing breaks a notebook."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from wdlab.lab import Predictions, class_totals
from wdlab.lab.classroom import FIELDS, append


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "class.jsonl"
    monkeypatch.setenv("WDLAB_CLASS", str(path))
    return path


def answered(choice: str = "a", confidence: float = 0.8) -> Predictions:
    predictions = Predictions()
    predictions.ask("q", "Which?", ["a", "b"])
    predictions.ask_number("n", "How far?", 0, 10)
    predictions.ask_curve("c", "Draw.", [0, 1], 0, 10)
    predictions.commit("q", choice, confidence)
    predictions.commit("n", 2.0, 0.6, within=1.0)
    predictions.commit("c", [1, 2], 0.7)
    return predictions


def revealed(predictions: Predictions) -> Predictions:
    predictions.reveal("q", "a")
    predictions.reveal("n", 2.5)
    predictions.reveal("c", ([0, 1], [1, 9]))
    return predictions


def test_an_answer_is_a_line_with_what_it_is_and_nothing_about_who_gave_it(file: Path) -> None:
    predictions = answered()
    assert not file.exists()  # an answer that is not yet scored is nobody's business
    revealed(predictions)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [set(line) for line in lines] == [set(FIELDS)] * 3
    first, second, third = lines
    assert first == {
        "question": "Which?", "kind": "choice", "answer": "a", "confidence": 0.8, "right": 1.0,
        "score": pytest.approx(0.08), "blind": 0.5,
    }  # fmt: skip
    assert second["answer"] == 2.0 and second["right"] == 1.0
    assert third["answer"] == [1.0, 2.0] and third["right"] == 0.5


def test_an_answer_counts_once_however_often_it_is_revealed(file: Path) -> None:
    predictions = revealed(revealed(answered()))
    assert len(file.read_text().splitlines()) == 3
    assert predictions.reveal("q", "b").score == pytest.approx(1.28)


def test_without_an_answer_or_without_the_variable_nothing_is_written(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = Predictions()
    silent.ask("q", "Which?", ["a", "b"])
    silent.reveal("q", "a")
    monkeypatch.delenv("WDLAB_CLASS")
    revealed(answered())
    assert not file.exists()


def test_a_learner_is_told_that_answers_are_gathered(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = "Your teacher gathers the answers, without names."
    assert told in Predictions().ask("q", "Which?", ["a", "b"]).message.value
    monkeypatch.delenv("WDLAB_CLASS")
    assert told not in Predictions().ask("q", "Which?", ["a", "b"]).message.value


@pytest.mark.parametrize("where", ["", "missing/class.jsonl"])
def test_a_file_that_cannot_be_written_is_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setenv("WDLAB_CLASS", str(tmp_path / where))  # a folder, and a file in a folder that is not there
    predictions = answered()
    outcome = predictions.reveal("q", "a")
    assert outcome.score == pytest.approx(0.08)
    assert "This answer is not in the class's totals" in outcome.note and outcome.note in str(outcome)
    assert "cannot be written" in outcome._repr_html_()


def test_an_answer_that_could_not_be_written_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "later" / "class.jsonl"
    monkeypatch.setenv("WDLAB_CLASS", str(path))
    predictions = answered()
    assert predictions.reveal("q", "a").note
    path.parent.mkdir()
    assert not predictions.reveal("q", "a").note
    assert len(path.read_text().splitlines()) == 1


@pytest.mark.skipif(os.name == "nt", reason="fcntl is not on Windows")
def test_a_file_that_another_holds_is_a_message(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    monkeypatch.setattr("wdlab.lab.classroom.PATIENCE", 0.05)
    with file.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert "cannot be written" in answered().reveal("q", "a").note
    assert file.read_text() == ""


def test_many_writers_leave_whole_lines(tmp_path: Path) -> None:
    path, lines = tmp_path / "class.jsonl", [f"{writer} " * 2000 for writer in range(8)]
    writers = [threading.Thread(target=lambda line=line: [append(path, line) for _ in range(20)]) for line in lines]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = path.read_text().splitlines()
    assert len(found) == 160 and set(found) == set(lines)


def test_a_line_that_was_cut_off_spoils_no_other(file: Path) -> None:
    file.write_text('{"question": "Whi')
    revealed(answered())
    totals = class_totals(file)
    assert totals.skipped == 1 and totals.table["answers"].tolist() == [1, 1, 1]


def test_totals_are_a_table_and_a_picture(file: Path) -> None:
    for choice, confidence in (("a", 0.9), ("a", 0.95), ("b", 0.55), ("a", 0.55)):
        revealed(answered(choice, confidence))
    totals = class_totals(str(file))
    row = totals.table.set_index("question").loc["Which?"]
    assert (row["kind"], row["answers"], row["right"]) == ("choice", 4, 0.75)
    assert row["confidence"] == pytest.approx((0.9 + 0.95 + 0.55 + 0.55) / 4)
    assert row["score"] == pytest.approx((0.02 + 0.005 + 2 * 0.55**2 + 2 * 0.45**2) / 4)
    assert totals.table.set_index("question").loc["Draw.", "right"] == 0.5
    groups = totals.picture.data
    assert groups["answers"].sum() == 8  # curves are neither right nor wrong
    sure = groups[groups["stated"] > 0.8]
    assert (sure["answers"].tolist(), sure["right"].tolist()) == ([1, 1], [1.0, 1.0])
    assert totals.picture.png().startswith(b"\x89PNG")
    assert "12 answers to 3 questions" in repr(totals) and totals.picture.alt in repr(totals)


BAD = [
    "no json", "[]", "3", "{}", '{"question": 1}', "[" * 100_000, "\x00",
    '{"question": "?", "kind": "choice", "answer": "a", "confidence": 2, "right": 1, "score": 0, "blind": 0.5}',
    '{"question": "?", "kind": "choice", "answer": "a", "confidence": 0.5, "right": 0.5, "score": 0, "blind": 0.5}',
    '{"question": "?", "kind": "choice", "answer": "a", "confidence": 0.5, "right": 1, "score": NaN, "blind": 0.5}',
    '{"question": "?", "kind": "choice", "answer": "a", "confidence": true, "right": 1, "score": 0, "blind": 0.5}',
]  # fmt: skip


def test_what_is_no_answer_is_counted_and_left_out(file: Path) -> None:
    revealed(answered())
    with file.open("a") as handle:
        handle.write("\n".join(["", *BAD, ""]))
    totals = class_totals(file)
    assert totals.skipped == len(BAD) and totals.table["answers"].sum() == 3
    assert f"{len(BAD)} lines were no answers" in totals.words


def test_a_file_without_answers_has_empty_totals_and_a_missing_one_is_refused(file: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot be read .* give the file that WDLAB_CLASS named"):
        class_totals(file)
    file.write_text("")
    totals = class_totals(file)
    assert len(totals.table) == 0 and "No answers yet" in totals.picture.alt


def test_a_cell_shows_the_totals(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list = []
    monkeypatch.setattr("IPython.display.display", lambda *things, raw=False: shown.extend(things))
    revealed(answered())
    class_totals(file)._ipython_display_()
    words, table, picture = shown
    assert "3 answers" in words["text/plain"] and len(table) == 3 and picture.alt
