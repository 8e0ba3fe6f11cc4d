"""Formats versions, manifests and comparisons as lines of text for the terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from ordain.api.models import ModelVersion
from ordain.reports.facts.formatting import size
from ordain.serving.registry.diff import Comparison
from ordain.serving.registry.label_file import Change
from ordain.serving.registry.manifest import Manifest
from ordain.serving.registry.model_card import name_spans
from ordain.verdict import Outcome

#: Slices shown with their metrics; all are in the manifest and in --json.
MAX_SLICES = 12


def version_line(one: ModelVersion, names: Collection[str]) -> str:
    """Line for a version in `ordain models list`, with the metrics of some names."""
    share = f" {one.share:.0%}" if one.share is not None else ""
    labels = ", ".join(one.labels) + share
    head = f"{one.version:>6}  {labels:<14}  {size(one.size_bytes):>9}"
    if one.manifest is None:
        return f"{head}  {one.problem}"
    metrics = ", ".join(
        f"{name} undefined" if value is None else f"{name} {value:.4f}"
        for name, value in one.metrics.items()
        if name in names
    )
    return f"{head}  {one.manifest.created}  {metrics}  spans {name_spans(one.manifest.spans)}"


def manifest_lines(manifest: Manifest, folder: Path, labels: tuple[str, ...]) -> Iterator[str]:
    """Lines for a version in `ordain models show`."""
    marked = f" ({', '.join(labels)})" if labels else ""
    yield f"{manifest.project}, version {manifest.version}{marked}"
    yield f"  folder       {folder}"
    yield f"  published    {manifest.created} by {manifest.run_id or 'no run'}"
    yield f"  data         {name_spans(manifest.spans)}"
    yield f"  parent       {'none' if manifest.parent is None else manifest.parent}"
    yield f"  schema       {manifest.schema_fingerprint[:16] or 'unknown'}"
    yield f"  source       {manifest.source_fingerprint[:16] or 'unknown'}"
    yield f"  tensorflow   {manifest.tensorflow or 'unknown'}"
    yield f"  size         {size(manifest.size_bytes)} in {len(manifest.files)} files"
    yield f"  signatures   {', '.join(sorted(manifest.signatures or {})) or 'unknown'}"
    slices = sorted({metric.slice for metric in manifest.metrics})
    for where in slices[:MAX_SLICES]:
        values = [m for m in manifest.metrics if m.slice == where]
        text = ", ".join(
            f"{m.title} undefined ({m.undefined})"
            if m.value is None
            else f"{m.title} {m.value:.4g}"
            for m in values
        )
        yield f"  {'metrics' if not where else 'on ' + where:<12} {text}"
    if len(slices) > MAX_SLICES:
        yield f"               {len(slices) - MAX_SLICES} more slices: --json"
    for verdict in manifest.verdicts:
        warned = sum(r.outcome is Outcome.WARNED for r in verdict.reasons)
        more = f", {warned} warning(s)" if warned else ""
        yield f"  {verdict.gate + ' gate':<12} {verdict.outcome}{more}"


def change_line(change: Change) -> str:
    """Line for one change of a label."""
    share = f" at {change.share:.0%}" if change.share is not None else ""
    return f"{change.at[:19]}  {change.action}{share} by {change.who}: {change.why or 'no reason'}"


def comparison_lines(compared: Comparison) -> Iterator[str]:
    """Lines for two versions in `ordain models diff`."""
    yield f"version {compared.before} -> {compared.after}"
    yield f"  data       {_spans(compared)}"
    yield f"  code       {_same(compared.is_same_source)}"
    yield f"  schema     {_same(compared.is_same_schema)}"
    before, after = compared.tensorflow
    yield f"  tensorflow {before if before == after else f'{before} -> {after}'}"
    old, new = compared.size_bytes
    yield f"  size       {size(old)} -> {size(new)}, {len(compared.files_changed)} files differ"
    for line in compared.signatures or ("the same",):
        yield f"  signatures {line}"
    if compared.metrics and not compared.is_same_rows:
        why = "different rows" if compared.is_same_rows is False else "unknown rows"
        yield f"  metrics    not comparable: the two were measured on {why}"
    width = max((len(m.slice) + len(m.name) for m in compared.metrics), default=0) + 4
    for metric in compared.metrics:
        name = f"{metric.name} on {metric.slice}" if metric.slice else metric.name
        moved = "" if metric.difference is None else f"  {metric.difference:+.4g}"
        values = f"{_value(metric.before)} -> {_value(metric.after)}"
        yield f"  {name:<{width}}  {values}{moved}"


def _spans(compared: Comparison) -> str:
    parts = [f"+ {name_spans(compared.spans_added)}"] if compared.spans_added else []
    parts += [f"- {name_spans(compared.spans_removed)}"] if compared.spans_removed else []
    return "; ".join(parts) or "the same spans"


def _same(is_same: bool | None) -> str:
    return {True: "the same", False: "changed", None: "unknown in one of them"}[is_same]


def _value(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
