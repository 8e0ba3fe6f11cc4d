"""State of spans and windows that follows from the facts, before any policy applies."""

from __future__ import annotations

from ordain.config.schedule import Complete
from ordain.project.span_status import Delivery
from ordain.retraining.types import Attempt, Facts

#: Spans that a sentence lists by name before it counts the rest.
_NAMED = 6


class Situation:
    """Facts, and the state of each span and window that they imply."""

    def __init__(self, facts: Facts, complete: Complete, now: float) -> None:
        """Derives which spans are complete, used and new.

        Args:
            facts: The facts.
            complete: The rules by which a span is complete.
            now: The time, in seconds since 1970.
        """
        self.facts = facts
        self.now = now
        self._rest_s = complete.age_minutes * 60
        self._deliveries = {d.span: d for d in facts.deliveries}
        #: Runs that made a model, newest first.
        self.concluded = [a for a in facts.attempts if a.is_concluded]
        #: Fingerprint of each used span, as the newest run that used it read it.
        self.used: dict[int, str] = {}
        for attempt in reversed(self.concluded):
            self.used.update(attempt.spans)
        known = [*self.used, *(facts.served.spans if facts.served else ())]
        self.newest_used = max(known, default=None)
        #: Complete spans, oldest first.
        self.complete = [d.span for d in facts.deliveries if not self.missing(d)]
        #: Complete spans that are newer than every used one.
        self.new = [s for s in self.complete if self.newest_used is None or s > self.newest_used]

    def delivery(self, span: int) -> Delivery:
        """Returns the files of a span."""
        return self._deliveries[span]

    def missing(self, delivery: Delivery) -> str:
        """Returns what a span lacks to be complete; empty if complete, as every used one is."""
        if self.used.get(delivery.span) == delivery.fingerprint:
            return ""
        rested_s = self.now - delivery.modified
        if not delivery.missing and rested_s < self._rest_s:
            minutes = max(rested_s, 0.0) / 60
            wanted = self._rest_s / 60
            return f"modified {minutes:.0f} min ago, must be unchanged for {wanted:g} min"
        return delivery.missing

    def is_changed(self, span: int) -> bool:
        """Tests whether a span is unused, or changed since the newest run that used it."""
        return self.used.get(span) != self.delivery(span).fingerprint

    def window(self, end: int) -> tuple[int, ...]:
        """Returns the spans of the window that ends with `end`."""
        return tuple(s for s in self._deliveries if s <= end)[-self.facts.window :]

    def fingerprints(self, window: tuple[int, ...]) -> dict[int, str]:
        """Returns the fingerprint of each span of a window."""
        return {span: self.delivery(span).fingerprint for span in window}

    def tried(self, window: tuple[int, ...]) -> Attempt | None:
        """Returns the newest run that made a model of these files, source and schema."""
        wanted = self.fingerprints(window)
        for attempt in self.concluded:
            is_same = attempt.source == self.facts.source and attempt.schema == self.facts.schema
            if is_same and attempt.spans == wanted:
                return attempt
        return None

    def name(self, *spans: int) -> str:
        """Formats spans: `span 3`, `spans 3, 4`."""
        names = [self.facts.names.get(span, str(span)) for span in spans]
        if len(names) > _NAMED:
            return f"{len(names)} spans from {names[0]} to {names[-1]}"
        return f"span{'s' if len(names) > 1 else ''} {', '.join(names)}"
