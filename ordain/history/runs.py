"""Past runs, read from ML Metadata.

Uses only the ml-metadata client, without TFX or TensorFlow, so that `ordain runs` is fast. TFX's
conventions that are read here: contexts `pipeline`, `pipeline_run`, `node` (named
`<pipeline>.<node>`) and our `span`; execution states; event paths name outputs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from ordain.common.portable_paths import PortablePaths
from ordain.errors import InfrastructureError
from ordain.metadata.location import Location
from ordain.metadata.store import open_store
from ordain.storage import artifact_store
from ordain.verdict import Verdict

_STATES = {
    pb.Execution.COMPLETE: "complete",
    pb.Execution.CACHED: "cached",
    pb.Execution.FAILED: "failed",
    pb.Execution.RUNNING: "running",
    pb.Execution.NEW: "running",
    pb.Execution.CANCELED: "canceled",
}


@dataclass(frozen=True)
class Output:
    """An output artifact of an execution."""

    id: int
    key: str
    type: str
    uri: str
    properties: dict[str, Any]


@dataclass(frozen=True)
class NodeRun:
    """One execution of a node in a run.

    Attributes:
        execution_id: ML Metadata's id.
        node: The node's id, such as `Trainer`.
        span: Its span; None for the whole window.
        state: `complete`, `cached`, `failed`, `running` or `canceled`.
        started_ms: Start, in milliseconds since 1970.
        finished_ms: Last update, in milliseconds since 1970.
        outputs: Its output artifacts.
    """

    execution_id: int
    node: str
    span: int | None
    state: str
    started_ms: int
    finished_ms: int
    outputs: tuple[Output, ...] = ()

    @property
    def seconds(self) -> float:
        """Wall time from registration to publication."""
        return (self.finished_ms - self.started_ms) / 1000

    @property
    def own_outputs(self) -> list[Output]:
        """Outputs without those of another node, which TFX adds for a condition."""
        return [output for output in self.outputs if not output.key.startswith("_")]


@dataclass(frozen=True)
class Run:
    """One run of a pipeline."""

    id: str
    started_ms: int
    nodes: tuple[NodeRun, ...] = field(default=())


class History:
    """Reads one project's runs."""

    def __init__(self, metadata: Location, name: str, paths: PortablePaths) -> None:
        """Opens the store lazily.

        Args:
            metadata: ML Metadata's SQLite file, or its database.
            name: The pipeline's name.
            paths: The folders that may move, `Project.paths`.
        """
        self._location = metadata
        self._name = name
        self._paths = paths
        self._store: mlmd.MetadataStore | None = None

    @property
    def store(self) -> mlmd.MetadataStore:
        """The open store.

        Raises:
            InfrastructureError: There is no store yet, or it cannot be opened.
        """
        if self._store is None:
            self._store = self._open()
        return self._store

    def _open(self, is_read_only: bool = False) -> mlmd.MetadataStore:
        if not self._location.exists():
            raise InfrastructureError(
                f"no run of {self._name!r} yet: there is no {self._location}", "ordain run PROJECT"
            )
        return open_store(self._location, self._paths, is_read_only=is_read_only)

    def contexts(self) -> list[pb.Context]:
        """ML Metadata's contexts of all runs of the pipeline, in no order."""
        pipeline = self.store.get_context_by_type_and_name("pipeline", self._name)
        if pipeline is None:
            return []
        found = self.store.get_children_contexts_by_context(pipeline.id)
        return [context for context in found if context.type == "pipeline_run"]

    def list_runs(self) -> list[Run]:
        """All runs of the pipeline, newest first, without their nodes."""
        runs = [Run(context.name, context.create_time_since_epoch) for context in self.contexts()]
        return sorted(runs, key=lambda run: (run.started_ms, run.id), reverse=True)

    def read_run(self, run_id: str) -> Run:
        """One run with its nodes, in the order they started.

        Raises:
            InfrastructureError: There is no such run.
        """
        context = self.store.get_context_by_type_and_name("pipeline_run", run_id)
        if context is None:
            raise InfrastructureError(f"there is no run {run_id!r}", "ordain runs list PROJECT")
        executions = self.store.get_executions_by_context(context.id)
        outputs = self.outputs_of([e.id for e in executions])
        nodes = []
        for execution in executions:
            _, node, span = place_of(self.store, execution.id)
            nodes.append(
                NodeRun(
                    execution.id,
                    node,
                    span,
                    state_of(execution),
                    execution.create_time_since_epoch,
                    execution.last_update_time_since_epoch,
                    tuple(outputs.get(execution.id, ())),
                )
            )
        nodes.sort(key=lambda n: (n.started_ms, n.execution_id))
        return Run(run_id, context.create_time_since_epoch, tuple(nodes))

    def outputs_of(self, execution_ids: Iterable[int]) -> dict[int, list[Output]]:
        """Output artifacts by execution."""
        ids = list(execution_ids)
        if not ids:
            return {}
        events = [e for e in self.store.get_events_by_execution_ids(ids) if _is_output(e)]
        artifacts = {
            a.id: a for a in self.store.get_artifacts_by_id([e.artifact_id for e in events])
        }
        result: dict[int, list[Output]] = defaultdict(list)
        for event in events:
            artifact = artifacts[event.artifact_id]
            properties = {k: _plain(v) for k, v in artifact.properties.items()}
            properties |= {k: _plain(v) for k, v in artifact.custom_properties.items()}
            key = event.path.steps[0].key if event.path.steps else ""
            result[event.execution_id].append(
                Output(artifact.id, key, artifact.type, artifact.uri, properties)
            )
        return result


def place_of(store: mlmd.MetadataStore, execution_id: int) -> tuple[str, str, int | None]:
    """An execution's pipeline, node, and span; None for the whole window."""
    names = {c.type: c.name for c in store.get_contexts_by_execution(execution_id)}
    pipeline = names.get("pipeline", "")
    span = names.get("span", "").rpartition(".span-")[2]
    return pipeline, names.get("node", "").removeprefix(f"{pipeline}."), int(span) if span else None


def state_of(execution: Any) -> str:
    """An execution's state as a word."""
    return _STATES.get(execution.last_known_state, "unknown")


def verdict_of(outputs: Iterable[Output]) -> Verdict | None:
    """The verdict among a gate's outputs; None if there is none."""
    for output in outputs:
        if "outcome" not in output.properties:
            continue
        text = output.properties.get("verdict")
        if text is None:  # too long for a property
            artifact_store.current().fetch(output.uri)
            text = (Path(output.uri) / "verdict.json").read_text(encoding="utf-8")
        return Verdict.from_json(text)
    return None


def _is_output(event: Any) -> bool:
    return event.type in (pb.Event.OUTPUT, pb.Event.DECLARED_OUTPUT, pb.Event.INTERNAL_OUTPUT)


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None
