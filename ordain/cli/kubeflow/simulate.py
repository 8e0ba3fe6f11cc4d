"""`ordain simulate`: a compiled pipeline on this machine, without Docker or Kubernetes."""

from __future__ import annotations

import contextlib
import json
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ordain.cli.options import json_option
from ordain.errors import ConfigError
from ordain.kubeflow.simulator.attempts import Options
from ordain.kubeflow.simulator.fault_injection import read_injections
from ordain.kubeflow.simulator.job import Task
from ordain.kubeflow.simulator.parser import read_job
from ordain.kubeflow.simulator.process import last_lines
from ordain.kubeflow.simulator.report import (
    CANCELED,
    FAILED,
    NOT_STARTED,
    REPORT,
    SUCCEEDED,
    AttemptResult,
    Report,
    TaskResult,
)
from ordain.kubeflow.simulator.secret_values import read_secrets
from ordain.kubeflow.simulator.simulator import Simulation

#: Lines of a failed task's log that are shown.
LOG_LINES = 20
_STYLES = {SUCCEEDED: "green", FAILED: "bold red", NOT_STARTED: "yellow", CANCELED: "yellow"}


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--parallel",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Maximum number of tasks that run at once.",
)
@click.option("--param", "parameters", multiple=True, metavar="NAME=VALUE", help="A run parameter.")
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    metavar="NAME.KEY=VARIABLE",
    help="Take a secret's key from a variable of this environment.",
)
@click.option(
    "--secrets",
    "secrets_file",
    type=click.Path(path_type=Path),
    help="Take secrets from a YAML file: name -> key -> value.",
)
@click.option(
    "--config-map",
    "config_maps",
    multiple=True,
    metavar="NAME.KEY=VALUE",
    help="A config map's key.",
)
@click.option(
    "--inject",
    "injections",
    multiple=True,
    metavar="TASK:kill|term|lose[@WHEN][#ATTEMPT]",
    help="Make an attempt fail: @SECONDS after its start, or @~TEXT when its output holds TEXT.",
)
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="Folder for logs, outputs and the report; default: a new one below the system's own.",
)
@click.option("--no-wait", is_flag=True, help="Retry at once, without the file's back-off.")
@click.option(
    "--grace",
    "grace_s",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    help="Seconds between SIGTERM and SIGKILL.",
)
@json_option
def simulate(
    file: Path,
    parallel: int,
    parameters: tuple[str, ...],
    secrets: tuple[str, ...],
    secrets_file: Path | None,
    config_maps: tuple[str, ...],
    injections: tuple[str, ...],
    root: Path | None,
    no_wait: bool,
    grace_s: float,
    as_json: bool,
) -> None:
    """Run a compiled pipeline on this machine, without Kubernetes.

    Each task is a process with the command and the environment that FILE defines; it inherits
    nothing from this environment. Mount paths must exist here as folders. CPU and memory limits
    are not enforced.

    \b
    Examples:
      ordain simulate flights.yaml
      ordain simulate flights.yaml --parallel 4 --param span=201306
      ordain simulate flights.yaml --secret database.password=ORDAIN_DB_PASSWORD
      ordain simulate flights.yaml --inject trainer:kill@5 --no-wait
      ordain simulate flights.yaml --inject transform:lose@~launching --json

    Exit codes: 0 every task succeeded; a failed task's own code if it is 1 to 5, else 1;
    2 FILE or an option is invalid and nothing was started; 130 or 143 after SIGINT or SIGTERM.
    """
    job = read_job(file)
    folder = root if root is not None else Path(tempfile.mkdtemp(prefix="ordain-simulate-"))
    options = Options(
        root=folder,
        parameters=_pairs("--param", parameters),
        secrets=read_secrets(secrets, secrets_file),
        config_maps=_pairs("--config-map", config_maps),
        injections=read_injections(injections, job),
        parallel=parallel,
        grace_s=grace_s,
        has_backoff=not no_wait,
    )
    console = Console(stderr=as_json, highlight=False)
    view = SimulationView(console)
    simulation = Simulation(job, file, options, view)
    view.print(f"{job.name}: {len(job.tasks)} tasks, in {simulation.folder}")
    with _stopped_by_signals(simulation):
        report = simulation.run()
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=1, default=str))
    else:
        print_report(console, report)
    click.get_current_context().exit(report.exit_code)


class SimulationView:
    """Prints a line per event."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def started(self, task: Task, number: int) -> None:
        """An attempt has started."""
        attempt = f"  attempt {number}" if number > 1 else ""
        self.print(f"{task.name:<28} started{attempt}")

    def ended(self, task: Task, result: AttemptResult, wait_s: float | None) -> None:
        """An attempt has ended."""
        if wait_s is None:
            return
        self.print(
            f"{task.name:<28} {result.state}: {result.reason}; "
            f"attempt {result.number + 1} of {task.retry.count + 1} in {wait_s:.0f} s",
            "yellow",
        )

    def decided(self, result: TaskResult) -> None:
        """A task has reached its final state."""
        why = f": {result.reason}" if result.reason else ""
        self.print(
            f"{result.name:<28} {result.state} {result.seconds:.1f} s{why}", _STYLES[result.state]
        )

    def print(self, text: str, style: str = "") -> None:
        """Prints a line, unwrapped."""
        self._console.print(Text(text, style=style), soft_wrap=True)


def print_report(console: Console, report: Report) -> None:
    """Prints the table of tasks, then each failure with the end of its log."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("task", "state", "attempts", "exit", "seconds", "outputs"):
        is_number = name in ("attempts", "exit", "seconds")
        table.add_column(name, justify="right" if is_number else "left")
    for task in report.tasks:
        written = [key for key, one in task.artifacts.items() if one["bytes"] is not None]
        table.add_row(
            Text(task.name),
            Text(task.state, style=_STYLES[task.state]),
            str(len(task.attempts) or ""),
            "" if task.exit_code is None else str(task.exit_code),
            f"{task.seconds:.1f}",
            Text(", ".join([*task.parameters, *written])),
        )
    console.print()
    console.print(table)
    for note in report.notes:
        console.print(Text(f"note: {note}"), soft_wrap=True)
    for task in report.failed:
        _print_failure(console, task)
    console.print()
    console.print(
        Text(
            f"{report.pipeline} {report.state}, run {report.run_id}, {report.seconds:.1f} s, "
            f"exit code {report.exit_code}",
            style=_STYLES[report.state],
        ),
        soft_wrap=True,
    )
    console.print(Text(f"  report {Path(report.folder) / REPORT}"), soft_wrap=True)


def _print_failure(console: Console, task: TaskResult) -> None:
    code = "" if task.exit_code is None else f", exit code {task.exit_code}"
    title = Text(f"\ntask {task.name} failed{code}: {task.reason}", style="bold red")
    console.print(title, soft_wrap=True)
    if not task.attempts:
        return
    log = task.attempts[-1].log
    for line in last_lines(Path(log), LOG_LINES):
        console.print(Text(f"  | {line}"), soft_wrap=True)
    console.print(Text(f"  log {log}"), soft_wrap=True)


def _pairs(option: str, texts: tuple[str, ...]) -> dict[str, str]:
    values = {}
    for text in texts:
        name, mark, value = text.partition("=")
        if not mark or not name:
            raise ConfigError(f"{option} {text}: expected NAME=VALUE")
        values[name] = value
    return values


@contextlib.contextmanager
def _stopped_by_signals(simulation: Simulation) -> Iterator[None]:
    """Stops the simulation and all its tasks on SIGINT and SIGTERM."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {n: signal.signal(n, lambda number, _: simulation.stop(number)) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
