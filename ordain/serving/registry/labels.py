"""Moving labels: promote, canary, rollback, and what a push does to them.

Each change is one rename of `labels.json` under a lock, so that a reader sees the labels before
or after it, and two writers lose no change. Nothing is deleted: a rollback moves a label. What a
server would refuse gets no label. Where signing is on, each change is signed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ordain.errors import ConfigError, InfrastructureError
from ordain.serving.registry.label_file import (
    CANARY,
    LABELS_FILE,
    STABLE,
    Canary,
    Change,
    Labels,
    read_labels,
)
from ordain.serving.registry.label_writing import (
    labels_lock,
    signature_of,
    with_change,
    write_labels,
)
from ordain.serving.registry.trust import Trust
from ordain.serving.registry.versions import list_versions
from ordain.serving.server.models.checks import find_problems

__all__ = [
    "CANARY",
    "STABLE",
    "Canary",
    "Change",
    "Labels",
    "Pushed",
    "drop_canary",
    "labels_lock",
    "promote",
    "read_labels",
    "record_push",
    "rollback",
    "set_canary",
]

#: What `promote` keeps of labels that it replaced.
REFUSED_FILE = "labels.json.refused"


@dataclass(frozen=True)
class Pushed:
    """What a push did to the labels.

    Attributes:
        labels: The labels after it.
        is_stable: Whether the new version is stable.
        reason: Why it is or is not, a sentence without its full stop.
    """

    labels: Labels
    is_stable: bool
    reason: str


def record_push(
    base: str | Path,
    version: int,
    who: str,
    promote: Literal["auto", "manual"],
    trust: Trust | None = None,
    compared: Collection[int | None] = (),
) -> Pushed:
    """Says what a push means for the labels, and makes it so.

    The rules, first that applies: with `push.promote: manual` nothing moves; a rollback has
    pinned stable: nothing moves; a push that ended before this one's has a higher version and
    is stable: nothing moves; another version became stable since a gate compared the new one with
    the stable version: nothing moves; otherwise the version becomes stable.

    Args:
        base: The serving directory.
        version: The new version.
        who: Whose push it was.
        promote: The project's `push.promote`.
        trust: The directory's project and keys.
        compared: What each gate that compares took for the stable version; None for "none yet".
    """
    base = Path(base)
    with labels_lock(base):
        labels = read_labels(base, trust)
        before = labels.stable
        others = [c for c in compared if before not in (None, version, c)]
        is_stable = False
        if promote == "manual":
            reason = f"push.promote is manual; stable stays {_name(before)}"
        elif labels.pinned:
            reason = f"a rollback pinned stable to {_name(before)}"
        elif before is not None and before > version:
            reason = f"version {before}, pushed meanwhile, is stable"
        elif others:
            reason = (
                f"stable has become {before} since this version was compared with "
                f"{'nothing' if others[0] is None else others[0]}"
            )
        else:
            is_stable = True
            reason = "it is the first" if before in (None, version) else f"stable was {before}"
        after = version if is_stable else before
        changed = replace(
            labels, stable=after, canary=_canary_beside(labels, version if is_stable else None)
        )
        changed = with_change(changed, who, reason, "publish", before, after, version)
        write_labels(base, changed, trust)
        return Pushed(changed, is_stable, reason)


def promote(
    base: str | Path,
    version: int,
    who: str,
    why: str,
    trust: Trust | None = None,
    is_replacing: bool = False,
) -> Labels:
    """Makes a version stable; a push may then move the label on again.

    Args:
        base: The serving directory.
        version: The version.
        who: Who wants it.
        why: The reason.
        trust: The directory's project and keys.
        is_replacing: Whether labels that are refused (unsigned, say) are replaced by new ones,
            without canary and history; the file is kept as `labels.json.refused`.

    Raises:
        ConfigError: There is no such version, or no key to sign with.
        InfrastructureError: A server would refuse the version, or the labels cannot be read or
            written.
    """
    base = Path(base)
    _check_version(base, version, trust)
    with labels_lock(base):
        _find_version(base, version)
        try:
            labels, is_refused = read_labels(base, trust), False
        except InfrastructureError:
            if not is_replacing:
                raise
            labels, is_refused = Labels(), True
        changed = replace(
            labels, stable=version, pinned=False, canary=_canary_beside(labels, version)
        )
        changed = with_change(changed, who, why, "promote", labels.stable, version, version)
        if is_refused:
            signature_of(changed, trust)  # what is refused stays as it is if nothing can replace it
            _keep_refused(base)
        return write_labels(base, changed, trust)


def rollback(
    base: str | Path,
    who: str,
    why: str,
    to: int | None = None,
    trust: Trust | None = None,
) -> Labels:
    """Puts stable back, and pins it there until the next `promote`.

    Args:
        base: The serving directory.
        who: Who wants it.
        why: The reason.
        to: The version; None for the one that was stable before.
        trust: The directory's project and keys.

    Raises:
        ConfigError: There is no such version, no earlier one, or it is stable already.
        InfrastructureError: The version is not whole, or the labels cannot be written.
    """
    base = Path(base)
    checked = to if to is not None else _previous(base, read_labels(base, trust))
    _check_version(base, checked, trust)
    with labels_lock(base):
        labels = read_labels(base, trust)
        target = to if to is not None else _previous(base, labels)
        _find_version(base, target)
        if target == labels.stable:
            raise ConfigError(f"version {target} is stable already", "ordain models list PROJECT")
        if target != checked:  # another hand was quicker
            _check_version(base, target, trust)
        changed = replace(labels, stable=target, pinned=True, canary=_canary_beside(labels, target))
        changed = with_change(changed, who, why, "rollback", labels.stable, target, target)
        return write_labels(base, changed, trust)


def set_canary(
    base: str | Path,
    version: int,
    share: float,
    who: str,
    why: str,
    trust: Trust | None = None,
) -> Labels:
    """Gives a version a share of the traffic beside stable.

    Raises:
        ConfigError: There is no such version, it is stable, or the share is not in (0, 1).
        InfrastructureError: The version is not whole, or the labels cannot be written.
    """
    base = Path(base)
    if not 0 < share < 1:
        raise ConfigError(
            f"a canary's share is above 0 and below 1, not {share:g}",
            "0.1 is a tenth of the requests; to give it all: ordain models promote",
        )
    _check_version(base, version, trust)
    with labels_lock(base):
        _find_version(base, version)
        labels = read_labels(base, trust)
        if version == labels.stable:
            raise ConfigError(f"version {version} is stable, so it cannot be the canary beside it")
        before = labels.version_of(CANARY)
        changed = replace(labels, canary=Canary(version, share))
        changed = with_change(changed, who, why, "canary", before, version, version, share)
        return write_labels(base, changed, trust)


def drop_canary(base: str | Path, who: str, why: str, trust: Trust | None = None) -> Labels:
    """Takes the canary's share away; the version stays.

    Raises:
        ConfigError: There is no canary.
        InfrastructureError: The labels cannot be written.
    """
    base = Path(base)
    with labels_lock(base):
        labels = read_labels(base, trust)
        if labels.canary is None:
            raise ConfigError("there is no canary", "ordain models canary PROJECT VERSION --share")
        before = labels.canary.version
        changed = replace(labels, canary=None)
        changed = with_change(changed, who, why, "drop_canary", before, None, before)
        return write_labels(base, changed, trust)


def _previous(base: Path, labels: Labels) -> int:
    """Where a rollback without a version leads."""
    have = list_versions(base)
    if labels.previous is not None and labels.previous in have:
        return labels.previous
    older = [v for v in have if labels.stable is not None and v < labels.stable]
    if not older:
        raise ConfigError(
            "no version was stable before: there is nothing to roll back to",
            "name one: ordain models rollback PROJECT VERSION",
        )
    return older[-1]


def _keep_refused(base: Path) -> None:
    """Gives refused labels a second name, so that there is no moment without the first."""
    path, kept = base / LABELS_FILE, base / REFUSED_FILE
    with contextlib.suppress(FileNotFoundError):
        kept.unlink(missing_ok=True)
        try:
            os.link(path, kept, follow_symlinks=False)
        except FileNotFoundError:
            raise
        except OSError:  # a folder, or a file system without hard links
            path.rename(kept)


def _check_version(base: Path, version: int, trust: Trust | None) -> None:
    """Refuses a version that is not there or that a server would refuse.

    Takes as long as a scan, so nobody holds the labels' lock meanwhile.
    """
    _find_version(base, version)
    problems = find_problems(base / str(version), trust)
    if problems:
        _find_version(base, version)  # it may have been removed while it was read
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise InfrastructureError(
            f"version {version} gets no label, a server would refuse it: {problems[0]}{more}",
            f"ordain models verify PROJECT {version}",
        )


def _find_version(base: Path, version: int) -> None:
    have = list_versions(base)
    if version not in have:
        raise ConfigError(
            f"there is no version {version} in {base}",
            f"versions there: {', '.join(map(str, have)) or 'none'}",
        )


def _canary_beside(labels: Labels, stable: int | None) -> Canary | None:
    """The canary that is left when a version becomes stable: not that version itself."""
    if labels.canary is not None and labels.canary.version == stable:
        return None
    return labels.canary


def _name(version: int | None) -> str:
    return "none" if version is None else str(version)
