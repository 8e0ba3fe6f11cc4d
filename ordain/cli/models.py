"""`ordain models`: lists, compares, labels, verifies and prunes published versions."""

from __future__ import annotations

import functools
import json

import click

from ordain.api.models import models as read_models
from ordain.cli.model_labels import canary, promote, rollback
from ordain.cli.options import json_option, print_json, version_argument, with_project
from ordain.cli.text_models import (
    change_line,
    comparison_lines,
    manifest_lines,
    version_line,
)
from ordain.config.loading import load_to_serve
from ordain.config.project import Project
from ordain.errors import ConfigError, ExitCode, InfrastructureError
from ordain.reports.facts.formatting import size
from ordain.serving.registry.diff import compare
from ordain.serving.registry.label_file import read_labels
from ordain.serving.registry.model_card import curl, read_example
from ordain.serving.registry.retention import prune as prune_versions
from ordain.serving.registry.verification import read_manifest
from ordain.serving.registry.versions import list_versions, version_folder
from ordain.serving.server.models.checks import find_problems

#: Versions that `prune` keeps by default.
DEFAULT_KEEP = 5


@click.group()
def models() -> None:
    """List, compare, label and roll back published versions.

    \b
    Examples:
      ordain models list examples/flights
      ordain models show examples/flights 3
      ordain models diff examples/flights 2 3
      ordain models canary examples/flights 4 --share 0.1 --why "try it on a tenth"
      ordain models rollback examples/flights --why "complaints since Monday"
      ordain models prune examples/flights --keep 5 --dry-run
    """


for moving in (promote, canary, rollback):
    models.add_command(moving)


@models.command("list")
@with_project(load_to_serve)
@json_option
def list_(project: Project, as_json: bool) -> None:
    """List versions, newest first, with their labels."""
    found = read_models(project)
    labels = found.labels
    if as_json:
        print_json({"pinned": labels.pinned, "versions": [one.to_dict() for one in found]})
        return
    if not found:
        click.echo(f"{project.name} has published nothing yet: ordain run {project.folder}")
    for one in found:
        click.echo(version_line(one, project.evaluate.thresholds))
    if labels.pinned:
        click.echo("stable is pinned by a rollback; a push does not move it: ordain models promote")
    gone = [v for v in sorted(labels.labelled) if v not in [one.version for one in found]]
    for version in gone:
        click.echo(f"version {version} has a label and does not exist: promote another")


@models.command()
@with_project(load_to_serve)
@version_argument
@json_option
def show(project: Project, version: int | None, as_json: bool) -> None:
    """Show one version, by default the stable one, with a working example call."""
    serving = project.local_serving()
    labels = read_labels(serving, project.trust)
    chosen = version if version is not None else labels.stable
    if chosen is None:
        raise ConfigError(
            f"{project.name} has no stable version", f"ordain models list {project.folder}"
        )
    folder = version_folder(serving, chosen)
    manifest = read_manifest(folder)
    example = read_example(folder)
    about = [change for change in labels.changes if change.version == chosen]
    if as_json:
        raw = json.loads(manifest.to_json())
        raw["labels"] = list(labels.labels_of(chosen))
        raw["changes"] = [change.to_dict() for change in about]
        raw["call"] = curl(project.name, chosen, example)
        print_json(raw)
        return
    for line in manifest_lines(manifest, folder, labels.labels_of(chosen)):
        click.echo(line)
    for change in about:
        click.echo(f"  {change_line(change)}")
    click.echo("\ncall it, with a server on this machine (ordain serve):")
    click.echo(f"  {curl(project.name, chosen, example)}")
    if example is None:
        click.echo("  (the version has no example: fill in the features of docs/data.md)")


@models.command()
@with_project(load_to_serve)
@click.argument("first", type=int)
@click.argument("second", type=int)
@json_option
def diff(project: Project, first: int, second: int, as_json: bool) -> None:
    """Show what changed between two versions: data, code, schema, metrics, signatures, size."""
    serving = project.local_serving()
    compared = compare(*(read_manifest(version_folder(serving, v)) for v in (first, second)))
    if as_json:
        print_json(compared.to_dict())
        return
    for line in comparison_lines(compared):
        click.echo(line)


@models.command()
@with_project(load_to_serve)
@version_argument
@click.pass_context
def verify(ctx: click.Context, project: Project, version: int | None) -> None:
    """Check every version, or one, as a server does before it loads it.

    Checks files against the manifest, the graph against the allowed operations and, if signing is
    on, the signatures of versions and labels. Nothing of a model is loaded. Exit code 5 if a server
    would refuse something.
    """
    serving = project.local_serving()
    chosen = list_versions(serving) if version is None else [version]
    if not chosen:
        click.echo(f"{project.name} has published nothing yet: ordain run {project.folder}")
    bad = False
    for number in chosen:
        problems = find_problems(version_folder(serving, number), project.trust)
        bad = bad or bool(problems)
        signed = " and signed" if project.trust.is_signed else ""
        click.echo(f"{number}: {'refused' if problems else f'intact{signed}'}")
        for problem in problems:
            click.echo(f"  {problem}")
    try:
        read_labels(serving, project.trust)
    except InfrastructureError as error:
        bad = True
        click.echo(f"labels: {error.message}")
    ctx.exit(int(ExitCode.INFRASTRUCTURE if bad else ExitCode.DONE))


@models.command()
@with_project(functools.partial(load_to_serve, also=("evaluate",)))
@click.option("--keep", type=click.IntRange(1), default=DEFAULT_KEEP, show_default=True)
@click.option("--dry-run", is_flag=True, help="Print what would be removed, and remove nothing.")
def prune(project: Project, keep: int, dry_run: bool) -> None:
    """Remove old versions; those with a label, the newest and a pinned baseline stay."""
    serving = project.local_serving()
    pinned = project.evaluate.baseline
    named = {pinned: "evaluate.baseline"} if isinstance(pinned, int) else {}
    fates = prune_versions(serving, keep, dry_run, named, project.trust)
    gone = [fate for fate in fates if not fate.kept]
    verb = "would be removed" if dry_run else "removed"
    for fate in fates:
        what = f"kept: {', '.join(fate.kept)}" if fate.kept else verb
        click.echo(f"{fate.version:>6}  {size(fate.size_bytes):>9}  {what}")
    freed = size(sum(fate.size_bytes for fate in gone))
    click.echo(f"{len(gone)} of {len(fates)} versions {verb}, {freed}")
