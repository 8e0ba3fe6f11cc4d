"""The evaluation verdict: measured values against every threshold.

TFMA's validation lists failures only; the verdict lists every threshold with the measured value and
the number of rows. A value that could not be judged is not a pass: the project sets for each limit
whether that blocks, warns or is skipped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tensorflow_model_analysis.proto import config_pb2

from ordain.components.evaluator import tfma_internals as inside
from ordain.components.evaluator.measures import (
    Measures,
    SliceKey,
    Trivial,
    policies_of,
    slice_name,
)
from ordain.components.evaluator.thresholds import thresholds_of
from ordain.verdict import Outcome, Reason, Verdict

GATE = "evaluation"
_LOW, _HIGH = -math.inf, math.inf
_OUTCOMES = {"block": Outcome.BLOCKED, "warn": Outcome.WARNED, "skip": Outcome.SKIPPED}
_UNJUDGED_ADVICE = (
    "check the slice's rows, or set in evaluate.thresholds what follows: "
    "undefined: block, warn or skip"
)


@dataclass(frozen=True)
class _Bound:
    """One limit of one metric, for the slices that `covers` accepts."""

    metric: str
    kind: str
    limit: float
    keys: tuple[str, ...] | None
    values: SliceKey
    undefined: str | None = None
    min_rows: int = 0

    def covers(self, where: SliceKey) -> bool:
        if self.keys is not None:
            return tuple(sorted(k for k, _ in where)) == self.keys
        return where == self.values

    @property
    def unjudged(self) -> Outcome:
        """Outcome for a slice that cannot be judged.

        Slices of a column (`keys`) come and go with the data, and the smallest of hundreds must
        not block every model. The whole window, the newest span and a named slice do block.
        """
        return _OUTCOMES[self.undefined or ("block" if self.keys is None else "warn")]

    @property
    def is_change(self) -> bool:
        return self.kind in ("max_drop", "max_rise")

    @property
    def words(self) -> str:
        """The limit as text."""
        if self.is_change:
            side = "below" if self.kind == "max_drop" else "above"
            return f"may be at most {self.limit:g} {side}"
        return f"must be at {'least' if self.kind == 'min' else 'most'} {self.limit:g}"


def judge(
    config: Any,
    measures: Measures,
    newest_span: int,
    blocks_undefined: bool = False,
    limits: Any = None,
) -> Verdict:
    """Compares the measured values with every threshold.

    Args:
        config: The `tfma.EvalConfig` that was evaluated, defaults filled in.
        measures: The measured values.
        newest_span: The newest span, to mark its slice.
        blocks_undefined: True if what cannot be judged always blocks.
        limits: The project's `tfma.EvalConfig`: without a baseline TFMA removes change thresholds
            from `config`. None to use `config`.

    Returns:
        One reason per threshold and slice. Change thresholds pass without a baseline; if the
        baseline has no value they are not judged. If nothing could be judged, it blocks.
    """
    has_baseline = any(spec.is_baseline for spec in config.model_specs)
    slices = sorted({*measures.rows, *(where for _, where, _ in measures.values)})
    thresholds = thresholds_of(config)
    reasons = []
    for wanted in _bounds(config if limits is None else limits):
        bound = replace(wanted, undefined="block") if blocks_undefined else wanted
        covered = [where for where in slices if bound.covers(where)]
        if not covered:
            reasons.append(_without_rows(bound))
        for where in covered:
            reasons.append(_reason(bound, where, measures, thresholds, has_baseline, newest_span))
    reasons += _nothing_judged(reasons)
    return Verdict.of(GATE, [*_not_numbers(measures), *reasons])


def _without_rows(bound: _Bound) -> Reason:
    named = ", ".join(bound.keys or ()) or slice_name(bound.values)
    return Reason(
        # No slice of a column at all: the column's name or the data is wrong.
        _OUTCOMES[bound.undefined or "block"],
        f"{bound.metric}.{bound.kind}",
        f"no example in the eval split belongs to slice {named}"
        if named
        else "there is no example in the eval split",
        where=named,
        limit=bound.limit,
        advice="correct the slice in evaluate.thresholds, or bring such data",
        rows=0,
        undefined="no rows",
    )


def _reason(
    bound: _Bound,
    where: SliceKey,
    measures: Measures,
    thresholds: Mapping[tuple[str, bool], float],
    has_baseline: bool,
    newest_span: int,
) -> Reason:
    columns = dict(where)
    own, other = (thresholds.get((bound.metric, of_baseline)) for of_baseline in (False, True))
    of = bound.metric if own is None else f"{bound.metric} at {own:g}"
    if where:
        of += f" on {slice_name(where)}"
    if columns.get("span") == str(newest_span):
        of += ", the newest"
    rows = measures.rows[where].rows if where in measures.rows else None
    size = "" if rows is None else f" ({rows:,} row{'s' * (rows != 1)})"
    found = measures.of(bound.metric, where)
    base = measures.of(bound.metric, where, is_baseline=True)
    common: dict[str, Any] = {
        "kind": f"{bound.metric}.{bound.kind}",
        "where": slice_name(where),
        "span": int(columns["span"]) if "span" in columns else None,
        "measured": found.value,
        "limit": bound.limit,
        "baseline": base.value,
        "rows": rows,
    }

    def unjudged(text: str, why: str) -> Reason:
        """A reason for what was not judged, which is never a pass."""
        outcome = Outcome.BLOCKED if found.is_missing else bound.unjudged
        advice = "" if outcome is Outcome.SKIPPED else _UNJUDGED_ADVICE
        return Reason(outcome, **common, text=text, undefined=why, advice=advice)

    if found.value is None:
        return unjudged(f"{of}: undefined ({found.undefined}); {bound.words}", found.undefined)
    if rows is not None and rows < bound.min_rows:
        why = f"{rows:,} row{'s' * (rows != 1)}, min_rows is {bound.min_rows:,}"
        return unjudged(f"{of}: {found.value:.4f}, not judged ({why}); {bound.words}", why)
    if not bound.is_change:
        return _limited(bound, common, of, size, measures.trivial(bound.metric, where))
    if not has_baseline:
        text = f"{of}: {found.value:.4f}; no baseline to compare with{size}"
        return Reason(Outcome.PASSED, **common, text=text)
    if base.value is None:
        why = f"the baseline has no value: {base.undefined}"
        return unjudged(f"{of}: {found.value:.4f}, not compared ({why}); {bound.words}", why)
    worse = base.value - found.value if bound.kind == "max_drop" else found.value - base.value
    at = "" if other in (None, own) else f" at {other:g}"
    text = (
        f"{of}: {found.value:.4f}, baseline {base.value:.4f}{at} "
        f"({found.value - base.value:+.4f}); {bound.words}{size}"
    )
    return _passed_if(worse <= bound.limit, common, text)


def _limited(
    bound: _Bound, common: dict[str, Any], of: str, size: str, trivial: list[Trivial]
) -> Reason:
    """Compares a value with its limit, and the best trivial predictor with the same limit."""
    value, is_min = common["measured"], bound.kind == "min"
    text = f"{of}: {value:.4f}, {bound.words}{size}"
    best = (max if is_min else min)(trivial, key=lambda t: t.value, default=None)
    if best is not None:
        common["trivial"] = best.value
    reason = _passed_if(value >= bound.limit if is_min else value <= bound.limit, common, text)
    if best is None or not (best.value >= bound.limit if is_min else best.value <= bound.limit):
        return reason
    text += f"; the limit would be passed by {best.name} ({best.value:.4f})"
    if reason.outcome is Outcome.BLOCKED:
        return replace(reason, text=text)
    advice = f"a meaningful limit is {'above' if is_min else 'below'} {best.value:.4f}"
    if is_min and best.value >= 1:  # such as recall of a predictor of the second class only
        advice = "this metric alone proves nothing; limit another one as well, such as precision"
    return replace(reason, outcome=Outcome.WARNED, text=text, advice=advice)


def _passed_if(is_ok: bool, common: dict[str, Any], text: str) -> Reason:
    if is_ok:
        return Reason(Outcome.PASSED, **common, text=text)
    advice = "train a better model, or correct evaluate.thresholds if the limit is wrong"
    return Reason(Outcome.BLOCKED, **common, text=text, advice=advice)


def _nothing_judged(reasons: list[Reason]) -> list[Reason]:
    """A blocking reason if limits were skipped or warned and none was judged."""
    is_open = not any(reason.outcome is Outcome.BLOCKED for reason in reasons)
    # A change limit judges nothing for a first model.
    was_judged = any(not r.undefined and not _is_uncompared(r) for r in reasons)
    if not is_open or was_judged or not any(reason.undefined for reason in reasons):
        return []
    return [
        Reason(
            Outcome.BLOCKED,
            "thresholds.judged",
            "no threshold could be judged: all are undefined, or on too few rows",
            measured=0,
            limit=1,
            advice="give a limit on a metric of the whole window",
        )
    ]


def _is_uncompared(reason: Reason) -> bool:
    return reason.kind.endswith((".max_drop", ".max_rise")) and reason.baseline is None


def _not_numbers(measures: Measures) -> list[Reason]:
    """Reasons for predictions that are NaN: some metrics drop such rows and look good."""
    whole = measures.rows.get(())
    counts = (
        ("the model", whole.nan if whole else 0, Outcome.BLOCKED),
        ("the baseline", measures.baseline_nan, Outcome.WARNED),
    )
    return [
        Reason(
            outcome,
            "prediction.nan",
            f"{model} predicts NaN for {count:,} of {whole.rows:,} rows",
            measured=count,
            limit=0,
            rows=whole.rows,
            advice="look for overflow or division by 0 in the model",
        )
        for model, count, outcome in counts
        if whole is not None and count
    ]


def _bounds(config: Any) -> Iterator[_Bound]:
    policies = policies_of(config)
    for spec in config.metrics_specs:
        for metric in spec.metrics:
            name = inside.name_of(metric)
            policy = policies.get(name, {})
            # In the order of `per_slice_thresholds`; `ordain.pipeline.eval_config` writes both.
            of_slices = policy.get("slices", [{}] * len(metric.per_slice_thresholds))
            if metric.HasField("threshold"):
                for bound in _limits(name, metric.threshold, (), ()):
                    yield replace(bound, **policy.get("whole", {}))
            for per_slice, own in zip(metric.per_slice_thresholds, of_slices, strict=True):
                for slicing in per_slice.slicing_specs:
                    keys = tuple(sorted(slicing.feature_keys)) or None
                    values = tuple(sorted(slicing.feature_values.items()))
                    for bound in _limits(name, per_slice.threshold, keys, values):
                        yield replace(bound, **own)


def _limits(
    name: str, threshold: Any, keys: tuple[str, ...] | None, values: SliceKey
) -> Iterator[_Bound]:
    is_overall = keys == () and not values
    keys = None if is_overall else keys
    value = threshold.value_threshold
    if value.HasField("lower_bound") and value.lower_bound.value > _LOW:
        yield _Bound(name, "min", value.lower_bound.value, keys, values)
    if value.HasField("upper_bound") and value.upper_bound.value < _HIGH:
        yield _Bound(name, "max", value.upper_bound.value, keys, values)
    change = threshold.change_threshold
    if change.HasField("absolute"):
        is_drop = change.direction == config_pb2.MetricDirection.HIGHER_IS_BETTER
        kind = "max_drop" if is_drop else "max_rise"
        yield _Bound(name, kind, abs(change.absolute.value), keys, values)
