"""Groups of TFDV's anomaly types, for the policies of `gate.anomalies`."""

from __future__ import annotations

from tensorflow_metadata.proto.v0 import anomalies_pb2

#: Groups by their name in `gate.anomalies`: default policy and TFDV's anomaly types. A type in no
#: group is `other`, which blocks.
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "missing_column": ("block", ("SCHEMA_MISSING_COLUMN", "FEATURE_TYPE_NOT_PRESENT")),
    "new_column": ("block", ("SCHEMA_NEW_COLUMN",)),
    "type": (
        "block",
        (
            "UNEXPECTED_DATA_TYPE",
            "BOOL_TYPE_BYTES_NOT_INT",
            "BOOL_TYPE_BYTES_NOT_STRING",
            "BOOL_TYPE_FLOAT_NOT_INT",
            "BOOL_TYPE_FLOAT_NOT_STRING",
            "BOOL_TYPE_INT_NOT_STRING",
            "BOOL_TYPE_STRING_NOT_INT",
            "BOOL_TYPE_UNEXPECTED_FLOAT",
            "BOOL_TYPE_UNEXPECTED_STRING",
            "ENUM_TYPE_BYTES_NOT_STRING",
            "ENUM_TYPE_FLOAT_NOT_STRING",
            "ENUM_TYPE_INT_NOT_STRING",
            "ENUM_TYPE_INVALID_UTF8",
            "FLOAT_TYPE_NOT_FLOAT",
            "FLOAT_TYPE_STRING_NOT_FLOAT",
            "INT_TYPE_INT_EXPECTED",
            "INT_TYPE_NOT_STRING",
            "INT_TYPE_STRING_EXPECTED",
            "STRING_TYPE_NOW_FLOAT",
            "STRING_TYPE_NOW_INT",
        ),
    ),
    "new_value": ("warn", ("ENUM_TYPE_UNEXPECTED_STRING_VALUES",)),
    "out_of_range": (
        "block",
        (
            "INT_TYPE_BIG_INT",
            "INT_TYPE_SMALL_INT",
            "FLOAT_TYPE_BIG_FLOAT",
            "FLOAT_TYPE_SMALL_FLOAT",
            "BOOL_TYPE_BIG_INT",
            "BOOL_TYPE_SMALL_INT",
        ),
    ),
    "not_a_number": ("block", ("FLOAT_TYPE_HAS_NAN", "FLOAT_TYPE_HAS_INF")),
    "missing_values": (
        "block",
        ("FEATURE_TYPE_LOW_FRACTION_PRESENT", "FEATURE_TYPE_LOW_NUMBER_PRESENT"),
    ),
    "value_count": (
        "block",
        (
            "FEATURE_TYPE_HIGH_NUMBER_VALUES",
            "FEATURE_TYPE_LOW_NUMBER_VALUES",
            "FEATURE_TYPE_NO_VALUES",
            "FEATURE_TYPE_UNEXPECTED_REPEATED",
            "INVALID_FEATURE_SHAPE",
        ),
    ),
    "row_count": (
        "block",
        (
            "DATASET_LOW_NUM_EXAMPLES",
            "DATASET_HIGH_NUM_EXAMPLES",
            "COMPARATOR_LOW_NUM_EXAMPLES",
            "COMPARATOR_HIGH_NUM_EXAMPLES",
            "NO_DATA_IN_SPAN",
        ),
    ),
    "other": ("block", ()),
}
_ADVICE = {
    "missing_column": "restore the column, or accept its loss: ordain schema accept PROJECT",
    "new_column": "remove the column, or accept it: ordain schema accept PROJECT",
    "new_value": "if the value is valid, add it: ordain schema accept PROJECT",
}
REPAIR = "correct the span (a new version or corrected files), or ordain schema diff PROJECT"
_KIND_OF = {name: group for group, (_, names) in KINDS.items() for name in names}


def kind_of(anomaly: int) -> tuple[str, str]:
    """Name of an `AnomalyInfo.Type` and its group."""
    code = anomalies_pb2.AnomalyInfo.Type.Name(anomaly)
    return code, _KIND_OF.get(code, "other")


def advice_on(kind: str) -> str:
    """Advice for an anomaly of a group."""
    return _ADVICE.get(kind, REPAIR)
