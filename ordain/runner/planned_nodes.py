"""Descriptions of the nodes of a planned run, one line each."""

from __future__ import annotations

from ordain.common.node_id import NodeId
from ordain.config.gates import ServerGate
from ordain.config.model import NoBaseline
from ordain.config.project import Project
from ordain.pipeline.own_nodes import OwnNodes
from ordain.project.spans import describe_span
from ordain.runner.preflight import Plan
from ordain.serving.registry.label_file import STABLE


def planned_nodes(project: Project, plan: Plan) -> list[tuple[str, str]]:
    """Lists the nodes, each with what it will do in this project."""
    data, evaluate = project.data, project.evaluate
    size = sum(s.size_bytes for s in plan.window) / 1e6
    first, last = (describe_span(plan.window[i].number, data) for i in (0, -1))
    count = len(plan.window)
    by = f"by hash of {data.split.by}" if data.split.by else "by hash of the row"
    has_schema = project.schema_file.exists()
    drift = project.gate.drift
    kept = "" if project.is_stock(NodeId.TRANSFORM) else "; analyzer cache per span"
    by_span = "" if project.is_stock(NodeId.EVALUATOR) else " and each span"
    limits = []
    for name, threshold in evaluate.thresholds.items():
        for kind in ("min", "max", "max_drop", "max_rise"):
            value = getattr(threshold, kind)
            limits += [f"{name}.{kind} {value:g}"] if value is not None else []
    baseline = evaluate.baseline
    against = f"version {baseline}"
    if isinstance(baseline, NoBaseline):
        against = "none"
    elif isinstance(baseline, str):
        against = {"stable": "the stable version", "latest": "the newest version"}[baseline]
    nodes: list[tuple[str, str]] = [
        (
            NodeId.EXAMPLE_GEN,
            f"{count} span(s), {first} to {last}, {size:.1f} MB, "
            f"split {data.split.train}:{data.split.eval} {by}",
        ),
        (NodeId.STATISTICS_GEN, "each span once"),
        (
            NodeId.SCHEMA_GEN,
            f"{project.schema_file.name}" if has_schema else "inferred from the window",
        ),
        (NodeId.EXAMPLE_VALIDATOR, "each span against the schema"),
        (
            NodeId.DATA_GATE,
            f"label {data.label!r}; drift: numeric {drift.numeric}, "
            f"categorical {drift.categorical} ({drift.policy})",
        ),
        (NodeId.TRANSFORM, f"preprocessing_fn of {project.train.module.name}{kept}"),
    ]
    if project.tune is not None:
        nodes.append((NodeId.TUNER, f"tuner_fn of {project.train.module.name}"))
    if project.train.base_model is not None:
        nodes.append((NodeId.BASE_MODEL, "the stable version"))
    nodes += [
        (NodeId.TRAINER, f"run_fn of {project.train.module.name}, {project.train.steps} steps"),
        (NodeId.BASELINE, against),
        (NodeId.EVALUATOR, f"{', '.join(limits)}; {len(evaluate.slices)} slice key(s){by_span}"),
    ]
    server = project.gate.server
    if server.compares_signatures and evaluate.baseline != STABLE:
        nodes.append((NodeId.STABLE, "the stable version, whose signatures must stay compatible"))
    if server.none is None:
        nodes.append((NodeId.SERVER_GATE, _server_gate(server)))
    nodes.append((NodeId.PUSHER, f"{project.serving}"))
    nodes = _with_own_nodes(project, nodes)
    stock = {name for name, origin in project.executors.items() if origin == "tfx"}
    return [(name, f"{does} (TFX's executor)" if name in stock else does) for name, does in nodes]


def _with_own_nodes(project: Project, nodes: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Inserts the project's own nodes in their places."""
    if not project.nodes:
        return nodes
    own, found = OwnNodes(project), []
    for name, does in nodes:
        found.append((name, does))
        for placed in own.behind(name):
            inputs = ", ".join(f"{key}: {'.'.join(it)}" for key, it in placed.inputs.items())
            gate = ", a gate" if placed.is_gate else ""
            found.append((placed.own.id, f"{placed.own.component}{gate}; {inputs or 'no input'}"))
    return found


def _server_gate(server: ServerGate) -> str:
    """Describes the server gate in one line."""
    if server.runner != "ordain":
        where = "in docker" if server.runner == "tensorflow_serving_docker" else "in Kubernetes"
        return f"TensorFlow Serving {where} has to load it within {server.max_load_s:g} s"
    return (
        f"{server.requests} rows through REST and gRPC; size {server.max_size_mb:g} MB, memory "
        f"{server.max_memory_mb:g} MB, load {server.max_load_s:g} s, p99 {server.max_p99_ms:g} ms"
    )
