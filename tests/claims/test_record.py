"""Verdicts on record: what is put there comes back whole, says what has changed since, and could be reached again."""

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from wdlab import claims
from wdlab.claims import CHAPTERS, CLAIMS, Claim, Level, Verdict, of_chapter, record, recorded
from wdlab.claims.claim import _outcome
from wdlab.cli import main

ON_RECORD = record.read(list(CLAIMS.values()))


def claim(name: str = "good", values: tuple[float, ...] = (0.3, 0.31, 0.32), statement: str = "It is.") -> Claim:
    levels = {scale: Level(len(values), 0.1) for scale in claims.SCALES}
    return Claim(name, statement, "ours", "points", lambda s: values, "nothing", lambda s: [0.0, 0.01, -0.01], levels)


def test_a_verdict_comes_back_as_it_was_put(tmp_path) -> None:
    path, verdict = tmp_path / "record.json", claim().check(seed_offset=7)
    record.put(verdict, "2026-01-02", path)
    (trial,) = record.read([claim()], path).trials
    assert trial == record.Trial(verdict, "2026-01-02", "")


def test_a_number_that_is_none_comes_back_as_nan(tmp_path) -> None:
    path, broken = tmp_path / "record.json", claim(values=(0.3, math.nan, 0.32))
    record.put(broken.check(), "2026-01-02", path)
    assert "NaN" not in path.read_text()
    (verdict,) = record.read([broken], path).verdicts
    told = record.read([broken], path)._repr_html_()
    assert "undefined (no number for 1 of 3 seeds) points" in told and "nan" not in told
    assert math.isnan(verdict.values[1]) and math.isnan(verdict.low) and verdict.verdict == "inconclusive"


def test_a_later_trial_takes_the_place_of_the_earlier_one(tmp_path) -> None:
    path, other = tmp_path / "record.json", claim("other")
    for name, date in ((claim(), "2026-01-01"), (other, "2026-01-02"), (claim(values=(0.0, 0.1, 0.2)), "2026-01-03")):
        record.put(name.check(), date, path)
    found = record.read([other, claim(), claim("third")], path)
    assert [trial.date for trial in found.trials] == ["2026-01-02", "2026-01-03"] and found.missing == ("third",)
    assert found.verdicts[1].effect == pytest.approx(0.1)


def test_what_came_out_before_stays_beside_what_came_out_last(tmp_path) -> None:
    path, twice = tmp_path / "record.json", claim(values=(0.0, 0.1, 0.2))
    for one, date in ((claim(), "2026-01-01"), (twice, "2026-01-02"), (twice, "2026-01-03")):
        record.put(one.check(seed_offset=1000), date, path)
    (trial,) = record.read([twice], path).trials
    assert trial.before == (("2026-01-01", "supported", "vanishes"), ("2026-01-02", "inconclusive", "vanishes"))
    told = record.read([twice], path)._repr_html_()
    assert "2026-01-01: <b>supported</b>, control vanishes; 2026-01-02: the same verdicts" in told
    kept = path.read_text()
    others = (replace(twice, statement="It was."), 1000, "demo"), (twice, 2000, "demo"), (twice, 1000, "gpu")
    for other, first, scale in others:
        path.write_text(kept)
        record.put(other.check(scale, seed_offset=first), "2026-01-04", path)
        assert json.loads(path.read_text())["good"]["before"] == [], "another claim, other seeds or another scale"


def test_it_says_what_has_changed_since(tmp_path, monkeypatch) -> None:
    path = tmp_path / "record.json"
    record.put(claim().check(), "2026-01-02", path)
    one = claim()
    moved_bar = replace(one, levels={scale: Level(3, 0.2) for scale in claims.SCALES})
    for changed in (replace(one, statement="It was."), replace(one, control_says="something"), moved_bar):
        assert record.read([changed], path).trials[0].since == "the claim has changed"
    for digest in ("source_digest", "judges_digest"):
        with monkeypatch.context() as patch:
            patch.setattr(record, digest, lambda: "other")
            assert record.read([one], path).trials[0].since == "the code has changed"
            assert "the code has changed" in record.read([one], path)._repr_html_()


def test_what_judges_is_the_claims_and_not_their_record(tmp_path, monkeypatch) -> None:
    package = Path(record.__file__).parents[1]
    (tmp_path / "claims").mkdir()
    for name in ("claims/chapter04.py", "claims/record.py", "claims/__init__.py", "stats.py", "optim.py"):
        shutil.copy(package / name, tmp_path / name)
    monkeypatch.setattr(record, "__file__", str(tmp_path / "claims" / "record.py"))
    found = {"nothing": record.judges_digest.__wrapped__()}
    for changed in ("claims/record.py", "claims/__init__.py", "claims/chapter04.py", "stats.py", "optim.py"):
        with (tmp_path / changed).open("a") as file:
            file.write("    # a comment\n")
        if changed not in ("claims/record.py", "claims/__init__.py"):
            assert record.judges_digest.__wrapped__() in found.values(), "comments do not count"
        (tmp_path / changed).write_text("another = 1\n")
        found[changed] = record.judges_digest.__wrapped__()
    assert found["nothing"] == found["claims/record.py"] == found["claims/__init__.py"]
    assert len(set(found.values())) == 4


@pytest.mark.parametrize(
    ("changed", "offset", "allowed"),
    [("nothing", 1000, False), ("nothing", 2000, False), ("code", 1000, True), ("code", 2000, False),
     ("claim", 1000, False), ("claim", 1002, False), ("claim", 1003, True)],
)  # fmt: skip
def test_nobody_throws_the_dice_twice(tmp_path, monkeypatch, changed: str, offset: int, allowed: bool) -> None:
    path, one = tmp_path / "record.json", claim()
    record.put(one.check(seed_offset=1000), "2026-01-02", path)
    if changed == "code":
        monkeypatch.setattr(record, "judges_digest", lambda: "other")
    one = replace(one, statement="It was.") if changed == "claim" else one
    if allowed:
        return record.refuse_another_try([one, claim("new")], offset, path)
    with pytest.raises(ValueError, match=f"seed_offset={offset} is not allowed: good is on record"):
        record.refuse_another_try([one], offset, path)


def test_it_shows_effect_control_seeds_day_and_what_is_missing(tmp_path) -> None:
    path = tmp_path / "record.json"
    record.put(claim(statement="Is 1 < 2?").check(seed_offset=5), "2026-01-02", path)
    shown = record.read([claim(statement="Is 1 < 2?"), claim("third")], path)
    html = shown._repr_html_()
    for told in (
        "+0.31 (+0.285 to +0.335)",
        "Is 1 &lt; 2?",
        "5 to 7",
        "2026-01-02",
        "vanishes",
        "Not on record: third.",
    ):
        assert told in html
    assert repr(shown).splitlines() == [shown.verdicts[0].line, "Not on record: third."]
    assert len(re.findall("<th ", html)) == len(re.findall("<td ", html)) == len(record.HEADS)


@pytest.mark.parametrize("text", ["[", "[1]", '{"good": 3}', '{"good": {}}'])
def test_a_file_that_is_no_record_is_a_clear_error(tmp_path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"record\.json' is no record of verdicts"):
        record.read([claim()], path)


def test_without_a_file_everything_is_missing(tmp_path) -> None:
    assert record.read([claim()], tmp_path / "none.json") == record.Record((), ("good",))


def test_recorded_keeps_the_order_of_a_chapter_and_takes_its_ids_only() -> None:
    every = [claim.id for chapter in CHAPTERS for claim in of_chapter(chapter.__name__[-2:])]
    assert every == list(CLAIMS)
    named = recorded("04", "steps-turn-further", "norm-stays-small-signals")
    asked = [verdict.id for verdict in named.verdicts] + list(named.missing)
    assert sorted(asked) == ["norm-stays-small-signals", "steps-turn-further"]
    with pytest.raises(ValueError, match="chapter='4'"):
        recorded("4")
    with pytest.raises(ValueError, match="ids='early-beats-never'"):
        recorded("04", "early-beats-never")


def test_the_command_line_puts_on_record_what_it_tries(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(claims, "CLAIMS", {"good": claim()})
    monkeypatch.setattr(record, "RECORD", tmp_path / "record.json")
    assert main(["reproduce", "--seed-offset", "3"]) == 0
    assert not record.RECORD.exists()
    assert main(["reproduce", "--seed-offset", "3", "--record"]) == 2
    assert "seed_offset=3" in capsys.readouterr().err and not record.RECORD.exists()
    assert main(["reproduce", "--seed-offset", "1003", "--record"]) == 0
    (trial,) = record.read([claim()], record.RECORD).trials
    assert main(["reproduce", "--seed-offset", "1010", "--record"]) == 2
    assert "good is on record, tried from seed 1003 on" in capsys.readouterr().err
    assert trial.verdict.seeds == (1003, 1004, 1005) and re.fullmatch(r"\d{4}-\d\d-\d\d", trial.date)


def test_the_command_line_tries_a_chapter(monkeypatch, capsys) -> None:
    tried, verdict = [], claim().check()
    monkeypatch.setattr(Claim, "check", lambda self, *_: tried.append(self.id) or verdict)
    main(["reproduce", "--chapter", "04", "--only", "angle-knows-the-scale"])
    assert tried == [*(one.id for one in of_chapter("04")), "angle-knows-the-scale"]
    assert main(["reproduce", "--chapter", "4"]) == 2 and "chapter='4'" in capsys.readouterr().err


# The committed record


@pytest.mark.parametrize("verdict", ON_RECORD.verdicts, ids=lambda verdict: verdict.id)
def test_what_is_on_record_follows_from_its_values_on_seeds_nobody_had_seen(verdict: Verdict) -> None:
    for found, values in ((verdict, verdict.values), (verdict.control_outcome, verdict.control_outcome.values)):
        again = _outcome(values, verdict.smallest)
        assert (found.effect, found.low, found.high) == pytest.approx(
            (again.effect, again.low, again.high), nan_ok=True
        )
        assert found.verdict == again.verdict
    assert verdict.holds == (verdict.verdict == "supported" and verdict.control_outcome.verdict != "supported")
    first, *_, last = verdict.seeds
    assert verdict.seeds == tuple(range(first, last + 1)) and record.UNSEEN.start <= first < last < record.UNSEEN.stop
    assert len(verdict.seeds) == CLAIMS[verdict.id].levels[verdict.scale].seeds


def test_every_claim_is_on_record_and_no_other() -> None:
    assert set(json.loads(record.RECORD.read_text())) == set(CLAIMS)


SOURCES = Path(__file__).parents[2] / "notebooks" / "src"
SHOWN = sorted(
    {chapter for path in SOURCES.glob("*.py") for chapter in re.findall(r'recorded\("(\d\d)"', path.read_text())}
)


@pytest.mark.parametrize("chapter", SHOWN)
def test_a_notebook_that_shows_a_chapter_s_record_shows_all_of_it(chapter: str) -> None:
    assert recorded(chapter).missing == ()
