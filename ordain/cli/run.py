"""`ordain run`: the pipeline on this machine."""

from __future__ import annotations

import contextlib
import datetime
import shlex
import sys
from collections.abc import Iterator

import click

from ordain.cli.console import RunView, print_result
from ordain.cli.notify import no_notify_option, notify
from ordain.cli.options import json_option, print_json, with_project
from ordain.common.process_exit import exit_process
from ordain.config.project import Project
from ordain.errors import OrdainError
from ordain.reports.at_run_end import write_run_report
from ordain.runner.local import Options, new_run_id
from ordain.runner.node_log import console_stream
from ordain.runner.preflight import Plan
from ordain.runner.run import plan_and_run, quiet_libraries
from ordain.runner.workspace_lock import workspace_lock


@click.command()
@with_project()
@click.option("--span", type=int, help="Last span of the window; default: the newest.")
@click.option(
    "--from",
    "from_node",
    metavar="NODE",
    help="Start at NODE; take the outputs of earlier nodes from the last run.",
)
@click.option("--to", "to_node", metavar="NODE", help="Stop after NODE.")
@click.option("--no-cache", is_flag=True, help="Execute every node, even if it is cached.")
@click.option("--profile", is_flag=True, help="Write a flame graph to the run's folder.")
@click.option("--wait", is_flag=True, help="Wait until another run in this workspace ends.")
@no_notify_option
@json_option
def run(
    project: Project,
    span: int | None,
    from_node: str | None,
    to_node: str | None,
    no_cache: bool,
    profile: bool,
    wait: bool,
    no_notify: bool,
    as_json: bool,
) -> None:
    """Run PROJECT's pipeline on this machine.

    Nodes that ran before on the same inputs, settings and source are taken from the cache, so a run
    after a failure resumes at the failed node.

    \b
    Examples:
      ordain run examples/flights
      ordain run examples/flights --span 201306 --set train.steps=500
      ordain run examples/flights --from Trainer
      ordain run examples/flights --no-cache --profile
      ordain run examples/flights --json | jq .verdicts
    """
    quiet_libraries()
    started = datetime.datetime.now(datetime.UTC)
    run_id = new_run_id()
    stream = console_stream(2 if as_json else 1)
    view = RunView(stream)
    options = Options(not no_cache, from_node, to_node, profile=profile)

    def show(plan: Plan) -> None:
        if not as_json:
            for note in plan.notes:
                view.console.print(f"note: {note}", markup=False)

    def on_wait(holder: str) -> None:
        view.note(f"waiting for {holder}")

    try:
        with workspace_lock(project.workspace, run_id, wait, on_wait, project.metadata) as hold:
            result = plan_and_run(project, run_id, span, options, drawn(view), hold, show)
    except OrdainError as error:
        if not no_notify:
            notify(project, started, [], error)
        raise
    if as_json:
        print_json(result.to_dict())
    else:
        print_result(view.console, result, shlex.join(["ordain", *sys.argv[1:]]))
    stream.flush()
    _, line = write_run_report(project, run_id)
    click.echo(f"  {line}", err=as_json)
    sys.stdout.flush()
    if not no_notify:
        notify(project, started, [result.to_dict()], None)
    exit_process(int(result.exit_code))


@contextlib.contextmanager
def drawn(view: RunView) -> Iterator[RunView]:
    """Draw a run, starting with the import of TensorFlow before its first node."""
    with view:
        view.note("loading TensorFlow, TFX and Beam")
        yield view
