"""Past runs and their results, as far as the retraining decision needs them.

Runs are read lazily from ML Metadata, newest first. The kind of error that ended a run is not
recorded there; it is read from the run's `result.json`, which a killed run does not have.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as pb

from ordain.common.json_files import read_json
from ordain.common.node_id import NodeId
from ordain.errors import ExitCode
from ordain.history.runs import History, Output, state_of, verdict_of
from ordain.pipeline.own_nodes import SOURCE_PROPERTY
from ordain.retraining.types import Attempt, Distance, State
from ordain.verdict import Outcome, Verdict

_GATES = {
    NodeId.DATA_GATE: "data",
    NodeId.EVALUATOR: "evaluation",
    NodeId.SERVER_GATE: "server",
}
#: Classes of components whose nodes have another id; TFX names the types of executions by class.
_CURATED = "CuratedSchema"
_NODES = {
    "ArrowExampleGen": NodeId.EXAMPLE_GEN,
    _CURATED: NodeId.SCHEMA_GEN,
    "WindowSchemaGen": NodeId.SCHEMA_GEN,
    "InfraValidator": NodeId.SERVER_GATE,
    "Publisher": NodeId.PUSHER,
}
#: In place of a node's id: nodes of the project's own.
_OWN = "own nodes"
#: Kinds of blocking reasons that concern two spans, not only the one they name.
_BETWEEN_SPANS = ("drift", "skew")


def read_attempts(history: History, runs: Path) -> Iterator[Attempt]:
    """Yields the runs of a project, newest first, each read when it is consumed.

    Args:
        history: The project's past runs.
        runs: Folder with one folder per run.
    """
    for run in history.list_runs():
        context = history.store.get_context_by_type_and_name("pipeline_run", run.id)
        executions = [] if context is None else history.store.get_executions_by_context(context.id)
        yield _read(history, runs, run.id, run.started_ms / 1000, executions)


def _read(
    history: History, runs: Path, run_id: str, started: float, executions: list[Any]
) -> Attempt:
    by_node: dict[str, list[Any]] = {}
    for execution in executions:
        # By type: the node's context would be one more query for each execution.
        name = execution.type.rpartition(".")[2]
        # An own node may be of a component that the pipeline has, too.
        is_own = SOURCE_PROPERTY in execution.custom_properties
        by_node.setdefault(_OWN if is_own else _NODES.get(name, name), []).append(execution)
    outputs = history.outputs_of([e.id for e in executions])

    def outputs_of(*nodes: str) -> list[Output]:
        return [o for n in nodes for e in by_node.get(n, []) for o in outputs.get(e.id, [])]

    ended = [e.last_update_time_since_epoch / 1000 for e in executions]
    known = [_verdict(gate, o) for node, gate in _GATES.items() for o in outputs_of(node)]
    verdicts = [verdict for verdict in known if verdict is not None]
    seen = {output.id for node in _GATES for output in outputs_of(node)}
    own = [o for o in outputs_of(*by_node) if o.type == "GateVerdict" and o.id not in seen]
    own_blocked = any(o.properties.get("outcome") == Outcome.BLOCKED for o in own)
    failure = _failure(runs / run_id)
    state = _state(
        outputs_of(NodeId.PUSHER), outputs_of(NodeId.EVALUATOR), verdicts, failure, own_blocked
    )
    reading = _reading(by_node.get(NodeId.EXAMPLE_GEN, [])) if state is State.UNREADABLE else None
    gate = _property(by_node, NodeId.DATA_GATE, "policy")
    blocked = [v for v in verdicts if v.gate == "data" and v.is_blocked]
    return Attempt(
        run_id=run_id,
        started=started,
        ended=max([started, *ended]),
        state=state,
        spans={
            int(o.properties["span"]): str(o.properties.get("input_fingerprint", ""))
            for o in outputs_of(NodeId.EXAMPLE_GEN)
            if "span" in o.properties
        },
        schema=_schema(by_node),
        source=(_property(by_node, NodeId.TRANSFORM, "custom_config") or {}).get(
            "source_fingerprint"
        ),
        gate=gate,
        unreadable=reading,
        bad=_bad_spans(blocked),
        distances=_distances(verdicts),
    )


def _state(
    pushed: list[Output],
    evaluated: list[Output],
    verdicts: list[Verdict],
    failure: tuple[str, int] | None,
    own_blocked: bool,
) -> State:
    """Returns the first state that applies; a killed run has no `result.json`."""
    if any(output.properties.get("pushed") == 1 for output in pushed):
        return State.PUBLISHED
    blocked = {verdict.gate for verdict in verdicts if verdict.is_blocked}
    if "data" in blocked:
        return State.BLOCKED
    if own_blocked or any(output.properties.get("blessed") == 0 for output in evaluated):
        return State.NOT_BLESSED
    if "server" in blocked:
        return State.REFUSED
    if failure is None:
        return State.UNFINISHED
    node, code = failure
    is_reading = node.startswith(NodeId.EXAMPLE_GEN) and code == ExitCode.DATA_BLOCKED
    return State.UNREADABLE if is_reading else State.FAILED


def _verdict(gate: str, output: Output) -> Verdict | None:
    """Returns the verdict of an output; without reasons if `ordain gc` removed them."""
    try:
        return verdict_of([output])
    except OSError:
        return Verdict(gate, Outcome(output.properties["outcome"]))


def _failure(folder: Path) -> tuple[str, int] | None:
    """Returns node and exit code of the error that ended a run; None without one."""
    try:
        failure = (read_json(folder / "result.json") or {})["failure"]
        return None if failure is None else (str(failure["node"]), int(failure["exit_code"]))
    except (ValueError, KeyError, TypeError):
        return None


def _reading(executions: list[Any]) -> tuple[int, float, Mapping[str, Any]] | None:
    """Returns the span that ExampleGen failed on, its start time, and its settings."""
    failed = [e for e in executions if state_of(e) not in ("complete", "cached")]
    if not failed:
        return None
    last = max(failed, key=lambda execution: execution.id)
    wanted = _json(last, "range_config") or {}
    options = (_json(last, "custom_config") or {}).get("custom_config", {}).get("value", "{}")
    span = int(wanted.get("static_range", {}).get("start_span_number", 0))
    return span, last.create_time_since_epoch / 1000, json.loads(options)


def _schema(by_node: Mapping[str, list[Any]]) -> str | None:
    for execution in by_node.get(NodeId.SCHEMA_GEN, []):
        if execution.type.endswith(f".{_CURATED}"):
            return str(execution.custom_properties["schema_fingerprint"].string_value)
        return ""
    return None


def _property(by_node: Mapping[str, list[Any]], node: str, name: str) -> dict[str, Any] | None:
    found = by_node.get(node, [])
    return _json(found[0], name) if found else None


def _json(execution: pb.Execution, name: str) -> dict[str, Any] | None:
    text = execution.custom_properties[name].string_value
    try:
        raw = json.loads(text)
    except ValueError:
        return None
    return raw if isinstance(raw, dict) else None


def _bad_spans(blocked: list[Verdict]) -> tuple[int, ...]:
    """Returns the spans that block every window that contains them."""
    found = {
        reason.span
        for verdict in blocked
        for reason in verdict.reasons
        if reason.outcome is Outcome.BLOCKED and reason.kind not in _BETWEEN_SPANS
    }
    return tuple(sorted(span for span in found if span is not None))


def _distances(verdicts: list[Verdict]) -> tuple[Distance, ...]:
    return tuple(
        Distance(reason.span, reason.where, reason.text, reason.measured)
        for verdict in verdicts
        for reason in verdict.reasons
        if reason.kind == "drift" and reason.span is not None and reason.measured is not None
    )
