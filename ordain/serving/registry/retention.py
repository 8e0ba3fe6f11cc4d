"""Retention: decides which versions of a serving directory to remove, and removes them.

A version is renamed to a hidden name before it is deleted, so that no reader sees half of one.
Kept are:

1. every version with a label;
2. the previous stable version, the target of a rollback;
3. the newest N;
4. the newest, for any N: `evaluate.baseline: latest` compares with it;
5. versions that the caller names, such as the one that `evaluate.baseline` pins.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ordain.common.atomic_files import sync
from ordain.common.digests import size_of
from ordain.errors import InfrastructureError
from ordain.serving.registry import tensorflow_serving
from ordain.serving.registry.directory import REMOVED_PREFIX
from ordain.serving.registry.label_file import LABELS_FILE, Labels, read_labels
from ordain.serving.registry.label_writing import labels_lock
from ordain.serving.registry.trust import Trust
from ordain.serving.registry.versions import list_versions


@dataclass(frozen=True)
class Fate:
    """Decision on a version.

    Attributes:
        version: The version.
        size_bytes: Size of its files.
        kept: Reasons to keep it; empty if it is removed.
    """

    version: int
    size_bytes: int
    kept: tuple[str, ...]


def decide(
    versions: list[int], labels: Labels, keep: int, named: Mapping[int, str] | None = None
) -> dict[int, tuple[str, ...]]:
    """Reasons to keep each version, by the module's rules; those without a reason are removed.

    Args:
        versions: All versions, oldest first.
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
    """Removes the versions without a reason to keep them.

    Args:
        base: The serving directory.
        keep: How many of the newest are kept.
        is_dry_run: Whether to decide only, and remove nothing.
        named: Further versions to keep, with the reason.
        trust: Required signer of the labels.

    Returns:
        The decision on each version, oldest first.

    Raises:
        InfrastructureError: The labels cannot be read, and nothing was removed; or a version cannot
            be removed, and those before it were.
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
        # TensorFlow Serving unloads them before their files are removed.
        if gone and (base / LABELS_FILE).exists():
            tensorflow_serving.write_config(base, labels)
        hidden = [_hide(base, version) for version in gone]
    for folder in hidden:
        shutil.rmtree(folder, ignore_errors=True)
    return fates


def _fates(base: Path, labels: Labels, keep: int, named: Mapping[int, str] | None) -> list[Fate]:
    reasons = decide(list_versions(base), labels, keep, named)
    return [Fate(version, size_of(base / str(version)), why) for version, why in reasons.items()]


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
