"""Ticks of cron expressions, also in the two nights on which daylight saving time changes.

cronsim computes them as Debian's cron does. Two things are added:

- The minutes of a job with fixed hours neither repeat nor drop a tick: `*/15 2 * * *` is written
  out as `0-59/15 2 * * *`, which cronsim then treats as it treats `30 2 * * *`.
- Every tick is in UTC and later than the requested moment; two local times of the repeated hour
  compare equal in Python.

In the night that skips 02:00 to 03:00 a tick of 02:30 comes once, at 03:00; in the night that has
the hour twice it comes once, the first time. If the hour is `*`, ticks follow local time: none in
the skipped hour, and all of them in both repeated hours.
"""

from __future__ import annotations

import datetime
import difflib
import zoneinfo
from dataclasses import dataclass

from cronsim import CronSim, CronSimError

#: Most ticks that are listed. A cron of every minute that was down for a year has half a million,
#: and one run covers them all.
MOST_TICKS = 1000
_FIELDS = 5


@dataclass(frozen=True)
class Cron:
    """A cron expression in a time zone.

    Attributes:
        expression: Minute, hour, day of the month, month, day of the week.
        timezone: A name in the IANA database, such as `Europe/Berlin`.
    """

    expression: str
    timezone: str = "UTC"

    def next_after(self, moment: datetime.datetime) -> datetime.datetime:
        """Returns the first tick later than a moment, in UTC.

        Args:
            moment: Any aware datetime.
        """
        zone = zoneinfo.ZoneInfo(self.timezone)
        after = moment.astimezone(datetime.UTC)
        ticks = CronSim(_written_out(self.expression), after.astimezone(zone))
        while True:
            tick = next(ticks).astimezone(datetime.UTC)
            # In the second of two equal hours, cronsim returns a tick of the first.
            if tick > after:
                return tick

    def between(
        self, after: datetime.datetime, until: datetime.datetime
    ) -> list[datetime.datetime]:
        """Lists the ticks in (`after`, `until`], at most the `MOST_TICKS` oldest."""
        found: list[datetime.datetime] = []
        tick = self.next_after(after)
        while tick <= until and len(found) < MOST_TICKS:
            found.append(tick)
            tick = self.next_after(tick)
        return found


def check_cron(expression: str) -> str:
    """Validates a cron expression and returns it.

    Raises:
        ValueError: It is not a cron expression, or names a day that no month has.
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
    """Validates the name of a time zone and returns it.

    Raises:
        ValueError: It does not exist; names the nearest one.
    """
    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        near = difflib.get_close_matches(name, zoneinfo.available_timezones(), n=1)
        meant = f"; did you mean {near[0]!r}?" if near else "; for example 'Europe/Berlin'"
        raise ValueError(f"is not a time zone{meant}") from error
    return name


def show_time(moment: datetime.datetime, timezone: str) -> str:
    """Formats a moment in a time zone: `2026-03-29 03:00 CEST`."""
    return moment.astimezone(zoneinfo.ZoneInfo(timezone)).strftime("%Y-%m-%d %H:%M %Z")


def _written_out(expression: str) -> str:
    minute, hour, *rest = expression.split()
    if minute.startswith("*") and not hour.startswith("*"):
        minute = "0-59" + minute[1:]
    return " ".join((minute, hour, *rest))
