"""Where this package lies: for processes that import it and nothing else of the caller's."""

from __future__ import annotations

from pathlib import Path

#: The folder `ordain`.
PACKAGE = Path(__file__).resolve().parents[1]
#: What a process has on its path to import it.
ROOT = PACKAGE.parent
