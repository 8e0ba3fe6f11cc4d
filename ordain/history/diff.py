"""Compares two runs: settings, library versions, nodes, verdicts and metrics.

Read from the run folders (`pipeline.yaml`, `result.json`) and ML Metadata, without TFX. For a run
that never ended, which has no result, states and times of its nodes come from ML Metadata.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ordain.common.json_files import read_json
from ordain.common.node_id import NodeId
from ordain.config.project import Project
from ordain.history.results import merge_states
from ordain.history.runs import History, Run

#: The Evaluator's file beside TFMA's (`ordain.components.evaluator.results_json`).
_READOUT_FILE = "readout.json"
#: Facts of a node.
NODE_FIELDS = ("state", "seconds", "cpu_s", "peak_rss_bytes", "rows")


@dataclass(frozen=True)
class RunFacts:
    """The comparable facts of one run.

    Attributes:
        run_id: The run.
        headline: Its outcome in one line.
        settings: The effective configuration, by dotted key; references are not resolved.
        versions: The libraries' versions, by distribution.
        window: Its spans.
        seconds: Wall time; None if it never ended.
        peak_rss_bytes: Peak memory; None if it was not measured.
        version: Serving version that holds its model, or None.
        nodes: For each node the values of `NODE_FIELDS`, by name.
        verdicts: Outcome by gate.
        metrics: Value by slice (empty for all rows) and metric; the reason if it is undefined.
        evaluated: Fingerprint of the rows and labels they were measured on; empty if unknown.
    """

    run_id: str
    headline: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    window: tuple[int, ...] = ()
    seconds: float | None = None
    peak_rss_bytes: int | None = None
    version: int | None = None
    nodes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    verdicts: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[tuple[str, str], float | str] = field(default_factory=dict)
    evaluated: str = ""


@dataclass(frozen=True)
class Change:
    """A value in both runs; None if a run does not have it.

    Attributes:
        name: Name of the value.
        before: The value in the first run; `undefined: REASON` for an undefined metric.
        after: The value in the second run.
        slice: For a metric, its slice; empty for all rows.
        is_comparable: For a metric, whether both were measured on the same rows.
    """

    name: str
    before: Any
    after: Any
    slice: str = ""
    is_comparable: bool = True

    @property
    def difference(self) -> float | None:
        """`after` minus `before`; None unless both are comparable numbers."""
        if not self.is_comparable:
            return None
        if isinstance(self.before, int | float) and isinstance(self.after, int | float):
            return self.after - self.before
        return None


@dataclass(frozen=True)
class RunComparison:
    """Comparison of two runs.

    Attributes:
        before: Id of the first run.
        after: Id of the second.
        outcome: Headline, window, seconds, memory and serving version.
        settings: Settings that differ.
        versions: Libraries whose versions differ.
        nodes: For each node of either run, in pipeline order, the changes of `NODE_FIELDS`.
        verdicts: Every gate.
        metrics: Every metric and slice that one of them has, all rows first.
        not_comparable: Why metrics have no difference; empty if they have one.
    """

    before: str
    after: str
    outcome: tuple[Change, ...]
    settings: tuple[Change, ...]
    versions: tuple[Change, ...]
    nodes: Mapping[str, tuple[Change, ...]]
    verdicts: tuple[Change, ...]
    metrics: tuple[Change, ...]
    not_comparable: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        raw = asdict(self)
        raw["metrics"] = [asdict(m) | {"difference": m.difference} for m in self.metrics]
        return raw


def compare_runs(before: RunFacts, after: RunFacts) -> RunComparison:
    """Compares two runs.

    Args:
        before: The first run.
        after: The second run.
    """
    outcome = ("headline", "window", "seconds", "peak_rss_bytes", "version")
    nodes = {
        name: tuple(_changes(NODE_FIELDS, before.nodes.get(name, {}), after.nodes.get(name, {})))
        for name in _in_order(before.nodes, after.nodes)
    }
    measured = sorted({*before.metrics, *after.metrics})
    why = _not_comparable(before, after) if before.metrics and after.metrics else ""
    return RunComparison(
        before=before.run_id,
        after=after.run_id,
        outcome=tuple(Change(k, getattr(before, k), getattr(after, k)) for k in outcome),
        settings=_different(before.settings, after.settings),
        versions=_different(before.versions, after.versions),
        nodes=nodes,
        verdicts=tuple(
            _changes(_in_order(before.verdicts, after.verdicts), before.verdicts, after.verdicts)
        ),
        metrics=tuple(
            Change(
                name,
                before.metrics.get((where, name)),
                after.metrics.get((where, name)),
                where,
                is_comparable=not why,
            )
            for where, name in measured
        ),
        not_comparable=why,
    )


def _not_comparable(before: RunFacts, after: RunFacts) -> str:
    """Returns why the metrics of two runs do not show which model is better."""
    if before.evaluated and before.evaluated == after.evaluated:
        return ""
    if not before.evaluated or not after.evaluated:
        return "the rows of one of them are not known"
    if before.window != after.window:
        return f"measured on different rows: {_spans(before.window)}, {_spans(after.window)}"
    return "measured on different rows, or with different labels, of the same spans"


def _spans(window: Sequence[int]) -> str:
    if len(window) < 2:
        return f"span {window[0]}" if window else "no span"
    return f"{len(window)} spans, {window[0]} to {window[-1]}"


def read_facts(project: Project, history: History, run_id: str) -> RunFacts:
    """Reads the comparable facts of a run.

    Args:
        project: The project.
        history: Its past runs.
        run_id: The run; its folder or its record in ML Metadata must exist.
    """
    folder = project.runs / run_id
    recorded = Run(run_id, 0)
    if history.store.get_context_by_type_and_name("pipeline_run", run_id) is not None:
        recorded = history.read_run(run_id)
    result = read_json(folder / "result.json") or {}
    nodes = {
        node["node"]: {key: node.get(key) for key in NODE_FIELDS}
        for node in result.get("nodes", ())
    }
    return RunFacts(
        run_id=run_id,
        headline=result.get("headline", "did not end (running, or killed)"),
        settings=_read_settings(folder / "pipeline.yaml"),
        versions=result.get("versions") or {},
        window=tuple(result.get("window", ())),
        seconds=result.get("seconds"),
        peak_rss_bytes=result.get("peak_rss_bytes"),
        version=result.get("version"),
        nodes=nodes or _nodes_of(recorded),
        verdicts={v["gate"]: v["outcome"] for v in result.get("verdicts", ())},
        **_read_metrics(recorded),
    )


def _nodes_of(run: Run) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(node.node for node in run.nodes):
        launches = [node for node in run.nodes if node.node == name]
        states = [launch.state for launch in launches]
        state = "running" if "running" in states else merge_states(states)
        found[name] = {"state": state, "seconds": sum(launch.seconds for launch in launches)}
    return found


def _read_metrics(run: Run) -> dict[str, Any]:
    folders = [
        Path(output.uri)
        for node in run.nodes
        if node.node == NodeId.EVALUATOR
        for output in node.outputs
        if output.key == "evaluation"
    ]
    readout = (read_json(folders[-1] / _READOUT_FILE) or {}) if folders else {}
    metrics = {
        (entry["slice"], _title(entry)): entry["value"]
        if "value" in entry
        else f"undefined: {entry['undefined']}"
        for entry in readout.get("metrics", ())
        if "value" in entry or "undefined" in entry
    }
    return {"metrics": metrics, "evaluated": readout.get("fingerprint", "")}


def _title(entry: Mapping[str, Any]) -> str:
    """A metric's name with its decision threshold, without which metrics cannot be compared."""
    threshold = entry.get("threshold")
    return str(entry["name"]) if threshold is None else f"{entry['name']} at {threshold:g}"


def _read_settings(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, yaml.YAMLError):
        return dict(_flat(yaml.safe_load(path.read_text(encoding="utf-8"))))
    return {}


def _flat(value: Any, key: str = "") -> Iterable[tuple[str, Any]]:
    """Settings by dotted key; a list is one setting."""
    if not isinstance(value, dict) or not value:
        yield key, value
        return
    for name, below in value.items():
        yield from _flat(below, f"{key}.{name}" if key else str(name))


def _in_order(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """The second run's order, followed by what only the first has."""
    return list(dict.fromkeys([*after, *before]))


def _changes(
    names: Iterable[str], before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterable[Change]:
    return [Change(name, before.get(name), after.get(name)) for name in names]


def _different(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    names = sorted({*before, *after})
    return tuple(c for c in _changes(names, before, after) if c.before != c.after)
