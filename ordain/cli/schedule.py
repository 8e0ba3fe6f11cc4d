"""`ordain schedule`: runs the scheduler, exports it, and shows its status."""

from __future__ import annotations

import datetime
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ordain.cli.options import json_option, print_json, with_project
from ordain.cli.text_schedule import status_lines
from ordain.common.cron import Cron, check_cron, check_timezone, show_time
from ordain.common.env_references import referenced_names
from ordain.config.project import Project
from ordain.errors import ConfigError
from ordain.scheduling.status import read_status

if TYPE_CHECKING:
    from ordain.scheduling.service import Service

#: Default number of decisions and runs that `status` shows.
SHOWN = 5
KINDS = ("systemd", "cron", "kubernetes")


class ScheduleGroup(click.Group):
    """Group with the default command `run`: `ordain schedule PROJECT`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Inserts `run` unless the first word is a command or asks for help."""
        if args and args[0] not in {*self.commands, "-h", "--help"}:
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Returns the command of a name; `run` for the name of a project."""
        return super().get_command(ctx, cmd_name) or self.commands["run"]


@click.group(cls=ScheduleGroup)
def schedule() -> None:
    """Retrain on a schedule or when the data changes; show the status.

    `ordain schedule PROJECT` is short for `ordain schedule run PROJECT`.

    \b
    Examples:
      ordain schedule examples/flights --cron "0 3 * * *" --timezone Europe/Berlin
      ordain schedule examples/flights --watch
      ordain schedule examples/flights --cron "0 3 * * *" --emit systemd
      ordain schedule status examples/flights
    """


@schedule.command()
@with_project()
@click.option("--cron", metavar="EXPRESSION", help="When to check; default: schedule.cron.")
@click.option("--timezone", metavar="ZONE", help="Zone of --cron; default: schedule.timezone, UTC.")
@click.option(
    "--watch/--no-watch", default=None, help="Check when the data changes; default: schedule.watch."
)
@click.option("--once", is_flag=True, help="Check once, now, and exit with its exit code.")
@click.option(
    "--emit",
    type=click.Choice(KINDS),
    help="Print the schedule for another scheduler, and exit.",
)
@click.option("--image", metavar="IMAGE", help="Container image, for --emit kubernetes.")
def run(
    project: Project,
    cron: str | None,
    timezone: str | None,
    watch: bool | None,
    once: bool,
    emit: str | None,
    image: str | None,
) -> None:
    """Check at every tick and data change whether PROJECT is to be retrained.

    Each check is `ordain retrain PROJECT`. There is one check at a time, also of two schedulers. On
    SIGTERM the check is stopped and the exit code is 0; the next check resumes its run.

    \b
    Examples:
      ordain schedule examples/flights --cron "0 3 * * *" --timezone Europe/Berlin --watch
      ordain schedule examples/flights --once
      ordain schedule examples/flights --cron "0 3 * * *" --emit cron
      ordain schedule examples/flights --cron "0 3 * * *" --emit kubernetes --image ordain:1
    """
    from ordain.scheduling.service import Service  # noqa: PLC0415  `status` works without it

    words = ("retrain", str(project.folder), "--json", "--wait", "--no-notify")
    check = _arguments(project, *words)
    service = Service(
        project=project,
        command=(*_program(), *check),
        cron=_checked("--cron", check_cron, cron) if cron else project.schedule.cron,
        timezone=_checked("--timezone", check_timezone, timezone)
        if timezone
        else project.schedule.timezone,
        watch=project.schedule.watch if watch is None else watch,
    )
    if emit is not None:
        click.echo(_emit(service, emit, image), nl=False)
        return

    def log(text: str) -> None:
        now = datetime.datetime.now(datetime.UTC)
        click.echo(f"{show_time(now, service.timezone)}  {text}")

    if once:
        click.get_current_context().exit(service.check_once(log))
    service.run(log)


@schedule.command()
@with_project()
@click.option("--limit", type=click.IntRange(1), default=SHOWN, show_default=True)
@json_option
def status(project: Project, limit: int, as_json: bool) -> None:
    """Show the last decisions with their reasons, the last runs, and the next tick.

    \b
    Examples:
      ordain schedule status examples/flights
      ordain schedule status examples/flights --json | jq .next_tick
    """
    found = read_status(project, limit, datetime.datetime.now(datetime.UTC))
    if as_json:
        print_json(found)
        return
    click.echo("\n".join(status_lines(found)))


def _emit(service: Service, emit: str, image: str | None) -> str:
    from ordain.scheduling import exporters  # noqa: PLC0415

    project: Project = service.project
    if service.cron is None:
        raise ConfigError(
            f"--emit {emit}: there is no cron expression, and {emit} does not watch files",
            "--cron '0 3 * * *', or schedule.cron in pipeline.yaml",
        )
    words = ("schedule", str(project.folder), "--once")
    export = exporters.Export(
        project=project,
        cron=Cron(service.cron, service.timezone),
        program=_program(),
        arguments=_arguments(project, *words),
        variables=tuple(referenced_names(json.dumps(project.effective, default=str))),
        image=image or f"ordain:{metadata.version('ordain')}",
    )
    emitters = {
        "systemd": exporters.emit_systemd,
        "cron": exporters.emit_cron,
        "kubernetes": exporters.emit_kubernetes,
    }
    return emitters[emit](export)


def _program() -> tuple[str, ...]:
    """Command that starts this installation's `ordain`."""
    script = Path(sys.executable).with_name("ordain")
    return (str(script),) if script.exists() else (sys.executable, "-P", "-m", "ordain.cli.main")


def _arguments(project: Project, *words: str) -> tuple[str, ...]:
    """Appends the project's overlay and settings to the words of a command."""
    overlay = () if project.environment is None else ("--env", project.environment)
    return (*words, *overlay, *(w for setting in project.settings for w in ("--set", setting)))


def _checked(option: str, check: Any, value: str) -> str:
    try:
        return str(check(value))
    except ValueError as error:
        raise ConfigError(f"{option} {value!r}: {error}", "docs/scheduling.md") from error
