"""`ordain plan`: checks a project and lists what a run would do, without TensorFlow."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from ordain.api.project import plan as make_plan
from ordain.cli.options import json_option, project_options
from ordain.config.loading import load_project


@click.command()
@project_options
@click.option("--span", type=int, help="Last span of the window; default: the newest.")
@json_option
def plan(
    project: str, env: str | None, settings: tuple[str, ...], span: int | None, as_json: bool
) -> None:
    """Check PROJECT without running it, and show its nodes.

    \b
    Examples:
      ordain plan examples/flights
      ordain plan examples/flights --span 201306 --set data.window=3
    """
    loaded = load_project(project, env, settings)
    made = make_plan(loaded, span)
    if as_json:
        document = {
            "project": loaded.name,
            "window": made.window,
            "notes": made.notes,
            "needed_bytes": made.needed_bytes,
            "memory": asdict(made.memory),
            "nodes": list(made.nodes),
        }
        click.echo(json.dumps(document, indent=1))
        return
    click.echo(f"{loaded.name}: all pre-run checks passed\n")
    width = max(map(len, made.nodes))
    click.echo("\n  |\n".join(f"  {name:<{width}}   {does}" for name, does in made.nodes.items()))
    click.echo(f"\n  disk: up to {made.needed_bytes / 1e9:.1f} GB in {loaded.workspace}")
    click.echo(f"  memory: {made.memory.text}")
    if not made.memory.is_enough:
        click.echo(
            "  note: that is more than is free now: reduce data.window, or stop other programs"
        )
    for note in made.notes:
        click.echo(f"  note: {note}")
