"""`ordain models`: lists, compares, labels, verifies and prunes published versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ordain.cli.model_labels import canary, load_published, promote, rollback
from ordain.cli.options import json_option, project_options
from ordain.cli.text_models import (
    change_line,
    comparison_lines,
    manifest_lines,
    size,
    version_line,
)
from ordain.config.project import Project
from ordain.errors import ConfigError, ExitCode, InfrastructureError
from ordain.serving.registry.diff import compare
from ordain.serving.registry.label_file import Labels, read_labels
from ordain.serving.registry.manifest import Manifest
from ordain.serving.registry.model_card import curl, read_example
from ordain.serving.registry.retention import prune as prune_versions
from ordain.serving.registry.retention import size_of
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
@project_options
@json_option
def list_(project: str, env: str | None, settings: tuple[str, ...], as_json: bool) -> None:
    """List versions, newest first, with their labels."""
    loaded = load_published(project, env, settings)
    labels = read_labels(loaded.serving, loaded.trust)
    rows = [_row(loaded, version, labels) for version in reversed(list_versions(loaded.serving))]
    if as_json:
        click.echo(json.dumps({"pinned": labels.pinned, "versions": rows}, indent=1))
        return
    if not rows:
        click.echo(f"{loaded.name} has published nothing yet: ordain run {project}")
    for row in rows:
        click.echo(version_line(row))
    if labels.pinned:
        click.echo("stable is pinned by a rollback; a push does not move it: ordain models promote")
    gone = [v for v in sorted(labels.labelled) if v not in [row["version"] for row in rows]]
    for version in gone:
        click.echo(f"version {version} has a label and does not exist: promote another")


@models.command()
@project_options
@click.argument("version", type=int, required=False, metavar="[VERSION]")
@json_option
def show(
    project: str,
    env: str | None,
    settings: tuple[str, ...],
    version: int | None,
    as_json: bool,
) -> None:
    """Show one version, by default the stable one, with a working example call."""
    loaded = load_published(project, env, settings)
    labels = read_labels(loaded.serving, loaded.trust)
    chosen = version if version is not None else labels.stable
    if chosen is None:
        raise ConfigError(f"{loaded.name} has no stable version", f"ordain models list {project}")
    folder = version_folder(loaded.serving, chosen)
    manifest = read_manifest(folder)
    example = read_example(folder)
    about = [change for change in labels.changes if change.version == chosen]
    if as_json:
        raw = json.loads(manifest.to_json())
        raw["labels"] = list(labels.labels_of(chosen))
        raw["changes"] = [change.to_dict() for change in about]
        raw["call"] = curl(loaded.name, chosen, example)
        click.echo(json.dumps(raw, indent=1))
        return
    for line in manifest_lines(manifest, folder, labels.labels_of(chosen)):
        click.echo(line)
    for change in about:
        click.echo(f"  {change_line(change)}")
    click.echo("\ncall it, with a server on this machine (ordain serve):")
    click.echo(f"  {curl(loaded.name, chosen, example)}")
    if example is None:
        click.echo("  (the version has no example: fill in the features of docs/data.md)")


@models.command()
@project_options
@click.argument("first", type=int)
@click.argument("second", type=int)
@json_option
def diff(
    project: str,
    env: str | None,
    settings: tuple[str, ...],
    first: int,
    second: int,
    as_json: bool,
) -> None:
    """Show what changed between two versions: data, code, schema, metrics, signatures, size."""
    loaded = load_published(project, env, settings)
    before, after = (
        read_manifest(version_folder(loaded.serving, version)) for version in (first, second)
    )
    compared = compare(before, after)
    if as_json:
        click.echo(json.dumps(compared.to_dict(), indent=1))
        return
    for line in comparison_lines(compared):
        click.echo(line)


@models.command()
@project_options
@click.argument("version", type=int, required=False, metavar="[VERSION]")
@click.pass_context
def verify(
    ctx: click.Context,
    project: str,
    env: str | None,
    settings: tuple[str, ...],
    version: int | None,
) -> None:
    """Check every version, or one, as a server does before it loads it.

    Checks files against the manifest, the graph against the allowed operations and, if signing is
    on, the signatures of versions and labels. Nothing of a model is loaded. Exit code 5 if a server
    would refuse something.
    """
    loaded = load_published(project, env, settings)
    chosen = list_versions(loaded.serving) if version is None else [version]
    if not chosen:
        click.echo(f"{loaded.name} has published nothing yet: ordain run {project}")
    bad = False
    for number in chosen:
        problems = find_problems(version_folder(loaded.serving, number), loaded.trust)
        bad = bad or bool(problems)
        signed = " and signed" if loaded.trust.is_signed else ""
        click.echo(f"{number}: {'refused' if problems else f'whole{signed}'}")
        for problem in problems:
            click.echo(f"  {problem}")
    try:
        read_labels(loaded.serving, loaded.trust)
    except InfrastructureError as error:
        bad = True
        click.echo(f"labels: {error.message}")
    ctx.exit(int(ExitCode.INFRASTRUCTURE if bad else ExitCode.DONE))


@models.command()
@project_options
@click.option("--keep", type=click.IntRange(1), default=DEFAULT_KEEP, show_default=True)
@click.option("--dry-run", is_flag=True, help="Print what would be removed, and remove nothing.")
def prune(
    project: str, env: str | None, settings: tuple[str, ...], keep: int, dry_run: bool
) -> None:
    """Remove old versions; those with a label, the newest and a pinned baseline stay."""
    loaded = load_published(project, env, settings, also=("evaluate",))
    pinned = loaded.evaluate.baseline
    named = {pinned: "evaluate.baseline"} if isinstance(pinned, int) else {}
    fates = prune_versions(loaded.serving, keep, dry_run, named, loaded.trust)
    gone = [fate for fate in fates if not fate.kept]
    verb = "would be removed" if dry_run else "removed"
    for fate in fates:
        what = f"kept: {', '.join(fate.kept)}" if fate.kept else verb
        click.echo(f"{fate.version:>6}  {size(fate.size_bytes):>9}  {what}")
    freed = size(sum(fate.size_bytes for fate in gone))
    click.echo(f"{len(gone)} of {len(fates)} versions {verb}, {freed}")


def _row(project: Project, version: int, labels: Labels) -> dict[str, Any]:
    """One line of the list; a version without a readable manifest has the reason instead."""
    folder = project.serving / str(version)
    row: dict[str, Any] = {"version": version, "labels": list(labels.labels_of(version))}
    if labels.canary is not None and labels.canary.version == version:
        row["share"] = labels.canary.share
    manifest, problem = _manifest(folder)
    if manifest is None:
        return row | {"problem": problem, "size_bytes": size_of(folder)}
    row |= {"created": manifest.created, "run_id": manifest.run_id, "spans": manifest.spans}
    thresholds = list(project.evaluate.thresholds)
    row["metrics"] = {name: manifest.value_of(name) for name in thresholds}
    row["undefined"] = [
        m.name for m in manifest.metrics if m.undefined and not m.slice and m.name in thresholds
    ]
    return row | {"size_bytes": manifest.size_bytes}


def _manifest(folder: Path) -> tuple[Manifest | None, str]:
    try:
        return read_manifest(folder), ""
    except InfrastructureError as error:
        return None, error.message
