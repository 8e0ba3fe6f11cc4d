"""TFX's executors for `executors: {NODE: tfx}`, with row counts and verdicts added.

TFX's executors write no row counts and no verdicts. Here they run unchanged; afterwards the written
rows are counted and the verdict is derived from the measured metrics, so that the data gate, the
conservation of rows and the result of a run work the same with either executor.

StatisticsGen's executor needs no addition.
"""

from __future__ import annotations

import json
from typing import Any

import tensorflow as tf
from tfx.components.evaluator import constants
from tfx.components.evaluator import executor as tfx_evaluator
from tfx.components.example_gen import utils as example_gen_utils
from tfx.components.example_gen.csv_example_gen import executor as tfx_csv
from tfx.components.example_gen.custom_executors import parquet_executor as tfx_parquet
from tfx.components.example_gen.import_example_gen import executor as tfx_import
from tfx.components.transform import executor as tfx_transform
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import json_utils, proto_utils

from ordain.components.artifacts.served_model import private_inputs
from ordain.components.artifacts.types import Artifacts, model_folder
from ordain.components.evaluator.conclusion import BASELINE, read_verdict, write_conclusion
from ordain.components.evaluator.thresholds import read_configs
from ordain.components.examples.example_gen import ROWS_PROPERTY, read_rows
from ordain.components.examples.reader import BATCH_ROWS, read_records, read_schema, split_files
from ordain.errors import NodeFailedError


class _Counting:
    """A TFX ExampleGen that also writes span and rows for the data gate."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Any) -> None:
        """See `tfx.components.example_gen.base_example_gen_executor`."""
        (artifact,) = output_dict[standard_component_specs.EXAMPLES_KEY]
        super().Do(input_dict, output_dict, exec_properties)  # type: ignore[misc]
        # TFX's driver writes the span only into a custom property, which no later node reads.
        artifact.span = artifact.get_int_custom_property(example_gen_utils.SPAN_PROPERTY_NAME)
        _note_rows(artifact)


class CsvExampleGen(_Counting, tfx_csv.Executor):
    """TFX's for CSV."""


class ParquetExampleGen(_Counting, tfx_parquet.Executor):
    """TFX's for Parquet."""


class ImportExampleGen(_Counting, tfx_import.Executor):
    """TFX's for TFRecord of `tf.Example`."""


#: By `data.format`.
EXAMPLE_GENS = {
    "csv": CsvExampleGen,
    "parquet": ParquetExampleGen,
    "tfrecord": ImportExampleGen,
}


class Transform(tfx_transform.Executor):
    """TFX's, without an analyzer cache: its format differs from ours."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Any) -> None:
        """See `tfx.components.transform.executor`.

        Raises:
            NodeFailedError: Rows were lost or duplicated.
        """
        super().Do(input_dict, output_dict, exec_properties)
        written = output_dict[standard_component_specs.TRANSFORMED_EXAMPLES_KEY]
        for source, target in zip(input_dict["examples"], written, strict=True):
            target.span = source.span
            _note_rows(target)
            expected, found = (read_rows(a).get("splits", {}) for a in (source, target))
            if expected and expected != found:
                raise NodeFailedError(
                    f"TFX's Transform lost rows: span {source.span}: {expected} ingested, "
                    f"{found} transformed",
                    "run again with one Beam worker (beam_args in pipeline.yaml)",
                )


class Evaluator(tfx_evaluator.Executor):
    """TFX's, with a verdict."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Any) -> None:
        """See `tfx.components.evaluator.executor`.

        Raises:
            NodeFailedError: TFX blessed a model that a threshold blocks, or the reverse, although
                every value is defined.
        """
        with private_inputs(input_dict, BASELINE) as inputs:
            wanted, config = self._evaluate(inputs, output_dict, exec_properties)
        (model,) = input_dict["model"]
        (evaluation,) = output_dict[standard_component_specs.EVALUATION_KEY]
        (blessing,) = output_dict[standard_component_specs.BLESSING_KEY]
        for published in input_dict.get(BASELINE, []):
            blessing.set_string_custom_property(
                constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, published.uri
            )
        # TFX's validation has no policies: undefined values block with this executor.
        verdict, measures = read_verdict(
            input_dict, evaluation, wanted, config, blocks_undefined=True
        )
        blessed = f"{blessing.uri}/{constants.BLESSED_FILE_NAME}"
        is_blessed = fileio.exists(blessed)
        knows_more = any(r.undefined or r.kind == "prediction.nan" for r in verdict.reasons)
        if is_blessed == verdict.is_blocked and not knows_more:
            action = "blessed" if is_blessed else "did not bless"
            raise NodeFailedError(
                f"TFX's Evaluator {action} a model that the thresholds have {verdict.outcome}",
                f"this is a bug: report it with the folder of the evaluation, {evaluation.uri}",
            )
        if is_blessed and verdict.is_blocked:  # TFX used an undefined value as a number
            fileio.remove(blessed)
            with fileio.open(f"{blessing.uri}/{constants.NOT_BLESSED_FILE_NAME}", "w") as file:
                file.write("")
            blessing.set_int_custom_property(
                constants.ARTIFACT_PROPERTY_BLESSED_KEY, constants.NOT_BLESSED_VALUE
            )
        splits = json_utils.loads(exec_properties.get("example_splits") or "null") or ["eval"]
        loaded = tf.saved_model.load(model_folder(model))
        schema = read_schema(input_dict)
        write_conclusion(input_dict, evaluation, config, splits, verdict, measures, schema, loaded)

    def _evaluate(
        self, inputs: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]
    ) -> tuple[Any, Any]:
        """Runs TFX's executor with each model at its own threshold.

        Returns:
            The project's EvalConfig, and the one that was evaluated.
        """
        (model,) = inputs["model"]
        baselines = inputs.get(BASELINE, [])
        wanted, config = read_configs(
            exec_properties["eval_config"],
            model_folder(model),
            model_folder(baselines[0]) if baselines else None,
        )
        properties = {**exec_properties, "eval_config": proto_utils.proto_to_json(config)}
        super().Do(inputs, output_dict, properties)
        return wanted, config


def _note_rows(artifact: Any) -> None:
    """Counts an artifact's rows by split and records them."""
    counts = {}
    for split in artifact_utils.decode_split_names(artifact.split_names):
        files = split_files(artifact_utils.get_split_uri([artifact], split))
        batches = read_records(files).batch(BATCH_ROWS)
        counts[split] = sum(int(batch.shape[0]) for batch in batches)
    rows = json.dumps({"splits": counts, "left_out": 0}, sort_keys=True)
    artifact.set_string_custom_property(ROWS_PROPERTY, rows)
