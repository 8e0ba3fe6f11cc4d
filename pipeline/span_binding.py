"""Binds the pipeline's IR to one run: run id, cache, and the spans of the window.

A per-span node is launched once for each span in the same pipeline run, with a context of its own
(type `span`). TFX distinguishes executions of a node by their contexts, so each span is resolved,
cached and retried separately; a later node that takes the outputs of StatisticsGen in this run gets
the artifacts of all spans.
"""

from __future__ import annotations

import copy
from typing import Any

from tfx.dsl.compiler import constants
from tfx.orchestration.portable import runtime_parameter_utils
from tfx.proto import range_config_pb2
from tfx.utils import proto_utils

from ordain.common.node_id import NodeId

SPAN_CONTEXT_TYPE = "span"
#: Nodes launched once per span; all others take the whole window.
PER_SPAN = (NodeId.EXAMPLE_GEN, NodeId.STATISTICS_GEN, NodeId.EXAMPLE_VALIDATOR)


def bind_run(ir: Any, run_id: str, enable_cache: bool = True) -> Any:
    """Copies the IR for one run; with `enable_cache` False every node executes."""
    bound = copy.deepcopy(ir)
    runtime_parameter_utils.substitute_runtime_parameter(
        bound, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id}
    )
    if not enable_cache:
        for node in bound.nodes:
            disable_cache(node.pipeline_node)
    return bound


def disable_cache(node: Any) -> None:
    """Makes a node execute even if it has run on these inputs before."""
    node.execution_options.caching_options.enable_cache = False


def bind_span(node: Any, pipeline_name: str, span: int, has_spans: bool) -> Any:
    """Copies a per-span node for one span.

    Args:
        node: The `PipelineNode`.
        pipeline_name: Name of the pipeline, as prefix of the context.
        span: The span.
        has_spans: Whether the data's pattern has spans; if not, ExampleGen reads all files.
    """
    bound = copy.deepcopy(node)
    name = f"{pipeline_name}.span-{span}"
    context = bound.contexts.contexts.add()
    context.type.name = SPAN_CONTEXT_TYPE
    context.name.field_value.string_value = name
    for spec in bound.inputs.inputs.values():
        for channel in spec.channels:
            if channel.producer_node_query.id in PER_SPAN:
                query = channel.context_queries.add()
                query.type.name = SPAN_CONTEXT_TYPE
                query.name.field_value.string_value = name
    if bound.node_info.id == NodeId.EXAMPLE_GEN and has_spans:
        one = range_config_pb2.StaticRange(start_span_number=span, end_span_number=span)
        text = proto_utils.proto_to_json(range_config_pb2.RangeConfig(static_range=one))
        bound.parameters.parameters["range_config"].field_value.string_value = text
    return bound
