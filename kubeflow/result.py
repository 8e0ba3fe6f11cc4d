"""The last task of a run: its result, as a local run has one, and whom to tell of it."""

from __future__ import annotations

import datetime
from collections.abc import Callable

from contracts.errors import InfrastructureError
from kubeflow.chain import Chain
from kubeflow.run_tally import tally_run
from pipeline import recovery
from pipeline.clock_child import Report
from pipeline.config import Project
from pipeline.history import History
from pipeline.notify import notices_of
from pipeline.notify_outbox import Outbox
from pipeline.outcome import RunResult

#: Seconds in which notices are tried again; what is left then waits for the next run's result.
_PATIENCE_S = 60.0


def make_result(chain: Chain, say: Callable[[str], None]) -> RunResult:
    """Tallies a run, writes its `result.json` and sends its notices.

    Args:
        chain: The run's chain.
        say: Is told what happens, a line each.

    Returns:
        The result.

    Raises:
        InfrastructureError: It cannot be written, or ML Metadata not be read.
    """
    project = chain.load_project()
    history = History(project.metadata, project.name)
    result = tally_run(chain, project, history)
    folder = project.runs / chain.run_id
    try:
        result.write(folder)
    except OSError as error:
        raise InfrastructureError(
            f"{result.headline}; and {folder}/result.json cannot be written: {error.strerror}"
        ) from error
    recovery.mark_pods(history.store, chain.run_id, is_over=True)
    _notify(project, result, say)
    return result


def _notify(project: Project, result: RunResult, say: Callable[[str], None]) -> None:
    """Tells of the run; that nobody can be told changes nothing about it."""
    if not project.notify:
        return
    report = Report(int(result.exit_code), {}, (result.to_dict(),))
    started = datetime.datetime.fromisoformat(result.started)
    outbox = Outbox(project.home / "pods" / "outbox", project.notify, say)
    try:
        outbox.add(notices_of(project.name, report, started))
        outbox.deliver_within(_PATIENCE_S)
    except (InfrastructureError, OSError) as error:
        say(f"nobody could be told: {error}")
