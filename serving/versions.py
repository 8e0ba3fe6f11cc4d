"""Which versions a serving directory holds: folders named by a whole number."""

from __future__ import annotations

from pathlib import Path


def list_versions(base: str | Path) -> list[int]:
    """Versions in a serving directory, oldest first; empty if there is no directory."""
    try:
        entries = list(Path(base).iterdir())
    except FileNotFoundError:
        return []
    # `007` and digits of other scripts are numbers to int(), and no folder of ours.
    numbers = [e for e in entries if e.name.isdecimal() and str(int(e.name)) == e.name]
    return sorted(int(e.name) for e in numbers if e.is_dir())
