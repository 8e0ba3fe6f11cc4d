"""Charts of unusual inputs: every one is drawn for real, or left out."""

import numpy as np
import pytest

from ordain.history.runs import NodeRun
from ordain.reports.charts import data as charts_data
from ordain.reports.charts import model as charts_model
from ordain.reports.charts import run as charts_run
from ordain.reports.charts.renderer import draw_all
from ordain.reports.facts.data import Distribution, Feature
from ordain.reports.facts.model import Importance
from ordain.reports.facts.server_latency import Latency
from ordain.reports.facts.training import Curve, Training, Trials
from ordain.verdict import Outcome, Reason

pytestmark = pytest.mark.process


def drawn(*charts):
    """The drawings, all of which came out."""
    assert all(chart is not None for chart in charts)
    found = draw_all(charts)
    assert [svg[:5] for svg in found] == ["<svg "] * len(charts), found
    return found


def feature(*distributions, name="f"):
    return Feature(name, False, False, "", distributions, (), ())


def test_residuals_of_a_regression():
    labels = np.linspace(-5, 5, 2000)
    scatter, errors = charts_model.residuals(labels, labels + 0.5)
    assert "Mean 0.5, standard deviation" in errors.caption
    first, _ = drawn(scatter, errors)
    assert first.count("<path") > 500


def test_trials_with_texts_numbers_and_gaps():
    rows = (
        ("7", 0.9, (32, "relu", None)),
        ("3", 0.5, (4, "<b>", 0.1)),
        ("5", None, (4, "relu", 0.2)),
    )
    (svg,) = drawn(charts_run.trials(Trials(("units", "activation", "rate"), rows)))
    for label in ("units", "activation", "rate", "score", "relu", "&lt;b&gt;", "32"):
        assert f">{label}</text>" in svg


def test_a_training_of_one_step_without_a_rate():
    curve = Curve("loss", ((1, 0.7),), ())
    charts = charts_run.curves(Training((curve,), (), 1, 0, 0.1, {"loss": 0.7}))
    assert len(charts) == 1
    drawn(*charts)


def test_time_has_a_line_for_each_node_and_a_bar_for_each_execution():
    executions = [
        NodeRun(1, "ExampleGen", 1, "cached", 5000, 5001),
        NodeRun(2, "ExampleGen", 2, "complete", 5001, 8000),
        NodeRun(3, "Trainer", None, "failed", 8000, 68000),
    ]
    chart = charts_run.gantt(executions)
    assert [label for label, _, _ in chart.keys] == ["complete", "cached", "failed"]
    (svg,) = drawn(chart)
    assert ">3.0 s</text>" in svg
    assert ">1 min 00 s</text>" in svg
    assert charts_run.gantt([]) is None


def test_latency():
    found = [Latency("REST", (3.0, 1.0, 2.0)), Latency("gRPC", (5.0,))]
    assert found[0].percentiles == (2.0, 3.0, 3.0, 3.0)
    assert "500 ms" not in charts_run.latency(found, 500.0).caption, "far off the chart"
    assert "20 ms" in charts_run.latency(found, 20.0).caption
    drawn(charts_run.latency(found, 20.0))
    assert charts_run.latency([], 20.0) is None


@pytest.mark.parametrize("count", [1, 2, 12, 40])
def test_a_strip_has_a_panel_for_each_of_the_newest_spans(count):
    spans = list(range(1, count + 1))
    numbers = feature(*(Distribution(s, "train", 9, 1, buckets=((0, 1, 9),)) for s in spans))
    chart = charts_data.strip(numbers, spans)
    (svg,) = drawn(chart)
    assert f">{count}</text>" in svg
    assert svg.count("<text") == min(count, charts_data.MAX_PANELS)
    assert ("the newest 12 of 40 spans" in chart.caption) == (count == 40)


def test_a_feature_without_a_value_has_no_strip():
    assert charts_data.strip(feature(Distribution(1, "train", 0, 10)), [1]) is None
    assert charts_data.strip(feature(), []) is None


def test_values_that_are_cut_to_the_same_text_stay_apart():
    values = tuple((f"{'Z' * 50}{i}", 5.0 + i) for i in range(4))
    one, two = (Distribution(s, "train", 26, 0, values=values) for s in (1, 2))
    chart = charts_data.overlay("f", one, two, ("span 1", "span 2"), "")
    (svg,) = drawn(chart)
    assert svg.count(f">{'Z' * 12}…</text>") == 4
    assert charts_data.overlay("f", one, Distribution(2, "train", 0, 1), ("", ""), "") is None


def test_importance_below_nothing():
    found = Importance("auc", 0.7, 100, 1000, 0, (("a", 0.1, 0.01), ("b", -0.02, 0.03)))
    drawn(charts_model.importance(found))
    assert charts_model.importance(Importance("auc", 0.7, 1, 1, 0, ())) is None


def test_what_is_beyond_its_limit_is_conspicuous():
    reason = Reason(Outcome.WARNED, "drift", "", measured=0.5, limit=0.3)
    assert not feature().is_conspicuous
    assert Feature("f", False, False, "", (), (), (reason,)).is_conspicuous
