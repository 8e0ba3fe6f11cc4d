"""State of a scheduler on disk: up to when ticks are covered, and the check in progress.

The rule: every tick at or before `covered` has had a check that started at or after it. A check
that is stopped or killed with its scheduler changes nothing, so its ticks are due again. One lock
per project guards the state, and a scheduler holds it during a check: of two schedulers one
checks, and the other then finds its tick covered.

This is not in ML Metadata, which records runs: most checks lead to none.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydantic

from ordain.common.atomic_files import write_file
from ordain.errors import InfrastructureError


@dataclass(frozen=True)
class Check:
    """One start of the command that decides and runs.

    Attributes:
        started: When it started, UTC.
        why: Its triggers, in one line.
        pid: Its process.
        created: Creation time of that process in seconds since 1970, which tells it from a later
            process with the same pid.
        output: Name of the file with its standard output.
        ended: When it ended; None while it is in progress.
        exit_code: Its exit code.
        headline: Its result, in one line.
    """

    started: datetime.datetime
    why: str
    pid: int = 0
    created: float = 0.0
    output: str = ""
    ended: datetime.datetime | None = None
    exit_code: int | None = None
    headline: str = ""


@dataclass(frozen=True)
class State:
    """Content of `state.json`.

    Attributes:
        covered: Every tick at or before this moment is covered; None before the first start.
        current: The check in progress, or one that a killed scheduler left.
        last: The check that ended last.
    """

    covered: datetime.datetime | None = None
    current: Check | None = None
    last: Check | None = None


_FORMAT = pydantic.TypeAdapter(State)


class StateFile:
    """Reads, writes and locks the state of one project."""

    def __init__(self, folder: Path) -> None:
        """Sets the paths; creates nothing.

        Args:
            folder: `<workspace>/<name>/schedule`.
        """
        self.folder = folder
        self._path = folder / "state.json"

    def read(self) -> State:
        """Reads the state; an empty one before the first start.

        Raises:
            InfrastructureError: The file is damaged or cannot be read.
        """
        try:
            return _FORMAT.validate_json(self._path.read_bytes(), strict=True)
        except FileNotFoundError:
            return State()
        except (OSError, ValueError) as error:
            raise InfrastructureError(
                f"{self._path} cannot be read: {error}",
                "remove the file: the scheduler then counts ticks from its next start",
            ) from error

    def write(self, state: State) -> None:
        """Writes the state atomically."""
        write_file(self._path, _FORMAT.dump_json(state, indent=1).decode() + "\n")

    @contextlib.contextmanager
    def try_lock(self) -> Iterator[bool]:
        """Holds the project's lock if it is free; yields whether it is held.

        Raises:
            InfrastructureError: The folder cannot be written.
        """
        import filelock  # noqa: PLC0415  reading needs no lock

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.folder / ".lock")
            lock.acquire(timeout=0)
        except filelock.Timeout:
            yield False
            return
        except OSError as error:
            raise InfrastructureError(
                f"{self.folder} cannot be written: {error}", "free space or correct permissions"
            ) from error
        try:
            yield True
        finally:
            lock.release()
