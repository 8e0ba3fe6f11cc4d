"""Manifest of a published version: its provenance, metrics, verdicts and the digest of every file.

It is the `manifest.json` beside each version's SavedModel. Readers of a version (`ordain models`,
the model server) need this file only, not ML Metadata.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import PurePosixPath
from typing import Any

from ordain.common.digests import FileDigest
from ordain.common.strict_json import (
    list_of,
    number,
    object_of,
    parse_json,
    record_of,
    text_of,
    whole_number,
)
from ordain.errors import InfrastructureError
from ordain.verdict import Outcome, Reason, Verdict

MANIFEST_FILE = "manifest.json"
#: Signature over the whole version, made by the `model-signing` package.
SIGNATURE_FILE = "manifest.json.sig"
MODEL_CARD_FILE = "MODEL_CARD.md"
#: Incremented when a field changes its meaning or is removed; readers refuse unknown formats.
FORMAT = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Metric:
    """One measured value of the evaluation.

    Attributes:
        name: The metric, such as `auc`.
        value: The candidate's value; None if it is undefined.
        slice: The slice as `origin=JFK`; empty for the whole window.
        baseline: The baseline's value; None without a baseline or a value.
        undefined: Why there is no value, such as `26 rows, no positive`; empty if there is one.
        threshold: The decision threshold that it was computed at, or None.
    """

    name: str
    value: float | None
    slice: str = ""
    baseline: float | None = None
    undefined: str = ""
    threshold: float | None = None

    @property
    def title(self) -> str:
        """The name with its threshold, which distinguishes values at several thresholds."""
        return self.name if self.threshold is None else f"{self.name} at {self.threshold:g}"


@dataclass(frozen=True)
class Tensor:
    """An input or output of a signature.

    Attributes:
        dtype: TensorFlow's name of the type, such as `float32` or `string`.
        shape: Dimensions, None for any size; None as a whole for an unknown rank.
    """

    dtype: str
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        """Dtype and shape, such as `float32 [?, 2]`."""
        return f"{self.dtype} {shape_text(self.shape)}"


@dataclass(frozen=True)
class Signature:
    """One signature of the SavedModel, inputs and outputs by name."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


@dataclass(frozen=True)
class Manifest:
    """A published version.

    Attributes:
        project: The project's name.
        version: The version's number, the same as its folder's name.
        created: Time of the push, UTC, ISO 8601.
        run_id: The run that pushed it; empty if it was not pushed by a run.
        spans: Data spans it was trained and evaluated on, oldest first.
        schema_fingerprint: SHA-256 of the schema file that the data was validated against.
        source_fingerprint: SHA-256 of the project's source (`ordain.project.source.fingerprint`).
        parent: The stable version at the time of the push, or None.
        tensorflow: Version of TensorFlow that exported it.
        metrics: Metrics of the evaluation.
        evaluated: Fingerprint of the evaluated rows and labels; empty if unknown.
        verdicts: Verdicts of the gates.
        signatures: Signatures of the SavedModel by name.
        files: Every file of the version but the manifest itself and its signature.
    """

    project: str
    version: int
    created: str
    run_id: str = ""
    spans: tuple[int, ...] = ()
    schema_fingerprint: str = ""
    source_fingerprint: str = ""
    parent: int | None = None
    tensorflow: str = ""
    metrics: tuple[Metric, ...] = ()
    evaluated: str = ""
    verdicts: tuple[Verdict, ...] = ()
    signatures: dict[str, Signature] | None = None
    files: tuple[FileDigest, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Size of all files together."""
        return sum(file.size_bytes for file in self.files)

    def value_of(self, metric: str, where: str = "") -> float | None:
        """The candidate's value of a metric on a slice, or None."""
        found = (m.value for m in self.metrics if (m.name, m.slice) == (metric, where))
        return next(found, None)

    def to_json(self) -> str:
        """The manifest as indented JSON text, deterministic."""
        raw = asdict(self)
        raw["format"] = FORMAT
        raw["verdicts"] = [verdict.to_dict() for verdict in self.verdicts]
        return json.dumps(raw, indent=1, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Parses the text of `to_json`.

        Raises:
            InfrastructureError: The text is not a manifest, or has an unknown format.
        """
        try:
            raw = parse_json(text)
        except ValueError as error:
            raise InfrastructureError(f"the manifest is not JSON: {error}") from error
        if not isinstance(raw, dict):
            raise InfrastructureError(f"the manifest is a {type(raw).__name__}, not an object")
        found = raw.get("format")
        if type(found) is not int or found != FORMAT:
            raise InfrastructureError(
                f"the manifest's format is {found!r:.60}; this installation reads format {FORMAT}",
                "use the version of ordain that published it, or a newer one",
            )
        try:
            return _read(raw)
        except (KeyError, TypeError, ValueError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise InfrastructureError(f"the manifest is damaged: {what}") from error


def shape_text(shape: Sequence[int | None] | None) -> str:
    """A shape such as `[?, 2]`; dimensions of any size are None or negative."""
    if shape is None:
        return "of any shape"
    return "[" + ", ".join("?" if n is None or n < 0 else str(n) for n in shape) + "]"


def _read(raw: dict[str, Any]) -> Manifest:
    signatures = raw["signatures"]
    return Manifest(
        project=text_of(raw["project"], "project"),
        version=whole_number(raw["version"], "version"),
        created=text_of(raw["created"], "created"),
        run_id=text_of(raw["run_id"], "run_id"),
        spans=tuple(whole_number(span, "a span") for span in list_of(raw["spans"], "spans")),
        schema_fingerprint=text_of(raw["schema_fingerprint"], "schema_fingerprint"),
        source_fingerprint=text_of(raw["source_fingerprint"], "source_fingerprint"),
        parent=None if raw["parent"] is None else whole_number(raw["parent"], "parent"),
        tensorflow=text_of(raw["tensorflow"], "tensorflow"),
        metrics=tuple(_metric(metric) for metric in list_of(raw["metrics"], "metrics")),
        evaluated=text_of(raw["evaluated"], "evaluated"),
        verdicts=tuple(_verdict(verdict) for verdict in list_of(raw["verdicts"], "verdicts")),
        signatures=None
        if signatures is None
        else {
            name: _signature(object_of(below, f"signature {name!r:.60}"))
            for name, below in object_of(signatures, "signatures").items()
        },
        files=_files(list_of(raw["files"], "files")),
    )


def _files(raw: list[Any]) -> tuple[FileDigest, ...]:
    """Parses the file digests; paths must stay inside the version's folder."""
    files = []
    for entry in raw:
        file = FileDigest(**record_of(entry, FileDigest, "a file"))
        path = PurePosixPath(text_of(file.path, "a file's path"))
        if path.is_absolute() or ".." in path.parts or str(path) != file.path or "\0" in file.path:
            raise ValueError(f"path {file.path!r:.200} is not inside the version's folder")
        if not _SHA256.fullmatch(text_of(file.sha256, f"the digest of {file.path!r:.200}")):
            raise ValueError(f"the digest of {file.path!r:.200} is not SHA-256")
        whole_number(file.size_bytes, f"the size of {file.path!r:.200}")
        files.append(file)
    if len({file.path for file in files}) != len(files):
        raise ValueError("a path is listed twice")
    return tuple(files)


def _metric(raw: Any) -> Metric:
    metric = Metric(**record_of(raw, Metric, "a metric"))
    text_of(metric.name, "a metric's name")
    text_of(metric.slice, f"the slice of {metric.name!r:.60}")
    text_of(metric.undefined, f"the value of {metric.name!r:.60}")
    for value in (metric.value, metric.baseline, metric.threshold):
        if value is not None:
            number(value, f"the value of {metric.name!r:.60}")
    return metric


def _verdict(raw: Any) -> Verdict:
    """Parses a verdict, and checks each field against its declared type."""
    raw = object_of(raw, "a verdict")
    reasons = []
    for entry in list_of(raw["reasons"], "a verdict's reasons"):
        kept = record_of(entry, Reason, "a reason")
        for field in fields(Reason):
            value, what = kept.get(field.name), f"a reason's {field.name}"
            if value is None:
                continue
            if field.type == "str":
                text_of(value, what)
            elif field.type == "float | None":
                number(value, what)
            elif field.type == "int | None":
                whole_number(value, what)
        reasons.append(Reason(**{**kept, "outcome": Outcome(kept["outcome"])}))
    return Verdict(
        text_of(raw["gate"], "a gate"),
        Outcome(raw["outcome"]),
        tuple(reasons),
        text_of(raw.get("compared_with", ""), "a verdict's compared_with"),
    )


def _signature(raw: dict[str, Any]) -> Signature:
    sides = [
        {name: _tensor(object_of(below, name)) for name, below in object_of(raw[s], s).items()}
        for s in ("inputs", "outputs")
    ]
    return Signature(*sides)


def _tensor(raw: dict[str, Any]) -> Tensor:
    shape, dtype = raw["shape"], text_of(raw["dtype"], "a tensor's dtype")
    if shape is None:
        return Tensor(dtype, None)
    sizes = list_of(shape, "a tensor's shape")
    return Tensor(dtype, tuple(n if n is None else whole_number(n, "a dimension") for n in sizes))
