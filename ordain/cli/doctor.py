"""`ordain doctor`: checks of this machine and installation."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from ordain.cli.health_checks import Check, check_machine
from ordain.cli.options import json_option
from ordain.common.package import ROOT
from ordain.config.loading import load_project
from ordain.errors import InfrastructureError

#: Beside the package in the repository; an installed wheel has none.
LOCK = ROOT / "requirements.lock"
_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.command()
@click.argument("project", metavar="[PROJECT]", required=False)
@click.option("--env", metavar="NAME", help="Read pipeline.NAME.yaml on top.")
@json_option
def doctor(project: str | None, env: str | None, as_json: bool) -> None:
    """Check this machine and installation.

    Checks Python, the C library, installed packages, processors, memory, disk space, the workspace
    and its ML Metadata database. The workspace is that of PROJECT, or var/ in the current folder if
    PROJECT is not given.

    Exits with 5 if a check failed, with 0 if all passed or only warned.

    \b
    Examples:
      ordain doctor
      ordain doctor examples/flights
      ordain doctor --json
    """
    loaded = load_project(project, env) if project else None
    workspace = loaded.workspace if loaded else Path.cwd() / "var"
    checks = check_machine(workspace, LOCK, loaded.metadata if loaded else None)
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        print_checks(Console(highlight=False), checks)
    failed = [check.name for check in checks if check.state == "fail"]
    if failed:
        names = ", ".join(failed)
        raise InfrastructureError(f"{len(failed)} of {len(checks)} checks failed: {names}")


def print_checks(console: Console, checks: Iterable[Check]) -> None:
    """Print one line per check, and its fix below it where there is one."""
    for check in checks:
        line = Text(f"{check.state:<5}", style=_STYLES[check.state])
        line.append(f"{check.name:<11}{check.found}", style="default")
        console.print(line, soft_wrap=True)
        if check.fix:
            console.print(Text(f"{'':<16}fix: {check.fix}", style="dim"), soft_wrap=True)
