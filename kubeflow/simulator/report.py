"""The report of a simulation: tasks, attempts and the JSON document."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ordain.common.atomic_files import write_file
from ordain.errors import ExitCode

SUCCEEDED, FAILED, NOT_STARTED, CANCELED = "succeeded", "failed", "not started", "canceled"
LOST, TIMED_OUT = "lost", "timed out"
#: The report's name in the simulation's folder.
REPORT = "report.json"


@dataclass(frozen=True)
class AttemptResult:
    """One attempt of a task.

    Attributes:
        number: From 1.
        state: `succeeded`, `failed`, `timed out`, `lost` or `canceled`.
        exit_code: As a container has it; None if it was lost with its node.
        reason: Why it did not succeed; empty if it did.
        started_s: Seconds between the simulation's start and its own.
        seconds: Duration.
        waited_s: Back-off before it, in seconds.
        command: The command, secrets masked.
        log: File with its output.
        injected: The injected failure, as given on the command line.
    """

    number: int
    state: str
    exit_code: int | None
    reason: str
    started_s: float
    seconds: float
    waited_s: float
    command: list[str]
    log: str
    injected: str = ""


@dataclass
class TaskResult:
    """One task.

    Attributes:
        name: Its name.
        title: Its display name.
        state: `succeeded`, `failed`, `not started` or `canceled`.
        reason: Why it did not succeed; empty if it did.
        image: The image that a cluster would run.
        resources: Requested resources; not enforced.
        attempts: Its attempts, oldest first.
        parameters: Its output parameters.
        artifacts: Its output artifacts: `uri`, `metadata`, and `bytes`, None where it wrote none.
    """

    name: str
    title: str
    state: str = NOT_STARTED
    reason: str = ""
    image: str = ""
    resources: dict[str, str] = field(default_factory=dict)
    attempts: list[AttemptResult] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def exit_code(self) -> int | None:
        """The last attempt's exit code."""
        return self.attempts[-1].exit_code if self.attempts else None

    @property
    def seconds(self) -> float:
        """Total duration of its attempts without waits."""
        return sum(attempt.seconds for attempt in self.attempts)


@dataclass
class Report:
    """The report of a simulation.

    Attributes:
        file: The compiled file.
        pipeline: The pipeline's name.
        run_id: The run's id.
        folder: The folder that holds logs, inputs, outputs and this report.
        state: `succeeded`, `failed` or `canceled`.
        started: Start, RFC 3339.
        seconds: Duration.
        parallel: Maximum number of tasks that ran at once.
        parameters: The run's parameters.
        tasks: Every task of the file.
        notes: Differences from a cluster, and injections that were not triggered.
        signal: Number of the signal that canceled it; 0 if none did.
    """

    file: str
    pipeline: str
    run_id: str
    folder: str
    state: str
    started: str
    seconds: float
    parallel: int
    parameters: dict[str, Any]
    tasks: list[TaskResult]
    notes: list[str]
    signal: int = 0

    @property
    def failed(self) -> list[TaskResult]:
        """The tasks that failed, in the order of the file."""
        return [task for task in self.tasks if task.state == FAILED]

    @property
    def exit_code(self) -> int:
        """0; a failed task's own code where it is one of ordain's, else 1; 128 and a signal."""
        if self.signal:
            return 128 + self.signal
        if self.state == SUCCEEDED:
            return int(ExitCode.DONE)
        ours = {int(code) for code in ExitCode} - {int(ExitCode.DONE)}
        codes = [task.exit_code for task in self.failed if task.exit_code in ours]
        return next((code for code in codes if code is not None), int(ExitCode.NODE_FAILED))

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        raw = asdict(self)
        for plain, task in zip(raw["tasks"], self.tasks, strict=True):
            plain["exit_code"] = task.exit_code
        return {**raw, "exit_code": self.exit_code}


def write_report(report: Report, file: Path) -> None:
    """Writes a report atomically."""
    write_file(file, json.dumps(report.to_dict(), indent=1, default=str) + "\n")
