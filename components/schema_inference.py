"""Schema inference and relaxation: TFDV's rules except two that break a model or its clients.

`tfdv.update_schema` marks a feature DEPRECATED as soon as one split has no value of it, which
removes the feature from the model, and drops its number of values together with its shape, which
turns an input `[n]` of the served signature into `[n, m]`. Here a feature with few values becomes
optional, and the number of values per row is kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_metadata.proto.v0.statistics_pb2 import (
    DatasetFeatureStatisticsList as Statistics,
)


def infer_schema(measured: Sequence[Statistics]) -> schema_pb2.Schema:
    """Infers a schema that fits all data.

    Args:
        measured: Statistics of each split of each span, of at least one row each.

    Returns:
        A schema with every column; a column without values in some split is optional. The type is
        that of the first values: validation finds later differences.
    """
    schema = schema_pb2.Schema()
    typed: set[str] = set()
    for statistics in measured:
        found = {name for name, (_, most) in _counts(statistics).items() if most} - typed
        _take_entries(schema, tfdv.infer_schema(statistics, infer_feature_shape=True), found)
        typed |= found
        schema = _update(schema, statistics)
    # Again: relaxing a domain for a later span can make it too narrow for an earlier one.
    for statistics in measured:
        schema = _update(schema, statistics)
    _write_counts(schema, measured)
    return schema


def relax_schema(frozen: schema_pb2.Schema, measured: Sequence[Statistics]) -> schema_pb2.Schema:
    """Relaxes and extends a curated schema until a span's data is free of anomalies.

    Args:
        frozen: The curated schema; not changed.
        measured: Statistics of the span's splits.

    Returns:
        The relaxed schema. A feature whose column is in no split is DEPRECATED, one without values
        in some split is optional. Types are unchanged: see `retyped_features`.
    """
    schema = schema_pb2.Schema()
    schema.CopyFrom(frozen)
    for statistics in measured:
        schema = _update(schema, statistics)
    _write_counts(schema, measured, frozen)
    columns = {name for statistics in measured for name in _counts(statistics)}
    for feature in schema.feature if columns else ():
        if feature.name not in columns:
            feature.lifecycle_stage = schema_pb2.DEPRECATED
    return schema


def retyped_features(
    schema: schema_pb2.Schema, measured: Sequence[Statistics]
) -> dict[str, tuple[str, str]]:
    """Features with another type in the data: names of both types, the schema's first."""
    types = {feature.name: feature.type for feature in schema.feature}
    found = {}
    for statistics in measured:
        for column in tfdv.infer_schema(statistics).feature:
            known, has_values = types.get(column.name), _counts(statistics)[column.name][1]
            if known is not None and has_values and column.type != known:
                names = (schema_pb2.FeatureType.Name(t) for t in (known, column.type))
                found[column.name] = (next(names), next(names))
    return found


def _take_entries(schema: schema_pb2.Schema, inferred: schema_pb2.Schema, names: set[str]) -> None:
    """Replaces the named entries: a column without values had no type."""
    kept = [feature for feature in schema.feature if feature.name not in names]
    taken = [feature for feature in inferred.feature if feature.name in names]
    used = {feature.domain for feature in taken}
    del schema.feature[:]
    schema.feature.extend([*kept, *taken])
    schema.string_domain.extend(d for d in inferred.string_domain if d.name in used)


def _update(schema: schema_pb2.Schema, statistics: Statistics) -> schema_pb2.Schema:
    """`tfdv.update_schema` without deprecation."""
    before = {feature.name: feature for feature in schema.feature}
    updated = tfdv.update_schema(schema, statistics, infer_feature_shape=True)
    counts = _counts(statistics)
    for feature in updated.feature:
        known = before.get(feature.name)
        if known is None or feature.lifecycle_stage == known.lifecycle_stage:
            continue
        feature.CopyFrom(known)
        if not counts.get(feature.name, (0, 0))[1]:
            feature.ClearField("shape")
            feature.presence.min_fraction, feature.presence.min_count = 0.0, 0
    return updated


def _write_counts(
    schema: schema_pb2.Schema,
    measured: Sequence[Statistics],
    frozen: schema_pb2.Schema | None = None,
) -> None:
    """Writes the number of values per row of each feature for which the schema has none.

    A feature without it in the frozen schema is left as its author wrote it.
    """
    known = {feature.name: feature for feature in frozen.feature} if frozen else {}
    for feature in schema.feature:
        before = known.get(feature.name)
        if feature.WhichOneof("shape_type") or (before and not before.HasField("shape")):
            continue
        ranges = [
            counts[feature.name] for counts in map(_counts, measured) if feature.name in counts
        ]
        ranges = [(least, most) for least, most in ranges if most]
        if before is not None:
            width = math.prod(dim.size for dim in before.shape.dim)
            ranges.append((width, width))
        # A column without any value is assumed to have one value per row, as in a table.
        feature.value_count.min = min((least for least, _ in ranges), default=1)
        feature.value_count.max = max((most for _, most in ranges), default=1)


def _counts(statistics: Statistics) -> dict[str, tuple[int, int]]:
    """Minimum and maximum number of values in non-empty rows, by feature; 0 and 0 if none."""
    found: dict[str, tuple[int, int]] = {}
    for dataset in statistics.datasets:
        for feature in dataset.features:
            name = feature.name or ".".join(feature.path.step)
            kind = feature.WhichOneof("stats")
            found[name] = (0, 0)
            if kind:
                common = getattr(feature, kind).common_stats
                if common.num_non_missing:
                    found[name] = (int(common.min_num_values) or 1, int(common.max_num_values))
    return found
