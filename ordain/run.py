"""`ordain run`: the chain on this machine."""

from __future__ import annotations

import json
import os
import shlex
import sys

import click
import yaml

from contracts.errors import InfrastructureError
from ordain.console import RunView, print_result
from ordain.options import json_option, project_options
from pipeline.checks import Plan, make_plan
from pipeline.config import Project
from pipeline.loading import load_project, read_effective
from pipeline.lock import workspace_lock
from pipeline.node_log import console_stream
from pipeline.outcome import RunResult
from pipeline.runner import Options, new_run_id, run_project


@click.command()
@project_options
@click.option("--span", type=int, help="Last span of the window; default: the newest there is.")
@click.option(
    "--from",
    "from_node",
    metavar="NODE",
    help="Take over everything before NODE from the last run; run NODE and the rest.",
)
@click.option("--to", "to_node", metavar="NODE", help="Stop after NODE.")
@click.option("--no-cache", is_flag=True, help="Execute every node.")
@click.option("--wait", is_flag=True, help="Wait for another run in this workspace to end.")
@json_option
def run(
    project: str,
    env: str | None,
    settings: tuple[str, ...],
    span: int | None,
    from_node: str | None,
    to_node: str | None,
    no_cache: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Run PROJECT's chain on this machine.

    What has run before on the same inputs, settings and source is cached; a run after a failure
    goes on where it stopped.

    \b
    Examples:
      ordain run examples/flights
      ordain run examples/flights --span 201306 --set train.steps=500
      ordain run examples/flights --from Trainer
      ordain run examples/flights --json | jq .verdicts
    """
    _quiet_libraries()
    loaded = load_project(project, env, settings)
    run_id = new_run_id()
    stream = console_stream(2 if as_json else 1)
    view = RunView(stream)
    options = Options(not no_cache, from_node, to_node)
    with workspace_lock(
        loaded.workspace, run_id, wait, lambda holder: view.note(f"waiting for {holder}")
    ):
        made = make_plan(loaded, span)
        if not as_json:
            for note in made.notes:
                view.console.print(f"note: {note}", markup=False)
        _write_config(loaded, project, env, settings, run_id)
        result = _walk(loaded, made, run_id, options, view)
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=1))
    else:
        print_result(view.console, result, shlex.join(["ordain", *sys.argv[1:]]))
    stream.flush()
    # TensorFlow and gRPC take seconds to tear down, and nothing is left to save.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(result.exit_code))


def _walk(loaded: Project, made: Plan, run_id: str, options: Options, view: RunView) -> RunResult:
    with view:
        view.note("loading TensorFlow, TFX and Beam")
        return run_project(loaded, made, run_id, options, view)


def _write_config(
    loaded: Project, project: str, env: str | None, settings: tuple[str, ...], run_id: str
) -> None:
    """The effective configuration beside the run, with `${env:...}` left as it is."""
    raw, _ = read_effective(project, env, settings)
    folder = loaded.runs / run_id
    try:
        folder.mkdir(parents=True)
        text = yaml.safe_dump(raw, sort_keys=False, allow_unicode=True)
        (folder / "pipeline.yaml").write_text(text, encoding="utf-8")
    except OSError as error:
        raise InfrastructureError(
            f"{folder} cannot be written: {error}", "free space or correct permissions"
        ) from error


def _quiet_libraries() -> None:
    """Settings TensorFlow and its family read at import."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # the same numbers on every CPU
