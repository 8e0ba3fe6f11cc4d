"""`ordain compile`: a project to a file for Kubeflow Pipelines or Vertex AI."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click

from ordain.cli.options import project_options
from ordain.errors import InfrastructureError


@click.command()
@project_options
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the file goes; default: NAME.yaml here, NAME.json for Vertex. '-' is the output.",
)
@click.option(
    "--target",
    type=click.Choice(["kubeflow", "vertex"]),
    default="kubeflow",
    show_default=True,
    help="Kubeflow Pipelines 2.x, or Vertex AI Pipelines by TFX's own runner.",
)
def compile_(
    project: str, env: str | None, settings: tuple[str, ...], output: Path | None, target: str
) -> None:
    """Compile PROJECT for Kubeflow Pipelines or Vertex AI.

    Needs no cluster, no network and no secret: ${env:NAME} stays a reference. The file is checked
    against the backend's rules before it is written; docs/kubeflow-compile.md lists them. What
    Vertex AI cannot run of a project is named, node by node.

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
    _write(path, compiled.text)
    size = len(compiled.text.encode()) / 1000
    click.echo(f"{path}: pipeline {compiled.name}, {compiled.tasks} tasks, {size:.0f} kB")


def _write(path: Path, text: str) -> None:
    """Writes a whole file or none: a scheduled job may be submitting the one that is there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            file.write(text)
        Path(file.name).chmod(0o666 & ~_umask())
        Path(file.name).replace(path)
    except OSError as error:
        raise InfrastructureError(f"{path} cannot be written: {error.strerror}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
