"""The pipeline of a compiled file as the simulator uses it: KFP's messages, read as Argo does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format

from ordain.kubeflow.exit_tasks import is_exit_task


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
class Task:
    """One container task.

    Attributes:
        name: Its key in the file.
        spec: Its `PipelineTaskSpec`.
        component: Its `ComponentSpec`.
        container: Its `PipelineContainerSpec`.
        pod: Its `KubernetesExecutorConfig`; empty if the file has none.
    """

    name: str
    spec: Any
    component: Any
    container: Any
    pod: Any

    @property
    def title(self) -> str:
        """Its display name."""
        return self.spec.task_info.name or self.name

    @property
    def needs(self) -> tuple[str, ...]:
        """Upstream tasks."""
        return tuple(self.spec.dependent_tasks)

    @property
    def is_always_run(self) -> bool:
        """True if it also runs after failed tasks (`ignore_upstream_failure`)."""
        return is_exit_task(self.spec)

    @property
    def declared(self) -> Mapping[str, Any]:
        """The component's input parameters: name -> `ParameterSpec`."""
        declared: Mapping[str, Any] = self.component.input_definitions.parameters
        return declared

    @property
    def timeout_s(self) -> float | None:
        """Time limit of an attempt in seconds; None for no limit."""
        return float(self.pod.active_deadline_seconds) or None

    @property
    def retry(self) -> Retry:
        """Its retry policy."""
        policy = self.spec.retry_policy
        has_limit = policy.HasField("backoff_max_duration")
        return Retry(
            policy.max_retry_count,
            policy.backoff_duration.ToTimedelta().total_seconds(),
            policy.backoff_factor or 1.0,
            policy.backoff_max_duration.ToTimedelta().total_seconds() if has_limit else None,
        )

    @property
    def mounts(self) -> list[tuple[str, str]]:
        """Mount paths, each with the kind of volume."""
        kinds = {
            "volume claim": self.pod.pvc_mount,
            "secret": self.pod.secret_as_volume,
            "config map": self.pod.config_map_as_volume,
            "empty directory": self.pod.empty_dir_mounts,
            "ephemeral volume": self.pod.generic_ephemeral_volume,
        }
        return [(one.mount_path, kind) for kind, mounts in kinds.items() for one in mounts]

    @property
    def resources(self) -> dict[str, str]:
        """Requested resources, for the report; older files give numbers in place of quantities."""
        resources = self.container.resources
        found = {
            f"{kind}_{bound}": getattr(resources, f"resource_{kind}_{bound}")
            or (f"{number:g}{unit}" if (number := getattr(resources, f"{kind}_{bound}")) else "")
            for kind, unit in (("cpu", ""), ("memory", "G"))
            for bound in ("limit", "request")
        }
        accelerator = resources.accelerator
        found["accelerator"] = accelerator.resource_type or accelerator.type
        found["accelerator_count"] = str(accelerator.resource_count or accelerator.count or "")
        return {key: value for key, value in found.items() if value}


@dataclass(frozen=True)
class Job:
    """A compiled pipeline.

    Attributes:
        name: The pipeline's name.
        parameters: The run's parameters: name -> `ParameterSpec`.
        tasks: Its tasks in topological order.
        notes: Features of the file that a simulation ignores.
    """

    name: str
    parameters: Mapping[str, Any]
    tasks: tuple[Task, ...]
    notes: tuple[str, ...] = ()


def kind_of(parameter: Any) -> str:
    """The type that a `ParameterSpec` declares, such as `NUMBER_INTEGER`."""
    from kfp.pipeline_spec import pipeline_spec_pb2 as pb  # noqa: PLC0415  seconds to import

    return str(pb.ParameterType.ParameterTypeEnum.Name(parameter.parameter_type))


def plain(value: Any) -> Any:
    """A protobuf Value as a Python value; whole numbers as int."""
    return json_format.MessageToDict(value)


def default_of(parameter: Any) -> Any:
    """The default of a `ParameterSpec`; None if it has none."""
    return plain(parameter.default_value) if parameter.HasField("default_value") else None
