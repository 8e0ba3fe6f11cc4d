"""The pipeline from data to serving directory, built in one place.

    ExampleGen -> StatisticsGen -> SchemaGen -> ExampleValidator -> DataGate
        -> Transform -> (Tuner) -> (BaseModel) -> Trainer -> Baseline -> Evaluator
        -> (Stable) -> (ServerGate) -> Pusher

Both drivers (`ordain.runner.local` here, `kubeflow/pod/entrypoint.py` in a pod) launch the
nodes of the IR that this graph compiles to. ExampleGen, StatisticsGen and ExampleValidator are
launched once for each span of the window (`ordain.pipeline.span_binding`); all nodes after them
take every span's artifacts. If a gate blocks, all nodes behind it are skipped: behind the data
gate, and behind a gate among the project's own nodes (`ordain.pipeline.own_nodes`).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from typing import Any

from tfx.components import Evaluator, ExampleValidator, StatisticsGen, Transform, Tuner
from tfx.dsl.compiler import compiler
from tfx.dsl.components.base import executor_spec
from tfx.dsl.experimental.conditionals import conditional
from tfx.dsl.placeholder import placeholder
from tfx.orchestration import pipeline
from tfx.proto import trainer_pb2
from tfx.types import standard_artifacts

from ordain.common.node_id import NodeId
from ordain.components import statistics_gen
from ordain.components.artifacts.types import OUTCOME_PROPERTY, GateVerdict
from ordain.components.data_gate.component import DataGate
from ordain.components.evaluator import executor as evaluator
from ordain.components.examples import example_gen
from ordain.components.examples.example_gen import ArrowExampleGen, IngestOptions
from ordain.components.pusher.component import Publisher
from ordain.components.schema_gen import CuratedSchema, WindowSchemaGen
from ordain.components.server_gate.component import ServerGate
from ordain.components.trainer.component import Trainer
from ordain.components.transform import executor as transform
from ordain.config.gates import ServerGate as ServerGateConfig
from ordain.config.model import NoBaseline
from ordain.config.project import Project
from ordain.pipeline.cache_key import (
    gate_settings,
    ingest_settings,
    push_settings,
    training_config,
    training_settings,
    transform_config,
)
from ordain.pipeline.eval_config import build_eval_config
from ordain.pipeline.own_components import component_fingerprint
from ordain.pipeline.own_nodes import SOURCE_PROPERTY, OwnNodes
from ordain.pipeline.resolver_nodes import analyzer_cache, published, served_model
from ordain.project.imports import project_on_path
from ordain.serving.registry.label_file import STABLE
from ordain.upstream.tfx import modules_in_place
from ordain.verdict import Outcome


@modules_in_place()
def build(project: Project, newest_span: int, has_cache: bool = True) -> pipeline.Pipeline:
    """Builds a project's pipeline.

    Args:
        project: The project.
        newest_span: Last span of the window.
        has_cache: Whether Transform gets the analyses of earlier runs; without them it analyzes
            every span again, with the same result.

    Raises:
        ConfigError: A metric cannot be computed, or an own node of the project cannot be wired.
    """
    with contextlib.ExitStack() as conditions:
        nodes = _Nodes(project, conditions)
        _add_nodes(project, nodes, newest_span, has_cache)
    _set_executors(project, nodes.all)
    return pipeline.Pipeline(
        pipeline_name=project.name,
        pipeline_root=str(project.artifacts),
        components=nodes.all,
        enable_cache=True,
        # Without ML Metadata's connection: TFX would write the password into the IR.
        beam_pipeline_args=list(project.beam_args),
    )


class _Nodes:
    """Nodes in pipeline order, each followed by the project's own nodes that name it.

    Nodes behind a gate are built under a condition on its verdict.
    """

    def __init__(self, project: Project, conditions: contextlib.ExitStack) -> None:
        self._own = OwnNodes(project)
        self._conditions = conditions
        self._by_id: dict[str, Any] = {}

    @property
    def all(self) -> list[Any]:
        """All nodes."""
        return list(self._by_id.values())

    def add(self, node: Any) -> Any:
        """Adds a node, and the project's own nodes behind it; returns it."""
        self._append(node)
        for placed in self._own.behind(node.id):
            channels = {
                name: self._by_id[source].outputs[output]
                for name, (source, output) in placed.inputs.items()
            }
            made = placed.make(channels)
            made.add_upstream_node(self._by_id[placed.own.after])
            self._append(made)
        return node

    def finish(self) -> None:
        """Refuses own nodes whose `after` is not a node."""
        self._own.finish()

    def _append(self, node: Any) -> None:
        self._by_id[node.id] = node
        for channel in node.outputs.values():
            if channel.type.TYPE_NAME == GateVerdict.TYPE_NAME:
                outcome = channel.future()[0].custom_property(OUTCOME_PROPERTY)
                # What lets pass is named: anything else blocks, and so does no outcome.
                opens = placeholder.logical_or(
                    outcome == str(Outcome.PASSED), outcome == str(Outcome.WARNED)
                )
                self._conditions.enter_context(conditional.Cond(opens))


def _add_nodes(project: Project, nodes: _Nodes, newest_span: int, has_cache: bool) -> None:
    data, train = project.data, project.train
    ingest = nodes.add(
        ArrowExampleGen(
            input_base=str(data.path),
            pattern=data.pattern,
            options=IngestOptions(**ingest_settings(project)),
            splits={"train": data.split.train, "eval": data.split.eval},
            partition_feature=data.split.by,
        ).with_id(NodeId.EXAMPLE_GEN)
    )
    examples = ingest.outputs["examples"]
    statistics = nodes.add(StatisticsGen(examples=examples)).outputs["statistics"]
    if project.schema_file.exists():
        schema_gen = CuratedSchema(project.schema_file)
    else:
        schema_gen = WindowSchemaGen(statistics=statistics)
    schema = nodes.add(schema_gen.with_id(NodeId.SCHEMA_GEN)).outputs["schema"]
    validator = nodes.add(ExampleValidator(statistics=statistics, schema=schema))
    gate = nodes.add(
        DataGate(
            examples=examples,
            statistics=statistics,
            anomalies=validator.outputs["anomalies"],
            schema=schema,
            policy=gate_settings(project),
            training=training_settings(project),
        )
    )

    is_stock = project.is_stock(NodeId.TRANSFORM)
    analyses = nodes.add(analyzer_cache(examples)) if has_cache and not is_stock else None
    module = str(train.module)
    transformer = nodes.add(
        Transform(
            examples=examples,
            schema=schema,
            module_file=module,
            analyzer_cache=analyses.outputs["analyzer_cache"] if analyses else None,
            disable_analyzer_cache=is_stock,  # our executor cannot read the cache of TFX's
            disable_statistics=True,  # the data gate has checked the data already
            custom_config=transform_config(project),
        )
    )
    transformed = {
        "examples": transformer.outputs["transformed_examples"],
        "transform_graph": transformer.outputs["transform_graph"],
        "schema": schema,
    }

    tuner = None
    if project.tune is not None:
        tuner = nodes.add(
            Tuner(
                module_file=module,
                train_args=trainer_pb2.TrainArgs(num_steps=project.tune.steps),
                eval_args=trainer_pb2.EvalArgs(num_steps=project.tune.eval_steps),
                custom_config=training_config(project),
                **transformed,
            )
        )
    start = None
    if train.base_model == "served":
        start = nodes.add(served_model(project, transformed))
    training = nodes.add(
        Trainer(
            raw_examples=examples,
            module_file=module,
            train_steps=train.steps,
            eval_steps=train.eval_steps,
            custom_config=training_config(project),
            hyperparameters=tuner.outputs["best_hyperparameters"] if tuner else None,
            base_model=start.outputs["model"] if start else None,
            **transformed,
        )
    )
    model = training.outputs["model"]

    baseline = None
    if not isinstance(project.evaluate.baseline, NoBaseline):
        rule, blessing = str(project.evaluate.baseline), standard_artifacts.ModelBlessing
        baseline = nodes.add(published(NodeId.BASELINE, project, model, rule, blessing))
    evaluation = nodes.add(
        Evaluator(
            examples=examples,
            model=model,
            baseline_model=baseline.outputs["model"] if baseline else None,
            schema=schema,
            eval_config=build_eval_config(project, newest_span),
        )
    )

    allowed = {}
    if project.gate.server.none is None:
        stable = None
        if project.gate.server.compares_signatures:
            # The version whose signatures the candidate must keep; InfraValidator compares none.
            stable = baseline
            if project.evaluate.baseline != STABLE:
                blessing = standard_artifacts.InfraBlessing
                stable = nodes.add(published(NodeId.STABLE, project, model, STABLE, blessing))
        server = _server_gate(project.gate.server, model, examples, stable)
        # It has no input from the evaluation, so TFX would run it before.
        server.add_upstream_node(evaluation)
        allowed = {"infra_blessing": nodes.add(server).outputs["blessing"]}

    nodes.add(
        Publisher(
            base=project.push_base,
            settings=push_settings(project),
            model=model,
            model_blessing=evaluation.outputs["blessing"],
            examples=examples,
            schema=schema,
            evaluation=evaluation.outputs["evaluation"],
            data_verdict=gate.outputs["verdict"],
            **allowed,
        ).with_id(NodeId.PUSHER)
    )
    nodes.finish()


def _set_executors(project: Project, components: Iterable[Any]) -> None:
    """Sets our executors, or TFX's for the nodes in `executors`."""
    ours: dict[str, Any] = {
        NodeId.EXAMPLE_GEN: example_gen.Executor,
        NodeId.STATISTICS_GEN: statistics_gen.Executor,
        NodeId.TRANSFORM: transform.Executor,
        NodeId.EVALUATOR: evaluator.Executor,
    }
    if "tfx" in project.executors.values():
        from ordain.components import tfx_executors  # noqa: PLC0415  imports more of TFX

        theirs: dict[str, Any] = {
            NodeId.EXAMPLE_GEN: tfx_executors.EXAMPLE_GENS.get(project.data.format or ""),
            NodeId.STATISTICS_GEN: StatisticsGen.EXECUTOR_SPEC.executor_class,
            NodeId.TRANSFORM: tfx_executors.Transform,
            NodeId.EVALUATOR: tfx_executors.Evaluator,
        }
        ours |= {name: theirs[name] for name, who in project.executors.items() if who == "tfx"}
    for component in components:
        if component.id in ours:
            component.executor_spec = executor_spec.BeamExecutorSpec(ours[component.id])


def _server_gate(config: ServerGateConfig, model: Any, examples: Any, stable: Any) -> Any:
    """The last gate: ServerGate with our own server, or TFX's InfraValidator."""
    if config.runner == "ordain":
        return ServerGate(model, examples, stable.outputs["model"], config.policy)
    from ordain.components.server_gate.infra_validator import infra_validator  # noqa: PLC0415  brings Kubernetes

    is_on_kubernetes = config.runner == "kubernetes"
    seconds = math.ceil(config.max_load_s)
    return infra_validator(model, config.image_tag, is_on_kubernetes, seconds)


def compile_ir(project: Project, newest_span: int) -> Any:
    """The pipeline as TFX's intermediate representation (`pipeline_pb2.Pipeline`)."""
    with project_on_path(project.folder):  # TFX imports an own component's executor by its name
        ir = compiler.Compiler().compile(build(project, newest_span))
    own = {node.id: node for node in project.nodes}
    for node in (entry.pipeline_node for entry in ir.nodes):
        if node.node_info.id in own:
            # TFX's cache key has only a component's name, not its source.
            source = node.parameters.parameters[SOURCE_PROPERTY].field_value
            source.string_value = component_fingerprint(project, own[node.node_info.id])
    return ir
