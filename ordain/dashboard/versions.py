"""Published versions and labels of a serving directory, or why they cannot be shown."""

from __future__ import annotations

from dataclasses import dataclass

from ordain.api.models import Models, ModelVersion, models
from ordain.config.project import Project
from ordain.errors import InfrastructureError
from ordain.serving.registry.label_file import Change, Labels


@dataclass(frozen=True)
class ServedVersions:
    """A serving directory.

    Attributes:
        versions: Newest first.
        metrics: Names of the metrics with a threshold.
        problem: Reason for nothing to show; empty if there is none.
        is_away: True if versions are in an object store, which has no labels.
    """

    versions: Models = Models((), Labels())  # noqa: RUF009  immutable
    metrics: tuple[str, ...] = ()
    problem: str = ""
    is_away: bool = False

    @property
    def labels(self) -> Labels:
        """Labels and their history."""
        return self.versions.labels

    @property
    def changes(self) -> tuple[Change, ...]:
        """Label changes, newest first."""
        return tuple(reversed(self.labels.changes))

    def find(self, number: int) -> ModelVersion | None:
        """Find a version by number."""
        return next((v for v in self.versions if v.version == number), None)


def read_versions(project: Project) -> ServedVersions:
    """Read the current state."""
    metrics = tuple(project.evaluate.thresholds)
    if project.is_pushed_away:
        problem = f"versions are pushed to {project.push_base}, which has no labels"
        return ServedVersions(metrics=metrics, problem=problem, is_away=True)
    try:
        return ServedVersions(models(project), metrics)
    except (InfrastructureError, OSError) as error:
        return ServedVersions(metrics=metrics, problem=getattr(error, "message", str(error)))
