"""What a scheduler remembers on disk: up to when every tick is answered, and what goes on now.

One rule decides whether a tick is lost, run twice or done: *every tick at or before `covered` has
had a look that began at or after it*. A look that did not come to its end moves nothing, so its
ticks are due again. Everything is under one lock for each project, which a scheduler holds while
a look goes on: of two schedulers one looks, and the other then finds its tick covered.

ML Metadata knows runs and not ticks: a look that finds nothing to do leaves no trace there.
"""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ordain.common.atomic_files import write_file
from ordain.errors import InfrastructureError


@dataclass(frozen=True)
class Look:
    """One start of the command that decides and runs.

    Attributes:
        started: When it began, UTC.
        why: What it was started for, in words.
        pid: Its process.
        born: When the system says that process began, in seconds since 1970: a number that a
            later process of the same pid does not share.
        output: Name of the file that its standard output goes to.
        ended: When it ended; None while it goes on.
        exit_code: What it ended with.
        headline: What came of it, in one line.
    """

    started: datetime.datetime
    why: str
    pid: int = 0
    born: float = 0.0
    output: str = ""
    ended: datetime.datetime | None = None
    exit_code: int | None = None
    headline: str = ""


@dataclass(frozen=True)
class State:
    """All of it.

    Attributes:
        covered: Every tick at or before this has been answered; None before the first start.
        current: The look that goes on, or that a killed scheduler left.
        last: The look that ended last.
    """

    covered: datetime.datetime | None = None
    current: Look | None = None
    last: Look | None = None


class StateFile:
    """Reads and writes the state of one project."""

    def __init__(self, folder: Path) -> None:
        """Names the files.

        Args:
            folder: `<workspace>/<name>/schedule`.
        """
        self.folder = folder
        self._path = folder / "state.json"

    def read(self) -> State:
        """The state; an empty one before the first start.

        Raises:
            InfrastructureError: The file is damaged or cannot be read.
        """
        try:
            raw = json.loads(self._path.read_text(encoding="utf-8"))
            return State(_moment(raw["covered"]), _look(raw["current"]), _look(raw["last"]))
        except FileNotFoundError:
            return State()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InfrastructureError(
                f"{self._path} cannot be read: {error}",
                "remove the file: the scheduler then counts ticks from its next start",
            ) from error

    def write(self, state: State) -> None:
        """Writes the state, whole or not at all."""
        raw = {
            "covered": _text(state.covered),
            "current": _raw(state.current),
            "last": _raw(state.last),
        }
        write_file(self._path, json.dumps(raw, indent=1) + "\n")

    @contextlib.contextmanager
    def turn(self) -> Iterator[bool]:
        """Holds the project's lock if it is free; yields whether it is ours.

        Raises:
            InfrastructureError: The folder cannot be written.
        """
        import filelock  # noqa: PLC0415  whoever only reads takes no lock

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

    def cover(self, moment: datetime.datetime) -> None:
        """Counts every tick up to a moment as answered; the caller has the turn."""
        self.write(replace(self.read(), covered=moment))


def _raw(look: Look | None) -> dict[str, Any] | None:
    if look is None:
        return None
    raw = dict(vars(look))
    return raw | {"started": _text(look.started), "ended": _text(look.ended)}


def _look(raw: dict[str, Any] | None) -> Look | None:
    if raw is None:
        return None
    started, ended = _moment(raw["started"]), _moment(raw["ended"])
    if started is None:
        raise ValueError("a look without its start")
    return Look(**{**raw, "started": started, "ended": ended})


def _text(moment: datetime.datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _moment(text: str | None) -> datetime.datetime | None:
    return None if text is None else datetime.datetime.fromisoformat(text)
