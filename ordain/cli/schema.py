"""`ordain schema`: the frozen schema of a project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ordain.cli.options import with_project
from ordain.common.node_id import NodeId
from ordain.config.project import Project
from ordain.errors import ConfigError
from ordain.history.runs import History, Output
from ordain.project.schema import (
    compare,
    deprecated,
    describe_columns,
    read_schema,
    restrict,
    write_schema,
)


@click.group()
def schema() -> None:
    """Freeze, compare and accept a project's schema.

    \b
    Examples:
      ordain schema freeze examples/flights   # save the last run's schema as schema.pbtxt
      ordain schema diff examples/flights     # show what the newest data would change
      ordain schema accept examples/flights   # apply these changes
    """


@schema.command()
@with_project()
@click.option("--force", is_flag=True, help="Replace a schema that is frozen already.")
def freeze(project: Project, force: bool) -> None:
    """Save the schema of the last run in the project, to be edited and committed.

    \b
    Examples:
      ordain schema freeze examples/flights
      ordain schema freeze examples/flights --force   # replaces schema.pbtxt
    """
    if project.schema_file.exists() and not force:
        raise ConfigError(
            f"{project.schema_file} is frozen already",
            "ordain schema diff shows what changed; --force replaces it",
        )
    found = _latest(project, NodeId.SCHEMA_GEN, "schema")
    frozen = read_schema(Path(found.uri) / "schema.pbtxt")
    write_schema(frozen, project.schema_file)
    click.echo(f"wrote {project.schema_file}: read it, correct it, commit it")
    for line in describe_columns(frozen):
        click.echo(line)


@schema.command()
@with_project()
def diff(project: Project) -> None:
    """Show the changes that the newest span would make to the frozen schema.

    Lines begin with + for an added feature, - for a removed one, ~ for a changed one and ! for an
    effect on the model.

    \b
    Example:
      ordain schema diff examples/flights
    """
    frozen, proposed, retyped = _proposal(project)
    for line in _changes(frozen, proposed, retyped) or ["no difference"]:
        click.echo(line)


@schema.command()
@with_project()
@click.option(
    "--feature", multiple=True, help="Apply the changes of this feature only; repeatable."
)
def accept(project: Project, feature: tuple[str, ...]) -> None:
    """Apply the changes of the newest span to the frozen schema.

    \b
    Examples:
      ordain schema accept examples/flights
      ordain schema accept examples/flights --feature carrier --feature origin
    """
    frozen, proposed, retyped = _proposal(project)
    if feature:
        unknown = set(feature) - {f.name for f in (*frozen.feature, *proposed.feature)}
        if unknown:
            raise ConfigError(f"--feature {sorted(unknown)[0]}: unknown feature")
        proposed = restrict(frozen, proposed, set(feature))
    for line in _changes(frozen, proposed, retyped):
        click.echo(line)
    if compare(frozen, proposed):
        write_schema(proposed, project.schema_file)
        click.echo(f"wrote {project.schema_file}")
    else:
        click.echo("no difference")


def _changes(frozen: Any, proposed: Any, retyped: Mapping[str, tuple[str, str]]) -> list[str]:
    """List the differences, with their effect on the model."""
    gone = deprecated(proposed) - deprecated(frozen)
    return [
        *compare(frozen, proposed),
        *(
            f"! {name}: its column is missing; preprocessing_fn no longer receives it"
            for name in gone
        ),
        *(
            f"! {name}: is {data} in the data and {schema} in the schema; no command changes a "
            "type: edit its entry, or correct the data"
            for name, (schema, data) in sorted(retyped.items())
        ),
    ]


def _proposal(project: Project) -> tuple[Any, Any, Mapping[str, tuple[str, str]]]:
    """Return the frozen schema, the one updated by the newest span, and changed types."""
    if not project.schema_file.exists():
        raise ConfigError(
            f"{project.schema_file} does not exist: the schema is not frozen",
            "ordain schema freeze PROJECT",
        )
    frozen = read_schema(project.schema_file)
    statistics = _latest(project, NodeId.STATISTICS_GEN, "statistics")

    from ordain.project.schema_update import propose  # noqa: PLC0415  imports TensorFlow

    return (frozen, *propose(frozen, Path(statistics.uri)))


def _latest(project: Project, node: str, key: str) -> Output:
    """Return the last output of a node, for its newest span."""
    history = History(project.metadata, project.name, project.paths)
    for run in history.list_runs():
        done = [
            n
            for n in history.read_run(run.id).nodes
            if n.node == node and n.state in ("complete", "cached")
        ]
        if done:
            newest = max(done, key=lambda n: (n.span or 0, n.execution_id))
            return next(o for o in newest.outputs if o.key == key)
    raise ConfigError(f"no run of {project.name} got as far as {node}", "ordain run PROJECT")
