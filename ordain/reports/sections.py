"""Content of each section of a report: facts and charts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ordain.reports.charts import curves as charts_curves
from ordain.reports.charts import data as charts_data
from ordain.reports.charts import model as charts_model
from ordain.reports.charts import run as charts_run
from ordain.reports.charts.base import Chart
from ordain.reports.facts import gates, slices
from ordain.reports.facts import lineage as lineage_graph
from ordain.reports.facts.confusion import read_confusion
from ordain.reports.facts.data import Feature, dataset_anomalies, read_features
from ordain.reports.facts.formatting import plain
from ordain.reports.facts.intervals import DRAWS
from ordain.reports.facts.model import Evaluation
from ordain.reports.facts.run_record import Record
from ordain.reports.facts.server_latency import latency_limit, read_server
from ordain.reports.facts.training import read_training, read_trials
from ordain.verdict import Outcome, Reason

#: Features and distances with a chart; tables hold the numbers of all.
MAX_STRIPS = 100
MAX_OVERLAYS = 48
Add = Callable[[Chart | None], Any]
_METHODS = {
    "bootstrap": f"Poisson bootstrap of the predictions by label ({DRAWS} draws of the histogram)",
    "wilson": "Wilson's interval of a share",
    "normal": "normal approximation, with the spread of the errors in a sample",
}
FORMULAS = {
    "L-infinity distance": "max over all values v of |p(v) − q(v)|, where p and q are the shares",
    "Jensen-Shannon divergence": "½ KL(p ‖ m) + ½ KL(q ‖ m), m = ½ (p + q), logarithms to base 2",
}


def verdict(record: Record, found: Evaluation | None) -> dict[str, Any]:
    """Build the head of the page, and the gates."""
    return {
        "summary": gates.summarize(record, found),
        "gates": gates.gates(record),
        "blocked": gates.why_blocked(record),
    }


def data(record: Record, add: Add) -> dict[str, Any] | None:
    """Build features with their distributions, anomalies, and distances."""
    features = read_features(record, record.project.data.label)
    if not features:
        return None
    spans = sorted({d.span for f in features for d in f.distributions})
    strips = [
        (feature, add(charts_data.strip(feature, spans)) if i < MAX_STRIPS else None)
        for i, feature in enumerate(features)
    ]
    splits = sorted({d.split for f in features for d in f.distributions}, reverse=True)
    rows = {
        span: {
            split: max(
                (
                    d.present + d.missing
                    for f in features
                    for d in f.distributions
                    if (d.span, d.split) == (span, split)
                ),
                default=0,
            )
            for split in splits
        }
        for span in spans
    }
    return {
        "features": strips,
        "spans": spans,
        "splits": splits,
        "rows": rows,
        "anomalies": dataset_anomalies(record),
        "distances": _distances(features, spans, add),
        "formulas": FORMULAS,
        "max_strips": MAX_STRIPS,
        "max_overlays": MAX_OVERLAYS,
    }


def _distances(features: list[Feature], spans: list[int], add: Add) -> list[dict[str, Any]]:
    """Build drift and skew, closest to the limit first, each with both distributions."""
    pairs = [(feature, reason) for feature in features for reason in feature.distances]
    pairs.sort(key=lambda pair: (pair[1].outcome is Outcome.PASSED, -_ratio(pair[1])))
    found = []
    for i, (feature, reason) in enumerate(pairs):
        newest = reason.span if reason.span is not None else spans[-1]
        if reason.kind == "skew":
            other, names = (newest, "eval"), ("eval split", "train split")
        else:
            earlier = [span for span in spans if span < newest]
            before = earlier[-1] if earlier else newest
            other, names = (before, "train"), (f"span {before}", f"span {newest}")
        first, second = feature.of(*other), feature.of(newest, "train")
        figure = None
        if first is not None and second is not None and i < MAX_OVERLAYS:
            figure = add(
                charts_data.overlay(plain(feature.name, 60), first, second, names, reason.text)
            )
        found.append({"feature": feature, "reason": reason, "figure": figure, "names": names})
    return found


def _ratio(reason: Reason) -> float:
    return (reason.measured or 0.0) / reason.limit if reason.limit else 0.0


def training(record: Record, add: Add) -> dict[str, Any] | None:
    """Build the curves of the training."""
    found = read_training(record)
    if found is None:
        return None
    return {"training": found, "figures": [add(chart) for chart in charts_run.curves(found)]}


def tuning(record: Record, add: Add) -> dict[str, Any] | None:
    """Build the Tuner's trials; None without a Tuner."""
    found = read_trials(record)
    return None if found is None else {"trials": found, "figure": add(charts_run.trials(found))}


def model(record: Record, add: Add, found: Evaluation | None) -> dict[str, Any] | None:
    """Build metrics, curves, confusion, slices and importance."""
    if found is None:
        return None
    metric = slices.primary_metric(found, record.verdicts)
    gate = next((v for v in record.verdicts if v.gate == "evaluation"), None)
    figures = [
        charts_curves.roc(found),
        charts_curves.precision_recall(found),
        charts_curves.calibration(found),
        charts_curves.spread(found),
        *(charts_model.residuals(*found.sample) if found.sample is not None else ()),
    ]
    importance = found.importance
    methods = {m.interval.method for m in found.overall.values() if m.interval is not None}
    return {
        "evaluation": found,
        "compared_with": gate.compared_with if gate else "nothing",
        "methods": [_METHODS[name] for name in sorted(methods)],
        "figures": [add(chart) for chart in figures if chart is not None],
        "confusion": read_confusion(found),
        "metric": metric,
        "slices": slices.rows(found, metric, gate) if metric else [],
        "slice_figure": add(charts_model.slices(found, metric, slices.limits(gate, metric)))
        if metric
        else None,
        "importance": importance,
        "importance_figure": add(charts_model.importance(importance)) if importance else None,
    }


def server(record: Record, add: Add) -> dict[str, Any] | None:
    """Build the trial of the server gate."""
    found = read_server(record)
    if found is None:
        return None
    chart = charts_run.latency(found.latencies, latency_limit(record.verdicts))
    reasons = {r.kind: r for v in record.verdicts if v.gate == "server" for r in v.reasons}
    return {"server": found, "figure": add(chart), "reasons": reasons}


def time(record: Record, add: Add) -> dict[str, Any] | None:
    """Build start, duration and cost of each node."""
    if record.result is not None:
        nodes = record.result["nodes"]
    else:
        unknown = {"cpu_s": None, "peak_rss_bytes": None, "rows": None, "reason": ""}
        nodes = [
            {"node": run.node, "state": run.state, "seconds": run.seconds, **unknown}
            for run in record.run.nodes
        ]
    if not nodes:
        return None
    return {"nodes": nodes, "figure": add(charts_run.gantt(record.run.nodes))}


def lineage(record: Record, _: Add) -> dict[str, Any] | None:
    """Build the graph, and the artifacts of each node."""
    version = record.result.get("version") if record.result else None
    drawn = lineage_graph.graph(record, version)
    if drawn is None:
        return None
    return {
        "graph": drawn,
        "artifacts": lineage_graph.artifacts(record),
        "box": (lineage_graph.BOX_WIDTH, lineage_graph.BOX_HEIGHT),
    }
