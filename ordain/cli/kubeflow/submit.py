"""`ordain submit`: a project as a run on a Kubeflow Pipelines server."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import click

from ordain.cli.kubeflow.cluster_options import compiled_options, server_options, show_json
from ordain.cli.options import json_option, project_options
from ordain.config.loading import load_unresolved
from ordain.config.project import Project
from ordain.errors import ConfigError
from ordain.kubeflow.client.follow import follow, judge
from ordain.kubeflow.client.names import find_experiment
from ordain.kubeflow.client.server import Server
from ordain.kubeflow.client.settings import connection_of
from ordain.kubeflow.client.submit import (
    PipelineFile,
    RunRequest,
    Version,
    check_parameters,
    read_file,
    start_run,
    upload,
)
from ordain.kubeflow.task_contract import PIPELINE_ROOT, RUN_PARAMETERS, SETTINGS, SPAN, as_argument
from ordain.pipeline.topology import topology_of

#: Seconds between two polls of a run.
POLL_S = 10.0


@click.command()
@project_options
@click.option("--span", type=int, help="Last span of the window; default: the newest.")
@compiled_options
@click.option("--run-name", metavar="NAME", help="Default: the project's name and the time.")
@click.option("--wait", is_flag=True, help="Follow the run; exit with its exit code.")
@click.option(
    "--poll",
    "poll_s",
    type=click.FloatRange(0.1, 3600),
    default=POLL_S,
    show_default=True,
    help="Seconds between two polls while waiting.",
)
@server_options
@json_option
def submit(
    project: str,
    env: str | None,
    settings: tuple[str, ...],
    span: int | None,
    pipeline_root: str | None,
    path: Path | None,
    experiment: str | None,
    create_experiment: bool,
    run_name: str | None,
    wait: bool,
    poll_s: float,
    host: str | None,
    namespace: str | None,
    as_json: bool,
) -> None:
    """Compile PROJECT, upload it to Kubeflow Pipelines and start a run.

    An unchanged file is not uploaded again. --set and --span are parameters of the run and not
    part of the file. With --wait the exit code is that of a run on this machine; 1 if a task
    failed and its own code is unknown.

    \b
    Examples:
      ordain submit examples/flights --host http://127.0.0.1:8888 --wait
      ordain submit examples/flights --env prod --span 201306 --set train.steps=500
      ordain submit examples/flights --file flights.yaml --experiment nightly --create-experiment
    """
    loaded = load_unresolved(project, env, settings)
    server = Server(connection_of(loaded, host, namespace))
    file = compiled_file(loaded, env, path)
    parameters = run_parameters(file, settings, span, pipeline_root)
    version, request = send(
        server,
        loaded,
        file,
        parameters,
        experiment or server.connection.experiment,
        create_experiment,
        run_name or default_name(loaded),
    )
    run_id = start_run(server, version, request)
    words = server.connection.words
    sent = {
        "run_id": run_id,
        "run_name": request.name,
        "pipeline": file.name,
        "pipeline_id": version.pipeline_id,
        "version": version.name,
        "version_id": version.id,
        "uploaded": version.is_new,
        "experiment_id": request.experiment_id,
        "parameters": parameters,
    }
    if not as_json:
        click.echo(describe_version(version))
        click.echo(f"run {run_id} started: {request.name}")
    if not wait:
        if as_json:
            show_json(sent)
        else:
            click.echo(f"  next: ordain cluster logs {run_id} {words}")
        return
    try:
        run = follow(server, run_id, poll_s, lambda line: click.echo(line, err=as_json))
    except KeyboardInterrupt:
        cancel = f"ordain cluster cancel {run_id} {words}"
        click.echo(f"run {run_id} continues without being followed\n  next: {cancel}", err=True)
        raise
    ending = judge(server, run)
    if as_json:
        came = {"state": run.state, "exit_code": int(ending.exit_code), "text": ending.text}
        show_json({**sent, **came, "failed": list(ending.failed)})
    else:
        click.echo(f"run {run_id}: {ending.text}")
        for task in ending.failed:
            click.echo(f"  next: ordain cluster logs {run_id} {task} {words}")
    click.get_current_context().exit(int(ending.exit_code))


def compiled_file(project: Project, env: str | None, path: Path | None) -> PipelineFile:
    """The file to submit: compiled now, or the given one, checked against the backend's rules.

    Args:
        project: The project with the run's settings.
        env: Its overlay.
        path: A compiled file; None: compile the project.

    Raises:
        ConfigError: It does not compile, is not a compiled file, breaks a rule of the backend, is
            another project's, or the run's settings change the compiled nodes.
    """
    if path is not None:
        file = read_file(path)
        if file.name != project.name:
            raise ConfigError(
                f"--file {path} contains pipeline {file.name!r}; the project is {project.name!r}",
                f"ordain compile {project.folder} -o {path}",
            )
        return file
    from ordain.kubeflow.compiler.compiler import compile_plan  # noqa: PLC0415  slow to import
    from ordain.kubeflow.compiler.plan import make_plan  # noqa: PLC0415

    plan = make_plan(project.folder, env)
    compiled, wanted = dict(plan.topology), dict(topology_of(project))
    if compiled != wanted:
        changed = sorted(set(compiled) ^ set(wanted)) or ["dependencies"]
        raise ConfigError(
            f"--set changes the nodes of the pipeline ({', '.join(changed)}), which are compiled "
            "into the file",
            f"ordain compile {project.folder} --set ... -o FILE, and submit --file FILE",
        )
    made = compile_plan(plan)
    for note in made.notes:
        click.echo(f"note: {note}", err=True)
    return PipelineFile(made.name, made.text, RUN_PARAMETERS)


def run_parameters(
    file: PipelineFile, settings: tuple[str, ...], span: int | None, pipeline_root: str | None
) -> dict[str, str]:
    """The parameters of a run that differ from the file's defaults.

    Raises:
        ConfigError: A setting cannot be changed per run, or the file has no such parameter.
    """
    for setting in settings:
        if setting.partition("=")[0].strip().split(".")[0] == "kubeflow":
            raise ConfigError(
                f"--set {setting}: section kubeflow cannot be changed per run",
                "set it in pipeline.yaml or in an overlay (--env); server: --host and --namespace",
            )
    given = {
        SPAN: None if span is None else str(span),
        SETTINGS: as_argument(list(settings)) if settings else None,
        PIPELINE_ROOT: pipeline_root,
    }
    parameters = {key: value for key, value in given.items() if value is not None}
    check_parameters(file, parameters)
    return parameters


def send(
    server: Server,
    project: Project,
    file: PipelineFile,
    parameters: dict[str, str],
    experiment: str,
    create_experiment: bool,
    name: str,
) -> tuple[Version, RunRequest]:
    """Uploads a file and collects the settings of its runs.

    Raises:
        ConfigError: The experiment does not exist, or the server refuses the file.
        InfrastructureError: The server is unreachable or failed.
    """
    experiment_id = find_experiment(server, experiment, create_experiment)
    version = upload(server, file)
    return version, RunRequest(name, experiment_id, parameters, project.kubeflow.service_account)


def describe_version(version: Version) -> str:
    """Describes a version and whether it is new."""
    state = "uploaded" if version.is_new else "already exists, not uploaded again"
    return f"version {version.name}: {state}"


def default_name(project: Project) -> str:
    """The default name of a run: project and time in UTC."""
    now: Any = datetime.datetime.now(datetime.UTC)
    return f"{project.name} {now:%Y-%m-%d %H:%M:%S}"
