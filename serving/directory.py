"""The serving directory: `<base>/<integer version>/`, each a whole SavedModel.

A version appears by one rename of a complete, synced folder, so that a server reading the
directory finds whole models at every instant. Hidden folders are staging and no versions.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

from contracts.errors import InfrastructureError

#: How often a version number taken by another publisher meanwhile is tried again.
MAX_ATTEMPTS = 100


def list_versions(base: str | Path) -> list[int]:
    """Versions in a serving directory, oldest first; empty if there is no directory."""
    try:
        entries = list(Path(base).iterdir())
    except FileNotFoundError:
        return []
    return sorted(int(e.name) for e in entries if e.name.isdecimal() and e.is_dir())


def publish(model: str | Path, base: str | Path) -> Path:
    """Copies a SavedModel into the serving directory as its next version.

    Args:
        model: Folder of the SavedModel.
        base: The serving directory; made if need be.

    Returns:
        The new version's folder.

    Raises:
        InfrastructureError: The copy failed (a full disk, say); nothing is left behind.
    """
    base = Path(base)
    staging: Path | None = None
    try:
        base.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=base))
        whole = staging / "model"
        shutil.copytree(model, whole)
        _sync_tree(whole)
        version = (list_versions(base) or [0])[-1] + 1
        for candidate in range(version, version + MAX_ATTEMPTS):
            if _rename_new(whole, base / str(candidate)):
                _sync(base)
                return base / str(candidate)
        raise InfrastructureError(f"{base}: {MAX_ATTEMPTS} versions were taken by others meanwhile")
    except (OSError, shutil.Error) as error:
        raise InfrastructureError(
            f"publishing to {base} failed: {error}",
            "free space or correct permissions, then run again: finished nodes are cached",
        ) from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def _rename_new(source: Path, target: Path) -> bool:
    """Renames a folder to a name nobody has; False if somebody has it."""
    try:
        # rename(2) replaces only an empty folder, and versions are never empty.
        source.rename(target)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            return False
        raise
    return True


def _sync_tree(folder: Path) -> None:
    for parent, _, files in os.walk(folder):
        for name in files:
            _sync(Path(parent, name))
        _sync(Path(parent))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
