"""Reads `labels.json`: the stable version, the canary, and the history of changes.

`ordain.serving.registry.labels` changes it. Where signing is on, the file is signed too, so that
nobody without the key can move a label.
"""

from __future__ import annotations

import contextlib
import datetime
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from ordain.common.atomic_files import read_plain
from ordain.common.strict_json import WholeNumber, object_of, parse_json, parse_record
from ordain.errors import InfrastructureError
from ordain.serving.registry.manifest import MANIFEST_FILE
from ordain.serving.registry.trust import Trust
from ordain.serving.registry.versions import list_versions

LABELS_FILE = "labels.json"
#: Enough for a hundred thousand changes; larger files are refused.
MAX_LABELS_BYTES = 32_000_000
STABLE = "stable"
CANARY = "canary"


@dataclass(frozen=True)
class Canary:
    """The version that gets a share of the traffic.

    Attributes:
        version: The version.
        share: Its share of the requests that name neither version nor label, in (0, 1).
    """

    version: WholeNumber
    share: Annotated[float, Field(gt=0, lt=1)]


def _check_time(text: str) -> str:
    with contextlib.suppress(ValueError):
        time = datetime.datetime.fromisoformat(text)
        if time.tzinfo is not None and 1970 <= time.year < 9000:
            return text
    raise ValueError("must be a time with a time zone")


@dataclass(frozen=True)
class Change:
    """One change of a label.

    Attributes:
        at: Time, UTC, ISO 8601.
        who: A person as `user@host`, or `run <run id>`.
        why: The reason.
        action: `publish`, `promote`, `rollback`, `canary` or `drop_canary`.
        before: Version with the label before, or None.
        after: Version with the label after, or None; unchanged by a push that moved nothing.
        version: Version that the change is about.
        share: The canary's share, or None.
    """

    at: Annotated[str, AfterValidator(_check_time)]
    who: str
    why: str
    action: str
    before: Annotated[WholeNumber | None, Field(alias="from")]
    after: Annotated[WholeNumber | None, Field(alias="to")]
    version: WholeNumber | None = None
    share: Annotated[float | None, Field(exclude_if=lambda share: share is None)] = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return object_of(self)


@dataclass(frozen=True)
class Labels:
    """All labels of a serving directory.

    Attributes:
        stable: The stable version, or None while there is none.
        canary: The canary, or None.
        pinned: Whether a rollback set stable, so that a push does not move it.
        changes: Every change, oldest first.
    """

    stable: WholeNumber | None = None
    canary: Canary | None = None
    pinned: bool = False
    changes: tuple[Change, ...] = ()

    def version_of(self, label: str) -> int | None:
        """The version that has a label, or None."""
        if label == STABLE:
            return self.stable
        return self.canary.version if label == CANARY and self.canary is not None else None

    def labels_of(self, version: int) -> tuple[str, ...]:
        """The labels of a version."""
        return tuple(label for label in (STABLE, CANARY) if self.version_of(label) == version)

    @property
    def labelled(self) -> frozenset[int]:
        """All versions with a label."""
        return frozenset(v for v in map(self.version_of, (STABLE, CANARY)) if v is not None)

    @property
    def previous(self) -> int | None:
        """The stable version before the current one, with rollbacks undone; None if none was.

        After stable on 1, 2, 3 and a rollback to 2, it is 1, not 3.
        """
        trail: list[int] = []
        for change in self.changes:
            if change.action not in ("publish", "promote", "rollback"):
                continue
            if change.before is not None and not trail:
                trail = [change.before]
            if change.after is None or trail[-1:] == [change.after]:
                continue
            if change.action == "rollback" and change.after in trail:
                del trail[trail.index(change.after) + 1 :]
            else:
                trail = [v for v in trail if v != change.after] + [change.after]
        return trail[-2] if len(trail) > 1 else None

    @property
    def rolled_back(self) -> frozenset[int]:
        """Versions that a rollback took out of service or skipped, and not promoted since."""
        gone: set[int] = set()
        for change in self.changes:
            if change.action == "rollback" and change.before is not None:
                gone |= {change.before, *range((change.after or 0) + 1, change.before)}
            if change.action in ("publish", "promote", "rollback") and change.after is not None:
                gone.discard(change.after)
        return frozenset(gone - self.labelled)

    @property
    def changed(self) -> datetime.datetime | None:
        """Time of the last change; None if there was none."""
        return datetime.datetime.fromisoformat(self.changes[-1].at) if self.changes else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dict, without the signature."""
        return object_of(self)

    def to_json(self, signature: str | None = None) -> str:
        """The file's text, with the signature of `signed_text`, if any."""
        raw = self.to_dict() | ({} if signature is None else {"signature": signature})
        return json.dumps(raw, indent=1, allow_nan=False) + "\n"

    def signed_text(self, project: str) -> str:
        """The signed text: the project and all fields."""
        return f"ordain labels 1\n{project}\n{json.dumps(self.to_dict(), sort_keys=True)}"


def read_labels(base: str | Path, trust: Trust | None = None) -> Labels:
    """Reads the labels of a serving directory.

    Without a file, as in a directory filled by another tool, the newest version is stable. If
    ordain has published there, a missing file is an error, because ordain writes the labels before
    the version, and a lost file would reinstate versions that were rolled back. It is an error too
    if signing is on and there is a version.

    Args:
        base: The serving directory.
        trust: Required signer of the labels; None, or no key in it, skips the signature.

    Raises:
        InfrastructureError: The file is lost, cannot be read, or its signature is missing or wrong.
        ConfigError: The key cannot be used.
    """
    path = Path(base, LABELS_FILE)
    try:
        text = read_plain(Path(base), LABELS_FILE, MAX_LABELS_BYTES)
        labels = parse_record(text, Labels)
    except FileNotFoundError:
        versions = list_versions(base)
        if versions and trust is not None and trust.is_signed:
            why = "signing is on"
        else:
            ours = (v for v in versions if Path(base, str(v), MANIFEST_FILE).is_file())
            published = next(ours, None)
            why = "" if published is None else f"version {published} was published there"
        if why:
            raise InfrastructureError(
                f"{path} is missing, and {why}: the stable version and rollbacks are unknown",
                _REPLACE if trust is not None and trust.is_signed else _RESTORE,
            ) from None
        return Labels(stable=versions[-1] if versions else None)
    except ValueError as error:
        raise InfrastructureError(f"{path} is damaged: {error}", _RESTORE) from error
    if trust is not None and trust.public_key is not None:
        signature = parse_json(text).get("signature")
        _check_signature(path, labels, signature, trust.project, trust.public_key)
    return labels


class FollowedLabels:
    """Labels for a process that reads them repeatedly; signed labels must not get older."""

    def __init__(self, base: Path, trust: Trust | None) -> None:
        """Reads nothing yet."""
        self._base, self._trust = base, trust
        self._newest: datetime.datetime | None = None

    def read(self) -> Labels:
        """Reads the current labels.

        Raises:
            InfrastructureError: As `read_labels`; or they are signed and older than those read
                before, so somebody restored an old file.
        """
        labels = read_labels(self._base, self._trust)
        if self._trust is not None and self._trust.is_signed:
            changed = labels.changed
            if self._newest is not None and (changed is None or changed < self._newest):
                raise InfrastructureError(
                    f"{self._base / LABELS_FILE} is older than the labels that were read before: "
                    f"last change {changed or 'unknown'}, before {self._newest}",
                    _REPLACE,
                )
            self._newest = changed
        return labels


_RESTORE = (
    "restore the file from a backup, or choose the stable version: ordain models promote PROJECT "
    "VERSION --replace-labels --why REASON"
)
_REPLACE = (
    "ordain models promote PROJECT VERSION --replace-labels --why REASON, with the private key, "
    "writes and signs it anew"
)


def _check_signature(
    path: Path, labels: Labels, signature: Any, project: str, public_key: Path
) -> None:
    from ordain.serving.registry.signing import is_signature_of  # noqa: PLC0415  signing is optional

    if signature is None:
        raise InfrastructureError(f"{path} is not signed, and signing is on", _REPLACE)
    text = labels.signed_text(project)
    if not isinstance(signature, str) or not is_signature_of(text, signature, public_key):
        raise InfrastructureError(
            f"{path} does not verify: the signature is not of these labels, the project {project} "
            f"and the key {public_key}",
            _REPLACE,
        )
