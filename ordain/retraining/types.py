"""Types of the retraining decision: facts, reasons, decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ordain.project.span_status import Delivery


class Action(StrEnum):
    """Action that a decision leads to."""

    RUN = "run"
    WAIT = "wait"
    NOTHING = "nothing"


class Effect(StrEnum):
    """Effect of a reason on the decision."""

    TRIGGER = "trigger"
    BLOCKER = "blocker"
    NOTE = "note"


@dataclass(frozen=True)
class Reason:
    """One reason of a decision.

    Attributes:
        effect: Whether it triggers a run, blocks one, or is only a note.
        kind: Stable identifier, such as `new_span` or `cool_down`.
        text: One sentence, without its full stop.
        span: The data span it concerns, or None.
    """

    effect: Effect
    kind: str
    text: str
    span: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        raw = {"effect": str(self.effect), "kind": self.kind, "text": self.text}
        return raw if self.span is None else {**raw, "span": self.span}


@dataclass(frozen=True)
class Decision:
    """Action, its reasons, and the windows to run.

    Attributes:
        action: `run` if there is a window to run, `wait` if blockers leave none, `nothing`
            without a trigger.
        reasons: Triggers first, then blockers, then notes.
        windows: The spans of each run, in the order of the runs.
        is_fresh: Whether to train anew, because a model of the same data, source and schema
            exists.
    """

    action: Action
    reasons: tuple[Reason, ...]
    windows: tuple[tuple[int, ...], ...] = ()
    is_fresh: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "action": str(self.action),
            "reasons": [reason.to_dict() for reason in self.reasons],
            "windows": [list(window) for window in self.windows],
            "fresh": self.is_fresh,
        }


class State(StrEnum):
    """Result of a run, as far as the decision distinguishes it."""

    PUBLISHED = "published"
    NOT_BLESSED = "not_blessed"
    REFUSED = "refused"
    BLOCKED = "blocked"
    UNREADABLE = "unreadable"
    FAILED = "failed"
    UNFINISHED = "unfinished"


#: A model was made of the data, whether or not it passed the later gates.
CONCLUDED = (State.PUBLISHED, State.NOT_BLESSED, State.REFUSED)


@dataclass(frozen=True)
class Distance:
    """Distance of a feature between a span and the span before, measured by the data gate.

    Attributes:
        span: The span.
        feature: The feature.
        text: The gate's text, which names the other span and the measure.
        measured: The distance, from 0 (identical) to 1.
    """

    span: int
    feature: str
    text: str
    measured: float


@dataclass(frozen=True)
class Attempt:
    """One past run.

    Attributes:
        run_id: The run.
        started: When it started, in seconds since 1970.
        ended: Time of its last update in ML Metadata, in seconds since 1970.
        state: Its result.
        spans: Fingerprint of the files of each span that was read.
        schema: SHA-256 of the curated schema; empty if it was inferred, None if unknown.
        source: Fingerprint of the project's source; None if the run did not reach Transform.
        gate: The data gate's settings; None if the run did not reach it.
        unreadable: The span that could not be read, the time when reading it started, and the
            settings it was read with.
        bad: Spans that the data gate blocked for their own content.
        distances: Distances between the newest span and the one before.
    """

    run_id: str
    started: float
    ended: float
    state: State
    spans: Mapping[int, str] = field(default_factory=dict)
    schema: str | None = None
    source: str | None = None
    gate: Mapping[str, Any] | None = None
    unreadable: tuple[int, float, Mapping[str, Any]] | None = None
    bad: tuple[int, ...] = ()
    distances: tuple[Distance, ...] = ()

    @property
    def is_concluded(self) -> bool:
        """True if it made a model of its data."""
        return self.state in CONCLUDED


@dataclass(frozen=True)
class Served:
    """The served model: the stable version.

    Attributes:
        name: Its name in messages, such as `version 3`.
        created: When it was published, in seconds since 1970.
        spans: The data spans it was made of.
        source: Fingerprint of the source it was made with; empty if unknown.
        schema: SHA-256 of the schema its data was validated against; empty if unknown.
    """

    name: str
    created: float
    spans: tuple[int, ...] = ()
    source: str = ""
    schema: str = ""


@dataclass(frozen=True)
class Facts:
    """Facts that a decision is based on.

    Attributes:
        deliveries: The spans in the data folder, oldest first.
        attempts: Past runs, newest first, as far back as they matter.
        served: The served model, or None if there is none.
        source: Fingerprint of the project's source now.
        schema: SHA-256 of the curated schema now; empty while none is frozen.
        gate: The data gate's settings now.
        ingest: ExampleGen's settings now.
        window: Number of spans in a run's window.
        names: Names of spans, where they are not their numbers.
    """

    deliveries: tuple[Delivery, ...]
    attempts: tuple[Attempt, ...] = ()
    served: Served | None = None
    source: str = ""
    schema: str = ""
    gate: Mapping[str, Any] = field(default_factory=dict)
    ingest: Mapping[str, Any] = field(default_factory=dict)
    window: int = 1
    names: Mapping[int, str] = field(default_factory=dict)


def ordered(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Sorts reasons by effect, triggers first, and drops duplicates."""
    unique = list(dict.fromkeys(reasons))
    return tuple(r for effect in Effect for r in unique if r.effect is effect)
