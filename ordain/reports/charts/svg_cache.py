"""Drawings kept from page to page.

Compiling and drawing the charts takes most of a report's time, and a run in which little is new
has most charts of the run before. A drawing is kept under the digest of what was to be drawn, so
that it can be no other; the folder may be removed at any time.
"""

from __future__ import annotations

import functools
import hashlib
import json
from importlib import metadata
from pathlib import Path
from typing import Any

from ordain.common.file_cache import KeptFiles

#: Folder in the project's part of the workspace.
FOLDER = "drawings"
#: Kept for one project; a page of flights has about 60.
KEPT = 1000


class KeptDrawings:
    """The drawings of one project."""

    def __init__(self, home: Path) -> None:
        """Takes the project's part of the workspace."""
        self._files = KeptFiles(home / FOLDER, KEPT)

    def find(self, spec: Any) -> str | None:
        """The SVG of a specification that was drawn before."""
        content = self._files.find(_name(spec))
        return content.decode("utf-8", "replace") if content else None

    def keep(self, drawn: list[tuple[Any, str]]) -> None:
        """Keeps drawings; where that is not possible, they are drawn again the next time."""
        self._files.keep({_name(spec): svg.encode() for spec, svg in drawn})


def _name(spec: Any) -> str:
    digest = hashlib.sha256(_drawer().encode())
    digest.update(json.dumps(spec, sort_keys=True).encode())
    return f"{digest.hexdigest()}.svg"


@functools.cache
def _drawer() -> str:
    return f"vl-convert-python=={metadata.version('vl-convert-python')}\n"
