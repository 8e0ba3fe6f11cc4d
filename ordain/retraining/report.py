"""The report of `ordain retrain --json`, read from the file that its output went to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Report:
    """What `ordain retrain --json` said.

    Attributes:
        exit_code: What it ended with.
        decision: `action`, `reasons` and more; empty if it ended before it decided.
        runs: The `result.json` of each run, oldest first.
        error: What ended it beside a run's own failure; empty if nothing did.
    """

    exit_code: int
    decision: dict[str, Any]
    runs: tuple[dict[str, Any], ...] = ()
    error: str = ""

    @property
    def headline(self) -> str:
        """What came of it, in one line."""
        parts = [str(run.get("headline", "a run")) for run in self.runs]
        parts += [self.error] if self.error else []
        if parts:
            return "; ".join(parts)
        reasons = self.decision.get("reasons")
        if isinstance(reasons, list) and reasons:
            first, action = describe_reason(reasons[0]), str(self.decision.get("action", ""))
            return first if first.startswith(action) else f"{action}: {first}"
        if self.decision.get("action"):
            return str(self.decision["action"])
        return f"ended with exit code {self.exit_code} before it decided anything"


def describe_reason(reason: Mapping[str, Any]) -> str:
    """A reason of a decision in words; its kind where an older line has no text."""
    return str(reason.get("text") or reason.get("kind"))


def read_report(output: Path, exit_code: int) -> Report:
    """What a command left in its output file, whole or not.

    Args:
        output: The file.
        exit_code: What the process ended with; below 0 is a signal.
    """
    ours = 128 - exit_code if exit_code < 0 else exit_code
    raw = _read(output)
    if raw is None:
        return Report(ours, {})
    decision, runs, error = raw.get("decision"), raw.get("runs"), raw.get("error")
    return Report(
        ours,
        decision if isinstance(decision, dict) else {},
        tuple(run for run in runs if isinstance(run, dict)) if isinstance(runs, list) else (),
        str(error.get("message", "")) if isinstance(error, dict) else "",
    )


def find_report(output: Path) -> Report | None:
    """What a command left that nobody saw end; None if it left no whole document.

    The document is the last thing it writes, and holds the exit code.
    """
    raw = _read(output)
    if raw is None or not isinstance(raw.get("exit_code"), int):
        return None
    return read_report(output, raw["exit_code"])


def _read(output: Path) -> dict[str, Any] | None:
    try:
        raw = json.loads(output.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return raw if isinstance(raw, dict) else None
