"""TFX's own executors, for `executors: {NODE: tfx}`, with what the gates read beside their outputs.

An executor of TFX's leaves no row counts and no verdict. Here it runs as it is, and afterwards the
rows of what it wrote are counted, and the verdict is drawn from what it measured: the data gate,
the conservation of rows and the result of a run do not depend on whose executor it was.

StatisticsGen's leaves all that is read, and is used without anything here.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import tensorflow as tf
import tensorflow_model_analysis as tfma
from tfx.components.evaluator import constants
from tfx.components.evaluator import executor as tfx_evaluator
from tfx.components.example_gen import utils as example_gen_utils
from tfx.components.example_gen.csv_example_gen import executor as tfx_csv
from tfx.components.example_gen.custom_executors import parquet_executor as tfx_parquet
from tfx.components.example_gen.import_example_gen import executor as tfx_import
from tfx.components.transform import executor as tfx_transform
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, json_utils, proto_utils

from ordain.components.artifacts.served_model import compared_with, note_compared, private_inputs
from ordain.components.artifacts.types import keep_verdict, model_folder
from ordain.components.evaluator.importance import write_importance
from ordain.components.evaluator.measures import read_measures
from ordain.components.evaluator.results_json import evaluated_rows, folders_of, write_readout
from ordain.components.evaluator.thresholds import read_configs
from ordain.components.evaluator.verdict import judge
from ordain.components.examples.example_gen import ROWS_PROPERTY, read_rows
from ordain.components.examples.reader import BATCH_ROWS, read_records, split_files
from ordain.errors import NodeFailedError

Artifacts = dict[str, list[Any]]


class _Counting:
    """An ExampleGen of TFX's, with span and rows as the data gate reads them."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Any) -> None:
        """See `tfx.components.example_gen.base_example_gen_executor`."""
        (artifact,) = output_dict[standard_component_specs.EXAMPLES_KEY]
        super().Do(input_dict, output_dict, exec_properties)  # type: ignore[misc]
        # TFX's driver leaves the span in a custom property that nothing else reads.
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
    """TFX's, without an analyzer cache: TFX's form of it is not ours."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Any) -> None:
        """See `tfx.components.transform.executor`.

        Raises:
            NodeFailedError: Rows were lost or doubled on the way.
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
            NodeFailedError: TFX blessed a model that a threshold blocks, or the reverse, though
                every value was defined.
        """
        baseline = standard_component_specs.BASELINE_MODEL_KEY
        with private_inputs(input_dict, baseline) as inputs:
            wanted, config = self._evaluate(inputs, output_dict, exec_properties)
        (model,) = input_dict["model"]
        (evaluation,) = output_dict[standard_component_specs.EVALUATION_KEY]
        (blessing,) = output_dict[standard_component_specs.BLESSING_KEY]
        for published in input_dict.get(baseline, []):
            blessing.set_string_custom_property(
                constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, published.uri
            )
        newest = max(artifact.span for artifact in input_dict["examples"])
        metrics = list(tfma.load_metrics(evaluation.uri))
        measures = read_measures(config, metrics)
        # TFX's validation knows no policy: what is undefined blocks with this executor.
        verdict = judge(config, measures, newest, blocks_undefined=True, limits=wanted)
        verdict = replace(verdict, compared_with=compared_with(input_dict, baseline))
        blessed = f"{blessing.uri}/{constants.BLESSED_FILE_NAME}"
        is_blessed = fileio.exists(blessed)
        knows_more = any(r.undefined or r.kind == "prediction.nan" for r in verdict.reasons)
        if is_blessed == verdict.is_blocked and not knows_more:
            said = "blessed" if is_blessed else "did not bless"
            raise NodeFailedError(
                f"TFX's Evaluator {said} a model of which the thresholds say {verdict.outcome}",
                f"this is a bug: report it with the folder of the evaluation, {evaluation.uri}",
            )
        if is_blessed and verdict.is_blocked:  # it took an undefined value for a number
            fileio.remove(blessed)
            with fileio.open(f"{blessing.uri}/{constants.NOT_BLESSED_FILE_NAME}", "w") as file:
                file.write("")
            blessing.set_int_custom_property(
                constants.ARTIFACT_PROPERTY_BLESSED_KEY, constants.NOT_BLESSED_VALUE
            )
        keep_verdict(verdict, evaluation, [model])
        note_compared(evaluation, input_dict, baseline)
        splits = json_utils.loads(exec_properties.get("example_splits") or "null") or ["eval"]
        evaluated = evaluated_rows(folders_of(input_dict["examples"], splits), measures)
        write_readout(evaluation.uri, config, metrics, measures, evaluated)
        (candidate,) = (spec for spec in config.model_specs if not spec.is_baseline)
        schema = io_utils.SchemaReader().read(
            io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(input_dict["schema"]))
        )
        loaded = tf.saved_model.load(model_folder(model))
        write_importance(
            evaluation.uri, loaded, input_dict["examples"], splits, schema, candidate.label_key
        )

    def _evaluate(
        self, inputs: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]
    ) -> tuple[Any, Any]:
        """Runs TFX's executor with each model at its own threshold.

        Returns:
            The EvalConfig as the project has it, and the one that was evaluated.
        """
        (model,) = inputs["model"]
        baselines = inputs.get(standard_component_specs.BASELINE_MODEL_KEY, [])
        wanted, config = read_configs(
            exec_properties["eval_config"],
            model_folder(model),
            model_folder(baselines[0]) if baselines else None,
        )
        told = {**exec_properties, "eval_config": proto_utils.proto_to_json(config)}
        super().Do(inputs, output_dict, told)
        return wanted, config


def _note_rows(artifact: Any) -> None:
    """Counts an artifact's rows by split."""
    counts = {}
    for split in artifact_utils.decode_split_names(artifact.split_names):
        files = split_files(artifact_utils.get_split_uri([artifact], split))
        batches = read_records(files).batch(BATCH_ROWS)
        counts[split] = sum(int(batch.shape[0]) for batch in batches)
    rows = json.dumps({"splits": counts, "left_out": 0}, sort_keys=True)
    artifact.set_string_custom_property(ROWS_PROPERTY, rows)
