"""`ordain runs`: past runs, their results, lineage and logs."""

from __future__ import annotations

from typing import Any

import click

from ordain.api.runs import find_run_id, history_of, read_past_run
from ordain.api.runs import runs as list_runs
from ordain.cli.options import json_option, print_json, run_argument, with_project
from ordain.config.project import Project
from ordain.errors import ConfigError
from ordain.history.diff import compare_runs, read_facts
from ordain.history.runs import NodeRun

#: Default number of log lines.
LOG_LINES = 40


@click.group()
def runs() -> None:
    """List past runs; show one, its lineage, its logs; compare two.

    \b
    Examples:
      ordain runs list examples/flights
      ordain runs show examples/flights
      ordain runs lineage examples/flights 20261121-081530-3f2a
      ordain runs logs examples/flights --node Trainer
      ordain runs compare examples/flights
    """


@runs.command("list")
@with_project()
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="Number of runs."
)
@json_option
def list_(project: Project, limit: int, as_json: bool) -> None:
    """List runs, newest first.

    \b
    Example:
      ordain runs list examples/flights --limit 5
    """
    found = list_runs(project, limit)
    if as_json:
        print_json([one.to_dict() for one in found])
        return
    if not found:
        click.echo(f"{project.name} has not run yet: ordain run {project.folder}")
    for one in found:
        click.echo(f"{one.id}  {one.local_time}  {one.headline}")


@runs.command()
@with_project()
@run_argument
@json_option
def show(project: Project, run: str | None, as_json: bool) -> None:
    """Show one run: nodes, verdicts, model.

    RUN defaults to the newest run.

    \b
    Examples:
      ordain runs show examples/flights
      ordain runs show examples/flights 20261121-081530-3f2a --json
    """
    from rich.console import Console  # noqa: PLC0415  only this command draws

    from ordain.cli.console import print_verdict  # noqa: PLC0415

    read = history_of(project).read_run(find_run_id(project, run))
    past = read_past_run(project, read)
    if as_json:
        print_json({**past.to_dict(), "nodes": [_node(n) for n in read.nodes]})
        return
    click.echo(f"{read.id}  {past.local_time}\n{past.headline}\n")
    for node in read.nodes:
        at = f" span {node.span}" if node.span is not None else ""
        click.echo(f"  {node.node + at:<32} {node.state:<9} {node.seconds:>8.2f} s")
    click.echo()
    console = Console(highlight=False)
    for verdict in past.verdicts:
        print_verdict(console, verdict)


@runs.command()
@with_project()
@run_argument
@json_option
def lineage(project: Project, run: str | None, as_json: bool) -> None:
    """List the artifacts of a run by node, with type and path.

    RUN defaults to the newest run.

    \b
    Example:
      ordain runs lineage examples/flights 20261121-081530-3f2a
    """
    read = history_of(project).read_run(find_run_id(project, run))
    if as_json:
        print_json([_node(n) for n in read.nodes])
        return
    for node in read.nodes:
        at = f" span {node.span}" if node.span is not None else ""
        click.echo(f"{node.node}{at} ({node.state})")
        for output in node.outputs:
            version = output.properties.get("pushed_version")
            note = f"  version {version}" if version else ""
            click.echo(f"  -> {output.type} #{output.id} {output.key}: {output.uri}{note}")


@runs.command()
@with_project()
@run_argument
@click.option("--node", metavar="NODE", help="The node; default: the one that logged last.")
@click.option(
    "--lines",
    type=click.IntRange(1),
    default=LOG_LINES,
    show_default=True,
    help="Number of lines from the end.",
)
def logs(project: Project, run: str | None, node: str | None, lines: int) -> None:
    """Print the end of a node's log.

    RUN defaults to the newest run.

    \b
    Example:
      ordain runs logs examples/flights --node Trainer --lines 200
    """
    folder = project.runs / find_run_id(project, run) / "logs"
    found = sorted(folder.glob("*.log"), key=lambda p: p.stat().st_mtime)
    if node is not None:
        found = [path for path in found if path.stem == node]
    if not found:
        have = ", ".join(sorted(p.stem for p in folder.glob("*.log"))) or "none"
        raise ConfigError(f"no log of {node or 'any node'} in {folder}", f"logs there: {have}")
    click.echo(f"{found[-1]}:")
    text = found[-1].read_text(encoding="utf-8", errors="replace").splitlines()
    click.echo("\n".join(text[-lines:]))


@runs.command()
@with_project()
@click.argument("before", metavar="[A]", required=False)
@click.argument("after", metavar="[B]", required=False)
@json_option
def compare(project: Project, before: str | None, after: str | None, as_json: bool) -> None:
    """Compare two runs: settings, nodes, times, memory, verdicts, metrics, versions.

    B defaults to the newest run. Without A and B the two newest runs are compared.

    \b
    Examples:
      ordain runs compare examples/flights
      ordain runs compare examples/flights 20261121-081530-3f2a 20261121-094049-287f
    """
    from rich.console import Console  # noqa: PLC0415  only this command draws

    from ordain.cli.text_runs import print_comparison  # noqa: PLC0415

    history = history_of(project)
    if before is None:
        found = history.list_runs() if project.metadata.exists() else []
        if len(found) < 2:
            raise ConfigError(
                f"{project.name} has {len(found)} run(s); a comparison needs two",
                f"ordain run {project.folder}",
            )
        chosen = [found[1].id, found[0].id]
    else:
        chosen = [find_run_id(project, before), find_run_id(project, after)]
    compared = compare_runs(*(read_facts(project, history, run_id) for run_id in chosen))
    if as_json:
        print_json(compared.to_dict())
        return
    print_comparison(Console(highlight=False), compared)


def _node(node: NodeRun) -> dict[str, Any]:
    outputs = [{"id": o.id, "key": o.key, "type": o.type, "uri": o.uri} for o in node.outputs]
    return {
        "node": node.node,
        "span": node.span,
        "state": node.state,
        "seconds": node.seconds,
        "execution_id": node.execution_id,
        "outputs": outputs,
    }
