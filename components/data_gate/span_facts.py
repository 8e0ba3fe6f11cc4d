"""Facts about one span that the data gate judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

from ordain.verdict import Outcome

#: Outcome of each policy in `pipeline.yaml`.
OUTCOMES = {"pass": Outcome.PASSED, "warn": Outcome.WARNED, "block": Outcome.BLOCKED}


@dataclass(frozen=True)
class SpanFacts:
    """Facts about one span, by split.

    Attributes:
        span: The span's number.
        rows: Rows ingested; empty if ExampleGen does not count them.
        left_out: Rows dropped because they have no label.
        statistics: TFDV's statistics.
        anomalies: Anomalies of ExampleValidator.
        strays: Uncommitted files in the splits' folders.
    """

    span: int
    rows: Mapping[str, int]
    left_out: int
    statistics: Mapping[str, statistics_pb2.DatasetFeatureStatisticsList]
    anomalies: Mapping[str, anomalies_pb2.Anomalies]
    strays: Sequence[str] = ()


def count_rows(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> int:
    """Number of rows that statistics were computed over."""
    return int(sum(dataset.num_examples for dataset in statistics.datasets))
