"""Log of decisions, one line each, in `<workspace>/<name>/decisions.jsonl`.

ML Metadata records runs, but not the decisions that led to none. A decision to run is written
before the run and replaced after it, so that a killed run leaves its reasons. No decision is based
on this file.
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
#: A longer file loses its older half.
MAX_BYTES = 1_000_000
#: Keys of a line; lines without them are ignored.
_KEYS = {"at", "until", "times", "action", "reasons", "windows", "runs", "exit_code"}


def log_decision(
    home: Path,
    decision: Decision,
    now: float,
    runs: list[dict[str, Any]],
    exit_code: int | None,
    mark: str = "",
) -> None:
    """Adds a decision; one that repeats the last and led to no run only raises its counter.

    Args:
        home: Folder of the project in the workspace.
        decision: The decision.
        now: When it was made, in seconds since 1970.
        runs: `result.json` of each run it led to.
        exit_code: Exit code of the command; None before its runs. None stays in the line of a
            process that was killed or stopped.
        mark: Identifies the decision; a line with the same mark is replaced.

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
    """Reads the newest decisions, newest first; invalid lines are ignored.

    Args:
        home: Folder of the project in the workspace.
        limit: Maximum number of decisions.

    Raises:
        InfrastructureError: The file exists and cannot be read.
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
    """Compares two decisions, apart from durations in their sentences."""

    def of(raw: dict[str, Any]) -> list[Any]:
        reasons = [(r.get("kind"), r.get("effect"), r.get("span")) for r in raw["reasons"]]
        return [raw["action"], raw["windows"], raw["exit_code"], reasons]

    return not last["runs"] and of(last) == of(line)
