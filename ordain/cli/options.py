"""Options and output that several commands share."""

from __future__ import annotations

import functools
import json
import logging
import sys
import webbrowser
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ordain.config.loading import load_project
from ordain.config.project import Project

Command = TypeVar("Command", bound=Callable[..., Any])


def project_options(command: Command) -> Command:
    """Add PROJECT, --env and --set to a command."""
    for decorate in (
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="A.B=VALUE",
            help="Override a key of pipeline.yaml; repeatable.",
        ),
        click.option("--env", metavar="NAME", help="Apply pipeline.NAME.yaml over pipeline.yaml."),
        click.argument("project", metavar="PROJECT"),
    ):
        command = decorate(command)
    return command


def with_project(
    load: Callable[..., Project] = load_project,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add PROJECT, --env and --set to a command that takes the loaded project as `project`.

    Args:
        load: A function of `ordain.config.loading`.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def call(project: str, env: str | None, settings: tuple[str, ...], **options: Any) -> Any:
            return command(project=load(project, env, settings), **options)

        return project_options(call)

    return decorate


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
run_argument = click.argument("run", metavar="[RUN]", required=False)
version_argument = click.argument("version", type=int, required=False, metavar="[VERSION]")
port_option = functools.partial(
    click.option,
    "--port",
    type=click.IntRange(0, 65535),
    show_default=True,
    help="Port on 127.0.0.1; 0 takes a free one.",
)


def log_to_stderr() -> None:
    """Write ordain's log, and warnings of other packages, to standard error."""
    line = "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(stream=sys.stderr, format=line, level=logging.WARNING)
    logging.getLogger("ordain").setLevel(logging.INFO)


def open_in_browser(address: str) -> None:
    """Open a page for --open; without a browser only print that there is none."""
    if not webbrowser.open(address):
        click.echo(f"no browser found to open {address}", err=True)


def print_json(document: Any) -> None:
    """Print a document for --json."""
    click.echo(json.dumps(document, indent=1))
