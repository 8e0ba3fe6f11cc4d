"""What was decided, a line for each decision, in `<workspace>/<name>/decisions.jsonl`.

ML Metadata knows every run and nothing of the decisions that led to none; those are kept here,
for whoever asks why nothing happened. A decision to run is written before the run and again after
it, so that a run that was killed has left its reasons. Nothing is ever decided by this file.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
from pathlib import Path
from typing import Any

from ordain.common.atomic_files import locked, write_atomic
from ordain.errors import InfrastructureError
from ordain.retraining.types import Decision

LOG_FILE = "decisions.jsonl"
_LOCK_FILE = ".decisions.lock"
#: A file longer than this loses its older half.
MAX_BYTES = 1_000_000
#: What a line has; another is none of ours, or was cut.
_KEYS = {"at", "until", "times", "action", "reasons", "windows", "runs", "exit_code"}


def log_decision(
    home: Path,
    decision: Decision,
    now: float,
    runs: list[dict[str, Any]],
    exit_code: int | None,
    mark: str = "",
) -> None:
    """Adds a decision; one that repeats the last, and led to no run, only counts up.

    Args:
        home: Folder of the project in the workspace.
        decision: The decision.
        now: When it was made, in seconds since 1970.
        runs: What came of it: `result.json` of each run.
        exit_code: What the command ends with; None while it goes on. A line that keeps it is of
            a process that was killed or stopped.
        mark: Names the decision; the line that has it already is replaced.

    Raises:
        InfrastructureError: The file cannot be written.
    """
    at = datetime.datetime.fromtimestamp(now, datetime.UTC).isoformat(timespec="seconds")
    line = {
        "at": at,
        "until": at,
        "times": 1,
        **decision.to_dict(),
        "runs": [{key: run[key] for key in ("run_id", "headline", "exit_code")} for run in runs],
        "exit_code": exit_code,
        "mark": mark,
    }
    path = home / LOG_FILE
    try:
        with locked(home / _LOCK_FILE):
            lines = [text for text in _read_lines(path) if not mark or mark not in text]
            last = _parsed(lines[-1]) if lines else None
            is_over = exit_code is not None and not runs
            if last is not None and is_over and _is_same(last, line):
                line |= {"at": last["at"], "times": int(last["times"]) + 1}
                lines.pop()
            lines.append(json.dumps(line))
            if sum(map(len, lines)) + len(lines) > MAX_BYTES:
                lines = lines[len(lines) // 2 :]
            write_atomic(path, "".join(f"{text}\n" for text in lines))
    except OSError as error:
        raise InfrastructureError(
            f"{path} cannot be written: {error}", "free space or correct permissions"
        ) from error


def read_decisions(home: Path, limit: int = 20) -> list[dict[str, Any]]:
    """The newest decisions, newest first; lines that are none are passed over.

    Args:
        home: Folder of the project in the workspace.
        limit: The most that are returned.

    Raises:
        InfrastructureError: The file is there and cannot be read.
    """
    path = home / LOG_FILE
    try:
        parsed = (_parsed(text) for text in reversed(_read_lines(path)))
    except OSError as error:
        raise InfrastructureError(
            f"{path} cannot be read: {error}", "correct its permissions"
        ) from error
    return list(itertools.islice((line for line in parsed if line is not None), limit))


def _read_lines(path: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    return []


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        raw = json.loads(text)
    except ValueError:
        return None
    return raw if isinstance(raw, dict) and raw.keys() >= _KEYS else None


def _is_same(last: dict[str, Any], line: dict[str, Any]) -> bool:
    """Whether two decisions say the same; minutes and days in their sentences pass."""

    def of(raw: dict[str, Any]) -> list[Any]:
        said = [(r.get("kind"), r.get("effect"), r.get("span")) for r in raw["reasons"]]
        return [raw["action"], raw["windows"], raw["exit_code"], said]

    return not last["runs"] and of(last) == of(line)
