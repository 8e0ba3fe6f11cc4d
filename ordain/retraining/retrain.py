"""Looks once, decides, and runs if need be: what `ordain retrain` and the clock do.

It decides without the workspace's lock, so that looking is never held up, and once more with
it, before each run: what another process did meanwhile is known then.
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

#: What a run of what was run before has to do again to be of use.
_FRESH_NODES = (NodeId.TUNER, NodeId.TRAINER)
#: After these the next window would meet the same: the chain or the machine is at fault.
_STOPS = (ExitCode.NODE_FAILED, ExitCode.CONFIG, ExitCode.INFRASTRUCTURE)


class RetrainListener(Protocol):
    """Whoever is told what is decided and run."""

    def decided(self, decision: Decision) -> None:
        """The first decision is made."""

    def waiting(self, holder: str) -> None:
        """Another run holds the workspace."""

    def running(self, window: tuple[int, ...]) -> AbstractContextManager[Listener]:
        """A run over a window begins; what it gives is told what happens."""

    def ended(self, result: RunResult) -> None:
        """A run is over."""


@dataclass(frozen=True)
class Outcome:
    """What came of looking once.

    Attributes:
        decision: The decision that was made first; if another process was faster and there was
            nothing left to run, the one after that.
        runs: The runs it led to, oldest first.
        error: What ended it beside a run's own failure, such as a workspace in use; or None.
    """

    decision: Decision
    runs: tuple[RunResult, ...] = ()
    error: OrdainError | None = None

    @property
    def exit_code(self) -> ExitCode:
        """Of the error, else of the first run that did not end well, else 0."""
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
    """Gathers the facts and decides, at this moment."""
    now = time.time()
    return decide(gather_facts(project, now), project.retrain, now, is_forced)


def retrain_once(
    project: Project,
    listener: RetrainListener,
    is_forced: bool = False,
    is_dry: bool = False,
    wait: bool = False,
) -> Outcome:
    """Looks once, decides, and runs if need be.

    Args:
        project: The project.
        listener: Is told what happens.
        is_forced: Whether to run whatever speaks against it.
        is_dry: Whether only to decide; nothing is written then.
        wait: Whether to wait for another run in the workspace to end; otherwise the outcome has
            an error.

    Raises:
        OrdainError: It came to no decision.
    """
    now = time.time()
    decision = decide_now(project, is_forced)
    listener.decided(decision)
    if is_dry:
        return Outcome(decision)
    runs: list[RunResult] = []
    error = None
    mark = secrets.token_hex(8)
    if decision.action is Action.RUN:
        try:
            # Killed from here on, it has left why it ran.
            log_decision(project.home, decision, now, [], None, mark)
            last = _run(project, listener, decision, is_forced, wait, runs)
            decision = decision if runs else last
        except OrdainError as stop:
            error = stop
    outcome = Outcome(decision, tuple(runs), error)
    results = [run.to_dict() for run in runs]
    try:
        log_decision(project.home, decision, now, results, int(outcome.exit_code), mark)
    except OrdainError as problem:  # what was done counts for more than the note of it
        outcome = replace(outcome, error=error or problem)
    return outcome


def _run(
    project: Project,
    listener: RetrainListener,
    first: Decision,
    is_forced: bool,
    wait: bool,
    runs: list[RunResult],
) -> Decision:
    """Runs what is due, one window after the other, deciding anew before each.

    Returns:
        The decision that it ended with.
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
