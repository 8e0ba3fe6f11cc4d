"""Features of the window: distributions, schema expectations, anomalies.

Reads TFDV's statistics, TFX's anomalies and the schema as they lie on disk, without TensorFlow.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from ordain.common.node_id import NodeId
from ordain.reports.facts.formatting import number, plain, share
from ordain.reports.facts.run_record import Record
from ordain.storage import artifact_store
from ordain.verdict import Outcome, Reason

#: Values of a domain that an expectation names.
MAX_DOMAIN = 8
_TYPES = {schema_pb2.BYTES: "text", schema_pb2.INT: "integer", schema_pb2.FLOAT: "number"}
_HISTOGRAM = statistics_pb2.Histogram


@dataclass(frozen=True)
class Distribution:
    """One feature in one split of one span, as TFDV measured it.

    Attributes:
        span: The span's number.
        split: The split.
        present: Rows with a value.
        missing: Rows without one.
        buckets: Low and high end and count of each equally wide bucket, for numbers.
        values: The most frequent values with their counts, for texts.
        unique: Number of different values, for texts.
        mean, deviation, low, median, high: Of numbers, else None.
        zeros: Values that are 0, of numbers.
    """

    span: int
    split: str
    present: int
    missing: int
    buckets: tuple[tuple[float, float, float], ...] = ()
    values: tuple[tuple[str, float], ...] = ()
    unique: int | None = None
    mean: float | None = None
    deviation: float | None = None
    low: float | None = None
    median: float | None = None
    high: float | None = None
    zeros: int | None = None

    @property
    def missing_share(self) -> float:
        """Share of rows without a value, 0 to 1."""
        rows = self.present + self.missing
        return self.missing / rows if rows else 0.0


@dataclass(frozen=True)
class Anomaly:
    """An anomaly found by ExampleValidator."""

    span: int
    split: str
    short: str
    text: str


@dataclass(frozen=True)
class Feature:
    """One raw feature of the window."""

    name: str
    is_label: bool
    is_numeric: bool
    expectation: str
    distributions: tuple[Distribution, ...]
    anomalies: tuple[Anomaly, ...]
    distances: tuple[Reason, ...]

    @property
    def missing_share(self) -> float:
        """Share of rows without a value in the whole window."""
        missing = sum(d.missing for d in self.distributions)
        rows = missing + sum(d.present for d in self.distributions)
        return missing / rows if rows else 0.0

    @property
    def is_conspicuous(self) -> bool:
        """True if there is an anomaly, or a distance beyond its limit."""
        return bool(self.anomalies) or any(
            reason.outcome is not Outcome.PASSED for reason in self.distances
        )

    def of(self, span: int, split: str) -> Distribution | None:
        """The distribution of one split of one span."""
        found = (d for d in self.distributions if (d.span, d.split) == (span, split))
        return next(found, None)


def read_features(record: Record, label: str) -> list[Feature]:
    """Read the features of a run's window, those with findings first.

    Args:
        record: The run.
        label: The label's name.

    Returns:
        Empty if the run has no statistics on this machine.
    """
    distributions: dict[str, list[Distribution]] = defaultdict(list)
    for span, output in record.outputs(NodeId.STATISTICS_GEN, "statistics"):
        for split, path in _split_files(output.uri, "FeatureStats.pb"):
            message = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes())
            for dataset in message.datasets:
                for raw in dataset.features:
                    name = ".".join(raw.path.step) or raw.name
                    found = _distribution(raw, int(span or 0), split, dataset.num_examples)
                    distributions[name].append(found)
    anomalies = _anomalies(record)
    schema = _schema(record)
    expected = {feature.name: feature for feature in schema.feature}
    distances: dict[str, list[Reason]] = defaultdict(list)
    for verdict in record.verdicts:
        for reason in verdict.reasons:
            if reason.kind in ("drift", "skew"):
                distances[reason.where].append(reason)
    names = list(dict.fromkeys([*distributions, *expected, *anomalies]))
    features = [
        Feature(
            name=name,
            is_label=name == label,
            is_numeric=any(d.buckets for d in distributions[name]),
            expectation=_expectation(expected[name], schema)
            if name in expected
            else "not in the schema",
            distributions=tuple(sorted(distributions[name], key=lambda d: (d.span, d.split))),
            anomalies=tuple(anomalies.get(name, ())),
            distances=tuple(distances[name]),
        )
        for name in names
        if name
    ]
    return sorted(features, key=lambda f: (not f.is_conspicuous, not f.is_label, f.name))


def dataset_anomalies(record: Record) -> list[Anomaly]:
    """Read anomalies of a whole split, such as too few rows."""
    return _anomalies(record).get("", [])


def _distribution(raw: Any, span: int, split: str, rows: float) -> Distribution:
    kind = raw.WhichOneof("stats")
    stats = getattr(raw, kind) if kind else None
    common = getattr(stats, "common_stats", None)
    present = int(common.num_non_missing) if common else 0
    # TFDV has no row counts for a feature that is missing in all rows of the split.
    missing = int(common.num_missing) if common and present else int(rows) - present
    base: dict[str, Any] = {
        "span": span,
        "split": split,
        "present": present,
        "missing": missing,
    }
    if kind == "num_stats" and stats is not None:
        equal = (h for h in stats.histograms if h.type == _HISTOGRAM.STANDARD)
        histogram = next(equal, _HISTOGRAM())
        return Distribution(
            **base,
            buckets=tuple((b.low_value, b.high_value, b.sample_count) for b in histogram.buckets),
            mean=stats.mean,
            deviation=stats.std_dev,
            low=stats.min,
            median=stats.median,
            high=stats.max,
            zeros=int(stats.num_zeros),
        )
    if kind in ("string_stats", "bytes_stats") and stats is not None:
        ranked = getattr(stats, "rank_histogram", None)
        return Distribution(
            **base,
            values=tuple((b.label, b.sample_count) for b in ranked.buckets) if ranked else (),
            unique=int(stats.unique),
        )
    return Distribution(**base)


def _anomalies(record: Record) -> dict[str, list[Anomaly]]:
    found: dict[str, list[Anomaly]] = defaultdict(list)
    for span, output in record.outputs(NodeId.EXAMPLE_VALIDATOR, "anomalies"):
        for split, path in _split_files(output.uri, "SchemaDiff.pb"):
            message = anomalies_pb2.Anomalies.FromString(path.read_bytes())
            entries = [(".".join(i.path.step) or n, i) for n, i in message.anomaly_info.items()]
            if message.HasField("dataset_anomaly_info"):
                entries.append(("", message.dataset_anomaly_info))
            for name, info in entries:
                for reason in info.reason:
                    found[name].append(
                        Anomaly(int(span or 0), split, reason.short_description, reason.description)
                    )
    return found


def _schema(record: Record) -> schema_pb2.Schema:
    folder = record.folder_of(NodeId.SCHEMA_GEN, "schema")
    schema = schema_pb2.Schema()
    if folder is not None:
        text_format.Parse((folder / "schema.pbtxt").read_text(encoding="utf-8"), schema)
    return schema


def _expectation(feature: Any, schema: schema_pb2.Schema) -> str:
    """Describe a feature's schema entry in one line."""
    parts = [_TYPES.get(feature.type, "any type")]
    if feature.presence.min_fraction >= 1:
        parts.append("in every row")
    elif feature.presence.min_fraction > 0:
        parts.append(f"in at least {share(feature.presence.min_fraction)} of the rows")
    else:
        parts.append("may be missing")
    kind = feature.WhichOneof("domain_info")
    if kind in ("int_domain", "float_domain"):
        domain = getattr(feature, kind)
        low = number(domain.min) if domain.HasField("min") else "−∞"
        high = number(domain.max) if domain.HasField("max") else "∞"
        parts.append(f"{low} to {high}")
    values: Sequence[str] = ()
    if kind == "string_domain":
        values = feature.string_domain.value
    elif kind == "domain":
        named = (d.value for d in schema.string_domain if d.name == feature.domain)
        values = next(named, ())
    if values:
        shown = ", ".join(plain(v, 24) for v in values[:MAX_DOMAIN])
        rest = f" and {len(values) - MAX_DOMAIN} more" if len(values) > MAX_DOMAIN else ""
        parts.append(f"one of {len(values)}: {shown}{rest}")
    return ", ".join(parts)


def _split_files(uri: str, name: str) -> Iterable[tuple[str, Path]]:
    """Find files of a name in the splits of an artifact on this machine."""
    if "://" in uri:
        return
    artifact_store.current().fetch(uri)
    for folder in sorted(Path(uri).glob("Split-*")):
        path = folder / name
        if path.is_file():
            yield folder.name.removeprefix("Split-"), path
