"""StatisticsGen's executor: TFDV's own generators, run over a split's batches one after another.

TFX's own builds a Beam graph of a few hundred stages for each span, which takes longer to build
than a month of flights takes to measure. Here a split is one Beam element, streamed through the
generators TFDV uses in memory; their accumulators are sketches, so memory does not grow with
the rows. Up to 16,384 distinct values per feature the result is TFDV's to the last count
(`tests/integration` compares the protos); beyond that the number of distinct values is an
estimate, as with TFDV's `use_sketch_based_topk_uniques`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import json_utils
from tfx_bsl.tfxio import tf_example_record

from components.beam_errors import restored
from components.example_reader import ReadBatches

#: TFX's name for the file; everything that reads statistics looks for it.
FILE = "FeatureStats.pb"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Measures every split of one span."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See `tfx.components.statistics_gen.executor` for the contract."""
        (examples,) = input_dict["examples"]
        (statistics,) = output_dict["statistics"]
        excluded = json_utils.loads(exec_properties.get("exclude_splits") or "null") or []
        splits = artifact_utils.decode_split_names(examples.split_names)
        splits = [split for split in splits if split not in excluded]
        statistics.split_names = artifact_utils.encode_split_names(splits)
        statistics.span = examples.span
        options = exec_properties.get("stats_options_json") or tfdv.StatsOptions().to_json()
        with restored(), self._make_beam_pipeline() as pipeline:
            for split in splits:
                source = artifact_utils.get_split_uri([examples], split)
                target = artifact_utils.get_split_uri([statistics], split)
                # No schema: the statistics must show what the data is, not what it should be.
                tfxio = tf_example_record.TFExampleRecord(
                    f"{source}/*", telemetry_descriptors=["ordain"]
                )
                _ = (
                    pipeline
                    | f"Read[{split}]" >> ReadBatches(tfxio)
                    | f"Measure[{split}]" >> beam.CombineGlobally(MeasureFn(options))
                    | f"Write[{split}]" >> beam.Map(_write, target)
                )


class MeasureFn(beam.CombineFn):
    """Record batches -> `DatasetFeatureStatisticsList`."""

    def __init__(self, options: str) -> None:
        """Takes TFDV's StatsOptions as JSON."""
        self._options = options

    def setup(self, *_: Any, **__: Any) -> None:
        """Makes the generators, once per worker."""
        options = tfdv.StatsOptions.from_json(self._options)
        self._generators = stats_impl.get_generators(options, in_memory=True)
        for generator in self._generators:
            generator.setup()

    def create_accumulator(self) -> list[Any]:
        """Fresh accumulators, one per generator."""
        return [generator.create_accumulator() for generator in self._generators]

    def add_input(self, accumulators: list[Any], batch: Any) -> list[Any]:
        """Takes one batch in."""
        pairs = zip(self._generators, accumulators, strict=True)
        return [generator.add_input(accumulator, batch) for generator, accumulator in pairs]

    def merge_accumulators(self, many: Iterator[list[Any]]) -> list[Any]:
        """Joins what several workers measured."""
        columns = zip(*many, strict=True)
        pairs = zip(self._generators, columns, strict=True)
        return [generator.merge_accumulators(column) for generator, column in pairs]

    def extract_output(self, accumulators: list[Any]) -> Any:
        """The statistics."""
        return stats_impl.extract_statistics_output(accumulators, self._generators)


def _write(statistics: Any, folder: str) -> None:
    fileio.makedirs(folder)
    with fileio.open(f"{folder}/{FILE}", "wb") as file:
        file.write(statistics.SerializeToString())
