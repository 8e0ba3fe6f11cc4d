"""Options that several commands share, and how a project is loaded from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def project_options(command: Command) -> Command:
    """Adds PROJECT, --env and --set."""
    for decorate in (
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="A.B=VALUE",
            help="Override one key of pipeline.yaml; may be given more than once.",
        ),
        click.option("--env", metavar="NAME", help="Read pipeline.NAME.yaml on top."),
        click.argument("project", metavar="PROJECT"),
    ):
        command = decorate(command)
    return command


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
