"""A published version as an artifact of ML Metadata: a baseline, or the start of a training.

The resolvers register the version's folder in the serving directory as a Model artifact; the same
version with the same content is the same artifact in every run, so that looking back does not
break TFX's cache. It holds a bare SavedModel, and it may have changed since it was published:
executors take it through `private_inputs`, which checks a copy and gives that its place.
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

from ordain.errors import OrdainError
from ordain.serving.registry.label_file import STABLE
from ordain.serving.registry.served import Served, find_served, private_copy
from ordain.serving.registry.trust import Trust

#: Custom properties of the artifact: the version, and the SHA-256 of its manifest.
VERSION_PROPERTY = "served_version"
DIGEST_PROPERTY = "served_manifest"
#: Custom property of what a gate leaves: the stable version that it compared with.
COMPARED_PROPERTY = "compared_with_stable"
NOTHING = "nothing"
_FIRST = "nothing: this is the first model, no version has been published yet"


@dataclass(frozen=True)
class LookingBack:
    """Settings for published versions that executors get beside their inputs.

    Attributes:
        base: The serving directory, or `gs://bucket/folder`.
        rule: `stable`, `latest`, or the number of a version.
        none: Why the project wants no baseline; empty where it wants one.
        trust: Whose versions they have to be, and what signs them.
    """

    base: str
    rule: str | int
    none: str = ""
    trust: Trust | None = None
    #: Errors of a resolver, of which TFX keeps the text alone.
    errors: list[OrdainError] = field(default_factory=list)


_TOLD: ContextVar[LookingBack | None] = ContextVar("looking_back", default=None)


@contextlib.contextmanager
def looking_back(told: LookingBack) -> Iterator[None]:
    """Tells executors of the project's serving directory while entered."""
    token = _TOLD.set(told)
    try:
        yield
    finally:
        _TOLD.reset(token)


def look_up(base: str, rule: str | int) -> Served | None:
    """`find_served` for a resolver: its error is kept for whoever launches the node."""
    told = _TOLD.get()
    try:
        return find_served(base, rule, told.trust if told is not None else None)
    except OrdainError as error:
        if told is not None:
            told.errors.append(error)
        raise


def resolver_error() -> OrdainError | None:
    """Why a resolver that was launched last found nothing; None if it did not raise."""
    told = _TOLD.get()
    return told.errors.pop() if told is not None and told.errors else None


def registered(store: mlmd.MetadataStore, address: str, version: int, digest: str) -> Any:
    """The artifact of a published version, made if there is none yet.

    Args:
        store: ML Metadata.
        address: The version's folder, or `gs://bucket/folder/<version>`.
        version: Its number.
        digest: SHA-256 of its manifest.

    Returns:
        A TFX Model artifact with an id. After a move of the serving directory it has the new
        address.
    """
    kind = standard_artifacts.Model
    type_id = store.put_artifact_type(kind().artifact_type)
    # The manifest says when and by which run it was published: no two versions share a digest.
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
        with contextlib.suppress(errors.AlreadyExistsError):  # a run beside this one was quicker
            store.put_artifacts([made.mlmd_artifact])
        found = store.get_artifact_by_type_and_name(kind.TYPE_NAME, name)
    if found.uri != address or found.state != metadata_store_pb2.Artifact.LIVE:
        found.uri, found.state = address, metadata_store_pb2.Artifact.LIVE
        store.put_artifacts([found])
        found = store.get_artifact_by_type_and_name(kind.TYPE_NAME, name)
    (artifact_type,) = store.get_artifact_types_by_id([found.type_id])
    return artifact_utils.deserialize_artifact(artifact_type, found)


def version_of(artifact: Any) -> int | None:
    """The version that an artifact of `registered` is; None for any other."""
    return artifact.get_int_custom_property(VERSION_PROPERTY) or None


@contextlib.contextmanager
def private_inputs(inputs: Mapping[str, list[Any]], key: str) -> Iterator[dict[str, list[Any]]]:
    """An executor's inputs, with a published version replaced by a checked private copy.

    Args:
        inputs: The executor's inputs.
        key: Key of the input that may be an artifact of `registered`.

    Yields:
        The inputs; the copy has the layout of a Trainer's Model artifact, and is removed at
        the end.

    Raises:
        InfrastructureError: The version is missing, does not verify, or may not be loaded.
    """
    told = _TOLD.get()
    changed = dict(inputs)
    with contextlib.ExitStack() as stack:
        if any(version_of(artifact) for artifact in inputs.get(key, [])):
            (artifact,) = inputs[key]
            trust = told.trust if told is not None else None
            folder = stack.enter_context(private_copy(artifact.uri, trust))
            laid_out = Path(path_utils.serving_model_dir(str(folder.parent)))
            folder.rename(laid_out)
            private = copy.deepcopy(artifact)
            private.uri = str(folder.parent)
            changed[key] = [private]
        yield changed


def compared_with(inputs: Mapping[str, list[Any]], key: str) -> str:
    """Words for a verdict: what a candidate is compared with, by version, or why with nothing.

    Args:
        inputs: The Evaluator's inputs.
        key: Key of the baseline.
    """
    told = _TOLD.get()
    if key not in inputs:
        reason = told.none if told is not None else ""
        return f"nothing: {reason or 'the project wants no baseline'}"
    if not inputs[key]:
        return _FIRST
    (artifact,) = inputs[key]
    version = version_of(artifact)
    if version is None or told is None:
        return f"the model {artifact.uri}"
    with contextlib.suppress(OrdainError):
        served = find_served(told.base, told.rule, told.trust)
        if served is not None and served.version == version:
            return served.name
    # The label has moved on: to this very candidate, in a run that was repeated, or by somebody.
    return f"version {version} ({told.rule} when this run looked it up)"


def note_compared(
    judged: Any, inputs: Mapping[str, list[Any]], key: str, rule: str | int | None = None
) -> None:
    """Notes on a gate's artifact which stable version it was compared with, for the push.

    Args:
        judged: The artifact that the gate leaves.
        inputs: The gate's inputs.
        key: Key of the published version.
        rule: The rule that named it, None for the project's; only `stable` is noted.
    """
    told = _TOLD.get()
    if rule is None and told is not None:
        rule = told.rule
    if rule == STABLE and key in inputs:
        found = [version_of(artifact) for artifact in inputs[key]]
        judged.set_string_custom_property(COMPARED_PROPERTY, str(found[0] if found else NOTHING))


def compared_by(gates: Iterable[Any]) -> set[int | None]:
    """The stable versions that gates compared a candidate with; None for "none yet"."""
    noted = (gate.get_string_custom_property(COMPARED_PROPERTY) for gate in gates)
    return {None if version == NOTHING else int(version) for version in noted if version}
