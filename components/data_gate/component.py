"""DataGate component: one verdict on anomalies, drift, skew, labels and row counts of a window.

TFX's ExampleValidator finds anomalies and stops nothing. This component reads its anomalies of
every span of the window, compares the newest span with the one before, and checks the label and the
row counts. The nodes after it run only if the verdict is not `blocked`.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx import types
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter
from tfx.utils import io_utils

from ordain.components.artifacts.types import Artifacts, GateVerdict, keep_verdict
from ordain.components.data_gate.rules import judge
from ordain.components.data_gate.span_facts import SpanFacts
from ordain.components.examples.example_gen import read_rows
from ordain.components.examples.reader import read_schema, strays_of


class DataGateSpec(types.ComponentSpec):
    """Inputs: the window's examples, statistics and anomalies; the schema. Output: a verdict."""

    PARAMETERS: ClassVar[dict[str, Any]] = {
        "policy": ExecutionParameter(type=str),
        "training": ExecutionParameter(type=str, optional=True),
    }
    INPUTS: ClassVar[dict[str, Any]] = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "anomalies": ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        "schema": ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS: ClassVar[dict[str, Any]] = {"verdict": ChannelParameter(type=GateVerdict)}


class Executor(base_executor.BaseExecutor):
    """Collects the facts of each span and judges them."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Any) -> None:
        """Writes `verdict.json` and sets the outcome as a property of the artifact."""
        statistics = {a.span: a for a in input_dict["statistics"]}
        anomalies = {a.span: a for a in input_dict["anomalies"]}
        schema = read_schema(input_dict)
        facts = []
        for examples in sorted(input_dict["examples"], key=lambda artifact: artifact.span):
            splits = artifact_utils.decode_split_names(examples.split_names)
            rows = read_rows(examples)
            facts.append(
                SpanFacts(
                    span=examples.span,
                    rows=rows.get("splits", {}),
                    left_out=rows.get("left_out", 0),
                    statistics={s: _statistics(statistics[examples.span], s) for s in splits},
                    anomalies={s: _anomalies(anomalies[examples.span], s) for s in splits},
                    strays=strays_of(examples),
                )
            )
        training = json.loads(exec_properties.get("training") or "{}")
        verdict = judge(facts, schema, json.loads(exec_properties["policy"]), **training)
        (output,) = output_dict["verdict"]
        keep_verdict(verdict, output, input_dict["examples"])


class DataGate(base_component.BaseComponent):
    """The component.

    `policy` is `ordain.config.gates.Gate` as a dict, with the label's name; `training` has `steps`
    and `batch_size` (None if not configured).
    """

    SPEC_CLASS = DataGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, policy: dict[str, Any], training: dict[str, Any], **channels: Any) -> None:
        """Takes the policy, the training settings, and the channels of `DataGateSpec.INPUTS`."""
        super().__init__(
            DataGateSpec(
                policy=json.dumps(policy, sort_keys=True),
                training=json.dumps(training, sort_keys=True),
                verdict=types.Channel(type=GateVerdict),
                **channels,
            )
        )


def _statistics(artifact: Any, split: str) -> statistics_pb2.DatasetFeatureStatisticsList:
    return stats_artifact_utils.load_statistics(artifact, split).proto()


def _anomalies(artifact: Any, split: str) -> anomalies_pb2.Anomalies:
    uri = artifact_utils.get_split_uri([artifact], split)
    message = anomalies_pb2.Anomalies()
    with fileio.open(io_utils.get_only_uri_in_dir(uri), "rb") as file:
        message.ParseFromString(file.read())
    return message
