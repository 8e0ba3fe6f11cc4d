"""TensorFlow Transform's private API as far as this package uses it.

TFT compiles a `preprocessing_fn` into a graph of operations (`OperationDef`) and then makes a few
Beam stages of each operation, analyzer and span. This package evaluates the same operation graph
without those stages; an operation's computation stays TFT's own code. Written for TFT 1.21;
`tests/integration/test_transform_parity.py` compares the results with TFT's after an upgrade.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_transform import analyzer_nodes as _analyzer_nodes
from tensorflow_transform import (
    analyzers,
    annotators,
    graph_tools,
    impl_helper,
    tf2_utils,
    tf_utils,
)
from tensorflow_transform import nodes as _nodes
from tensorflow_transform.beam import analysis_graph_builder, analyzer_impls, impl
from tensorflow_transform.beam import beam_nodes as _beam_nodes
from tensorflow_transform.beam.tft_beam_io import transform_fn_io
from tensorflow_transform.tf_metadata import metadata_io
from tfx.dsl.io import fileio

# The operations and their graph.
analyzer_nodes, beam_nodes, nodes = _analyzer_nodes, _beam_nodes, _nodes
# How an analyzer accumulates and merges, on batches of numpy arrays.
CombinerWrapper = analyzer_impls._CombinerWrapper
PackedCombinerWrapper = analyzer_impls._PackedCombinerWrapper
WeightedMeanCombineFn = analyzer_impls._WeightedMeanCombineFn
split_inputs_by_key = analyzer_impls._split_inputs_by_key
merge_outputs_by_key = analyzer_impls._merge_outputs_by_key
join_boundary_rows = analyzer_impls._join_boundary_rows
# Vocabularies.
GLOBAL_Y_COUNT_SENTINEL_INT = tf_utils.GLOBAL_Y_COUNT_SENTINEL_INT
GLOBAL_Y_COUNT_SENTINEL_STRING = tf_utils.GLOBAL_Y_COUNT_SENTINEL_STRING
OrderElementsFn = analyzer_impls._OrderElementsFn
VocabOrderingType = analyzers._VocabOrderingType
empty_vocabulary_dummy = analyzer_impls.maybe_add_empty_vocabulary_dummy
key_and_means = analyzer_impls._flatten_to_key_and_means_accumulator_list
mutual_information = analyzer_impls._calculate_mutual_information_for_feature_value
recommended_min_diff_from_avg = analyzers.calculate_recommended_min_diff_from_avg
values_and_weights = analyzer_impls._flatten_value_and_weights_to_list_of_tuples
# Applying the graph of a phase to record batches, and putting results into the graph.
RunMetaGraphDoFn = impl._RunMetaGraphDoFn
TensorBinding = impl._TensorBinding


@dataclass(frozen=True)
class Trace:
    """A `preprocessing_fn`, traced.

    Attributes:
        function: The function itself; TFT traces it again for each SavedModel.
        specs: Type specs of its inputs.
        graph: Its graph.
        inputs: The graph's inputs by name.
        outputs: The graph's outputs by name.
        assets: File name of each asset by its key, for the transformed metadata.
        fingerprint: TFT compares later traces with it.
        columns: The inputs that analyzers need.
    """

    function: Any
    specs: Mapping[str, Any]
    graph: Any
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    assets: Mapping[str, str]
    fingerprint: Mapping[str, Any]
    columns: list[str]


def trace(function: Any, specs: Mapping[str, Any], temporary: str) -> Trace | None:
    """Traces a `preprocessing_fn`, as `AnalyzeDataset` does.

    Args:
        function: The project's `preprocessing_fn`.
        specs: Type specs of the raw features.
        temporary: Folder for the dummy assets that tracing writes.

    Returns:
        None for a function that TFT refuses (no outputs, trainable variables) or runs as TF 1:
        its own analysis reports that better.
    """
    if tf2_utils.use_tf_compat_v1(False):
        return None
    graph, inputs, outputs = impl_helper.trace_preprocessing_function(
        function, specs, use_tf_compat_v1=False, base_temp_dir=temporary
    )
    trainable = graph.get_collection(tf.compat.v1.GraphKeys.TRAINABLE_VARIABLES)
    if not isinstance(outputs, dict) or not outputs or trainable:
        return None
    assets = annotators.get_asset_annotations(graph)
    annotators.clear_asset_annotations(graph)
    return Trace(
        function=function,
        specs=specs,
        graph=graph,
        inputs=inputs,
        outputs=outputs,
        assets=assets,
        fingerprint=graph_tools.get_analyzers_fingerprint(graph, inputs),
        columns=sorted(_analyzed_columns(graph, inputs, outputs)),
    )


def _analyzed_columns(graph: Any, inputs: Any, outputs: Any) -> list[str]:
    """`tft.get_analyze_input_columns` on a graph already traced.

    Another trace takes a second or two, and its lookup tables may have the names of the first one's
    with other types, which TensorFlow refuses.
    """
    visitor = graph_tools.SourcedTensorsVisitor()
    for sink in graph.get_collection(analyzer_nodes.TENSOR_REPLACEMENTS):
        nodes.Traverser(visitor).visit_value_node(sink.future)
    _, control = tf2_utils.strip_and_get_tensors_and_control_dependencies(
        tf.nest.flatten(outputs, expand_composites=True)
    )
    needed = [*visitor.sourced_tensors, *control]
    return list(graph_tools.get_dependent_inputs(graph, inputs, needed))


def build_graph(traced: Trace, datasets: Any, cached: Any) -> tuple[Any, Mapping[Any, Any]]:
    """Compiles a trace into TFT's operation graph; a trace can be compiled only once.

    Args:
        traced: What `trace` returned.
        datasets: A `DatasetKey` for each span.
        cached: Known cache entries by `DatasetKey`; only their presence matters.

    Returns:
        The node of the finished SavedModel; the nodes of new cache entries, by dataset and key.
    """
    future, entries, _ = analysis_graph_builder.build(
        traced.graph, traced.inputs, traced.outputs, datasets, cached
    )
    return future, entries or {}


def reserved_tokens(traced: Trace, name: str) -> Any:
    """Reserved tokens of a vocabulary, from the trace."""
    return tf_utils.fetch_vocabulary_reserved_tokens(traced.graph, name)


def create_saved_model(traced: Trace, bindings: Any, outputs: Mapping[str, Any], base: str) -> str:
    """Writes the SavedModel of a phase, or the finished one; returns its folder.

    Args:
        traced: What `trace` returned.
        bindings: A `TensorBinding` for each analyzer output known so far.
        outputs: The tensors that the next phase's analyzers read; the final outputs otherwise.
        base: Folder to make the SavedModel's folder in.
    """
    # The finished model outputs what the function returns; its signature may be composite.
    only_tensors = all(isinstance(value, tf.Tensor) for value in outputs.values())
    return impl._create_v2_saved_model(
        impl._get_tensor_replacement_map(None, *bindings),
        base,
        traced.function,
        traced.specs,
        traced.fingerprint,
        {key: value.name for key, value in outputs.items()} if only_tensors else {},
        None,
    )


def publish(saved_model: str, assets: Mapping[str, str], folder: str) -> None:
    """Writes `transform_fn` and `transformed_metadata` as `WriteTransformFn` does.

    Args:
        saved_model: Folder of the finished SavedModel.
        assets: File name of each asset by its key.
        folder: The TransformGraph artifact's folder.
    """
    metadata = metadata_io.read_metadata(f"{saved_model}/{impl_helper.METADATA_DIR_NAME}")
    metadata_folder = f"{folder}/{tft.TFTransformOutput.TRANSFORMED_METADATA_DIR}"
    metadata_io.write_metadata(metadata, metadata_folder)
    if assets:
        with fileio.open(f"{metadata_folder}/{tft.TFTransformOutput.ASSET_MAP}", "w") as file:
            file.write(json.dumps(assets))
    transform_fn_io._copy_tree(saved_model, f"{folder}/{tft.TFTransformOutput.TRANSFORM_FN_DIR}")
