"""Filters of runs from URL queries."""

from __future__ import annotations

import datetime

import pytest

from ordain.dashboard.models import RunFilter, RunLine, State, Verdict

PROJECTS = ("flights", "churn")


def test_an_address_is_read_and_written_again():
    query = {"project": "churn", "state": "failed", "verdict": "none", "from": "2026-01-02"}
    choice = RunFilter.read({**query, "to": "2026-02-03", "page": "7"}, PROJECTS)
    assert choice == RunFilter(
        "churn", "failed", "none", datetime.date(2026, 1, 2), datetime.date(2026, 2, 3), 7
    )
    assert choice.address(8) == (
        "?project=churn&state=failed&verdict=none&from=2026-01-02&to=2026-02-03&page=8"
    )
    assert RunFilter().address(1) == "?"
    assert not RunFilter().is_filtered


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"project": "other"}, "unknown project 'other'"),
        ({"state": "<script>"}, "unknown state '<script>'"),
        ({"verdict": "x" * 5000}, f"unknown verdict '{'x' * 40}'"),
        ({"from": "2026-13-01"}, "from: '2026-13-01' is not a date like 2026-11-21"),
        ({"to": "today"}, "to: 'today' is not a date like 2026-11-21"),
        ({"page": "0"}, "unknown page '0'"),
        ({"page": "-1"}, "unknown page '-1'"),
        ({"page": "²"}, "unknown page '²'"),
        ({"page": "9" * 5000}, f"unknown page '{'9' * 40}'"),
    ],
)
def test_what_is_no_choice_is_left_out_and_said(query, said):
    choice = RunFilter.read(query, PROJECTS)
    assert choice.problems == (said,)
    assert not choice.is_filtered
    assert choice.page == 1


def test_days_are_those_of_utc_and_both_ends_count():
    choice = RunFilter(since=datetime.date(2026, 1, 2), until=datetime.date(2026, 1, 2))

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
