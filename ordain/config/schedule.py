"""The sections `schedule`, `retrain` and `notify`: checks, triggers and notifications."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, field_validator, model_validator

from ordain.common.cron import check_cron, check_timezone
from ordain.common.env_references import has_reference
from ordain.config.base import Section, Shown

#: Events of `notify`; `ordain.notifications.events` defines each.
NotifyEvent = Literal["blocked", "failed", "blessed", "published"]


class Schedule(Section):
    """Checks of `ordain schedule` (docs/scheduling.md)."""

    cron: Annotated[str, Shown("cron expression of five fields")] | None = None
    """Times at which the scheduler checks."""
    timezone: Annotated[str, Shown("name of a time zone")] = "UTC"
    """Time zone of the expression, such as `Europe/Berlin`."""
    watch: bool = False
    """Check when something in `data.path` changes."""
    poll: bool = False
    """Scan the folder instead of relying on the kernel's events, for network mounts."""
    settle_s: Annotated[FiniteFloat, Field(ge=0, le=3600)] = 1.0
    """Seconds without a change before a check."""
    again_s: Annotated[FiniteFloat, Field(ge=1, le=86400)] = 300.0
    """Seconds until a watch checks again after a check that had to wait or ended with exit code
    5."""
    missed: Literal["run", "skip"] = "run"
    """Ticks that passed while no scheduler ran: one check for all of them, or none."""
    grace_s: Annotated[FiniteFloat, Field(ge=0, le=86400)] = 60.0
    """Seconds that a check has to end after SIGTERM."""

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, value: str | None) -> str | None:
        return value if value is None or has_reference(value) else check_cron(value)

    @field_validator("timezone")
    @classmethod
    def _is_timezone(cls, value: str) -> str:
        return value if has_reference(value) else check_timezone(value)


class Notify(Section):
    """One notification: events, and a command or a webhook that receives them as JSON.

    References in either are resolved when something is sent.
    """

    on: Annotated[tuple[NotifyEvent, ...], Field(min_length=1)]
    """Events to notify about. The key needs no quotes."""
    command: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """A program and its arguments; it receives the JSON on standard input. An entry has either
    `command` or `webhook`."""
    webhook: Annotated[str, Shown("address")] | None = None
    """Receives the JSON as a POST. Begins with `http://`, `https://` or `${env:NAME}`; credentials
    have to be references."""
    timeout_s: Annotated[FiniteFloat, Field(gt=0, le=300)] = 10.0
    """Time limit of one attempt, in seconds."""

    @model_validator(mode="before")
    @classmethod
    def _on_is_a_name(cls, value: object) -> object:
        # YAML 1.1 reads an unquoted `on` as true.
        if isinstance(value, dict) and True in value:
            return {"on" if key is True else key: below for key, below in value.items()}
        return value

    @field_validator("webhook")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is None:
            return value
        if not value.startswith(("http://", "https://", "${env:")):
            raise ValueError("must begin with http://, https:// or ${env:NAME}")
        credentials = re.match(r"https?://([^/?#]*)@", value)
        if credentials and "${env:" not in credentials[1]:
            raise ValueError("holds credentials; put the address into a variable: ${env:NAME}")
        return value

    @model_validator(mode="after")
    def _has_one_target(self) -> Notify:
        if (self.command is None) == (self.webhook is None):
            raise ValueError("needs either command or webhook")
        return self


class Complete(Section):
    """Conditions under which a span is complete; all that are set have to hold.

    The names of files may hold `*`, `?`, and `{SPAN}` and the like as `data.pattern` has them.
    """

    marker: Annotated[str, Shown("name of a file")] | None = None
    """Has to exist beside a span's files. `*`, `?` and the specs of `data.pattern` are allowed."""
    unfinished: Annotated[str, Shown("name of a file")] | None = None
    """Must not exist beside a span's files, such as `*.part`."""
    age_minutes: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    """Minutes since the last change of a span's files."""

    @field_validator("marker", "unfinished")
    @classmethod
    def _is_name(cls, value: str | None) -> str | None:
        if value is not None and (not value or "/" in value):
            raise ValueError("must be the name of a file, without '/'")
        return value


class Retrain(Section):
    """Triggers and blockers of `ordain retrain` (docs/retraining.md).

    A trigger that is None, empty or False is off.
    """

    complete: Complete = Complete()
    new_spans: Annotated[int, Field(ge=1)] | None = 1
    """Trigger: so many new spans."""
    late_data: bool = True
    """Trigger: a changed or late span of the newest window."""
    drift: Annotated[FiniteFloat, Field(gt=0, le=1)] | None = None
    """Trigger: a measured distance above this."""
    max_age_days: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """Trigger: a served model older than this."""
    changes: tuple[Literal["source", "schema"], ...] = ("source", "schema")
    """Triggers: a source or schema other than that of the served model."""
    catch_up: Literal["each", "latest"] = "latest"
    """One run for each new span, or one over the newest window."""
    cool_down_minutes: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    """Blocker: minutes since the end of the last run."""
    runs_per_day: Annotated[int, Field(ge=1)] | None = None
    """Blocker: runs that may start within 24 hours."""
    attempts: Annotated[int, Field(ge=1)] = 3
    """Blocker: failed runs in a row on the same data, source and schema, until one of them
    changes."""
