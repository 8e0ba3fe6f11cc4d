"""Files of a run that the dashboard serves: its report, and the end of its logs.

Names from a request are compared with a folder's listing and never joined to a path; links are not
followed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

#: Limit on a report; it has a few megabytes at most.
MAX_REPORT_BYTES = 50_000_000
#: Bytes shown from the end of a log.
MAX_LOG_BYTES = 200_000


@dataclass(frozen=True)
class Log:
    """The end of a log.

    Attributes:
        text: Whole lines.
        size_bytes: Size of the file.
        is_cut: True if its beginning is omitted.
        path: Its path.
    """

    text: str
    size_bytes: int
    is_cut: bool
    path: Path


def run_folder(runs: Path, run_id: str) -> Path | None:
    """Find a run's folder; None if there is none of exactly that name."""
    return _entry(runs, run_id, is_folder=True)


def read_report(runs: Path, run_id: str) -> bytes | None:
    """Read a run's report; None if there is none."""
    folder = run_folder(runs, run_id)
    path = None if folder is None else _entry(folder, "report.html", is_folder=False)
    try:
        if path is None or path.stat().st_size > MAX_REPORT_BYTES:
            return None
        return path.read_bytes()
    except OSError:
        return None


def list_logs(runs: Path, run_id: str) -> list[str]:
    """List the nodes of a run that have a log."""
    folder = run_folder(runs, run_id)
    try:
        with os.scandir((folder or runs) / "logs") as entries:
            files = [e.name for e in entries if e.is_file(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(name.removesuffix(".log") for name in files if name.endswith(".log"))


def read_log(runs: Path, run_id: str, node: str) -> Log | None:
    """Read the end of a node's log; None if there is none."""
    folder = run_folder(runs, run_id)
    if folder is None or node not in list_logs(runs, run_id):
        return None
    path = folder / "logs" / f"{node}.log"
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = max(0, size - MAX_LOG_BYTES)
            file.seek(start)
            raw = file.read(MAX_LOG_BYTES)
    except OSError:
        return None
    if start:
        raw = raw.partition(b"\n")[2]
    return Log(raw.decode("utf-8", errors="replace"), size, bool(start), path)


def _entry(folder: Path, name: str, is_folder: bool) -> Path | None:
    """Find an entry by its exact name, of the right type and no link."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name == name:
                    is_file = entry.is_file(follow_symlinks=False)
                    is_dir = entry.is_dir(follow_symlinks=False)
                    return folder / entry.name if (is_dir if is_folder else is_file) else None
    except OSError:
        return None
    return None
