"""Data of a run for reports: its record in the store, `result.json`, and paths of artifacts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as pb

from ordain.common.json_files import read_json
from ordain.config.project import Project
from ordain.errors import InfrastructureError
from ordain.history.runs import History, NodeRun, Output, Run, verdict_of
from ordain.storage import artifact_store
from ordain.verdict import Verdict

_INPUTS = (pb.Event.INPUT, pb.Event.DECLARED_INPUT, pb.Event.INTERNAL_INPUT)


@dataclass(frozen=True)
class Record:
    """Input of a report.

    Attributes:
        project: The project with its current configuration.
        run: The run with its executions, if any.
        folder: The run's folder.
        result: Its `result.json`; None for a run that did not end.
        inputs: Ids of each execution's input artifacts.
    """

    project: Project
    run: Run
    folder: Path
    result: dict[str, Any] | None = None
    inputs: dict[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def window(self) -> tuple[int, ...]:
        """Spans of the run, oldest first."""
        if self.result is not None:
            return tuple(self.result["window"])
        return tuple(sorted({n.span for n in self.run.nodes if n.span is not None}))

    @property
    def failure(self) -> dict[str, Any] | None:
        """The failure that ended the run, if any."""
        return self.result.get("failure") if self.result else None

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Verdicts of the gates, in order."""
        if self.result is not None:
            return tuple(Verdict.from_dict(raw) for raw in self.result["verdicts"])
        found = (verdict_of(node.own_outputs) for node in self.run.nodes)
        return tuple(verdict for verdict in found if verdict is not None)

    def executions(self, node: str) -> Iterator[NodeRun]:
        """List the executions of a node in order of their start."""
        return (run for run in self.run.nodes if run.node == node)

    def outputs(self, node: str, key: str) -> list[tuple[int | None, Output]]:
        """List the outputs of a node under a key, with their spans."""
        return [
            (run.span if run.span is not None else output.properties.get("span"), output)
            for run in self.executions(node)
            for output in run.outputs
            if output.key == key
        ]

    def folder_of(self, node: str, key: str) -> Path | None:
        """Return the folder of a node's only output under a key; None if there is none here."""
        found = self.outputs(node, key)
        if not found or "://" in found[-1][1].uri:
            return None
        artifact_store.current().fetch(found[-1][1].uri)
        folder = Path(found[-1][1].uri)
        return folder if folder.is_dir() else None

    def why_missing(self, node: str) -> str:
        """Explain why a node has no output in this run."""
        for entry in (self.result or {}).get("nodes", ()):
            if entry["node"] == node:
                reason = f": {entry['reason']}" if entry["reason"] else ""
                if entry["state"] in ("skipped", "failed"):
                    return f"{node} {entry['state']}{reason}"
                return f"what {node} left is not on this machine any more"
        if self.failure is not None:
            return f"{node} did not run: {self.failure['node']} failed before it"
        return f"{node} did not run in this run"


def read_record(project: Project, run_id: str) -> Record:
    """Read a run.

    Args:
        project: The project.
        run_id: One of its runs.

    Raises:
        InfrastructureError: The store cannot be read, or neither it nor the disk has the run.
    """
    folder = project.runs / run_id
    result = read_json(folder / "result.json")
    history = History(project.metadata, project.name, project.paths)
    try:
        run = history.read_run(run_id)
    except InfrastructureError:
        if not folder.is_dir():
            raise
        return Record(project, Run(run_id, 0), folder, result)
    inputs: dict[int, list[int]] = defaultdict(list)
    ids = [node.execution_id for node in run.nodes]
    for event in history.store.get_events_by_execution_ids(ids) if ids else ():
        if event.type in _INPUTS:
            inputs[event.execution_id].append(event.artifact_id)
    taken = {execution: tuple(artifacts) for execution, artifacts in inputs.items()}
    return Record(project, run, folder, result, taken)
