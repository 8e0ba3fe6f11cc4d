"""The evaluation's verdict, from EvalConfigs and metrics written by hand."""

import json
import math

import pytest
from google.protobuf import text_format
from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2

from components.evaluation_verdict import judge
from contracts.verdict import Outcome, Verdict

PASSED, BLOCKED = Outcome.PASSED, Outcome.BLOCKED
MIN = "value_threshold { lower_bound { value: %s } upper_bound { value: inf } }"
MAX = "value_threshold { lower_bound { value: -inf } upper_bound { value: %s } }"
DROP = "change_threshold { absolute { value: -%s } direction: HIGHER_IS_BETTER }"
RISE = "change_threshold { absolute { value: %s } direction: LOWER_IS_BETTER }"


def config(
    threshold: str = "", *per_slice: tuple[str, str], name: str = "auc", has_baseline: bool = False
) -> config_pb2.EvalConfig:
    """One metric with a threshold over the whole and some over slices."""
    metric = config_pb2.MetricConfig(class_name="AUC", config=json.dumps({"name": name}))
    if threshold:
        text_format.Parse(threshold, metric.threshold)
    for slicing, limit in per_slice:
        entry = metric.per_slice_thresholds.add()
        text_format.Parse(slicing, entry.slicing_specs.add())
        text_format.Parse(limit, entry.threshold)
    models = [config_pb2.ModelSpec(name="candidate" if has_baseline else "")]
    if has_baseline:
        models.append(config_pb2.ModelSpec(name="baseline", is_baseline=True))
    return config_pb2.EvalConfig(
        model_specs=models, metrics_specs=[config_pb2.MetricsSpec(metrics=[metric])]
    )


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

    def test_everything_about_it_is_told(self):
        verdict = judge(config(MIN % 0.7), metrics({WHOLE: 0.6}), 1)
        (reason,) = verdict.reasons
        assert (verdict.gate, reason.kind, reason.where) == ("evaluation", "auc.min", "")
        assert (reason.measured, reason.limit, reason.baseline) == (0.6, 0.7, None)
        assert reason.text == "auc: 0.6000, must be at least 0.7"
        assert reason.advice

    def test_a_threshold_that_holds_is_told_too(self):
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
        assert "has no value" in reason.text

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
    def test_without_a_baseline_they_pass_and_say_so(self, limit):
        (reason,) = judge(config(limit), metrics({WHOLE: 0.6}), 1).reasons
        assert (reason.outcome, reason.measured, reason.baseline) == (PASSED, 0.6, None)
        assert "no baseline to compare with" in reason.text

    def test_a_baseline_without_a_value_there_is_none(self):
        measured = both({JFK: 0.6}, {WHOLE: 0.9})
        by_origin = ('feature_keys: "origin"', DROP % 0.0)
        (reason,) = judge(config("", by_origin, has_baseline=True), measured, 1).reasons
        assert (reason.outcome, reason.where) == (PASSED, "origin=JFK")
        assert "no baseline" in reason.text

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
    def test_one_that_no_example_belongs_to_blocks(self, slicing):
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
