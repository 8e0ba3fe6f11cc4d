"""Reads a compiled file into a `Job`, and refuses by name what cannot be simulated.

Both documents are parsed strictly as the messages they are, as the backend does.
"""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format

from ordain.errors import ConfigError
from ordain.kubeflow.exit_tasks import exit_problems
from ordain.kubeflow.simulator.exit_handlers import flattened
from ordain.kubeflow.simulator.job import Job, Task
from ordain.kubeflow.simulator.task_parser import Refusals, read_parameters, read_task

#: The backend takes about 1 MB; a file beyond this is something else.
MAX_FILE_BYTES = 8 * 1024 * 1024
SCHEMA_VERSION = "2.1.0"


def read_job(file: Path) -> Job:
    """Reads a compiled file.

    Args:
        file: What `ordain compile`, or the KFP compiler, wrote.

    Raises:
        ConfigError: It cannot be read, is no compiled pipeline, or asks for what is not simulated;
            every task that does is named.
    """
    documents = _documents(file)
    spec, platform = _parse(file, documents)
    if spec.schema_version != SCHEMA_VERSION:
        raise ConfigError(
            f"{file}: schemaVersion is {spec.schema_version!r}; "
            f"Kubeflow Pipelines 2 takes {SCHEMA_VERSION}",
            "compile it with the KFP SDK 2, or with ordain compile",
        )
    if not spec.root.dag.tasks:
        raise ConfigError(f"{file}: no tasks under root.dag.tasks")
    refusals = Refusals()
    executors = _executors(file, spec, platform)
    for name, got, allowed in exit_problems(spec.root.dag):
        refusals.add(name, f"{got}; a cluster runs it rightly only with {allowed}")
    # A protobuf map has no order; the document has.
    specs = {name: spec.root.dag.tasks[name] for name in documents[0]["root"]["dag"]["tasks"]}
    specs = flattened(specs, spec.components)
    tasks = {name: read_task(name, task, spec, executors, refusals) for name, task in specs.items()}
    ordered = _ordered({name: task for name, task in tasks.items() if task is not None}, refusals)
    if refusals.found:
        raise ConfigError(
            f"{file} cannot be simulated:\n  " + "\n  ".join(refusals.found),
            "docs/kubeflow-simulate.md lists what can",
        )
    return Job(
        spec.pipeline_info.name,
        read_parameters(spec.root.input_definitions),
        ordered,
        tuple(_notes(specs, platform, ordered)),
    )


def _documents(file: Path) -> list[Any]:
    try:
        size = file.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ConfigError(
                f"{file} has {size:,} bytes; a compiled pipeline has at most {MAX_FILE_BYTES:,}"
            )
        text = file.read_text(encoding="utf-8")
        documents = [d for d in yaml.load_all(text, Loader=_loader()) if d is not None]
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read: {error.strerror}", "ordain compile PROJECT -o FILE"
        ) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{file} is not YAML: {error}", "ordain compile PROJECT -o FILE"
        ) from error
    if not 1 <= len(documents) <= 2 or not all(isinstance(d, dict) for d in documents):
        raise ConfigError(
            f"{file} holds {len(documents)} documents; a compiled pipeline is a PipelineSpec and, "
            "where it needs one, a PlatformSpec",
            "ordain compile PROJECT -o FILE",
        )
    return documents


def _loader() -> Any:
    """The safe loader, in C where PyYAML was built with it."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _parse(file: Path, documents: list[Any]) -> tuple[Any, Any]:
    """The two documents as messages; the second is empty where the file has one."""
    from kfp.pipeline_spec import pipeline_spec_pb2 as pb  # noqa: PLC0415  seconds to import

    spec, platform = pb.PipelineSpec(), pb.PlatformSpec()
    forms = (("PipelineSpec", spec), ("PlatformSpec", platform))
    for number, (document, (form, message)) in enumerate(zip(documents, forms, strict=False), 1):
        try:
            json_format.ParseDict(document, message)
        except json_format.ParseError as error:
            raise ConfigError(
                f"{file}: document {number} is no {form}: {error}", "ordain compile PROJECT -o FILE"
            ) from error
    return spec, platform


def _executors(file: Path, spec: Any, platform: Any) -> dict[str, tuple[Any, Any]]:
    """Executor label -> its ExecutorSpec and its KubernetesExecutorConfig."""
    from kfp.kubernetes import kubernetes_executor_config_pb2 as kpb  # noqa: PLC0415  as above
    from kfp.pipeline_spec import pipeline_spec_pb2 as pb  # noqa: PLC0415  as above

    deployment, extra = pb.PipelineDeploymentConfig(), {}
    kubernetes = platform.platforms["kubernetes"].deployment_spec.executors
    try:
        json_format.ParseDict(json_format.MessageToDict(spec.deployment_spec), deployment)
        for label, raw in kubernetes.items():
            message = kpb.KubernetesExecutorConfig()
            extra[label] = json_format.ParseDict(json_format.MessageToDict(raw), message)
    except json_format.ParseError as error:
        raise ConfigError(f"{file}: an executor is not in KFP's form: {error}") from error
    return {
        label: (executor, extra.get(label, kpb.KubernetesExecutorConfig()))
        for label, executor in deployment.executors.items()
    }


def _ordered(tasks: Mapping[str, Task], refusals: Refusals) -> tuple[Task, ...]:
    """Each task after those it needs, else as in the file."""
    for task in tasks.values():
        for need in task.needs:
            if need not in tasks and not refusals.names(need):
                refusals.add(task.name, f"needs {need!r}, which the file does not have")
    graph = {name: [n for n in task.needs if n in tasks] for name, task in tasks.items()}
    try:
        return tuple(tasks[name] for name in TopologicalSorter(graph).static_order())
    except CycleError as error:
        refusals.found.append(f"tasks need each other: {' -> '.join(error.args[1])}")
        return ()


def _notes(specs: Mapping[str, Any], platform: Any, tasks: tuple[Task, ...]) -> list[str]:
    notes = []
    cached = [task.name for task in tasks if specs[task.name].caching_options.enable_cache]
    if cached:
        notes.append(
            f"KFP's cache is on for {', '.join(cached)}: a cluster may skip them, here they run"
        )
    if any(task.resources for task in tasks):
        notes.append("limits and requests of CPU, memory and accelerators are not enforced here")
    volumes = sorted({path for task in tasks for path, _ in task.mounts})
    if volumes:
        notes.append(f"volumes are folders of this machine: {', '.join(volumes)}")
    pipeline = platform.platforms["kubernetes"].pipelineConfig
    if pipeline.active_deadline_seconds:
        notes.append(
            f"the run's deadline of {pipeline.active_deadline_seconds} s is not enforced here"
        )
    return notes
