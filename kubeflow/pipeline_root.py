"""The pipeline root that a run's pods share: a folder on a volume, or `gs://bucket/folder`.

With a bucket each pod has its own workspace below `BUCKET_ROOT`, named after the address, so the
path identifies the bucket in every task and in every URI in ML Metadata.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ordain.common.env_references import has_reference
from ordain.config.kubernetes_types import Root
from ordain.config.project import Project
from ordain.errors import ConfigError, InfrastructureError
from ordain.storage import artifact_store
from ordain.storage.artifact_store import BUCKET_ROOT
from ordain.storage.bucket import address_of, workspace_of
from ordain.storage.bucket_artifacts import RunBucket
from ordain.storage.gcs import is_object_store

#: Notices waiting to be sent, in the project's part of the workspace.
OUTBOX = Path("pods", "outbox")
#: Files that concluding a run writes into its folder.
CONCLUSIONS = ("result.json", "report.html", "notifications.json")
_DOCS = "see docs/kubeflow-pods.md"
#: Beam runners that run inside the pod.
_RUNNERS = ("DirectRunner", "FnApiRunner", "PrismRunner")
_ROOT: TypeAdapter[str] = TypeAdapter(Root)


def workspace(root: str) -> str:
    """The workspace of a pod for a pipeline root.

    Args:
        root: A folder, or `gs://bucket/folder`.

    Raises:
        ConfigError: It is another kind of address; the message names what works.
        InfrastructureError: The pod's own folder cannot be created.
    """
    if is_object_store(root):
        try:
            return str(workspace_of(_ROOT.validate_python(root)))
        except ValidationError as error:
            raise ConfigError(
                f"pipeline_root {root[:200]}: not a valid address", "such as gs://bucket/folder"
            ) from error
    if "://" in root:
        raise ConfigError(
            f"pipeline_root {root}: must be a folder on a volume that every task mounts, or "
            "gs://bucket/folder",
            "mount another store's bucket as a volume (a CSI driver), and name its path",
        )
    return root


def check_bucket(root: str, metadata: str, push: str, beam_args: Sequence[str]) -> None:
    """Refuses settings that do not work with a bucket as pipeline root.

    Args:
        root: `gs://bucket/folder`.
        metadata: The setting `metadata`; a reference is not resolved yet.
        push: The setting `push.directory`; empty if it is not set.
        beam_args: The setting `beam_args`.

    Raises:
        ConfigError: Names the setting to change.
    """
    scheme, separator, _ = metadata.partition("://")
    server = "metadata: postgresql://user@host:5432/database; " + _DOCS
    if not separator and not has_reference(metadata):
        raise ConfigError(
            f"metadata {metadata or 'is not set'}: a SQLite file, and with pipeline_root {root} "
            "the pods have no file system in common",
            server,
        )
    if scheme == "grpc":
        raise ConfigError(
            f"metadata {metadata}: with it pods are kept apart by locks of files, and with "
            f"pipeline_root {root} they have no file system in common",
            server,
        )
    if not push or Path(push).is_relative_to(BUCKET_ROOT):
        raise ConfigError(
            f"push.directory: is not set, and with pipeline_root {root} a version that is "
            "published to the workspace would be lost with its pod",
            f"push.directory: gs://bucket/folder, or a folder on one of kubeflow.volumes; {_DOCS}",
        )
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--runner", default=_RUNNERS[0])
    runner = str(parser.parse_known_args(list(beam_args))[0].runner)
    if runner.rpartition(".")[2] not in _RUNNERS:
        raise ConfigError(
            f"beam_args: runner {runner} has workers outside of the node's pod, and with "
            f"pipeline_root {root} they would not see its files",
            f"leave the runner out, or use a volume that pods and workers mount; {_DOCS}",
        )


def check_project(project: Project) -> None:
    """Refuses a project that cannot run with the bucket of its workspace.

    Raises:
        ConfigError: As `check_bucket`.
    """
    if project.workspace.is_relative_to(BUCKET_ROOT):
        root = address_of(project.workspace)
        push = project.push.directory or ""
        check_bucket(root, str(project.metadata), push, project.beam_args)


@contextlib.contextmanager
def shared(path: Path) -> Iterator[None]:
    """Shares files through the bucket that a path belongs to, if any.

    Args:
        path: The workspace, or a file in it.
    """
    if not path.is_relative_to(BUCKET_ROOT):
        yield
        return
    with artifact_store.use_store(RunBucket(path)):
        yield


@contextlib.contextmanager
def shared_log(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Fetches the log of earlier attempts and stores it for later ones.

    A log that cannot be stored is reported and does not fail the node.

    Args:
        path: The log.
        say: Receives log lines.
    """
    artifact_store.current().pull(path)
    try:
        yield
    finally:
        _attempt(artifact_store.current().push, path, say)


@contextlib.contextmanager
def concluding(project: Project, run_id: str, say: Callable[[str], None]) -> Iterator[None]:
    """Shares the files that concluding a run reads and writes.

    The run's folder and pending notices are fetched before; the result, the run's page, and sent
    and pending notices are stored after. An unavailable store does not prevent notifications,
    because it may be the reason why the run failed.

    Args:
        project: The project.
        run_id: The run.
        say: Receives a line for what could not be shared, if that is not an error.

    Raises:
        InfrastructureError: The results cannot be stored.
    """
    run, outbox = project.runs / run_id, project.home / OUTBOX
    left = (outbox, *(run / name for name in CONCLUSIONS))
    with shared(project.workspace):
        for folder in (run, outbox):
            _attempt(artifact_store.current().pull, folder, say)
        try:
            yield
        except BaseException:
            for path in left:
                _attempt(artifact_store.current().push, path, say)
            raise
        for path in left:
            artifact_store.current().push(path)


def _attempt(share: Callable[[Path], None], path: Path, say: Callable[[str], None]) -> None:
    try:
        share(path)
    except InfrastructureError as error:
        say(f"not shared: {error.message}")
