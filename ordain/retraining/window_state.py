"""What follows from the facts of a decision before any policy is asked."""

from __future__ import annotations

from ordain.config.schedule import Complete
from ordain.project.span_status import Delivery
from ordain.retraining.types import Attempt, Facts

#: Names of spans that a sentence lists before it counts the rest.
_NAMED = 6


class Situation:
    """Facts, and what a span or a window is by them."""

    def __init__(self, facts: Facts, complete: Complete, now: float) -> None:
        """Works out which spans are whole, taken and new.

        Args:
            facts: What is known.
            complete: What makes a delivery whole.
            now: The time, in seconds since 1970.
        """
        self.facts = facts
        self.now = now
        self._rest_s = complete.age_minutes * 60
        self._deliveries = {d.span: d for d in facts.deliveries}
        #: Runs that made a model, newest first.
        self.concluded = [a for a in facts.attempts if a.is_concluded]
        #: Fingerprint of each span as the newest run that took it found it.
        self.taken: dict[int, str] = {}
        for attempt in reversed(self.concluded):
            self.taken.update(attempt.spans)
        known = [*self.taken, *(facts.served.spans if facts.served else ())]
        self.newest_taken = max(known, default=None)
        #: Spans whose delivery is whole, oldest first.
        self.whole = [d.span for d in facts.deliveries if not self.missing(d)]
        #: Those of them that came after everything that was taken.
        self.new = [s for s in self.whole if self.newest_taken is None or s > self.newest_taken]

    def delivery(self, span: int) -> Delivery:
        """The delivery of a span."""
        return self._deliveries[span]

    def missing(self, delivery: Delivery) -> str:
        """What is missing until a delivery is whole; what was taken is."""
        if self.taken.get(delivery.span) == delivery.fingerprint:
            return ""
        rested_s = self.now - delivery.modified
        if not delivery.missing and rested_s < self._rest_s:
            minutes = max(rested_s, 0.0) / 60
            return f"it changed {minutes:.0f} minutes ago and is to rest for {self._rest_s / 60:g}"
        return delivery.missing

    def is_changed(self, span: int) -> bool:
        """Whether a span is not as the newest run that took it found it, or was never taken."""
        return self.taken.get(span) != self.delivery(span).fingerprint

    def window(self, end: int) -> tuple[int, ...]:
        """The spans of a run whose last one is `end`."""
        return tuple(s for s in self._deliveries if s <= end)[-self.facts.window :]

    def fingerprints(self, window: tuple[int, ...]) -> dict[int, str]:
        """Fingerprint by span of a window."""
        return {span: self.delivery(span).fingerprint for span in window}

    def tried(self, window: tuple[int, ...]) -> Attempt | None:
        """The run that made a model of these very files, source and schema, if there is one."""
        wanted = self.fingerprints(window)
        for attempt in self.concluded:
            is_same = attempt.source == self.facts.source and attempt.schema == self.facts.schema
            if is_same and attempt.spans == wanted:
                return attempt
        return None

    def name(self, *spans: int) -> str:
        """Spans as a person names them: `span 3`, `spans 3, 4`."""
        names = [self.facts.names.get(span, str(span)) for span in spans]
        if len(names) > _NAMED:
            return f"{len(names)} spans from {names[0]} to {names[-1]}"
        return f"span{'s' if len(names) > 1 else ''} {', '.join(names)}"
