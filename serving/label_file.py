"""`labels.json`: which version is stable, which is the canary, and every change there was.

The form of the file and its reading; `serving.labels` changes it.
"""

from __future__ import annotations

import getpass
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import InfrastructureError
from serving.versions import list_versions

LABELS_FILE = "labels.json"
STABLE = "stable"
CANARY = "canary"


@dataclass(frozen=True)
class Canary:
    """The version that gets a share of the traffic.

    Attributes:
        version: The version.
        share: Its part of the requests that name neither version nor label, in (0, 1).
    """

    version: int
    share: float


@dataclass(frozen=True)
class Change:
    """One change of a label.

    Attributes:
        at: When, UTC, ISO 8601.
        who: A person as `user@host`, or `run <run id>`.
        why: The reason that was given.
        action: `publish`, `promote`, `rollback`, `canary` or `drop_canary`.
        before: Version the label stood on, or None.
        after: Version it stands on since, or None; for a push that moved nothing, the old one.
        version: Version the change is about.
        share: The canary's share, or None.
    """

    at: str
    who: str
    why: str
    action: str
    before: int | None
    after: int | None
    version: int | None = None
    share: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        raw = {"at": self.at, "who": self.who, "why": self.why, "action": self.action}
        raw |= {"from": self.before, "to": self.after, "version": self.version}  # type: ignore[dict-item]
        return raw | ({} if self.share is None else {"share": self.share})


@dataclass(frozen=True)
class Labels:
    """All labels of a serving directory.

    Attributes:
        stable: The version that serves, or None while there is none.
        canary: The canary, or None.
        pinned: Whether stable was put where it is by a rollback: a push does not move it.
        changes: Every change, oldest first.
    """

    stable: int | None = None
    canary: Canary | None = None
    pinned: bool = False
    changes: tuple[Change, ...] = ()

    def version_of(self, label: str) -> int | None:
        """The version that has a label; None if none has."""
        if label == STABLE:
            return self.stable
        return self.canary.version if label == CANARY and self.canary is not None else None

    def labels_of(self, version: int) -> tuple[str, ...]:
        """The labels that a version has."""
        return tuple(label for label in (STABLE, CANARY) if self.version_of(label) == version)

    @property
    def labelled(self) -> frozenset[int]:
        """Every version that has a label."""
        return frozenset(v for v in map(self.version_of, (STABLE, CANARY)) if v is not None)

    @property
    def previous(self) -> int | None:
        """The version that was stable before the one that is, rollbacks undone; None if none was.

        Stable on 1, 2, 3 and rolled back to 2: before it was 1, not 3.
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
        """Versions that a rollback took out of service, or passed over, and none promoted since."""
        gone: set[int] = set()
        for change in self.changes:
            if change.action == "rollback" and change.before is not None:
                gone |= {change.before, *range((change.after or 0) + 1, change.before)}
            if change.action in ("publish", "promote", "rollback") and change.after is not None:
                gone.discard(change.after)
        return frozenset(gone - self.labelled)

    def to_json(self) -> str:
        """The file's text."""
        canary = self.canary and {"version": self.canary.version, "share": self.canary.share}
        raw = {
            "stable": self.stable,
            "canary": canary,
            "pinned": self.pinned,
            "changes": [change.to_dict() for change in self.changes],
        }
        return json.dumps(raw, indent=1) + "\n"


def read_labels(base: str | Path) -> Labels:
    """The labels of a serving directory.

    Without a file, as in a directory that something else filled, the newest version is stable.

    Raises:
        InfrastructureError: The file cannot be read.
    """
    path = Path(base, LABELS_FILE)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        versions = list_versions(base)
        return Labels(stable=versions[-1] if versions else None)
    except (OSError, UnicodeDecodeError) as error:
        raise InfrastructureError(f"{path} cannot be read: {error}") from error
    try:
        return _read(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InfrastructureError(
            f"{path} is damaged: {type(error).__name__}: {error}",
            "restore it from a backup, or remove it: the newest version is then stable",
        ) from error


def _read(raw: dict[str, Any]) -> Labels:
    canary = raw["canary"]
    changes = []
    for entry in raw["changes"]:
        known = {key: entry[key] for key in ("at", "who", "why", "action")}
        about = {key: entry.get(key) for key in ("version", "share")}
        changes.append(Change(**known, before=entry["from"], after=entry["to"], **about))
    stable = raw["stable"]
    return Labels(
        stable=None if stable is None else int(stable),
        canary=None if canary is None else Canary(int(canary["version"]), float(canary["share"])),
        pinned=bool(raw["pinned"]),
        changes=tuple(changes),
    )


def this_user() -> str:
    """Who moves a label from this process: `user@host`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
