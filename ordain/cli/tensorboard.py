"""`ordain tensorboard`: TensorBoard on the training logs of past runs, under names of their own."""

from __future__ import annotations

import datetime
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from ordain.cli.options import project_options
from ordain.cli.runs import run_id_of
from ordain.common.node_id import NodeId
from ordain.config.loading import load_project
from ordain.config.project import Project
from ordain.dashboard.store import ReadOnlyHistory
from ordain.errors import ConfigError, InfrastructureError
from ordain.history.runs import History
from ordain.serving.registry.label_file import read_labels
from ordain.serving.registry.verification import read_manifest
from ordain.serving.registry.versions import list_versions

#: Runs that are shown unless they are named.
DEFAULT_LIMIT = 10
#: Artifacts of the Trainer, of any type, among which its logs are looked for.
MAX_ARTIFACTS = 3000
#: TensorBoard's own.
DEFAULT_PORT = 6006


@click.command()
@project_options
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="How many trainings are shown, newest first, if no RUN is given.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Port on 127.0.0.1; 0 takes a free one.",
)
@click.pass_context
def tensorboard(
    ctx: click.Context,
    project: str,
    env: str | None,
    settings: tuple[str, ...],
    runs: tuple[str, ...],
    limit: int,
    port: int,
) -> None:
    """Start TensorBoard on the training logs of PROJECT's runs.

    Each training is shown under its time, its run and the version it became. A run that took its
    model from the cache shows the training that made it. What `ordain gc` removed is left out.

    \b
    Examples:
      ordain tensorboard examples/flights
      ordain tensorboard examples/flights 20261121-081530-3f2a 20261120-030001-77c1
      ordain tensorboard examples/flights --limit 3 --port 0
    """
    loaded = load_project(project, env, settings)
    found = find_logs(loaded, [run_id_of(loaded, run) for run in runs], limit)
    if not found:
        raise InfrastructureError(
            f"{loaded.name} has no training logs on this machine: no run came to its training, "
            "or they were removed (ordain gc)",
            f"ordain runs list {project}",
        )
    with tempfile.TemporaryDirectory(prefix="ordain-tensorboard-") as folder:
        for name, logs in found.items():
            (Path(folder) / name).symlink_to(logs, target_is_directory=True)
            click.echo(f"{name}")
        click.echo(f"starting TensorBoard with {len(found)} trainings (Ctrl-C ends it)")
        ctx.exit(start(folder, port))


def find_logs(project: Project, run_ids: Sequence[str], limit: int) -> dict[str, Path]:
    """The logs of trainings, by a name that a person recognizes, newest first.

    Args:
        project: The project.
        run_ids: The runs; empty for the newest.
        limit: How many trainings, if no run is named.

    Returns:
        Folders that are there. The newest are named by the runs that trained; a run that was named
        and took its model from the cache has the logs of the training that made it.

    Raises:
        ConfigError: A run that was named left no logs that are there.
        InfrastructureError: ML Metadata cannot be read.
    """
    history = ReadOnlyHistory(project)
    versions = _versions(project)
    if not run_ids:
        newest = history.newest_artifacts(NodeId.TRAINER, "ModelRun", MAX_ARTIFACTS)
        whole = [a for a in newest if _has_logs(Path(a.uri))][:limit]
        runs = history.run_of(artifact.id for artifact in whole)
        return {_name(runs[a.id], versions): Path(a.uri) for a in whole if a.id in runs}
    found = {}
    for run_id in run_ids:
        logs = _logs_of(history, run_id)
        if logs is None:
            raise ConfigError(
                f"run {run_id} left no training logs that are still there",
                "a run that was blocked has none; ordain gc removes those of old runs",
            )
        found[_name(run_id, versions)] = logs
    return found


def start(folder: str, port: int) -> int:
    """Runs TensorBoard on loopback until it, or this process, is ended; returns its exit code."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", folder]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    child = subprocess.Popen(command)  # noqa: S603  our own interpreter
    before = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    try:
        return max(0, child.wait())  # below 0: it was ended by our signal
    except KeyboardInterrupt:  # Ctrl-C goes to TensorBoard as well
        child.wait()
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)


def _logs_of(history: History, run_id: str) -> Path | None:
    """TensorBoard's logs of a run: the Trainer's model run, its own or that of the cache."""
    context = history.store.get_context_by_type_and_name("pipeline_run", run_id)
    if context is None:
        return None
    executions = history.store.get_executions_by_context(context.id)
    # TFX names the type of an execution by the class of its component.
    trainers = [e.id for e in executions if e.type.rpartition(".")[2].endswith("Trainer")]
    for outputs in history.outputs_of(trainers).values():
        for output in outputs:
            if output.type == "ModelRun" and _has_logs(Path(output.uri)):
                return Path(output.uri)
    return None


def _has_logs(folder: Path) -> bool:
    return any(folder.glob("**/events.out.tfevents.*"))


def _versions(project: Project) -> dict[str, str]:
    """What the runs published: `version 3, stable`."""
    if project.is_pushed_away:
        return {}
    found = {}
    try:
        labels = read_labels(project.serving, project.trust)
        for number in list_versions(project.serving):
            manifest = read_manifest(project.serving / str(number))
            found[manifest.run_id] = ", ".join([f"version {number}", *labels.labels_of(number)])
    except (InfrastructureError, OSError):
        return found
    return found


def _name(run_id: str, versions: dict[str, str]) -> str:
    """A run's name in TensorBoard: `2026-11-21 15.29 0c5c, version 3, stable`."""
    try:
        began = datetime.datetime.strptime(run_id[:15], "%Y%m%d-%H%M%S")
        name = f"{began:%Y-%m-%d %H.%M} {run_id[16:]}"
    except ValueError:  # a run of a cluster has an id of its own form
        name = run_id.replace("/", "_")
    return f"{name}, {versions.get(run_id, 'not published')}"
