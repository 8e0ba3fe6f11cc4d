"""Ticks of a cron expression, above all in the nights on which the clock is changed."""

import datetime as dt
import itertools
import zoneinfo

import pytest

from ordain.common.cron import MOST_TICKS, Cron, check_cron, check_timezone, show_time

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def ticks(expression: str, zone: str, start: str, end: str) -> list[str]:
    found = Cron(expression, zone).between(at(start), at(end))
    assert all(tick.tzinfo is dt.UTC for tick in found)
    return [tick.strftime("%d %H:%M") for tick in found]


@pytest.mark.parametrize(
    ("zone", "start", "end", "expression", "expected"),
    [
        # Berlin skips 02:00 to 03:00 on 29 March 2026, at 01:00 UTC.
        (BERLIN, "2026-03-28", "2026-03-31", "30 2 * * *", ["28 01:30", "29 01:00", "30 00:30"]),
        (BERLIN, "2026-03-28", "2026-03-31", "0 3 * * *", ["28 02:00", "29 01:00", "30 01:00"]),
        (BERLIN, "2026-03-28T12:00", "2026-03-29T12:00", "*/15 2 * * *", ["29 01:00"]),
        (BERLIN, "2026-03-28T12:00", "2026-03-29T12:00", "* 2 * * *", ["29 01:00"]),
        (
            BERLIN,
            "2026-03-28T12:00",
            "2026-03-29T12:00",
            "0,30 2,3 * * *",
            ["29 01:00", "29 01:30"],
        ),
        # It has 02:00 to 03:00 twice on 25 October 2026, from 00:00 and from 01:00 UTC.
        (BERLIN, "2026-10-24", "2026-10-27", "30 2 * * *", ["24 00:30", "25 00:30", "26 01:30"]),
        (
            BERLIN,
            "2026-10-24T12:00",
            "2026-10-25T12:00",
            "*/15 2 * * *",
            ["25 00:00", "25 00:15", "25 00:30", "25 00:45"],
        ),
        # New York skips 02:00 to 03:00 on 8 March 2026, at 07:00 UTC.
        (NEW_YORK, "2026-03-07", "2026-03-10", "30 2 * * *", ["07 07:30", "08 07:00", "09 06:30"]),
        # It has 01:00 to 02:00 twice on 1 November 2026, from 05:00 and from 06:00 UTC.
        (NEW_YORK, "2026-10-31", "2026-11-03", "30 1 * * *", ["31 05:30", "01 05:30", "02 06:30"]),
        # The clock of Lord Howe Island changes by half an hour.
        (
            "Australia/Lord_Howe",
            "2026-10-03",
            "2026-10-05",
            "15 2 * * *",
            ["03 15:30", "04 15:15"],
        ),
        ("UTC", "2026-03-28", "2026-03-30", "30 2 * * *", ["28 02:30", "29 02:30"]),
    ],
)
def test_a_tick_comes_once_on_the_night_of_the_change(zone, start, end, expression, expected):
    assert ticks(expression, zone, start, end) == expected


@pytest.mark.parametrize(
    ("zone", "start", "hours"),
    [
        (BERLIN, "2026-03-28T23:00", 23),
        (BERLIN, "2026-10-24T22:00", 25),
        (NEW_YORK, "2026-03-08T05:00", 23),
        (NEW_YORK, "2026-11-01T04:00", 25),
    ],
)
def test_an_hourly_tick_comes_each_hour_of_the_day_of_the_change(zone, start, hours):
    begin = at(start) - dt.timedelta(minutes=1)
    end = at(start) + dt.timedelta(hours=hours, minutes=-1)
    assert begin.astimezone(zoneinfo.ZoneInfo(zone)).strftime("%H:%M") == "23:59"
    assert end.astimezone(zoneinfo.ZoneInfo(zone)).strftime("%H:%M") == "23:59"
    found = Cron("0 * * * *", zone).between(begin, end)
    assert len(found) == hours
    assert {later - earlier for earlier, later in itertools.pairwise(found)} == {
        dt.timedelta(hours=1)
    }


@pytest.mark.parametrize("expression", ["0 2 * * *", "45 2 * * *", "*/20 * * * *", "*/15 2 * * *"])
@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_the_next_tick_is_always_later_and_none_is_passed_over(expression, day):
    cron = Cron(expression, BERLIN)
    start = at(day) - dt.timedelta(hours=3)
    moments = [start + dt.timedelta(minutes=7 * n) for n in range(90)]
    every = cron.between(start, start + dt.timedelta(days=3))
    for moment in moments:
        assert cron.next_after(moment) == next(tick for tick in every if tick > moment)


def test_a_tick_at_the_requested_moment_is_not_the_next_one():
    cron = Cron("0 3 * * *", BERLIN)
    tick = cron.next_after(at("2026-06-01"))
    assert cron.next_after(tick) == tick + dt.timedelta(days=1)
    assert cron.between(tick - dt.timedelta(seconds=1), tick) == [tick]
    assert cron.between(tick, tick) == []


def test_years_of_missed_minutes_are_not_all_listed():
    found = Cron("* * * * *").between(at("2024-01-01"), at("2026-01-01"))
    assert len(found) == MOST_TICKS
    assert found[0] == at("2024-01-01T00:01")


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("0 3 * *", "five fields"),
        ("0 0 3 * * *", "five fields"),
        ("@daily", "five fields"),
        ("61 3 * * *", "bad minute"),
        ("0 3 * * FUN", "bad day-of-week"),
        ("0 0 30 2 *", "bad day-of-month"),
    ],
)
def test_what_is_no_cron_expression_is_refused(expression, problem):
    with pytest.raises(ValueError, match=problem):
        check_cron(expression)


@pytest.mark.parametrize(
    "expression", ["0 3 * * MON-FRI", "*/5 * * * *", "0 0 29 2 *", "0 4 L * *"]
)
def test_what_is_one_is_taken(expression):
    assert check_cron(expression) == expression


@pytest.mark.parametrize("name", ["Europe/Berln", "Europe", "../etc/passwd", "", "CEST"])
def test_what_is_no_time_zone_is_refused(name):
    with pytest.raises(ValueError, match="is not a time zone"):
        check_timezone(name)


def test_the_nearest_time_zone_is_named():
    with pytest.raises(ValueError, match="did you mean 'Europe/Berlin'"):
        check_timezone("Europe/Berln")


def test_a_time_is_shown_in_local_time():
    assert show_time(at("2026-10-25T00:30"), BERLIN) == "2026-10-25 02:30 CEST"
    assert show_time(at("2026-10-25T01:30"), BERLIN) == "2026-10-25 02:30 CET"
