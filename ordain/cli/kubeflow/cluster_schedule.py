"""`ordain cluster schedule`: schedules on a Kubeflow Pipelines server."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ordain.cli.kubeflow.cluster_options import (
    compiled_options,
    on_server,
    open_server,
    server_options,
    show_json,
    show_time,
)
from ordain.cli.kubeflow.submit import (
    compiled_file,
    describe_version,
    run_parameters,
    send,
)
from ordain.cli.options import json_option, project_options
from ordain.config.loading import load_unresolved
from ordain.errors import ConfigError
from ordain.kubeflow.client.names import find_pipeline
from ordain.kubeflow.client.recurring_runs import (
    Schedule,
    create_schedule,
    delete,
    enable,
    list_schedules,
    to_six_fields,
)
from ordain.kubeflow.client.server import Server
from ordain.kubeflow.client.settings import connection_of


@click.group()
def schedule() -> None:
    """Create, list, pause, resume and delete schedules on a Kubeflow Pipelines server.

    \b
    Examples:
      ordain cluster schedule create examples/flights --cron "0 3 * * *"
      ordain cluster schedule list examples/flights
      ordain cluster schedule pause 51d3a7c6-96a3-4d0f-8a43-3a1f1f2f4d10 --project examples/flights
    """


@schedule.command()
@project_options
@click.option("--cron", metavar="EXPRESSION", help="Five fields, or six; default: schedule.cron.")
@click.option("--catch-up", is_flag=True, help="Start a run for each missed tick.")
@click.option("--name", metavar="NAME", help="Default: the project's name.")
@click.option("--replace", is_flag=True, help="Then delete older schedules of this name.")
@compiled_options
@server_options
@json_option
def create(
    project: str,
    env: str | None,
    settings: tuple[str, ...],
    cron: str | None,
    catch_up: bool,
    name: str | None,
    replace: bool,
    pipeline_root: str | None,
    path: Path | None,
    experiment: str | None,
    create_experiment: bool,
    host: str | None,
    namespace: str | None,
    as_json: bool,
) -> None:
    """Create a schedule that starts a run of PROJECT at each tick, one run at a time.

    The server expects six cron fields, seconds first; five are translated. Times are in the
    cluster's time zone: UTC unless its administrator changed it. The schedule keeps the file as
    compiled now: after a change, create it again with --replace.

    \b
    Examples:
      ordain cluster schedule create examples/flights --cron "0 3 * * *"
      ordain cluster schedule create examples/flights --cron "0 30 2 * * MON-FRI" --replace
    """
    loaded = load_unresolved(project, env, settings)
    server = Server(connection_of(loaded, host, namespace))
    expression = cron or loaded.schedule.cron
    if expression is None:
        raise ConfigError(
            f"no cron expression: neither --cron nor schedule.cron in {project} is set",
            "--cron '0 3 * * *'",
        )
    six = to_six_fields(expression)
    file = compiled_file(loaded, env, path)
    parameters = run_parameters(file, settings, None, pipeline_root)
    called = name or loaded.name
    older = _of_name(server, loaded.name, called)
    if older and not replace:
        raise ConfigError(
            f"schedule {called!r} of {loaded.name} already exists ({older[0].cron}, "
            f"{_state(older[0])}): two would run at once and race for the latest span and version",
            f"--replace, or ordain cluster schedule delete {older[0].id} {server.connection.words}",
        )
    version, request = send(
        server,
        loaded,
        file,
        parameters,
        experiment or server.connection.experiment,
        create_experiment,
        called,
    )
    made = create_schedule(server, version, request, six, catch_up)
    for one in older:
        delete(server, one.id)
    if as_json:
        show_json({**asdict(made), "version": version.name, "replaced": [one.id for one in older]})
        return
    click.echo(describe_version(version))
    for one in older:
        click.echo(f"schedule {one.id} deleted: replaced")
    click.echo(f"schedule {made.id} created: {called}, cron {made.cron!r}, one run at a time")
    if six != expression:
        click.echo(f"note: {expression!r} is {six!r} for the server, which expects seconds first")
    if loaded.schedule.timezone != "UTC":
        click.echo(
            f"note: schedule.timezone is {loaded.schedule.timezone}; the server uses its own "
            "(CRON_SCHEDULE_TIMEZONE of ml-pipeline-scheduledworkflow, UTC unless set)"
        )


@schedule.command("list")
@click.argument("project", metavar="[PROJECT]", required=False)
@click.option("--env", metavar="NAME", help="Read pipeline.NAME.yaml on top.")
@server_options
@json_option
def list_(
    project: str | None, env: str | None, host: str | None, namespace: str | None, as_json: bool
) -> None:
    """List schedules, newest first: those of PROJECT, or all."""
    server, loaded = open_server(project, env, host, namespace)
    found: list[Schedule] = []
    if project is None or loaded is None:
        found = list_schedules(server, None)
    elif (pipeline_id := find_pipeline(server, loaded.name)) is not None:
        found = list_schedules(server, pipeline_id)
    if as_json:
        show_json([asdict(one) for one in found])
        return
    if not found:
        click.echo("no schedules")
    for one in found:
        click.echo(_line(one))


@schedule.command("pause")
@click.argument("schedule_id", metavar="SCHEDULE")
@on_server
@json_option
def pause_(server: Server, schedule_id: str, as_json: bool) -> None:
    """Pause SCHEDULE: it starts no runs; a running one continues."""
    _show(enable(server, schedule_id, False), as_json)


@schedule.command("resume")
@click.argument("schedule_id", metavar="SCHEDULE")
@on_server
@json_option
def resume_(server: Server, schedule_id: str, as_json: bool) -> None:
    """Resume SCHEDULE."""
    _show(enable(server, schedule_id, True), as_json)


@schedule.command("delete")
@click.argument("schedule_id", metavar="SCHEDULE")
@on_server
@json_option
def delete_(server: Server, schedule_id: str, as_json: bool) -> None:
    """Delete SCHEDULE; its runs stay."""
    delete(server, schedule_id)
    if as_json:
        show_json({"id": schedule_id, "deleted": True})
    else:
        click.echo(f"schedule {schedule_id} deleted")


def _of_name(server: Server, pipeline: str, name: str) -> list[Schedule]:
    """The schedules of a pipeline that have a name."""
    pipeline_id = find_pipeline(server, pipeline)
    if pipeline_id is None:
        return []
    return [one for one in list_schedules(server, pipeline_id) if one.name == name]


def _show(one: Schedule, as_json: bool) -> None:
    if as_json:
        show_json(asdict(one))
    else:
        click.echo(_line(one))


def _line(one: Schedule) -> str:
    late = ", catches up" if one.catches_up else ""
    when = one.cron or "interval"
    return f"{one.id}  {show_time(one.created)}  {_state(one):<7}  {when}{late}  {one.name}"


def _state(one: Schedule) -> str:
    return "on" if one.is_enabled else "paused"
