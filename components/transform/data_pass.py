"""One pass over the data: streams a span's batches through the graph of a phase.

The graph's outputs go straight into the analyzers' accumulators, in one loop; TFT's own Beam graph
has several stages for each analyzer and span instead.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.utils import shared
from tfx.dsl.io import fileio

from ordain.common.commit import Staging
from ordain.components.beam.prefetch import prefetch
from ordain.components.examples.reader import tfxio_for
from ordain.components.transform import tft_internals

_nodes = tft_internals.analyzer_nodes
_Ordering = tft_internals.VocabOrderingType


@dataclass(frozen=True)
class Accumulation:
    """An accumulating operation of TFT's graph, in a picklable form.

    Attributes:
        kind: The operation's class.
        label: Its label.
        keys: The graph outputs it takes; None if it selects them itself.
        detail: Its combiner or combiners, or the vocabulary's ordering.
    """

    kind: type
    label: str
    keys: tuple[str, ...] | None
    detail: Any

    @classmethod
    def of(cls, operation: Any, keys: tuple[str, ...] | None) -> Accumulation:
        """Describes an operation for which `is_accumulation` is true."""
        (detail,) = (
            getattr(operation, name)
            for name in ("combiner", "combiners", "vocab_ordering_type")
            if name in operation._fields
        )
        return cls(type(operation), operation.label, keys, detail)


#: Accumulated elements, as TFT's operation would have emitted them, by the operation's label.
Accumulated = dict[str, list[Any]]
#: The accumulations of a pass, by dataset.
Pass = Mapping[str, list[Accumulation]]
#: Takes elements through a DoFn (`ordain.components.beam.executor`).
Spread = Callable[[beam.DoFn, Sequence[Any], Staging], list[Any]]


def is_accumulation(operation: Any) -> bool:
    """True for an operation that this module can accumulate."""
    if isinstance(operation, _nodes.VocabularyAccumulate):
        # Only `vocab_map`, which is not public in TFT, uses weighted labels.
        return bool(operation.vocab_ordering_type != _Ordering.WEIGHTED_LABELS)
    return isinstance(
        operation,
        (
            _nodes.CacheableCombineAccumulate,
            _nodes.PackedCombineAccumulate,
            _nodes.CacheableCombinePerKeyAccumulate,
        ),
    )


class AccumulateDataset(beam.DoFn):
    """Accumulates whole datasets; writes a file for each attempt.

    Args:
        saved_model: SavedModel of the phase.
        schema: Schema of the examples.
        columns: The columns that the analyzers need.
        work: The accumulations by dataset.
        staging: The execution's temporary folder.
    """

    def __init__(
        self, saved_model: str, schema: Any, columns: list[str], work: Pass, staging: Staging
    ) -> None:
        self._saved_model = saved_model
        self._work = dict(work)
        self._schema = schema
        self._columns = columns
        self._staging = staging
        self._graph = shared.Shared()

    def process(self, element: tuple[str, str]) -> Iterator[str]:
        """Accumulates one dataset.

        Args:
            element: Name of the dataset, folder of its examples.

        Yields:
            The path of the file with the results.
        """
        name, source = element
        tfxio = tfxio_for(source, self._schema, self._columns)
        apply = tft_internals.RunMetaGraphDoFn(
            tf_config=None,
            shared_graph_state_handle=self._graph,
            passthrough_keys=(),
            use_tf_compat_v1=False,
            input_tensor_adapter_config=tfxio.TensorAdapterConfig(),
        )
        apply.setup()
        states = [_State.of(accumulation) for accumulation in self._work[name]]
        for batch in prefetch(tfxio.batches()):
            (tensors,) = apply.process(batch, self._saved_model)
            values = {
                key: np.asarray(value) if isinstance(value, tf.Tensor) else value
                for key, value in tensors.items()
            }
            for state in states:
                state.add(values)
        accumulated = {state.label: list(state.elements()) for state in states}
        target = self._staging.new_path(".pickle")
        with fileio.open(target, "wb") as file:
            file.write(pickle.dumps(accumulated))
        yield target


class KeyedCombine:
    """`beam.CombinePerKey`, in memory."""

    def __init__(self, combine: Any) -> None:
        """Takes a `beam.CombineFn`."""
        self._combine = combine
        self._states: dict[Any, Any] = {}

    def add(self, pairs: Iterable[tuple[Any, Any]]) -> KeyedCombine:
        """Adds (key, value) pairs."""
        states, combine = self._states, self._combine
        for key, value in pairs:
            state = states[key] if key in states else combine.create_accumulator()
            states[key] = combine.add_input(state, value)
        return self

    def outputs(self) -> list[tuple[Any, Any]]:
        """Each key with its combined output."""
        combine = self._combine
        return [
            (key, combine.extract_output(combine.compact(state)))
            for key, state in self._states.items()
        ]


def load(path: str) -> Accumulated:
    """The results in a file of `AccumulateDataset`."""
    with fileio.open(path, "rb") as file:
        return pickle.loads(file.read())  # noqa: S301 - our own worker wrote it in this execution


class _State:
    """The state of one accumulation."""

    def __init__(self, accumulation: Accumulation) -> None:
        self.label = accumulation.label
        self._keys = accumulation.keys

    @staticmethod
    def of(accumulation: Accumulation) -> _State:
        kind, detail = accumulation.kind, accumulation.detail
        if kind is _nodes.CacheableCombinePerKeyAccumulate:
            combine = tft_internals.CombinerWrapper(detail, is_combining_accumulators=False)
            return _CombinePerKey(accumulation, combine, tft_internals.split_inputs_by_key)
        if kind is not _nodes.VocabularyAccumulate:
            return _Combine(accumulation)
        if detail in (_Ordering.MUTUAL_INFORMATION, _Ordering.WEIGHTED_MUTUAL_INFORMATION):
            weighted = detail == _Ordering.WEIGHTED_MUTUAL_INFORMATION
            return _CombinePerKey(
                accumulation,
                tft_internals.WeightedMeanCombineFn((None,), compute_weighted=weighted),
                lambda values: tft_internals.key_and_means(values, compute_weighted=weighted),
            )
        return _Count(accumulation, is_weighted=detail == _Ordering.WEIGHTED_FREQUENCY)

    def add(self, values: Mapping[str, Any]) -> None:
        """Adds a batch of the graph's outputs."""
        raise NotImplementedError

    def elements(self) -> Iterable[Any]:
        """The elements that TFT's operation would emit."""
        raise NotImplementedError

    def _picked(self, values: Mapping[str, Any]) -> Any:
        if self._keys is None:
            return values
        return tuple(values[key] for key in self._keys)


class _Combine(_State):
    """`CacheableCombineAccumulate`, or several packed into one."""

    def __init__(self, accumulation: Accumulation) -> None:
        super().__init__(accumulation)
        is_packed = accumulation.kind is _nodes.PackedCombineAccumulate
        wrapper = (
            tft_internals.PackedCombinerWrapper if is_packed else tft_internals.CombinerWrapper
        )
        self._combine = wrapper(accumulation.detail, is_combining_accumulators=False)
        self._state = self._combine.create_accumulator()

    def add(self, values: Mapping[str, Any]) -> None:
        self._state = self._combine.add_input(self._state, self._picked(values))

    def elements(self) -> Iterable[Any]:
        return [self._combine.extract_output(self._combine.compact(self._state))]


class _CombinePerKey(_State):
    """One accumulator per key, over the (key, value) pairs that `split` makes of a batch."""

    def __init__(
        self, accumulation: Accumulation, combine: Any, split: Callable[[Any], Iterable[Any]]
    ) -> None:
        super().__init__(accumulation)
        self._combine, self._split = KeyedCombine(combine), split

    def add(self, values: Mapping[str, Any]) -> None:
        self._combine.add(self._split(self._picked(values)))

    def elements(self) -> Iterable[Any]:
        return self._combine.outputs()


class _Count(_State):
    """Counts of tokens, or sums of their weights."""

    def __init__(self, accumulation: Accumulation, is_weighted: bool) -> None:
        super().__init__(accumulation)
        self._is_weighted = is_weighted
        self._counts: Counter[Any] = Counter()

    def add(self, values: Mapping[str, Any]) -> None:
        picked = self._picked(values)
        if self._is_weighted:
            for token, weight in tft_internals.values_and_weights(picked):
                self._counts[token] += weight
        else:
            (tokens,) = picked
            self._counts.update(tokens.tolist())

    def elements(self) -> Iterable[Any]:
        return self._counts.items()
