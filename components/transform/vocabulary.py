"""Vocabularies: from the counts of all spans to the file, in TFT's order and format.

The steps and their names are those of `tensorflow_transform/beam/analyzer_impls.py`. The counts of
a vocabulary are (indicator, token) pairs; the indicator is the frequency, the sum of weights, or
the mutual information together with the frequency.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf
from tfx.dsl.io import fileio

from ordain.components.transform import tft_internals
from ordain.components.transform.data_pass import KeyedCombine

_Ordering = tft_internals.VocabOrderingType
_SENTINELS = (
    tft_internals.GLOBAL_Y_COUNT_SENTINEL_STRING,
    tft_internals.GLOBAL_Y_COUNT_SENTINEL_INT,
)
Counts = list[tuple[Any, Any]]


def merge(operation: Any, accumulated: Iterable[tuple[Any, Any]]) -> Counts:
    """`VocabularyMerge`: sums the counts of each token.

    Args:
        operation: The operation.
        accumulated: (token, accumulated) pairs of all datasets.

    Returns:
        (indicator, token) pairs.
    """
    ordering = operation.vocab_ordering_type
    if ordering in (_Ordering.MUTUAL_INFORMATION, _Ordering.WEIGHTED_MUTUAL_INFORMATION):
        return _merge_mutual_information(operation, accumulated)
    totals: dict[Any, Any] = defaultdict(int)
    for token, count in accumulated:
        totals[token] += count
    return [(total, token) for token, total in totals.items()]


def _merge_mutual_information(operation: Any, accumulated: Iterable[tuple[Any, Any]]) -> Counts:
    weighted = operation.vocab_ordering_type == _Ordering.WEIGHTED_MUTUAL_INFORMATION
    combine = tft_internals.WeightedMeanCombineFn((None,), compute_weighted=weighted)
    merged = KeyedCombine(combine).add(accumulated).outputs()
    # The frequencies of the labels are tokens of their own.
    (overall,) = (accumulator for token, accumulator in merged if token in _SENTINELS)
    min_difference = operation.min_diff_from_avg
    if min_difference is None:
        min_difference = tft_internals.recommended_min_diff_from_avg(overall.count * overall.weight)
    counts = []
    for pair in merged:
        if pair[0] in _SENTINELS:
            continue
        token, (information, _, frequency) = tft_internals.mutual_information(
            pair, overall, operation.use_adjusted_mutual_info, min_difference
        )
        counts.append(((information, frequency), token))
    return counts


def prune(operation: Any, counts: Counts) -> Counts:
    """`VocabularyPrune`: applies thresholds and `top_k`, and the same per key for coverage."""
    pruned = _thresholds_and_top_k(
        counts,
        operation.frequency_threshold,
        operation.informativeness_threshold,
        operation.top_k,
        operation.input_dtype,
    )
    if not operation.key_fn:
        return pruned
    coverage = _thresholds_and_top_k(
        counts,
        operation.coverage_frequency_threshold,
        operation.coverage_informativeness_threshold,
        operation.coverage_top_k,
        operation.input_dtype,
        operation.key_fn,
    )
    return list(dict.fromkeys([*pruned, *coverage]))


def _thresholds_and_top_k(
    counts: Counts,
    frequency_threshold: float,
    information_threshold: float,
    top_k: int | None,
    dtype: str,
    key_fn: Callable[[Any], Any] | None = None,
) -> Counts:
    kept = []
    for indicator, token in counts:
        value, frequency = indicator if isinstance(indicator, tuple) else (indicator, indicator)
        information = value if isinstance(indicator, tuple) else float("inf")
        # As in TFT: without a threshold a NaN is kept, with one it passes neither comparison.
        is_filtered = frequency_threshold > 0 or information_threshold > float("-inf")
        passes = frequency >= frequency_threshold and information >= information_threshold
        if is_filtered and not passes:
            continue
        if dtype != tf.string.name:
            token = tf.compat.as_bytes(tf.compat.as_str_any(token))  # noqa: PLW2901
        kept.append((value, token))
    if top_k is None:
        return kept
    if key_fn is None:
        return tft_internals.empty_vocabulary_dummy(heapq.nlargest(top_k, kept), dtype)
    by_key: dict[Any, Counts] = defaultdict(list)
    for value, token in kept:
        value = float(value) if isinstance(value, np.float64) else value  # noqa: PLW2901
        by_key[key_fn(token)].append((value, token))
    return [pair for pairs in by_key.values() for pair in heapq.nlargest(top_k, pairs)]


def count(counts: Counts) -> np.int64:
    """`VocabularyCount`: an empty vocabulary is written as one dummy token."""
    return np.int64(max(len(counts), 1))


def order_and_write(operation: Any, counts: Counts, reserved: list[Any], folder: str) -> np.ndarray:
    """`VocabularyOrderAndWrite`: writes the vocabulary file.

    Args:
        operation: The operation.
        counts: The entries.
        reserved: A list with the list of reserved tokens; empty if there are none.
        folder: Folder to write into.

    Returns:
        The file's path, as the scalar array that TFT puts into the graph.
    """
    if operation.input_is_sorted and not reserved:
        lines = [
            tf.compat.as_bytes(f"{indicator} {tf.compat.as_str_any(token)}")
            if operation.store_frequency
            else token
            for indicator, token in counts
        ]
    else:
        sort = {"key": _fingerprint} if operation.fingerprint_shuffle else {"reverse": True}
        order = tft_internals.OrderElementsFn(
            operation.store_frequency, sort, operation.input_dtype
        )
        lines = list(order.process(None, [counts], *reserved))
    path = f"{folder}/{operation.vocab_filename}"
    if operation.file_format == "tfrecord_gzip":
        path = f"{path}.tfrecord.gz"
        with tf.io.TFRecordWriter(path, "GZIP") as writer:
            for line in lines:
                writer.write(line)
    else:
        with fileio.open(path, "wb") as file:
            file.write(b"".join(tf.compat.as_bytes(line) + b"\n" for line in lines))
    return np.array(path)


def _fingerprint(pair: tuple[Any, Any]) -> bytes:
    return hashlib.sha1(pair[1]).digest()  # noqa: S324 - TFT's order, not a secret
