"""TFX's InfraValidator as the server gate: TensorFlow Serving loads the model.

Imported only if configured: it imports the clients of Docker and Kubernetes.
"""

from __future__ import annotations

from typing import Any

from tfx.components.infra_validator import executor as infra_executor
from tfx.components.infra_validator.component import InfraValidator
from tfx.dsl.components.base import executor_spec
from tfx.proto import infra_validator_pb2

from ordain.common.node_id import NodeId
from ordain.components.artifacts.types import Artifacts, keep_verdict
from ordain.components.server_gate.component import BLESSED_PROPERTY
from ordain.components.server_gate.rules import GATE
from ordain.verdict import Outcome, Reason, Verdict


class InfraExecutor(infra_executor.Executor):
    """TFX's executor, with its result also as a verdict."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Any) -> None:
        """See `tfx.components.infra_validator.executor`."""
        super().Do(input_dict, output_dict, exec_properties)
        (blessing,) = output_dict["blessing"]
        is_blessed = blessing.get_int_custom_property(BLESSED_PROPERTY) == 1
        reason = Reason(
            Outcome.PASSED if is_blessed else Outcome.BLOCKED,
            "infra_validator",
            "TensorFlow Serving loaded the model"
            if is_blessed
            else "TensorFlow Serving did not load the model",
            advice="" if is_blessed else "see TensorFlow Serving's output in the node's log",
        )
        # TFX's blessing does not name its model.
        keep_verdict(Verdict.of(GATE, [reason]), blessing, input_dict["model"])


def infra_validator(model: Any, tag: str, is_on_kubernetes: bool, max_loading_s: int) -> Any:
    """The node `ServerGate` with TensorFlow Serving.

    It gets no examples, since it takes those of one span only: it loads the model and sends no
    request.

    Args:
        model: The candidate's channel.
        tag: Tag of TensorFlow Serving's image.
        is_on_kubernetes: True for a pod of the cluster, False for a local container.
        max_loading_s: Seconds after which a model that is not loaded is refused.
    """
    serving = infra_validator_pb2.ServingSpec(
        tensorflow_serving=infra_validator_pb2.TensorFlowServing(tags=[tag])
    )
    runner = serving.kubernetes if is_on_kubernetes else serving.local_docker
    runner.SetInParent()
    node = InfraValidator(
        model=model,
        serving_spec=serving,
        validation_spec=infra_validator_pb2.ValidationSpec(
            max_loading_time_seconds=max_loading_s, num_tries=1
        ),
    ).with_id(NodeId.SERVER_GATE)
    node.executor_spec = executor_spec.ExecutorClassSpec(InfraExecutor)
    return node
