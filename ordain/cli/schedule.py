"""`ordain schedule`: looks at every tick and change, and says how the schedule stands."""

from __future__ import annotations

import datetime
import json
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ordain.cli.options import json_option, project_options
from ordain.cli.text_schedule import status_lines
from ordain.common.cron import Cron, check_cron, check_timezone, show_time
from ordain.config.loading import load_project
from ordain.config.project import Project
from ordain.errors import ConfigError
from ordain.scheduling.status import read_status

if TYPE_CHECKING:
    from ordain.scheduling.service import Service

#: Decisions and runs that `status` shows unless told otherwise.
SHOWN = 5
KINDS = ("systemd", "cron", "kubernetes")
_REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")


class ScheduleGroup(click.Group):
    """A group whose command is `run` where none is named: `ordain schedule PROJECT`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts `run` before everything that neither names a command nor asks for help."""
        if args and args[0] not in {*self.commands, "-h", "--help"}:
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name; `run` for the name of a project."""
        return super().get_command(ctx, cmd_name) or self.commands["run"]


@click.group(cls=ScheduleGroup)
def schedule() -> None:
    """Run PROJECT by the clock, or when its data changes; show how that stands.

    `ordain schedule PROJECT` is short for `ordain schedule run PROJECT`.

    \b
    Examples:
      ordain schedule examples/flights --cron "0 3 * * *" --timezone Europe/Berlin
      ordain schedule examples/flights --watch
      ordain schedule examples/flights --cron "0 3 * * *" --emit systemd
      ordain schedule status examples/flights
    """


@schedule.command()
@project_options
@click.option("--cron", metavar="EXPRESSION", help="When to look; default: schedule.cron.")
@click.option("--timezone", metavar="ZONE", help="Zone of --cron; default: schedule.timezone, UTC.")
@click.option(
    "--watch/--no-watch", default=None, help="Look when the data changes; default: schedule.watch."
)
@click.option("--once", is_flag=True, help="Look once, now, and end with its exit code.")
@click.option(
    "--emit",
    type=click.Choice(KINDS),
    help="Print the schedule for another clock, and end.",
)
@click.option("--image", metavar="IMAGE", help="Container image, for --emit kubernetes.")
def run(
    project: str,
    env: str | None,
    settings: tuple[str, ...],
    cron: str | None,
    timezone: str | None,
    watch: bool | None,
    once: bool,
    emit: str | None,
    image: str | None,
) -> None:
    """Look at PROJECT at every tick and change, until SIGTERM.

    Each look is `ordain retrain PROJECT`, which decides and, if need be, runs. There is one look at
    a time, also of two schedulers. On SIGTERM the look is stopped and the exit code is 0; the next
    one goes on where it was.

    \b
    Examples:
      ordain schedule examples/flights --cron "0 3 * * *" --timezone Europe/Berlin --watch
      ordain schedule examples/flights --once
      ordain schedule examples/flights --cron "0 3 * * *" --emit cron
      ordain schedule examples/flights --cron "0 3 * * *" --emit kubernetes --image ordain:1
    """
    from ordain.scheduling.service import Service  # noqa: PLC0415  `status` answers without it

    loaded = load_project(project, env, settings)
    words = ("retrain", str(loaded.folder), "--json", "--wait", "--no-notify")
    look = _arguments(loaded, *words)
    service = Service(
        project=loaded,
        command=(*_program(), *look),
        cron=_checked("--cron", check_cron, cron) if cron else loaded.schedule.cron,
        timezone=_checked("--timezone", check_timezone, timezone)
        if timezone
        else loaded.schedule.timezone,
        watch=loaded.schedule.watch if watch is None else watch,
    )
    if emit is not None:
        click.echo(_emit(service, emit, image), nl=False)
        return

    def say(text: str) -> None:
        now = datetime.datetime.now(datetime.UTC)
        click.echo(f"{show_time(now, service.timezone)}  {text}")

    if once:
        click.get_current_context().exit(service.look_once(say))
    service.run(say)


@schedule.command()
@project_options
@click.option("--limit", type=click.IntRange(1), default=SHOWN, show_default=True)
@json_option
def status(
    project: str, env: str | None, settings: tuple[str, ...], limit: int, as_json: bool
) -> None:
    """Show the last decisions with their reasons, the last runs, and the next tick.

    \b
    Examples:
      ordain schedule status examples/flights
      ordain schedule status examples/flights --json | jq .next_tick
    """
    loaded = load_project(project, env, settings)
    found = read_status(loaded, limit, datetime.datetime.now(datetime.UTC))
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    click.echo("\n".join(status_lines(found)))


def _emit(service: Service, emit: str, image: str | None) -> str:
    from ordain.scheduling import exporters  # noqa: PLC0415

    project: Project = service.project
    if service.cron is None:
        raise ConfigError(
            f"--emit {emit}: there is no cron expression, and no other clock watches files",
            "--cron '0 3 * * *', or schedule.cron in pipeline.yaml",
        )
    words = ("schedule", str(project.folder), "--once")
    references = _REFERENCE.findall(json.dumps(project.effective, default=str))
    wanted = exporters.Wanted(
        project=project,
        cron=Cron(service.cron, service.timezone),
        program=_program(),
        arguments=_arguments(project, *words),
        variables=tuple(sorted(set(references))),
        image=image or f"ordain:{metadata.version('ordain')}",
    )
    emitters = {
        "systemd": exporters.emit_systemd,
        "cron": exporters.emit_cron,
        "kubernetes": exporters.emit_kubernetes,
    }
    return emitters[emit](wanted)


def _program() -> tuple[str, ...]:
    """What starts this installation's `ordain`."""
    script = Path(sys.executable).with_name("ordain")
    return (str(script),) if script.exists() else (sys.executable, "-P", "-m", "ordain.cli.main")


def _arguments(project: Project, *words: str) -> tuple[str, ...]:
    """Words of a command, followed by the project's own `--env` and `--set`."""
    overlay = () if project.environment is None else ("--env", project.environment)
    return (*words, *overlay, *(w for setting in project.settings for w in ("--set", setting)))


def _checked(option: str, check: Any, value: str) -> str:
    try:
        return str(check(value))
    except ValueError as error:
        raise ConfigError(f"{option} {value!r}: {error}", "docs/scheduling.md") from error
