"""Prints what a TFMA evaluation measured, as JSON: value by metric and slice.

usage: read_evaluation.py FOLDER

A process of its own, after the one that is measured: TFMA takes long to import.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import tensorflow_model_analysis as tfma


def main(folder: str) -> None:
    """Reads the metrics in an Evaluator's `evaluation` artifact."""
    found: dict[str, dict[str, float]] = {}
    for entry in tfma.load_metrics(folder):
        where = ", ".join(_name(key) for key in entry.slice_key.single_slice_keys)
        values = found.setdefault(where, {})
        for pair in entry.metric_keys_and_values:
            if pair.value.HasField("double_value") and not pair.key.is_diff:
                values[pair.key.name] = pair.value.double_value.value
    print(json.dumps(found))


def _name(key: Any) -> str:
    value = getattr(key, key.WhichOneof("kind"))
    return f"{key.column}={value.decode() if isinstance(value, bytes) else value}"


if __name__ == "__main__":
    main(sys.argv[1])
