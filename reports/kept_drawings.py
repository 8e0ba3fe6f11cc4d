"""Drawings kept from page to page.

Compiling and drawing the charts takes most of a report's time, and a run in which little is new
has most charts of the run before. A drawing is kept under the digest of what was to be drawn, so
that it can be no other; the folder may be removed at any time.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
from importlib import metadata
from pathlib import Path
from typing import Any

#: Folder in the project's part of the workspace.
FOLDER = "drawings"
#: Kept for one project; a page of flights has about 60.
KEPT = 1000

_LOG = logging.getLogger(__name__)


class KeptDrawings:
    """The drawings of one project."""

    def __init__(self, home: Path) -> None:
        """Takes the project's part of the workspace."""
        self._folder = home / FOLDER

    def find(self, spec: Any) -> str | None:
        """The SVG of a specification that was drawn before."""
        path = self._path(spec)
        try:
            svg = path.read_text(encoding="utf-8")
            os.utime(path)
        except (OSError, ValueError):
            return None
        return svg or None

    def keep(self, drawn: list[tuple[Any, str]]) -> None:
        """Keeps drawings; where that is not possible, they are drawn again the next time."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for spec, svg in drawn:
                path = self._path(spec)
                staged = path.with_suffix(f".{os.getpid()}")
                staged.write_text(svg, encoding="utf-8")
                staged.replace(path)
            by_age = sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime)
            for old in by_age[:-KEPT]:
                old.unlink(missing_ok=True)
        except OSError as error:
            _LOG.warning("drawings cannot be kept in %s: %s", self._folder, error)

    def _path(self, spec: Any) -> Path:
        digest = hashlib.sha256(_drawer().encode())
        digest.update(json.dumps(spec, sort_keys=True).encode())
        return self._folder / f"{digest.hexdigest()}.svg"


@functools.cache
def _drawer() -> str:
    return f"vl-convert-python=={metadata.version('vl-convert-python')}\n"
