"""The pipeline of a compiled file as the simulator represents it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Constant:
    """An input whose value is in the file; it may be a placeholder of the run."""

    value: Any


@dataclass(frozen=True)
class RunParameter:
    """An input taken from a run parameter."""

    name: str


@dataclass(frozen=True)
class Output:
    """An input taken from another task's output."""

    task: str
    key: str


Source = Constant | RunParameter | Output


@dataclass(frozen=True)
class Parameter:
    """An input parameter that a component or the pipeline declares.

    Attributes:
        kind: KFP's type, such as `NUMBER_INTEGER`.
        has_default: Whether the file has a default.
        default: The default.
        is_optional: Whether it may be missing.
        literals: Allowed values; empty for any.
    """

    kind: str
    has_default: bool = False
    default: Any = None
    is_optional: bool = False
    literals: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Retry:
    """A task's retry policy, as Argo applies it.

    Attributes:
        count: Attempts after the first.
        backoff_s: Seconds before the second attempt.
        factor: Factor by which each wait grows.
        max_s: Seconds after the first attempt's start beyond which no attempt starts: Argo's
            `maxDuration` limits all attempts together, not one wait.
    """

    count: int = 0
    backoff_s: float = 0.0
    factor: float = 1.0
    max_s: float | None = None

    def wait_s(self, ended: int) -> float:
        """Seconds to wait after `ended` attempts."""
        return self.backoff_s * self.factor ** (ended - 1)


@dataclass(frozen=True)
class Mapped:
    """A variable whose value is a key of a secret or a config map."""

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
        command: The command with its arguments, placeholders included.
        image: The image, for the report only.
        needs: Upstream tasks.
        is_always_run: Whether it also runs after failed ones (`ignore_upstream_failure`).
        parameters: Source of each input parameter.
        artifacts: Source of each input artifact.
        declared: The component's input parameters.
        output_parameters: Output parameter -> its type.
        output_artifacts: Output artifact -> its ArtifactTypeSchema as a dict.
        environment: Variables whose values are in the file.
        secrets: Variables whose values are in secrets.
        config_maps: Variables whose values are in config maps.
        fields: Variables whose values are fields of the pod: name -> path.
        mounts: Mount paths, each with the kind of volume.
        retry: The retries.
        timeout_s: Time limit of an attempt in seconds; None for no limit.
        resources: Requested resources, for the report.
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
        tasks: Its tasks in topological order.
        notes: Features of the file that a simulation ignores.
    """

    name: str
    parameters: dict[str, Parameter]
    tasks: tuple[Task, ...]
    notes: tuple[str, ...] = ()
