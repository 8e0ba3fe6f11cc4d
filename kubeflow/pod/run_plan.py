"""The chain of one run, written once by `prepare` and read by every task after it.

The IR of a long chain is too large for a task's arguments. It lies in the run's folder, and what
travels from task to task is the plan: the file's place, its checksum and the spans.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ordain.config.loading import load_raw
from ordain.config.project import Project
from ordain.errors import ConfigError, InfrastructureError
from ordain.kubeflow.pipeline_root import shared
from ordain.storage import artifact_store

FILE = "chain.json"
#: Grows when a chain of an earlier version could not be read rightly any more.
_FORM = 1
#: About a thousand nodes.
MAX_BYTES = 64_000_000
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Chain:
    """Everything that a task has to know of its run.

    Attributes:
        run_id: The run.
        folder: The project's folder in the image.
        env: Name of the overlay that is in `config`, or None.
        config: The effective configuration of this run, references unresolved.
        spans: Numbers of the window's spans, oldest first.
        ir: TFX's IR as JSON, bound to the run.
        notes: What the user should know, a sentence each.
        recovered: What `prepare` closed of runs before, as `Recovered` has it.
    """

    run_id: str
    folder: str
    env: str | None
    config: Mapping[str, Any]
    spans: tuple[int, ...]
    ir: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    recovered: tuple[Mapping[str, Any], ...] = field(default=())

    def load_project(self) -> Project:
        """The project as this run's configuration has it; references are looked up now.

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

    def to_json(self) -> str:
        """The file's text."""
        raw = {
            "form": _FORM,
            "run_id": self.run_id,
            "folder": self.folder,
            "env": self.env,
            "config": self.config,
            "spans": self.spans,
            "notes": self.notes,
            "recovered": self.recovered,
            "ir": self.ir,
        }
        return json.dumps(raw, indent=1) + "\n"


def check_run_id(run_id: str) -> str:
    """A run's id, which names a folder.

    Raises:
        ConfigError: It is no such name.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise ConfigError(
            f"--run-id {run_id[:140]!r}: must be letters, digits, '.', '_' and '-', at most 128",
            "it is {{$.pipeline_job_uuid}} in a compiled file",
        )
    return run_id


def write_chain(chain: Chain, runs: Path) -> str:
    """Writes a chain into its run's folder, whole or not at all.

    Args:
        chain: The chain.
        runs: The folder that holds a folder for each run.

    Returns:
        The plan: what the other tasks are told.
    """
    folder = runs / chain.run_id
    path = folder / FILE
    text = chain.to_json()
    staged = folder / f".{FILE}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with staged.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    except OSError as error:
        raise InfrastructureError(
            f"{path} cannot be written: {error.strerror}",
            "mount a volume that every task can write (docs/kubeflow-pods.md)",
        ) from error
    artifact_store.push(path)
    return _plan(path, text.encode(), chain.spans)


def find_plan(runs: Path, run_id: str) -> str | None:
    """The plan of a run whose chain is written already, as a retried `prepare` finds it."""
    path = runs / run_id / FILE
    artifact_store.pull(path)
    if not path.is_file():
        return None
    content = _read(path)
    return _plan(path, content, tuple(_parse(content, path).spans))


def read_chain(plan: str, run_id: str) -> Chain:
    """The chain that a plan names.

    Args:
        plan: What `write_chain` returned.
        run_id: The run that this task belongs to.

    Raises:
        ConfigError: The plan is none, or it is another run's.
        InfrastructureError: The file is not there, or not the one that was written.
    """
    try:
        told = json.loads(plan)
        path, expected = Path(told["uri"]), str(told["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--plan {plan[:80]!r}: is not what prepare writes", "see docs/kubeflow-pods.md"
        ) from error
    with shared(path):
        artifact_store.pull(path)
        content = _read(path)
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise InfrastructureError(
            f"{path}: SHA-256 {found}, and prepare wrote {expected}: something changed it since",
            "start the run again",
        )
    chain = _parse(content, path)
    if chain.run_id != run_id:
        raise ConfigError(f"--plan is run {chain.run_id}'s, and --run-id is {run_id}")
    return chain


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


def _parse(content: bytes, path: Path) -> Chain:
    try:
        raw = json.loads(content)
        if raw["form"] != _FORM:
            raise ConfigError(
                f"{path}: form {raw['form']}, and this image reads form {_FORM}",
                "all tasks of a run need the same image",
            )
        return Chain(
            run_id=raw["run_id"],
            folder=raw["folder"],
            env=raw["env"],
            config=raw["config"],
            spans=tuple(raw["spans"]),
            ir=raw["ir"],
            notes=tuple(raw["notes"]),
            recovered=tuple(raw["recovered"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InfrastructureError(f"{path}: is not what prepare writes") from error
