"""Moving labels: promote, canary, rollback, and what a push does to them.

Each change is one rename of `labels.json` under a lock, so that a reader sees the labels before
or after it, and two writers lose no change. Nothing is deleted: a rollback moves a label. What a
server would refuse gets no label. Where signing is on, each change is signed.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from contracts.errors import ConfigError, InfrastructureError
from serving import tensorflow_serving
from serving.files import locked, write_whole
from serving.label_file import CANARY, LABELS_FILE, STABLE, Canary, Change, Labels, read_labels
from serving.server.checks import find_problems
from serving.trust import Trust
from serving.versions import list_versions

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
    "settle",
]

LOCK_FILE = ".labels.lock"
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


def settle(base: str | Path, trust: Trust | None = None) -> None:
    """Writes down the labels of a directory that has no file yet.

    Before a push: without the file its version would be stable from its first moment on, also
    where it is not meant to be.

    Raises:
        ConfigError: Signing is on, and there is no key that can be used.
        InfrastructureError: The labels cannot be read or written, or are not signed as they have
            to be.
    """
    base = Path(base)
    with labels_lock(base):
        labels = read_labels(base, trust)
        if not (base / LABELS_FILE).exists():
            _write(base, labels, trust)


def record_push(
    base: str | Path,
    version: int,
    who: str,
    promote: Literal["auto", "manual"],
    trust: Trust | None = None,
) -> Pushed:
    """Says what a push means for the labels, and makes it so.

    The rules, first that applies: with `push.promote: manual` nothing moves; a rollback has
    pinned stable: nothing moves; a push that ended before this one's has a higher version and
    is stable: nothing moves; otherwise the version becomes stable.

    Args:
        base: The serving directory.
        version: The new version.
        who: Whose push it was.
        promote: The project's `push.promote`.
        trust: The directory's project and keys.
    """
    base = Path(base)
    with labels_lock(base):
        labels = read_labels(base, trust)
        before = labels.stable
        is_stable = False
        if promote == "manual":
            reason = f"push.promote is manual; stable stays {_name(before)}"
        elif labels.pinned:
            reason = f"a rollback pinned stable to {_name(before)}"
        elif before is not None and before > version:
            reason = f"version {before}, pushed meanwhile, is stable"
        else:
            is_stable = True
            reason = "it is the first" if before in (None, version) else f"stable was {before}"
        after = version if is_stable else before
        changed = replace(
            labels, stable=after, canary=_canary_beside(labels, version if is_stable else None)
        )
        changed = _with_change(changed, who, reason, "publish", before, after, version)
        _write(base, changed, trust)
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
    with labels_lock(base):
        try:
            labels, is_refused = read_labels(base, trust), False
        except InfrastructureError:
            if not is_replacing:
                raise
            labels, is_refused = Labels(), True
        _check_version(base, version, trust)
        changed = replace(
            labels, stable=version, pinned=False, canary=_canary_beside(labels, version)
        )
        changed = _with_change(changed, who, why, "promote", labels.stable, version, version)
        if is_refused:
            _signature(changed, trust)  # what is refused stays where it is if nothing replaces it
            with contextlib.suppress(FileNotFoundError):
                (base / LABELS_FILE).rename(base / REFUSED_FILE)
        return _write(base, changed, trust)


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
    with labels_lock(base):
        labels = read_labels(base, trust)
        target = to if to is not None else _previous(base, labels)
        if target == labels.stable:
            raise ConfigError(f"version {target} is stable already", "ordain models list PROJECT")
        _check_version(base, target, trust)
        changed = replace(labels, stable=target, pinned=True, canary=_canary_beside(labels, target))
        changed = _with_change(changed, who, why, "rollback", labels.stable, target, target)
        return _write(base, changed, trust)


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
    with labels_lock(base):
        labels = read_labels(base, trust)
        if version == labels.stable:
            raise ConfigError(f"version {version} is stable, so it cannot be the canary beside it")
        _check_version(base, version, trust)
        before = labels.version_of(CANARY)
        changed = replace(labels, canary=Canary(version, share))
        changed = _with_change(changed, who, why, "canary", before, version, version, share)
        return _write(base, changed, trust)


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
        changed = _with_change(changed, who, why, "drop_canary", before, None, before)
        return _write(base, changed, trust)


@contextlib.contextmanager
def labels_lock(base: Path) -> Iterator[None]:
    """Keeps the labels of a serving directory as they are, but for the holder's own changes."""
    with locked(base / LOCK_FILE):
        yield


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


def _check_version(base: Path, version: int, trust: Trust | None) -> None:
    have = list_versions(base)
    if version not in have:
        raise ConfigError(
            f"there is no version {version} in {base}",
            f"versions there: {', '.join(map(str, have)) or 'none'}",
        )
    problems = find_problems(base / str(version), trust)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise InfrastructureError(
            f"version {version} gets no label, a server would refuse it: {problems[0]}{more}",
            f"ordain models verify PROJECT {version}",
        )


def _canary_beside(labels: Labels, stable: int | None) -> Canary | None:
    """The canary that is left when a version becomes stable: not that version itself."""
    if labels.canary is not None and labels.canary.version == stable:
        return None
    return labels.canary


def _with_change(
    labels: Labels,
    who: str,
    why: str,
    action: str,
    before: int | None,
    after: int | None,
    version: int,
    share: float | None = None,
) -> Labels:
    now = datetime.datetime.now(datetime.UTC)
    if labels.changed is not None:
        # Later than the last one also where another machine's clock is ahead: whoever follows
        # signed labels takes none that are older than what it knows.
        now = max(now, labels.changed + datetime.timedelta(milliseconds=1))
    at = now.isoformat(timespec="milliseconds")
    change = Change(at, who, why, action, before, after, version, share)
    return replace(labels, changes=(*labels.changes, change))


def _write(base: Path, labels: Labels, trust: Trust | None) -> Labels:
    signature = _signature(labels, trust)
    try:
        write_whole(base / LABELS_FILE, labels.to_json(signature))
    except OSError as error:
        raise InfrastructureError(
            f"{base / LABELS_FILE} cannot be written: {error.strerror}; the labels are as before",
            "free space or correct permissions, then try again",
        ) from error
    tensorflow_serving.write_config(base, labels)
    return labels


def _signature(labels: Labels, trust: Trust | None) -> str | None:
    """The signature of labels that are to be written; None while signing is off.

    Raises:
        ConfigError: There is no private key, or it is not the public one's other half.
    """
    key = trust.key() if trust is not None else None
    if trust is None or trust.public_key is None or key is None:
        return None
    from serving.signing import is_signature_of, sign_text  # noqa: PLC0415  signing is optional

    text = labels.signed_text(trust.project)
    signature = sign_text(text, key)
    if not is_signature_of(text, signature, trust.public_key):
        raise ConfigError(
            f"push.signing: {key.path} and {trust.public_key} are no pair: what one signs does not "
            "verify by the other",
            "name the two files that were made together; docs/serving-directory.md makes a pair",
        )
    return signature


def _name(version: int | None) -> str:
    return "none" if version is None else str(version)
