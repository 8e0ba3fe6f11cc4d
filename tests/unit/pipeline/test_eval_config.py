"""Metrics, slices and thresholds in TFMA's configuration."""

import inspect
import json

import keras
import pytest
import tensorflow_model_analysis as tfma
from google.protobuf import text_format
from tensorflow_model_analysis.metrics import metric_specs, metric_types
from tensorflow_model_analysis.proto import config_pb2

from ordain.components.evaluator.measures import policies_of
from ordain.components.evaluator.r2 import R2Score
from ordain.config.thresholds import check_thresholds, metric_name
from ordain.errors import ConfigError
from ordain.pipeline.eval_config import build_eval_config

#: Classes whose default name in TFMA is not their own in lower case.
OTHERWISE_NAMED = {
    "Bleu",
    "BinaryCrossEntropy",
    "CategoricalCrossEntropy",
    "COCOAveragePrecision",
    "COCOAverageRecall",
    "COCOMeanAveragePrecision",
    "COCOMeanAverageRecall",
    "ObjectDetectionConfusionMatrixPlot",
}


def default_names() -> dict[str, str]:
    """TFMA's default name of every metric that needs no arguments and has one."""
    found = {}
    for class_name, cls in metric_types.registered_metrics().items():
        needed = [
            p
            for p in inspect.signature(cls.__init__).parameters.values()
            if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"
        ]
        if not needed and (name := cls().get_config().get("name")):
            found[class_name] = name
    return found


class TestMetricName:
    def test_is_what_tfma_calls_the_metric_by_default(self):
        defaults = default_names()
        assert {"AUC", "AUCPrecisionRecall", "BinaryAccuracy", "ExampleCount"} <= defaults.keys()
        assert len(defaults) > 70
        differ = {c for c, default in defaults.items() if metric_name(c) != default}
        assert differ == OTHERWISE_NAMED

    def test_is_what_keras_calls_it_where_tfma_has_none(self):
        for name in ("SparseCategoricalAccuracy", "TopKCategoricalAccuracy", "CosineSimilarity"):
            assert metric_name(name) == getattr(keras.metrics, name)().name

    @pytest.mark.parametrize(
        ("class_name", "name"),
        [
            ("AUC", "auc"),
            ("F1Score", "f1_score"),
            ("MeanSquaredError", "mean_squared_error"),
            ("SparseTopKCategoricalAccuracy", "sparse_top_k_categorical_accuracy"),
            ("CosineSimilarity", "cosine_similarity"),
            ("MeanIoU", "mean_io_u"),
        ],
    )
    def test_puts_words_in_lower_case(self, class_name, name):
        assert metric_name(class_name) == name


def test_no_two_metrics_share_a_name():
    known = metric_types.registered_metrics()
    assert len(known) > 90
    assert len({metric_name(n) for n in known}) == len(known)


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("acu", "(example_count, auc); did you mean 'auc'?"),
        ("AUC", "(example_count, auc)"),
        ("precision", "(example_count, auc)"),
    ],
)
def test_a_threshold_names_a_metric_that_is_computed(make_project, name, ending):
    project = make_project(evaluate__thresholds={"auc": {"min": 0.5}, name: {"min": 0.5}})
    with pytest.raises(ConfigError) as caught:
        check_thresholds(project)
    assert caught.value.message.startswith(f"evaluate.thresholds.{name}: no such metric")
    assert caught.value.message.endswith(ending)


class TestEvalConfig:
    def build(self, make_project, newest=7, **evaluate):
        keys = {f"evaluate__{key}": value for key, value in evaluate.items()}
        return build_eval_config(make_project(**keys), newest)

    def metric(self, config, name):
        (found,) = [
            m for m in config.metrics_specs[0].metrics if json.loads(m.config)["name"] == name
        ]
        return found

    def expected(self, text):
        return text_format.Parse(text, config_pb2.MetricConfig())

    def test_the_model_is_evaluated_through_its_signatures(self, make_project):
        (spec,) = self.build(make_project).model_specs
        assert spec == config_pb2.ModelSpec(
            signature_name="serving_tf_example",
            label_key="y",
            preprocessing_function_names=["transform_features"],
        )

    def test_slices_are_all_rows_each_span_and_the_configured_ones(self, make_project):
        config = self.build(make_project, slices=["a", ["b", "c"]])
        assert list(config.slicing_specs) == [
            config_pb2.SlicingSpec(),
            config_pb2.SlicingSpec(feature_keys=["span"]),
            config_pb2.SlicingSpec(feature_keys=["a"]),
            config_pb2.SlicingSpec(feature_keys=["b", "c"]),
        ]

    def test_every_metric_is_computed_under_its_name(self, make_project):
        config = self.build(make_project, metrics=["ExampleCount", "AUC", "BinaryAccuracy"])
        metrics = config.metrics_specs[0].metrics
        assert [(m.class_name, json.loads(m.config)["name"]) for m in metrics[:3]] == [
            ("ExampleCount", "example_count"),
            ("AUC", "auc"),
            ("BinaryAccuracy", "binary_accuracy"),
        ]
        assert not metrics[0].HasField("threshold")

    @pytest.mark.parametrize(
        ("metrics", "plots"),
        [
            (["ExampleCount", "AUC"], ["CalibrationPlot"]),
            (["Precision", "CalibrationPlot"], ["CalibrationPlot"]),
            (["SparseCategoricalAccuracy"], ["MultiClassConfusionMatrixPlot"]),
            (["AUC", "CategoricalCrossentropy"], ["MultiClassConfusionMatrixPlot"]),
            (["ExampleCount", "MeanSquaredError"], []),
        ],
    )
    def test_what_the_report_draws_is_computed_and_limits_nothing(
        self, make_project, metrics, plots
    ):
        limited = metric_name(metrics[0])
        config = self.build(make_project, metrics=metrics, thresholds={limited: {"min": 0}})
        found = [m for m in config.metrics_specs[0].metrics if m.class_name.endswith("Plot")]
        assert [m.class_name for m in found] == plots
        assert not any(m.HasField("threshold") or m.per_slice_thresholds for m in found)

    @pytest.mark.parametrize(
        ("limit", "text"),
        [
            (
                {"min": 0.7},
                "value_threshold { lower_bound { value: 0.7 } upper_bound { value: inf } }",
            ),
            (
                {"max": 0.7},
                "value_threshold { lower_bound { value: -inf } upper_bound { value: 0.7 } }",
            ),
            (
                {"min": 0, "max": 0},
                "value_threshold { lower_bound { value: 0 } upper_bound { value: 0 } }",
            ),
            (
                {"max_drop": 0.02},
                "change_threshold { absolute { value: -0.02 } direction: HIGHER_IS_BETTER }",
            ),
            (
                {"min": 0.7, "max_drop": 0},
                "value_threshold { lower_bound { value: 0.7 } upper_bound { value: inf } }"
                "change_threshold { absolute { value: -0.0 } direction: HIGHER_IS_BETTER }",
            ),
        ],
    )
    def test_limits_become_tfmas_thresholds(self, make_project, limit, text):
        config = self.build(make_project, thresholds={"auc": limit})
        threshold = self.metric(config, "auc").threshold
        assert threshold == self.expected(f"threshold {{ {text} }}").threshold

    def test_a_rise_is_limited_where_less_is_better(self, make_project):
        metrics, limit = ["MeanAbsoluteError"], {"mean_absolute_error": {"max_rise": 0.02}}
        config = self.build(make_project, metrics=metrics, thresholds=limit)
        threshold = self.metric(config, "mean_absolute_error").threshold
        text = "change_threshold { absolute { value: 0.02 } direction: LOWER_IS_BETTER }"
        assert threshold == self.expected(f"threshold {{ {text} }}").threshold

    def test_the_newest_spans_limit_is_on_its_slice(self, make_project):
        config = self.build(
            make_project, newest=201312, thresholds={"auc": {"newest": {"min": 0.65}}}
        )
        metric = self.metric(config, "auc")
        assert not metric.HasField("threshold")
        assert list(metric.per_slice_thresholds) == list(
            self.expected(
                "per_slice_thresholds {"
                ' slicing_specs { feature_values { key: "span" value: "201312" } }'
                " threshold { value_threshold {"
                " lower_bound { value: 0.65 } upper_bound { value: inf } } } }"
            ).per_slice_thresholds
        )

    def test_what_becomes_of_undefined_values_rides_along(self, make_project):
        auc = {
            "min": 0.5,
            "min_rows": 9,
            "newest": {"min": 0.4, "undefined": "warn"},
            "slices": [{"keys": ["a"], "min": 0.3, "undefined": "skip", "min_rows": 7}],
        }
        config = self.build(make_project, thresholds={"auc": auc, "example_count": {"min": 1}})
        assert policies_of(config) == {
            "auc": {
                "whole": {"min_rows": 9},
                # In the order of `per_slice_thresholds`.
                "slices": [{"undefined": "skip", "min_rows": 7}, {"undefined": "warn"}],
            },
            "example_count": {"whole": {}, "slices": []},
        }
        slices = [t.slicing_specs[0] for t in self.metric(config, "auc").per_slice_thresholds]
        assert slices == [
            config_pb2.SlicingSpec(feature_keys=["a"]),
            config_pb2.SlicingSpec(feature_values={"span": "7"}),
        ]

    def test_a_slice_with_a_limit_is_evaluated_once(self, make_project):
        slices = [
            {"keys": ["a"], "min": 0.6},
            {"keys": ["b"], "min": 0.6},
            {"values": {"a": 5}, "max": 0.9},
        ]
        config = self.build(make_project, slices=["a"], thresholds={"auc": {"slices": slices}})
        assert list(config.slicing_specs)[2:] == [
            config_pb2.SlicingSpec(feature_keys=["a"]),
            config_pb2.SlicingSpec(feature_keys=["b"]),
            config_pb2.SlicingSpec(feature_values={"a": "5"}),
        ]
        assert len(self.metric(config, "auc").per_slice_thresholds) == 3

    @pytest.mark.parametrize(
        ("value", "text"), [(5, "5"), (0.5, "0.5"), ("JFK", "JFK"), (True, "1"), (False, "0")]
    )
    def test_a_slices_value_is_written_as_tfma_writes_it(self, make_project, value, text):
        slices = [{"values": {"a": value}, "min": 0.6}]
        config = self.build(make_project, thresholds={"auc": {"slices": slices}})
        assert config.slicing_specs[-1] == config_pb2.SlicingSpec(feature_values={"a": text})

    @pytest.mark.parametrize(
        "thresholds",
        [
            {"auc": {"min": 0.5, "max_drop": 0.1, "newest": {"min": 0.4}}},
            {"auc": {"max_drop": 0.1, "slices": [{"keys": ["a"], "max": 0.4}]}},
        ],
    )
    @pytest.mark.parametrize("has_baseline", [False, True])
    def test_tfma_accepts_the_whole(self, make_project, thresholds, has_baseline):
        config = self.build(make_project, slices=["a"], thresholds=thresholds)
        config = tfma.utils.update_eval_config_with_defaults(
            config, has_baseline=has_baseline, rubber_stamp=True
        )
        tfma.utils.verify_eval_config(config)
        assert len(config.model_specs) == 1 + has_baseline

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"aggregate": {"micro_average": True, "class_weights": {0: 1}}}, "class_weights"),
        ],
    )
    def test_what_tfma_refuses_is_refused_before_the_training(self, make_project, options, reason):
        with pytest.raises(ConfigError) as caught:
            self.build(make_project, metrics=["AUC", {"class": "ExampleCount", **options}])
        assert "cannot be computed with these settings" in caught.value.message
        assert reason in caught.value.message

    @pytest.mark.parametrize(
        ("metric", "expected"),
        [
            ({"class": "AUC", "num_thresholds": 50, "name": "a"}, {"a": ""}),
            ({"class": "Recall", "thresholds": 0.8, "name": "recall_80"}, {"recall_80": ""}),
            (
                {"class": "Recall", "class_id": 1},
                {"recall": "binarize { class_ids { values: 1 } }"},
            ),
            (
                {"class": "Recall", "binarize": {"class_ids": [0, 2], "k_list": [1]}},
                {
                    "recall_class_id_0": "binarize { class_ids { values: 0 } }",
                    "recall_class_id_2": "binarize { class_ids { values: 2 } }",
                    "recall_k_1": "binarize { k_list { values: 1 } }",
                },
            ),
            (
                {
                    "class": "Recall",
                    "binarize": {"class_ids": [0]},
                    "aggregate": {"macro_average": True, "class_weights": {0: 1, 1: 2}},
                },
                {
                    "recall_class_id_0": "binarize { class_ids { values: 0 } }",
                    "recall": "aggregate { macro_average: true class_weights { key: 0 value: 1 } "
                    "class_weights { key: 1 value: 2 } }",
                },
            ),
            (
                {"class": "NDCG", "gain_key": "g", "query_key": "q", "top_k_list": [1, 3]},
                {
                    "ndcg_top_k_1": 'query_key: "q" binarize { top_k_list { values: 1 } }',
                    "ndcg_top_k_3": 'query_key: "q" binarize { top_k_list { values: 3 } }',
                },
            ),
        ],
    )
    def test_every_value_is_a_metric_of_its_own(self, make_project, metric, expected):
        thresholds = {name: {"min": 0} for name in expected}
        config = self.build(make_project, metrics=[metric], thresholds=thresholds)
        found = {}
        for spec in config.metrics_specs:
            for each in list(spec.metrics):
                if each.HasField("threshold"):
                    options = config_pb2.MetricsSpec()
                    options.CopyFrom(spec)
                    del options.metrics[:]
                    found[json.loads(each.config)["name"]] = options
        assert found == {
            name: text_format.Parse(text, config_pb2.MetricsSpec())
            for name, text in expected.items()
        }

    def test_r2_is_our_own(self, make_project):
        config = self.build(make_project, metrics=["R2Score"], thresholds={"r2_score": {"min": 0}})
        metric = self.metric(config, "r2_score")
        assert metric.module == R2Score.__module__


@pytest.mark.parametrize(
    "names",
    [
        ["ExampleCount", "AUC", "AUCPrecisionRecall", "BinaryAccuracy", "Calibration"],
        ["SparseCategoricalAccuracy", "BinaryCrossentropy", "BinaryCrossEntropy"],
        ["MeanSquaredError", "MeanAbsoluteError", "MeanLabel", "MeanPrediction"],
    ],
)
def test_tfma_computes_what_is_named_under_the_name_thresholds_use(make_project, names):
    limits = {metric_name(names[0]): {"min": 0}}
    project = make_project(evaluate__metrics=names, evaluate__thresholds=limits)
    config = build_eval_config(project, 1)
    computations = metric_specs.to_computations(list(config.metrics_specs), config)
    computed = {key.name for computation in computations for key in computation.keys}
    assert {metric_name(name) for name in names} <= computed
