"""The evaluation's verdict, from EvalConfigs and metrics written by hand."""

import json
import math

import numpy as np
import pytest
from google.protobuf import text_format
from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2

from ordain.components.evaluator import verdict as evaluation_verdict
from ordain.components.evaluator.measures import read_measures
from ordain.components.evaluator.rows import SliceRows
from ordain.verdict import Outcome, Verdict

PASSED, BLOCKED = Outcome.PASSED, Outcome.BLOCKED
WARNED, SKIPPED = Outcome.WARNED, Outcome.SKIPPED
MIN = "value_threshold { lower_bound { value: %s } upper_bound { value: inf } }"
MAX = "value_threshold { lower_bound { value: -inf } upper_bound { value: %s } }"
DROP = "change_threshold { absolute { value: -%s } direction: HIGHER_IS_BETTER }"
RISE = "change_threshold { absolute { value: %s } direction: LOWER_IS_BETTER }"


def judge(config: config_pb2.EvalConfig, metrics: list, newest: int) -> Verdict:
    """The verdict on protos as TFMA leaves them."""
    return evaluation_verdict.judge(config, read_measures(config, metrics), newest)


def config(
    threshold: str = "",
    *per_slice: tuple[str, str],
    name: str = "auc",
    has_baseline: bool = False,
    kind: str = "AUC",
    policy: dict | None = None,
) -> config_pb2.EvalConfig:
    """One metric with a threshold over the whole and some over slices, each of the policy."""
    metric = config_pb2.MetricConfig(class_name=kind, config=json.dumps({"name": name}))
    if threshold:
        text_format.Parse(threshold, metric.threshold)
    for slicing, limit in per_slice:
        entry = metric.per_slice_thresholds.add()
        text_format.Parse(slicing, entry.slicing_specs.add())
        text_format.Parse(limit, entry.threshold)
    models = [config_pb2.ModelSpec(name="candidate" if has_baseline else "")]
    if has_baseline:
        models.append(config_pb2.ModelSpec(name="baseline", is_baseline=True))
    limits = {name: {"whole": policy or {}, "slices": [policy or {}] * len(per_slice)}}
    counted = config_pb2.MetricConfig(
        class_name="SliceRowsMetric", config=json.dumps({"name": "slice_rows", "limits": limits})
    )
    specs = [config_pb2.MetricsSpec(metrics=[each]) for each in (metric, counted)]
    return config_pb2.EvalConfig(model_specs=models, metrics_specs=specs)


def metrics(values: dict, model: str = "", name: str = "auc", is_diff: bool = False) -> list:
    """MetricsForSlice protos; keys are slices as tuples of (column, value)."""
    found = []
    for where, value in values.items():
        entry = metrics_for_slice_pb2.MetricsForSlice()
        for column, slice_value in where:
            key = entry.slice_key.single_slice_keys.add(column=column)
            if isinstance(slice_value, int):
                key.int64_value = slice_value
            elif isinstance(slice_value, float):
                key.float_value = slice_value
            else:
                key.bytes_value = slice_value.encode()
        pair = entry.metric_keys_and_values.add()
        pair.key.name, pair.key.model_name, pair.key.is_diff = name, model, is_diff
        pair.value.double_value.value = value
        found.append(entry)
    return found


def counted(slices: dict, model: str = "", nan: int = 0, outputs: int = 1) -> list:
    """The rows of slices; each is given as weight by label."""
    found = metrics(dict.fromkeys(slices, 0.0), model, "slice_rows")
    for entry, weights in zip(found, slices.values(), strict=True):
        rows = int(sum(weights.values()))
        labels = np.array([[label, 0, weight] for label, weight in weights.items()], np.float64)
        value = SliceRows(rows, rows, nan, 1, outputs, labels.reshape(-1, 3))
        entry.metric_keys_and_values[0].value.bytes_value = value.to_json().encode()
    return found


def both(candidate: dict, baseline: dict) -> list:
    return metrics(candidate, "candidate") + metrics(baseline, "baseline")


WHOLE = ()
JFK, EWR = (("origin", "JFK"),), (("origin", "EWR"),)


class TestValues:
    @pytest.mark.parametrize(
        ("limit", "value", "outcome"),
        [
            (MIN % 0.7, 0.71, PASSED),
            (MIN % 0.7, 0.7, PASSED),
            (MIN % 0.7, 0.69, BLOCKED),
            (MAX % 0.7, 0.69, PASSED),
            (MAX % 0.7, 0.7, PASSED),
            (MAX % 0.7, 0.71, BLOCKED),
            (MIN % 0, -0.1, BLOCKED),
            (MIN % 0, 0.0, PASSED),
            (MAX % 1, math.inf, BLOCKED),
            (MIN % 1, -math.inf, BLOCKED),
        ],
    )
    def test_min_and_max(self, limit, value, outcome):
        assert judge(config(limit), metrics({WHOLE: value}), 1).outcome is outcome

    def test_reason_has_every_detail(self):
        verdict = judge(config(MIN % 0.7), metrics({WHOLE: 0.6}), 1)
        (reason,) = verdict.reasons
        assert (verdict.gate, reason.kind, reason.where) == ("evaluation", "auc.min", "")
        assert (reason.measured, reason.limit, reason.baseline) == (0.6, 0.7, None)
        assert reason.text == "auc: 0.6000, must be at least 0.7"
        assert reason.advice

    def test_passed_threshold_is_a_reason(self):
        (reason,) = judge(config(MIN % 0.5), metrics({WHOLE: 0.6}), 1).reasons
        assert (reason.outcome, reason.measured, reason.advice) == (PASSED, 0.6, "")

    def test_both_bounds_are_two_reasons(self):
        limit = "value_threshold { lower_bound { value: 0.2 } upper_bound { value: 0.4 } }"
        verdict = judge(config(limit), metrics({WHOLE: 0.5}), 1)
        assert {(r.kind, r.outcome) for r in verdict.reasons} == {
            ("auc.min", PASSED),
            ("auc.max", BLOCKED),
        }

    @pytest.mark.parametrize("limit", [MIN % 0.0, MAX % 1.0, DROP % 1.0, RISE % 1.0])
    def test_a_value_that_is_no_number_blocks(self, limit):
        verdict = judge(config(limit, has_baseline=True), both({WHOLE: math.nan}, {WHOLE: 0.5}), 1)
        (reason,) = verdict.reasons
        assert (reason.outcome, reason.measured) == (BLOCKED, None)
        assert reason.undefined == "the metric is 0/0 or NaN"
        assert "auc: undefined (the metric is 0/0 or NaN); " in reason.text

    def test_a_verdict_with_it_can_be_written_and_read(self):
        verdict = judge(config(MIN % 0.0), metrics({WHOLE: math.nan}), 1)
        assert Verdict.from_json(verdict.to_json()) == verdict

    def test_a_metric_that_was_not_computed_blocks(self):
        verdict = judge(config(MIN % 0.5), metrics({WHOLE: 0.9}, name="other"), 1)
        assert verdict.outcome is BLOCKED

    def test_metrics_without_a_threshold_are_no_reason(self):
        assert judge(config(), metrics({WHOLE: 0.0}), 1) == Verdict("evaluation", PASSED)


class TestChanges:
    @pytest.mark.parametrize(
        ("limit", "value", "base", "outcome"),
        [
            (DROP % 0.02, 0.69, 0.70, PASSED),
            (DROP % 0.02, 0.60, 0.70, BLOCKED),
            (DROP % 0.02, 0.80, 0.70, PASSED),
            (DROP % 0.25, 0.50, 0.75, PASSED),
            (DROP % 0, 0.70, 0.70, PASSED),
            (DROP % 0, 0.6999, 0.70, BLOCKED),
            (RISE % 0.02, 0.71, 0.70, PASSED),
            (RISE % 0.02, 0.80, 0.70, BLOCKED),
            (RISE % 0.02, 0.60, 0.70, PASSED),
            (RISE % 0, 0.7001, 0.70, BLOCKED),
        ],
    )
    def test_how_much_worse_than_the_baseline(self, limit, value, base, outcome):
        verdict = judge(config(limit, has_baseline=True), both({WHOLE: value}, {WHOLE: base}), 1)
        (reason,) = verdict.reasons
        assert reason.outcome is outcome
        assert (reason.measured, reason.baseline) == (value, base)
        assert reason.kind == ("auc.max_drop" if "HIGHER" in limit else "auc.max_rise")

    def test_candidate_and_baseline_are_not_mixed_up(self):
        for candidate, baseline, outcome in ((0.5, 0.9, BLOCKED), (0.9, 0.5, PASSED)):
            measured = both({WHOLE: candidate}, {WHOLE: baseline})
            for order in (measured, measured[::-1]):
                verdict = judge(config(DROP % 0.1, has_baseline=True), order, 1)
                assert verdict.outcome is outcome

    def test_differences_that_tfma_adds_are_not_values(self):
        measured = both({WHOLE: 0.9}, {WHOLE: 0.9})
        measured += metrics({WHOLE: -0.5}, "candidate", is_diff=True)
        assert judge(config(MIN % 0.7, has_baseline=True), measured, 1).outcome is PASSED

    @pytest.mark.parametrize("limit", [DROP % 0.0, RISE % 0.0])
    def test_change_limits_pass_without_a_baseline(self, limit):
        (reason,) = judge(config(limit), metrics({WHOLE: 0.6}), 1).reasons
        assert (reason.outcome, reason.measured, reason.baseline) == (PASSED, 0.6, None)
        assert "no baseline to compare with" in reason.text

    @pytest.mark.parametrize(
        ("value", "base", "difference"),
        [(0.7223, 0.71, "+0.0123"), (0.71, 0.7223, "-0.0123"), (0.7, 0.7, "+0.0000")],
    )
    def test_the_difference_has_its_sign(self, value, base, difference):
        for limit, side in ((DROP, "below"), (RISE, "above")):
            asked = config(limit % 0.02, has_baseline=True)
            (reason,) = judge(asked, both({WHOLE: value}, {WHOLE: base}), 1).reasons
            assert reason.text == (
                f"auc: {value:.4f}, baseline {base:.4f} ({difference}); may be at most 0.02 {side}"
            )

    @pytest.mark.parametrize("base", [{JFK: math.nan}, {WHOLE: 0.9}])
    def test_without_a_value_of_the_baseline_nothing_is_compared(self, base):
        by_origin = ('feature_keys: "origin"', DROP % 0.0)
        whole = metrics({WHOLE: 0.9}, "candidate", "other")
        for policy, outcome in (({}, BLOCKED), ({"undefined": "block"}, BLOCKED)):
            asked = config("", by_origin, has_baseline=True, policy=policy)
            verdict = judge(asked, both({JFK: 0.6}, base) + whole, 1)
            assert verdict.outcome is outcome
            (reason,) = (r for r in verdict.reasons if r.where)
            assert (reason.where, reason.measured, reason.baseline) == ("origin=JFK", 0.6, None)
            assert "not compared (the baseline has no value" in reason.text

    def test_the_baselines_own_value_is_not_limited(self):
        verdict = judge(config(MIN % 0.7, has_baseline=True), both({WHOLE: 0.8}, {WHOLE: 0.1}), 1)
        assert verdict.outcome is PASSED


class TestSlices:
    by_origin = ('feature_keys: "origin"', MIN % 0.7)
    only_jfk = ('feature_values { key: "origin" value: "JFK" }', MIN % 0.7)

    def outcomes(self, verdict) -> dict[str, Outcome]:
        return {r.where: r.outcome for r in verdict.reasons}

    def test_a_key_covers_every_slice_of_it_and_no_other(self):
        measured = metrics({WHOLE: 0.1, JFK: 0.8, EWR: 0.6, (("carrier", "AA"),): 0.1})
        assert self.outcomes(judge(config("", self.by_origin), measured, 1)) == {
            "origin=JFK": PASSED,
            "origin=EWR": BLOCKED,
        }

    def test_a_value_covers_its_slice_alone(self):
        measured = metrics({WHOLE: 0.1, JFK: 0.8, EWR: 0.1})
        assert self.outcomes(judge(config("", self.only_jfk), measured, 1)) == {
            "origin=JFK": PASSED
        }

    def test_two_keys_cover_their_cross_in_any_order(self):
        cross = (("origin", "JFK"), ("carrier", "AA"))
        measured = metrics({JFK: 0.1, cross: 0.6, cross[::-1][:1]: 0.1})
        for keys in ("origin", "carrier"), ("carrier", "origin"):
            slicing = "".join(f'feature_keys: "{key}" ' for key in keys)
            verdict = judge(config("", (slicing, MIN % 0.7)), measured, 1)
            assert self.outcomes(verdict) == {"carrier=AA, origin=JFK": BLOCKED}

    def test_the_whole_is_not_a_slice(self):
        measured = metrics({WHOLE: 0.8, JFK: 0.1})
        assert self.outcomes(judge(config(MIN % 0.7), measured, 1)) == {"": PASSED}

    @pytest.mark.parametrize("value", [5, 2.5, "JFK", "Zürich"])
    def test_values_of_any_type_are_found(self, value):
        slicing = f'feature_values {{ key: "k" value: "{value}" }}'
        verdict = judge(config("", (slicing, MIN % 0.7)), metrics({(("k", value),): 0.8}), 1)
        assert verdict.outcome is PASSED

    @pytest.mark.parametrize("slicing", [by_origin, only_jfk])
    def test_slice_without_examples_blocks(self, slicing):
        (reason,) = judge(config("", slicing), metrics({WHOLE: 0.9}), 1).reasons
        assert reason.outcome is BLOCKED
        assert "no example in the eval split belongs to slice origin" in reason.text

    def test_no_example_at_all_blocks(self):
        assert judge(config(MIN % 0.0), [], 1).outcome is BLOCKED

    def test_a_slice_and_the_whole_are_judged_each_by_its_own_limit(self):
        measured = metrics({WHOLE: 0.75, JFK: 0.65})
        verdict = judge(config(MIN % 0.7, ('feature_keys: "origin"', MIN % 0.6)), measured, 1)
        assert self.outcomes(verdict) == {"": PASSED, "origin=JFK": PASSED}


class TestSpans:
    def span(self, number: int) -> tuple:
        return (("span", number),)

    def test_the_newest_is_named(self):
        limit = ('feature_values { key: "span" value: "201312" }', MIN % 0.7)
        measured = metrics({self.span(201311): 0.1, self.span(201312): 0.6})
        (reason,) = judge(config("", limit), measured, 201312).reasons
        assert (reason.outcome, reason.span) == (BLOCKED, 201312)
        assert reason.text.startswith("auc on span=201312, the newest: 0.6000")

    def test_the_newest_without_an_eval_row_blocks(self):
        limit = ('feature_values { key: "span" value: "3" }', MIN % 0.7)
        (reason,) = judge(config("", limit), metrics({self.span(2): 0.9}), 3).reasons
        assert (reason.outcome, reason.where) == (BLOCKED, "span=3")

    def test_each_span_can_be_limited(self):
        limit = ('feature_keys: "span"', MIN % 0.7)
        measured = metrics({self.span(1): 0.6, self.span(2): 0.8})
        verdict = judge(config("", limit), measured, 2)
        assert {r.span: r.outcome for r in verdict.reasons} == {1: BLOCKED, 2: PASSED}


def test_every_metric_has_its_own_limits():
    first, second = config(MIN % 0.7), config(MAX % 0.3, name="loss")
    first.metrics_specs[0].metrics.extend(second.metrics_specs[0].metrics)
    measured = metrics({WHOLE: 0.8}) + metrics({WHOLE: 0.4}, name="loss")
    verdict = judge(first, measured, 1)
    assert [(r.kind, r.outcome) for r in verdict.reasons] == [
        ("loss.max", BLOCKED),
        ("auc.min", PASSED),
    ]


NO_POSITIVE, NO_NEGATIVE, MIXED = {0.0: 26}, {1.0: 26}, {0.0: 20, 1.0: 6}


class TestUndefined:
    """A metric without a value is neither 0 nor a pass."""

    def line(self, kind, value, labels, policy=None, slicing=""):
        """The reason about JFK, beside a whole window on which all is well."""
        per_slice = (slicing or 'feature_keys: "origin"', MIN % 0.6)
        asked = config(MIN % 0.6, per_slice, kind=kind, policy=policy)
        found = metrics({WHOLE: 0.9, JFK: value}) + counted(
            {WHOLE: {0.0: 50, 1.0: 50}, JFK: labels}
        )
        verdict = judge(asked, found, 1)
        (reason,) = (r for r in verdict.reasons if r.where == "origin=JFK")
        return verdict, reason

    @pytest.mark.parametrize(
        ("kind", "value", "labels", "why"),
        [
            ("AUC", 0.0, NO_POSITIVE, "26 rows, no positive"),
            ("AUC", 0.0, NO_NEGATIVE, "26 rows, no negative"),
            ("AUCPrecisionRecall", 0.0, NO_POSITIVE, "26 rows, no positive"),
            ("AUCPrecisionRecall", 1.0, NO_NEGATIVE, "26 rows, no negative"),
            ("SensitivityAtSpecificity", 0.0, NO_POSITIVE, "26 rows, no positive"),
            ("Precision", 0.0, NO_POSITIVE, "26 rows, no positive"),
            ("Precision", math.nan, MIXED, "26 rows, none predicted as positive"),
            ("Recall", math.nan, NO_POSITIVE, "26 rows, no positive"),
            ("Specificity", math.nan, NO_NEGATIVE, "26 rows, no negative"),
            ("F1Score", 0.0, NO_POSITIVE, "26 rows, no positive"),
            ("R2Score", math.nan, {4.5: 26}, "26 rows, every label is 4.5"),
            ("RootMeanSquaredError", 0.0, {}, "no rows"),
            ("DiagnosticOddsRatio", math.inf, MIXED, "26 rows, the metric is infinite"),
        ],
    )
    def test_undefined_value_has_a_reason(self, kind, value, labels, why):
        _, reason = self.line(kind, value, labels)
        assert (reason.measured, reason.undefined) == (None, why)
        assert reason.text == f"auc on origin=JFK: undefined ({why}); must be at least 0.6"
        assert reason.rows == sum(labels.values())

    @pytest.mark.parametrize(
        ("kind", "labels"),
        [("BinaryAccuracy", NO_POSITIVE), ("AUC", MIXED), ("Recall", MIXED), ("F1Score", MIXED)],
    )
    def test_a_value_of_zero_is_one(self, kind, labels):
        _, reason = self.line(kind, 0.0, labels)
        assert (reason.measured, reason.undefined) == (0.0, "")

    @pytest.mark.parametrize(
        ("slicing", "policy", "outcome"),
        [
            ('feature_keys: "origin"', None, WARNED),
            ('feature_keys: "origin"', {"undefined": "block"}, BLOCKED),
            ('feature_keys: "origin"', {"undefined": "skip"}, SKIPPED),
            ('feature_values { key: "origin" value: "JFK" }', None, BLOCKED),
            ('feature_values { key: "origin" value: "JFK" }', {"undefined": "warn"}, WARNED),
            ('feature_values { key: "origin" value: "JFK" }', {"undefined": "skip"}, SKIPPED),
        ],
    )
    def test_policy_of_the_limit_decides(self, slicing, policy, outcome):
        verdict, reason = self.line("AUC", 0.0, NO_POSITIVE, policy, slicing)
        assert reason.outcome is outcome
        assert verdict.outcome is (PASSED if outcome is SKIPPED else outcome)
        assert Verdict.from_json(verdict.to_json()) == verdict

    @pytest.mark.parametrize("policy", [None, {"undefined": "warn"}, {"undefined": "skip"}])
    def test_the_whole_window_blocks_by_default_and_nothing_judged_is_no_pass(self, policy):
        found = metrics({WHOLE: 0.0}) + counted({WHOLE: NO_POSITIVE})
        verdict = judge(config(MIN % 0.0, policy=policy), found, 1)
        assert verdict.outcome is BLOCKED
        opened = policy is not None
        assert any("no threshold could be judged" in r.text for r in verdict.reasons) is opened

    def test_a_first_model_that_only_skipped_limits_could_judge_is_no_pass(self):
        by_origin = ('feature_keys: "origin"', MIN % 0.6)
        found = metrics({WHOLE: 0.9, JFK: 0.0}) + counted({WHOLE: MIXED, JFK: NO_POSITIVE})
        for policy in ({"undefined": "warn"}, {"undefined": "skip"}):
            verdict = judge(config(DROP % 0.1, by_origin, policy=policy), found, 1)
            assert verdict.outcome is BLOCKED
            assert "no threshold could be judged" in verdict.reasons[0].text

    @pytest.mark.parametrize(
        ("rows", "why"),
        [({0.0: 50, 1.0: 49}, "99 rows, min_rows is 100"), ({0.0: 50, 1.0: 50}, "")],
    )
    def test_a_slice_of_too_few_rows_is_not_judged(self, rows, why):
        policy = {"min_rows": 100, "undefined": "skip"}
        for value, outcome in ((0.2, BLOCKED), (0.9, PASSED)):
            verdict, reason = self.line("AUC", value, rows, policy)
            assert (reason.measured, reason.undefined) == (value, why)
            assert reason.outcome is (SKIPPED if why else outcome)
            assert verdict.outcome is (PASSED if why else outcome)
            assert f"not judged ({why})" in reason.text or not why

    def test_metric_not_computed_blocks_with_any_policy(self):
        asked = config("", ('feature_keys: "origin"', MIN % 0.0), policy={"undefined": "skip"})
        assert judge(asked, counted({WHOLE: MIXED, JFK: MIXED}), 1).outcome is BLOCKED

    def test_predictions_that_are_nan_block_though_the_metric_left_them_out(self):
        found = metrics({WHOLE: 0.1}) + counted({WHOLE: {1.5: 30, 2.5: 70}}, nan=12)
        verdict = judge(config(MAX % 0.5, kind="MeanAbsoluteError"), found, 1)
        assert verdict.outcome is BLOCKED
        assert verdict.reasons[0].text == "the model predicts NaN for 12 of 100 rows"

    def test_every_reason_has_rows(self):
        found = metrics({WHOLE: 0.9, JFK: 0.8})
        found += counted({WHOLE: {0.0: 900, 1.0: 400}, JFK: {0.0: 1, 1.0: 0}})
        asked = config(MIN % 0.7, ('feature_keys: "origin"', MIN % 0.7), kind="BinaryAccuracy")
        lines = {r.where: (r.rows, r.text) for r in judge(asked, found, 1).reasons}
        assert lines[""][0] == 1300
        assert lines[""][1].startswith("auc: 0.9000, must be at least 0.7 (1,300 rows)")
        assert lines["origin=JFK"][0] == 1
        assert "must be at least 0.7 (1 row)" in lines["origin=JFK"][1]


class TestTrivialPredictors:
    """TFMA's own metrics of a predictor that answers the same to every row."""

    @pytest.mark.parametrize(
        ("kind", "limit", "value", "labels", "outcome", "trivial"),
        [
            ("BinaryAccuracy", MIN % 0.7, 0.84, {0.0: 82, 1.0: 18}, WARNED, 0.82),
            ("BinaryAccuracy", MIN % 0.82, 0.84, {0.0: 82, 1.0: 18}, WARNED, 0.82),
            ("BinaryAccuracy", MIN % 0.83, 0.84, {0.0: 82, 1.0: 18}, PASSED, 0.82),
            ("BinaryAccuracy", MIN % 0.7, 0.5, {0.0: 82, 1.0: 18}, BLOCKED, 0.82),
            ("AUC", MIN % 0.45, 0.8, {0.0: 82, 1.0: 18}, WARNED, 0.5),
            ("AUC", MIN % 0.6, 0.8, {0.0: 82, 1.0: 18}, PASSED, 0.5),
            ("AUCPrecisionRecall", MIN % 0.6, 0.8, {0.0: 20, 1.0: 80}, WARNED, 0.8),
            ("Recall", MIN % 0.6, 0.8, {0.0: 82, 1.0: 18}, PASSED, 0.0),
            ("BinaryCrossentropy", MAX % 0.7, 0.4, {0.0: 50, 1.0: 50}, WARNED, 0.6931),
            ("MeanSquaredError", MAX % 30, 1.0, {0.0: 25, 10.0: 75}, WARNED, 18.75),
            ("MeanAbsoluteError", MAX % 2.4, 1.0, {0.0: 25, 10.0: 75}, PASSED, 2.5),
            ("ExampleCount", MIN % 5, 100.0, {0.0: 82, 1.0: 18}, PASSED, None),
        ],
    )
    def test_a_limit_that_one_would_pass_is_a_warning(
        self, kind, limit, value, labels, outcome, trivial
    ):
        found = metrics({WHOLE: value}) + counted({WHOLE: labels})
        (reason,) = judge(config(limit, kind=kind), found, 1).reasons
        assert reason.outcome is outcome
        assert reason.trivial == pytest.approx(trivial, abs=1e-4)
        assert ("would be passed by" in reason.text) is (outcome is not PASSED)

    def test_text_has_predictor_and_value(self):
        found = metrics({WHOLE: 0.84}) + counted({WHOLE: {0.0: 82, 1.0: 18}})
        (reason,) = judge(config(MIN % 0.7, kind="BinaryAccuracy"), found, 1).reasons
        assert reason.text == (
            "auc: 0.8400, must be at least 0.7 (100 rows); the limit would be passed by "
            "always answering '0' (0.8200)"
        )

    def test_prediction_is_the_same_for_every_slice(self):
        found = metrics({WHOLE: 0.9, JFK: 0.9})
        found += counted({WHOLE: {0.0: 82, 1.0: 18}, JFK: {0.0: 3, 1.0: 7}})
        by_origin = ('feature_keys: "origin"', MIN % 0.5)
        verdict = judge(config("", by_origin, kind="BinaryAccuracy"), found, 1)
        assert [r.trivial for r in verdict.reasons] == [pytest.approx(0.3)]

    def test_of_several_classes_it_is_the_most_frequent(self):
        found = metrics({WHOLE: 0.9})
        found += counted({WHOLE: {0.0: 10, 1.0: 60, 2.0: 30}}, outputs=3)
        asked = config(MIN % 0.5, kind="SparseCategoricalAccuracy")
        (reason,) = judge(asked, found, 1).reasons
        assert (reason.outcome, reason.trivial) == (WARNED, pytest.approx(0.6))
        assert "always answering '1'" in reason.text
