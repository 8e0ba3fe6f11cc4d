"""Options that select a Kubeflow Pipelines server."""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ordain.config.loading import MAIN_FILE, load_unresolved
from ordain.config.project import Project
from ordain.kubeflow.client.server import Server
from ordain.kubeflow.client.settings import connection_of

Command = TypeVar("Command", bound=Callable[..., Any])


def server_options(command: Command) -> Command:
    """Adds --host and --namespace."""
    for decorate in (
        click.option(
            "--namespace",
            metavar="NAME",
            help="Namespace of your profile; default: kubeflow.namespace.",
        ),
        click.option(
            "--host",
            metavar="URL",
            help="Address of the Kubeflow Pipelines API; default: kubeflow.host.",
        ),
    ):
        command = decorate(command)
    return command


def compiled_options(command: Command) -> Command:
    """Adds --file, --pipeline-root, --experiment and --create-experiment."""
    for decorate in (
        click.option("--create-experiment", is_flag=True, help="Create a missing experiment."),
        click.option("--experiment", metavar="NAME", help="Default: kubeflow.experiment, Default."),
        click.option(
            "--file",
            "path",
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="Take this compiled file instead of compiling PROJECT.",
        ),
        click.option(
            "--pipeline-root",
            metavar="ROOT",
            help="Folder on a volume, or gs://bucket/folder, that the pods share; default: the "
            "file's.",
        ),
    ):
        command = decorate(command)
    return command


def project_option(command: Command) -> Command:
    """Adds --project and --env, for commands that need a project only for its server."""
    for decorate in (
        click.option("--env", metavar="NAME", help="Read pipeline.NAME.yaml on top."),
        click.option(
            "--project",
            metavar="FOLDER",
            help="Project whose section kubeflow names the server; default: the current folder, "
            "if it is a project.",
        ),
    ):
        command = decorate(command)
    return command


def on_server(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that select a server, and passes the `server` to the command."""

    @functools.wraps(command)
    def opened(
        project: str | None, env: str | None, host: str | None, namespace: str | None, **rest: Any
    ) -> None:
        command(server=open_server(project, env, host, namespace)[0], **rest)

    return project_option(server_options(opened))


def open_server(
    project: str | None, env: str | None, host: str | None, namespace: str | None
) -> tuple[Server, Project | None]:
    """Opens the server that a command's options select; nothing is sent yet.

    Args:
        project: Folder of a project; None: the current folder, if it is one.
        env: Overlay of the project.
        host: Option `--host`.
        namespace: Option `--namespace`.

    Returns:
        The server, and the project if there is one.

    Raises:
        ConfigError: No server is named, or the folder is no project.
    """
    folder = project if project is not None or not Path(MAIN_FILE).is_file() else "."
    loaded = None if folder is None else load_unresolved(folder, env)
    return Server(connection_of(loaded, host, namespace)), loaded


def show_json(value: Any) -> None:
    """Prints one JSON document; times in ISO 8601."""
    click.echo(json.dumps(value, indent=1, default=_as_text))


def show_time(moment: datetime.datetime | None) -> str:
    """A time in this machine's time zone, or a dash."""
    return "-" if moment is None else moment.astimezone().isoformat(sep=" ", timespec="seconds")


def _as_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime.datetime) else str(value)
