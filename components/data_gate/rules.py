"""Rules of the data gate, as a pure function of facts about spans.

Each rule gives reasons:

1. rows ingested = rows in the statistics, split by split, and no uncommitted files (conservation);
2. each split of the window has rows;
3. every row has a label, within its domain, and there is more than one label;
4. some feature has values;
5. anomalies that ExampleValidator found in any span, by the policy of their group;
6. drift of the newest span from the one before, by the schema's comparators or the limits;
7. columns that are deprecated, or empty in some split, are listed;
8. skew of the newest span between train and eval, where the schema has a `skew_comparator`;
9. rows that training will not see, where the batch size is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tensorflow_metadata.proto.v0 import (
    schema_pb2,
    statistics_pb2,
)

from ordain.components.data_gate.anomaly_kinds import KINDS, REPAIR, advice_on, kind_of
from ordain.components.data_gate.drift import judge_drift, judge_skew
from ordain.components.data_gate.span_facts import OUTCOMES, SpanFacts, count_rows
from ordain.verdict import Outcome, Reason, Verdict

GATE = "data"
#: The domains of an inferred schema are only what was seen, so violations warn instead of block.
_ONLY_WARN_IF_INFERRED = ("out_of_range", "new_value")


def judge(
    facts: Sequence[SpanFacts],
    schema: schema_pb2.Schema,
    policy: Mapping[str, Any],
    steps: int = 0,
    batch_size: int | None = None,
) -> Verdict:
    """Judges a window.

    Args:
        facts: The spans, oldest first.
        schema: Schema of the data.
        policy: `ordain.config.gates.Gate` as a dict, the `label`, and whether the schema
            `is_curated`.
        steps: Training steps.
        batch_size: Rows in a step; None if not configured.
    """
    reasons: list[Reason] = []
    for fact in facts:
        reasons += _conservation(fact)
        reasons += _anomalies(fact, policy["anomalies"], policy["label"], policy["is_curated"])
        reasons += _emptiness(fact)
        if fact.left_out:
            text = f"{fact.left_out} rows without a label were left out, as configured"
            reasons.append(Reason(Outcome.PASSED, "unlabelled", text, span=fact.span))
    reasons += _splits(facts)
    reasons += _columns(facts, schema)
    reasons += _label(facts, policy["label"])
    if batch_size is not None:
        reasons += _training(facts, steps, batch_size)
    if len(facts) > 1:
        reasons += judge_drift(facts[-2], facts[-1], schema, policy["drift"])
    reasons += judge_skew(facts[-1], schema, OUTCOMES[policy["skew_policy"]])
    return Verdict.of(GATE, reasons)


def _conservation(fact: SpanFacts) -> Iterator[Reason]:
    for split, expected in fact.rows.items():
        measured = count_rows(fact.statistics[split])
        if measured != expected:
            yield Reason(
                Outcome.BLOCKED,
                "conservation",
                f"split {split!r}: {expected} rows ingested, {measured} in the statistics",
                span=fact.span,
                measured=measured,
                limit=expected,
                advice="rows were lost: run again with one Beam worker (beam_args)",
            )
    for path in fact.strays:
        yield Reason(
            Outcome.BLOCKED,
            "conservation",
            f"{path}: not committed by ExampleGen; a component that reads the whole folder "
            "would read its rows twice, or fail",
            span=fact.span,
            advice="remove it, or ingest again: ordain run PROJECT --from ExampleGen --no-cache",
        )


def _anomalies(
    fact: SpanFacts, policies: Mapping[str, str], label: str, is_curated: bool
) -> Iterator[Reason]:
    seen: set[tuple[str, str]] = set()
    for split, anomalies in fact.anomalies.items():
        found = [(name, info) for name, info in sorted(anomalies.anomaly_info.items())]
        if anomalies.HasField("dataset_anomaly_info"):
            found.append(("", anomalies.dataset_anomaly_info))
        for name, info in found:
            feature = ".".join(info.path.step) or name
            for detail in info.reason:
                code, kind = kind_of(detail.type)
                if (feature, code) in seen:  # the same anomaly in the other split
                    continue
                seen.add((feature, code))
                default = KINDS[kind][0]
                if not is_curated and kind in _ONLY_WARN_IF_INFERRED:
                    default = "warn"
                chosen = policies.get(kind, default)
                if feature == label and is_curated:
                    chosen = "block"  # a label outside its schema is never accepted
                yield Reason(
                    OUTCOMES[chosen],
                    kind,
                    f"{detail.short_description}: {detail.description}"[:400],
                    where=feature,
                    span=fact.span,
                    advice=f"{advice_on(kind)} (seen in split {split!r}; {code})",
                )


def _emptiness(fact: SpanFacts) -> Iterator[Reason]:
    """Blocks a span in which no feature has a value."""
    features = [f for s in fact.statistics.values() for d in s.datasets for f in d.features]
    if features and all(_common(f).num_non_missing == 0 for f in features):
        yield Reason(
            Outcome.BLOCKED,
            "all_null",
            "no feature has any value",
            span=fact.span,
            advice=REPAIR,
        )


def _splits(facts: Sequence[SpanFacts]) -> Iterator[Reason]:
    for split in facts[-1].statistics:
        total = sum(count_rows(f.statistics[split]) for f in facts if split in f.statistics)
        if total == 0:
            yield Reason(
                Outcome.BLOCKED,
                "empty_split",
                f"split {split!r} of the window has no rows",
                where=split,
                measured=0,
                limit=1,
                advice="add data, or split by a column with more values (data.split)",
            )


def _columns(facts: Sequence[SpanFacts], schema: schema_pb2.Schema) -> Iterator[Reason]:
    """Lists columns that are deprecated, or empty in some split."""
    splits = [(f.span, name, s) for f in facts for name, s in f.statistics.items() if count_rows(s)]
    for feature in schema.feature:
        found = [(at, any(map(_has_values, _features(s, feature.name)))) for *at, s in splits]
        if not any(has_values for _, has_values in found):
            continue
        if feature.lifecycle_stage == schema_pb2.DEPRECATED:
            text = "is DEPRECATED in the schema: the model does not get it"
            yield Reason(Outcome.PASSED, "deprecated_column", text, where=feature.name)
            continue
        empty = [f"{span} ({split})" for (span, split), has_values in found if not has_values]
        if empty:
            more = f" and {len(empty) - 3} more" if len(empty) > 3 else ""
            text = f"has no value in {len(empty)} of {len(found)} splits: span "
            text += f"{', '.join(empty[:3])}{more}"
            yield Reason(Outcome.PASSED, "empty_column", text, where=feature.name)


def _training(facts: Sequence[SpanFacts], steps: int, batch_size: int) -> Iterator[Reason]:
    rows = sum(count_rows(fact.statistics["train"]) for fact in facts if "train" in fact.statistics)
    if steps * batch_size < rows:
        yield Reason(
            Outcome.WARNED,
            "training_rows",
            f"training sees {steps * batch_size:,} of {rows:,} rows: {steps:,} steps of "
            f"{batch_size:,} rows",
            measured=steps * batch_size,
            limit=rows,
            advice=f"train.steps: {-(-rows // batch_size)} sees each row once; a smaller "
            "data.window has fewer rows",
        )


def _label(facts: Sequence[SpanFacts], label: str) -> Iterator[Reason]:
    values: set[Any] = set()
    is_found = False
    for fact in facts:
        for split, statistics in fact.statistics.items():
            for feature in _features(statistics, label):
                is_found = True
                common = _common(feature)
                missing = common.num_missing
                if missing:
                    yield Reason(
                        Outcome.BLOCKED,
                        "label_missing",
                        f"{missing} rows of split {split!r} have no label",
                        where=label,
                        span=fact.span,
                        measured=missing,
                        limit=0,
                        advice="set data.unlabelled: drop to drop such rows",
                    )
                if common.num_non_missing:
                    values |= _extremes(feature)
    if not is_found:
        yield Reason(
            Outcome.BLOCKED,
            "label_missing",
            "the label's column is in no span",
            where=label,
            advice="correct data.label in pipeline.yaml, or the data",
        )
    elif len(values) == 1:
        yield Reason(
            Outcome.BLOCKED,
            "label_constant",
            f"every row of the window has the label {next(iter(values))!r}",
            where=label,
            measured=1,
            limit=2,
            advice="nothing can be learned; correct the data",
        )


def _features(
    statistics: statistics_pb2.DatasetFeatureStatisticsList, name: str
) -> list[statistics_pb2.FeatureNameStatistics]:
    found = [f for d in statistics.datasets for f in d.features]
    return [f for f in found if name in (f.name, ".".join(f.path.step))]


def _common(feature: statistics_pb2.FeatureNameStatistics) -> statistics_pb2.CommonStatistics:
    kind = feature.WhichOneof("stats")
    return getattr(feature, kind).common_stats if kind else statistics_pb2.CommonStatistics()


def _has_values(feature: statistics_pb2.FeatureNameStatistics) -> bool:
    return bool(_common(feature).num_non_missing)


def _extremes(feature: statistics_pb2.FeatureNameStatistics) -> set[Any]:
    """One value if the feature is constant, otherwise at least two."""
    if feature.HasField("num_stats"):
        return {feature.num_stats.min, feature.num_stats.max}
    return {bucket.label for bucket in feature.string_stats.rank_histogram.buckets}
