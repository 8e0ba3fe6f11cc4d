"""Row numbers of a batch by slice.

TFMA computes the slices of every example. Here they are computed once for each combination of
feature values in the batch, for one example that represents the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from tensorflow_model_analysis.api import types

from ordain.components.evaluator import tfma_internals as inside


def slice_keys(slicing_specs: Iterable[Any]) -> set[str]:
    """Names of the features that slices use."""
    specs = list(slicing_specs)
    keys = {key for spec in specs for key in spec.feature_keys}
    return keys | {key for spec in specs for key in spec.feature_values}


def rows_by_slice(features: dict[str, Any], specs: list[Any], rows: int) -> dict[Any, Any]:
    """Assigns the rows of a batch to slices.

    Args:
        features: Batched values of the features that slices use, as extracted by TFMA.
        specs: TFMA's `SingleSliceSpec` of each slice.
        rows: Number of rows in the batch.

    Returns:
        Row numbers `[n] int64` by TFMA's slice key, `()` for the whole batch.
    """
    place = np.zeros(rows, np.int64)
    for values in features.values():
        codes = _codes(values, rows)
        pairs = place * (codes.max(initial=0) + 1) + codes
        place = np.unique(pairs, return_inverse=True)[1]
    _, first = np.unique(place, return_index=True)
    members: dict[Any, list[int]] = {}
    for number, example in enumerate(_examples(features, first)):
        for key in set(inside.slices_of([], example, specs)):
            members.setdefault(key, []).append(number)
    count = len(first)
    return {
        key: np.flatnonzero(np.isin(place, numbers)) if len(numbers) < count else np.arange(rows)
        for key, numbers in members.items()
    }


def _codes(values: Any, rows: int) -> Any:
    """A code for each row; rows with the same code have the same values.

    Rows that cannot be compared get codes of their own.
    """
    if isinstance(values, types.VarLenTensorValue) and values.dense_shape[1] <= 1:
        codes = np.zeros(rows, np.int64)
        known = np.unique(values.values, return_inverse=True)[1]
        codes[values.indices[:, 0].astype(np.int64)] = 1 + known
        return codes
    if isinstance(values, np.ndarray) and values.shape in ((rows,), (rows, 1)):
        try:
            return np.unique(values.ravel(), return_inverse=True)[1]
        except (TypeError, ValueError):  # None among the values, or lists of them
            pass
    return np.arange(rows)


def _examples(features: dict[str, Any], rows: Any) -> list[dict[str, Any]]:
    """Features of some rows, split as TFMA splits them."""
    examples: list[dict[str, Any]] = [{} for _ in rows]
    for name, values in features.items():
        if isinstance(values, types.VarLenTensorValue):
            ends = np.searchsorted(values.indices[:, 0], [rows, rows + 1])
            split = [values.values[start:end] for start, end in ends.T]
        elif isinstance(values, np.ndarray):
            split = [extracts[name] for extracts in inside.split_extracts({name: values[rows]})]
        else:
            whole = inside.split_extracts({name: values})
            split = [whole[row][name] for row in rows]
        for example, value in zip(examples, split, strict=True):
            example[name] = value
    return examples
