"""Analyzes the spans of a window, each once, and writes the TransformGraph.

TFT's operation graph is evaluated in coarse passes (`graph.py`), so that the cost does not grow
with analyzers times spans; the operations themselves are TFT's. A graph with an unsupported
operation goes to TFT's own Beam graph (`tft_fallback.py`).

Measured gain: 72 % of Transform's CPU time over a year of flights, 79.9 s without and 22.5 s with
(`benchmarks/node_gains.py`, piece `transform-passes`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import apache_beam as beam
import tensorflow_transform as tft
from tensorflow_transform.beam import analyzer_cache as tft_cache
from tensorflow_transform.tf_metadata import metadata_io

from ordain.common.commit import Staging
from ordain.components.examples.reader import tfxio_for
from ordain.components.transform import analyzer_cache, tft_fallback, tft_internals
from ordain.components.transform import graph as analysis_graph
from ordain.components.transform.data_pass import (
    Accumulated,
    AccumulateDataset,
    Pass,
    Spread,
    load,
)
from ordain.components.transform.operations import Context

_log = logging.getLogger(__name__)


def analyze(
    make_pipeline: Callable[[], AbstractContextManager[beam.Pipeline]],
    spread: Spread,
    datasets: Mapping[str, str],
    schema: Any,
    preprocessing_fn: Any,
    graph: str,
    staging: Staging,
    old_cache: str | None,
    new_cache: str | None,
) -> None:
    """Analyzes and writes the TransformGraph artifact and the new analyzer cache.

    Args:
        make_pipeline: Opens a Beam pipeline with the node's arguments; it runs at the end.
        spread: Takes elements through a DoFn.
        datasets: Folders of examples by the dataset's name in the cache.
        schema: Schema of the examples.
        preprocessing_fn: The project's function.
        graph: Folder of the TransformGraph artifact.
        staging: The execution's temporary folder.
        old_cache: Folder of the cache to read; None for none.
        new_cache: Folder of the cache to write; None for none.
    """
    known = analyzer_cache.read_entries(old_cache, datasets)
    computed = _analyze_in_passes(spread, datasets, schema, preprocessing_fn, graph, staging, known)
    if computed is None:
        tft_fallback.analyze(
            make_pipeline, datasets, schema, preprocessing_fn, graph, staging, known, new_cache
        )
    elif new_cache is not None:
        analyzer_cache.save_entries({**known, **computed}, new_cache, staging)
    raw_folder = f"{graph}/{tft.TFTransformOutput.RAW_METADATA_DIR}"
    metadata_io.write_metadata(tft.DatasetMetadata(schema), raw_folder)


def _analyze_in_passes(
    spread: Spread,
    datasets: Mapping[str, str],
    schema: Any,
    preprocessing_fn: Any,
    graph: str,
    staging: Staging,
    known: analyzer_cache.Entries,
) -> analyzer_cache.Entries | None:
    """Returns the new cache entries, or None if TFT has to run its own analysis."""
    specs = tfxio_for(next(iter(datasets.values())), schema).TensorAdapter().OriginalTypeSpecs()
    traced = tft_internals.trace(preprocessing_fn, specs, staging.folder)
    if traced is None:
        return None
    keys = [tft_cache.DatasetKey(name) for name in datasets]
    finished, entries = tft_internals.build_graph(traced, keys, analyzer_cache.to_presence(known))
    new = {
        (dataset.key, key): node
        for dataset, nodes in entries.items()
        for key, node in nodes.items()
    }
    planned = analysis_graph.plan([*new.values(), finished], (key.key for key in keys))
    if planned.unknown:
        _log.warning(
            "TensorFlow Transform analyzes with its own Beam graph, which takes longer: "
            "operation %s (%s) is not supported in passes",
            planned.unknown[0].label,
            type(planned.unknown[0]).__name__,
        )
        return None

    def run(saved_model: str, work: Pass) -> dict[str, Accumulated]:
        _log.info("analyzing %d of %d datasets", len(work), len(datasets))
        accumulate = AccumulateDataset(saved_model, schema, traced.columns, work, staging)
        paths = spread(accumulate, [(name, datasets[name]) for name in work], staging)
        return {name: load(path) for name, path in zip(work, paths, strict=True)}

    evaluate = analysis_graph.evaluator(planned, Context(traced, staging.folder, known), run)
    # Entries first: merging may modify the accumulator that an entry is made of.
    computed = {entry: evaluate(node) for entry, node in new.items()}
    (saved_model,) = evaluate(finished)
    tft_internals.publish(saved_model, traced.assets, graph)
    return computed
