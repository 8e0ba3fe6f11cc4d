"""`ordain report`: the report of a run, one page in the run's folder."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ordain.cli.options import project_options
from ordain.config.loading import load_project
from ordain.errors import InfrastructureError

if TYPE_CHECKING:
    from ordain.config.project import Project

REPORT_FILE = "report.html"


@click.command()
@project_options
@click.argument("run", metavar="[RUN]", required=False)
@click.option("--renew", is_flag=True, help="Write the report again even if it exists.")
@click.option("--open", "is_opened", is_flag=True, help="Open the report in the browser.")
def report(
    project: str,
    env: str | None,
    settings: tuple[str, ...],
    run: str | None,
    renew: bool,
    is_opened: bool,
) -> None:
    """Print the path of a run's report; write it if missing.

    Every run writes its report when it ends, also if it was blocked or failed. The report is one
    HTML file without external resources. RUN defaults to the newest run.

    \b
    Examples:
      ordain report examples/flights --open
      ordain report examples/flights 20261121-081530-3f2a
      ordain report examples/flights --renew
    """
    from ordain.cli.runs import run_id_of  # noqa: PLC0415  as `ordain runs` finds a run

    loaded = load_project(project, env, settings)
    run_id = run_id_of(loaded, run)
    path = loaded.runs / run_id / REPORT_FILE
    if renew or not path.is_file():
        path = _write(loaded, run_id)
    click.echo(str(path))
    if is_opened and not webbrowser.open(path.resolve().as_uri()):
        click.echo("no browser found to open the report", err=True)


def _write(project: Project, run_id: str) -> Path:
    from ordain.reports.page import write_report  # noqa: PLC0415  only where there is none yet

    try:
        return write_report(project, run_id)
    except OSError as error:
        raise InfrastructureError(
            f"the report of {run_id} cannot be written: {error}",
            "free space or correct permissions",
        ) from error
