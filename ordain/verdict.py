"""The verdict, which is the result of every gate.

The same object is printed on the console, stored in `result.json` and in ML Metadata, and shown
in the report.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, ClassVar


class Outcome(StrEnum):
    """Result of a gate or of one of its checks, from best to worst."""

    PASSED = "passed"
    #: Not judged, and configured neither to warn nor to block for that.
    SKIPPED = "skipped"
    WARNED = "warned"
    BLOCKED = "blocked"


#: Names of the pipeline's own gates; results and exit codes go by them.
GATES = ("data", "evaluation", "server")
_ORDER = (Outcome.PASSED, Outcome.SKIPPED, Outcome.WARNED, Outcome.BLOCKED)


@dataclass(frozen=True)
class Reason:
    """Result of one check of a gate.

    Attributes:
        outcome: Outcome of this check.
        kind: Stable identifier, such as `missing_column`, `drift` or `auc.min`.
        text: One sentence that explains the outcome.
        where: The feature, or the slice as `origin=JFK`; empty for the whole data set.
        span: The data span it concerns, or None.
        measured: The measured value, in the unit of `limit`, or None.
        limit: The limit, or None if there is no number.
        baseline: The baseline's value of the same metric, or None.
        advice: The next step; empty if there is none.
        rows: Number of rows measured, or None if no rows were counted.
        undefined: Reason that there is no value, such as `26 rows, no positive`; empty if there
            is one.
        trivial: Value of the same metric for a predictor that uses no feature, or None.
    """

    #: For readers of JSON files.
    __pydantic_config__: ClassVar = {"extra": "forbid", "allow_inf_nan": False}

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

    def __post_init__(self) -> None:
        """Refuses an outcome that is none with a ValueError."""
        object.__setattr__(self, "outcome", Outcome(self.outcome))


@dataclass(frozen=True)
class Verdict:
    """Result of a gate: the worst outcome among its reasons, where a skipped one counts as passed.

    Attributes:
        gate: The gate.
        outcome: The worst outcome among the reasons.
        reasons: Results of its checks, worst first.
        compared_with: Baseline of the evaluation gate, such as `version 3 (stable)`, or `nothing: `
            and the reason; empty for other gates.
    """

    gate: str
    outcome: Outcome
    reasons: tuple[Reason, ...] = ()
    compared_with: str = ""

    def __post_init__(self) -> None:
        """Refuses an outcome that is none with a ValueError."""
        object.__setattr__(self, "outcome", Outcome(self.outcome))

    @classmethod
    def of(cls, gate: str, reasons: Iterable[Reason]) -> Verdict:
        """Builds the verdict of a gate from its reasons, in any order."""
        ranked = sorted(reasons, key=lambda r: -_ORDER.index(r.outcome))
        worst = ranked[0].outcome if ranked else Outcome.PASSED
        return cls(gate, Outcome.PASSED if worst is Outcome.SKIPPED else worst, tuple(ranked))

    @property
    def is_blocked(self) -> bool:
        """True if the gate blocks the run."""
        return self.outcome is Outcome.BLOCKED

    def to_dict(self) -> dict[str, Any]:
        """Converts to JSON types; empty fields are left out."""
        keep = [{k: v for k, v in asdict(r).items() if v not in (None, "")} for r in self.reasons]
        against = {"compared_with": self.compared_with} if self.compared_with else {}
        return {"gate": self.gate, "outcome": str(self.outcome), "reasons": keep, **against}

    def to_json(self) -> str:
        """Formats the verdict as indented JSON."""
        return json.dumps(self.to_dict(), indent=1, sort_keys=True)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Verdict:
        """Builds a verdict from what `to_dict` returned.

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
        """Parses what `to_json` returned."""
        return cls.from_dict(json.loads(text))
