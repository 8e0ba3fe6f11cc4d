"""Which versions a serving directory holds: folders named by a whole number."""

from __future__ import annotations

from pathlib import Path

from ordain.errors import InfrastructureError

#: The protocols carry a version in 64 bits.
MAX_VERSION = 2**63 - 1


def list_versions(base: str | Path) -> list[int]:
    """Versions in a serving directory, oldest first; empty if there is no directory.

    Raises:
        InfrastructureError: It is no folder, or cannot be read.
    """
    try:
        entries = list(Path(base).iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InfrastructureError(f"{base} cannot be read: {error.strerror}") from error
    # `007` and digits of other scripts are numbers to int(), and no folder of ours.
    numbers = [e for e in entries if e.name.isdecimal() and str(int(e.name)) == e.name]
    return sorted(v for e in numbers if (v := int(e.name)) <= MAX_VERSION and e.is_dir())
