"""`ordain gc`: remove artifacts and folders of old runs, and mark them deleted in the store."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import click

from ordain.cli.options import json_option, print_json, with_project
from ordain.config.project import Project
from ordain.history.gc import Sweep, carry_out, plan_sweep
from ordain.reports.facts.formatting import size
from ordain.runner.workspace_lock import workspace_lock

#: Defaults: runs of the last month, and at least the ten newest.
DEFAULT_RUNS = 10
DEFAULT_DAYS = 30.0


@click.command()
@with_project()
@click.option(
    "--keep-runs",
    type=click.IntRange(1),
    default=DEFAULT_RUNS,
    show_default=True,
    help="Keep the artifacts of this many newest runs.",
)
@click.option(
    "--keep-days",
    type=click.FloatRange(0),
    default=DEFAULT_DAYS,
    show_default=True,
    help="Also keep the artifacts of runs younger than this.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed; remove nothing.")
@json_option
def gc(
    project: Project,
    keep_runs: int,
    keep_days: float,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove artifacts and folders of old runs.

    Artifacts that a published version was built from are kept, and so are all inputs of kept
    artifacts. To remove published versions use ordain models prune.

    \b
    Examples:
      ordain gc examples/flights --dry-run
      ordain gc examples/flights --keep-runs 5 --keep-days 7
    """
    if not project.metadata.exists():
        _print(Sweep((), (), 0, 0, 0, ()), dry_run, as_json)
        return
    if dry_run:
        _print(_plan(project, keep_runs, keep_days), dry_run, as_json)
        return
    with workspace_lock(project.workspace, "gc", False, lambda _: None, project.metadata):
        sweep = _plan(project, keep_runs, keep_days)
        carry_out(project, sweep)
    _print(sweep, dry_run, as_json)


def _plan(project: Project, keep_runs: int, keep_days: float) -> Sweep:
    return plan_sweep(project, keep_runs, keep_days, int(time.time() * 1000))


def _print(sweep: Sweep, is_dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json(_as_dict(sweep, is_dry_run))
        return
    verb = "would be removed" if is_dry_run else "removed"
    count = Counter(removal.type for removal in sweep.artifacts)
    for kind in sorted(count):
        total = sum(r.size_bytes for r in sweep.artifacts if r.type == kind)
        click.echo(f"{count[kind]:>6}  {size(total):>9}  {kind}")
    if sweep.runs:
        click.echo(f"{len(sweep.runs):>6}  {size(sweep.run_bytes):>9}  run folders")
    if sweep.unfinished:
        click.echo(f"{len(sweep.unfinished):>6}  left by an interrupted removal")
    click.echo(
        f"{len(sweep.artifacts)} artifacts and {len(sweep.runs)} run folders {verb}, "
        f"{size(sweep.size_bytes)}; {sweep.kept_artifacts} artifacts of {sweep.kept_runs} runs kept"
    )


def _as_dict(sweep: Sweep, is_dry_run: bool) -> dict[str, Any]:
    return {
        "is_dry_run": is_dry_run,
        "size_bytes": sweep.size_bytes,
        "artifacts": [
            {"id": r.id, "type": r.type, "folder": str(r.folder), "size_bytes": r.size_bytes}
            for r in sweep.artifacts
        ],
        "runs": [folder.name for folder in sweep.runs],
        "unfinished": [str(folder) for folder in sweep.unfinished],
        "kept_artifacts": sweep.kept_artifacts,
        "kept_runs": sweep.kept_runs,
    }
