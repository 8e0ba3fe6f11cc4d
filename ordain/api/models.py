"""Published versions, and predictions with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from ordain.common.html_tables import html_table
from ordain.config.project import Project
from ordain.errors import ConfigError, InfrastructureError
from ordain.serving.registry.label_file import CANARY, STABLE, Labels, read_labels
from ordain.serving.registry.manifest import Manifest
from ordain.serving.registry.model_card import read_example
from ordain.serving.registry.verification import read_manifest
from ordain.serving.registry.versions import list_versions


@dataclass(frozen=True)
class ModelVersion:
    """A version in the serving directory.

    Attributes:
        version: Its number.
        labels: Of `stable` and `canary` those it has.
        folder: The SavedModel with its manifest.
        manifest: What it was made from and measured at; None if it cannot be read.
        problem: Why the manifest cannot be read; empty if it can.
    """

    version: int
    labels: tuple[str, ...]
    folder: Path
    manifest: Manifest | None
    problem: str = ""

    @property
    def metrics(self) -> Mapping[str, float | None]:
        """Value by metric, over all rows that it was evaluated on; None where undefined."""
        found = self.manifest.metrics if self.manifest is not None else ()
        return {metric.name: metric.value for metric in found if not metric.slice}

    @property
    def example(self) -> list[dict[str, Any]]:
        """A row that the model can predict, by column; empty if the version brings none."""
        return (read_example(self.folder) or {"instances": []})["instances"]

    def _repr_html_(self) -> str:
        return Models([self], Labels())._repr_html_()


class Models(Sequence[ModelVersion]):
    """Published versions, newest first.

    Attributes:
        labels: The labels with the history of their changes.
    """

    def __init__(self, found: Sequence[ModelVersion], labels: Labels) -> None:
        self._found = tuple(found)
        self.labels = labels

    @property
    def stable(self) -> ModelVersion | None:
        """The version that serves; None if there is none."""
        return self._labelled(STABLE)

    @property
    def canary(self) -> ModelVersion | None:
        """The version that serves a share of the requests; None if there is none."""
        return self._labelled(CANARY)

    def version(self, number: int) -> ModelVersion:
        """A version by its number.

        Raises:
            KeyError: There is no such version.
        """
        for one in self:
            if one.version == number:
                return one
        raise KeyError(f"there is no version {number}")

    def _labelled(self, label: str) -> ModelVersion | None:
        return next((one for one in self if label in one.labels), None)

    @overload
    def __getitem__(self, index: int) -> ModelVersion: ...
    @overload
    def __getitem__(self, index: slice) -> Models: ...
    def __getitem__(self, index: int | slice) -> ModelVersion | Models:
        """A version by its place (not its number), or a part of them."""
        found = self._found[index]
        return found if isinstance(found, ModelVersion) else Models(found, self.labels)

    def __len__(self) -> int:
        """The number of versions."""
        return len(self._found)

    def __repr__(self) -> str:
        """A line for each version."""
        lines = (f"version {one.version} {', '.join(one.labels)}".rstrip() for one in self)
        return "\n".join(lines) or "no versions"

    def _repr_html_(self) -> str:
        names = list(dict.fromkeys(name for one in self for name in one.metrics))
        rows = [
            {
                "version": one.version,
                "labels": one.labels,
                "created": one.manifest.created if one.manifest is not None else one.problem,
                "spans": one.manifest.spans if one.manifest is not None else (),
                **{name: one.metrics.get(name) for name in names},
            }
            for one in self
        ]
        return html_table(rows)


def models(project: Project) -> Models:
    """Lists published versions, newest first.

    Raises:
        ConfigError: The project pushes to an object store.
        InfrastructureError: The serving directory or its labels cannot be read.
    """
    _check_local(project)
    labels = read_labels(project.serving, project.trust)
    numbers = reversed(list_versions(project.serving))
    return Models([_read(project, number, labels) for number in numbers], labels)


def _read(project: Project, version: int, labels: Labels) -> ModelVersion:
    folder = project.serving / str(version)
    manifest, problem = None, ""
    try:
        manifest = read_manifest(folder)
    except InfrastructureError as error:
        problem = error.message
    return ModelVersion(version, labels.labels_of(version), folder, manifest, problem)


def predict(
    project: Project,
    rows: Any,
    *,
    label: str = STABLE,
    version: int | None = None,
    signature: str = "serving_default",
) -> Any:
    """Scores rows with a published version, which is verified and loaded into this process.

    Each call loads the version: pass many rows at once. Large files: `ordain predict`.

    Args:
        project: The project.
        rows: A pandas DataFrame, or a list of mappings; columns named as the model's features.
        label: `stable` or `canary`.
        version: A version's number, instead of a label.
        signature: The signature.

    Returns:
        The rows in the same form and order, with a column for each output of the signature; an
        output `[batch]` or `[batch, 1]` is a number in each row, a wider one a list.

    Raises:
        ConfigError: There is no such version, or the project pushes to an object store.
        InfrastructureError: The version does not pass the checks.
        RequestError: There is no such signature, or the columns do not fit it.
    """
    import pyarrow as pa  # noqa: PLC0415  what does not predict does without it

    from ordain.serving.predict.scorer import LocalScorer, find_version  # noqa: PLC0415

    _check_local(project)
    found = find_version(project.serving, version, label, project.trust)
    scorer = LocalScorer(project.serving / str(found), signature, project.trust)
    if isinstance(rows, Sequence):
        batches = pa.Table.from_pylist([dict(row) for row in rows]).to_batches()
        return [row for batch in batches for row in scorer.score(batch).to_pylist()]
    table = pa.Table.from_pandas(rows, preserve_index=False)
    scored = pa.Table.from_batches([scorer.score(batch) for batch in table.to_batches()])
    return scored.to_pandas().set_index(rows.index)


def _check_local(project: Project) -> None:
    if project.is_pushed_away:
        raise ConfigError(
            f"push.directory is {project.push.directory}: versions are read from local folders",
            "mount the bucket and name the mount in push.directory; docs/serving-directory.md",
        )
