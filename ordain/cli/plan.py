"""`ordain plan`: checks a project and lists what a run would do, without TensorFlow."""

from __future__ import annotations

from dataclasses import asdict

import click

from ordain.api.project import plan as make_plan
from ordain.cli.options import json_option, print_json, with_project
from ordain.config.project import Project


@click.command()
@with_project()
@click.option("--span", type=int, help="Last span of the window; default: the newest.")
@json_option
def plan(project: Project, span: int | None, as_json: bool) -> None:
    """Check PROJECT without running it, and show its nodes.

    \b
    Examples:
      ordain plan examples/flights
      ordain plan examples/flights --span 201306 --set data.window=3
    """
    made = make_plan(project, span)
    if as_json:
        print_json(asdict(made) | {"nodes": list(made.nodes)})
        return
    click.echo(f"{project.name}: all pre-run checks passed\n")
    width = max(map(len, made.nodes))
    click.echo("\n  |\n".join(f"  {name:<{width}}   {does}" for name, does in made.nodes.items()))
    click.echo(f"\n  disk: up to {made.needed_bytes / 1e9:.1f} GB in {project.workspace}")
    click.echo(f"  memory: {made.memory.text}")
    if not made.memory.is_enough:
        click.echo(
            "  note: that is more than is free now: reduce data.window, or stop other programs"
        )
    for note in made.notes:
        click.echo(f"  note: {note}")
