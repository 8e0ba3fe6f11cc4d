"""A prepared run, written once by `prepare` and read by every later task.

The IR of a long pipeline is too large for a task's arguments. It is a file in the run's folder;
tasks pass on the plan: the file's path, its checksum and the spans.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ordain.common.atomic_files import write_file
from ordain.config.loading import load_raw
from ordain.config.project import Project
from ordain.errors import ConfigError, InfrastructureError
from ordain.history.results import Recovered
from ordain.kubeflow.pipeline_root import shared
from ordain.storage import artifact_store

FILE = "run_plan.json"
#: Version of the file's format.
_FORMAT = 1
#: About a thousand nodes.
MAX_BYTES = 64_000_000
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class PreparedRun:
    """Everything that a task needs to know about its run.

    Attributes:
        run_id: The run.
        folder: The project's folder in the image.
        env: Name of the overlay that is in `config`, or None.
        config: The effective configuration of this run, references unresolved.
        spans: Numbers of the window's spans, oldest first.
        ir: TFX's IR as JSON, bound to the run.
        notes: Warnings for the user, one sentence each.
        recovered: What `prepare` closed of earlier runs.
    """

    run_id: str
    folder: str
    env: str | None
    config: Mapping[str, Any]
    spans: tuple[int, ...]
    ir: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    recovered: tuple[Recovered, ...] = ()

    def load_project(self) -> Project:
        """Loads the project with this run's configuration and resolves references.

        Raises:
            ConfigError: A variable is not set in this pod.
        """
        return load_raw(self.config, self.folder, self.env)

    def parse_ir(self) -> Any:
        """The IR (`pipeline_pb2.Pipeline`)."""
        from google.protobuf import json_format  # noqa: PLC0415  protobuf and TFX come late

        # The first is not used here: the IR holds its messages as `Any`.
        from tfx.proto.orchestration import executable_spec_pb2, pipeline_pb2  # noqa: F401, PLC0415

        return json_format.ParseDict(dict(self.ir), pipeline_pb2.Pipeline())


_PREPARED = TypeAdapter(PreparedRun)


def check_run_id(run_id: str) -> str:
    """Checks a run id, which names a folder.

    Raises:
        ConfigError: It is not a valid name.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise ConfigError(
            f"--run-id {run_id[:140]!r}: must be letters, digits, '.', '_' and '-', at most 128",
            "a compiled file passes {{$.pipeline_job_uuid}}",
        )
    return run_id


def write_prepared(prepared: PreparedRun, runs: Path) -> str:
    """Writes a prepared run into its folder, atomically.

    Args:
        prepared: The prepared run.
        runs: The folder that holds a folder for each run.

    Returns:
        The plan, which the other tasks take.
    """
    path = runs / prepared.run_id / FILE
    text = json.dumps({"format": _FORMAT, **_PREPARED.dump_python(prepared, mode="json")}, indent=1)
    write_file(path, text, writer=secrets.token_hex(4))  # a pod may be replaced while it writes
    artifact_store.current().push(path)
    return _plan(path, text.encode(), prepared.spans)


def find_plan(runs: Path, run_id: str) -> str | None:
    """The plan of a run that is already prepared, for a retried `prepare`; None if it is not."""
    path = runs / run_id / FILE
    artifact_store.current().pull(path)
    if not path.is_file():
        return None
    content = _read(path)
    return _plan(path, content, tuple(_parse(content, path).spans))


def read_prepared(plan: str, run_id: str) -> PreparedRun:
    """Reads the prepared run that a plan names.

    Args:
        plan: What `write_prepared` returned.
        run_id: The run that this task belongs to.

    Raises:
        ConfigError: The plan is malformed or another run's.
        InfrastructureError: The file is missing or was changed.
    """
    try:
        raw = json.loads(plan)
        path, expected = Path(raw["uri"]), str(raw["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--plan {plan[:80]!r}: not a plan written by prepare", "see docs/kubeflow-pods.md"
        ) from error
    with shared(path):
        artifact_store.current().pull(path)
        content = _read(path)
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise InfrastructureError(
            f"{path}: SHA-256 is {found}, prepare wrote {expected}: the file was changed",
            "start the run again",
        )
    prepared = _parse(content, path)
    if prepared.run_id != run_id:
        raise ConfigError(f"--plan is of run {prepared.run_id}, --run-id is {run_id}")
    return prepared


def _plan(path: Path, content: bytes, spans: tuple[int, ...]) -> str:
    digest = hashlib.sha256(content).hexdigest()
    return json.dumps({"uri": str(path), "sha256": digest, "spans": list(spans)})


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InfrastructureError(f"{path} is larger than {MAX_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise InfrastructureError(
            f"{path} cannot be read: {error.strerror}",
            "every task needs the volume or bucket that prepare wrote to (docs/kubeflow-pods.md)",
        ) from error


def _parse(content: bytes, path: Path) -> PreparedRun:
    try:
        raw = json.loads(content)
        found = raw.pop("format")
        if found != _FORMAT:
            raise ConfigError(
                f"{path}: format {found}, this image reads format {_FORMAT}",
                "all tasks of a run need the same image",
            )
        return _PREPARED.validate_python(raw)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InfrastructureError(f"{path}: not a file written by prepare") from error
