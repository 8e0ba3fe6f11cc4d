"""From what the launches of a run left to its nodes' results, and to the result of the run.

Both drivers keep a tally: the one on this machine while it walks the chain, the one in pods when
all is over, from ML Metadata.
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
        outputs: What they left.
        seconds: Wall time of all of them.
        log: The node's log, if it has one of its own.
        cost: What they took, if somebody measured.
    """

    node: str
    states: tuple[str, ...]
    execution_ids: tuple[int, ...] = ()
    outputs: tuple[Output, ...] = ()
    seconds: float = 0.0
    log: Path | None = None
    cost: Cost | None = None


class Tally:
    """The nodes of one run so far, in the order of the chain."""

    def __init__(self, project: Project, run_id: str, window: Sequence[int]) -> None:
        """Begins with nothing.

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

    def add(self, left: Launches, reused_because: str = "") -> NodeResult:
        """Adds a node that did not fail.

        Args:
            left: What its launches left.
            reused_because: Why it was taken over, if it was.
        """
        # Resolvers hand on what they were given, the data gate's verdict among it.
        fresh = [o for o in left.outputs if o.id not in self._seen]
        self._seen |= {o.id for o in left.outputs}
        self._outputs[left.node] = left.outputs
        verdict = verdict_of(fresh)
        if verdict is not None:
            self._verdicts.append(verdict)
        state = merge_states(left.states)
        reason = ""
        if state == "cached":
            reason = CACHED_REASON
        elif state == "reused":
            reason = reused_because
        elif state == "skipped":
            blocked = [v.gate for v in self._verdicts if v.is_blocked]
            reason = f"the {blocked[0]} gate blocked" if blocked else "nothing to work on"
        result = NodeResult(
            node=left.node,
            state=state,
            seconds=round(left.seconds, 3),
            rows=count_rows(left.outputs),
            spans=dict(Counter(left.states)) if len(left.states) > 1 else None,
            reason=reason,
            log=str(left.log) if left.log is not None else None,
            execution_ids=left.execution_ids,
            **cost_fields(left.cost, left.seconds),
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
            started: When it began, UTC.
            seconds: Wall time of the whole.
            failure: The error that ended it, if one did.
            is_partial: Whether only a part was asked for.
            peak_rss_bytes: Most memory that its process held, its children left out; None where
                there were several.
            recovered: What it closed of runs before it.
        """
        version, model = None, None
        stable: tuple[bool, str] | None = None
        for pushed in self._outputs.get(NodeId.PUSHER, ()):
            if pushed.properties.get("pushed") == 1:
                model = pushed.properties["pushed_destination"]
                # Somebody may have taken it away since; what is elsewhere is not looked after.
                if "://" not in model and not Path(model).is_dir():
                    model = None
                    continue
                version = int(pushed.properties["pushed_version"])
                told = pushed.properties
                stable = (bool(told.get("stable", 0)), str(told.get("stable_reason", "")))
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
        """The most that was held: the kernel's peak of the process, or a node's with children."""
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
        cost: What was measured; None if nobody did.
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
    """Rows in what a node left, where it counts them."""
    counted = [json.loads(o.properties["rows"]) for o in outputs if "rows" in o.properties]
    return sum(sum(c["splits"].values()) for c in counted) if counted else None
