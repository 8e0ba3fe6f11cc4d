"""`ordain retrain`: checks whether a retrain is due, and runs it if so."""

from __future__ import annotations

import contextlib
import datetime
import shlex
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager

import click

from ordain.cli.notify import no_notify_option, notify
from ordain.cli.options import json_option, print_json, with_project
from ordain.common.process_exit import exit_process
from ordain.config.project import Project
from ordain.history.results import RunResult
from ordain.retraining.retrain import retrain_once
from ordain.retraining.types import Decision
from ordain.runner.local import Listener
from ordain.runner.node_log import console_stream


@click.command()
@with_project()
@click.option("--dry-run", is_flag=True, help="Print the decision; run and write nothing.")
@click.option("--force", is_flag=True, help="Run despite blockers; incomplete spans are not used.")
@click.option("--wait", is_flag=True, help="Wait for another run in this workspace to end.")
@no_notify_option
@json_option
def retrain(
    project: Project,
    dry_run: bool,
    force: bool,
    wait: bool,
    no_notify: bool,
    as_json: bool,
) -> None:
    """Check whether a retrain is due, and run it if so.

    Prints why a run is due or not. Triggers are new and late data, a changed source or schema,
    drift and age. The keys below `retrain` in pipeline.yaml select them, and the blockers that
    postpone a run. The exit code is 0 if nothing is due.

    \b
    Examples:
      ordain retrain examples/flights --dry-run
      ordain retrain examples/flights --set retrain.catch_up=each
      ordain retrain examples/flights --json | jq .decision
    """
    started = datetime.datetime.now(datetime.UTC)
    view = _View(project, as_json)
    result = retrain_once(project, view, force, dry_run, wait)
    if as_json:
        print_json(result.to_dict())
    if result.error is not None:
        click.echo(f"error: {result.error}", err=True)
    if not no_notify and not dry_run:
        sys.stdout.flush()
        document = result.to_dict()
        notify(project, started, document["runs"], result.error, document["decision"])
    if result.runs:
        exit_process(int(result.exit_code))
    sys.exit(int(result.exit_code))


class _View:
    """Prints the decision, and each run as `ordain run` does."""

    def __init__(self, project: Project, as_json: bool) -> None:
        self._project = project
        self._as_json = as_json

    def decided(self, decision: Decision) -> None:
        """Prints the decision with its reasons."""
        if self._as_json:
            return
        click.echo(str(decision.action))
        for reason in decision.reasons:
            click.echo(f"  {reason.effect:<8} {reason.text}")
        for window in decision.windows:
            fresh = ", trained anew" if decision.is_fresh else ""
            click.echo(f"  run      {len(window)} span(s) to {window[-1]}{fresh}")

    def waiting(self, holder: str) -> None:
        """Prints which run holds the workspace."""
        click.echo(f"waiting for {holder}", err=self._as_json)

    def running(self, window: tuple[int, ...]) -> AbstractContextManager[Listener]:
        """Draws a run while it goes on."""
        from ordain.cli.sigterm import ended_between_nodes  # noqa: PLC0415

        return ended_between_nodes(self._drawn(window))

    @contextlib.contextmanager
    def _drawn(self, window: tuple[int, ...]) -> Iterator[Listener]:
        from ordain.cli.console import RunView  # noqa: PLC0415  only a run is drawn
        from ordain.cli.run import drawn  # noqa: PLC0415

        sys.stdout.flush()
        with contextlib.closing(console_stream(2 if self._as_json else 1)) as stream:
            view = RunView(stream)
            view.console.print(f"\nrun over {len(window)} span(s) to {window[-1]}")
            with drawn(view) as listener:
                yield listener

    def ended(self, result: RunResult) -> None:
        """Prints the result of a run and writes its report."""
        from rich.console import Console  # noqa: PLC0415

        from ordain.cli.console import print_result  # noqa: PLC0415
        from ordain.reports.at_run_end import write_run_report  # noqa: PLC0415

        if not self._as_json:
            command = shlex.join(["ordain", *sys.argv[1:]])
            print_result(Console(highlight=False), result, command)
        sys.stdout.flush()
        _, line = write_run_report(self._project, result.run_id)
        click.echo(f"  {line}", err=self._as_json)
