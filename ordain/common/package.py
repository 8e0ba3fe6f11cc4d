"""Folders of this package, for child processes that import it."""

from __future__ import annotations

from pathlib import Path

#: The package's folder.
PACKAGE = Path(__file__).resolve().parents[1]
#: The folder to put on `sys.path` to import it.
ROOT = PACKAGE.parent
