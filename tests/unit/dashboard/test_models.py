"""What an address asks for."""

from __future__ import annotations

import datetime

import pytest

from ordain.dashboard.models import Choice, RunLine, State, Verdict

PROJECTS = ("flights", "churn")


def test_an_address_is_read_and_written_again():
    query = {"project": "churn", "state": "failed", "verdict": "none", "from": "2026-01-02"}
    choice = Choice.read({**query, "to": "2026-02-03", "page": "7"}, PROJECTS)
    assert choice == Choice(
        "churn", "failed", "none", datetime.date(2026, 1, 2), datetime.date(2026, 2, 3), 7
    )
    assert choice.address(8) == (
        "?project=churn&state=failed&verdict=none&from=2026-01-02&to=2026-02-03&page=8"
    )
    assert Choice().address(1) == "?"
    assert not Choice().is_filtered


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"project": "other"}, "there is no project 'other'"),
        ({"state": "<script>"}, "there is no state '<script>'"),
        ({"verdict": "x" * 5000}, f"there is no verdict '{'x' * 40}'"),
        ({"from": "2026-13-01"}, "from: '2026-13-01' is not a day such as 2026-11-21"),
        ({"to": "today"}, "to: 'today' is not a day such as 2026-11-21"),
        ({"page": "0"}, "there is no page '0'"),
        ({"page": "-1"}, "there is no page '-1'"),
        ({"page": "²"}, "there is no page '²'"),
        ({"page": "9" * 5000}, f"there is no page '{'9' * 40}'"),
    ],
)
def test_what_is_no_choice_is_left_out_and_said(query, said):
    choice = Choice.read(query, PROJECTS)
    assert choice.problems == (said,)
    assert not choice.is_filtered
    assert choice.page == 1


def test_days_are_those_of_utc_and_both_ends_count():
    choice = Choice(since=datetime.date(2026, 1, 2), until=datetime.date(2026, 1, 2))

    def at(day: int, hour: int) -> datetime.datetime:
        return datetime.datetime(2026, 1, day, hour, tzinfo=datetime.UTC)

    covered = [choice.covers_day(at(*m)) for m in ((1, 23), (2, 0), (2, 23), (3, 0))]
    assert covered == [False, True, True, False]


@pytest.mark.parametrize(
    ("state", "verdict", "badge"),
    [
        (State.RUNNING, Verdict.NONE, "running"),
        (State.FAILED, Verdict.NONE, "failed"),
        (State.ENDED, Verdict.PUSHED, "passed"),
        (State.ENDED, Verdict.DATA_BLOCKED, "blocked"),
        (State.REMOVED, Verdict.NOT_BLESSED, "blocked"),
        (State.ENDED, Verdict.UNCHANGED, "neutral"),
    ],
)
def test_badges(state, verdict, badge):
    began = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    assert RunLine("p", "r", began, state, verdict, "").badge == badge
