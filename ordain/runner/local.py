"""Runs the pipeline on this machine: launches each node of the IR through TFX's launcher.

TFX's LocalDagRunner can return normally when a node failed to resolve its inputs, and does not
report what was cached, skipped or blocked. Here every launch is read back from ML Metadata
(`ordain.runner.node_launcher`), and a run succeeds only if every node that should have run is
complete or cached.
"""

from __future__ import annotations

import contextlib
import datetime
import resource
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ordain.common.memory import release_memory
from ordain.common.node_id import NodeId
from ordain.common.profiler import FILE, Profiler
from ordain.config.project import Project
from ordain.errors import ConfigError, InfrastructureError
from ordain.history import recovery
from ordain.history.result_builder import ResultBuilder
from ordain.history.results import Failure, NodeResult, Recovered, RunResult
from ordain.history.runs import History
from ordain.pipeline.ir_cache import compiled_ir
from ordain.project.imports import project_on_path
from ordain.project.source import fingerprint
from ordain.runner.node_log import node_log
from ordain.runner.preflight import Plan
from ordain.serving.sandbox import sandbox
from ordain.upstream.tfx_imports import loading_tfx

#: After a node that ran for longer, unused memory is returned to the system.
HEAVY_S = 1.0
#: Nodes that run code of the project; its own nodes do, too.
_WITH_CODE = (NodeId.TRANSFORM, NodeId.TUNER, NodeId.TRAINER)


class Listener(Protocol):
    """Receives the events of a run."""

    def started(self, node: str, span: int | None) -> None:
        """A launch begins."""

    def finished(self, result: NodeResult) -> None:
        """A node is done with all its spans."""


@dataclass(frozen=True)
class Options:
    """Options of a run.

    Attributes:
        use_cache: Whether nodes may be cached.
        from_node: Reuse the results of past runs for all nodes before this one.
        to_node: Stop after this node.
        fresh: Nodes that are executed although they could be cached.
        exact_queries: Whether `ordain.upstream.tfx_queries` replaces TFX's queries of ML Metadata;
            only the benchmark of the history turns it off.
        profile: Whether a flame graph is made (`ordain.common.profiler`).
    """

    use_cache: bool = True
    from_node: str | None = None
    to_node: str | None = None
    fresh: tuple[str, ...] = ()
    exact_queries: bool = True
    profile: bool = False


def new_run_id() -> str:
    """Makes an id that sorts by time, and that no two runs of the same second share."""
    now = datetime.datetime.now(datetime.UTC)
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def run_project(
    project: Project,
    plan: Plan,
    run_id: str,
    options: Options,
    listener: Listener,
    check: Callable[[], None] = lambda: None,
) -> RunResult:
    """Runs a project's pipeline.

    Args:
        project: The project.
        plan: Its plan, from `ordain.runner.preflight`.
        run_id: The run's id, from `new_run_id`.
        options: The nodes to run, and whether the cache may be used.
        listener: Receives the run's events.
        check: Called before each launch; an error of it ends the run.

    Returns:
        The outcome, also for a run that failed or was blocked.

    Raises:
        ConfigError: The graph cannot be built, or `options` names a node that it does not have.
    """
    return _LocalRun(project, plan, run_id, options, listener, check).run()


@dataclass
class _LocalRun:
    """One run in progress."""

    project: Project
    plan: Plan
    run_id: str
    options: Options
    listener: Listener
    check: Callable[[], None]

    def __post_init__(self) -> None:
        self._folder = self.project.runs / self.run_id
        self._spans = [span.number for span in self.plan.window]
        self._builder = ResultBuilder(self.project, self.run_id, self._spans)
        self._history = History(self.project.metadata, self.project.name, self.project.paths)
        self._recovered: list[Recovered] = []
        self._source = fingerprint(self.project.folder)

    def run(self) -> RunResult:
        began, started = time.monotonic(), datetime.datetime.now(datetime.UTC)
        self._recover()
        profiler = Profiler(self._folder / FILE) if self.options.profile else None
        with contextlib.ExitStack() as stack:
            if profiler is not None:
                stack.enter_context(profiler)
            stack.enter_context(project_on_path(self.project.folder))
            with node_log(self._folder / "logs" / "graph.log"):
                ir, nodes, start = self._prepare()
            with loading_tfx():
                from ordain.runner import node_launcher  # noqa: PLC0415  three seconds

            is_exact = self.options.exact_queries
            stack.enter_context(
                node_launcher.prepared(self.project, self.run_id, self._history, is_exact)
            )
            launcher = node_launcher.NodeLauncher(
                self.project,
                ir,
                self._spans,
                self._history,
                self._folder / "logs",
                self._started,
            )
            if start:
                launcher.reuse(nodes[:start], nodes[start].node_info.id)
            stack.callback(sandbox.close_ahead)
            failure = self._launch_all(launcher, nodes)
        outcome = self._builder.conclude(
            started,
            time.monotonic() - began,
            failure,
            is_partial=self.options.to_node is not None,
            peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            recovered=self._recovered,
        )
        if profiler is not None:
            outcome = replace(outcome, profile=profiler.profile)
        try:
            outcome.write(self._folder)
        except OSError as error:
            raise InfrastructureError(
                f"{outcome.headline}; and {self._folder}/result.json cannot be written: {error}",
                "free space and run again: finished nodes are cached",
            ) from error
        return outcome

    def _started(self, node: str, span: int | None) -> None:
        self.check()
        self._check_source(node)
        self.listener.started(node, span)

    def _check_source(self, node: str) -> None:
        """Refuses to run code of the project that is not the code of the cache keys."""
        runs_code = node in _WITH_CODE or any(own.id == node for own in self.project.nodes)
        if runs_code and fingerprint(self.project.folder) != self._source:
            raise ConfigError(
                f"Python files in {self.project.folder} changed while the run was executing, so "
                f"{node} would be cached for code that it did not run",
                "run again: finished nodes are cached where their code is the same",
            )

    def _recover(self) -> None:
        """Closes executions of killed runs; as this run holds the lock, no other one is alive."""
        if self.project.metadata.exists():
            store = self._history.store
            self._recovered = recovery.close_dead_runs(store, self.project.workspace, self.run_id)

    def _prepare(self) -> tuple[Any, Sequence[Any], int]:
        """Returns the bound IR, its nodes, and how many of them `--from` reuses."""
        ir = compiled_ir(self.project, self.plan.newest)
        from ordain.pipeline import span_binding  # noqa: PLC0415  TFX is loaded by now

        ir = span_binding.bind_run(ir, self.run_id, self.options.use_cache)
        nodes = [node.pipeline_node for node in ir.nodes]
        names = [node.node_info.id for node in nodes]
        for flag, name in (("--from", self.options.from_node), ("--to", self.options.to_node)):
            if name is not None and name not in names:
                raise ConfigError(f"{flag} {name}: the pipeline's nodes are {', '.join(names)}")
        start = 0
        if self.options.from_node is not None:
            start = names.index(self.options.from_node)
            span_binding.disable_cache(nodes[start])
        for node in nodes:
            if node.node_info.id in self.options.fresh:
                span_binding.disable_cache(node)
        return ir, nodes, start

    def _launch_all(self, launcher: Any, nodes: Sequence[Any]) -> Failure | None:
        """Launches the nodes in order up to `--to`; returns the error that ended the run."""
        from ordain.runner.node_launcher import NodeError  # noqa: PLC0415  TFX is loaded by now

        reason = f"--from {self.options.from_node}: reused from past runs"
        for node in nodes:
            failure = None
            try:
                result = self._builder.add(launcher.launch(node), reason)
            except NodeError as stop:
                result, failure = stop.result, stop.failure
                self._builder.add_failed(result)
            self.listener.finished(result)
            if result.seconds > HEAVY_S:
                release_memory()
            if failure is not None:
                return failure
            if node.node_info.id == self.options.to_node:
                break
            if result.node == NodeId.TRAINER and result.state == "complete" and self._serves():
                sandbox.start_ahead()  # the Evaluator leaves a core free
        return None

    def _serves(self) -> bool:
        """True if the model of this run will be served in the sandbox."""
        server = self.project.gate.server
        is_ours = server.none is None and server.runner == "ordain"
        return is_ours and self.options.to_node in (None, NodeId.SERVER_GATE, NodeId.PUSHER)
