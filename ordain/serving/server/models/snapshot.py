"""Snapshots of the serving directory: its labels and versions, and fingerprints of its content."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ordain.errors import InfrastructureError
from ordain.serving.registry.label_file import CANARY, LABELS_FILE, STABLE, FollowedLabels, Labels
from ordain.serving.registry.trust import Trust
from ordain.serving.registry.versions import list_versions
from ordain.serving.server.models.loading import Fingerprint


@dataclass(frozen=True)
class Snapshot:
    """The serving directory at one instant.

    Attributes:
        fingerprint: Identity, size and time of the labels file, then of each version's folder;
            cheap enough to be computed at every poll.
        labels: Its labels.
        present: Its versions, oldest first.
    """

    fingerprint: Fingerprint = ()
    labels: Labels = field(default_factory=Labels)
    present: tuple[int, ...] = ()

    @property
    def labels_fingerprint(self) -> Fingerprint:
        """The part of the fingerprint that changes with the labels."""
        return self.fingerprint[:1]

    @property
    def labelled(self) -> list[tuple[int, str]]:
        """The labelled versions with their labels, each once, the most urgent first."""
        labels = self.labels
        found = [] if labels.stable is None else [(labels.stable, STABLE)]
        if labels.canary is not None and labels.canary.version != labels.stable:
            found.append((labels.canary.version, CANARY))
        return found

    def wanted(self, all_versions: bool) -> list[tuple[int, str]]:
        """Versions required in memory, with their labels; the most urgent first.

        Args:
            all_versions: Whether versions without a label are wanted too.
        """
        labelled = dict(self.labelled)
        rest = reversed(self.present) if all_versions else ()
        return self.labelled + [(version, "") for version in rest if version not in labelled]


class DirectoryReader:
    """Takes snapshots of a serving directory; slow file systems do not block the event loop."""

    def __init__(self, base: Path, trust: Trust | None) -> None:
        self._base = base
        self._labels = FollowedLabels(base, trust)

    async def read(self, last: Snapshot, is_serving: bool) -> Snapshot:
        """Takes a snapshot; returns `last` itself if nothing has changed.

        A folder that was moved or a disk that is no longer mounted reads as a directory without
        versions and labels. Labelled versions are never pruned, so a directory does not become
        empty otherwise.

        Args:
            last: The snapshot before.
            is_serving: Whether versions are in memory, so that an empty directory is a fault.

        Raises:
            InfrastructureError: The labels cannot be read, or the directory is gone.
        """
        fingerprint = await asyncio.to_thread(_fingerprint, self._base)
        self._check_present(fingerprint[1:], is_serving)
        if fingerprint == last.fingerprint:
            return last
        labels = await asyncio.to_thread(self._labels.read)
        present = tuple(await asyncio.to_thread(list_versions, self._base))
        self._check_present(present, is_serving)  # it may have gone while the labels were read
        return Snapshot(fingerprint, labels, present)

    async def contents(self, versions: Iterable[int]) -> dict[int, Fingerprint]:
        """Fingerprints of the content of versions' folders."""
        return await asyncio.to_thread(
            lambda: {version: _content(self._base / str(version)) for version in versions}
        )

    def _check_present(self, versions: Sequence[object], is_serving: bool) -> None:
        if is_serving and not versions:
            raise InfrastructureError(
                f"{self._base} is gone or has no version any more; labels and loaded versions "
                "stay as they are until it is back"
            )


def _fingerprint(base: Path) -> Fingerprint:
    versions = list_versions(base)  # first: its error names what is wrong with the directory
    return (_stat(base / LABELS_FILE), *(_stat(base / str(v)) for v in versions))


def _content(folder: Path) -> Fingerprint:
    """Fingerprint of a version's content, from names, sizes and times of its files."""
    with contextlib.suppress(OSError, RecursionError):
        return tuple(sorted((str(path), *_stat(path)) for path in folder.rglob("*")))
    return ()


def _stat(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return ()
    return (found.st_ino, found.st_mtime_ns, found.st_size)
