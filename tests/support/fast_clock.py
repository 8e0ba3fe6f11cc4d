"""A clock that runs faster than the world's, the same in every process that is told its start."""

import datetime
import time

from pipeline.clock_time import Bell, Clock

BASE = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


class FastClock(Clock):
    """At `origin`, in seconds since 1970, it is `base`; then it runs `factor` times as fast."""

    def __init__(self, origin: float, factor: float, base: datetime.datetime = BASE) -> None:
        self._origin = origin
        self._factor = factor
        self._base = base

    def now(self) -> datetime.datetime:
        return self._base + datetime.timedelta(seconds=(time.time() - self._origin) * self._factor)

    def wait(self, bell: Bell, duration: datetime.timedelta) -> None:
        bell.wait(duration.total_seconds() / self._factor)
