"""The data gate's rules, on real statistics and real anomalies of TFDV: a passing and a failing
case for each."""

import dataclasses
from typing import get_args

import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2

from ordain.components.data_gate.anomaly_kinds import KINDS
from ordain.components.data_gate.rules import judge
from ordain.components.data_gate.span_facts import SpanFacts
from ordain.config.gates import AnomalyKind
from ordain.verdict import Outcome, Reason, Verdict

PASSED, WARNED, BLOCKED = Outcome.PASSED, Outcome.WARNED, Outcome.BLOCKED
POLICIES = {"pass": PASSED, "warn": WARNED, "block": BLOCKED}
SCHEMA = """
feature { name: "x" type: INT }
feature { name: "c" type: BYTES presence { min_count: 1 } }
feature { name: "y" type: INT bool_domain {} }
"""
POLICY = {
    "anomalies": {},
    "drift": {"numeric": 0.3, "categorical": 0.3, "ignore": (), "policy": "warn"},
    "skew_policy": "warn",
    "label": "y",
    "is_curated": True,
}


def statistics(columns: dict):
    """TFDV's statistics of columns, `None` a missing value, a list several."""
    arrays = [
        pa.array([v if v is None or isinstance(v, list) else [v] for v in column])
        if len(column)
        else pa.array([], pa.list_(pa.int64()))
        for column in columns.values()
    ]
    batch = pa.RecordBatch.from_arrays(arrays, list(columns))
    return stats_impl.generate_statistics_in_memory(batch)


def schema_of(text: str) -> schema_pb2.Schema:
    return text_format.Parse(text, schema_pb2.Schema())


def good(count: int = 100, **changes) -> dict:
    columns = {
        "x": [*range(count)],
        "c": ["a", "b"] * (count // 2),
        "y": [0, 1] * (count // 2),
        **changes,
    }
    return {name: column for name, column in columns.items() if column is not None}


def facts(
    train: dict | None = None,
    eval: dict | None = None,
    span: int = 1,
    schema: str = SCHEMA,
    rows: dict | None = None,
    left_out: int = 0,
) -> SpanFacts:
    """Facts of a span whose splits have these columns."""
    splits = {"train": train or good(), "eval": eval or good(50)}
    measured = {name: statistics(columns) for name, columns in splits.items()}
    counted = {name: len(next(iter(columns.values()))) for name, columns in splits.items()}
    return SpanFacts(
        span=span,
        rows=counted if rows is None else rows,
        left_out=left_out,
        statistics=measured,
        anomalies={
            name: tfdv.validate_statistics(measured[name], schema_of(schema)) for name in splits
        },
    )


def verdict_on(*window: SpanFacts, schema: str = SCHEMA, **policy) -> Verdict:
    return judge(window or [facts(schema=schema)], schema_of(schema), {**POLICY, **policy})


def kinds(verdict: Verdict, *outcomes: Outcome) -> set[str]:
    return {r.kind for r in verdict.reasons if not outcomes or r.outcome in outcomes}


def only(verdict: Verdict, kind: str) -> Reason:
    (reason,) = [r for r in verdict.reasons if r.kind == kind]
    return reason


def test_good_data_passes_without_reasons():
    assert verdict_on() == Verdict("data", PASSED)


class TestConservation:
    def test_every_row_is_in_the_statistics_or_the_run_is_blocked(self):
        for rows, is_fine in (
            ({"train": 100, "eval": 50}, True),
            ({"train": 101, "eval": 50}, False),
            ({"train": 99, "eval": 50}, False),
            ({"train": 100, "eval": 51}, False),
        ):
            verdict = verdict_on(facts(rows=rows))
            assert (kinds(verdict) == set()) is is_fine

    def test_lost_rows_are_named(self):
        reason = only(verdict_on(facts(span=7, rows={"train": 120, "eval": 50})), "conservation")
        assert (reason.outcome, reason.span) == (BLOCKED, 7)
        assert (reason.measured, reason.limit) == (100, 120)
        assert "split 'train': 120 rows ingested, 100 in the statistics" in reason.text

    def test_without_a_count_there_is_nothing_to_compare(self):
        assert kinds(verdict_on(facts(rows={}))) == set()

    def test_every_span_is_counted(self):
        window = [facts(span=1, rows={"train": 1, "eval": 50}), facts(span=2)]
        assert only(verdict_on(*window), "conservation").span == 1

    def test_a_file_that_was_not_committed_blocks(self):
        """Though its rows are in no count: TFX's own readers would take them."""
        fact = dataclasses.replace(facts(span=7), strays=["/x/Split-train/.staged-0-a"])
        reason = only(verdict_on(fact), "conservation")
        assert (reason.outcome, reason.span) == (BLOCKED, 7)
        assert reason.text.startswith("/x/Split-train/.staged-0-a: not committed")
        assert "--from ExampleGen --no-cache" in reason.advice


class TestTraining:
    @pytest.mark.parametrize(
        ("steps", "batch_size", "text"),
        [
            (20, 10, None),
            (19, 10, "training sees 190 of 200 rows: 19 steps of 10 rows"),
            (1, 32, "training sees 32 of 200 rows: 1 steps of 32 rows"),
            (1, None, None),
        ],
    )
    def test_rows_that_it_will_never_see_are_a_warning(self, steps, batch_size, text):
        window = [facts(span=1), facts(span=2)]
        verdict = judge(window, schema_of(SCHEMA), POLICY, steps, batch_size)
        found = [r.text for r in verdict.reasons if r.kind == "training_rows"]
        assert found == ([] if text is None else [text])
        assert (verdict.outcome is Outcome.WARNED) is (text is not None)


class TestSplits:
    empty = {"x": [], "c": [], "y": []}

    def test_one_without_a_row_in_the_window_blocks(self):
        reason = only(verdict_on(facts(eval=self.empty)), "empty_split")
        assert (reason.outcome, reason.where) == (BLOCKED, "eval")
        assert "split 'eval' of the window has no rows" in reason.text

    def test_one_span_with_rows_is_enough(self):
        verdict = verdict_on(facts(eval=self.empty, span=1), facts(span=2))
        assert "empty_split" not in kinds(verdict)


class TestLabel:
    def test_a_missing_one_blocks_with_the_count(self):
        train = good(y=[0, None] * 50)
        reason = only(verdict_on(facts(train=train, span=3)), "label_missing")
        assert (reason.outcome, reason.where, reason.span) == (BLOCKED, "y", 3)
        assert (reason.measured, reason.limit) == (50, 0)
        assert "unlabelled: drop" in reason.advice

    def test_a_column_that_is_in_no_span_blocks(self):
        without = {"train": good(y=None), "eval": good(50, y=None)}
        reason = only(verdict_on(facts(**without), label="y"), "label_missing")
        assert (reason.outcome, reason.where) == (BLOCKED, "y")
        assert "in no span" in reason.text

    @pytest.mark.parametrize("value", [0, 1, "late", 0.5])
    def test_a_constant_one_blocks(self, value):
        schema = SCHEMA.replace('feature { name: "y" type: INT bool_domain {} }', "")
        window = [
            facts(good(y=[value] * 100), good(50, y=[value] * 50), span, schema) for span in (1, 2)
        ]
        reason = only(
            verdict_on(*window, schema=schema, anomalies={"new_column": "pass"}), "label_constant"
        )
        assert (reason.outcome, reason.where) == (BLOCKED, "y")

    def test_one_that_differs_between_spans_or_splits_is_not_constant(self):
        one, other = good(y=[0] * 100), good(50, y=[1] * 50)
        assert "label_constant" not in kinds(verdict_on(facts(one, other)))
        window = [facts(one, good(50, y=[0] * 50), 1), facts(good(y=[1] * 100), other, 2)]
        assert "label_constant" not in kinds(verdict_on(*window))

    @pytest.mark.parametrize("policy", POLICIES)
    def test_label_outside_its_domain_blocks_with_any_policy(self, policy):
        train = good(y=[0, 2] * 50)
        verdict = verdict_on(facts(train=train), anomalies={"out_of_range": policy})
        reason = only(verdict, "out_of_range")
        assert (reason.outcome, reason.where) == (BLOCKED, "y")

    def test_another_feature_outside_its_domain_follows_the_policy(self):
        schema = SCHEMA.replace('"x" type: INT', '"x" type: INT bool_domain {}')
        verdict = verdict_on(schema=schema, anomalies={"out_of_range": "pass"})
        assert verdict.outcome is PASSED
        assert only(verdict, "out_of_range").where == "x"

    def test_label_domain_of_an_inferred_schema_follows_the_policy(self):
        train = good(y=[0, 2] * 50)
        assert verdict_on(facts(train=train), is_curated=False).outcome is WARNED


class TestEmptiness:
    def test_nothing_but_nulls_blocks(self):
        nulls = {"x": [None] * 10, "y": [None] * 10}
        schema = 'feature { name: "x" type: INT } feature { name: "y" type: INT }'
        reason = only(verdict_on(facts(nulls, nulls, 4, schema), schema=schema), "all_null")
        assert (reason.outcome, reason.span) == (BLOCKED, 4)

    def test_one_value_is_not_nothing(self):
        train = {"x": [None] * 9 + [1], "y": [None] * 10}
        nulls = {"x": [None] * 10, "y": [None] * 10}
        assert "all_null" not in kinds(verdict_on(facts(train, nulls)))


#: Kind of anomaly -> schema, columns of the train split, and the feature it is about.
ANOMALIES = {
    "missing_column": (SCHEMA, good(c=None), "c"),
    "new_column": (SCHEMA, good(new=[1] * 100), "new"),
    "type": (SCHEMA, good(x=[f"v{i}" for i in range(100)]), "x"),
    "new_value": (
        SCHEMA.replace('"c" type: BYTES', '"c" type: BYTES domain: "c"')
        + 'string_domain { name: "c" value: "a" value: "b" }',
        good(c=["a", "zzz"] * 50),
        "c",
    ),
    "out_of_range": (
        SCHEMA.replace('"x" type: INT', '"x" type: INT int_domain { max: 99 }'),
        good(x=[*range(99), 1000]),
        "x",
    ),
    "not_a_number": (
        SCHEMA + 'feature { name: "f" type: FLOAT float_domain { disallow_nan: true } }',
        good(f=[1.0, float("nan")] * 50),
        "f",
    ),
    "missing_values": (
        SCHEMA.replace("presence { min_count: 1 }", "presence { min_fraction: 1 }"),
        good(c=["a", None] * 50),
        "c",
    ),
    "value_count": (
        SCHEMA.replace('"x" type: INT', '"x" type: INT value_count { min: 1 max: 1 }'),
        good(x=[[1], [1, 2]] * 50),
        "x",
    ),
    "row_count": (SCHEMA + "dataset_constraints { min_examples_count: 80 }", good(60), ""),
    "other": (
        SCHEMA.replace('"c" type: BYTES', '"c" type: BYTES unique_constraints { min: 1 max: 2 }'),
        good(c=["a", "b", "c", "d"] * 25),
        "c",
    ),
}


class TestAnomalies:
    def test_every_kind_is_tried_here_and_can_be_configured(self):
        assert ANOMALIES.keys() == KINDS.keys() == set(get_args(AnomalyKind))

    def test_every_grouped_anomaly_is_one_of_tfdvs_and_in_one_group(self):
        grouped = [name for _, names in KINDS.values() for name in names]
        assert len(set(grouped)) == len(grouped)
        assert set(grouped) <= set(anomalies_pb2.AnomalyInfo.Type.keys())

    def window(self, kind: str, span: int = 1) -> tuple[list[SpanFacts], str]:
        schema, train, _ = ANOMALIES[kind]
        eval = good(90)
        for name in train.keys() - eval.keys():
            eval[name] = [1.0] * 90 if kind == "not_a_number" else [1] * 90
        if "c" not in train:
            del eval["c"]
        return [facts(train, eval, span, schema)], schema

    @pytest.mark.parametrize("kind", ANOMALIES)
    @pytest.mark.parametrize("policy", POLICIES)
    def test_the_policy_of_its_kind_decides(self, kind, policy):
        window, schema = self.window(kind, span=5)
        verdict = verdict_on(*window, schema=schema, anomalies={kind: policy})
        reason = only(verdict, kind)
        assert (reason.outcome, reason.where, reason.span) == (
            POLICIES[policy],
            ANOMALIES[kind][2],
            5,
        )
        assert verdict.outcome is POLICIES[policy]
        assert reason.advice

    @pytest.mark.parametrize("kind", ANOMALIES)
    def test_data_that_fits_the_same_schema_has_none(self, kind):
        schema, train, _ = ANOMALIES[kind]
        fitting = good(90)
        if kind == "not_a_number":
            fitting["f"] = [1.0] * 90
        assert verdict_on(facts(fitting, fitting, 1, schema), schema=schema).outcome is PASSED

    @pytest.mark.parametrize("kind", ANOMALIES)
    def test_by_default_all_block_but_a_new_value(self, kind):
        window, schema = self.window(kind)
        expected = WARNED if kind == "new_value" else BLOCKED
        assert verdict_on(*window, schema=schema).outcome is expected

    @pytest.mark.parametrize("kind", ANOMALIES)
    def test_a_domain_that_nobody_curated_only_warns(self, kind):
        window, schema = self.window(kind)
        outcome = verdict_on(*window, schema=schema, is_curated=False).outcome
        assert outcome is (WARNED if kind in ("out_of_range", "new_value") else BLOCKED)

    @pytest.mark.parametrize("kind", ["out_of_range", "new_value"])
    def test_a_policy_that_is_set_holds_for_an_inferred_schema_too(self, kind):
        window, schema = self.window(kind)
        verdict = verdict_on(*window, schema=schema, is_curated=False, anomalies={kind: "block"})
        assert verdict.outcome is BLOCKED

    def test_same_anomaly_in_both_splits_is_one_reason(self):
        verdict = verdict_on(facts(good(c=None), good(50, c=None)))
        assert "split 'train'" in only(verdict, "missing_column").advice

    def test_anomaly_of_the_eval_split_alone_is_a_reason(self):
        verdict = verdict_on(facts(good(), good(50, c=None)))
        assert "split 'eval'" in only(verdict, "missing_column").advice

    def test_every_span_of_the_window_is_looked_at(self):
        window = [facts(good(c=None), good(50, c=None), span=1), facts(span=2)]
        assert only(verdict_on(*window), "missing_column").span == 1


def spread(values: list, count: int = 200) -> list:
    return (values * count)[:count]


def pair(before: dict, after: dict, schema: str) -> list[SpanFacts]:
    return [
        facts(good(200, **before), good(50), 1, schema),
        facts(good(200, **after), good(50), 2, schema),
    ]


class TestDrift:
    numeric = ({"x": [*range(200)]}, {"x": [*range(1000, 1200)]})
    categorical = ({"c": spread(["a", "b"])}, {"c": spread(["a", "a", "a", "a", "b"])})

    @pytest.mark.parametrize("policy", POLICIES)
    def test_a_number_that_moved_is_measured_by_jensen_shannon(self, policy):
        drift = {**POLICY["drift"], "policy": policy}
        verdict = verdict_on(*pair(*self.numeric, SCHEMA), drift=drift)
        (reason,) = [r for r in verdict.reasons if r.kind == "drift" and r.where == "x"]
        assert reason.outcome is POLICIES[policy]
        assert (reason.span, reason.limit) == (2, 0.3)
        assert reason.measured > 0.9
        assert "Jensen-Shannon divergence to span 1" in reason.text

    @pytest.mark.parametrize("policy", POLICIES)
    def test_a_text_that_moved_is_measured_by_l_infinity(self, policy):
        drift = {**POLICY["drift"], "categorical": 0.29, "policy": policy}
        verdict = verdict_on(*pair(*self.categorical, SCHEMA), drift=drift)
        (reason,) = [r for r in verdict.reasons if r.kind == "drift" and r.where == "c"]
        assert reason.outcome is POLICIES[policy]
        assert reason.measured == pytest.approx(0.3)
        assert "L-infinity distance to span 1" in reason.text

    def test_drift_within_the_limit_is_a_passed_reason(self):
        drift = {**POLICY["drift"], "categorical": 0.31, "policy": "block"}
        verdict = verdict_on(*pair(*self.categorical, SCHEMA), drift=drift)
        assert verdict.outcome is PASSED
        measured = {r.where: r.measured for r in verdict.reasons}
        assert measured == {"x": 0, "c": pytest.approx(0.3), "y": 0}

    def test_an_integer_that_is_a_category_is_measured_at_all(self):
        # L-infinity would be 0: statistics made without the schema hold no counts of integers.
        schema = SCHEMA.replace(
            '"x" type: INT', '"x" type: INT int_domain { is_categorical: true }'
        )
        before, after = {"x": spread([1, 2])}, {"x": spread([8, 9])}
        verdict = verdict_on(*pair(before, after, schema), schema=schema)
        (reason,) = [r for r in verdict.reasons if r.where == "x"]
        assert (reason.outcome, reason.measured > 0.9) == (WARNED, True)

    def test_the_schemas_own_comparator_wins(self):
        schema = SCHEMA.replace(
            '"x" type: INT',
            '"x" type: INT drift_comparator { jensen_shannon_divergence { threshold: 0.99999 } }',
        )
        verdict = verdict_on(
            *pair({"x": [*range(200)]}, {"x": [*range(100, 300)]}, schema), schema=schema
        )
        (reason,) = [r for r in verdict.reasons if r.where == "x"]
        assert reason.measured > 0.3
        assert (reason.outcome, reason.limit) == (PASSED, 0.99999)

    def test_ignored_features_are_not_measured(self):
        schema = SCHEMA.replace(
            '"c" type: BYTES',
            '"c" type: BYTES drift_comparator { infinity_norm { threshold: 0.01 } }',
        )
        drift = {**POLICY["drift"], "ignore": ("x", "c")}
        window = pair(
            {**self.numeric[0], **self.categorical[0]},
            {**self.numeric[1], **self.categorical[1]},
            schema,
        )
        verdict = verdict_on(*window, schema=schema, drift=drift)
        assert {r.where for r in verdict.reasons} == {"y"}

    @pytest.mark.parametrize(
        ("kind", "measured"), [("numeric", {"c"}), ("categorical", {"x", "y"})]
    )
    def test_a_limit_of_none_turns_its_kind_off(self, kind, measured):
        drift = {**POLICY["drift"], kind: None}
        verdict = verdict_on(*pair({}, {}, SCHEMA), drift=drift)
        assert {r.where for r in verdict.reasons if r.kind == "drift"} == measured

    def test_one_span_has_nothing_to_drift_from(self):
        assert "drift" not in kinds(verdict_on(facts()))

    def test_only_the_newest_two_spans_are_compared(self):
        old = facts(good(200, **self.numeric[1]), good(50), 1)
        window = [old, *pair({}, {}, SCHEMA)]
        verdict = verdict_on(*window)
        assert verdict.outcome is PASSED
        assert {r.span for r in verdict.reasons if r.kind == "drift"} == {2}

    def test_a_span_without_rows_is_no_measure(self):
        empty = {"x": [], "c": [], "y": []}
        verdict = verdict_on(facts(empty, good(50), 1), facts(span=2))
        assert "drift" not in kinds(verdict)


class TestSkew:
    schema = SCHEMA.replace(
        '"c" type: BYTES', '"c" type: BYTES skew_comparator { infinity_norm { threshold: 0.2 } }'
    )

    @pytest.mark.parametrize("policy", POLICIES)
    def test_between_train_and_eval_follows_its_policy(self, policy):
        window = facts(
            good(c=["a", "b"] * 50), good(50, c=["a", "a", "a", "a", "b"] * 10), 9, self.schema
        )
        verdict = verdict_on(window, schema=self.schema, skew_policy=policy)
        reason = only(verdict, "skew")
        assert (reason.outcome, reason.where, reason.span) == (POLICIES[policy], "c", 9)
        assert reason.measured == pytest.approx(0.3)
        assert "its eval split" in reason.text

    def test_skew_within_the_limit_is_a_passed_reason(self):
        verdict = verdict_on(facts(schema=self.schema), schema=self.schema, skew_policy="block")
        assert only(verdict, "skew").outcome is PASSED

    def test_without_a_comparator_nothing_is_measured(self):
        window = facts(good(c=["a"] * 100), good(50, c=["b"] * 50))
        assert "skew" not in kinds(verdict_on(window))


def test_rows_left_out_without_a_label_are_a_reason():
    reason = only(verdict_on(facts(left_out=12)), "unlabelled")
    assert (reason.outcome, reason.span) == (PASSED, 1)
    assert reason.text.startswith("12 rows without a label were left out")


def test_the_worst_of_everything_decides():
    window = [facts(good(c=None), good(50, c=None), rows={"train": 1, "eval": 50})]
    verdict = verdict_on(*window, anomalies={"missing_column": "warn"})
    assert verdict.outcome is BLOCKED
    assert [r.kind for r in verdict.reasons] == ["conservation", "missing_column"]
