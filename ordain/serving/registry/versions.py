"""Versions of a serving directory: its folders whose name is a whole number."""

from __future__ import annotations

from pathlib import Path

from ordain.errors import ConfigError, InfrastructureError

#: The protocols carry a version in 64 bits.
MAX_VERSION = 2**63 - 1


def list_versions(base: str | Path) -> list[int]:
    """Lists the versions of a serving directory, oldest first; empty if there is no directory.

    Raises:
        InfrastructureError: It is not a folder, or cannot be read.
    """
    try:
        entries = list(Path(base).iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InfrastructureError(f"{base} cannot be read: {error.strerror}") from error
    # int() also reads `007` and digits of other scripts, which are not versions.
    numbers = [e for e in entries if e.name.isdecimal() and str(int(e.name)) == e.name]
    return sorted(v for e in numbers if (v := int(e.name)) <= MAX_VERSION and e.is_dir())


def version_folder(base: str | Path, version: int) -> Path:
    """The folder of a version.

    Raises:
        ConfigError: There is no such version.
        InfrastructureError: The directory cannot be read.
    """
    versions = list_versions(base)
    if version not in versions:
        raise ConfigError(
            f"there is no version {version} in {base}",
            f"versions there: {', '.join(map(str, versions)) or 'none'}",
        )
    return Path(base, str(version))
