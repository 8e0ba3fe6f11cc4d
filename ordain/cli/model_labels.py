"""`ordain models promote`, `canary` and `rollback`: commands that move a label."""

from __future__ import annotations

import click

from ordain.cli.options import project_options
from ordain.config.loading import load_to_serve
from ordain.config.project import Project
from ordain.errors import ConfigError, InfrastructureError
from ordain.serving.registry.label_file import Labels, read_labels
from ordain.serving.registry.label_writing import this_user
from ordain.serving.registry.labels import drop_canary, set_canary
from ordain.serving.registry.labels import promote as promote_version
from ordain.serving.registry.labels import rollback as roll_back

who_option = click.option("--who", metavar="TEXT", help="Author of the change; default: user@host.")


@click.command()
@project_options
@click.argument("version", type=int)
@click.option("--why", required=True, metavar="TEXT", help="The reason; it is recorded.")
@who_option
@click.option(
    "--replace-labels",
    is_flag=True,
    help="Replace an invalid labels.json (damaged, or not signed) by a new one.",
)
def promote(
    project: str,
    env: str | None,
    settings: tuple[str, ...],
    version: int,
    why: str,
    who: str | None,
    replace_labels: bool,
) -> None:
    """Make a version stable, and let later pushes move the label.

    With --replace-labels a labels.json that cannot be read or does not verify is kept as
    labels.json.refused; the new one has neither its canary nor its history.
    """
    loaded = load_published(project, env, settings)
    before, who, trust = None, who or this_user(), loaded.trust
    try:
        before = read_labels(loaded.serving, trust)
    except InfrastructureError as error:
        if not replace_labels:
            raise
        click.echo(f"replaced: {error.message}", err=True)
    after = promote_version(
        loaded.serving, version, who, _reason(why), trust, is_replacing=before is None
    )
    _say_moved(before, after)


@click.command()
@project_options
@click.argument("version", type=int, required=False, metavar="[VERSION]")
@click.option("--share", type=float, help="Its share of the requests, above 0 and below 1.")
@click.option("--drop", is_flag=True, help="Remove the canary instead.")
@click.option("--why", default="", metavar="TEXT", help="The reason; it is recorded.")
@who_option
def canary(
    project: str,
    env: str | None,
    settings: tuple[str, ...],
    version: int | None,
    share: float | None,
    drop: bool,
    why: str,
    who: str | None,
) -> None:
    """Give a version a share of the requests, beside the stable one, or remove the canary."""
    loaded = load_published(project, env, settings)
    if drop:
        if version is not None or share is not None:
            raise ConfigError("--drop takes neither a version nor --share")
        drop_canary(loaded.serving, who or this_user(), why, loaded.trust)
        click.echo("the canary was removed")
        return
    if version is None or share is None:
        raise ConfigError(
            "a canary needs a version and a share",
            f"ordain models canary {project} VERSION --share 0.1, or --drop",
        )
    after = set_canary(loaded.serving, version, share, who or this_user(), why, loaded.trust)
    rest = _name(after.stable)
    click.echo(f"version {version} gets {share:.0%} of the requests, version {rest} the rest")


@click.command()
@project_options
@click.argument("version", type=int, required=False, metavar="[VERSION]")
@click.option("--why", required=True, metavar="TEXT", help="The reason; it is recorded.")
@who_option
def rollback(
    project: str,
    env: str | None,
    settings: tuple[str, ...],
    version: int | None,
    why: str,
    who: str | None,
) -> None:
    """Move stable back to the previous version, or to VERSION, and pin it there."""
    loaded = load_published(project, env, settings)
    before = read_labels(loaded.serving, loaded.trust)
    after = roll_back(loaded.serving, who or this_user(), _reason(why), version, loaded.trust)
    _say_moved(before, after)
    click.echo("it is pinned: the next push does not move it (ordain models promote does)")


def load_published(
    project: str, env: str | None, settings: tuple[str, ...], also: tuple[str, ...] = ()
) -> Project:
    """Loads a project whose serving directory is a local or mounted folder.

    Args:
        project: Its folder.
        env: Name of the overlay.
        settings: Overrides, `A.B=VALUE`.
        also: Further sections whose references are resolved.

    Raises:
        ConfigError: It pushes to an object store.
    """
    loaded = load_to_serve(project, env, settings, also)
    if loaded.is_pushed_away:
        raise ConfigError(
            f"{loaded.push_base}: an object store has no labels, only local and mounted "
            "directories have",
            "mount the bucket and name the mount in push.directory; docs/serving-directory.md",
        )
    return loaded


def _reason(why: str) -> str:
    if not why.strip():
        raise ConfigError("--why is empty", "give a reason; it is recorded in the history")
    return why.strip()


def _say_moved(before: Labels | None, after: Labels) -> None:
    was = _name(before.stable) if before is not None else "unknown: the labels were replaced"
    click.echo(f"stable is version {_name(after.stable)}, was {was}")


def _name(version: int | None) -> str:
    return "none" if version is None else str(version)
