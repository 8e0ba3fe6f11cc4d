"""A project's configuration: `pipeline.yaml` as frozen models.

Every key a user may write is declared in a module `config_*` of its section, with its default
and its bounds, and nowhere else. Paths are absolute once loaded (`ordain.config.loading`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from ordain.common.env_references import resolve_references
from ordain.common.node_id import NodeId
from ordain.config.base import ProjectPath, Section, Source, absolute_path
from ordain.config.data import Data
from ordain.config.executors import Exchangeable, Origin, conflict
from ordain.config.gates import Gate
from ordain.config.kubeflow import Kubeflow
from ordain.config.model import Evaluate, Train, Tune
from ordain.config.push import Push
from ordain.config.schedule import Notify, Retrain, Schedule
from ordain.errors import ConfigError
from ordain.metadata.location import Location, parse_location
from ordain.metadata.portable_paths import PortablePaths, project_paths
from ordain.serving.registry.trust import Trust
from ordain.storage.artifact_store import BUCKET_ROOT

DEFAULT_BEAM_ARGS = (
    # Beam 2.77's DirectRunner first tries a runner whose binary it downloads at run time.
    "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner",
)


def _locate(value: object, info: ValidationInfo) -> object:
    """Parses `metadata`; its syntax is checked even if its variables are not set."""
    try:
        if isinstance(value, str) and "://" not in value:
            value = resolve_references(value, "metadata")
        location = parse_location(value)
    except ConfigError:
        if info.context and info.context.keeps_references:
            return value
        raise
    return absolute_path(location, info) if isinstance(location, Path) else location


class Project(Section):
    """A whole project as `pipeline.yaml` describes it, and where that was read from."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    workspace: ProjectPath
    metadata: Annotated[Location, BeforeValidator(_locate)]
    data: Data
    schema_file: ProjectPath = Path("schema.pbtxt")
    gate: Gate = Gate()
    train: Train = Train()
    tune: Tune | None = None
    evaluate: Evaluate
    push: Push = Push()
    retrain: Retrain = Retrain()
    schedule: Schedule = Schedule()
    notify: tuple[Notify, ...] = ()
    kubeflow: Kubeflow = Kubeflow()
    beam_args: tuple[str, ...] = DEFAULT_BEAM_ARGS
    #: Whose executor runs in a node; a node that is not named runs ordain's.
    executors: dict[Exchangeable, Origin] = Field(default_factory=dict)
    _source: Source

    def model_post_init(self, context: Source) -> None:
        """Keeps the source, which is pydantic's validation context."""
        self._source = context

    @field_validator("executors")
    @classmethod
    def _can_exchange(
        cls, value: dict[Exchangeable, Origin], info: ValidationInfo
    ) -> dict[Exchangeable, Origin]:
        data, evaluate = info.data.get("data"), info.data.get("evaluate")
        problem = conflict(value, data, evaluate) if data and evaluate else ""
        if problem:
            raise ValueError(problem)
        return value

    @property
    def folder(self) -> Path:
        """The project's folder, absolute."""
        return self._source.folder

    @property
    def environment(self) -> str | None:
        """Name of the overlay (`--env`), or None."""
        return self._source.environment

    @property
    def settings(self) -> tuple[str, ...]:
        """The `--set` texts, in their order."""
        return self._source.settings

    @property
    def effective(self) -> Mapping[str, Any]:
        """The merged configuration, as it is written to the run's folder.

        References `${env:NAME}` are unresolved, so it holds no secret of the environment.
        """
        return self._source.effective

    def is_stock(self, node: NodeId) -> bool:
        """Whether a node runs TFX's executor."""
        return (node, "tfx") in self.executors.items()

    @property
    def home(self) -> Path:
        """Folder of this project in the workspace: artifacts and runs."""
        return self.workspace / self.name

    @property
    def paths(self) -> PortablePaths:
        """How ML Metadata keeps the paths of this project."""
        # Of a bucket's stand-in every pod has the same path, and others tell by it what it is.
        workspace = None if self.workspace.is_relative_to(BUCKET_ROOT) else self.workspace
        return project_paths(self.name, self.folder, workspace, self._source.beside)

    @property
    def runs(self) -> Path:
        """Folder that holds one folder per run."""
        return self.home / "runs"

    @property
    def artifacts(self) -> Path:
        """TFX's pipeline root."""
        return self.home / "artifacts"

    @property
    def serving(self) -> Path:
        """Serving directory: one folder per published version.

        For a project that publishes to an object store, the local one, which then stays empty.
        """
        if self.push.directory is None or self.is_pushed_away:
            return self.workspace / "serving" / self.name
        return Path(self.push.directory) / self.name

    @property
    def push_base(self) -> str:
        """The serving directory as the publisher takes it: a path, or `gs://bucket/folder`."""
        if self.is_pushed_away:
            return f"{str(self.push.directory).rstrip('/')}/{self.name}"
        return str(self.serving)

    @property
    def trust(self) -> Trust:
        """Whose versions and labels the serving directory holds, and what signs new ones."""
        signing = self.push.signing
        return Trust.of(self.name, signing.model_dump() if signing is not None else None)

    @property
    def is_pushed_away(self) -> bool:
        """Whether versions go to an object store."""
        return self.push.directory is not None and self.push.directory.startswith("gs://")
