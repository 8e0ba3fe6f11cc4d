"""Disk usage of a project, measured in a background thread: a walk may take a minute."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

from ordain.common.digests import size_of
from ordain.config.project import Project

#: Age at which a measurement is repeated.
FRESH_S = 300.0


@dataclass(frozen=True)
class DiskUsage:
    """One measurement of disk usage.

    Attributes:
        parts: Name, path and bytes of each part; None bytes for what is not on this machine.
        at: Time in seconds since 1970; 0 before the first measurement.
    """

    parts: tuple[tuple[str, str, int | None], ...] = ()
    at: float = 0.0

    @property
    def total(self) -> int:
        """Sum of all parts in bytes."""
        return sum(part[2] or 0 for part in self.parts)


class Disk:
    """Measure on request, if the last measurement is old."""

    def __init__(self, project: Project) -> None:
        """Create it without measuring."""
        self._project = project
        self._usage = DiskUsage()
        self._lock = threading.Lock()

    def read(self) -> DiskUsage:
        """Return the last measurement; start a new one if it is old."""
        if time.time() - self._usage.at > FRESH_S and self._lock.acquire(blocking=False):
            threading.Thread(target=self._measure, name="disk use", daemon=True).start()
        return self._usage

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
            self._usage = DiskUsage(tuple(parts), time.time())
        except OSError:
            self._usage = DiskUsage(self._usage.parts, time.time())
        finally:
            self._lock.release()
