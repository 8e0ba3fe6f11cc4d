"""What a compiled file asks for, in the forms that a simulation works on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Constant:
    """An input whose value stands in the file; it may be a placeholder of the run's."""

    value: Any


@dataclass(frozen=True)
class RunParameter:
    """An input that is a parameter of the run."""

    name: str


@dataclass(frozen=True)
class Output:
    """An input that another task made."""

    task: str
    key: str


Source = Constant | RunParameter | Output


@dataclass(frozen=True)
class Parameter:
    """A parameter as a component, or the pipeline, declares it.

    Attributes:
        kind: Its type in KFP's terms, such as `NUMBER_INTEGER`.
        has_default: Whether the file gives a value.
        default: That value.
        is_optional: Whether it may be left out.
        literals: The values it may have; empty if any.
    """

    kind: str
    has_default: bool = False
    default: Any = None
    is_optional: bool = False
    literals: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Retry:
    """A task's retries, as Argo carries them out.

    Attributes:
        count: Further attempts after the first.
        backoff_s: Seconds before the second attempt.
        factor: What each further wait is multiplied with.
        max_s: Seconds after the first attempt's start beyond which no attempt starts: Argo's
            `maxDuration` is the limit of all tries together, not of one wait.
    """

    count: int = 0
    backoff_s: float = 0.0
    factor: float = 1.0
    max_s: float | None = None

    def wait_s(self, ended: int) -> float:
        """Seconds to wait after so many ended attempts."""
        return self.backoff_s * self.factor ** (ended - 1)


@dataclass(frozen=True)
class Mapped:
    """A variable whose value is a key of a secret or of a config map."""

    variable: str
    owner: Source
    key: str
    is_optional: bool


@dataclass(frozen=True)
class Task:
    """One container task.

    Attributes:
        name: Its key in the file.
        title: Its display name.
        command: The command with its arguments, placeholders and all.
        image: The image, for the report; it is not used.
        needs: Tasks that have to end first.
        is_always_run: Whether it runs after failed ones too (`ignore_upstream_failure`).
        parameters: Where each input parameter comes from.
        artifacts: Where each input artifact comes from.
        declared: The component's input parameters.
        output_parameters: Output parameter -> its type.
        output_artifacts: Output artifact -> its schema, as a dict of KFP's.
        environment: Variables whose values are in the file.
        secrets: Variables whose values are in secrets.
        config_maps: Variables whose values are in config maps.
        fields: Variables whose values are fields of the pod: name -> path.
        mounts: Paths that a volume is mounted at, each with what mounts it.
        retry: The retries.
        timeout_s: Seconds an attempt may take; None if any.
        resources: What it asks of the node, for the report.
    """

    name: str
    title: str
    command: tuple[str, ...]
    image: str = ""
    needs: tuple[str, ...] = ()
    is_always_run: bool = False
    parameters: dict[str, Source] = field(default_factory=dict)
    artifacts: dict[str, Output] = field(default_factory=dict)
    declared: dict[str, Parameter] = field(default_factory=dict)
    output_parameters: dict[str, str] = field(default_factory=dict)
    output_artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    environment: tuple[tuple[str, str], ...] = ()
    secrets: tuple[Mapped, ...] = ()
    config_maps: tuple[Mapped, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    mounts: tuple[tuple[str, str], ...] = ()
    retry: Retry = Retry()
    timeout_s: float | None = None
    resources: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """A compiled pipeline.

    Attributes:
        name: The pipeline's name.
        parameters: The run's parameters.
        tasks: Its tasks, each after those it needs.
        notes: What the file asks for and a simulation does not do.
    """

    name: str
    parameters: dict[str, Parameter]
    tasks: tuple[Task, ...]
    notes: tuple[str, ...] = ()
