"""`ordain models promote`, `canary` and `rollback`: commands that move a label."""

from __future__ import annotations

import click

from ordain.cli.options import version_argument, with_project
from ordain.config.loading import load_to_serve
from ordain.config.project import Project
from ordain.errors import ConfigError, InfrastructureError
from ordain.serving.registry.label_file import Labels, read_labels
from ordain.serving.registry.label_writing import this_user
from ordain.serving.registry.labels import drop_canary, set_canary
from ordain.serving.registry.labels import promote as promote_version
from ordain.serving.registry.labels import rollback as roll_back

who_option = click.option(
    "--who",
    metavar="TEXT",
    default=this_user,
    help="Author of the change; default: user@host.",
)


def _reason(context: click.Context, parameter: click.Parameter, why: str) -> str:
    """Refuse an empty reason."""
    del context, parameter
    if not why.strip():
        raise ConfigError("--why is empty", "give a reason; it is recorded in the history")
    return why.strip()


why_option = click.option(
    "--why",
    required=True,
    metavar="TEXT",
    callback=_reason,
    help="The reason; it is recorded.",
)


@click.command()
@with_project(load_to_serve)
@click.argument("version", type=int)
@why_option
@who_option
@click.option(
    "--replace-labels",
    is_flag=True,
    help="Replace an invalid labels.json (damaged, or not signed) with a new one.",
)
def promote(project: Project, version: int, why: str, who: str, replace_labels: bool) -> None:
    """Make a version stable, and let later pushes move the label.

    With --replace-labels a labels.json that cannot be read or does not verify is kept as
    labels.json.refused; the new one has neither its canary nor its history.
    """
    serving, trust = project.local_serving(), project.trust
    before = None
    try:
        before = read_labels(serving, trust)
    except InfrastructureError as error:
        if not replace_labels:
            raise
        click.echo(f"replaced: {error.message}", err=True)
    after = promote_version(serving, version, who, why, trust, is_replacing=before is None)
    _print_moved(before, after)


@click.command()
@with_project(load_to_serve)
@version_argument
@click.option("--share", type=float, help="Its share of the requests, above 0 and below 1.")
@click.option("--drop", is_flag=True, help="Remove the canary instead.")
@click.option("--why", default="", metavar="TEXT", help="The reason; it is recorded.")
@who_option
def canary(
    project: Project,
    version: int | None,
    share: float | None,
    drop: bool,
    why: str,
    who: str,
) -> None:
    """Give a version a share of the requests, beside the stable one, or remove the canary."""
    serving = project.local_serving()
    if drop:
        if version is not None or share is not None:
            raise ConfigError("--drop takes neither a version nor --share")
        drop_canary(serving, who, why, project.trust)
        click.echo("the canary was removed")
        return
    if version is None or share is None:
        raise ConfigError(
            "a canary needs a version and a share",
            f"ordain models canary {project.folder} VERSION --share 0.1, or --drop",
        )
    after = set_canary(serving, version, share, who, why, project.trust)
    rest = _name(after.stable)
    click.echo(f"version {version} gets {share:.0%} of the requests, version {rest} the rest")


@click.command()
@with_project(load_to_serve)
@version_argument
@why_option
@who_option
def rollback(project: Project, version: int | None, why: str, who: str) -> None:
    """Move stable back to the previous version, or to VERSION, and pin it there."""
    serving = project.local_serving()
    before = read_labels(serving, project.trust)
    after = roll_back(serving, who, why, version, project.trust)
    _print_moved(before, after)
    click.echo("it is pinned: the next push does not move it (ordain models promote does)")


def _print_moved(before: Labels | None, after: Labels) -> None:
    was = _name(before.stable) if before is not None else "unknown: the labels were replaced"
    click.echo(f"stable is version {_name(after.stable)}, was {was}")


def _name(version: int | None) -> str:
    return "none" if version is None else str(version)
