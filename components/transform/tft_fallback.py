"""TFT's own analysis, for a `preprocessing_fn` with operations that `graph.py` does not support.

It builds a dozen Beam stages for each analyzer and span. Analyzers that are Beam transforms of the
project (`tft.experimental.ptransform_analyzer`) run only here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.beam import analysis_graph_builder
from tensorflow_transform.beam import analyzer_cache as tft_cache

from ordain.common.commit import Staging
from ordain.components.examples.reader import Split, tfxio_for
from ordain.components.transform import analyzer_cache


def analyze(
    make_pipeline: Callable[[], AbstractContextManager[beam.Pipeline]],
    datasets: Mapping[str, str],
    schema: Any,
    preprocessing_fn: Any,
    graph: str,
    staging: Staging,
    known: analyzer_cache.Entries,
    new_cache: str | None,
) -> None:
    """Analyzes with `AnalyzeDatasetWithCache`.

    Args:
        make_pipeline: Opens a Beam pipeline with the node's arguments; it runs at the end.
        datasets: Folders of examples by the dataset's name in the cache.
        schema: Schema of the examples.
        preprocessing_fn: The project's function.
        graph: Folder of the TransformGraph artifact.
        staging: The execution's temporary folder.
        known: Cache entries of earlier runs.
        new_cache: Folder of the cache to write; None for none.
    """
    first = tfxio_for(next(iter(datasets.values())), schema)
    specs = first.TensorAdapter().OriginalTypeSpecs()
    columns = sorted(tft.get_analyze_input_columns(preprocessing_fn, specs))
    with (
        make_pipeline() as pipeline,
        tft_beam.Context(temp_dir=staging.folder, use_deep_copy_optimization=True),
    ):
        cached = analyzer_cache.to_beam(known, pipeline)
        keys = [tft_cache.DatasetKey(name) for name in datasets]
        unread = analysis_graph_builder.get_analysis_dataset_keys(
            preprocessing_fn, specs, frozenset(keys), cached, force_tf_compat_v1=False
        )
        data: dict[Any, Any] = {}
        for number, key in enumerate(keys):
            if key in unread:
                tfxio = tfxio_for(datasets[key.key], schema, columns)
                split = pipeline | f"Split[{number}]" >> beam.Create([tfxio])
                read = beam.FlatMap(Split.batches).with_output_types(pa.RecordBatch)
                data[key] = split | f"Read[{number}]" >> read
            else:
                data[key] = None
        adapter = first.Project(columns).TensorAdapterConfig()
        transform_fn, computed = (data, cached, adapter) | tft_beam.AnalyzeDatasetWithCache(
            preprocessing_fn, pipeline=pipeline
        )
        _ = transform_fn | tft_beam.WriteTransformFn(graph)
        if new_cache is not None:
            analyzer_cache.gather_entries(computed or {}, pipeline, staging)
    if new_cache is not None:
        analyzer_cache.save_entries(
            {**known, **analyzer_cache.gathered(staging)}, new_cache, staging
        )
