"""`ordain runs`: past runs, their results, lineage and logs."""

from __future__ import annotations

import datetime
import difflib
import json
from pathlib import Path
from typing import Any

import click

from ordain.cli.options import json_option, project_options
from ordain.config.loading import load_project
from ordain.config.project import Project
from ordain.errors import ConfigError
from ordain.history.diff import compare_runs, read_facts
from ordain.history.runs import History, NodeRun, Run

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
@project_options
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="Number of runs."
)
@json_option
def list_(
    project: str, env: str | None, settings: tuple[str, ...], limit: int, as_json: bool
) -> None:
    """List runs, newest first.

    \b
    Example:
      ordain runs list examples/flights --limit 5
    """
    loaded = load_project(project, env, settings)
    found = _history(loaded).list_runs()[:limit] if loaded.metadata.exists() else []
    rows = [
        {"run": run.id, "started": _time(run.started_ms), **_brief(loaded, run)} for run in found
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    if not rows:
        click.echo(f"{loaded.name} has not run yet: ordain run {project}")
    for row in rows:
        click.echo(f"{row['run']}  {row['started']}  {row['headline']}")


@runs.command()
@project_options
@click.argument("run", metavar="[RUN]", required=False)
@json_option
def show(
    project: str, env: str | None, settings: tuple[str, ...], run: str | None, as_json: bool
) -> None:
    """Show one run: nodes, verdicts, model.

    RUN defaults to the newest run.

    \b
    Examples:
      ordain runs show examples/flights
      ordain runs show examples/flights 20261121-081530-3f2a --json
    """
    from rich.console import Console  # noqa: PLC0415  only this command draws

    from ordain.cli.console import print_verdict  # noqa: PLC0415
    from ordain.verdict import Verdict  # noqa: PLC0415

    loaded = load_project(project, env, settings)
    read = _history(loaded).read_run(run_id_of(loaded, run))
    brief = _brief(loaded, read)
    if as_json:
        nodes = [_node(n) for n in read.nodes]
        click.echo(json.dumps({"run": read.id, **brief, "nodes": nodes}, indent=1))
        return
    click.echo(f"{read.id}  {_time(read.started_ms)}\n{brief['headline']}\n")
    for node in read.nodes:
        at = f" span {node.span}" if node.span is not None else ""
        click.echo(f"  {node.node + at:<32} {node.state:<9} {node.seconds:>8.2f} s")
    click.echo()
    console = Console(highlight=False)
    for raw in brief.get("verdicts", []):
        print_verdict(console, Verdict.from_dict(raw))


@runs.command()
@project_options
@click.argument("run", metavar="[RUN]", required=False)
@json_option
def lineage(
    project: str, env: str | None, settings: tuple[str, ...], run: str | None, as_json: bool
) -> None:
    """List the artifacts of a run by node, with type and path.

    RUN defaults to the newest run.

    \b
    Example:
      ordain runs lineage examples/flights 20261121-081530-3f2a
    """
    loaded = load_project(project, env, settings)
    read = _history(loaded).read_run(run_id_of(loaded, run))
    if as_json:
        click.echo(json.dumps([_node(n) for n in read.nodes], indent=1))
        return
    for node in read.nodes:
        at = f" span {node.span}" if node.span is not None else ""
        click.echo(f"{node.node}{at} ({node.state})")
        for output in node.outputs:
            version = output.properties.get("pushed_version")
            note = f"  version {version}" if version else ""
            click.echo(f"  -> {output.type} #{output.id} {output.key}: {output.uri}{note}")


@runs.command()
@project_options
@click.argument("run", metavar="[RUN]", required=False)
@click.option("--node", metavar="NODE", help="The node; default: the one that logged last.")
@click.option(
    "--lines",
    type=click.IntRange(1),
    default=LOG_LINES,
    show_default=True,
    help="Number of lines from the end.",
)
def logs(
    project: str,
    env: str | None,
    settings: tuple[str, ...],
    run: str | None,
    node: str | None,
    lines: int,
) -> None:
    """Print the end of a node's log.

    RUN defaults to the newest run.

    \b
    Example:
      ordain runs logs examples/flights --node Trainer --lines 200
    """
    loaded = load_project(project, env, settings)
    folder = loaded.runs / run_id_of(loaded, run) / "logs"
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
@project_options
@click.argument("before", metavar="[A]", required=False)
@click.argument("after", metavar="[B]", required=False)
@json_option
def compare(
    project: str,
    env: str | None,
    settings: tuple[str, ...],
    before: str | None,
    after: str | None,
    as_json: bool,
) -> None:
    """Compare two runs: settings, nodes, times, memory, verdicts, metrics, versions.

    B defaults to the newest run. Without A and B the two newest runs are compared.

    \b
    Examples:
      ordain runs compare examples/flights
      ordain runs compare examples/flights 20261121-081530-3f2a 20261121-094049-287f
    """
    from rich.console import Console  # noqa: PLC0415  only this command draws

    from ordain.cli.text_runs import print_comparison  # noqa: PLC0415

    loaded = load_project(project, env, settings)
    history = _history(loaded)
    if before is None:
        found = history.list_runs() if loaded.metadata.exists() else []
        if len(found) < 2:
            raise ConfigError(
                f"{loaded.name} has {len(found)} run(s); a comparison needs two",
                f"ordain run {project}",
            )
        chosen = [found[1].id, found[0].id]
    else:
        chosen = [run_id_of(loaded, before), run_id_of(loaded, after)]
    compared = compare_runs(*(read_facts(loaded, history, run_id) for run_id in chosen))
    if as_json:
        click.echo(json.dumps(compared.to_dict(), indent=1))
        return
    print_comparison(Console(highlight=False), compared)


def _history(project: Project) -> History:
    return History(project.metadata, project.name, project.paths)


def run_id_of(project: Project, run: str | None) -> str:
    """Return a run's id, or that of the newest run.

    Raises:
        ConfigError: There is no such run.
    """
    if run is not None:
        if not (project.runs / run).is_dir() or Path(run).name != run:
            have = sorted((p.name for p in project.runs.glob("*") if p.is_dir()), reverse=True)
            near = difflib.get_close_matches(run, have, n=3, cutoff=0.5)
            named = f"nearest: {', '.join(near)}" if near else f"newest: {', '.join(have[:3])}"
            raise ConfigError(
                f"{project.name} has no run {run!r}",
                f"{named}; all: ordain runs list" if have else "ordain runs list",
            )
        return run
    found = _history(project).list_runs()
    if not found:
        raise ConfigError(f"{project.name} has not run yet", "ordain run PROJECT")
    return found[0].id


def _brief(project: Project, run: Run) -> dict[str, Any]:
    """Read headline and verdicts from the run folder; a run without result.json never ended."""
    folder = project.runs / run.id
    if not folder.is_dir():
        return {"headline": "its folder is gone (ordain gc)", "exit_code": None}
    path = folder / "result.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {"headline": "did not end (running, or killed)", "exit_code": None}
    keys = ("headline", "exit_code", "version", "model", "window", "seconds", "verdicts")
    return {key: raw.get(key) for key in keys}


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


def _time(milliseconds: int) -> str:
    moment = datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC).astimezone()
    return moment.isoformat(sep=" ", timespec="seconds")
