"""Compares two versions by their manifests."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ordain.serving.export.description import Signature
from ordain.serving.registry.manifest import Manifest


@dataclass(frozen=True)
class MetricChange:
    """One metric on one slice in both versions; None where it has no value.

    `same_rows`: whether both were measured on the same rows with the same labels.
    """

    name: str
    slice: str
    before: float | None
    after: float | None
    same_rows: bool = False

    @property
    def difference(self) -> float | None:
        """After minus before; None if one is missing, or they were measured on other rows."""
        if self.before is None or self.after is None or not self.same_rows:
            return None
        return self.after - self.before


@dataclass(frozen=True)
class Comparison:
    """Differences between two versions.

    Attributes:
        before: The first version.
        after: The second.
        spans_added: Data spans of the second only.
        spans_removed: Data spans of the first only.
        is_same_source: Whether the project's source is the same; None if one is not known.
        is_same_schema: Whether the schema is the same; None if one is not known.
        tensorflow: TensorFlow's version in the first and the second.
        is_same_rows: Whether both were evaluated on the same rows; None if one is not known.
        metrics: Every metric and slice that one of them has, the whole window first.
        signatures: One sentence for each difference of the signatures.
        size_bytes: Size of the first and the second.
        files_changed: Files that differ.
    """

    before: int
    after: int
    spans_added: tuple[int, ...]
    spans_removed: tuple[int, ...]
    is_same_source: bool | None
    is_same_schema: bool | None
    tensorflow: tuple[str, str]
    is_same_rows: bool | None
    metrics: tuple[MetricChange, ...]
    signatures: tuple[str, ...]
    size_bytes: tuple[int, int]
    files_changed: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        metrics = [asdict(m) | {"difference": m.difference} for m in self.metrics]
        return asdict(self) | {"metrics": metrics}


def compare(before: Manifest, after: Manifest) -> Comparison:
    """Compares two versions; metrics measured on other rows have no difference."""
    same_rows = _same(before.evaluated, after.evaluated)
    first = {(m.slice, m.title): m.value for m in before.metrics}
    second = {(m.slice, m.title): m.value for m in after.metrics}
    digests = [{f.path: f.sha256 for f in m.files} for m in (before, after)]
    paths = sorted(digests[0].keys() | digests[1].keys())
    return Comparison(
        before=before.version,
        after=after.version,
        spans_added=tuple(s for s in after.spans if s not in before.spans),
        spans_removed=tuple(s for s in before.spans if s not in after.spans),
        is_same_source=_same(before.source_fingerprint, after.source_fingerprint),
        is_same_schema=_same(before.schema_fingerprint, after.schema_fingerprint),
        tensorflow=(before.tensorflow, after.tensorflow),
        is_same_rows=same_rows,
        metrics=tuple(
            MetricChange(
                name, where, first.get((where, name)), second.get((where, name)), bool(same_rows)
            )
            for where, name in sorted(first.keys() | second.keys())
        ),
        signatures=tuple(_signatures(before.signatures or {}, after.signatures or {})),
        size_bytes=(before.size_bytes, after.size_bytes),
        files_changed=tuple(p for p in paths if digests[0].get(p) != digests[1].get(p)),
    )


def _same(before: str, after: str) -> bool | None:
    return before == after if before and after else None


def _signatures(before: dict[str, Signature], after: dict[str, Signature]) -> list[str]:
    lines = [f"{name} is gone" for name in sorted(before.keys() - after.keys())]
    lines += [f"{name} is new" for name in sorted(after.keys() - before.keys())]
    for name in sorted(before.keys() & after.keys()):
        for kind in ("inputs", "outputs"):
            old, new = getattr(before[name], kind), getattr(after[name], kind)
            of = f"of {name} {kind.removesuffix('s')}"
            lines += [f"{t} {of} is gone" for t in sorted(old.keys() - new.keys())]
            lines += [f"{t} {of} is new" for t in sorted(new.keys() - old.keys())]
            lines += [
                f"{t} {of} was {old[t]}, is {new[t]}"
                for t in sorted(old.keys() & new.keys())
                if old[t] != new[t]
            ]
    return lines
