"""Runs the pipeline on this machine: launches each node of the IR through TFX's launcher.

TFX's LocalDagRunner can return normally when a node failed to resolve its inputs, and does not
report what was cached, skipped or blocked. Here every launch is read back from ML Metadata
(`ordain.runner.node_launcher`), and a run is green only if every node that should have run is
complete or cached.
"""

from __future__ import annotations

import contextlib
import datetime
import resource
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ordain.common.memory import release_memory
from ordain.common.node_id import NodeId
from ordain.common.profiler import FILE, Profiler
from ordain.config.project import Project
from ordain.errors import ConfigError, InfrastructureError
from ordain.history import recovery
from ordain.history.result_builder import Tally
from ordain.history.results import Failure, NodeResult, Recovered, RunResult
from ordain.history.runs import History
from ordain.pipeline.ir_cache import compiled_ir
from ordain.pipeline.preload import loading_tfx, project_on_path
from ordain.runner.node_log import node_log
from ordain.runner.preflight import Plan
from ordain.serving.sandbox import sandbox as trial

#: A node that ran for longer may have left memory that is worth giving back.
HEAVY_S = 1.0


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
        from_node: Take over everything before this node.
        to_node: Stop after this node.
        fresh: Nodes that are executed although they could be cached.
        exact_queries: Whether TFX's questions to ML Metadata are answered by
            `ordain.metadata.exact_queries`; only the benchmark of the history turns it off.
        profile: Whether a flame graph is drawn (`ordain.common.profiler`).
    """

    use_cache: bool = True
    from_node: str | None = None
    to_node: str | None = None
    fresh: tuple[str, ...] = ()
    exact_queries: bool = True
    profile: bool = False


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
        plan: Its plan, from `ordain.runner.preflight`.
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
        self._tally = Tally(project, run_id, self._spans)
        self._history = History(project.metadata, project.name, project.paths)
        self._recovered: list[Recovered] = []

    def walk(self) -> RunResult:
        began, started = time.monotonic(), datetime.datetime.now(datetime.UTC)
        self._recover()
        profiler = Profiler(self._folder / FILE) if self._options.profile else None
        with contextlib.ExitStack() as stack:
            if profiler is not None:
                stack.enter_context(profiler)
            stack.enter_context(project_on_path(self._project.folder))
            with node_log(self._folder / "logs" / "graph.log"):
                ir, nodes, start = self._prepare()
            with loading_tfx():
                from ordain.runner import node_launcher  # noqa: PLC0415  three seconds

            is_exact = self._options.exact_queries
            stack.enter_context(
                node_launcher.prepared(self._project, self._run_id, self._history, is_exact)
            )
            launcher = node_launcher.NodeLauncher(
                self._project,
                ir,
                self._spans,
                self._history,
                self._folder / "logs",
                self._listener.started,
            )
            if start:
                launcher.take_over(nodes[:start], nodes[start].node_info.id)
            stack.callback(trial.close_ahead)
            failure = self._launch_all(launcher, nodes)
        outcome = self._tally.conclude(
            started,
            time.monotonic() - began,
            failure,
            is_partial=self._options.to_node is not None,
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

    def _recover(self) -> None:
        """Closes what killed runs left; the lock is held, so nothing active is alive."""
        if self._project.metadata.exists():
            store = self._history.store
            self._recovered = recovery.close_dead_runs(store, self._project.workspace, self._run_id)

    def _prepare(self) -> tuple[Any, Sequence[Any], int]:
        """The bound IR, its nodes, and how many of them `--from` takes over."""
        ir = compiled_ir(self._project, self._plan.newest)
        from ordain.pipeline import span_binding  # noqa: PLC0415  TFX is loaded by now

        ir = span_binding.bind_run(ir, self._run_id, self._options.use_cache)
        nodes = [node.pipeline_node for node in ir.nodes]
        names = [node.node_info.id for node in nodes]
        for flag, name in (("--from", self._options.from_node), ("--to", self._options.to_node)):
            if name is not None and name not in names:
                raise ConfigError(f"{flag} {name}: the chain's nodes are {', '.join(names)}")
        start = 0
        if self._options.from_node is not None:
            start = names.index(self._options.from_node)
            span_binding.disable_cache(nodes[start])
        for node in nodes:
            if node.node_info.id in self._options.fresh:
                span_binding.disable_cache(node)
        return ir, nodes, start

    def _launch_all(self, launcher: Any, nodes: Sequence[Any]) -> Failure | None:
        """Launches node after node, as far as asked; what ended it early, if something did."""
        from ordain.runner.node_launcher import NodeError  # noqa: PLC0415  TFX is loaded by now

        reason = f"--from {self._options.from_node}: taken over from past runs"
        for node in nodes:
            failure = None
            try:
                result = self._tally.add(launcher.launch(node), reason)
            except NodeError as stop:
                result, failure = stop.result, stop.failure
                self._tally.add_failed(result)
            self._listener.finished(result)
            if result.seconds > HEAVY_S:
                release_memory()
            if failure is not None:
                return failure
            if node.node_info.id == self._options.to_node:
                break
            if result.node == NodeId.TRAINER and result.state == "complete" and self._serves():
                trial.start_ahead()  # the Evaluator leaves it a core
        return None

    def _serves(self) -> bool:
        """True if a model that is trained now will be served on trial."""
        server = self._project.gate.server
        is_ours = server.none is None and server.runner == "ordain"
        return is_ours and self._options.to_node in (None, NodeId.SERVER_GATE, NodeId.PUSHER)
