"""A published version as an artifact of ML Metadata: a baseline, or the start of a training.

The resolvers register the version's folder in the serving directory as a Model artifact. The same
version with the same content is the same artifact in every run, so that TFX's cache applies. The
folder is a bare SavedModel and may have changed since it was published: executors use it through
`private_inputs`, which replaces it by a verified copy.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_metadata as mlmd
from ml_metadata import errors
from ml_metadata.proto import metadata_store_pb2
from tfx import version as tfx_version
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import path_utils

from ordain.components.artifacts.types import Artifacts
from ordain.errors import OrdainError
from ordain.serving.registry.label_file import STABLE
from ordain.serving.registry.served import Served, find_served, private_copy
from ordain.serving.registry.trust import Trust

#: Custom properties of the artifact: the version, and the SHA-256 of its manifest.
VERSION_PROPERTY = "served_version"
DIGEST_PROPERTY = "served_manifest"
#: Custom property of a gate's artifact: the stable version that it compared with.
COMPARED_PROPERTY = "compared_with_stable"
NOTHING = "nothing"
_FIRST = "nothing: this is the first model, no version has been published yet"


@dataclass(frozen=True)
class LookingBack:
    """Settings about published versions, for executors and resolvers.

    Attributes:
        base: The serving directory, or `gs://bucket/folder`.
        rule: `stable`, `latest`, or the number of a version.
        none: The project's reason for no baseline; empty if it has one.
        trust: Expected project and signature of the versions.
    """

    base: str
    rule: str | int
    none: str = ""
    trust: Trust | None = None
    #: Errors of a resolver, of which TFX keeps only the text.
    errors: list[OrdainError] = field(default_factory=list)


_CURRENT: ContextVar[LookingBack | None] = ContextVar("looking_back", default=None)


@contextlib.contextmanager
def looking_back(settings: LookingBack) -> Iterator[None]:
    """Passes the project's serving directory to executors and resolvers."""
    token = _CURRENT.set(settings)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def look_up(base: str, rule: str | int) -> Served | None:
    """`find_served` for a resolver; keeps its error for `resolver_error`."""
    current = _CURRENT.get()
    try:
        return find_served(base, rule, current.trust if current is not None else None)
    except OrdainError as error:
        if current is not None:
            current.errors.append(error)
        raise


def resolver_error() -> OrdainError | None:
    """Error of the resolver that was launched last; None if it did not raise."""
    current = _CURRENT.get()
    return current.errors.pop() if current is not None and current.errors else None


def registered(store: mlmd.MetadataStore, address: str, version: int, digest: str) -> Any:
    """Returns the artifact of a published version, created if necessary.

    Args:
        store: ML Metadata.
        address: The version's folder, or `gs://bucket/folder/<version>`.
        version: Its number.
        digest: SHA-256 of its manifest.

    Returns:
        A TFX Model artifact with an id, and with the current address if the serving directory was
        moved.
    """
    kind = standard_artifacts.Model
    type_id = store.put_artifact_type(kind().artifact_type)
    # The manifest has time and run of the push: no two versions have the same digest.
    name = f"published-{digest}"
    found = store.get_artifact_by_type_and_name(kind.TYPE_NAME, name)
    if found is None:
        made = kind()
        made.mlmd_artifact.type_id = type_id
        made.uri, made.name = address, name
        made.mlmd_artifact.name = name
        made.mlmd_artifact.state = metadata_store_pb2.Artifact.LIVE
        made.set_string_custom_property(
            artifact_utils.ARTIFACT_TFX_VERSION_CUSTOM_PROPERTY_KEY, tfx_version.__version__
        )
        made.set_int_custom_property(VERSION_PROPERTY, version)
        made.set_string_custom_property(DIGEST_PROPERTY, digest)
        with contextlib.suppress(errors.AlreadyExistsError):  # a concurrent run was faster
            store.put_artifacts([made.mlmd_artifact])
        found = store.get_artifact_by_type_and_name(kind.TYPE_NAME, name)
    if found.uri != address or found.state != metadata_store_pb2.Artifact.LIVE:
        found.uri, found.state = address, metadata_store_pb2.Artifact.LIVE
        store.put_artifacts([found])
        found = store.get_artifact_by_type_and_name(kind.TYPE_NAME, name)
    (artifact_type,) = store.get_artifact_types_by_id([found.type_id])
    return artifact_utils.deserialize_artifact(artifact_type, found)


def version_of(artifact: Any) -> int | None:
    """Version of an artifact of `registered`; None for any other artifact."""
    return artifact.get_int_custom_property(VERSION_PROPERTY) or None


@contextlib.contextmanager
def private_inputs(inputs: Mapping[str, list[Any]], key: str) -> Iterator[Artifacts]:
    """An executor's inputs, with a published version replaced by a verified private copy.

    Args:
        inputs: The executor's inputs.
        key: Key of the input that may be an artifact of `registered`.

    Yields:
        The inputs. The copy has the layout of a Trainer's Model artifact and is removed at the end.

    Raises:
        InfrastructureError: The version is missing, does not verify, or may not be loaded.
    """
    current = _CURRENT.get()
    changed = dict(inputs)
    with contextlib.ExitStack() as stack:
        if any(version_of(artifact) for artifact in inputs.get(key, [])):
            (artifact,) = inputs[key]
            trust = current.trust if current is not None else None
            folder = stack.enter_context(private_copy(artifact.uri, trust))
            laid_out = Path(path_utils.serving_model_dir(str(folder.parent)))
            folder.rename(laid_out)
            private = copy.deepcopy(artifact)
            private.uri = str(folder.parent)
            changed[key] = [private]
        yield changed


def compared_with(inputs: Mapping[str, list[Any]], key: str) -> str:
    """Text for a verdict: the version that a candidate is compared with, or why there is none.

    Args:
        inputs: The Evaluator's inputs.
        key: Key of the baseline.
    """
    current = _CURRENT.get()
    if key not in inputs:
        reason = current.none if current is not None else ""
        return f"nothing: {reason or 'the project wants no baseline'}"
    if not inputs[key]:
        return _FIRST
    (artifact,) = inputs[key]
    version = version_of(artifact)
    if version is None or current is None:
        return f"the model {artifact.uri}"
    with contextlib.suppress(OrdainError):
        served = find_served(current.base, current.rule, current.trust)
        if served is not None and served.version == version:
            return served.name
    # The label has moved: to this candidate in a repeated run, or by a command.
    return f"version {version} ({current.rule} when this run looked it up)"


def note_compared(
    judged: Any, inputs: Mapping[str, list[Any]], key: str, rule: str | int | None = None
) -> None:
    """Records on a gate's artifact the stable version that it compared with, for the push.

    Args:
        judged: The gate's artifact.
        inputs: The gate's inputs.
        key: Key of the published version.
        rule: The rule that resolved it, None for the project's; only `stable` is recorded.
    """
    current = _CURRENT.get()
    if rule is None and current is not None:
        rule = current.rule
    if rule == STABLE and key in inputs:
        found = [version_of(artifact) for artifact in inputs[key]]
        judged.set_string_custom_property(COMPARED_PROPERTY, str(found[0] if found else NOTHING))


def compared_by(gates: Iterable[Any]) -> set[int | None]:
    """The stable versions that gates compared a candidate with; None for "none yet"."""
    noted = (gate.get_string_custom_property(COMPARED_PROPERTY) for gate in gates)
    return {None if version == NOTHING else int(version) for version in noted if version}
