"""Reads runs and their tasks from the server.

The backend returns one entry per node of the Argo workflow, not per task. A task `trainer` has
four or more: `trainer-driver`, `trainer`, below it `executor`, and below that `executor(0)`,
`executor(1)` ... if it was retried. The task's process ran in the executor's pod.
An entry's `pod_name` and the ids in its parent's `child_tasks` end in the same number and differ
before it (RetrievePodName in backend/src/common/util/workflow.go), so the number links them.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ordain.errors import ConfigError
from ordain.kubeflow.client.server import Missing, Server

#: Final states of a run.
FINAL = frozenset({"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"})
UNKNOWN = "UNKNOWN"
_EXECUTOR = "executor"
_DRIVER = "-driver"


@dataclass(frozen=True)
class Task:
    """One task of a run.

    Attributes:
        name: The task's name in the compiled file, such as `statistics-gen`.
        state: `PENDING`, `RUNNING`, `SUCCEEDED`, `SKIPPED`, `FAILED`, `CANCELED`, `UNKNOWN`.
        pods: Names of its pods, one per attempt, the last one last.
        started: Start time; None while it waits.
        ended: End time; None until then.
    """

    name: str
    state: str
    pods: tuple[str, ...]
    started: datetime.datetime | None
    ended: datetime.datetime | None


@dataclass(frozen=True)
class Run:
    """A run on a server.

    Attributes:
        id: The server's id, which is also the run id in ML Metadata.
        name: Display name.
        state: As of a task.
        pipeline_id: Id of its pipeline; empty if its file was submitted inline.
        version_id: Id of the pipeline's version.
        recurring_id: Id of the schedule that started it; empty if none did.
        created: Creation time.
        ended: End time; None until then.
        error: The server's error message; may be empty.
        tasks: Its tasks in order of start; empty in a listing.
    """

    id: str
    name: str
    state: str
    pipeline_id: str
    version_id: str
    recurring_id: str
    created: datetime.datetime | None
    ended: datetime.datetime | None
    error: str
    tasks: tuple[Task, ...] = ()

    @property
    def is_over(self) -> bool:
        """True in a final state."""
        return self.state in FINAL

    def task(self, name: str) -> Task:
        """Finds a task by name; `StatisticsGen` and `statistics-gen` are equal.

        Raises:
            ConfigError: It does not exist or has not started; the message lists the tasks.
        """
        for task in self.tasks:
            if _plain(task.name) == _plain(name):
                return task
        known = ", ".join(task.name for task in self.tasks) or "none yet"
        raise ConfigError(f"run {self.id} has no task {name!r}", f"started tasks: {known}")


def read_run(server: Server, run_id: str) -> Run:
    """Reads one run with its tasks.

    Raises:
        ConfigError: It does not exist or may not be read.
        InfrastructureError: The server is unreachable or failed.
    """
    return as_run(
        server.call(
            f"reading run {run_id}",
            "runs",
            "run_service_get_run",
            missing_run(server, run_id),
            run_id=run_id,
        )
    )


def list_runs(
    server: Server, experiment_id: str | None, pipeline_id: str | None, limit: int
) -> list[Run]:
    """Lists runs, newest first, without their tasks.

    Args:
        server: The server.
        experiment_id: Only runs of this experiment; None: of the namespace.
        pipeline_id: Only runs of this pipeline; None: of all.
        limit: Maximum number of runs.

    Raises:
        ConfigError: They may not be listed.
        InfrastructureError: The server is unreachable or failed.
    """
    pages = server.pages(
        "listing the runs",
        "runs",
        "run_service_list_runs",
        "runs",
        namespace=None if experiment_id else server.namespace,
        experiment_id=experiment_id,
        sort_by="created_at desc",
    )
    found: list[Run] = []
    for raw in pages:
        run = as_run(raw)
        if pipeline_id is None or run.pipeline_id == pipeline_id:
            found.append(run)
        if len(found) == limit:
            break
    return found


def cancel_run(server: Server, run_id: str) -> Run:
    """Cancels a run; the backend stops its pods and reports CANCELED when they are gone.

    Returns:
        The run after the request; a finished run is left unchanged.

    Raises:
        ConfigError: It does not exist or may not be canceled.
        InfrastructureError: The server is unreachable or failed.
    """
    run = read_run(server, run_id)
    if run.is_over:
        return run
    server.call(
        f"cancelling run {run_id}",
        "runs",
        "run_service_terminate_run",
        missing_run(server, run_id),
        run_id=run_id,
    )
    return read_run(server, run_id)


def missing_run(server: Server, run_id: str) -> Missing:
    """The error for an unknown run."""
    hint = f"ordain cluster runs {server.connection.argument_words}"
    return Missing(f"run {run_id!r}", hint)


def as_run(raw: Any) -> Run:
    """Converts a `V2beta1Run`."""
    reference = raw.pipeline_version_reference
    details = raw.run_details.task_details if raw.run_details is not None else None
    return Run(
        id=raw.run_id or "",
        name=raw.display_name or "",
        state=_state(raw.state),
        pipeline_id=(reference.pipeline_id if reference else None) or "",
        version_id=(reference.pipeline_version_id if reference else None) or "",
        recurring_id=raw.recurring_run_id or "",
        created=raw.created_at,
        ended=_ended(raw.finished_at),
        error=(raw.error.message if raw.error is not None else None) or "",
        tasks=_tasks(details or ()),
    )


def _tasks(details: Any) -> tuple[Task, ...]:
    nodes = {_number(detail.pod_name or detail.task_id): detail for detail in details}
    found = []
    for detail in nodes.values():
        name = detail.display_name or ""
        if name == "root" or _is_executor(detail):
            continue
        executor = next((child for child in _children(detail, nodes) if _is_executor(child)), None)
        if executor is not None:
            found.append(_task(detail, _attempts(executor, nodes)))
        elif name.endswith(_DRIVER) and _state(detail.state) == "FAILED":
            # The task was never created: only the driver's entry exists.
            found.append(_task(detail, (detail,)))
    latest = datetime.datetime.max.replace(tzinfo=datetime.UTC)
    return tuple(sorted(found, key=lambda task: (task.started or latest, task.name)))


def _task(detail: Any, attempts: tuple[Any, ...]) -> Task:
    return Task(
        name=detail.display_name,
        state=_state(detail.state),
        pods=tuple(each.pod_name for each in attempts if each.pod_name),
        started=_ended(detail.start_time),
        ended=_ended(detail.end_time),
    )


def _attempts(executor: Any, nodes: Mapping[str, Any]) -> tuple[Any, ...]:
    """The entries of an executor's attempts in order, or its own entry."""
    attempts = [child for child in _children(executor, nodes) if _is_executor(child)]
    return tuple(sorted(attempts, key=lambda each: _attempt_number(each.display_name))) or (
        executor,
    )


def _children(detail: Any, nodes: Mapping[str, Any]) -> Iterator[Any]:
    for child in detail.child_tasks or ():
        node = nodes.get(_number(child.pod_name or child.task_id))
        if node is not None:
            yield node


def _is_executor(detail: Any) -> bool:
    name = detail.display_name or ""
    return name == _EXECUTOR or name.startswith(f"{_EXECUTOR}(")


def _attempt_number(name: str) -> int:
    digits = "".join(c for c in name if c.isdigit())
    return int(digits) if digits else 0


def _number(name: str | None) -> str:
    return (name or "").rsplit("-", 1)[-1]


def _state(value: Any) -> str:
    return str(value) if value and value != "RUNTIME_STATE_UNSPECIFIED" else UNKNOWN


def _ended(moment: datetime.datetime | None) -> datetime.datetime | None:
    """None for a time that is not set, which the backend writes as the year 1970 or 1."""
    return moment if moment is not None and moment.year > 1970 else None


def _plain(name: str) -> str:
    return name.replace("-", "").replace("_", "").replace(".", "").lower()
