"""Builds the results of a run's nodes, and the result of the run, from its launches.

The local driver adds the nodes while it launches them, the driver in pods at the run's end, from ML
Metadata.
"""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ordain.common.node_id import NodeId
from ordain.config.model import NoBaseline
from ordain.config.project import Project
from ordain.history.resource_usage import Cost
from ordain.history.results import Failure, NodeResult, Recovered, RunResult, merge_states
from ordain.history.runs import Output, verdict_of
from ordain.project.source import library_versions
from ordain.verdict import Verdict

CACHED_REASON = "same inputs, settings and source as before"


@dataclass(frozen=True)
class Launches:
    """Launches of one node; a node that runs per span has one for each span.

    Attributes:
        node: The node's id.
        states: `complete`, `cached`, `reused` or `skipped`, one for each launch.
        execution_ids: ML Metadata's executions; a skipped launch has none.
        outputs: Their output artifacts.
        seconds: Wall time of all of them.
        log: The node's log, if it has one.
        cost: Their resources, if they were measured.
    """

    node: str
    states: tuple[str, ...]
    execution_ids: tuple[int, ...] = ()
    outputs: tuple[Output, ...] = ()
    seconds: float = 0.0
    log: Path | None = None
    cost: Cost | None = None


class ResultBuilder:
    """Collects the nodes of one run, in pipeline order."""

    def __init__(self, project: Project, run_id: str, window: Sequence[int]) -> None:
        """Starts without nodes.

        Args:
            project: The project.
            run_id: The run.
            window: Numbers of its spans, oldest first.
        """
        self._project = project
        self._run_id = run_id
        self._window = tuple(window)
        self._results: list[NodeResult] = []
        self._verdicts: list[Verdict] = []
        self._outputs: dict[str, tuple[Output, ...]] = {}
        self._seen: set[int] = set()

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Verdicts of the gates so far."""
        return tuple(self._verdicts)

    def add(self, launches: Launches, reused_because: str = "") -> NodeResult:
        """Adds a node that did not fail.

        Args:
            launches: Its launches.
            reused_because: Reason for reusing it, if it was reused.
        """
        # Resolvers output artifacts of other nodes, the data gate's verdict among them.
        fresh = [o for o in launches.outputs if o.id not in self._seen]
        self._seen |= {o.id for o in launches.outputs}
        self._outputs[launches.node] = launches.outputs
        verdict = verdict_of(fresh)
        if verdict is not None:
            self._verdicts.append(verdict)
        state = merge_states(launches.states)
        reason = ""
        if state == "cached":
            reason = CACHED_REASON
        elif state == "reused":
            reason = reused_because
        elif state == "skipped":
            blocked = [v.gate for v in self._verdicts if v.is_blocked]
            reason = f"the {blocked[0]} gate blocked" if blocked else "nothing to work on"
        result = NodeResult(
            node=launches.node,
            state=state,
            seconds=round(launches.seconds, 3),
            rows=count_rows(launches.outputs),
            spans=dict(Counter(launches.states)) if len(launches.states) > 1 else None,
            reason=reason,
            log=str(launches.log) if launches.log is not None else None,
            execution_ids=launches.execution_ids,
            **cost_fields(launches.cost, launches.seconds),
        )
        self._results.append(result)
        return result

    def add_failed(self, result: NodeResult) -> None:
        """Adds the node that ended the run."""
        self._results.append(result)

    def conclude(
        self,
        started: datetime.datetime,
        seconds: float,
        failure: Failure | None = None,
        is_partial: bool = False,
        peak_rss_bytes: int | None = None,
        recovered: Sequence[Recovered] = (),
    ) -> RunResult:
        """The result of the run.

        Args:
            started: Start time, UTC.
            seconds: Wall time of the whole.
            failure: The error that ended it, if one did.
            is_partial: Whether only some of the nodes were to run.
            peak_rss_bytes: Peak memory of its process without children; None if there were
                several processes.
            recovered: Killed runs that it closed.
        """
        version, model = None, None
        stable: tuple[bool, str] | None = None
        for pushed in self._outputs.get(NodeId.PUSHER, ()):
            if pushed.properties.get("pushed") == 1:
                model = pushed.properties["pushed_destination"]
                # It may have been removed since; an object store is not checked.
                if "://" not in model and not Path(model).is_dir():
                    model = None
                    continue
                version = int(pushed.properties["pushed_version"])
                found = pushed.properties
                stable = (bool(found.get("stable", 0)), str(found.get("stable_reason", "")))
        is_new = version is not None and any(
            result.node == NodeId.PUSHER and result.state == "complete" for result in self._results
        )
        return RunResult(
            project=self._project.name,
            run_id=self._run_id,
            started=started.isoformat(timespec="seconds"),
            seconds=round(seconds, 3),
            window=self._window,
            nodes=tuple(self._results),
            verdicts=tuple(self._verdicts),
            version=version,
            is_new_version=is_new,
            is_stable=stable[0] if stable and is_new else None,
            stable_reason=stable[1] if stable and is_new else "",
            model=model,
            baseline=self._baseline(),
            failure=failure,
            is_partial=is_partial,
            peak_rss_bytes=self._peak(peak_rss_bytes),
            recovered=tuple(recovered),
            versions=library_versions(),
        )

    def _peak(self, own_bytes: int | None) -> int | None:
        """The larger of the kernel's peak of the process and the nodes' peaks with children."""
        found = [own_bytes, *(result.peak_rss_bytes for result in self._results)]
        return max((peak for peak in found if peak is not None), default=None)

    def _baseline(self) -> str | None:
        used = [o.uri for o in self._outputs.get(NodeId.BASELINE, ()) if o.key == "model"]
        chosen = self._project.evaluate.baseline
        if used:
            return used[0]
        return f"none: {chosen.none}" if isinstance(chosen, NoBaseline) else None


def cost_fields(cost: Cost | None, seconds: float) -> dict[str, Any]:
    """Resources of a node, as fields of `NodeResult`.

    Args:
        cost: The measurement; None if there is none.
        seconds: Wall time of the launches.
    """
    if cost is None:
        return {}
    rows = cost.rows
    return {
        "cpu_s": cost.cpu_s,
        "peak_rss_bytes": cost.peak_rss_bytes,
        "bytes_written": cost.bytes_written,
        "rows_per_s": round(rows / seconds, 1) if rows and seconds > 0 else None,
    }


def count_rows(outputs: Sequence[Output]) -> int | None:
    """Rows of a node's outputs; None if it does not count them."""
    counted = [json.loads(o.properties["rows"]) for o in outputs if "rows" in o.properties]
    return sum(sum(c["splits"].values()) for c in counted) if counted else None
