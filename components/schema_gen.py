"""Nodes that give the schema: from a curated file, or inferred over the window."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, ClassVar

from tfx import types
from tfx.components.schema_gen.component import SchemaGen
from tfx.components.schema_gen.import_schema_gen import executor as import_executor
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, standard_artifacts, standard_component_specs
from tfx.types.component_spec import ExecutionParameter
from tfx.utils import io_utils

from ordain.components.artifacts.types import Artifacts
from ordain.components.schema_inference import infer_schema
from ordain.errors import DataBlockedError


class WindowExecutor(base_executor.BaseExecutor):
    """Infers one schema from the statistics of the window's older spans.

    The newest span is excluded if there are others: a schema inferred from a span finds no anomaly
    in it.
    """

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Any) -> None:
        """Same output as `tfx.components.schema_gen.executor`."""
        by_span = sorted(input_dict["statistics"], key=lambda artifact: artifact.span)
        measured = [
            stats_artifact_utils.load_statistics(artifact, split).proto()
            for artifact in by_span[:-1] or by_span
            for split in artifact_utils.decode_split_names(artifact.split_names)
        ]
        measured = [m for m in measured if any(d.num_examples for d in m.datasets)]
        if not measured:
            raise DataBlockedError("no span of the window has a row to infer a schema from")
        uri = artifact_utils.get_single_uri(output_dict["schema"])
        io_utils.write_pbtxt_file(f"{uri}/schema.pbtxt", infer_schema(measured))


class WindowSchemaGen(SchemaGen):
    """SchemaGen over every span of the window (TFX's takes one statistics artifact)."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(WindowExecutor)


class CuratedSchemaSpec(standard_component_specs.ImportSchemaGenSpec):
    """ImportSchemaGen's spec, with a fingerprint of the file's content."""

    PARAMETERS: ClassVar[dict[str, Any]] = {
        **standard_component_specs.ImportSchemaGenSpec.PARAMETERS,
        # TFX's cache key has only the file's path: an edited schema would be ignored.
        "schema_fingerprint": ExecutionParameter(type=str),
    }


class CuratedSchema(base_component.BaseComponent):
    """ImportSchemaGen whose cache key includes the file's content."""

    SPEC_CLASS = CuratedSchemaSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(import_executor.Executor)

    def __init__(self, schema_file: Path) -> None:
        """Takes the path of the curated `schema.pbtxt`."""
        super().__init__(
            CuratedSchemaSpec(
                schema_file=str(schema_file),
                schema_fingerprint=hashlib.sha256(schema_file.read_bytes()).hexdigest(),
                schema=types.Channel(type=standard_artifacts.Schema),
            )
        )
