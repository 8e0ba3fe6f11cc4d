"""When a cron expression is due, also across the two nights on which the clock is changed.

cronsim works out the moments the way Debian's cron does. Two things are added to it:

- A job of fixed hours is never due twice or not at all because of its minutes: `*/15 2 * * *` is
  written out as `0-59/15 2 * * *`, which cronsim then treats as it treats `30 2 * * *`.
- Every moment handed out is in UTC and later than the one asked about; two local times of the
  repeated hour compare equal in Python.

So in the night that skips 02:00 to 03:00 a tick of 02:30 comes once, at 03:00; in the night that
has the hour twice it comes once, the first time. Where the hour is `*`, ticks go on by the clock
on the wall: none in the skipped hour, and every one of both repeated hours.
"""

from __future__ import annotations

import datetime
import difflib
import zoneinfo
from dataclasses import dataclass

from cronsim import CronSim, CronSimError

#: Ticks that are listed one by one. A minute's cron that was down for a year has half a million,
#: and one run answers them all.
MOST_TICKS = 1000
_FIELDS = 5


@dataclass(frozen=True)
class Cron:
    """A cron expression in a time zone.

    Attributes:
        expression: Minute, hour, day of the month, month, day of the week.
        timezone: A name of the IANA database, such as `Europe/Berlin`.
    """

    expression: str
    timezone: str = "UTC"

    def next_after(self, moment: datetime.datetime) -> datetime.datetime:
        """The first tick later than a moment, in UTC.

        Args:
            moment: Any aware time.
        """
        zone = zoneinfo.ZoneInfo(self.timezone)
        after = moment.astimezone(datetime.UTC)
        ticks = CronSim(_written_out(self.expression), after.astimezone(zone))
        while True:
            tick = next(ticks).astimezone(datetime.UTC)
            # Asked in the second of two equal hours, cronsim answers with the first.
            if tick > after:
                return tick

    def between(
        self, after: datetime.datetime, until: datetime.datetime
    ) -> list[datetime.datetime]:
        """The ticks later than `after` and not later than `until`: the `MOST_TICKS` oldest."""
        found: list[datetime.datetime] = []
        tick = self.next_after(after)
        while tick <= until and len(found) < MOST_TICKS:
            found.append(tick)
            tick = self.next_after(tick)
        return found


def check_cron(expression: str) -> str:
    """Returns a cron expression that can be used.

    Raises:
        ValueError: It is none, or names a day that no month has.
    """
    if len(expression.split()) != _FIELDS:
        raise ValueError(
            "must have five fields: minute, hour, day of the month, month, day of the week, "
            "such as '0 3 * * *'"
        )
    try:
        next(CronSim(_written_out(expression), datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)))
    except CronSimError as error:
        raise ValueError(f"is not a cron expression: {str(error).lower()}") from error
    return expression


def check_timezone(name: str) -> str:
    """Returns the name of a time zone that exists.

    Raises:
        ValueError: There is none of that name; names the nearest one.
    """
    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        near = difflib.get_close_matches(name, zoneinfo.available_timezones(), n=1)
        meant = f"; did you mean {near[0]!r}?" if near else "; for example 'Europe/Berlin'"
        raise ValueError(f"is not a time zone{meant}") from error
    return name


def show_time(moment: datetime.datetime, timezone: str) -> str:
    """A moment as a person in that zone reads it: `2026-03-29 03:00 CEST`."""
    return moment.astimezone(zoneinfo.ZoneInfo(timezone)).strftime("%Y-%m-%d %H:%M %Z")


def _written_out(expression: str) -> str:
    minute, hour, *rest = expression.split()
    if minute.startswith("*") and not hour.startswith("*"):
        minute = "0-59" + minute[1:]
    return " ".join((minute, hour, *rest))
