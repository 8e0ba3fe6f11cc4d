"""What has to hold of a project after a year, whatever happened in it."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb
from sandbox import BESIDE_VERSIONS

from ordain.config.project import Project
from ordain.history.retention import REFERENCES
from ordain.metadata.store import open_store
from ordain.project.source import fingerprint
from ordain.serving.registry.label_file import read_labels
from ordain.serving.registry.verification import read_manifest, verify
from ordain.serving.registry.versions import list_versions

_OUTPUTS = (pb.Event.OUTPUT, pb.Event.DECLARED_OUTPUT)
_INPUTS = (pb.Event.INPUT, pb.Event.DECLARED_INPUT)


def check_year(project: Project) -> dict[int, tuple[int, ...]]:
    """Checks everything; returns the spans of each version."""
    store = open_store(project.metadata, project.paths)
    check_nothing_is_left_open(store)
    versions = check_versions(project, store)
    check_the_newest_blessed_is_served(project, store)
    return versions


def check_nothing_is_left_open(store: mlmd.MetadataStore) -> None:
    """No execution that a dead process left, and no artifact that was only announced."""
    active = (pb.Execution.NEW, pb.Execution.RUNNING)
    assert [e for e in store.get_executions() if e.last_known_state in active] == []
    assert [a for a in store.get_artifacts() if a.state == pb.Artifact.PENDING] == []


def check_versions(project: Project, store: mlmd.MetadataStore) -> dict[int, tuple[int, ...]]:
    """Each version is whole, was published once, and tells what it was made of."""
    versions = list_versions(project.serving)
    names = {path.name for path in project.serving.iterdir()}
    assert names - BESIDE_VERSIONS == {str(version) for version in versions}

    pushed: dict[int, Any] = {}
    for artifact in store.get_artifacts_by_type("PushedModel"):
        if artifact.state == pb.Artifact.LIVE and artifact.custom_properties["pushed"].int_value:
            version = int(artifact.custom_properties["pushed_version"].string_value)
            assert version not in pushed, f"version {version} was recorded twice"
            pushed[version] = artifact
    assert sorted(pushed) == versions
    changes = Counter(change["version"] for change in _published(project))
    assert changes == dict.fromkeys(versions, 1)

    graph = _Graph(store)
    spans_of, made_of = {}, set()
    for version in versions:
        folder = project.serving / str(version)
        assert verify(folder) == []
        manifest = read_manifest(folder)
        assert manifest.files and manifest.metrics
        assert manifest.source_fingerprint == fingerprint(project.folder)
        assert {verdict.gate for verdict in manifest.verdicts} >= {"data", "evaluation"}
        assert store.get_context_by_type_and_name("pipeline_run", manifest.run_id) is not None
        # What Transform left is Examples as well, of no one delivery.
        upstream = graph.upstream(pushed[version].id, "Examples")
        examples = [told for told in map(properties_of, upstream) if "input_fingerprint" in told]
        found = {int(told["span"]) for told in examples}
        assert tuple(sorted(found)) == manifest.spans, f"version {version}"
        made_of.add(frozenset(str(told["input_fingerprint"]) for told in examples))
        spans_of[version] = manifest.spans
    # The same data under two numbers would be a model that was published twice.
    assert len(made_of) == len(versions)
    return spans_of


def check_the_newest_blessed_is_served(project: Project, store: mlmd.MetadataStore) -> None:
    """The stable version holds the model of the newest blessing."""
    blessings = [
        blessing
        for blessing in store.get_artifacts_by_type("ModelBlessing")
        if blessing.custom_properties["blessed"].int_value == 1
    ]
    newest = max(blessings, key=lambda blessing: blessing.id)
    model = newest.custom_properties["current_model_id"].int_value
    graph = _Graph(store)
    stable = read_labels(project.serving).stable
    holding = [
        artifact.custom_properties["pushed_version"].string_value
        for artifact in store.get_artifacts_by_type("PushedModel")
        if model in {found.id for found in graph.upstream(artifact.id, "Model", depth=1)}
    ]
    assert holding == [str(stable)], f"model {model} is in {holding}, and {stable} is stable"


def properties_of(artifact: Any) -> dict[str, int | float | str]:
    """Properties of both kinds, as plain values."""
    found = {}
    for properties in (artifact.properties, artifact.custom_properties):
        for name, value in properties.items():
            found[name] = getattr(value, value.WhichOneof("value") or "string_value")
    return found


class _Graph:
    """Who made what of what."""

    def __init__(self, store: mlmd.MetadataStore) -> None:
        self._artifacts = {artifact.id: artifact for artifact in store.get_artifacts()}
        self._types = {kind.id: kind.name for kind in store.get_artifact_types()}
        self._makers: dict[int, set[int]] = {}
        self._taken: dict[int, set[int]] = {}
        ids = [execution.id for execution in store.get_executions()]
        for event in store.get_events_by_execution_ids(ids):
            key = event.path.steps[0].key if event.path.steps else ""
            if event.type in _OUTPUTS:
                self._makers.setdefault(event.artifact_id, set()).add(event.execution_id)
            elif event.type in _INPUTS and key not in REFERENCES:
                self._taken.setdefault(event.execution_id, set()).add(event.artifact_id)

    def upstream(self, artifact: int, kind: str, depth: int = 100) -> list[Any]:
        """Artifacts of a type that one was made of; references to earlier runs are not followed."""
        seen = {artifact}
        edge = {artifact}
        for _ in range(depth):
            makers = {maker for one in edge for maker in self._makers.get(one, ())}
            edge = {taken for maker in makers for taken in self._taken.get(maker, ())} - seen
            seen |= edge
        found = (self._artifacts[number] for number in sorted(seen - {artifact}))
        return [one for one in found if self._types[one.type_id] == kind]


def _published(project: Project) -> list[dict[str, Any]]:
    raw = json.loads((project.serving / "labels.json").read_text())
    return [change for change in raw["changes"] if change["action"] == "publish"]
