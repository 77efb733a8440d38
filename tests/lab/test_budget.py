"""The Budget under an Explorer: turned by slider and by code, it says what so many trials buy."""

from __future__ import annotations

import pytest

from tests.test_tuning import two_seeds
from wdlab.lab import Budget, Explorer
from wdlab.tuning import search


@pytest.fixture(scope="module")
def searches() -> dict:
    other = two_seeds().assign(score=lambda runs: runs["score"] / 2)
    return {"vision": search(two_seeds(), range(1, 13)), "speech": search(other, range(1, 13))}


@pytest.fixture
def widget(searches: dict) -> Explorer:
    return Explorer(Budget(searches))


def test_the_slider_redraws_and_says_what_the_budget_buys(widget: Explorer, searches: dict) -> None:
    before = widget.image.value
    widget.dials["trials"].value = 3
    assert widget.setting.trials == 3 and widget.image.value != before
    part = searches["vision"].query("trials == 3 and coupling == 'l2'")["best"]
    assert f"l2 {part.mean():.3f} (" in widget.told and widget.told.startswith("3 trials:")
    widget.turn(trials=1)
    assert widget.told.startswith("1 trial:") and widget.dials["trials"].value == 1


def test_the_task_changes_the_scores(widget: Explorer) -> None:
    before = widget.told
    widget.dials["task"].value = "speech"
    assert widget.setting.task == "speech" and widget.alt.startswith("speech") and widget.told != before


def test_the_trials_needed_are_the_first_that_reach_the_mean_level(widget: Explorer, searches: dict) -> None:
    table = searches["vision"]
    level = table["level"].mean()
    for coupling, part in table.groupby("coupling"):
        means = part.groupby("trials")["best"].mean()
        enough = means.index[means >= level]
        assert f"{coupling} {enough.min() if len(enough) else 'more than 12'}" in widget.told.partition("needed")[2]
    assert f"{level:.3f}" in widget.told


@pytest.mark.parametrize(
    ("dials", "told"), [({"trials": 0}, "trials=0"), ({"trials": 13}, "trials=13"), ({"task": "chess"}, "task='chess'"),
                        ({"couplings": 1}, "dial='couplings'")],
)  # fmt: skip
def test_what_is_not_allowed_is_said(widget: Explorer, dials: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        widget.turn(**dials)
    assert 'role="alert"' in widget.status.value


def test_tables_that_lack_budgets_are_refused(searches: dict) -> None:
    with pytest.raises(ValueError, match="lacks budgets"):
        Budget({"vision": search(two_seeds(), [1, 3])})
    with pytest.raises(ValueError, match="searches="):
        Budget({})
