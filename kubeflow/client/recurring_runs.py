"""Schedules on a server: what Kubeflow Pipelines calls recurring runs.

Its cron expressions are those of robfig/cron 1: six fields, seconds first, the sixth optional. An
expression of five fields is therefore accepted and misread: `0 3 * * *`, every day at three, means
three minutes past every hour there. So five fields are translated here, and what that library
does not know is refused.
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

#: Two runs at once would race for what is latest: the baseline, the window, the next version.
MAX_CONCURRENCY = "1"
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
#: One term of a field: a star, a number or name, a range, each with a step or without.
_TERM = re.compile(r"(?:\*|(?P<low>\d+|[A-Z]{3})(?:-(?P<high>\d+|[A-Z]{3}))?)(?:/(?P<step>\d+))?")


@dataclass(frozen=True)
class Schedule:
    """A recurring run on a server.

    Attributes:
        id: The server's id of it.
        name: The name shown.
        cron: Its expression of six fields; empty where it goes by an interval.
        is_enabled: Whether it starts runs.
        catches_up: Whether it starts the runs that it missed.
        pipeline_id: Id of the pipeline it runs.
        version_id: Id of the pipeline's version; empty for the newest at the time.
        experiment_id: The experiment that its runs belong to.
        created: When it was created.
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
    """A cron expression as the server reads it.

    Args:
        expression: Five fields (minute, hour, day of the month, month, day of the week), or six
            with seconds first.

    Returns:
        Six fields: the second 0 put before five, and a Sunday called 7 made a 0.

    Raises:
        ConfigError: It is no such expression, or means something the server cannot do; says
            which, and what would do.
    """
    fields = expression.upper().split()
    if len(fields) == 6:
        second, *five = fields
        if not (second.isdecimal() and int(second) < 60):
            raise ConfigError(
                f"--cron {expression!r}: its first field, the second, must be one number from 0 "
                f"to 59, got {second!r}: a run takes minutes",
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
        server: Where to.
        version: What to run.
        request: What its runs should be like.
        cron: Six fields.
        catch_up: Whether to start a run for each tick that was missed, as after a pause. Not
            needed to see all spans: a run takes the newest window by itself.

    Raises:
        ConfigError: The server refuses it, or does not allow it.
        InfrastructureError: The server cannot be reached, or failed.
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
    """The schedules of a namespace, newest first.

    Args:
        server: Where they are.
        pipeline_id: Only those of this pipeline; None: of all.

    Raises:
        ConfigError: They may not be listed.
        InfrastructureError: The server cannot be reached, or failed.
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


def read_schedule(server: Server, schedule_id: str) -> Schedule:
    """One schedule.

    Raises:
        ConfigError: There is none of that id, or it may not be read.
        InfrastructureError: The server cannot be reached, or failed.
    """
    return _as_schedule(_act(server, schedule_id, "reading", "get"))


def pause(server: Server, schedule_id: str) -> Schedule:
    """Stops a schedule from starting runs; those that run go on.

    Raises:
        ConfigError: There is none of that id, or it may not be changed.
        InfrastructureError: The server cannot be reached, or failed.
    """
    _act(server, schedule_id, "pausing", "disable")
    return read_schedule(server, schedule_id)


def resume(server: Server, schedule_id: str) -> Schedule:
    """Lets a schedule start runs again.

    Raises:
        ConfigError: There is none of that id, or it may not be changed.
        InfrastructureError: The server cannot be reached, or failed.
    """
    _act(server, schedule_id, "resuming", "enable")
    return read_schedule(server, schedule_id)


def delete(server: Server, schedule_id: str) -> None:
    """Deletes a schedule; its runs stay.

    Raises:
        ConfigError: There is none of that id, or it may not be deleted.
        InfrastructureError: The server cannot be reached, or failed.
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
    """A schedule from a `V2beta1RecurringRun`."""
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
                f"--cron {expression!r}: {term!r} is known to cron here, but not to Kubeflow "
                "Pipelines, whose fields hold numbers, names, ranges, lists, steps and *",
                "ordain schedule PROJECT --emit kubernetes, for a CronJob that understands it",
            )


def _weekdays(term: str) -> str:
    """A term of the day of the week without the 7, which robfig/cron does not know."""
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
