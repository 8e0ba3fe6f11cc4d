"""Settings of metrics: what `ordain plan` refuses, and that its table is the libraries' own."""

import subprocess
import sys

import pytest

from ordain.config.loading import load_project
from ordain.config.metric_settings import known_classes
from ordain.errors import ConfigError
from ordain.runner.preflight import make_plan


def refused(make_project, *metrics, **thresholds):
    limits = thresholds or {"auc": {"min": 0.5}}
    with pytest.raises(ConfigError) as caught:
        make_plan(make_project(evaluate__metrics=list(metrics), evaluate__thresholds=limits))
    return caught.value.message


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (
            "AUCC",
            "evaluate.metrics.1: 'AUCC' is not a metric of TFMA or Keras; did you mean 'AUC'?",
        ),
        ("NDCGMetric", "'NDCGMetric' is not a metric of TFMA or Keras; did you mean 'NDCG'?"),
        ("Sum", "Sum cannot be computed: it does not compare labels with predictions"),
        ("MeanIoU", "evaluate.metrics.1 (MeanIoU): requires num_classes"),
        (
            {"class": "Recall", "treshold": 0.8},
            "unknown setting 'treshold'; did you mean 'thresholds'?",
        ),
        (
            {"class": "Recall", "zzz": 1},
            "unknown setting 'zzz'; allowed: thresholds, top_k, class_id,",
        ),
        ({"class": "Recall", "thresholds": "high"}, "thresholds is 'high'; it must be: number"),
        ({"class": "Recall", "thresholds": [0.2, 0.8]}, "which gives one metric several values"),
        ({"class": "Recall", "thresholds": float("nan")}, "thresholds is nan"),
        ({"class": "Recall", "top_k": 0}, "top_k is 0; it must be 1 or more"),
        ({"class": "Recall", "top_k": True}, "top_k is True; it must be: integer"),
        ({"class": "Recall", "class_id": -1}, "class_id is -1; it must be 0 or more"),
        ({"class": "Recall", "class_id": 1, "top_k": 1}, "both top_k and class_id"),
        ({"class": "AUC", "name": "b", "curve": "RCO"}, "curve is 'RCO'; it must be ROC or PR"),
        (
            {"class": "AUC", "name": "b", "num_thresholds": 1},
            "num_thresholds is 1; it must be 2",
        ),
        (
            {"class": "AUC", "name": "b", "num_thresholds": 9, "thresholds": [0.1]},
            "both thresholds and num_thresholds",
        ),
        ({"class": "PrecisionAtRecall"}, "requires recall"),
        ({"class": "PrecisionAtRecall", "recall": 1.2}, "recall is 1.2; it must be from 0 to 1"),
        ({"class": "NDCG", "gain_key": "g", "top_k_list": [3]}, "requires query_key"),
        ({"class": "NDCG", "query_key": "q", "top_k_list": [3]}, "requires gain_key"),
        ({"class": "NDCG", "gain_key": "g", "query_key": "q"}, "requires top_k_list"),
        (
            {"class": "SparseCategoricalAccuracy", "aggregate": {"micro_average": True}},
            "TFMA does not aggregate sparse metrics",
        ),
        ({"class": "AUC", "num_thresholds": 9}, "the name 'auc' is taken by evaluate.metrics.0"),
        (
            {"class": "Recall", "name": "confusion_matrix"},
            "the name 'confusion_matrix' is taken by the confusion matrix",
        ),
    ],
)
def test_what_is_wrong_is_refused(make_project, metric, said):
    assert said in refused(make_project, "AUC", metric)


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ({"name": "a"}, "evaluate.metrics.0.class' is required"),
        ({"class": "Recall", "name": "at.80"}, "evaluate.metrics.0.name"),
        ({"class": "Recall", "binarize": {}}, "needs class_ids, k_list or top_k_list"),
        ({"class": "Recall", "binarize": {"classes": [1]}}, "did you mean 'class_ids'?"),
        ({"class": "Recall", "aggregate": {}}, "needs one of micro_average, macro_average"),
        ({"class": "Recall", "aggregate": {"macro_average": True}}, "give class_weights"),
        (7, "evaluate.metrics.0"),
    ],
)
def test_what_has_the_wrong_form_is_refused(make_project, metric, said):
    with pytest.raises(ConfigError) as caught:
        make_project(evaluate__metrics=[metric])
    assert said in caught.value.message


def test_what_tfma_mixes_up_is_refused(make_project):
    at_2 = {"class": "Recall", "name": "at_2", "top_k": 2}
    micro = {"class": "Recall", "aggregate": {"micro_average": True, "top_k_list": [2]}}
    assert "top_k 2 is both micro-averaged and not" in refused(make_project, "AUC", at_2, micro)


def test_a_limit_names_one_of_several_values(make_project):
    several = {"class": "Recall", "binarize": {"class_ids": [0, 1]}}
    said = refused(make_project, several, recall_class_id={"min": 0.5})
    assert "(recall_class_id_0, recall_class_id_1); did you mean 'recall_class_id_" in said


def test_the_table_is_what_the_libraries_know():
    sys.path.append("tools")
    try:
        import metric_classes
    finally:
        sys.path.remove("tools")
    expected = metric_classes.as_text(metric_classes.read_classes())
    assert metric_classes.TARGET.read_text() == expected, "run tools/metric_classes.py"


def test_metrics_with_settings_are_checked_without_tensorflow(make_folder):
    metrics = ["AUC", {"class": "Recall", "thresholds": 0.8}]
    folder = make_folder(evaluate__metrics=metrics)
    code = f"""
import sys
from ordain.runner.preflight import make_plan
from ordain.config.loading import load_project
make_plan(load_project({str(folder)!r}))
heavy = {{"tensorflow", "tensorflow_model_analysis", "keras", "tf_keras", "tfx"}}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(known_classes()) > 120
    assert load_project(folder).evaluate.metrics[1].settings == {"thresholds": 0.8}
