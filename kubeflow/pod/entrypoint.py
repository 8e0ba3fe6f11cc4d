"""Command line of a pod: runs one task of a compiled pipeline.

    python -m ordain.kubeflow.pod.entrypoint prepare ...   before all nodes: database, plan, IR
    python -m ordain.kubeflow.pod.entrypoint node ...      one node
    python -m ordain.kubeflow.pod.entrypoint result ...    after all nodes: the run's result
    python -m ordain.kubeflow.pod.entrypoint on-exit ...   at the end in any case: the same

Exit codes are those of `ordain`. A node that is cached or skipped ends with 0.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ordain.common.process_exit import exit_process
from ordain.errors import ConfigError, ExitCode, InfrastructureError, OrdainError
from ordain.kubeflow.pipeline_root import concluding
from ordain.kubeflow.pod import summary
from ordain.kubeflow.pod.run_plan import check_run_id, read_prepared

if TYPE_CHECKING:
    from ordain.kubeflow.pod.result import Concluded


def main(words: Sequence[str] | None = None) -> int:
    """Runs one task.

    Args:
        words: The arguments; by default the process's own.

    Returns:
        The exit code.
    """
    given = _parser().parse_args(words)
    try:
        return int(given.task(given))
    except OrdainError as error:
        say(f"error: {error.message}")
        if error.hint:
            say(f"  next: {error.hint}")
        return int(error.exit_code)


def say(line: str) -> None:
    """Writes a line to the task's log."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _arguments(kind: Any, given: argparse.Namespace) -> Any:
    """A task's arguments as a dataclass whose fields have the arguments' names."""
    return kind(**{field.name: getattr(given, field.name) for field in fields(kind)})


def _prepare(given: argparse.Namespace) -> int:
    from ordain.kubeflow.pod.prepare import PrepareArguments, prepare  # noqa: PLC0415  each task imports its own

    plan, prepared = prepare(_arguments(PrepareArguments, given), say)
    for note in prepared.notes:
        say(f"note: {note}")
    say(f"spans {', '.join(map(str, prepared.spans))}; {len(prepared.ir['nodes'])} nodes")
    _write(given.plan_output, plan)
    _show(given, summary.plan_page(prepared), {"spans": len(prepared.spans)})
    return ExitCode.DONE


def _node(given: argparse.Namespace) -> int:
    from ordain.kubeflow.pod.node import run_node  # noqa: PLC0415

    prepared = read_prepared(given.plan, check_run_id(given.run_id))
    done = run_node(prepared, given.node, say)
    result, failure = done.result, done.failure
    reason = f": {result.reason}" if result.reason else ""
    say(f"{result.node} {result.state}{reason} ({result.seconds:.1f} s)")
    _show(
        given,
        summary.node_page(result, done.outputs, done.verdict, failure),
        summary.node_numbers(result, done.verdict),
    )
    if failure is None:
        return ExitCode.DONE
    if failure.hint:
        say(f"  next: {failure.hint}")
    return failure.exit_code


def _result(given: argparse.Namespace) -> int:
    from ordain.kubeflow.pod.result import conclude_run  # noqa: PLC0415

    prepared = read_prepared(given.plan, check_run_id(given.run_id))
    with concluding(prepared.load_project(), prepared.run_id, say):
        concluded = conclude_run(prepared, say)
    return _concluded(given, concluded)


def _on_exit(given: argparse.Namespace) -> int:
    from ordain.kubeflow.pod.prepare import ProjectArguments  # noqa: PLC0415
    from ordain.kubeflow.pod.result import conclude_on_exit  # noqa: PLC0415

    run_id = check_run_id(given.run_id)
    return _concluded(given, conclude_on_exit(_arguments(ProjectArguments, given), run_id, say))


def _concluded(given: argparse.Namespace, concluded: Concluded) -> int:
    result = concluded.result
    for node in result.nodes:
        reason = f"  {node.reason}" if node.reason else ""
        say(f"{node.node:<20} {node.state:<9} {node.seconds:>8.1f} s{reason}")
    for verdict in result.verdicts:
        say(f"{verdict.gate} gate: {verdict.outcome}")
        for why in verdict.reasons:
            if why.outcome != "passed":
                say(f"  {why.outcome}: {why.text}")
    say(result.headline)
    _show(given, summary.run_html(result, concluded.page), summary.run_numbers(result))
    return result.exit_code


def _show(given: argparse.Namespace, page: str, numbers: dict[str, float]) -> None:
    """Writes the artifacts for KFP's pages; KFP reads them only if the task succeeds."""
    if given.html:
        _write(given.html, page)
    path = _output_file(given.executor_input)
    if path:
        _write(path, json.dumps(summary.executor_output(numbers)))


def _output_file(executor_input: str) -> str:
    """The file in which KFP's launcher expects the `ExecutorOutput`."""
    if not executor_input:
        return ""
    try:
        outputs: Any = json.loads(executor_input).get("outputs") or {}
        return str(outputs.get("outputFile") or "")
    except (ValueError, AttributeError) as error:
        raise ConfigError(
            "--executor-input: not the JSON that KFP's launcher fills in for {{$}}"
        ) from error


def _write(path: str, text: str) -> None:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InfrastructureError(f"{path} cannot be written: {error.strerror}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m ordain.kubeflow.pod.entrypoint", description=__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    tasks = parser.add_subparsers(required=True, metavar="TASK")

    prepare = tasks.add_parser("prepare", help="database, plan, IR")
    _add_project(prepare)
    prepare.add_argument("--source", required=True, help="the source's fingerprint")
    prepare.add_argument("--nodes", required=True, help="the compiled topology, as JSON")
    prepare.add_argument("--span", default="", help="last span of the window; default: the newest")
    prepare.add_argument("--plan-output", required=True, help="file that the plan is written to")
    prepare.set_defaults(task=_prepare)

    node = tasks.add_parser("node", help="one node")
    node.add_argument("--node", required=True, help="its id, such as Trainer")
    node.add_argument("--plan", required=True, help="the plan from prepare")
    node.set_defaults(task=_node)

    result = tasks.add_parser("result", help="the run's result")
    result.add_argument("--plan", required=True, help="the plan from prepare")
    result.set_defaults(task=_result)

    on_exit = tasks.add_parser("on-exit", help="the run's result, unless result wrote it")
    _add_project(on_exit)
    on_exit.set_defaults(task=_on_exit)

    for task in (prepare, node, result, on_exit):
        task.add_argument("--run-id", required=True, help="Kubeflow's id of the run")
        task.add_argument("--html", default="", help="file that the summary is written to")
        task.add_argument("--executor-input", default="", help="what KFP fills in for {{$}}")
    return parser


def _add_project(task: argparse.ArgumentParser) -> None:
    """Adds the arguments that describe the project to tasks that take no plan."""
    task.add_argument("--project", required=True, help="the project's folder in this image")
    task.add_argument("--config", required=True, help="the compiled configuration, as JSON")
    task.add_argument("--env", default="", help="name of the overlay in it")
    task.add_argument("--settings", default="", help='JSON list, such as ["train.steps=500"]')
    task.add_argument("--pipeline-root", default="", help="a folder, or gs://bucket/folder")


if __name__ == "__main__":
    exit_process(main())
