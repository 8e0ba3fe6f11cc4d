"""Moves labels: promote, canary, rollback, and the effect of a push.

Each change is one rename of `labels.json` under a lock, so readers see the labels before or after
it, and concurrent writers lose no change. A rollback moves a label and deletes nothing. A version
that a server would refuse gets no label. Where signing is on, each change is signed.
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
    LABELS_FILE,
    Canary,
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
from ordain.serving.registry.verification import summary
from ordain.serving.registry.versions import list_versions, version_folder
from ordain.serving.server.models.checks import find_problems

#: Copy of the labels that `promote` replaced.
REFUSED_FILE = "labels.json.refused"


@dataclass(frozen=True)
class Pushed:
    """Effect of a push on the labels.

    Attributes:
        labels: The labels after it.
        is_stable: Whether the new version is stable.
        reason: Why it is or is not.
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
    """Records a push, and makes the new version stable if the rules allow it.

    Stable does not move if `push.promote` is `manual`; if a rollback pinned it; if a concurrent
    push with a higher version is stable; or if another version became stable since a gate compared
    the new one with the stable version.

    Args:
        base: The serving directory.
        version: The new version.
        who: Author of the push.
        promote: The project's `push.promote`.
        trust: The directory's project and keys.
        compared: The stable version that each comparing gate used; None for "none yet".
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
        after = replace(labels, stable=version) if is_stable else labels
        changed = with_change(labels, after, who, reason, "publish", version)
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
    """Makes a version stable; later pushes may move the label again.

    Args:
        base: The serving directory.
        version: The version.
        who: Author of the change.
        why: The reason.
        trust: The directory's project and keys.
        is_replacing: Whether invalid labels (for example unsigned ones) are replaced by new ones
            without canary and history; the file is kept as `labels.json.refused`.

    Raises:
        ConfigError: There is no such version, or no key to sign with.
        InfrastructureError: A server would refuse the version, or the labels cannot be read or
            written.
    """
    base = Path(base)
    _check_version(base, version, trust)
    with labels_lock(base):
        version_folder(base, version)
        try:
            labels, is_refused = read_labels(base, trust), False
        except InfrastructureError:
            if not is_replacing:
                raise
            labels, is_refused = Labels(), True
        after = replace(labels, stable=version, pinned=False)
        changed = with_change(labels, after, who, why, "promote", version)
        if is_refused:
            signature_of(changed, trust)  # first: without a key the old file stays as it is
            _keep_refused(base)
        return write_labels(base, changed, trust)


def rollback(
    base: str | Path,
    who: str,
    why: str,
    to: int | None = None,
    trust: Trust | None = None,
) -> Labels:
    """Moves stable back, and pins it there until the next `promote`.

    Args:
        base: The serving directory.
        who: Author of the change.
        why: The reason.
        to: The version; None for the previous stable one.
        trust: The directory's project and keys.

    Raises:
        ConfigError: There is no such version, no earlier one, or it is stable already.
        InfrastructureError: The version is incomplete, or the labels cannot be written.
    """
    base = Path(base)
    checked = to if to is not None else _previous(base, read_labels(base, trust))
    _check_version(base, checked, trust)
    with labels_lock(base):
        labels = read_labels(base, trust)
        target = to if to is not None else _previous(base, labels)
        version_folder(base, target)
        if target == labels.stable:
            raise ConfigError(f"version {target} is stable already", "ordain models list PROJECT")
        if target != checked:  # the labels were changed meanwhile
            _check_version(base, target, trust)
        after = replace(labels, stable=target, pinned=True)
        changed = with_change(labels, after, who, why, "rollback", target)
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
        InfrastructureError: The version is incomplete, or the labels cannot be written.
    """
    base = Path(base)
    if not 0 < share < 1:
        raise ConfigError(
            f"a canary's share must be above 0 and below 1, not {share:g}",
            "0.1 is a tenth of the requests; for all of them: ordain models promote",
        )
    _check_version(base, version, trust)
    with labels_lock(base):
        version_folder(base, version)
        labels = read_labels(base, trust)
        if version == labels.stable:
            raise ConfigError(f"version {version} is stable, so it cannot be the canary")
        after = replace(labels, canary=Canary(version, share))
        changed = with_change(labels, after, who, why, "canary", version)
        return write_labels(base, changed, trust)


def drop_canary(base: str | Path, who: str, why: str, trust: Trust | None = None) -> Labels:
    """Removes the canary label; the version stays.

    Raises:
        ConfigError: There is no canary.
        InfrastructureError: The labels cannot be written.
    """
    base = Path(base)
    with labels_lock(base):
        labels = read_labels(base, trust)
        if labels.canary is None:
            raise ConfigError("there is no canary", "ordain models canary PROJECT VERSION --share")
        after = replace(labels, canary=None)
        changed = with_change(labels, after, who, why, "drop_canary", labels.canary.version)
        return write_labels(base, changed, trust)


def _previous(base: Path, labels: Labels) -> int:
    """Target of a rollback without a version."""
    have = list_versions(base)
    if labels.previous is not None and labels.previous in have:
        return labels.previous
    older = [v for v in have if labels.stable is not None and v < labels.stable]
    if not older:
        raise ConfigError(
            "no version was stable before: there is nothing to roll back to",
            "name a version: ordain models rollback PROJECT VERSION",
        )
    return older[-1]


def _keep_refused(base: Path) -> None:
    """Links invalid labels under a second name, so that the first exists at every instant."""
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
    """Rejects a version that does not exist or that a server would refuse.

    Runs without the labels' lock, because a scan takes time.
    """
    folder = version_folder(base, version)
    problems = find_problems(folder, trust)
    if problems:
        version_folder(base, version)  # it may have been removed while it was read
        raise InfrastructureError(
            f"version {version} gets no label, a server would refuse it: {summary(problems)}",
            f"ordain models verify PROJECT {version}",
        )


def _name(version: int | None) -> str:
    return "none" if version is None else str(version)
