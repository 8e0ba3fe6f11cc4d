"""`ordain tensorboard`: TensorBoard on the training logs of past runs."""

from __future__ import annotations

import datetime
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from ordain.api.models import models
from ordain.api.runs import find_run_id
from ordain.cli.options import port_option, with_project
from ordain.common.node_id import NodeId
from ordain.config.project import Project
from ordain.dashboard.store import ReadOnlyHistory
from ordain.errors import ConfigError, InfrastructureError, OrdainError
from ordain.history.runs import History

#: Number of runs shown by default.
DEFAULT_LIMIT = 10
#: Artifacts of the Trainer, of any type, that are searched for logs.
MAX_ARTIFACTS = 3000
#: TensorBoard's default.
DEFAULT_PORT = 6006


@click.command()
@with_project()
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="Number of trainings to show, newest first, if no RUN is given.",
)
@port_option(default=DEFAULT_PORT)
@click.pass_context
def tensorboard(
    ctx: click.Context,
    project: Project,
    runs: tuple[str, ...],
    limit: int,
    port: int,
) -> None:
    """Start TensorBoard on the training logs of PROJECT's runs.

    Each training is named by its time, run and published version. A run that took its model from
    the cache shows the training that produced it. Logs removed by `ordain gc` are not shown.

    \b
    Examples:
      ordain tensorboard examples/flights
      ordain tensorboard examples/flights 20261121-081530-3f2a 20261120-030001-77c1
      ordain tensorboard examples/flights --limit 3 --port 0
    """
    found = find_logs(project, [find_run_id(project, run) for run in runs], limit)
    if not found:
        raise InfrastructureError(
            f"{project.name} has no training logs on this machine: no run reached training, or "
            "ordain gc removed them",
            f"ordain runs list {project.folder}",
        )
    with tempfile.TemporaryDirectory(prefix="ordain-tensorboard-") as folder:
        for name, logs in found.items():
            (Path(folder) / name).symlink_to(logs, target_is_directory=True)
            click.echo(f"{name}")
        click.echo(f"starting TensorBoard with {len(found)} trainings (Ctrl-C stops it)")
        ctx.exit(start(folder, port))


def find_logs(project: Project, run_ids: Sequence[str], limit: int) -> dict[str, Path]:
    """Find the logs of trainings, newest first, by display name.

    Args:
        project: The project.
        run_ids: The runs; empty for the newest.
        limit: Number of trainings if `run_ids` is empty.

    Returns:
        Existing folders. A run that took its model from the cache has the logs of the training that
        produced it.

    Raises:
        ConfigError: A run of `run_ids` has no logs.
        InfrastructureError: ML Metadata cannot be read.
    """
    history = ReadOnlyHistory(project)
    versions = _versions(project)
    if not run_ids:
        newest = history.newest_artifacts(NodeId.TRAINER, "ModelRun", MAX_ARTIFACTS)
        logged = [a for a in newest if _has_logs(Path(a.uri))][:limit]
        runs = history.run_of(artifact.id for artifact in logged)
        return {_name(runs[a.id], versions): Path(a.uri) for a in logged if a.id in runs}
    found = {}
    for run_id in run_ids:
        logs = _logs_of(history, run_id)
        if logs is None:
            raise ConfigError(
                f"run {run_id} has no training logs",
                "a run that was blocked has none; ordain gc removes those of old runs",
            )
        found[_name(run_id, versions)] = logs
    return found


def start(folder: str, port: int) -> int:
    """Run TensorBoard on loopback until it or this process is stopped; return its exit code."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", folder]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    child = subprocess.Popen(command)  # noqa: S603  our own interpreter
    before = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    try:
        return max(0, child.wait())  # below 0: stopped by our signal
    except KeyboardInterrupt:  # Ctrl-C also reaches TensorBoard
        child.wait()
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)


def _logs_of(history: History, run_id: str) -> Path | None:
    """Find the logs of a run: the Trainer's ModelRun, its own or the cached one."""
    if history.store.get_context_by_type_and_name("pipeline_run", run_id) is None:
        return None  # it ended before its first node
    trainers = [node for node in history.read_run(run_id).nodes if node.node == NodeId.TRAINER]
    folders = (Path(o.uri) for node in trainers for o in node.outputs if o.type == "ModelRun")
    return next((folder for folder in folders if _has_logs(folder)), None)


def _has_logs(folder: Path) -> bool:
    return any(folder.glob("**/events.out.tfevents.*"))


def _versions(project: Project) -> dict[str, str]:
    """Map runs to what they published: `version 3, stable`."""
    try:
        found = models(project)
    except OrdainError:  # they are in an object store, or cannot be read
        return {}
    return {
        one.manifest.run_id: ", ".join([f"version {one.version}", *one.labels])
        for one in found
        if one.manifest is not None
    }


def _name(run_id: str, versions: dict[str, str]) -> str:
    """Build a run's name in TensorBoard: `2026-11-21 15.29 0c5c, version 3, stable`."""
    try:
        began = datetime.datetime.strptime(run_id[:15], "%Y%m%d-%H%M%S")
        name = f"{began:%Y-%m-%d %H.%M} {run_id[16:]}"
    except ValueError:  # ids of runs on a cluster have another format
        name = run_id.replace("/", "_")
    return f"{name}, {versions.get(run_id, 'not published')}"
