"""Checks whether a retrain is due, and runs it if so: the body of `ordain retrain`.

It decides first without the workspace's lock, so that a check never waits for a run, and again
under the lock before each run, to take into account what another process did meanwhile.
"""

from __future__ import annotations

import secrets
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ordain.common.node_id import NodeId
from ordain.config.project import Project
from ordain.errors import ExitCode, OrdainError
from ordain.history.results import RunResult
from ordain.retraining.decision import decide
from ordain.retraining.decision_log import log_decision
from ordain.retraining.facts import gather_facts
from ordain.retraining.types import Action, Decision
from ordain.runner.local import Listener, Options, new_run_id
from ordain.runner.run import plan_and_run
from ordain.runner.workspace_lock import workspace_lock

#: Nodes that execute again when the model is trained anew on unchanged inputs.
_FRESH_NODES = (NodeId.TUNER, NodeId.TRAINER)
#: Exit codes whose cause is the pipeline or the machine, so that the next window would fail too.
_STOPS = (ExitCode.NODE_FAILED, ExitCode.CONFIG, ExitCode.INFRASTRUCTURE)


class RetrainListener(Protocol):
    """Receives the events of a retrain."""

    def decided(self, decision: Decision) -> None:
        """Called with the first decision."""

    def waiting(self, holder: str) -> None:
        """Called when another run holds the workspace."""

    def running(self, window: tuple[int, ...]) -> AbstractContextManager[Listener]:
        """Called before a run; the context gives the listener of that run."""

    def ended(self, result: RunResult) -> None:
        """Called after a run."""


@dataclass(frozen=True)
class RetrainResult:
    """Result of one check.

    Attributes:
        decision: The first decision; if another process was faster and nothing was left to run,
            the decision under the lock.
        runs: The runs it led to, oldest first.
        error: Error other than a failure of a run, such as a workspace in use; or None.
    """

    decision: Decision
    runs: tuple[RunResult, ...] = ()
    error: OrdainError | None = None

    @property
    def exit_code(self) -> ExitCode:
        """Exit code of the error, else of the first run that did not end with 0, else 0."""
        if self.error is not None:
            return self.error.exit_code
        return next((run.exit_code for run in self.runs if run.exit_code), ExitCode.DONE)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        error = self.error
        return {
            "decision": self.decision.to_dict(),
            "runs": [run.to_dict() for run in self.runs],
            "error": error and {"message": error.message, "hint": error.hint},
            "exit_code": int(self.exit_code),
        }


def decide_now(project: Project, is_forced: bool = False) -> Decision:
    """Gathers the facts and decides now."""
    now = time.time()
    return decide(gather_facts(project, now), project.retrain, now, is_forced)


def retrain_once(
    project: Project,
    listener: RetrainListener,
    is_forced: bool = False,
    is_dry: bool = False,
    wait: bool = False,
) -> RetrainResult:
    """Checks whether a retrain is due, and runs it if so.

    Args:
        project: The project.
        listener: Receives the events.
        is_forced: Whether to ignore all blockers but incomplete spans.
        is_dry: Whether to decide only, and write nothing.
        wait: Whether to wait for another run in the workspace; otherwise the result has an error.

    Raises:
        OrdainError: No decision could be made.
    """
    now = time.time()
    decision = decide_now(project, is_forced)
    listener.decided(decision)
    if is_dry:
        return RetrainResult(decision)
    runs: list[RunResult] = []
    error = None
    mark = secrets.token_hex(8)
    if decision.action is Action.RUN:
        try:
            # Written before the run, so that a killed run leaves its reasons.
            log_decision(project.home, decision, now, [], None, mark)
            last = _run(project, listener, decision, is_forced, wait, runs)
            decision = decision if runs else last
        except OrdainError as stop:
            error = stop
    result = RetrainResult(decision, tuple(runs), error)
    documents = [run.to_dict() for run in runs]
    try:
        log_decision(project.home, decision, now, documents, int(result.exit_code), mark)
    except OrdainError as problem:  # the runs are reported even if the log cannot be written
        result = replace(result, error=error or problem)
    return result


def _run(
    project: Project,
    listener: RetrainListener,
    first: Decision,
    is_forced: bool,
    wait: bool,
    runs: list[RunResult],
) -> Decision:
    """Runs the windows that are due, deciding again before each.

    Returns:
        The last decision.
    """
    done: set[tuple[int, ...]] = set()
    decision = first
    for _ in range(len(first.windows)):
        run_id = new_run_id()
        holding = workspace_lock(
            project.workspace, run_id, wait, listener.waiting, project.metadata
        )
        with holding as hold:
            decision = decide_now(project, is_forced and not done)
            window = next((w for w in decision.windows if w not in done), None)
            if window is None:
                break
            done.add(window)
            result = plan_and_run(
                project,
                run_id,
                window[-1] if project.data.has_spans else None,
                Options(fresh=_FRESH_NODES if decision.is_fresh else ()),
                listener.running(window),
                hold,
            )
        runs.append(result)
        listener.ended(result)
        if result.exit_code in _STOPS:
            break
    return decision
