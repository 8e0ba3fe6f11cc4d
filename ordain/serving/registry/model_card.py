"""Renders MODEL_CARD.md, the readable form of the manifest.

The sections follow Mitchell et al., "Model Cards for Model Reporting" (2019), as far as the
pipeline knows the facts: details, data, metrics by slice, gates, limits, usage.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from ordain.common.atomic_files import read_plain
from ordain.common.strict_json import parse_json
from ordain.errors import InfrastructureError
from ordain.serving.export.description import EXAMPLE_FILE, Signature, shape_text
from ordain.serving.registry.manifest import Manifest, Metric
from ordain.verdict import Outcome, Verdict

MAX_EXAMPLE_BYTES = 16_000_000
#: Default address of the REST API of `ordain serve` and TensorFlow Serving.
DEFAULT_URL = "http://127.0.0.1:8501"
#: Slices in the table of metrics; all of them are in the manifest.
MAX_SLICES = 40
_MAX_SPANS = 6


def render(manifest: Manifest, folder: Path) -> str:
    """Renders the model card.

    Args:
        manifest: The version's manifest.
        folder: The version's folder, for an example request.
    """
    example = read_example(folder)
    parts = [
        f"# {manifest.project}, version {manifest.version}",
        _facts(manifest),
        "## Metrics",
        _metrics(manifest.metrics),
        "## Gates",
        "\n\n".join(map(_gate, manifest.verdicts)) or "No verdict was recorded.",
        "## Limits",
        _limits(manifest),
        "## How to call it",
        _calls(manifest, example),
    ]
    return "\n\n".join(parts) + "\n"


def read_example(folder: Path) -> dict[str, Any] | None:
    """Reads the example request of a version; None if there is no valid one."""
    try:
        raw = parse_json(read_plain(folder, EXAMPLE_FILE, MAX_EXAMPLE_BYTES))
    except (OSError, ValueError, InfrastructureError):
        return None
    has_rows = isinstance(raw, dict) and isinstance(raw.get("instances"), list)
    return {"instances": raw["instances"][:1]} if has_rows and raw["instances"] else None


def curl(name: str, version: int, example: dict[str, Any] | None) -> str:
    """A shell command that calls the REST API."""
    body = json.dumps(example or {"instances": [{}]}).replace("'", "'\\''")
    return f"curl -d '{body}' {DEFAULT_URL}/v1/models/{name}/versions/{version}:predict"


def name_spans(spans: tuple[int, ...]) -> str:
    """Short text for spans: all of them if they are few, otherwise their number and range."""
    if not spans:
        return "unknown"
    if len(spans) <= _MAX_SPANS:
        return ", ".join(map(str, spans))
    return f"{len(spans)} spans, {spans[0]} to {spans[-1]}"


def _facts(manifest: Manifest) -> str:
    rows = {
        "Published": manifest.created,
        "By run": manifest.run_id or "no run",
        "Trained and evaluated on spans": name_spans(manifest.spans),
        "Stable version before it": "none" if manifest.parent is None else str(manifest.parent),
        "Schema (SHA-256)": manifest.schema_fingerprint or "unknown",
        "Project's source (SHA-256)": manifest.source_fingerprint or "unknown",
        "TensorFlow": manifest.tensorflow or "unknown",
        "Size": f"{manifest.size_bytes:,} bytes in {len(manifest.files)} files",
    }
    return _table(("", ""), [(key, value) for key, value in rows.items()])


def _metrics(metrics: tuple[Metric, ...]) -> str:
    """One row per slice and one column per metric, with the baseline's value in brackets."""
    if not metrics:
        return "No metric was recorded."
    names = sorted({metric.title for metric in metrics})
    by_slice: dict[str, dict[str, Metric]] = defaultdict(dict)
    for metric in metrics:
        by_slice[metric.slice][metric.title] = metric
    slices = sorted(by_slice)[:MAX_SLICES]
    rows = [(w or "all", *(_value(by_slice[w].get(name)) for name in names)) for w in slices]
    text = _table(("slice", *names), rows)
    if len(by_slice) > len(slices):
        text += f"\n\n{len(by_slice) - len(slices)} more slices are in manifest.json."
    if any(metric.baseline is not None for metric in metrics):
        text += "\n\nIn brackets: the baseline's value on the same data."
    return text


def _value(metric: Metric | None) -> str:
    if metric is None:
        return ""
    brackets = "" if metric.baseline is None else f" ({metric.baseline:.6g})"
    if metric.value is None:
        return f"undefined: {metric.undefined}{brackets}"
    return f"{metric.value:.6g}{brackets}"


def _gate(verdict: Verdict) -> str:
    listed = [r for r in verdict.reasons if r.outcome is not Outcome.PASSED]
    passed = len(verdict.reasons) - len(listed)
    lines = [f"- {reason.outcome}: {reason.text}" for reason in listed]
    lines += [f"- passed: {passed} checks"] if passed else []
    return "\n".join([f"**{verdict.gate}: {verdict.outcome}**", "", *lines]).rstrip()


def _limits(manifest: Manifest) -> str:
    warned = sum(r.outcome is Outcome.WARNED for v in manifest.verdicts for r in v.reasons)
    lines = [
        "- It was measured on the spans above; its quality on other kinds of data is unknown.",
        "- It was not trained on inputs outside the schema (above).",
        "- The thresholds it passed are the project's; they cover fairness only on the slices in "
        "the table.",
    ]
    if warned:
        lines.append(f"- The gates warned {warned} time(s); the warnings are above.")
    return "\n".join(lines)


def _calls(manifest: Manifest, example: dict[str, Any] | None) -> str:
    parts = []
    for name, signature in sorted((manifest.signatures or {}).items()):
        parts.append(f"Signature `{name}`:\n\n{_tensors(signature)}")
    note = (
        "With a server on this machine:"
        if example
        else "With a server on this machine, after filling in an example's features:"
    )
    parts.append(f"{note}\n\n```\n{curl(manifest.project, manifest.version, example)}\n```")
    return "\n\n".join(parts)


def _tensors(signature: Signature) -> str:
    rows: list[tuple[str, ...]] = []
    for kind, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        for name, tensor in sorted(tensors.items()):
            rows.append((kind, f"`{name}`", tensor.dtype, shape_text(tensor.shape)))
    return _table(("", "name", "type", "shape"), rows)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    """Escapes a text for a table cell; slices contain values of the data."""
    return text.replace("|", "\\|").replace("\n", " ")
