"""Latency samples of a server, enough for the quantile that is limited.

A sample is the time of a request with one row; requests are sequential. The highest quantile that a
series supports is the one that `TAIL` of its samples may exceed; p99 of fewer samples would be
their maximum, which a single pause of a busy machine decides.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle

#: The quantile that `gate.server.max_p99_ms` limits.
SHARE = 0.99
#: Samples above a quantile that the quantile needs to be meaningful.
TAIL = 3
#: Samples of a complete series: the fewest of which `TAIL` are above p99.
SAMPLES = round(TAIL / (1 - SHARE))


@dataclass(frozen=True)
class Series:
    """Times of requests with one row, in the order of the requests.

    Attributes:
        times_ms: One for each request, in milliseconds.
        limit_ms: The limit on their p99.
    """

    times_ms: tuple[float, ...]
    limit_ms: float

    @property
    def slower(self) -> int:
        """Samples above the limit."""
        return sum(time > self.limit_ms for time in self.times_ms)

    @property
    def is_over(self) -> bool:
        """True if p99 of a complete series would be above the limit, for any further samples."""
        return self.slower > TAIL

    @property
    def is_whole(self) -> bool:
        """True if there are enough samples for p99."""
        return len(self.times_ms) >= SAMPLES

    @property
    def share(self) -> float:
        """The highest quantile that these samples support, at least the median."""
        count = len(self.times_ms)
        return SHARE if self.is_whole else max(0.5, math.floor(100 * (1 - TAIL / count)) / 100)

    def __str__(self) -> str:
        """The quantiles that the samples support, and the number of samples."""
        count = len(self.times_ms)
        if self.is_over:
            return (
                f"{self.slower} of {count} requests took longer than {self.limit_ms:g} ms "
                f"(median {percentile(self.times_ms, 0.5):.1f}, longest {max(self.times_ms):.1f})"
            )
        shares = [share for share in (0.5, 0.95) if share < self.share] + [self.share]
        found = [f"p{100 * s:.0f} {percentile(self.times_ms, s):.1f}" for s in shares]
        return f"{', '.join(found)} ms of {count} requests"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least a share of the values does not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(round(share * len(ranked), 9)) - 1)]


def take_series(
    ask: Callable[[int], float],
    kinds: Sequence[int],
    limit_ms: float,
    seconds: float,
) -> Series:
    """Sends requests in turn until the result is certain, or the time is up.

    Args:
        ask: Sends the request with a number and returns the milliseconds it took.
        kinds: Numbers of the requests, at least one.
        limit_ms: The limit on their p99.
        seconds: Time after which no further request is sent.
    """
    end = time.monotonic() + seconds
    times: list[float] = []
    slower = 0
    for number in cycle(kinds):
        times.append(ask(number))
        slower += times[-1] > limit_ms
        if len(times) == SAMPLES or slower > TAIL or time.monotonic() >= end:
            break
    return Series(tuple(times), limit_ms)
