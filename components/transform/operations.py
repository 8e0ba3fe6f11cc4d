"""TFT's operations on accumulated values, in memory.

A PCollection is a list here. These operations merge accumulators, compute the analyzers' outputs
and write vocabularies; streams of batches and accumulation are in `data_pass.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from ordain.components.transform import tft_internals, vocabulary
from ordain.components.transform.data_pass import KeyedCombine

_beam_nodes = tft_internals.beam_nodes
_nodes = tft_internals.analyzer_nodes


@dataclass(frozen=True)
class Context:
    """State shared by the operations of one analysis.

    Attributes:
        traced: The traced `preprocessing_fn`.
        temporary: Folder for SavedModels and vocabularies until the graph is published.
        cached: Encoded cache entries by dataset and key.
    """

    traced: tft_internals.Trace
    temporary: str
    cached: Mapping[tuple[str, bytes], list[bytes]]


#: Elements of an operation's inputs or outputs, a list for each.
Elements = tuple[list[Any], ...]


def is_known(operation: Any) -> bool:
    """True for an operation that `evaluate` supports."""
    return type(operation) in _OPERATIONS


def evaluate(operation: Any, inputs: Elements, context: Context) -> Elements:
    """Evaluates one operation.

    Args:
        operation: TFT's `OperationDef`.
        inputs: The elements of each input.
        context: The state of the analysis.

    Returns:
        The elements of each output.
    """
    return _OPERATIONS[type(operation)](operation, inputs, context)


def _each(function: Callable[[Any, Any], Any]) -> Callable[[Any, Elements, Context], Elements]:
    """An operation on each element of one input."""

    def run(operation: Any, inputs: Elements, context: Context) -> Elements:
        del context
        (elements,) = inputs
        return ([function(operation, element) for element in elements],)

    return run


def _all(function: Callable[[Any, list[Any]], Any]) -> Callable[[Any, Elements, Context], Elements]:
    """An operation on all elements of one input at once, with a list as its output."""

    def run(operation: Any, inputs: Elements, context: Context) -> Elements:
        del context
        (elements,) = inputs
        return (function(operation, elements),)

    return run


def _merge(combine: Any, elements: list[Any]) -> Any:
    state = combine.create_accumulator()
    for element in elements:
        state = combine.add_input(state, element)
    return combine.extract_output(combine.compact(state))


def _merge_combine(operation: Any, elements: list[Any]) -> list[Any]:
    combine = tft_internals.CombinerWrapper(operation.combiner, is_combining_accumulators=True)
    return [_merge(combine, elements)]


def _merge_packed(operation: Any, elements: list[Any]) -> list[Any]:
    combine = tft_internals.PackedCombinerWrapper(
        operation.combiners, is_combining_accumulators=True
    )
    return [_merge(combine, elements)]


def _merge_per_key(operation: Any, elements: list[Any]) -> list[Any]:
    combine = tft_internals.CombinerWrapper(operation.combiner, is_combining_accumulators=True)
    return KeyedCombine(combine).add(elements).outputs()


def _extract(operation: Any, inputs: Elements, context: Context) -> Elements:
    del context
    ((outputs,),) = inputs
    if len(outputs) != operation.num_outputs:
        raise ValueError(
            f"{operation.label}: {len(outputs)} outputs, {operation.num_outputs} expected"
        )
    return tuple([output] for output in outputs)


def _format_keys(operation: Any, inputs: Elements, context: Context) -> Elements:
    del context
    (elements,) = inputs
    types = [info.dtype for info in operation.combiner.output_tensor_infos()]
    outputs = {
        output.tag: output.value for output in tft_internals.merge_outputs_by_key(elements, types)
    }
    return tuple([outputs[tag]] for tag in ("key", *map(str, range(len(types)))))


def _format_large(operation: Any, element: Any) -> Any:
    del operation
    key, values = element
    text = tf.compat.as_str_any
    return text(",".join(map(text, values))), key


def _scale_boundaries(operation: Any, inputs: Elements, context: Context) -> Elements:
    del operation, context
    ((boundaries,),) = inputs
    return tuple([output] for output in tft_internals.join_boundary_rows(boundaries))


def _order_and_write(operation: Any, inputs: Elements, context: Context) -> Elements:
    counts, *reserved = inputs
    path = vocabulary.order_and_write(
        operation, counts, list(itertools.chain(*reserved)), context.temporary
    )
    return ([path],)


def _reserved_tokens(operation: Any, inputs: Elements, context: Context) -> Elements:
    del inputs
    return ([[tft_internals.reserved_tokens(context.traced, operation.name)]],)


def _decode(operation: Any, inputs: Elements, context: Context) -> Elements:
    del inputs
    values = context.cached[(operation.dataset_key.key, operation.cache_key)]
    return ([operation.coder.decode_cache(value) for value in values],)


def _bind(operation: Any, inputs: Elements, context: Context) -> Elements:
    del context
    ((value,),) = inputs
    binding = tft_internals.TensorBinding(
        value, operation.tensor_name, operation.dtype_enum, operation.is_asset_filepath
    )
    return ([binding],)


def _create_saved_model(operation: Any, inputs: Elements, context: Context) -> Elements:
    bindings = [binding for (binding,) in inputs]
    return (
        [
            tft_internals.create_saved_model(
                context.traced, bindings, operation.output_signature, context.temporary
            )
        ],
    )


_OPERATIONS: dict[type, Callable[[Any, Elements, Context], Elements]] = {
    _beam_nodes.CreateSavedModel: _create_saved_model,
    _beam_nodes.CreateTensorBinding: _bind,
    _beam_nodes.ExtractFromDict: _each(
        # One key, as after packed combiners; several occur only after an applied SavedModel.
        lambda operation, element: element[operation.keys]
    ),
    _beam_nodes.Flatten: lambda _, inputs, __: ([*itertools.chain(*inputs)],),
    _nodes.AddKey: _each(lambda operation, element: (operation.key, element)),
    _nodes.CacheableCombineMerge: _all(_merge_combine),
    _nodes.CacheableCombinePerKeyFormatKeys: _format_keys,
    _nodes.CacheableCombinePerKeyFormatLarge: _each(_format_large),
    _nodes.CacheableCombinePerKeyMerge: _all(_merge_per_key),
    _nodes.DecodeCache: _decode,
    _nodes.EncodeCache: _each(lambda operation, element: operation.coder.encode_cache(element)),
    _nodes.ExtractCombineMergeOutputs: _extract,
    _nodes.ExtractPackedCombineMergeOutputs: _extract,
    _nodes.ExtractVocabularyReservedTokens: _reserved_tokens,
    _nodes.FlattenLists: _all(lambda _, elements: [*itertools.chain(*elements)]),
    _nodes.PackedCombineMerge: _all(_merge_packed),
    _nodes.ScaleAndFlattenPerKeyBucketBouandaries: _scale_boundaries,
    _nodes.VocabularyCount: _all(lambda _, counts: [vocabulary.count(counts)]),
    _nodes.VocabularyMerge: _all(vocabulary.merge),
    _nodes.VocabularyOrderAndWrite: _order_and_write,
    _nodes.VocabularyPrune: _all(vocabulary.prune),
}
