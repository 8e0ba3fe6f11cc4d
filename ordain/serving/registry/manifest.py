"""Manifest of a published version: its provenance, metrics, verdicts and the digest of every file.

It is the `manifest.json` beside each version's SavedModel. Readers of a version (`ordain models`,
the model server) need this file only, not ML Metadata.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath

from ordain.common.digests import FileDigest
from ordain.common.strict_json import FORBID_EXTRA, WholeNumber, parse_json, parse_record
from ordain.errors import InfrastructureError
from ordain.serving.export.description import Signature
from ordain.verdict import Verdict

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

    __pydantic_config__ = FORBID_EXTRA

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
    version: WholeNumber
    created: str
    run_id: str = ""
    spans: tuple[WholeNumber, ...] = ()
    schema_fingerprint: str = ""
    source_fingerprint: str = ""
    parent: WholeNumber | None = None
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

    def to_json(self) -> str:
        """The manifest as indented JSON text, deterministic."""
        raw = asdict(self)
        raw["format"] = FORMAT
        raw["verdicts"] = [verdict.to_dict() for verdict in self.verdicts]
        return json.dumps(raw, indent=1, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Parses the text of `to_json`; bytes are UTF-8.

        Raises:
            InfrastructureError: The text is not a manifest, or has an unknown format.
        """
        try:
            raw = parse_json(text)
            found = raw.get("format") if isinstance(raw, dict) else None
            if type(found) is not int or found != FORMAT:
                raise InfrastructureError(
                    f"the manifest's format is {found!r:.60}; this installation reads format "
                    f"{FORMAT}",
                    "use the version of ordain that published it, or a newer one",
                )
            manifest = parse_record(text, cls)
            _check_files(manifest.files)
        except ValueError as error:
            raise InfrastructureError(f"the manifest is damaged: {error}") from error
        return manifest


def _check_files(files: tuple[FileDigest, ...]) -> None:
    """Raises ValueError unless the digests are of different files inside the version's folder."""
    for file in files:
        path = PurePosixPath(file.path)
        if path.is_absolute() or ".." in path.parts or str(path) != file.path or "\0" in file.path:
            raise ValueError(f"path {file.path!r:.200} is not inside the version's folder")
        if not _SHA256.fullmatch(file.sha256):
            raise ValueError(f"the digest of {file.path!r:.200} is not SHA-256")
        if not 0 <= file.size_bytes < 2**63:
            raise ValueError(f"the size of {file.path!r:.200} is out of range")
    if len({file.path for file in files}) != len(files):
        raise ValueError("a path is listed twice")
