"""Published versions and labels of a serving directory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ordain.config.project import Project
from ordain.errors import InfrastructureError
from ordain.serving.registry.label_file import Change, Labels, read_labels
from ordain.serving.registry.manifest import MANIFEST_FILE, Manifest
from ordain.serving.registry.verification import read_manifest
from ordain.serving.registry.versions import list_versions


@dataclass(frozen=True)
class Version:
    """One version.

    Attributes:
        number: Its number.
        labels: Its labels.
        share: The canary's share of the requests, or None.
        manifest: Its manifest; None if it cannot be read.
        metrics: Its metrics with a threshold, over the whole window.
        problem: Reason for a missing manifest.
    """

    number: int
    labels: tuple[str, ...]
    share: float | None
    manifest: Manifest | None
    metrics: dict[str, float | None]
    problem: str = ""


@dataclass(frozen=True)
class ServedVersions:
    """A serving directory.

    Attributes:
        versions: Newest first.
        labels: Labels and their history.
        problem: Reason for nothing to show; empty if there is none.
        is_away: True if versions are in an object store, which has no labels.
    """

    versions: tuple[Version, ...] = ()
    labels: Labels = field(default_factory=Labels)
    problem: str = ""
    is_away: bool = False

    @property
    def changes(self) -> tuple[Change, ...]:
        """Label changes, newest first."""
        return tuple(reversed(self.labels.changes))

    @property
    def serving(self) -> Version | None:
        """The version that answers requests without a version."""
        return self.find(self.labels.stable)

    def find(self, number: int | None) -> Version | None:
        """Find a version by number."""
        return next((v for v in self.versions if v.number == number), None)


class Versions:
    """Reads a serving directory; manifests never change and are read once."""

    def __init__(self, project: Project) -> None:
        """Create it without reading."""
        self._project = project
        self._known: dict[int, tuple[float, Manifest]] = {}

    def read(self) -> ServedVersions:
        """Read the current state."""
        if self._project.is_pushed_away:
            where = self._project.push_base
            return ServedVersions(
                problem=f"versions are pushed to {where}, which has no labels", is_away=True
            )
        try:
            labels = read_labels(self._project.serving, self._project.trust)
            numbers = list_versions(self._project.serving)
        except (InfrastructureError, OSError) as error:
            return ServedVersions(problem=getattr(error, "message", str(error)))
        return ServedVersions(tuple(self._version(n, labels) for n in reversed(numbers)), labels)

    def _version(self, number: int, labels: Labels) -> Version:
        folder = self._project.serving / str(number)
        canary = labels.canary
        share = canary.share if canary is not None and canary.version == number else None
        try:
            manifest, problem = self._manifest(folder, number), ""
        except InfrastructureError as error:
            manifest, problem = None, error.message
        values = {
            name: None if manifest is None else manifest.value_of(name)
            for name in self._project.evaluate.thresholds
        }
        return Version(number, labels.labels_of(number), share, manifest, values, problem)

    def _manifest(self, folder: Path, number: int) -> Manifest:
        try:
            changed = (folder / MANIFEST_FILE).stat().st_mtime
        except OSError:
            changed = 0.0
        known = self._known.get(number)
        if known is None or known[0] != changed:
            known = self._known[number] = (changed, read_manifest(folder))
        return known[1]
