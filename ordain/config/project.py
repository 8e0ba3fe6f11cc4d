"""A project's configuration: `pipeline.yaml` as a frozen model.

Every key is declared in the module of its section, with its default, its bounds and its meaning.
`tools/config_tables.py` writes the tables of docs/configuration.md from these models.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from ordain.common.env_references import resolve_references
from ordain.common.node_id import NodeId
from ordain.common.portable_paths import PortablePaths, project_paths
from ordain.config.base import ProjectPath, Section, Shown, Source, absolute_path
from ordain.config.data import Data
from ordain.config.executors import Exchangeable, Origin, conflict
from ordain.config.gates import Gate
from ordain.config.kubeflow import Kubeflow
from ordain.config.model import Evaluate, Train, Tune
from ordain.config.own_nodes import OwnNode, check_ids
from ordain.config.push import Push
from ordain.config.schedule import Notify, Retrain, Schedule
from ordain.errors import ConfigError
from ordain.metadata.location import Location, parse_location
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
    """The configuration of a project, and its source."""

    name: Annotated[
        str,
        Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$"),
        Shown("lower-case letters, digits and `-`, at most 63"),
    ]
    """Name of the pipeline in ML Metadata, and of its folders in the workspace and in the serving
    directory. Does not begin with `-`."""
    workspace: Annotated[ProjectPath, Shown(default="`var`")]
    """Folder of artifacts, ML Metadata, runs and published models. The default is `var/` in the
    nearest folder upwards that holds `.git`, else `var/` in the project."""
    metadata: Annotated[
        Location,
        BeforeValidator(_locate),
        Shown("path, or an address", "`<workspace>/metadata.sqlite`"),
    ]
    """ML Metadata: a SQLite file, or the address of a server such as
    `postgresql://user@host:port/database` or `grpc://host:port`; see docs/maintenance.md. A
    password is `${env:NAME}` or comes from `PGPASSWORD`, and is never written out."""
    schema_file: ProjectPath = Path("schema.pbtxt")
    """The curated schema. While there is no such file, the schema is inferred; see
    docs/schema.md."""
    beam_args: tuple[str, ...] = DEFAULT_BEAM_ARGS
    """Beam's pipeline options. A list of your own replaces the default: keep the runner in it, or
    Beam's DirectRunner first tries a runner whose binary it downloads."""
    data: Data
    """Location, spans and split of the data."""
    gate: Gate = Gate()
    """Policies and limits of the data gate and the server gate."""
    train: Train = Train()
    """The training module, steps and parameters."""
    tune: Tune | None = None
    """Hyperparameter search. Without this key there is no Tuner."""
    evaluate: Evaluate
    """Metrics, slices, thresholds and the baseline."""
    # After `data` and `evaluate`, which it is checked against.
    executors: dict[Exchangeable, Origin] = Field(default_factory=dict)
    """Source of a node's executor; a node that is not named runs ordain's."""
    nodes: Annotated[tuple[OwnNode, ...], AfterValidator(check_ids)] = ()
    """Nodes of the project's own, each after a node of the pipeline; see docs/own-nodes.md."""
    push: Push = Push()
    """The serving directory, labels and signatures."""
    retrain: Retrain = Retrain()
    """Triggers and blockers of `ordain retrain`."""
    schedule: Schedule = Schedule()
    """Times and events at which `ordain schedule` checks."""
    notify: tuple[Notify, ...] = ()
    """Notifications of runs."""
    kubeflow: Kubeflow = Kubeflow()
    """The pipeline in a cluster."""
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
        """True if a node runs TFX's executor."""
        return (node, "tfx") in self.executors.items()

    @property
    def home(self) -> Path:
        """Folder of this project in the workspace: artifacts and runs."""
        return self.workspace / self.name

    @property
    def paths(self) -> PortablePaths:
        """Portable form of this project's paths in ML Metadata."""
        # The local stand-in of a bucket has the same path in every pod, and identifies the bucket.
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

    def local_serving(self, instead: str = "") -> Path:
        """The serving directory, for reading or labelling versions.

        Args:
            instead: What to do if it is in an object store; by default to mount the bucket.

        Raises:
            ConfigError: Versions are published to an object store.
        """
        if self.is_pushed_away:
            raise ConfigError(
                f"{self.push_base} is in an object store: versions and labels are read from local "
                "and mounted folders",
                instead
                or "mount the bucket and name the mount in push.directory; "
                "docs/serving-directory.md",
            )
        return self.serving

    @property
    def push_base(self) -> str:
        """The serving directory for the publisher: a path, or `gs://bucket/folder`."""
        if self.is_pushed_away:
            return f"{str(self.push.directory).rstrip('/')}/{self.name}"
        return str(self.serving)

    @property
    def trust(self) -> Trust:
        """Owner of the versions and labels in the serving directory, and the signing keys."""
        signing = self.push.signing
        return Trust.of(self.name, signing.model_dump() if signing is not None else None)

    @property
    def is_pushed_away(self) -> bool:
        """True if versions are published to an object store."""
        return self.push.directory is not None and self.push.directory.startswith("gs://")
