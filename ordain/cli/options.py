"""Options shared by several commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

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


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
