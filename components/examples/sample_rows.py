"""A few raw rows of a window, for sample and golden requests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tfx.types import artifact_utils

from ordain.components.examples.reader import read_records, split_files


def read_raw_rows(examples: Iterable[Any], split: str, count: int) -> list[bytes]:
    """Serialized tf.Examples of a split, newest span first.

    Args:
        examples: Examples artifacts, one for each span.
        split: The split's name.
        count: Maximum number of rows.

    Returns:
        The rows; the same ones for the same examples.
    """
    rows: list[bytes] = []
    for artifact in sorted(examples, key=lambda artifact: artifact.span, reverse=True):
        if split not in artifact_utils.decode_split_names(artifact.split_names):
            continue
        uri = artifact_utils.get_split_uri([artifact], split)
        for path in split_files(uri):
            records = read_records([path]).take(count - len(rows))
            rows += list(records.as_numpy_iterator())
            if len(rows) >= count:
                return rows
    return rows
