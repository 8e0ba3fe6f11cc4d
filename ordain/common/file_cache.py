"""Files kept from run to run as making them takes long, each under the digest of what it is of.

What is kept may be removed at any time: who does not find it makes it again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger(__name__)


class KeptFiles:
    """A folder of such files, of which the longest unused go."""

    def __init__(self, folder: Path, limit: int) -> None:
        """Takes the folder, which need not be there, and how many files stay."""
        self._folder = folder
        self._limit = limit

    def find(self, name: str) -> bytes | None:
        """A file's content; None if it is not kept or cannot be read."""
        path = self._folder / name
        try:
            content = path.read_bytes()
            os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("%s cannot be read, so it is made anew: %s", path, error)
            return None
        return content

    def keep(self, files: Mapping[str, bytes]) -> None:
        """Keeps files by their names, each whole or not at all; what cannot be written is told."""
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
            log.warning("%s cannot be kept: %s", self._folder, error)
