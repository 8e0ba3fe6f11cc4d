"""The forms of the retraining decision: what it rests on, and what it says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ordain.project.span_status import Delivery


class Action(StrEnum):
    """What is to be done now."""

    RUN = "run"
    WAIT = "wait"
    NOTHING = "nothing"


class Effect(StrEnum):
    """What a reason speaks for."""

    RUN = "run"
    HOLD = "hold"
    NOTE = "note"


@dataclass(frozen=True)
class Reason:
    """One thing a decision rests on.

    Attributes:
        effect: Whether it speaks for a run, holds one back, or is only to be known.
        kind: Stable identifier, such as `new_span` or `cool_down`.
        text: One sentence for a person, without its full stop.
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
    """What is to be done, and why.

    Attributes:
        action: `run` if there is a window to run, `wait` if there would be one but for what
            holds it back, `nothing` otherwise.
        reasons: Those for a run first, then those against, then the rest.
        windows: The spans of each run, in the order of the runs.
        is_fresh: Whether to train anew, as the data, the source and the schema are those of a
            model that there is.
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
    """How an attempt ended."""

    PUBLISHED = "published"
    NOT_BLESSED = "not_blessed"
    REFUSED = "refused"
    BLOCKED = "blocked"
    UNREADABLE = "unreadable"
    FAILED = "failed"
    UNFINISHED = "unfinished"


#: The data was taken: a model was made of it, whatever the gates behind it said.
CONCLUDED = (State.PUBLISHED, State.NOT_BLESSED, State.REFUSED)


@dataclass(frozen=True)
class Distance:
    """How far a feature of a span is from the span before it, as the data gate measured it.

    Attributes:
        span: The span.
        feature: The feature.
        text: The gate's sentence about it, which names the other span and the measure.
        measured: The distance, from 0 (alike) to 1.
    """

    span: int
    feature: str
    text: str
    measured: float


@dataclass(frozen=True)
class Attempt:
    """One run.

    Attributes:
        run_id: The run.
        started: When it started, in seconds since 1970.
        ended: When ML Metadata last heard of it.
        state: How it ended.
        spans: Fingerprint of the files by span, for the spans that were read.
        schema: SHA-256 of the curated schema; empty if it was inferred, None if unknown.
        source: Fingerprint of the project's source; None if the run did not get to Transform.
        gate: The data gate's settings; None if the run did not get there.
        unreadable: The span that could not be read, the time its reading began, and the
            settings it was read with.
        bad: Spans that the data gate objected to by themselves.
        distances: What the data gate measured between the newest span and the one before.
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
        """Whether it made a model of its data."""
        return self.state in CONCLUDED


@dataclass(frozen=True)
class Served:
    """The model that is stable.

    Attributes:
        name: How a person calls it, such as `version 3`.
        created: When it was published, in seconds since 1970.
        spans: The data spans it was made of.
        source: Fingerprint of the source it was made with; empty if unknown.
        schema: SHA-256 of the schema its data was held against; empty if unknown.
    """

    name: str
    created: float
    spans: tuple[int, ...] = ()
    source: str = ""
    schema: str = ""


@dataclass(frozen=True)
class Facts:
    """What a decision rests on.

    Attributes:
        deliveries: What lies in the data folder, oldest span first.
        attempts: Past runs, newest first, as far back as they matter.
        served: The stable model, or None while there is none.
        source: Fingerprint of the project's source now.
        schema: SHA-256 of the curated schema now; empty while none is frozen.
        gate: The data gate's settings now.
        ingest: ExampleGen's settings now.
        window: How many spans a run takes.
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
    """Reasons for a run first, each said once."""
    unique = list(dict.fromkeys(reasons))
    return tuple(r for effect in Effect for r in unique if r.effect is effect)
