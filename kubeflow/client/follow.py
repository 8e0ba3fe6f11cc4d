"""Follows a run to its end and derives an exit code."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ordain.errors import ExitCode, InfrastructureError
from ordain.kubeflow.client.logs import read_exit_code
from ordain.kubeflow.client.runs import Run, read_run
from ordain.kubeflow.client.server import Server

#: Seconds that a server may be unreachable before following stops.
OUTAGE_S = 300.0
#: Exit codes with a more specific meaning than "failed".
_MEANINGS = {
    ExitCode.CONFIG: "configuration",
    ExitCode.DATA_BLOCKED: "data blocked",
    ExitCode.NOT_BLESSED: "model not blessed",
    ExitCode.INFRASTRUCTURE: "publishing or infrastructure",
}


@dataclass(frozen=True)
class Ending:
    """The outcome of a run.

    Attributes:
        exit_code: As of a run on this machine (`ordain.errors.ExitCode`).
        text: Why, in a sentence.
        failed: Names of the tasks that failed.
    """

    exit_code: ExitCode
    text: str
    failed: tuple[str, ...] = ()


def follow(server: Server, run_id: str, poll_s: float, report: Callable[[str], None]) -> Run:
    """Waits for the end of a run and reports each change.

    Args:
        server: Where it is.
        run_id: The run.
        poll_s: Seconds between two polls.
        report: Receives a line per change.

    Returns:
        The run in its last state.

    Raises:
        ConfigError: It does not exist or may not be read.
        InfrastructureError: The server was unreachable for `OUTAGE_S`; the run continues.
    """
    shown: dict[str, str] = {}
    lost_at: float | None = None
    while True:
        try:
            run = read_run(server, run_id)
        except InfrastructureError as error:
            now = time.monotonic()
            if lost_at is None:
                lost_at = now
                report(f"{error.message}; retrying for {OUTAGE_S:.0f} s")
            if now - lost_at > OUTAGE_S:
                raise InfrastructureError(
                    f"{error.message}; the run continues without being followed",
                    f"ordain cluster runs {server.connection.argument_words}",
                ) from error
        else:
            lost_at = None
            for line in _changes(run, shown):
                report(line)
            if run.is_over:
                return run
        time.sleep(poll_s)


def judge(server: Server, run: Run) -> Ending:
    """Determines the outcome of a finished run.

    A run is SUCCEEDED only if its task `result` ended with 0, that is, nothing was blocked or
    refused. For a failed run the exit codes are read from the logs of its failed tasks; without a
    log the code is 1.
    """
    if run.state == "SUCCEEDED":
        return Ending(ExitCode.DONE, "succeeded")
    if run.state != "FAILED":
        return Ending(ExitCode.NODE_FAILED, f"ended as {run.state}")
    failed = [task for task in run.tasks if task.state == "FAILED"]
    names = tuple(task.name for task in failed)
    if not failed:
        said = f": {run.error}" if run.error else ", and the server names no failed task"
        return Ending(ExitCode.NODE_FAILED, f"failed{said}")
    for task in failed:
        code = read_exit_code(server, run, task)
        if code in _MEANINGS:
            known = ExitCode(code)
            return Ending(known, f"{_MEANINGS[known]} (task {task.name}, exit code {code})", names)
        if code is not None:
            text = f"task {task.name} failed (exit code {code})"
            return Ending(ExitCode.NODE_FAILED, text, names)
    text = f"failed in {', '.join(names)}; the exit code is not known, because no log can be read"
    return Ending(ExitCode.NODE_FAILED, text, names)


def _changes(run: Run, shown: dict[str, str]) -> list[str]:
    """Lines for states that changed; updates `shown`."""
    lines = []
    for name, state in (*((task.name, task.state) for task in run.tasks), ("", run.state)):
        if shown.get(name) != state:
            shown[name] = state
            lines.append(f"{name or 'run'}: {state.lower()}")
    return lines
