"""Schedules on a server (recurring runs of Kubeflow Pipelines).

Cron expressions there are those of robfig/cron 1: six fields, seconds first, the sixth optional.
Five fields are therefore accepted and misread: `0 3 * * *`, daily at three, means three minutes
past every hour. Five fields are translated here, and unsupported terms are refused.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import Any

from ordain.common.cron import check_cron
from ordain.errors import ConfigError
from ordain.kubeflow.client.server import Missing, Server
from ordain.kubeflow.client.submit import RunRequest, Version, fields

#: Concurrent runs would race for the latest baseline, window and version.
MAX_CONCURRENCY = "1"
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
#: One term of a field: a star, a number, a name or a range, optionally with a step.
_TERM = re.compile(r"(?:\*|(?P<low>\d+|[A-Z]{3})(?:-(?P<high>\d+|[A-Z]{3}))?)(?:/(?P<step>\d+))?")


@dataclass(frozen=True)
class Schedule:
    """A recurring run on a server.

    Attributes:
        id: The server's id.
        name: Display name.
        cron: Its six-field expression; empty for an interval schedule.
        is_enabled: Whether it starts runs.
        catches_up: Whether it starts missed runs.
        pipeline_id: Id of its pipeline.
        version_id: Id of the pipeline's version; empty for the newest at the time.
        experiment_id: Id of its runs' experiment.
        created: Creation time.
    """

    id: str
    name: str
    cron: str
    is_enabled: bool
    catches_up: bool
    pipeline_id: str
    version_id: str
    experiment_id: str
    created: datetime.datetime | None


def to_six_fields(expression: str) -> str:
    """Translates a cron expression to the server's six fields.

    Args:
        expression: Five fields (minute, hour, day of the month, month, day of the week), or six
            with seconds first.

    Returns:
        Six fields: second 0 is added to five, and Sunday 7 becomes 0.

    Raises:
        ConfigError: It is malformed or not supported by the server.
    """
    fields = expression.upper().split()
    if len(fields) == 6:
        second, *five = fields
        if not (second.isdecimal() and int(second) < 60):
            raise ConfigError(
                f"--cron {expression!r}: its first field, the second, must be one number from 0 "
                f"to 59, got {second!r}",
                f"--cron {' '.join(('0', *five))!r}",
            )
    elif len(fields) == 5:
        second, five = "0", fields
    else:
        raise ConfigError(
            f"--cron {expression!r}: must have five fields (minute, hour, day of the month, "
            f"month, day of the week) or six (second first), got {len(fields)}",
            "--cron '0 3 * * *', or --cron '0 0 3 * * *' with the second",
        )
    try:
        check_cron(" ".join(five))
    except ValueError as error:
        raise ConfigError(f"--cron {expression!r}: {error}", "docs/kubeflow-submit.md") from error
    for field in five:
        _check_known(expression, field)
    five[4] = ",".join(_weekdays(term) for term in five[4].split(","))
    return " ".join((str(int(second)), *five))


def create_schedule(
    server: Server, version: Version, request: RunRequest, cron: str, catch_up: bool
) -> Schedule:
    """Creates a schedule that starts runs of a version, one at a time.

    Args:
        server: The server.
        version: The version to run.
        request: Settings of its runs.
        cron: Six fields.
        catch_up: Whether to start a run for each missed tick, as after a pause. Not needed to
            cover all spans, because a run takes the newest window.

    Raises:
        ConfigError: The server refuses the request or denies access.
        InfrastructureError: The server is unreachable or failed.
    """
    models = server.kfp.api_models
    made = server.call(
        f"creating schedule {request.name!r}",
        "recurring_runs",
        "recurring_run_service_create_recurring_run",
        recurring_run=models.V2beta1RecurringRun(
            **fields(models, version, request),
            trigger=models.V2beta1Trigger(cron_schedule=models.V2beta1CronSchedule(cron=cron)),
            mode=models.RecurringRunMode.ENABLE,
            max_concurrency=MAX_CONCURRENCY,
            no_catchup=not catch_up,
        ),
    )
    return _as_schedule(made)


def list_schedules(server: Server, pipeline_id: str | None) -> list[Schedule]:
    """Lists the schedules of a namespace, newest first.

    Args:
        server: The server.
        pipeline_id: Only those of this pipeline; None: of all.

    Raises:
        ConfigError: They may not be listed.
        InfrastructureError: The server is unreachable or failed.
    """
    pages = server.pages(
        "listing the schedules",
        "recurring_runs",
        "recurring_run_service_list_recurring_runs",
        "recurring_runs",
        namespace=server.namespace,
        sort_by="created_at desc",
    )
    found = (_as_schedule(raw) for raw in pages)
    return [one for one in found if pipeline_id is None or one.pipeline_id == pipeline_id]


def enable(server: Server, schedule_id: str, is_enabled: bool) -> Schedule:
    """Resumes or pauses a schedule; running runs continue.

    Raises:
        ConfigError: It does not exist or may not be changed.
        InfrastructureError: The server is unreachable or failed.
    """
    doing, verb = ("resuming", "enable") if is_enabled else ("pausing", "disable")
    _act(server, schedule_id, doing, verb)
    return _as_schedule(_act(server, schedule_id, "reading", "get"))


def delete(server: Server, schedule_id: str) -> None:
    """Deletes a schedule; its runs stay.

    Raises:
        ConfigError: It does not exist or may not be deleted.
        InfrastructureError: The server is unreachable or failed.
    """
    _act(server, schedule_id, "deleting", "delete")


def _act(server: Server, schedule_id: str, doing: str, verb: str) -> Any:
    return server.call(
        f"{doing} schedule {schedule_id}",
        "recurring_runs",
        f"recurring_run_service_{verb}_recurring_run",
        Missing(
            f"schedule {schedule_id!r}",
            f"ordain cluster schedule list {server.connection.argument_words}",
        ),
        recurring_run_id=schedule_id,
    )


def _as_schedule(raw: Any) -> Schedule:
    """Converts a `V2beta1RecurringRun`."""
    version = raw.pipeline_version_reference
    trigger = raw.trigger.cron_schedule if raw.trigger is not None else None
    return Schedule(
        id=raw.recurring_run_id or "",
        name=raw.display_name or "",
        cron=(trigger.cron if trigger is not None else None) or "",
        is_enabled=raw.status == "ENABLED" if raw.status else raw.mode == "ENABLE",
        catches_up=not raw.no_catchup,
        pipeline_id=(version.pipeline_id if version else None) or "",
        version_id=(version.pipeline_version_id if version else None) or "",
        experiment_id=raw.experiment_id or "",
        created=raw.created_at,
    )


def _check_known(expression: str, field: str) -> None:
    for term in field.split(","):
        if not _TERM.fullmatch(term):
            raise ConfigError(
                f"--cron {expression!r}: {term!r} is not supported by Kubeflow Pipelines, "
                "whose fields hold numbers, names, ranges, lists, steps and *",
                "ordain schedule PROJECT --emit kubernetes, for a CronJob that supports it",
            )


def _weekdays(term: str) -> str:
    """Replaces the 7 in a day of the week, which robfig/cron does not support."""
    match = _TERM.fullmatch(term)
    assert match is not None  # noqa: S101  checked before
    low, high, step = match.group("low", "high", "step")
    is_open = step is not None and high is None
    if low is None or not (is_open or "7" in (low, high)):
        return term
    first = _day(low)
    last = 7 if is_open else _day(high or low)
    days = sorted({day % 7 for day in range(first, last + 1, int(step or 1))})
    return ",".join(str(day) for day in days)


def _day(text: str) -> int:
    return _DAYS.index(text) if text in _DAYS else int(text)
