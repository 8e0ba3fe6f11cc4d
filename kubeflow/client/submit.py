"""Uploads a compiled file as a pipeline version and starts runs of it.

The version is named after the file's content (`flights-1f0c9a2b44de`), so the same file is
uploaded once, and a run's version identifies its file.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ordain.errors import ConfigError
from ordain.kubeflow.client.errors import TakenError
from ordain.kubeflow.client.names import equals, find_pipeline
from ordain.kubeflow.client.server import Server
from ordain.kubeflow.validation.validate import check, read_text

#: Digits of the file's SHA-256 in a version's name; the version's description has the whole digest.
NAMED_DIGITS = 12
#: Name of the uploaded file; the backend uses its extension.
FILE_NAME = "pipeline.yaml"


@dataclass(frozen=True)
class PipelineFile:
    """A compiled file with what submitting needs.

    Attributes:
        name: The pipeline's name.
        text: The file.
        parameters: Names of its run parameters.
    """

    name: str
    text: str
    parameters: tuple[str, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def version_name(self) -> str:
        """The name of this file's version."""
        return f"{self.name}-{self.digest[:NAMED_DIGITS]}"


@dataclass(frozen=True)
class Version:
    """A pipeline version on a server.

    Attributes:
        pipeline_id: Id of the pipeline.
        id: Id of the version.
        name: Its name.
        is_new: Whether it was uploaded by this call.
    """

    pipeline_id: str
    id: str
    name: str
    is_new: bool


@dataclass(frozen=True)
class RunRequest:
    """Settings of a run, or of a schedule's runs.

    Attributes:
        name: Display name.
        experiment_id: Id of the experiment.
        parameters: Values of run parameters; others keep their defaults.
        service_account: Kubernetes service account of the pods; None: the server's.
    """

    name: str
    experiment_id: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    service_account: str | None = None


def read_file(path: Path) -> PipelineFile:
    """Reads and checks a compiled file.

    Raises:
        ConfigError: It cannot be read, or breaks a rule of the backend.
    """
    text = read_text(path)
    spec = check(text, where=str(path)).spec
    return PipelineFile(
        spec.pipeline_info.name, text, tuple(sorted(spec.root.input_definitions.parameters))
    )


def check_parameters(file: PipelineFile, parameters: Mapping[str, str]) -> None:
    """Checks that the parameters of a run exist in the file.

    Raises:
        ConfigError: One does not exist.
    """
    for name in parameters:
        if name not in file.parameters:
            known = ", ".join(file.parameters) or "none"
            raise ConfigError(
                f"pipeline {file.name} has no parameter {name!r}; it has: {known}",
                "ordain compile writes a file with span, settings and pipeline_root",
            )


def upload(server: Server, file: PipelineFile) -> Version:
    """Uploads a file as a version of its pipeline, unless it already exists.

    Raises:
        ConfigError: The server refuses the file or denies access.
        InfrastructureError: The server is unreachable or failed.
    """
    pipeline_id = find_pipeline(server, file.name) or _create_pipeline(server, file.name)
    known = _find_version(server, pipeline_id, file.version_name)
    if known is not None:
        return known
    try:
        return _upload(server, pipeline_id, file)
    except TakenError:
        # Someone else uploaded the same file between the check and the upload.
        known = _find_version(server, pipeline_id, file.version_name)
        if known is None:
            raise
        return known


def start_run(server: Server, version: Version, request: RunRequest) -> str:
    """Starts a run of a version, and returns its id.

    Raises:
        ConfigError: The server refuses the request or denies access.
        InfrastructureError: The server is unreachable or failed; after a timeout the run may
            have been started.
    """
    models = server.kfp.api_models
    made = server.call(
        f"starting run {request.name!r}",
        "runs",
        "run_service_create_run",
        run=models.V2beta1Run(**fields(models, version, request)),
    )
    return str(made.run_id)


def fields(models: Any, version: Version, request: RunRequest) -> dict[str, Any]:
    """The API fields that runs and schedules of a version share."""
    return {
        "display_name": request.name,
        "experiment_id": request.experiment_id,
        "pipeline_version_reference": models.V2beta1PipelineVersionReference(
            pipeline_id=version.pipeline_id, pipeline_version_id=version.id
        ),
        "runtime_config": models.V2beta1RuntimeConfig(parameters=dict(request.parameters)),
        "service_account": request.service_account,
    }


def _create_pipeline(server: Server, name: str) -> str:
    models = server.kfp.api_models
    try:
        made = server.call(
            f"creating pipeline {name}",
            "pipelines",
            "pipeline_service_create_pipeline",
            pipeline=models.V2beta1Pipeline(
                display_name=name, name=name, namespace=server.namespace
            ),
        )
    except TakenError:
        known = find_pipeline(server, name)
        if known is None:
            raise
        return known
    return str(made.pipeline_id)


def _find_version(server: Server, pipeline_id: str, name: str) -> Version | None:
    found = server.call(
        f"looking for version {name}",
        "pipelines",
        "pipeline_service_list_pipeline_versions",
        pipeline_id=pipeline_id,
        filter=equals("display_name", name),
    ).pipeline_versions
    if not found:
        return None
    return Version(pipeline_id, str(found[0].pipeline_version_id), name, is_new=False)


def _upload(server: Server, pipeline_id: str, file: PipelineFile) -> Version:
    with tempfile.TemporaryDirectory(prefix="ordain-submit-") as folder:
        path = Path(folder) / FILE_NAME
        path.write_text(file.text, encoding="utf-8")
        made = server.call(
            f"uploading version {file.version_name} of pipeline {file.name}",
            "pipeline_uploads",
            "upload_pipeline_version",
            uploadfile=str(path),
            name=file.version_name,
            pipelineid=pipeline_id,
            description=f"sha256:{file.digest}",
        )
    return Version(pipeline_id, str(made.pipeline_version_id), file.version_name, is_new=True)
