"""`ordain doctor`: what is fine on this machine and in this installation, and what is not."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

import click
from rich.console import Console
from rich.text import Text

from ordain.cli.health_checks import Check, check_machine
from ordain.cli.options import json_option
from ordain.common.package import ROOT
from ordain.config.loading import load_project
from ordain.errors import InfrastructureError

LOCK = ROOT / "requirements.lock"
_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.command()
@click.argument("project", metavar="[PROJECT]", required=False)
@click.option("--env", metavar="NAME", help="Read pipeline.NAME.yaml on top.")
@json_option
def doctor(project: str | None, env: str | None, as_json: bool) -> None:
    """Check this machine and installation.

    With PROJECT its workspace is looked at, otherwise var/ in the repository.
    Exit code 5 if a check failed, 0 if all are fine or warn.

    \b
    Examples:
      ordain doctor
      ordain doctor examples/flights
      ordain doctor --json
    """
    loaded = load_project(project, env) if project else None
    workspace = loaded.workspace if loaded else ROOT / "var"
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
    """One line for each check, and below it the fix if there is something to fix."""
    for check in checks:
        line = Text(f"{check.state:<5}", style=_STYLES[check.state])
        line.append(f"{check.name:<11}{check.found}", style="default")
        console.print(line, soft_wrap=True)
        if check.fix:
            console.print(Text(f"{'':<16}fix: {check.fix}", style="dim"), soft_wrap=True)
