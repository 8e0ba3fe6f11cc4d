"""Results of a run: of each node, of each gate, and the exit code.

Rules for the exit code, first that applies:

1. a node failed: the code of its error (1 unless the error knows better);
2. the data gate blocked: 3;
3. the model was not blessed: 4;
4. the server gate refused the model: 5;
   a gate of the project's own blocked: 3 before Trainer, 4 behind it;
5. the model was blessed and is not in the serving directory: 5;
6. otherwise 0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ordain.common.html_tables import html_table
from ordain.common.node_id import NodeId
from ordain.common.profiler import Profile
from ordain.errors import ExitCode, utf8_text
from ordain.verdict import Verdict


@dataclass(frozen=True)
class NodeResult:
    """Result of a node, over all its spans.

    Attributes:
        node: The node's id.
        state: `complete`, `cached`, `reused`, `skipped` or `failed`.
        seconds: Wall time of all its launches.
        rows: Rows it processed; None if it does not count rows.
        spans: Launches by state, for a node that runs span by span.
        reason: Why it was cached, reused or skipped, or failed; empty if it completed.
        log: Path of its log; None if it was never launched.
        execution_ids: ML Metadata's executions.
        cpu_s: Processor time of its launches with child processes, in seconds; None if it was not
            measured, as for a node in a pod.
        peak_rss_bytes: Peak resident memory of the run's process with its children.
        bytes_written: Size of its outputs, without cached ones.
        rows_per_s: Rows per second of wall time, without cached ones.
    """

    node: str
    state: str
    seconds: float = 0.0
    rows: int | None = None
    spans: dict[str, int] | None = None
    reason: str = ""
    log: str | None = None
    execution_ids: tuple[int, ...] = ()
    cpu_s: float | None = None
    peak_rss_bytes: int | None = None
    bytes_written: int | None = None
    rows_per_s: float | None = None


@dataclass(frozen=True)
class Failure:
    """The error that ended a run."""

    node: str
    message: str
    hint: str
    exit_code: int

    def __post_init__(self) -> None:
        """Makes the message one that files can hold."""
        object.__setattr__(self, "message", utf8_text(self.message))


@dataclass(frozen=True)
class Recovered:
    """Executions closed and folders removed after one killed run.

    Attributes:
        run_id: The dead run.
        nodes: Its nodes that were executing, with the span where there is one.
        execution_ids: Their executions in ML Metadata, which are FAILED now.
        removed: Number of folders with incomplete output that were removed.
        reason: Why it ended, if its last memory record shows it; else empty.
    """

    run_id: str
    nodes: tuple[str, ...]
    execution_ids: tuple[int, ...]
    removed: int
    reason: str = ""

    @property
    def text(self) -> str:
        """A line for the console."""
        line = f"closed run {self.run_id}, which ended without closing {', '.join(self.nodes)}"
        return f"{line}: {self.reason}" if self.reason else line


@dataclass(frozen=True)
class RunResult:
    """Result of a run; its `to_dict` is the run folder's `result.json`.

    Attributes:
        version: Serving version that holds the run's model, or None.
        is_new_version: Whether this run pushed it.
        is_stable: Whether the push made the version stable; None if this run pushed nothing.
        stable_reason: Reason for that.
        model: Folder of that version.
        baseline: Folder or address of the version that the candidate was compared with;
            `none: REASON` if the project has none; None if there was none yet.
        recovered: Killed runs that this one closed.
        profile: The flame graph, if requested.
        versions: The libraries' versions, by distribution.
    """

    project: str
    run_id: str
    started: str
    seconds: float
    window: tuple[int, ...]
    nodes: tuple[NodeResult, ...]
    verdicts: tuple[Verdict, ...]
    version: int | None = None
    is_new_version: bool = False
    is_stable: bool | None = None
    stable_reason: str = ""
    model: str | None = None
    baseline: str | None = None
    failure: Failure | None = None
    is_partial: bool = False
    peak_rss_bytes: int | None = None
    recovered: tuple[Recovered, ...] = ()
    profile: Profile | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> ExitCode:
        """See the module's rules."""
        if self.failure is not None:
            return ExitCode(self.failure.exit_code)
        for verdict in self.verdicts:
            if verdict.is_blocked:
                return self._exit_code_of(verdict.gate)
        if self.version is None and not self.is_partial:
            return ExitCode.INFRASTRUCTURE
        return ExitCode.DONE

    def _exit_code_of(self, gate: str) -> ExitCode:
        """The exit code of a run that a gate blocked; of an own gate, by its place."""
        if gate == "data":
            return ExitCode.DATA_BLOCKED
        if gate == "server":
            return ExitCode.INFRASTRUCTURE
        trained = any(n.node == NodeId.TRAINER and n.state != "skipped" for n in self.nodes)
        return ExitCode.NOT_BLESSED if trained or gate == "evaluation" else ExitCode.DATA_BLOCKED

    @property
    def headline(self) -> str:
        """The outcome in one line."""
        if self.failure is not None:
            return f"{self.failure.node} failed: {self.failure.message}"
        blocked = [v.gate for v in self.verdicts if v.is_blocked]
        if "data" in blocked:
            return "the data gate blocked this run: nothing was trained, nothing was pushed"
        if "evaluation" in blocked:
            return "the model was not blessed: nothing was pushed"
        if "server" in blocked:
            return "the server gate refused the model: nothing was pushed"
        if blocked:
            return f"the {blocked[0]} gate blocked this run: nothing was pushed"
        if self.version is None:
            if self.is_partial:
                return "the requested nodes are done; nothing was pushed"
            return (
                "the model was blessed but is not in the serving directory (removed since?); "
                "push it again with --from Pusher"
            )
        if self.is_new_version:
            stable = ", stable" if self.is_stable else ""
            stable = ", not stable" if self.is_stable is False else stable
            return f"the model passed every gate and is version {self.version}{stable}"
        return f"nothing new: version {self.version} already holds this model"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        raw = asdict(self)
        raw["verdicts"] = [verdict.to_dict() for verdict in self.verdicts]
        raw["exit_code"] = int(self.exit_code)
        raw["headline"] = self.headline
        return raw

    def _repr_html_(self) -> str:
        rows = [
            {"node": n.node, "state": n.state, "seconds": n.seconds, "rows": n.rows, "": n.reason}
            for n in self.nodes
        ]
        gates = [
            {"gate": verdict.gate, "outcome": verdict.outcome, "reason": reason.text}
            for verdict in self.verdicts
            for reason in verdict.reasons
        ]
        return html_table(rows, self.headline) + (html_table(gates) if gates else "")

    def write(self, folder: Path) -> None:
        """Writes `result.json` atomically."""
        folder.mkdir(parents=True, exist_ok=True)
        staged = folder / ".result.json"
        staged.write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")
        staged.replace(folder / "result.json")


def merge_states(states: Sequence[str]) -> str:
    """A node's state from those of its launches: the first of the list below."""
    for state in ("failed", "complete", "cached", "reused"):
        if state in states:
            return state
    return "skipped"
