"""Walks the street on this machine: each node of the IR through TFX's own launcher.

TFX's LocalDagRunner can return normally when a node failed to resolve its inputs, and tells
nobody what was cached, skipped or blocked. Here every launch is read back from ML Metadata,
and a run is green only if every node that should have run is complete or cached.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import gc
import json
import logging
import resource
import secrets
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from contracts.errors import (
    ConfigError,
    InfrastructureError,
    NodeFailedError,
    OrdainError,
)
from contracts.verdict import Verdict
from pipeline import recovery
from pipeline.checks import Plan
from pipeline.config import Project
from pipeline.config_model import NoBaseline
from pipeline.history import History, Output, state_of, verdict_of
from pipeline.node_log import node_log
from pipeline.outcome import Failure, NodeResult, Recovered, RunResult, merge_states

#: How the system, SQLite and TensorFlow say that there is no room left.
_FULL_DISK = ("No space left on device", "Disk quota exceeded", "database or disk is full")
CACHED_REASON = "same inputs, settings and source as before"


class Listener(Protocol):
    """Whoever draws a run."""

    def started(self, node: str, span: int | None) -> None:
        """A launch begins."""

    def finished(self, result: NodeResult) -> None:
        """A node is done with all its spans."""


@dataclass(frozen=True)
class Options:
    """What a run was asked to do beside the project itself.

    Attributes:
        use_cache: Whether nodes may be cached.
        from_node: Take over everything before this node.
        to_node: Stop after this node.
        fresh: Nodes that are executed although they could be cached.
        exact_queries: Whether TFX's questions to ML Metadata are answered by
            `pipeline.metadata_queries`; only the benchmark of the history turns it off.
    """

    use_cache: bool = True
    from_node: str | None = None
    to_node: str | None = None
    fresh: tuple[str, ...] = ()
    exact_queries: bool = True


def _load_tfx() -> tuple[Any, Any]:
    """Imports what builds and binds the graph, which takes TFX some twenty seconds.

    A fifth of it would go to the garbage collector, which walks the growing heap again and
    again for next to nothing.
    """
    is_first = "pipeline.graph" not in sys.modules
    gc.disable()
    try:
        from pipeline import graph, street  # noqa: PLC0415  only a run needs them
    finally:
        gc.enable()
    if is_first:
        gc.freeze()
    return graph, street


def new_run_id() -> str:
    """An id that sorts by time and that two runs of one second do not share."""
    now = datetime.datetime.now(datetime.UTC)
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def run_project(
    project: Project, plan: Plan, run_id: str, options: Options, listener: Listener
) -> RunResult:
    """Runs a project's chain.

    Args:
        project: The project.
        plan: Its plan, from `pipeline.checks`.
        run_id: The run's id, from `new_run_id`.
        options: What part to run, and whether the cache may be used.
        listener: Is told what happens.

    Returns:
        The outcome, also for a run that failed or was blocked.

    Raises:
        ConfigError: The graph cannot be built, or `options` name a node it does not have.
    """
    return _Walk(project, plan, run_id, options, listener).walk()


class _Walk:
    """One run in progress."""

    def __init__(
        self, project: Project, plan: Plan, run_id: str, options: Options, listener: Listener
    ) -> None:
        self._project = project
        self._plan = plan
        self._run_id = run_id
        self._options = options
        self._listener = listener
        self._folder = project.runs / run_id
        self._spans = [span.number for span in plan.window]
        self._results: list[NodeResult] = []
        self._verdicts: list[Verdict] = []
        self._outputs: dict[str, list[Output]] = {}
        self._seen: set[int] = set()
        self._reused: set[str] = set()
        self._history = History(project.metadata, project.name)
        self._recovered: list[Recovered] = []
        self._handle: Any = None

    def walk(self) -> RunResult:
        began, started = time.monotonic(), datetime.datetime.now(datetime.UTC)
        self._recover()
        with contextlib.ExitStack() as stack:
            stack.enter_context(_project_on_path(self._project.folder))
            with node_log(self._folder / "logs" / "graph.log"):
                ir, nodes = self._prepare()
            self._enter_queries(stack)
            failure = None
            for node in nodes:
                name = node.pipeline_node.node_info.id
                try:
                    result = self._run_node(ir, node.pipeline_node)
                except _NodeError as stop:
                    result, failure = stop.result, stop.failure
                self._results.append(result)
                self._listener.finished(result)
                if failure is not None or name == self._options.to_node:
                    break
        outcome = self._conclude(started, time.monotonic() - began, failure)
        try:
            outcome.write(self._folder)
        except OSError as error:
            raise InfrastructureError(
                f"{outcome.headline}; and {self._folder}/result.json cannot be written: {error}",
                "free space and run again: finished nodes are cached",
            ) from error
        return outcome

    def _recover(self) -> None:
        """Closes what killed runs left; the lock is held, so nothing active is alive."""
        if self._project.metadata.exists():
            store = self._history.store
            self._recovered = recovery.close_dead_runs(store, self._project.workspace, self._run_id)

    def _enter_queries(self, stack: contextlib.ExitStack) -> None:
        """What TFX and the publisher are told for the length of the run."""
        from components import publisher  # noqa: PLC0415  TFX is loaded by now
        from pipeline import metadata_queries  # noqa: PLC0415

        project = self._project
        if project.metadata.exists() and not project.is_pushed_away:
            version = recovery.unrecorded_version(self._history, project.serving)
            stack.enter_context(publisher.unrecorded(version))
        if self._options.exact_queries:
            root = str(project.artifacts)
            stack.enter_context(metadata_queries.exact_queries(self._run_id, root))

    def _prepare(self) -> tuple[Any, Sequence[Any]]:
        graph, street = _load_tfx()
        ir = graph.compile_ir(self._project, self._plan.newest)
        ir = street.bind_run(ir, self._run_id, self._options.use_cache)
        names = [n.pipeline_node.node_info.id for n in ir.nodes]
        for flag, name in (("--from", self._options.from_node), ("--to", self._options.to_node)):
            if name is not None and name not in names:
                raise ConfigError(f"{flag} {name}: the chain's nodes are {', '.join(names)}")
        if self._options.from_node is not None:
            start = names.index(self._options.from_node)
            self._reused = set(names[:start])
            street.disable_cache(ir.nodes[start].pipeline_node)
        for node in ir.nodes:
            if node.pipeline_node.node_info.id in self._options.fresh:
                street.disable_cache(node.pipeline_node)
        return ir, list(ir.nodes)

    def _run_node(self, ir: Any, node: Any) -> NodeResult:
        from pipeline import street  # noqa: PLC0415

        name = node.node_info.id
        spans: list[int | None] = [None]
        if name in street.PER_SPAN:
            spans = list(self._spans)
        log = self._folder / "logs" / f"{name}.log"
        states: list[str] = []
        ids: list[int] = []
        outputs: list[Output] = []
        began = time.monotonic()
        for span in spans:
            self._listener.started(name, span)
            bound = node
            if span is not None:
                has_spans = self._project.data.has_spans
                bound = street.bind_span(node, self._project.name, span, has_spans)
            try:
                with node_log(log):
                    state, execution_id = self._launch(ir, bound)
                    left = self._outputs_of(execution_id)
            except Exception as error:
                seconds = time.monotonic() - began
                raise self._failed(name, span, error, log, seconds, ids) from error
            states.append(state)
            ids += [execution_id] if execution_id is not None else []
            outputs += left
        self._outputs[name] = outputs
        return self._summarize(name, states, ids, outputs, time.monotonic() - began, log)

    def _launch(self, ir: Any, node: Any) -> tuple[str, int | None]:
        """Launches one node once; returns its state, read back from ML Metadata."""
        from tfx.orchestration.local import runner_utils  # noqa: PLC0415
        from tfx.orchestration.portable import launcher  # noqa: PLC0415

        from pipeline import metadata_handle, reuse  # noqa: PLC0415

        deployment = runner_utils.extract_local_deployment_config(ir)
        if self._handle is None:
            self._handle = metadata_handle.Handle(self._project.metadata)
        handle = self._handle
        name = node.node_info.id
        if name in self._reused:
            return "reused", reuse.reuse_latest(handle, node, self._run_id)
        info = launcher.Launcher(
            pipeline_node=node,
            mlmd_connection=handle,
            pipeline_info=ir.pipeline_info,
            pipeline_runtime_spec=ir.runtime_spec,
            executor_spec=runner_utils.extract_executor_spec(deployment, name),
            custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, name),
        ).launch()
        execution_id = info.execution_id if info is not None else None
        if not execution_id:
            return "skipped", None
        (execution,) = self._history.store.get_executions_by_id([execution_id])
        state = state_of(execution)
        if state not in ("complete", "cached"):
            raise NodeFailedError(f"{name} ended in state {state}: its inputs were not resolved")
        return state, execution_id

    def _outputs_of(self, execution_id: int | None) -> list[Output]:
        if execution_id is None:
            return []
        return self._history.outputs_of([execution_id]).get(execution_id, [])

    def _summarize(
        self,
        name: str,
        states: list[str],
        ids: list[int],
        outputs: list[Output],
        seconds: float,
        log: Path,
    ) -> NodeResult:
        # Resolvers hand on what they were given, the data gate's verdict among it.
        fresh = [o for o in outputs if o.id not in self._seen]
        self._seen |= {o.id for o in outputs}
        verdict = verdict_of(fresh)
        if verdict is not None:
            self._verdicts.append(verdict)
        state = merge_states(states)
        reason = ""
        if state == "cached":
            reason = CACHED_REASON
        elif state == "reused":
            reason = f"--from {self._options.from_node}: taken over from the last run"
        elif state == "skipped":
            blocked = [v.gate for v in self._verdicts if v.is_blocked]
            reason = f"the {blocked[0]} gate blocked" if blocked else "nothing to work on"
        return NodeResult(
            node=name,
            state=state,
            seconds=round(seconds, 3),
            rows=_rows(outputs),
            spans=dict(Counter(states)) if len(states) > 1 else None,
            reason=reason,
            log=str(log),
            execution_ids=tuple(ids),
        )

    def _failed(
        self,
        name: str,
        span: int | None,
        error: Exception,
        log: Path,
        seconds: float,
        ids: list[int],
    ) -> _NodeError:
        # A disk that is full cannot take the log either; the headline still says what happened.
        with contextlib.suppress(OSError), node_log(log):
            logging.getLogger("ordain").error("%s failed", name, exc_info=error)
        known = as_known_error(error)
        at = f", span {span}" if span is not None else ""
        failure = Failure(
            node=f"{name}{at}",
            message=known.message,
            hint=known.hint or f"read {log}",
            exit_code=int(known.exit_code),
        )
        result = NodeResult(
            node=name,
            state="failed",
            seconds=round(seconds, 3),
            reason=known.message,
            log=str(log),
            execution_ids=tuple(ids),
        )
        return _NodeError(result, failure)

    def _conclude(
        self, started: datetime.datetime, seconds: float, failure: Failure | None
    ) -> RunResult:
        version, model, is_new = None, None, False
        stable: tuple[bool, str] | None = None
        for pushed in self._outputs.get("Pusher", []):
            if pushed.properties.get("pushed") == 1:
                model = pushed.properties["pushed_destination"]
                # Somebody may have taken it away since; what is elsewhere is not looked after.
                if "://" not in model and not Path(model).is_dir():
                    model = None
                    continue
                version = int(pushed.properties["pushed_version"])
                is_new = self._results[-1].state == "complete"
                told = pushed.properties
                stable = (bool(told.get("stable", 0)), str(told.get("stable_reason", "")))
        baseline = [o.uri for o in self._outputs.get("Baseline", []) if o.key == "model"]
        chosen = self._project.evaluate.baseline
        reason = f"none: {chosen.none}" if isinstance(chosen, NoBaseline) else None
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return RunResult(
            project=self._project.name,
            run_id=self._run_id,
            started=started.isoformat(timespec="seconds"),
            seconds=round(seconds, 3),
            window=tuple(self._spans),
            nodes=tuple(self._results),
            verdicts=tuple(self._verdicts),
            version=version,
            is_new_version=is_new,
            is_stable=stable[0] if stable and is_new else None,
            stable_reason=stable[1] if stable and is_new else "",
            model=model,
            baseline=baseline[0] if baseline else reason,
            failure=failure,
            is_partial=self._options.to_node is not None,
            peak_rss_bytes=usage.ru_maxrss * 1024,
            recovered=tuple(self._recovered),
        )


class _NodeError(Exception):
    """Carries a failed node's result out of the walk."""

    def __init__(self, result: NodeResult, failure: Failure) -> None:
        super().__init__(failure.message)
        self.result = result
        self.failure = failure


def as_known_error(error: BaseException) -> OrdainError:
    """The error of ours behind an exception, or one that names what a stranger raised."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OrdainError):
            return seen
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT):
            break
        seen = seen.__cause__ or seen.__context__
    text = str(error).strip().splitlines()
    brief = text[-1] if text else ""
    if any(sign in str(error) for sign in _FULL_DISK):
        return InfrastructureError(
            f"the disk is full: {brief}", "free space and run again: finished nodes are cached"
        )
    if "database is locked" in str(error):
        return InfrastructureError(f"ML Metadata is locked by another process: {brief}")
    return NodeFailedError(f"{type(error).__name__}: {brief}"[:500])


def _rows(outputs: Sequence[Output]) -> int | None:
    """Rows in what a node left, where it counts them."""
    counted = [json.loads(o.properties["rows"]) for o in outputs if "rows" in o.properties]
    return sum(sum(c["splits"].values()) for c in counted) if counted else None


@contextlib.contextmanager
def _project_on_path(folder: Path) -> Any:
    """Lets the project's module import its neighbours."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
