"""`ordain report`: the report of a run, one page in the run's folder."""

from __future__ import annotations

import click

from ordain.api.runs import find_run_id
from ordain.api.runs import report as write_report
from ordain.cli.options import open_in_browser, run_argument, with_project
from ordain.config.project import Project

REPORT_FILE = "report.html"


@click.command()
@with_project()
@run_argument
@click.option("--renew", is_flag=True, help="Write the report again even if it exists.")
@click.option("--open", "is_opened", is_flag=True, help="Open the report in the browser.")
def report(project: Project, run: str | None, renew: bool, is_opened: bool) -> None:
    """Print the path of a run's report; write it if missing.

    Every run writes its report when it ends, also if it was blocked or failed. The report is one
    HTML file without external resources. RUN defaults to the newest run.

    \b
    Examples:
      ordain report examples/flights --open
      ordain report examples/flights 20261121-081530-3f2a
      ordain report examples/flights --renew
    """
    run_id = find_run_id(project, run)
    path = project.runs / run_id / REPORT_FILE
    if renew or not path.is_file():
        path = write_report(project, run_id).path
    click.echo(str(path))
    if is_opened:
        open_in_browser(path.resolve().as_uri())
