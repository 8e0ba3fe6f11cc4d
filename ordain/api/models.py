"""Published versions, and predictions with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from ordain.api.arguments import check_project, check_rows
from ordain.common.digests import size_of
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
        labels: Its labels, of `stable` and `canary`.
        folder: The SavedModel with its manifest.
        manifest: Its provenance and metrics; None if it cannot be read.
        problem: Why the manifest cannot be read; empty if it can.
        share: The canary's share of the requests; None for other versions.
    """

    version: int
    labels: tuple[str, ...]
    folder: Path
    manifest: Manifest | None
    problem: str = ""
    share: float | None = None

    @property
    def metrics(self) -> Mapping[str, float | None]:
        """Values over all evaluated rows, by metric; None where undefined."""
        found = self.manifest.metrics if self.manifest is not None else ()
        return {metric.name: metric.value for metric in found if not metric.slice}

    @property
    def example(self) -> list[dict[str, Any]]:
        """A row for `predict`, by column; empty if the version has no example."""
        return (read_example(self.folder) or {"instances": []})["instances"]

    @property
    def size_bytes(self) -> int:
        """Size of its files."""
        return self.manifest.size_bytes if self.manifest is not None else size_of(self.folder)

    def to_dict(self) -> dict[str, Any]:
        """The row of `ordain models list --json`; `problem` in place of an unreadable manifest."""
        row: dict[str, Any] = {"version": self.version, "labels": list(self.labels)}
        row |= {"share": self.share} if self.share is not None else {}
        row["size_bytes"] = self.size_bytes
        if self.manifest is None:
            return row | {"problem": self.problem}
        row |= {"created": self.manifest.created, "run_id": self.manifest.run_id}
        return row | {"spans": self.manifest.spans, "metrics": self.metrics}

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
        """A version by its position (not its number), or several by a slice."""
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
    check_project(project)
    serving = project.local_serving()
    labels = read_labels(serving, project.trust)
    numbers = reversed(list_versions(serving))
    return Models([_read(serving / str(number), number, labels) for number in numbers], labels)


def _read(folder: Path, version: int, labels: Labels) -> ModelVersion:
    manifest, problem = None, ""
    try:
        manifest = read_manifest(folder)
    except InfrastructureError as error:
        problem = error.message
    canary = labels.canary
    share = canary.share if canary is not None and canary.version == version else None
    return ModelVersion(version, labels.labels_of(version), folder, manifest, problem, share)


def predict(
    project: Project,
    rows: Any,
    *,
    label: str | None = None,
    version: int | None = None,
    signature: str = "serving_default",
) -> Any:
    """Scores rows with a published version, which is verified and loaded into this process.

    Each call loads the version: pass many rows at once. Large files: `ordain predict`.

    Args:
        project: The project.
        rows: A pandas DataFrame, or a list of mappings; columns named as the model's features.
        label: `stable` (the default) or `canary`.
        version: A version's number, instead of a label.
        signature: The signature.

    Returns:
        The rows in the same form and order, with a column for each output of the signature; an
        output `[batch]` or `[batch, 1]` is a number in each row, a wider one a list.

    Raises:
        ConfigError: There is no such version or signature, the rows do not fit it, or the project
            pushes to an object store.
        InfrastructureError: The version does not pass the checks.
    """
    check_project(project)
    check_rows(rows)
    if label is not None and version is not None:
        raise ConfigError("label and version cannot be given together")
    import pyarrow as pa  # noqa: PLC0415  only for predictions

    from ordain.serving.predict.scorer import LocalScorer, find_version  # noqa: PLC0415
    from ordain.serving.server.errors import RequestError  # noqa: PLC0415

    if len(rows) == 0:
        return rows
    found = find_version(project.local_serving(), version, label or STABLE, project.trust)
    try:
        scorer = LocalScorer(found, signature, project.trust)
        if isinstance(rows, Sequence):
            table = pa.Table.from_pylist([dict(row) for row in rows])
        else:
            table = pa.Table.from_pandas(rows, preserve_index=False)
        scored = pa.Table.from_batches([scorer.score(batch) for batch in table.to_batches()])
    except (RequestError, pa.ArrowException) as error:
        raise ConfigError(
            f"version {found.name}: {error}", "ordain models show PROJECT lists its signatures"
        ) from error
    if isinstance(rows, Sequence):
        return scored.to_pylist()
    return scored.to_pandas().set_index(rows.index)
