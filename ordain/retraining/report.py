"""Report of `ordain retrain --json`, read from a file with its standard output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ordain.common.json_files import read_json


@dataclass(frozen=True)
class Report:
    """Report of `ordain retrain --json`.

    Attributes:
        exit_code: Its exit code.
        decision: `action`, `reasons` and more; empty if it ended before a decision.
        runs: The `result.json` of each run, oldest first.
        error: Error other than a failure of a run; empty without one.
    """

    exit_code: int
    decision: dict[str, Any]
    runs: tuple[dict[str, Any], ...] = ()
    error: str = ""

    @property
    def headline(self) -> str:
        """Its result in one line."""
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
        return f"ended with exit code {self.exit_code} before a decision"


def describe_reason(reason: Mapping[str, Any]) -> str:
    """Text of a reason of a decision; its kind if it has no text."""
    return str(reason.get("text") or reason.get("kind"))


def read_report(output: Path, exit_code: int) -> Report:
    """Reads the report from an output file; without a decision if the document is incomplete.

    Args:
        output: The file.
        exit_code: Exit code of the process; negative for a signal.
    """
    ours = 128 - exit_code if exit_code < 0 else exit_code
    raw = read_json(output)
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
    """Reads the report of a command whose end was not observed; None without a full document.

    The command writes the document last, and it holds the exit code.
    """
    raw = read_json(output)
    if raw is None or not isinstance(raw.get("exit_code"), int):
        return None
    return read_report(output, raw["exit_code"])
