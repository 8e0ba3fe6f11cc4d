"""A folder of files that take long to compute, each named by the digest of its inputs.

Files may be deleted at any time: a missing one is computed again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger(__name__)


class FileCache:
    """A cache folder from which the least recently used files are deleted."""

    def __init__(self, folder: Path, limit: int) -> None:
        """Takes the folder, which need not exist, and the number of files to keep."""
        self._folder = folder
        self._limit = limit

    def get(self, name: str) -> bytes | None:
        """Returns a file's content; None if it is missing or cannot be read."""
        path = self._folder / name
        try:
            content = path.read_bytes()
            os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("%s cannot be read, and is computed again: %s", path, error)
            return None
        return content

    def put(self, files: Mapping[str, bytes]) -> None:
        """Writes files by name, each atomically; logs a warning if that fails."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                staged = self._folder / f"{name}.{os.getpid()}"
                staged.write_bytes(content)
                staged.replace(self._folder / name)
            by_age = sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime)
            for old in by_age[: -self._limit]:
                old.unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s cannot be written: %s", self._folder, error)
