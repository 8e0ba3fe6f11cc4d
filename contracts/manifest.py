"""The manifest: what a published version is, where it comes from, and the digest of every file.

It stands as `manifest.json` beside the SavedModel of each version. Whoever reads a version
(`ordain models`, the model server, a person) reads this form and nothing of ML Metadata.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from contracts.errors import InfrastructureError
from contracts.verdict import Verdict

#: Raised when a field changes its meaning or is removed; readers refuse what they do not know.
FORMAT = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileDigest:
    """One file of a version.

    Attributes:
        path: Relative to the version's folder, with `/`.
        sha256: SHA-256 of the content, 64 lower-case hexadecimal digits.
        size_bytes: Size of the content.
    """

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Metric:
    """One measured value of the evaluation.

    Attributes:
        name: The metric, such as `auc`.
        value: The candidate's value; None if it is undefined.
        slice: The slice as `origin=JFK`; empty for the whole window.
        baseline: The baseline's value, or None where there was no baseline, or it has no value.
        undefined: Why there is no value, such as `26 rows, no positive`; empty if there is one.
    """

    name: str
    value: float | None
    slice: str = ""
    baseline: float | None = None
    undefined: str = ""


@dataclass(frozen=True)
class Tensor:
    """An input or output of a signature.

    Attributes:
        dtype: TensorFlow's name of the type, such as `float32` or `string`.
        shape: Dimensions, None for one of any size; None as a whole for an unknown rank.
    """

    dtype: str
    shape: tuple[int | None, ...] | None


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
        run_id: The run that pushed it; empty if a push was no part of a run.
        spans: Data spans it was trained and evaluated on, oldest first.
        schema_fingerprint: SHA-256 of the schema file the data was held against.
        source_fingerprint: SHA-256 of the project's source (`pipeline.source.fingerprint`).
        parent: The stable version at the time of the push, or None.
        tensorflow: TensorFlow's version it was exported with.
        metrics: What the evaluation measured.
        evaluated: Fingerprint of the rows and labels it was measured on; empty if unknown.
        verdicts: What the gates answered.
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
        """The candidate's value of a metric on a slice; None if it has none."""
        found = (m.value for m in self.metrics if (m.name, m.slice) == (metric, where))
        return next(found, None)

    def to_json(self) -> str:
        """The manifest as indented JSON text, the same for the same facts."""
        raw = asdict(self)
        raw["format"] = FORMAT
        raw["verdicts"] = [verdict.to_dict() for verdict in self.verdicts]
        return json.dumps(raw, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Reads what `to_json` wrote.

        Raises:
            InfrastructureError: The text is not a manifest, or of a format not known here.
        """
        try:
            raw = json.loads(text)
        except ValueError as error:
            raise InfrastructureError(f"the manifest is not JSON: {error}") from error
        if not isinstance(raw, dict):
            raise InfrastructureError(f"the manifest is a {type(raw).__name__}, not an object")
        found = raw.get("format")
        if found != FORMAT:
            raise InfrastructureError(
                f"the manifest's format is {found!r}; this installation reads format {FORMAT}",
                "use the version of ordain that published it, or a newer one",
            )
        try:
            return _read(raw)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise InfrastructureError(f"the manifest is damaged: {what}") from error


def _read(raw: dict[str, Any]) -> Manifest:
    signatures = raw["signatures"]
    return Manifest(
        project=_text(raw, "project"),
        version=_number(raw, "version"),
        created=_text(raw, "created"),
        run_id=_text(raw, "run_id"),
        spans=tuple(int(span) for span in raw["spans"]),
        schema_fingerprint=_text(raw, "schema_fingerprint"),
        source_fingerprint=_text(raw, "source_fingerprint"),
        parent=None if raw["parent"] is None else _number(raw, "parent"),
        tensorflow=_text(raw, "tensorflow"),
        metrics=tuple(Metric(**metric) for metric in raw["metrics"]),
        evaluated=_text(raw, "evaluated"),
        verdicts=tuple(Verdict.from_dict(verdict) for verdict in raw["verdicts"]),
        signatures=None
        if signatures is None
        else {name: _signature(below) for name, below in signatures.items()},
        files=_files(raw["files"]),
    )


def _files(raw: Iterable[dict[str, Any]]) -> tuple[FileDigest, ...]:
    """The digests; a path that leads out of the version's folder is refused."""
    files = tuple(FileDigest(**file) for file in raw)
    for file in files:
        path = PurePosixPath(file.path)
        if path.is_absolute() or ".." in path.parts or str(path) != file.path:
            raise ValueError(f"path {file.path!r} is not inside the version's folder")
        if not _SHA256.fullmatch(file.sha256) or not isinstance(file.size_bytes, int):
            raise ValueError(f"digest or size of {file.path!r} is not one")
    if len({file.path for file in files}) != len(files):
        raise ValueError("a path is listed twice")
    return files


def _signature(raw: dict[str, Any]) -> Signature:
    return Signature(
        {name: _tensor(below) for name, below in raw["inputs"].items()},
        {name: _tensor(below) for name, below in raw["outputs"].items()},
    )


def _tensor(raw: dict[str, Any]) -> Tensor:
    shape = raw["shape"]
    return Tensor(str(raw["dtype"]), None if shape is None else tuple(shape))


def _text(raw: dict[str, Any], key: str) -> str:
    if not isinstance(raw[key], str):
        raise TypeError(f"{key} is not a text")
    return str(raw[key])


def _number(raw: dict[str, Any], key: str) -> int:
    if type(raw[key]) is not int:
        raise TypeError(f"{key} is not a whole number")
    return int(raw[key])
