"""The verdict: the one form in which every gate answers.

The same object is shown on the console, kept in `result.json` and in ML Metadata, and drawn
in the report.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What a gate says, from best to worst."""

    PASSED = "passed"
    #: Not judged, and the project wants neither a warning nor a block for that.
    SKIPPED = "skipped"
    WARNED = "warned"
    BLOCKED = "blocked"


_ORDER = (Outcome.PASSED, Outcome.SKIPPED, Outcome.WARNED, Outcome.BLOCKED)


@dataclass(frozen=True)
class Reason:
    """One thing a gate looked at.

    Attributes:
        outcome: What this one thing means for the gate.
        kind: Stable identifier, such as `missing_column`, `drift` or `auc.min`.
        text: One sentence for a person.
        where: The feature, or the slice as `origin=JFK`; empty for the whole.
        span: The data span it concerns, or None.
        measured: The measured value, in the unit of `limit`, or None.
        limit: The limit, or None where there is no number.
        baseline: The baseline's value of the same measure, or None.
        advice: What to do; empty where nothing needs doing.
        rows: Rows that were looked at, or None where no rows were counted.
        undefined: Why it was not judged, such as `26 rows, no positive`; empty if it was.
        trivial: Value of the same measure for a predictor that looks at no feature, or None.
    """

    outcome: Outcome
    kind: str
    text: str
    where: str = ""
    span: int | None = None
    measured: float | None = None
    limit: float | None = None
    baseline: float | None = None
    advice: str = ""
    rows: int | None = None
    undefined: str = ""
    trivial: float | None = None


@dataclass(frozen=True)
class Verdict:
    """A gate's answer: the worst outcome among its reasons; a skipped one holds up nothing.

    Attributes:
        gate: The gate.
        outcome: The worst outcome among the reasons.
        reasons: What it looked at, worst first.
        compared_with: Of the evaluation gate: the baseline by its version, such as
            `version 3 (stable)`, or `nothing: ` and why; empty for other gates.
    """

    gate: str
    outcome: Outcome
    reasons: tuple[Reason, ...] = ()
    compared_with: str = ""

    @classmethod
    def of(cls, gate: str, reasons: Iterable[Reason]) -> Verdict:
        """Builds the verdict of a gate from its reasons, worst first."""
        ranked = sorted(reasons, key=lambda r: -_ORDER.index(r.outcome))
        worst = ranked[0].outcome if ranked else Outcome.PASSED
        return cls(gate, Outcome.PASSED if worst is Outcome.SKIPPED else worst, tuple(ranked))

    @property
    def is_blocked(self) -> bool:
        """Whether nothing may pass this gate."""
        return self.outcome is Outcome.BLOCKED

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; fields that say nothing are left out."""
        keep = [{k: v for k, v in asdict(r).items() if v not in (None, "")} for r in self.reasons]
        against = {"compared_with": self.compared_with} if self.compared_with else {}
        return {"gate": self.gate, "outcome": str(self.outcome), "reasons": keep, **against}

    def to_json(self) -> str:
        """The verdict as indented JSON text."""
        return json.dumps(self.to_dict(), indent=1, sort_keys=True)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Verdict:
        """Reads what `to_dict` wrote.

        Raises:
            KeyError, ValueError: `raw` is not a verdict.
        """
        reasons = tuple(
            Reason(**{**entry, "outcome": Outcome(entry["outcome"])}) for entry in raw["reasons"]
        )
        against = str(raw.get("compared_with", ""))
        return cls(raw["gate"], Outcome(raw["outcome"]), reasons, against)

    @classmethod
    def from_json(cls, text: str) -> Verdict:
        """Reads what `to_json` wrote."""
        return cls.from_dict(json.loads(text))
