"""Publisher: a Pusher that publishes by one rename, with a manifest in the model's folder.

TFX's executor copies file by file into the version folder that a model server watches; killed
half-way it leaves a version that does not load. This one publishes through
`ordain.serving.registry.directory`, or for `gs://` through `ordain.serving.registry.object_store`.
Its further inputs are for the manifest: the examples, the schema and the gates' verdicts.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from tfx import types
from tfx.components.evaluator import constants
from tfx.components.pusher import executor as pusher_executor
from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_artifacts, standard_component_specs
from tfx.types.component_spec import ChannelParameter
from tfx.utils import io_utils, json_utils, proto_utils

from ordain.common.digests import digest_tree
from ordain.common.node_id import NodeId
from ordain.components.artifacts.pushed_model import (
    REASON_PROPERTY,
    STABLE_PROPERTY,
    unrecorded_version,
)
from ordain.components.artifacts.served_model import compared_by
from ordain.components.artifacts.types import JUDGED_PROPERTY, Artifacts, GateVerdict, ids_of
from ordain.components.pusher import provenance
from ordain.errors import InfrastructureError
from ordain.serving.registry.directory import publish
from ordain.serving.registry.label_file import read_labels
from ordain.serving.registry.labels import Pushed, record_push
from ordain.serving.registry.manifest import MODEL_CARD_FILE, Manifest
from ordain.serving.registry.object_store import publish_objects
from ordain.serving.registry.trust import Trust
from ordain.serving.registry.verification import read_manifest
from ordain.serving.server.models.checks import find_model_problems, find_problems
from ordain.storage.gcs import is_object_store

#: Inputs with a verdict: the judged input, the node that gave it, and its name in messages.
_JUDGED = {
    standard_component_specs.INFRA_BLESSING_KEY: (
        "model",
        NodeId.SERVER_GATE,
        "the server gate's verdict",
    ),
    provenance.EVALUATION: ("model", NodeId.EVALUATOR, "the evaluation's verdict"),
    provenance.DATA_VERDICT: (provenance.EXAMPLES, NodeId.DATA_GATE, "the data gate's verdict"),
}
NO_LABELS = "an object store has no labels: its reader chooses the version"


class Executor(pusher_executor.Executor):
    """Publishes a blessed model as a new version, completely or not at all."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Any) -> None:
        """Same properties as `tfx.components.pusher.executor`."""
        pushed = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.PUSHED_MODEL_KEY]
        )
        _refuse_others_verdicts(input_dict)
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(
            exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination
        )
        base = destination.filesystem.base_directory
        settings = json_utils.loads(exec_properties.get("custom_config") or "null") or {}
        run_id = (self._context and self._context.pipeline_run_id) or ""
        with _local_folder(self.GetModelPath(input_dict)) as model:
            self._publish(model, input_dict, pushed, base, settings, run_id)

    def _publish(
        self,
        model: str,
        input_dict: Artifacts,
        pushed: Any,
        base: str,
        settings: dict[str, Any],
        run_id: str,
    ) -> None:
        about = provenance.describe(
            input_dict,
            model,
            project=settings.get("project", Path(base).name),
            run_id=run_id,
            source_fingerprint=settings.get("source_fingerprint", ""),
        )
        trust = Trust.of(about.project, settings.get("signing"))
        if is_object_store(base):
            address = publish_objects(model, base, about, trust.key(), _refuse_unservable)
            version, is_stable, reason = address.rpartition("/")[2], False, NO_LABELS
        else:
            folder = _published_before(Path(base), model, about, trust)
            done = _recorded_before(base, folder, trust) if folder else None
            folder = folder or publish(model, base, about, trust, _refuse_unservable)
            done = done or record_push(
                base,
                int(folder.name),
                who=f"run {run_id}" if run_id else "a push outside a run",
                promote=settings.get("promote", "auto"),
                trust=trust,
                compared=compared_by(
                    a for key in ("evaluation", "infra_blessing") for a in input_dict.get(key, [])
                ),
            )
            address, version = str(folder), folder.name
            is_stable, reason = done.is_stable, done.reason
        self._MarkPushed(pushed, pushed_destination=address, pushed_version=version)
        pushed.set_int_custom_property(STABLE_PROPERTY, int(is_stable))
        pushed.set_string_custom_property(REASON_PROPERTY, reason)


@contextlib.contextmanager
def _local_folder(model: str) -> Iterator[str]:
    """The model in a local folder, as scanning and publishing read files."""
    if "://" not in model:
        yield model
        return
    with tempfile.TemporaryDirectory(prefix="ordain-model-") as folder:
        copy = f"{folder}/{model.rstrip('/').rpartition('/')[2]}"
        io_utils.copy_dir(model, copy)
        yield copy


def _published_before(base: Path, model: str, about: Manifest, trust: Trust) -> Path | None:
    """The version that a killed publisher renamed into place, if it is of this model."""
    version = unrecorded_version()
    folder = base / str(version)
    if version is None or find_problems(folder, trust):
        return None
    known = read_manifest(folder)
    files = {file for file in known.files if file.path != MODEL_CARD_FILE}
    is_same = (known.spans, known.source_fingerprint) == (about.spans, about.source_fingerprint)
    return folder if is_same and files == set(digest_tree(Path(model))) else None


def _recorded_before(base: str, folder: Path, trust: Trust) -> Pushed | None:
    """The killed publisher's change of the labels; None if it made none."""
    labels = read_labels(base, trust)
    for change in reversed(labels.changes):
        if change.action == "publish" and change.version == int(folder.name):
            return Pushed(labels, labels.stable == change.version, change.why)
    return None


def _refuse_others_verdicts(inputs: Artifacts) -> None:
    """Refuses blessings and verdicts of another model or other examples.

    Raises:
        InfrastructureError: One of them is on another artifact, or does not name one.
    """
    (model,) = inputs[standard_component_specs.MODEL_KEY]
    for blessing in inputs.get(standard_component_specs.MODEL_BLESSING_KEY, []):
        blessed = _blessed(blessing)
        if blessed not in (str(model.id), model.uri):
            raise _other("the Evaluator's blessing", "model", blessed, [model], NodeId.EVALUATOR)
    for name, (subject, node, what) in _JUDGED.items():
        for artifact in inputs.get(name, []):
            judged = artifact.get_string_custom_property(JUDGED_PROPERTY)
            if judged != ids_of(inputs.get(subject, [])):
                raise _other(what, subject, judged, inputs.get(subject, []), node)


def _blessed(blessing: Any) -> str:
    """The model of a ModelBlessing, as recorded by TFX's Evaluator: its id, on Vertex AI its URI.

    Vertex AI writes another name in place of the id, which no model has.
    """
    key = constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY
    if isinstance(blessing.get_json_value_custom_property(key), str):
        uri = constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY
        return str(blessing.get_string_custom_property(uri))
    return str(blessing.get_int_custom_property(key)) if blessing.has_custom_property(key) else ""


def _other(
    what: str, subject: str, judged: str, given: list[Any], node: str
) -> InfrastructureError:
    about = f"is on {subject} {judged}" if judged else f"does not name a {subject}"
    return InfrastructureError(
        f"the model may not be published: {what} {about}, but the {subject} to publish is "
        f"{ids_of(given)} (ids in ML Metadata)",
        f"ordain run PROJECT --from {node}",
    )


def _refuse_unservable(model: Path) -> None:
    """Refuses a model that a server would refuse; the server gate may be off."""
    problems = find_model_problems(model)
    if problems:
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        raise InfrastructureError(
            f"the model may not be published: a server would refuse it: "
            f"{'; '.join(problems[:5])}{more}",
            "remove them from what run_fn exports (docs/serving-gate.md), then run again",
        )


class PublisherSpec(standard_component_specs.PusherSpec):
    """Pusher's spec, with the artifacts that the manifest describes."""

    INPUTS: ClassVar[dict[str, Any]] = {
        **standard_component_specs.PusherSpec.INPUTS,
        provenance.EXAMPLES: ChannelParameter(type=standard_artifacts.Examples, optional=True),
        provenance.SCHEMA: ChannelParameter(type=standard_artifacts.Schema, optional=True),
        provenance.EVALUATION: ChannelParameter(
            type=standard_artifacts.ModelEvaluation, optional=True
        ),
        provenance.DATA_VERDICT: ChannelParameter(type=GateVerdict, optional=True),
    }


class Publisher(base_component.BaseComponent):
    """The component: Pusher with the lineage of the model."""

    SPEC_CLASS = PublisherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, base: str, settings: dict[str, Any], **channels: Any) -> None:
        """Takes Pusher's arguments and the channels of the lineage.

        Args:
            base: The serving directory, or an address `gs://bucket/folder`.
            settings: `project`, `source_fingerprint`, `promote` and `signing`, for the manifest
                and the labels. Stored in ML Metadata: a pass phrase stays a reference.
            **channels: `model`, `model_blessing`, `infra_blessing`, `examples`, `schema`,
                `evaluation`, `data_verdict`.
        """
        filesystem = pusher_pb2.PushDestination.Filesystem(base_directory=base)
        super().__init__(
            PublisherSpec(
                push_destination=pusher_pb2.PushDestination(filesystem=filesystem),
                custom_config=json_utils.dumps(settings),
                pushed_model=types.Channel(type=standard_artifacts.PushedModel),
                **channels,
            )
        )
