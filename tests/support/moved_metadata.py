"""ML Metadata with paths everywhere, written at one place and read at another."""

from __future__ import annotations

import json
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as pb

from ordain.config.project import Project


def fill(store: Any, project: Project) -> None:
    """An artifact, an execution and a context that all name files of the workspace."""
    module = str(project.folder / "model.py")
    kind = store.put_artifact_type(pb.ArtifactType(name="Model"))
    artifact = pb.Artifact(type_id=kind, uri=str(project.artifacts / "Trainer" / "model" / "1"))
    artifact.custom_properties["module"].string_value = module
    work = store.put_execution_type(pb.ExecutionType(name="Trainer"))
    execution = pb.Execution(type_id=work)
    told = json.dumps({"to": json.dumps({"directory": str(project.serving)})})
    execution.custom_properties["push_destination"].string_value = told
    context = pb.Context(type_id=store.put_context_type(pb.ContextType(name="run")), name="r")
    context.custom_properties["folder"].string_value = str(project.runs / "r")
    event = pb.Event(type=pb.Event.OUTPUT)
    store.put_execution(execution, [(artifact, event)], [context])


def check(store: Any, project: Project) -> None:
    """What `fill` wrote, as it should be read for a project."""
    uri = str(project.artifacts / "Trainer" / "model" / "1")
    (artifact,) = store.get_artifacts()
    assert artifact.uri == uri
    assert artifact.custom_properties["module"].string_value == str(project.folder / "model.py")
    assert [found.id for found in store.get_artifacts_by_uri(uri)] == [artifact.id]
    (execution,) = store.get_executions()
    told = json.loads(execution.custom_properties["push_destination"].string_value)
    assert json.loads(told["to"]) == {"directory": str(project.serving)}
    (context,) = store.get_contexts()
    assert context.custom_properties["folder"].string_value == str(project.runs / "r")
    # Written back, as gc and the recovery do, it stays what it is.
    artifact.state = pb.Artifact.DELETED
    store.put_artifacts([artifact])
    store.put_executions([execution])
    store.put_contexts([context])
