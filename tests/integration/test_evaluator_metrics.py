"""What the gate measures beside NumPy and scikit-learn on the same predictions.

The models hand back a column of the data, so that the predictions are known to the last bit.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from evaluations import Rows, binary
from sandbox import Sandbox
from sklearn import metrics as sklearn

from ordain.config.loading import load_project
from ordain.errors import ConfigError, DataBlockedError
from ordain.reports.at_run_end import write_run_report
from ordain.reports.facts.confusion import read_confusion
from ordain.reports.facts.model import read_evaluation
from ordain.reports.facts.run_record import read_record
from ordain.verdict import Outcome

DECIDED = {
    "precision": sklearn.precision_score,
    "recall": sklearn.recall_score,
    "f1_score": sklearn.f1_score,
    "binary_accuracy": sklearn.accuracy_score,
}
METRICS = ["ExampleCount", "AUC", "Precision", "Recall", "F1Score", "BinaryAccuracy"]
#: Of the candidate and of the baseline.
ORDERS = [(0.8, 0.5), (0.5, 0.8), (0.8, None), (0.8, 0.8)]


@pytest.mark.parametrize(("threshold", "other"), ORDERS)
def test_each_model_is_measured_at_its_own_threshold(
    tmp_path: Any, threshold: float, other: float | None
) -> None:
    rows, predictions, labels = binary(tmp_path)
    baseline = None if other is None else rows.model(threshold=other)
    found = rows.evaluate(
        rows.model(threshold=threshold),
        baseline,
        metrics=METRICS,
        thresholds={"recall": {"min": 0.5, "max_drop": 0.1}},
    )
    for name, measure in DECIDED.items():
        assert found.values[name]["value"] == pytest.approx(
            measure(labels, predictions >= threshold)
        )
        if other is not None:
            assert found.values[name]["baseline"] == pytest.approx(
                measure(labels, predictions >= other)
            )
    reason = found.reason("recall.min")
    own = sklearn.recall_score(labels, predictions >= threshold)
    assert reason.measured == pytest.approx(own)
    assert reason.outcome is (Outcome.PASSED if own >= 0.5 else Outcome.BLOCKED)
    assert reason.text.startswith(f"recall at {threshold}: {own:.4f}")
    if other is None:  # TFMA takes the limit out of its configuration
        assert "; no baseline to compare with" in found.reason("recall.max_drop").text
    elif other != threshold:
        assert f" at {other} (" in found.reason("recall.max_drop").text
    matrix = found.readout["matrix"]
    assert matrix == {
        "threshold": threshold,
        "true_positives": sum((predictions >= threshold) & (labels == 1)),
        "false_positives": sum((predictions >= threshold) & (labels == 0)),
        "true_negatives": sum((predictions < threshold) & (labels == 0)),
        "false_negatives": sum((predictions < threshold) & (labels == 1)),
    }


def test_a_slice_of_one_class_beside_a_confusion_matrix(tmp_path: Any) -> None:
    rows, predictions, labels = binary(tmp_path)
    found = rows.evaluate(
        rows.model(threshold=0.8),
        metrics=["ExampleCount", "AUC", "Recall"],
        slices=["y"],
        thresholds={"example_count": {"min": 1}},
    )
    entries = {(e["name"], e["slice"]): e for e in found.readout["metrics"]}
    count = sum(labels == 0)
    assert entries["auc", "y=0"]["undefined"] == f"{count} rows, no positive"
    assert entries["recall", "y=0"]["undefined"] == f"{count} rows, no positive"
    assert entries["recall", "y=1"]["value"] == pytest.approx(
        np.mean(predictions[labels == 1] >= 0.8)
    )


@pytest.mark.parametrize("threshold", [0.0, -0.3, 1.2])
def test_logits_have_thresholds_below_0_and_above_1(tmp_path: Any, threshold: float) -> None:
    rows, predictions, labels = binary(tmp_path)
    logits = predictions * np.float32(4) - np.float32(2)
    found = rows.evaluate(
        rows.model(scale=4.0, shift=-2.0, threshold=threshold),
        metrics=["ExampleCount", "Recall", {"class": "Recall", "thresholds": 0.4, "name": "named"}],
        thresholds={"recall": {"min": 0.5}},
    )
    own = sklearn.recall_score(labels, logits >= threshold)
    assert found.values["recall"]["value"] == pytest.approx(own)
    named = sklearn.recall_score(labels, logits >= np.float32(0.4))
    assert found.values["named"]["value"] == pytest.approx(named)


def top(predictions: Any, count: int) -> Any:
    """Whether a class is among the first so many, `[rows, classes]`."""
    order = np.argsort(-predictions, axis=1)
    return np.argsort(order, axis=1) < count


def ndcg(predictions: Any, queries: Any, gains: Any, k: int) -> float:
    found = []
    for query in np.unique(queries):
        mine = queries == query
        if gains[mine].max() > 0:
            scores, truth = predictions[mine].T, gains[mine][None]
            found.append(sklearn.ndcg_score(truth, scores, k=k))
    return float(np.mean(found))


ONE_HOT = np.eye(3)
#: Settings, and what they come to: by name, from labels `y` and predictions `p`.
OF_TWO: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"class": "Recall", "thresholds": 0.8, "name": "recall_80"},
        {"recall_80": lambda y, p: sklearn.recall_score(y, p >= 0.8)},
    ),
    (
        {"class": "BinaryAccuracy", "threshold": 0.3},
        {"binary_accuracy": lambda y, p: sklearn.accuracy_score(y, p >= 0.3)},
    ),
    (
        {"class": "AUC", "num_thresholds": 3, "name": "coarse"},
        {"coarse": lambda y, p: sklearn.auc(*coarse_curve(y, p, [0, 0.5, 1.0]))},
    ),
    (
        {"class": "BinaryIoU", "target_class_ids": [1]},
        {"binary_io_u": lambda y, p: sklearn.jaccard_score(y, p >= 0.6)},
    ),
    (
        {"class": "BinaryCrossentropy", "label_smoothing": 0.2},
        {"binary_crossentropy": lambda y, p: cross_entropy(0.8 * y + 0.1, p)},
    ),
]


def coarse_curve(labels: Any, predictions: Any, thresholds: list[float]) -> tuple[Any, Any]:
    rates = [
        [np.mean(predictions[labels == kind] > t - 1e-7 * (t == 0)) for t in thresholds]
        for kind in (0, 1)
    ]
    return rates[0], rates[1]


def cross_entropy(labels: Any, predictions: Any) -> float:
    p = predictions.astype(np.float64)
    return float(-np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p)))


def same(found: Any, expected: dict[str, Any], labels: Any, predictions: Any) -> None:
    for name, compute in expected.items():
        # TFMA's AUC is of 10,000 buckets.
        value = pytest.approx(compute(labels, predictions), rel=2e-4 if "auc" in name else 2e-6)
        assert found.values[name]["value"] == value, name
        assert found.reason(f"{name}.min").measured == value, name


def evaluated(rows: Rows, model: Any, table: list[Any]) -> Any:
    names = [name for _, expected in table for name in expected]
    return rows.evaluate(
        model,
        metrics=["ExampleCount", *(settings for settings, _ in table)],
        thresholds={name: {"min": -1} for name in names},
    )


def test_settings_of_a_binary_models_metrics(tmp_path: Any) -> None:
    rows, predictions, labels = binary(tmp_path)
    found = evaluated(rows, rows.model(threshold=0.6), OF_TWO)
    for _, expected in OF_TWO:
        same(found, expected, labels, predictions)
    assert found.reason("recall_80.min").text.startswith("recall_80 at 0.8: ")


OF_THREE: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"class": "Recall", "class_id": 1, "thresholds": 0.4, "name": "recall_of_1"},
        {"recall_of_1": lambda y, p: sklearn.recall_score(y == 1, p[:, 1] >= 0.4)},
    ),
    (
        {"class": "AUC", "binarize": {"class_ids": [0, 2]}},
        {
            "auc_class_id_0": lambda y, p: sklearn.roc_auc_score(y == 0, p[:, 0]),
            "auc_class_id_2": lambda y, p: sklearn.roc_auc_score(y == 2, p[:, 2]),
        },
    ),
    (
        {"class": "Precision", "top_k": 1, "name": "precision_at_1"},
        {"precision_at_1": lambda y, p: np.mean(p.argmax(1) == y)},
    ),
    (
        {"class": "Recall", "top_k": 2, "name": "recall_at_2"},
        {"recall_at_2": lambda y, p: sklearn.top_k_accuracy_score(y, p, k=2)},
    ),
    (
        {"class": "SparseTopKCategoricalAccuracy", "k": 2},
        {"sparse_top_k_categorical_accuracy": lambda y, p: sklearn.top_k_accuracy_score(y, p, k=2)},
    ),
    (
        {"class": "F1Score", "name": "micro", "aggregate": {"micro_average": True}},
        {"micro": lambda y, p: sklearn.f1_score(ONE_HOT[y], p >= 0.5, average="micro")},
    ),
    (
        {
            "class": "F1Score",
            "name": "macro",
            "aggregate": {"macro_average": True, "class_weights": {0: 1, 1: 1, 2: 1}},
        },
        {"macro": lambda y, p: sklearn.f1_score(ONE_HOT[y], p >= 0.5, average="macro")},
    ),
    (
        {
            "class": "Recall",
            "name": "weighted",
            "aggregate": {"weighted_macro_average": True, "class_weights": {0: 1, 1: 1, 2: 1}},
        },
        {"weighted": lambda y, p: sklearn.recall_score(ONE_HOT[y], p >= 0.5, average="weighted")},
    ),
    (
        {
            "class": "Recall",
            "name": "both",
            "binarize": {"class_ids": [0]},
            "aggregate": {"macro_average": True, "class_weights": {0: 3, 2: 1}},
        },
        {
            "both_class_id_0": lambda y, p: sklearn.recall_score(y == 0, p[:, 0] >= 0.5),
            "both": lambda y, p: (
                (
                    3 * sklearn.recall_score(y == 0, p[:, 0] >= 0.5)
                    + sklearn.recall_score(y == 2, p[:, 2] >= 0.5)
                )
                / 4
            ),
        },
    ),
    (
        {
            "class": "Precision",
            "name": "micro_at_3",
            "aggregate": {"micro_average": True, "top_k_list": [3]},
        },
        {"micro_at_3": lambda y, p: np.mean(ONE_HOT[y][top(p, 3)])},
    ),
    (
        {"class": "Precision", "name": "flat_at_2", "binarize": {"top_k_list": [2]}},
        {"flat_at_2": lambda y, p: np.mean(ONE_HOT[y][top(p, 2)])},
    ),
]


def test_settings_of_several_classes_metrics(tmp_path: Any, caplog: Any) -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, 3, 300)
    logits = random.normal(size=(300, 3)) + 1.2 * ONE_HOT[labels]
    predictions = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)
    rows = Rows(tmp_path, predictions, labels)
    caplog.set_level("INFO", logger="ordain.components.evaluator.executor")
    found = evaluated(rows, rows.model(), OF_THREE)
    assert "example by example" not in caplog.text
    for _, expected in OF_THREE:
        same(found, expected, labels, predictions)


def test_a_ranking_has_a_value_for_each_top_k(tmp_path: Any, caplog: Any) -> None:
    random = np.random.default_rng(4)
    queries, gains = random.integers(0, 25, 300), random.integers(0, 3, 300)
    predictions = random.permutation(300).astype(np.float32)[:, None] / 300
    rows = Rows(tmp_path, predictions, gains > 0, queries, gains)
    caplog.set_level("INFO", logger="ordain.components.evaluator.executor")
    found = rows.evaluate(
        rows.model(threshold=0.5),
        metrics=[
            "ExampleCount",
            {"class": "NDCG", "gain_key": "g", "query_key": "q", "top_k_list": [3, 10]},
        ],
        thresholds={"ndcg_top_k_3": {"min": 0.1}, "ndcg_top_k_10": {"min": 0.99}},
    )
    assert "evaluating example by example, for metrics over queries" in caplog.text
    for k in (3, 10):
        value = ndcg(predictions, queries, gains, k)
        assert found.reason(f"ndcg_top_k_{k}.min").measured == pytest.approx(value), k
    assert [str(found.reason(f"ndcg_top_k_{k}.min").outcome) for k in (3, 10)] == [
        "passed",
        "blocked",
    ]


def test_the_page_of_a_run_shows_the_gates_numbers_at_one_threshold(
    small: Callable[..., Sandbox],
) -> None:
    limits = {"recall": {"min": 0.0}, "precision": {"min": 0.0}}
    project = small(evaluate={"metrics": METRICS, "thresholds": limits})
    module = project.folder / "model.py"
    module.write_text(module.read_text().replace('label="y")', 'label="y", threshold=0.57)'))
    result = project.run()
    (verdict,) = (v for v in result.verdicts if v.gate == "evaluation")
    measured = {r.kind: r.measured for r in verdict.reasons if not r.where}
    loaded = load_project(project.folder)
    found = read_evaluation(read_record(loaded, result.run_id))
    matrix = read_confusion(found)
    assert matrix.threshold == 0.57
    assert matrix.recalls[1] == pytest.approx(measured["recall.min"])
    assert matrix.precisions[1] == pytest.approx(measured["precision.min"])
    write_run_report(loaded, result.run_id)
    page = (loaded.runs / result.run_id / "report.html").read_text()
    assert all(f"{name} at 0.57" in page for name in DECIDED)
    assert not re.search(r"at (the threshold )?0\.5\b", page)


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ({"class": "Recall", "class_id": 1}, "recall"),
        ({"class": "AUC", "binarize": {"class_ids": [0]}}, "auc"),
        ({"class": "Recall", "aggregate": {"micro_average": True}}, "recall"),
        ("SparseCategoricalAccuracy", "sparse_categorical_accuracy"),
        ("MultiClassConfusionMatrixPlot", "multi_class_confusion_matrix_plot"),
    ],
)
def test_metrics_of_several_classes_are_refused_for_a_model_of_one_output(
    tmp_path: Any, metric: Any, name: str
) -> None:
    rows, _, _ = binary(tmp_path)
    with pytest.raises(ConfigError) as caught:
        rows.evaluate(
            rows.model(threshold=0.5),
            metrics=["Precision", metric],
            thresholds={"precision": {"min": 0}},
        )
    assert f"evaluate.metrics: {name}: metrics of several classes" in caught.value.message
    assert "one output (binary)" in caught.value.message


def test_labels_of_three_classes_are_named_for_a_model_of_one_output(tmp_path: Any) -> None:
    rows = Rows(tmp_path, np.full((4, 1), 0.5, np.float32), np.array([0, 1, 2, 1]))
    model = rows.model(threshold=0.5)
    for metric in ("AUC", "Recall"):
        with pytest.raises(
            DataBlockedError, match="a row has the label 2; a metric of two classes"
        ):
            rows.evaluate(model, metrics=[metric], thresholds={metric.lower(): {"min": 0}})
