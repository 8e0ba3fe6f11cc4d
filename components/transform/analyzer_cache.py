"""The analyzer cache: TensorFlow Transform's analyzer results for each span, in one file.

TFT's own cache is a folder of gzipped TFRecords per dataset and analyzer, each written and read
by a dozen Beam stages: on 12 spans and 27 analyzers that takes longer than the analysis. The
entries here are the same bytes, in one TFRecord file of tf.Examples.

Measured gain: 31 % of Transform's CPU time where one of twelve months of flights is new, 19.9 s
without a cache and 13.8 s with one (`benchmarks/node_gains.py`, piece `analyzer-cache`).
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import apache_beam as beam
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_transform.beam import analyzer_cache as tft_cache
from tfx.dsl.io import fileio

from ordain.common.commit import Staging
from ordain.components.artifacts.record_writer import RecordWriter

FILE = "analyzer_cache.tfrecord.gz"
_GATHERED = "analyzer-cache"
#: (dataset, analyzer's cache key) -> the entry's values.
Entries = dict[tuple[str, bytes], list[bytes]]


def read_entries(folder: str | None, datasets: Iterable[str]) -> Entries:
    """Entries of the given datasets; empty if there is no cache or it cannot be read."""
    found: Entries = defaultdict(list)
    if folder is None or not fileio.exists(f"{folder}/{FILE}"):
        return found
    wanted = set(datasets)
    try:
        for record in tf.data.TFRecordDataset(f"{folder}/{FILE}", "GZIP").as_numpy_iterator():
            feature = tf.train.Example.FromString(record).features.feature
            dataset, key, value = (
                feature[name].bytes_list.value[0] for name in ("dataset", "key", "value")
            )
            if dataset.decode() in wanted:
                found[(dataset.decode(), key)].append(value)
    except (tf.errors.OpError, DecodeError, IndexError) as error:
        logging.getLogger(__name__).warning(
            "%s/%s: cannot be read, analyzing every span again: %s", folder, FILE, error
        )
        return defaultdict(list)
    return found


def to_beam(entries: Entries, pipeline: beam.Pipeline) -> dict[Any, Any]:
    """The entries as TFT takes them: PCollections by analyzer, by dataset."""
    by_dataset: dict[str, dict[bytes, list[bytes]]] = defaultdict(dict)
    for (dataset, key), values in entries.items():
        by_dataset[dataset][key] = values
    result = {}
    for number, (dataset, caches) in enumerate(sorted(by_dataset.items())):
        collections = {
            key: pipeline | f"Cached[{number}][{index}]" >> beam.Create(values, reshuffle=False)
            for index, (key, values) in enumerate(sorted(caches.items()))
        }
        # The metadata would only feed TFT's usage counters.
        result[tft_cache.DatasetKey(dataset)] = tft_cache.DatasetCache(collections, metadata=None)
    return result


def to_presence(entries: Entries) -> dict[Any, Any]:
    """The keys of the entries, which is all that TFT reads when it compiles its graph."""
    by_dataset: dict[str, dict[bytes, bool]] = defaultdict(dict)
    for dataset, key in entries:
        by_dataset[dataset][key] = True
    return {
        tft_cache.DatasetKey(dataset): tft_cache.DatasetCache(keys, metadata=None)
        for dataset, keys in by_dataset.items()
    }


def save_entries(entries: Entries, folder: str, staging: Staging) -> None:
    """Writes entries into one file.

    Args:
        entries: The entries.
        folder: Folder of the cache.
        staging: The execution's temporary folder.
    """
    flat = sorted((d, k, v) for (d, k), values in entries.items() for v in values)
    with RecordWriter(staging) as writer:
        for dataset, key, value in flat:
            feature = {
                name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))
                for name, content in (("dataset", dataset.encode()), ("key", key), ("value", value))
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())
    staging.commit(folder, {"": {FILE: writer.written()}})


def gather_entries(computed: Mapping[Any, Any], pipeline: beam.Pipeline, staging: Staging) -> None:
    """Adds steps to the pipeline that store the new entries for `gathered`."""
    labelled = [pipeline | "NoEntries" >> beam.Create([], reshuffle=False)]
    for number, (dataset, cache) in enumerate(sorted(computed.items())):
        for index, (key, values) in enumerate(sorted(cache.cache_dict.items())):
            labelled.append(
                values | f"Label[{number}][{index}]" >> beam.Map(_label, dataset.key, key)
            )
    _ = (
        labelled
        | "AllEntries" >> beam.Flatten()
        | "GatherEntries" >> beam.combiners.ToList()
        | "KeepEntries" >> beam.Map(staging.keep_results, _GATHERED)
    )


def gathered(staging: Staging) -> Entries:
    """The entries that the steps of `gather_entries` stored."""
    found: Entries = defaultdict(list)
    for dataset, key, value in staging.results(_GATHERED):
        found[(dataset, key)].append(value)
    return found


def _label(value: bytes, dataset: str, key: bytes) -> tuple[str, bytes, bytes]:
    return dataset, key, value
