"""`ordain compile`: compiles a project for Kubeflow Pipelines or Vertex AI."""

from __future__ import annotations

from pathlib import Path

import click

from ordain.cli.options import project_options
from ordain.common.atomic_files import write_file


@click.command()
@project_options
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; default: NAME.yaml, for Vertex NAME.json. '-' is standard output.",
)
@click.option(
    "--target",
    type=click.Choice(["kubeflow", "vertex"]),
    default="kubeflow",
    show_default=True,
    help="Kubeflow Pipelines 2.x, or Vertex AI Pipelines (with TFX's own runner).",
)
def compile_(
    project: str, env: str | None, settings: tuple[str, ...], output: Path | None, target: str
) -> None:
    """Compile PROJECT for Kubeflow Pipelines or Vertex AI.

    Needs no cluster, no network and no secret: ${env:NAME} stays a reference. The file is checked
    against the backend's rules before it is written; docs/kubeflow-compile.md lists them. For
    Vertex AI, each node that cannot run there is an error.

    \b
    Examples:
      ordain compile examples/flights --env prod -o flights.yaml
      ordain compile examples/flights --env prod --set kubeflow.image=registry.example.org/flights:2
      ordain compile examples/flights --env vertex --target vertex -o flights.json
    """
    if target == "vertex":
        from ordain.kubeflow.compiler.vertex import compile_project as compile_vertex  # noqa: PLC0415  takes TFX

        compiled = compile_vertex(project, env, settings)
        suffix = "json"
    else:
        from ordain.kubeflow.compiler.compiler import compile_project  # noqa: PLC0415  KFP takes a second

        compiled = compile_project(project, env, settings)
        suffix = "yaml"
    for note in compiled.notes:
        click.echo(f"note: {note}", err=True)
    if str(output) == "-":
        click.echo(compiled.text, nl=False)
        return
    path = output or Path(f"{compiled.name}.{suffix}")
    # Atomically: a scheduled job may be submitting the present file.
    write_file(path, compiled.text)
    size = len(compiled.text.encode()) / 1000
    click.echo(f"{path}: pipeline {compiled.name}, {compiled.tasks} tasks, {size:.0f} kB")
