"""Cache of charts' SVGs over reports.

Compiling and drawing charts takes most of the time of a report, and a run with few changes has most
charts of the run before. An SVG is stored under the digest of its specification; the folder may be
removed at any time.
"""

from __future__ import annotations

import functools
import hashlib
import json
from importlib import metadata
from pathlib import Path
from typing import Any

from ordain.common.file_cache import FileCache

#: Folder in the project's part of the workspace.
FOLDER = "drawings"
#: SVGs of one project; a report of flights has about 60.
KEPT = 1000


class SvgCache:
    """The SVGs of one project."""

    def __init__(self, home: Path) -> None:
        """Create it in the project's part of the workspace."""
        self._files = FileCache(home / FOLDER, KEPT)

    def find(self, spec: Any) -> str | None:
        """Find the SVG of a specification."""
        content = self._files.get(_name(spec))
        return content.decode("utf-8", "replace") if content else None

    def keep(self, drawn: list[tuple[Any, str]]) -> None:
        """Store SVGs; a failure is logged and they are drawn again the next time."""
        self._files.put({_name(spec): svg.encode() for spec, svg in drawn})


def _name(spec: Any) -> str:
    digest = hashlib.sha256(_drawer().encode())
    digest.update(json.dumps(spec, sort_keys=True).encode())
    return f"{digest.hexdigest()}.svg"


@functools.cache
def _drawer() -> str:
    return f"vl-convert-python=={metadata.version('vl-convert-python')}\n"
