"""How much room a project takes, measured in a thread of its own: a walk may take a minute."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

from ordain.config.project import Project
from ordain.serving.registry.retention import size_of

#: So long a measurement is good enough.
FRESH_S = 300.0


@dataclass(frozen=True)
class Room:
    """What was measured.

    Attributes:
        parts: Bytes of each part of the workspace; None for what is not on this machine.
        at: When, in seconds since 1970; 0 if nothing was measured yet.
    """

    parts: tuple[tuple[str, str, int | None], ...] = ()
    at: float = 0.0

    @property
    def total(self) -> int:
        """All parts, in bytes."""
        return sum(part[2] or 0 for part in self.parts)


class Disk:
    """Measures when somebody looks and the last measurement is old."""

    def __init__(self, project: Project) -> None:
        """Takes the project."""
        self._project = project
        self._room = Room()
        self._lock = threading.Lock()

    def read(self) -> Room:
        """The last measurement; a new one is begun if it is time for it."""
        if time.time() - self._room.at > FRESH_S and self._lock.acquire(blocking=False):
            threading.Thread(target=self._measure, name="disk use", daemon=True).start()
        return self._room

    def _measure(self) -> None:
        try:
            project = self._project
            metadata = project.metadata
            parts: list[tuple[str, str, int | None]] = [
                ("artifacts", str(project.artifacts), size_of(project.artifacts)),
                ("run folders", str(project.runs), size_of(project.runs)),
            ]
            if project.is_pushed_away:
                parts.append(("versions", project.push_base, None))
            else:
                parts.append(("versions", str(project.serving), size_of(project.serving)))
            size = metadata.stat().st_size if isinstance(metadata, Path) else None
            parts.append(("ML Metadata", str(metadata), size))
            self._room = Room(tuple(parts), time.time())
        except OSError:
            self._room = Room(self._room.parts, time.time())
        finally:
            self._lock.release()
