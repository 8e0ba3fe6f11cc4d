"""`ordain cluster`: runs on a Kubeflow Pipelines server."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import click

from ordain.cli.kubeflow.cluster_options import (
    on_server,
    open_server,
    server_options,
    show_json,
    show_time,
)
from ordain.cli.kubeflow.cluster_schedule import schedule
from ordain.cli.options import json_option
from ordain.errors import ConfigError
from ordain.kubeflow.client.logs import read_log, tail
from ordain.kubeflow.client.names import find_experiment, find_pipeline
from ordain.kubeflow.client.runs import Run, cancel_run, list_runs, read_run
from ordain.kubeflow.client.server import Server

#: Bytes at the end of a log that --json prints; without it the whole log is streamed.
JSON_LOG_BYTES = 1_000_000


@click.group()
def cluster() -> None:
    """List, cancel and schedule runs on a Kubeflow Pipelines server.

    The server is the one in a project's section kubeflow, or --host. Credentials come from the
    project's kubeflow.auth; without a project none are sent.

    \b
    Examples:
      ordain cluster runs examples/flights
      ordain cluster logs 8d0f2c1e-5b6a-4b0e-9a53-0d7c21f7c0de Trainer --project examples/flights
      ordain cluster schedule create examples/flights --cron "0 3 * * *"
    """


@cluster.command()
@click.argument("project", metavar="[PROJECT]", required=False)
@click.option("--env", metavar="NAME", help="Read pipeline.NAME.yaml on top.")
@click.option("--experiment", metavar="NAME", help="Only runs of this experiment.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@server_options
@json_option
def runs(
    project: str | None,
    env: str | None,
    experiment: str | None,
    limit: int,
    host: str | None,
    namespace: str | None,
    as_json: bool,
) -> None:
    """List runs, newest first: those of PROJECT, or all.

    \b
    Examples:
      ordain cluster runs examples/flights
      ordain cluster runs --host http://127.0.0.1:8888 --experiment nightly --json
    """
    server, loaded = open_server(project, env, host, namespace)
    pipeline_id = None
    if project is not None and loaded is not None:
        pipeline_id = find_pipeline(server, loaded.name)
        if pipeline_id is None:
            raise ConfigError(
                f"there is no pipeline {loaded.name!r} at {server.connection.host}",
                f"ordain submit {server.connection.argument_words}",
            )
    experiment_id = find_experiment(server, experiment, create=False) if experiment else None
    found = list_runs(server, experiment_id, pipeline_id, limit)
    if as_json:
        show_json([_brief(run) for run in found])
        return
    if not found:
        click.echo("no runs")
    for run in found:
        click.echo(f"{run.id}  {show_time(run.created)}  {run.state.lower():<9}  {run.name}")


@cluster.command()
@click.argument("run", metavar="RUN")
@click.argument("task", metavar="[TASK]", required=False)
@on_server
@json_option
def logs(server: Server, run: str, task: str | None, as_json: bool) -> None:
    """Print the log of the last attempt of TASK in RUN; without TASK, list the tasks.

    The log is read from the Kubeflow Pipelines API or, if that fails and there is a kubeconfig,
    from Kubernetes. Neither keeps it long after the pod is deleted; the run's folder does.

    \b
    Examples:
      ordain cluster logs 8d0f2c1e-5b6a-4b0e-9a53-0d7c21f7c0de --project examples/flights
      ordain cluster logs 8d0f2c1e-5b6a-4b0e-9a53-0d7c21f7c0de Trainer --host http://127.0.0.1:8888
    """
    found = read_run(server, run)
    if task is None:
        _show_tasks(found, as_json)
        return
    chosen = found.task(task)
    if not chosen.pods:
        raise ConfigError(
            f"task {chosen.name} of run {run} has no pod: it is {chosen.state.lower()}",
            f"ordain cluster logs {run} {server.connection.words}, to list the tasks",
        )
    pieces = read_log(server, found, chosen.pods[-1])
    if as_json:
        text = tail(pieces, JSON_LOG_BYTES).decode("utf-8", "replace")
        show_json({"run_id": found.id, **asdict(chosen), "log": text})
        return
    for piece in pieces:
        sys.stdout.buffer.write(piece)
    sys.stdout.flush()


@cluster.command()
@click.argument("run", metavar="RUN")
@on_server
@json_option
def cancel(server: Server, run: str, as_json: bool) -> None:
    """Cancel RUN: its pods receive SIGTERM. A finished run is left unchanged.

    \b
    Examples:
      ordain cluster cancel 8d0f2c1e-5b6a-4b0e-9a53-0d7c21f7c0de --project examples/flights
    """
    left = cancel_run(server, run)
    if as_json:
        show_json(_brief(left))
    else:
        click.echo(f"run {left.id}: {left.state.lower()}")


cluster.add_command(schedule)


def _show_tasks(run: Run, as_json: bool) -> None:
    if as_json:
        show_json({**_brief(run), "tasks": [asdict(task) for task in run.tasks]})
        return
    click.echo(f"run {run.id}: {run.state.lower()}  {run.name}")
    for task in run.tasks:
        attempts = f"  {len(task.pods)} attempts" if len(task.pods) > 1 else ""
        click.echo(f"  {task.name:<32} {task.state.lower():<9} {show_time(task.started)}{attempts}")
    if not run.tasks:
        click.echo("  no task has started")


def _brief(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "run_name": run.name,
        "state": run.state,
        "pipeline_id": run.pipeline_id,
        "version_id": run.version_id,
        "schedule_id": run.recurring_id,
        "created": run.created,
        "ended": run.ended,
        "error": run.error,
    }
