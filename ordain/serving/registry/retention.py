"""Which versions a serving directory may lose, and their removal.

A version disappears by one rename to a hidden name and is deleted then, so that no reader sees
half of one. What is kept, and why:

1. every version that has a label;
2. the one that was stable before: a rollback leads there;
3. the newest N;
4. the newest, whatever N is: what `evaluate.baseline: latest` compares with;
5. what the caller names, such as the version that `evaluate.baseline` pins.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ordain.common.atomic_files import sync
from ordain.errors import InfrastructureError
from ordain.serving.registry import tensorflow_serving
from ordain.serving.registry.directory import REMOVED_PREFIX
from ordain.serving.registry.label_file import LABELS_FILE, Labels, read_labels
from ordain.serving.registry.labels import labels_lock
from ordain.serving.registry.trust import Trust
from ordain.serving.registry.versions import list_versions


@dataclass(frozen=True)
class Fate:
    """What becomes of a version.

    Attributes:
        version: The version.
        size_bytes: Size of its files.
        kept: Why it is kept; empty for one that goes.
    """

    version: int
    size_bytes: int
    kept: tuple[str, ...]


def decide(
    versions: list[int], labels: Labels, keep: int, named: Mapping[int, str] | None = None
) -> dict[int, tuple[str, ...]]:
    """Why each version is kept; versions without a reason go. See the module's rules.

    Args:
        versions: Versions there are, oldest first.
        labels: The labels.
        keep: How many of the newest are kept.
        named: Further versions to keep, with the reason.
    """
    newest = versions[-keep:] if keep else []
    reasons: dict[int, tuple[str, ...]] = {}
    for version in versions:
        why = list(labels.labels_of(version))
        why += ["stable before"] if version == labels.previous else []
        why += [f"among the newest {keep}"] if version in newest else []
        why += ["the newest"] if version == versions[-1] else []
        why += [named[version]] if named and version in named else []
        reasons[version] = tuple(why)
    return reasons


def prune(
    base: str | Path,
    keep: int,
    is_dry_run: bool = False,
    named: Mapping[int, str] | None = None,
    trust: Trust | None = None,
) -> list[Fate]:
    """Removes the versions that nothing keeps.

    Args:
        base: The serving directory.
        keep: How many of the newest are kept.
        is_dry_run: Whether to say only what would be removed.
        named: Further versions to keep, with the reason.
        trust: Whose labels decide.

    Returns:
        Each version's fate, oldest first.

    Raises:
        InfrastructureError: The labels cannot be read, and nothing is removed; or a version cannot
            be removed, and those before it are.
    """
    base = Path(base)
    if not base.is_dir():
        return []
    if is_dry_run:
        return _fates(base, read_labels(base, trust), keep, named)
    with labels_lock(base):
        labels = read_labels(base, trust)
        fates = _fates(base, labels, keep, named)
        gone = [fate.version for fate in fates if not fate.kept]
        # A server that follows drops them before their files go.
        if gone and (base / LABELS_FILE).exists():
            tensorflow_serving.write_config(base, labels)
        hidden = [_hide(base, version) for version in gone]
    for folder in hidden:
        shutil.rmtree(folder, ignore_errors=True)
    return fates


def _fates(base: Path, labels: Labels, keep: int, named: Mapping[int, str] | None) -> list[Fate]:
    reasons = decide(list_versions(base), labels, keep, named)
    return [Fate(version, size_of(base / str(version)), why) for version, why in reasons.items()]


def size_of(folder: Path) -> int:
    """Size of all files below a folder, in bytes; what vanishes meanwhile does not count."""
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                found = Path(parent, name).lstat()
                total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return total


def _hide(base: Path, version: int) -> Path:
    hidden = base / f"{REMOVED_PREFIX}{version}-{secrets.token_hex(4)}"
    try:
        (base / str(version)).rename(hidden)
        sync(base)
    except OSError as error:
        raise InfrastructureError(
            f"{base / str(version)} cannot be removed: {error.strerror}", "correct permissions"
        ) from error
    return hidden
