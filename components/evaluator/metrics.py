"""TFMA's metrics and validations, computed from batches instead of from single examples.

A year of flights is 109,000 examples to evaluate. TFMA's evaluator makes a Python object of each,
sends it through a dozen Beam steps and adds it to every metric of every slice it belongs to, which
is nearly all of its time. Here batches stay whole: slices are row numbers, and metrics are added a
batch at a time, by TFMA's combiners or by ours in their place (`with_arrays`). Derived metrics,
differences to the baseline and validation are TFMA's.

Measured gain: 94 % of the Evaluator's CPU time over a year of flights, 194 s without and
12.5 s with (`benchmarks/node_gains.py`, piece `evaluator-batches`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import tensorflow_model_analysis as tfma
from apache_beam.transforms.window import GlobalWindows

from ordain.components.evaluator import tfma_internals as inside
from ordain.components.evaluator.batches import Batch
from ordain.components.evaluator.combiners import add_rows
from ordain.components.evaluator.histogram import with_arrays
from ordain.components.evaluator.slices import rows_by_slice, slice_keys

#: Most slices whose accumulators a worker keeps before it emits them. An accumulator of AUC
#: has up to 10,000 buckets, 320 kB.
MAX_SLICES = 256
_STANDARD_INPUTS = {
    tfma.constants.LABELS_KEY,
    tfma.constants.PREDICTIONS_KEY,
    tfma.constants.EXAMPLE_WEIGHTS_KEY,
}


@dataclass(frozen=True)
class ByExample:
    """Reason why an evaluation needs TFMA's evaluator; `reads_features` if that reads features."""

    reason: str
    reads_features: bool = False


def needs_examples(config: Any, models: list[Any], schema: Any) -> ByExample | None:
    """Checks if an evaluation has to go through TFMA's evaluator, example by example.

    Args:
        config: The `tfma.EvalConfig`, defaults filled in.
        models: Its `EvalSharedModel`s.
        schema: Schema of the examples.

    Returns:
        The part of the configuration that needs it, or None if batches suffice.
    """
    options = config.options
    compiled = [m for m in models if m.model_type == tfma.constants.TF_KERAS]
    uses_compiled = (
        not options.HasField("include_default_metrics") or options.include_default_metrics.value
    )
    if options.compute_confidence_intervals.value:
        return ByExample("confidence intervals")
    if options.min_slice_size.value > 1:
        return ByExample("a minimum size of slices")
    if options.disabled_outputs.values:
        return ByExample("disabled outputs")
    if config.cross_slicing_specs:
        return ByExample("comparisons of slices")
    if not config.metrics_specs:
        return ByExample("no metrics")
    if any(spec.slice_keys_sql for spec in config.slicing_specs):
        return ByExample("slices written in SQL", reads_features=True)
    if any(spec.query_key for spec in config.metrics_specs):
        return ByExample("metrics over queries", reads_features=True)
    if uses_compiled and any(model.include_default_metrics for model in compiled):
        return ByExample("metrics compiled into the model", reads_features=True)
    for computation in _computations(config, schema).non_derived_computations:
        for step in computation.preprocessors or ():
            is_standard = type(step) is inside.StandardMetricInputsPreprocessor
            if not is_standard or not _STANDARD_INPUTS.issuperset(step.include_filter):
                name = computation.keys[0].name
                return ByExample(f"{name} reads more than label and prediction", True)
    return None


def batched(config: Any, schema: Any, extractors: list[Any]) -> tuple[list[Any], list[Any]]:
    """Extractors and evaluators for `tfma.ExtractEvaluateAndWriteResults`.

    Args:
        config: The `tfma.EvalConfig`, defaults filled in, for which `needs_examples` is None.
        schema: Schema of the examples.
        extractors: TFMA's default extractors.

    Returns:
        The extractors that work on batches, and one evaluator that runs after them.
    """
    names = [extractor.stage_name for extractor in extractors]
    kept = extractors[: names.index(inside.UNBATCH_STAGE)]
    computations = _computations(config, schema)
    evaluator = tfma.evaluators.Evaluator(
        stage_name="EvaluateBatches",
        run_after=kept[-1].stage_name,
        ptransform=_Evaluate(config, computations),
    )
    return kept, [evaluator]


def _computations(config: Any, schema: Any) -> Any:
    specs = list(config.metrics_specs)
    return inside.separate(inside.to_computations(specs, eval_config=config, schema=schema))


class _Evaluate(beam.PTransform):
    """Batched extracts -> slices with their metrics, plots, attributions and validations."""

    def __init__(self, config: Any, computations: Any) -> None:
        super().__init__()
        self._config = config
        self._computations = computations

    def expand(self, extracts: beam.PCollection) -> dict[str, beam.PCollection]:
        """Same outputs as `tfma.evaluators.MetricsPlotsAndValidationsEvaluator`."""
        found = self._computations
        combiners = [with_arrays(each.combiner) for each in found.non_derived_computations]
        baseline = inside.baseline_spec(self._config)
        sliced = (
            extracts
            | "Aggregate" >> beam.ParDo(_Aggregate(combiners, self._config.slicing_specs))
            | "Merge" >> beam.CombinePerKey(_Merge(combiners))
            | "Derive"
            >> inside.AddDerivedMetrics(
                found.derived_computations,
                found.cross_slice_computations,
                [],
                baseline.name if baseline else None,
            )
            | "DeriveFromIntervals"
            >> beam.Map(inside.add_ci_derived_metrics, found.ci_derived_computations)
            | "RemovePrivate" >> beam.MapTuple(inside.remove_private_metrics)
        )
        kinds = {
            tfma.constants.METRICS_KEY: inside.MetricKey,
            tfma.constants.PLOTS_KEY: inside.PlotKey,
            tfma.constants.ATTRIBUTIONS_KEY: inside.AttributionsKey,
        }
        evaluation = {
            name: sliced | f"Filter[{name}]" >> beam.Map(inside.filter_by_key_type, kind)
            for name, kind in kinds.items()
        }
        evaluation[tfma.constants.VALIDATIONS_KEY] = evaluation[
            tfma.constants.METRICS_KEY
        ] | "Validate" >> beam.Map(inside.validate_metrics, self._config)
        return evaluation


class _Partial:
    """Accumulators, one per combiner, in one object: Beam encodes a list item by item."""

    __slots__ = ("accumulators",)

    def __init__(self, accumulators: list[Any]) -> None:
        self.accumulators = accumulators


class _Aggregate(beam.DoFn):
    """Batched extracts -> slice keys with an accumulator for each combiner."""

    def __init__(self, combiners: list[Any], slicing_specs: Iterable[Any]) -> None:
        self._combiners = combiners
        specs = [tfma.slicer.SingleSliceSpec(spec=spec) for spec in slicing_specs]
        self._specs = specs or [tfma.slicer.SingleSliceSpec()]
        self._keys = slice_keys(slicing_specs)
        self._accumulators: dict[Any, list[Any]] = {}

    def setup(self) -> None:
        for combiner in self._combiners:
            combiner.setup()

    def start_bundle(self) -> None:
        self._accumulators = {}

    def process(self, extracts: dict[str, Any]) -> Iterator[Any]:
        rows = len(extracts[tfma.constants.INPUT_KEY])
        batch = Batch(extracts, rows)
        features = extracts[tfma.constants.FEATURES_KEY]
        features = {name: features[name] for name in self._keys & features.keys()}
        for key, members in rows_by_slice(features, self._specs, rows).items():
            accumulators = self._accumulators.get(key)
            if accumulators is None:
                accumulators = [combiner.create_accumulator() for combiner in self._combiners]
            self._accumulators[key] = [
                add_rows(combiner, accumulator, batch, members)
                for combiner, accumulator in zip(self._combiners, accumulators, strict=True)
            ]
        if len(self._accumulators) > MAX_SLICES:
            yield from self._emit_all()

    def finish_bundle(self) -> Iterator[Any]:
        for entry in self._emit_all():
            yield GlobalWindows.windowed_value(entry)

    def teardown(self) -> None:
        for combiner in self._combiners:
            combiner.teardown()

    def _emit_all(self) -> Iterator[Any]:
        for key, accumulators in self._accumulators.items():
            pairs = zip(self._combiners, accumulators, strict=True)
            yield key, _Partial([combiner.compact(part) for combiner, part in pairs])
        self._accumulators = {}


class _Merge(beam.CombineFn):
    """Partial results of a slice -> TFMA's dictionary of metrics."""

    def __init__(self, combiners: list[Any]) -> None:
        self._combiners = combiners

    def setup(self) -> None:
        for combiner in self._combiners:
            combiner.setup()

    def create_accumulator(self) -> _Partial:
        return _Partial([combiner.create_accumulator() for combiner in self._combiners])

    def add_input(self, accumulator: _Partial, element: _Partial) -> _Partial:
        return self.merge_accumulators([accumulator, element])

    def merge_accumulators(self, accumulators: Iterable[_Partial]) -> _Partial:
        # An iterator, because TFMA's mean errors take the first of them twice from a list.
        columns = zip(*(partial.accumulators for partial in accumulators), strict=True)
        return _Partial(
            [
                combiner.merge_accumulators(iter(parts))
                for combiner, parts in zip(self._combiners, columns, strict=True)
            ]
        )

    def compact(self, accumulator: _Partial) -> _Partial:
        pairs = zip(self._combiners, accumulator.accumulators, strict=True)
        return _Partial([combiner.compact(part) for combiner, part in pairs])

    def extract_output(self, accumulator: _Partial) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for combiner, part in zip(self._combiners, accumulator.accumulators, strict=True):
            result.update(combiner.extract_output(part))
        return result

    def teardown(self) -> None:
        for combiner in self._combiners:
            combiner.teardown()
