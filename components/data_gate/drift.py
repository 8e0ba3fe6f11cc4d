"""Drift and skew of the newest span, as reasons of the data gate's verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, path_pb2, schema_pb2

from ordain.components.data_gate.span_facts import OUTCOMES, SpanFacts, count_rows
from ordain.verdict import Outcome, Reason


def judge_drift(
    before: SpanFacts, newest: SpanFacts, schema: schema_pb2.Schema, limits: Mapping[str, Any]
) -> Iterator[Reason]:
    """Compares the newest span with the one before, feature by feature."""
    wanted = schema_pb2.Schema()
    wanted.CopyFrom(schema)
    for feature in wanted.feature:
        comparator = feature.drift_comparator
        if feature.name in limits["ignore"]:
            feature.ClearField("drift_comparator")
        elif not feature.HasField("drift_comparator"):
            # By type: integer categories have a histogram and no value counts, so that their
            # L-infinity norm would always be 0.
            is_text = feature.type == schema_pb2.BYTES
            limit = limits["categorical" if is_text else "numeric"]
            if limit is not None and is_text:
                comparator.infinity_norm.threshold = limit
            elif limit is not None:
                comparator.jensen_shannon_divergence.threshold = limit
    if not (count_rows(before.statistics["train"]) and count_rows(newest.statistics["train"])):
        return
    result = tfdv.validate_statistics(
        newest.statistics["train"], wanted, previous_statistics=before.statistics["train"]
    )
    outcome = OUTCOMES[limits["policy"]]
    for info in result.drift_skew_info:
        for measure in info.drift_measurements:
            yield _distance(
                "drift", info.path, measure, outcome, newest.span, f"span {before.span}"
            )


def judge_skew(newest: SpanFacts, schema: schema_pb2.Schema, outcome: Outcome) -> Iterator[Reason]:
    """Compares the newest span's splits, for features with a `skew_comparator`."""
    if not any(f.HasField("skew_comparator") for f in schema.feature):
        return
    if not all(count_rows(newest.statistics[s]) for s in ("train", "eval")):
        return
    result = tfdv.validate_statistics(
        newest.statistics["train"], schema, serving_statistics=newest.statistics["eval"]
    )
    for info in result.drift_skew_info:
        for measure in info.skew_measurements:
            yield _distance("skew", info.path, measure, outcome, newest.span, "its eval split")


def _distance(
    kind: str, path: path_pb2.Path, measure: Any, outcome: Outcome, span: int, other: str
) -> Reason:
    kind_of = anomalies_pb2.DriftSkewInfo.Measurement
    names = {
        kind_of.L_INFTY: "L-infinity distance",
        kind_of.JENSEN_SHANNON_DIVERGENCE: "Jensen-Shannon divergence",
    }
    is_ok = measure.value <= measure.threshold
    name = names.get(measure.type, "distance")
    return Reason(
        Outcome.PASSED if is_ok else outcome,
        kind,
        f"{name} to {other}: {measure.value:.3f}, may be at most {measure.threshold:g}",
        where=".".join(path.step),
        span=span,
        measured=measure.value,
        limit=measure.threshold,
        advice=""
        if is_ok
        else "compare the feature in both; if the change is real, raise the "
        "limit (gate.drift) or set a drift_comparator in the schema",
    )
