"""Publisher: Pusher's executor, by one rename instead of file by file.

TFX's own executor copies into the version folder that a model server is watching; killed
half-way it leaves a version that does not load. This one goes through `serving.directory`.
"""

from __future__ import annotations

from typing import Any

from tfx.components.pusher import executor as pusher_executor
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from serving.directory import publish

#: Custom properties of PushedModel, as TFX's executor names them.
PUSHED_PROPERTY = "pushed"
VERSION_PROPERTY = "pushed_version"
DESTINATION_PROPERTY = "pushed_destination"


class Executor(pusher_executor.Executor):
    """Publishes a blessed model as a new version, whole or not at all."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See `tfx.components.pusher.executor`, whose properties this keeps."""
        pushed = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.PUSHED_MODEL_KEY]
        )
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(
            exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination
        )
        folder = publish(self.GetModelPath(input_dict), destination.filesystem.base_directory)
        self._MarkPushed(pushed, pushed_destination=str(folder), pushed_version=folder.name)
