"""Inferred and relaxed schemas: no column vanishes, and one value a row stays one value a row."""

import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import schema_pb2

from ordain.components.schema_inference import infer_schema, relax_schema, retyped_features

FULL = {"text": ["a", "b"] * 10, "number": [1.0, 2.0] * 10, "key": [1, 2] * 10}


def measure(**changes):
    """Statistics of a split: `FULL` with columns changed, or taken away by None."""
    columns = {k: v for k, v in {**FULL, **changes}.items() if v is not None}
    arrays = {}
    for name, values in columns.items():
        lists = [v if v is None or isinstance(v, list) else [v] for v in values]
        kind = pa.list_(pa.string()) if all(v is None for v in values) else None
        arrays[name] = pa.array(lists, kind)
    return stats_impl.generate_statistics_in_memory(pa.RecordBatch.from_pydict(arrays))


def entry(schema, name):
    (found,) = [feature for feature in schema.feature if feature.name == name]
    return found


def anomalies(statistics, schema):
    return dict(tfdv.validate_statistics(statistics, schema).anomaly_info)


EMPTY = [None] * 20
SPARSE = ["q", *[None] * 19]


def test_tfdv_still_deprecates_and_forgets():
    """Fails when TFDV is mended: then `schema_inference._update` and `_write_counts` can go."""
    schema = tfdv.infer_schema(measure(x=SPARSE), infer_feature_shape=True)
    updated = tfdv.update_schema(schema, measure(x=EMPTY), infer_feature_shape=True)
    assert entry(updated, "x").lifecycle_stage == schema_pb2.DEPRECATED
    missing = measure(x=SPARSE, number=[None, *[1.0] * 19])
    updated = tfdv.update_schema(schema, missing, infer_feature_shape=True)
    assert entry(updated, "number").WhichOneof("shape_type") is None


class TestInference:
    @pytest.mark.parametrize(
        ("window", "kind", "is_optional"),
        [
            ([{"x": SPARSE}, {"x": EMPTY}], schema_pb2.BYTES, True),
            ([{"x": EMPTY}, {"x": SPARSE}], schema_pb2.BYTES, True),
            ([{"x": None}, {"x": SPARSE}], schema_pb2.BYTES, True),
            ([{"x": [1.5] * 20}, {"x": None}], schema_pb2.FLOAT, True),
            # Without a value a column is BYTES; the first values say what it is.
            ([{"x": EMPTY}, {"x": [1.5] * 20}], schema_pb2.FLOAT, True),
            ([{"x": EMPTY}, {"x": EMPTY}], schema_pb2.BYTES, True),
            ([{"x": SPARSE}, {"x": SPARSE}], schema_pb2.BYTES, False),
        ],
    )
    def test_a_column_without_a_value_in_a_split_is_kept_as_optional(
        self, window, kind, is_optional
    ):
        measured = [measure(**changes) for changes in window]
        schema = infer_schema(measured)
        found = entry(schema, "x")
        assert (found.lifecycle_stage, found.type) == (schema_pb2.UNKNOWN_STAGE, kind)
        assert (found.presence.min_count == 0) == is_optional
        assert found.value_count.min == found.value_count.max == 1
        assert [anomalies(statistics, schema) for statistics in measured] == [{}, {}]
        assert len({d.name for d in schema.string_domain}) == len(schema.string_domain)

    def test_a_full_column_is_dense(self):
        schema = infer_schema([measure(), measure()])
        for name in FULL:
            found = entry(schema, name)
            assert [dim.size for dim in found.shape.dim] == [1]
            assert found.presence.min_fraction == 1

    @pytest.mark.parametrize(
        ("changes", "is_single"),
        [
            ({"number": [None, *[1.0] * 19]}, True),
            ({"number": [[1.0, 2.0], *[1.0] * 19]}, False),
            ({"number": [[1.0, 2.0], *[None] * 19]}, False),
        ],
    )
    def test_the_number_of_values_is_written(self, changes, is_single):
        for window in ([measure(), measure(**changes)], [measure(**changes), measure()]):
            found = entry(infer_schema(window), "number")
            assert found.value_count.min == 1
            assert (found.value_count.max == 1) == is_single

    def test_another_type_is_found_by_validation_not_dropped(self):
        later = measure(number=["x"] * 20)
        schema = infer_schema([measure(), later])
        assert entry(schema, "number").type == schema_pb2.FLOAT
        assert "number" in anomalies(later, schema)


class TestRelaxing:
    FROZEN = infer_schema([measure()])

    @pytest.mark.parametrize(
        ("changes", "most"),
        [
            ({"number": [None, None, None, *[1.0] * 17]}, 1),
            ({"number": [[1.0, 2.0], *[1.0] * 19]}, 2),
        ],
    )
    def test_missing_values_leave_the_number_of_values(self, changes, most):
        measured = [measure(**changes), measure()]
        schema = relax_schema(self.FROZEN, measured)
        found = entry(schema, "number")
        assert (found.value_count.min, found.value_count.max) == (1, most)
        assert [anomalies(statistics, schema) for statistics in measured] == [{}, {}]

    def test_a_split_without_a_value_makes_it_optional(self):
        schema = relax_schema(self.FROZEN, [measure(), measure(text=EMPTY)])
        assert entry(schema, "text").lifecycle_stage == schema_pb2.UNKNOWN_STAGE
        assert entry(schema, "text").value_count.max == 1

    def test_a_column_that_is_gone_is_deprecated(self):
        schema = relax_schema(self.FROZEN, [measure(text=None), measure(text=None)])
        assert entry(schema, "text").lifecycle_stage == schema_pb2.DEPRECATED
        assert entry(schema, "number") == entry(self.FROZEN, "number")

    def test_features_without_a_shape_stay_without_one(self):
        frozen = schema_pb2.Schema()
        frozen.CopyFrom(self.FROZEN)
        entry(frozen, "number").ClearField("shape")
        assert relax_schema(frozen, [measure()]) == frozen

    def test_another_type_is_named_and_not_changed(self):
        later = [measure(), measure(number=["x"] * 20)]
        assert relax_schema(self.FROZEN, later) == self.FROZEN
        assert retyped_features(self.FROZEN, later) == {"number": ("FLOAT", "BYTES")}
        assert retyped_features(self.FROZEN, [measure(number=EMPTY)]) == {}
