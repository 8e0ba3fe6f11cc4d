"""The sections `schedule`, `notify` and `retrain`: when to run, and whom to tell."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, field_validator, model_validator

from ordain.common.cron import check_cron, check_timezone
from ordain.common.env_references import has_reference
from ordain.config.base import Section

#: What `notify` may be asked to tell; `ordain.notifications.events` says when each happens.
NotifyEvent = Literal["blocked", "failed", "blessed", "published"]


class Schedule(Section):
    """When `ordain schedule` looks whether there is something to do (`docs/scheduling.md`).

    `poll` looks through the data folder again and again, for mounts that report no changes.
    """

    cron: str | None = None
    timezone: str = "UTC"
    watch: bool = False
    poll: bool = False
    settle_s: Annotated[FiniteFloat, Field(ge=0, le=3600)] = 1.0
    again_s: Annotated[FiniteFloat, Field(ge=1, le=86400)] = 300.0
    missed: Literal["run", "skip"] = "run"
    grace_s: Annotated[FiniteFloat, Field(ge=0, le=86400)] = 60.0

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, value: str | None) -> str | None:
        return value if value is None or has_reference(value) else check_cron(value)

    @field_validator("timezone")
    @classmethod
    def _is_timezone(cls, value: str) -> str:
        return value if has_reference(value) else check_timezone(value)


class Notify(Section):
    """Whom to tell of what: a command that reads JSON, or a webhook that JSON is posted to.

    References in either are looked up when something is sent, never before.
    """

    on: Annotated[tuple[NotifyEvent, ...], Field(min_length=1)]
    command: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    webhook: str | None = None
    timeout_s: Annotated[FiniteFloat, Field(gt=0, le=300)] = 10.0

    @model_validator(mode="before")
    @classmethod
    def _on_is_a_name(cls, value: object) -> object:
        # YAML 1.1 reads an unquoted `on` as the truth value.
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
    """When the delivery of a span is whole; all that is set has to hold.

    `marker` is the name of a file that has to stand beside the span's files, `unfinished` a name
    that files of a delivery in progress have. Both may hold `*`, `?`, and `{SPAN}` and the like
    as `data.pattern` has them. `age_minutes` is how long no file may have changed.
    """

    marker: str | None = None
    unfinished: str | None = None
    age_minutes: Annotated[FiniteFloat, Field(ge=0)] = 0.0

    @field_validator("marker", "unfinished")
    @classmethod
    def _is_name(cls, value: str | None) -> str | None:
        if value is not None and (not value or "/" in value):
            raise ValueError("is the name of a file, without '/'")
        return value


class Retrain(Section):
    """What `ordain retrain` takes as a reason to run, and what holds it back.

    A trigger that is None, empty or False is off (`docs/retraining.md`).
    """

    complete: Complete = Complete()
    new_spans: Annotated[int, Field(ge=1)] | None = 1
    late_data: bool = True
    drift: Annotated[FiniteFloat, Field(gt=0, le=1)] | None = None
    max_age_days: Annotated[FiniteFloat, Field(gt=0)] | None = None
    changes: tuple[Literal["source", "schema"], ...] = ("source", "schema")
    catch_up: Literal["each", "latest"] = "latest"
    cool_down_minutes: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    runs_per_day: Annotated[int, Field(ge=1)] | None = None
    attempts: Annotated[int, Field(ge=1)] = 3
