"""Parses a compiled file as strictly as the backend does: size, documents, fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from google.protobuf import json_format

#: Below etcd's limit on a request, with room for what the backend adds to the workflow.
MAX_FILE_BYTES = 1_000_000
SCHEMA_VERSION = "2.1.0"


#: Where a rule is broken, the value found, and what is allowed.
Problem = tuple[str, str, str]


class BrokenRule(Exception):
    """A rule of the backend that a file breaks.

    Args:
        rule: The rule's name.
        where: Where in the file.
        got: The value found.
        allowed: What is allowed.
    """

    def __init__(self, rule: str, where: str, got: str, allowed: str) -> None:
        super().__init__(f"rule {rule}: {where}: {got}; {allowed}")
        self.rule = rule


@dataclass(frozen=True)
class File:
    """A parsed compiled file.

    Attributes:
        document: Document 1 as YAML has it, which keeps the order of the tasks.
        spec: Document 1, a `PipelineSpec`.
        executors: The executors of its deployment, by label (`ExecutorSpec`).
        platform: Document 2, a `PlatformSpec`; empty if there is none.
        pods: The `KubernetesExecutorConfig` of each executor in `platform`.
    """

    document: Mapping[str, Any]
    spec: Any
    executors: Mapping[str, Any]
    platform: Any
    pods: Mapping[str, Any]

    def dags(self) -> Iterator[tuple[str, Any]]:
        """Yields the root and every component that is a graph: path and component."""
        yield "root", self.spec.root
        for name, component in sorted(self.spec.components.items()):
            if component.WhichOneof("implementation") == "dag":
                yield f"components.{name}", component

    def tasks(self) -> Iterator[tuple[str, str, Any, Any]]:
        """Yields every task: path, name, task and its graph."""
        for where, graph in self.dags():
            for name, task in sorted(graph.dag.tasks.items()):
                yield f"{where}.dag.tasks.{name}", name, task, graph

    def containers(self) -> Iterator[tuple[str, str, Any]]:
        """Yields every container: path, executor label and container."""
        for label, executor in sorted(self.executors.items()):
            if executor.WhichOneof("spec") == "container":
                yield f"deploymentSpec.executors.{label}.container", label, executor.container


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # C where built
    """The safe loader, which refuses a repeated key as the backend's Go parser does."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"holds the key {twice[0]!r} twice", node.start_mark
            )
        return dict(super().construct_mapping(node, deep))


# Dates stay strings, as in the backend's parser.
_Loader.yaml_implicit_resolvers = {
    key: [(tag, pattern) for tag, pattern in found if not tag.endswith(":timestamp")]
    for key, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_file(text: str) -> File:
    """Parses a compiled file.

    Raises:
        BrokenRule: It is too large or malformed.
    """
    from kfp.kubernetes import kubernetes_executor_config_pb2 as pods_pb2  # noqa: PLC0415  slow
    from kfp.pipeline_spec import pipeline_spec_pb2 as spec_pb2  # noqa: PLC0415

    size = len(text.encode())
    if size > MAX_FILE_BYTES:
        raise BrokenRule(
            "file-size",
            "the file",
            f"{size} bytes",
            f"at most {MAX_FILE_BYTES}, etcd's limit",
        )
    documents = _documents(text)
    spec = _parse("pipeline-spec", "document 1", documents[0], spec_pb2.PipelineSpec())
    if spec.schema_version != SCHEMA_VERSION:
        raise BrokenRule(
            "schema-version",
            "schemaVersion",
            repr(spec.schema_version),
            f"the backend accepts {SCHEMA_VERSION} only",
        )
    deployment = json_format.MessageToDict(spec.deployment_spec)
    deployed = _parse(
        "pipeline-spec", "deploymentSpec", deployment, spec_pb2.PipelineDeploymentConfig()
    )
    platform = spec_pb2.PlatformSpec()
    if len(documents) == 2:
        _parse("platform-spec", "document 2", documents[1], platform)
    return File(documents[0], spec, dict(deployed.executors), platform, _pods(platform, pods_pb2))


def _documents(text: str) -> list[Any]:
    try:
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.AliasEvent):  # a few of them can grow to gigabytes
                where = f"line {event.start_mark.line + 1}" if event.start_mark else "the file"
                raise BrokenRule("documents", where, "holds an alias", "must be YAML")
        documents = list(yaml.load_all(text, Loader=_Loader))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark else "the file"
        problem = getattr(error, "problem", None) or type(error).__name__
        raise BrokenRule("documents", where, str(problem), "must be YAML") from error
    if not 1 <= len(documents) <= 2 or not all(isinstance(one, dict) for one in documents):
        kinds = ", ".join(type(one).__name__ for one in documents) or "nothing"
        raise BrokenRule(
            "documents",
            "the file",
            f"{len(documents)} documents ({kinds})",
            "must be one PipelineSpec and optionally one PlatformSpec",
        )
    return documents


def _parse(rule: str, where: str, document: Any, message: Any) -> Any:
    try:
        return json_format.ParseDict(document, message)
    except (json_format.ParseError, TypeError, ValueError, RecursionError) as error:
        problem = " ".join(str(error).split())[:300]
        kind = message.DESCRIPTOR.name
        raise BrokenRule(rule, where, problem, f"must be a {kind}, without other fields") from error


def _pods(platform: Any, pods_pb2: Any) -> dict[str, Any]:
    """The platform's executor configurations, parsed strictly."""
    pods = {}
    for name, single in platform.platforms.items():
        for label, config in single.deployment_spec.executors.items():
            where = f"platforms.{name}.deploymentSpec.executors.{label}"
            raw = json_format.MessageToDict(config)
            pods[label] = _parse("platform-spec", where, raw, pods_pb2.KubernetesExecutorConfig())
    return pods
