"""Evaluator's executor: TFMA over the whole window, with the data span as a slice key.

TFX's executor does not distinguish spans. This one adds the span to every batch, as a feature that
only slicing sees, and gives a verdict with the slice, measured value, limit and baseline of every
threshold. Metrics are computed from batches (`metrics.py`); configurations that need single
examples go through TFMA's evaluator, and the log gives the reason. Spec, artifacts and properties
are TFX's.
"""

from __future__ import annotations

import logging
from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tfx.components.evaluator import constants
from tfx.dsl.io import fileio
from tfx.types import standard_component_specs
from tfx.utils import json_utils

from ordain.components.artifacts.served_model import compared_with, private_inputs
from ordain.components.artifacts.types import Artifacts, model_folder
from ordain.components.beam.executor import BeamExecutor
from ordain.components.evaluator.conclusion import BASELINE, read_verdict, write_conclusion
from ordain.components.evaluator.metrics import batched, needs_examples
from ordain.components.evaluator.reader import SPAN_FEATURE, read_split
from ordain.components.evaluator.results_json import folders_of
from ordain.components.evaluator.slices import slice_keys
from ordain.components.evaluator.tfma_internals import UNBATCH_STAGE
from ordain.components.evaluator.thresholds import read_configs
from ordain.components.examples.reader import (
    BATCH_ROWS,
    read_records,
    read_schema,
    split_files,
    tfxio_for,
)
from ordain.errors import DataBlockedError, NodeFailedError
from ordain.serving.export.description import EXAMPLES_INPUT, SERVING_TF_EXAMPLE
from ordain.serving.server.models.loaded_model import brief_message

_LOG = logging.getLogger(__name__)


class Executor(BeamExecutor):
    """Evaluates a candidate, and a baseline if there is one, and blesses it or not."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Any) -> None:
        """See `tfx.components.evaluator.executor` for the contract."""
        with private_inputs(input_dict, BASELINE) as inputs:
            self._do(inputs, output_dict, exec_properties, input_dict.get(BASELINE, []))

    def _do(
        self,
        input_dict: Artifacts,
        output_dict: Artifacts,
        exec_properties: Any,
        published: list[Any],
    ) -> None:
        """Evaluates; `published` is the baseline's artifact, not its private copy."""
        (model,) = input_dict["model"]
        baselines = input_dict.get(BASELINE, [])
        path = model_folder(model)
        baseline_path = model_folder(baselines[0]) if baselines else None
        wanted, config = read_configs(exec_properties["eval_config"], path, baseline_path)
        tfma.utils.verify_eval_config(config)
        splits = json_utils.loads(exec_properties.get("example_splits") or "null") or ["eval"]
        schema = read_schema(input_dict)
        if any(feature.name == SPAN_FEATURE for feature in schema.feature):
            raise DataBlockedError(
                f"the data has a column {SPAN_FEATURE!r}, which is the name of the slice by data "
                "span",
                "rename the column",
            )
        models = [
            tfma.default_eval_shared_model(
                eval_saved_model_path=baseline_path if spec.is_baseline else path,
                model_name=spec.name,
                eval_config=config,
            )
            for spec in config.model_specs
        ]
        (evaluation,) = output_dict[standard_component_specs.EVALUATION_KEY]
        # Keep references: TFMA would load a model again after another one.
        loaded = {shared.model_name: shared.model_loader.load() for shared in models}
        try:
            self._evaluate(input_dict["examples"], splits, schema, models, config, evaluation.uri)
        except Exception as error:
            for spec in config.model_specs:
                if spec.is_baseline:
                    folders = folders_of(input_dict["examples"], splits)
                    against = compared_with(input_dict, BASELINE)
                    _explain(error, against, loaded[spec.name], folders)
            raise

        verdict, measures = read_verdict(input_dict, evaluation, wanted, config)
        (blessing,) = output_dict[standard_component_specs.BLESSING_KEY]
        self._bless(blessing, model, published, is_blessed=not verdict.is_blocked)
        (candidate,) = (spec.name for spec in config.model_specs if not spec.is_baseline)
        write_conclusion(
            input_dict, evaluation, config, splits, verdict, measures, schema, loaded[candidate]
        )

    def _evaluate(
        self,
        examples: list[Any],
        splits: list[str],
        schema: Any,
        models: list[Any],
        config: Any,
        output_uri: str,
    ) -> None:
        by_example = needs_examples(config, models, schema)
        folders = folders_of(examples, splits)
        reads_features = by_example is not None and by_example.reads_features
        columns = _columns(config, schema, reads_features)
        tfxio = tfxio_for(folders[0][0], schema, columns, tfma.ARROW_INPUT_COLUMN)
        one_or_all = models[0] if len(models) == 1 else models
        extractors = tfma.default_extractors(
            eval_shared_model=one_or_all,
            eval_config=config,
            tensor_adapter_config=tfxio.TensorAdapterConfig(),
        )
        evaluators = None
        if by_example is None:
            extractors, evaluators = batched(config, schema, extractors)
        else:
            _LOG.info("evaluating example by example, for %s", by_example.reason)
            kept = None if reads_features else frozenset(slice_keys(config.slicing_specs))
            extractors = lean(extractors, kept)
        # Two steps for any number of splits: Beam is slow to build many.
        read = beam.FlatMap(read_split, schema, columns, tfma.ARROW_INPUT_COLUMN)
        with self._pipeline() as pipeline:
            _ = (
                pipeline
                | "Splits" >> beam.Create(folders)
                | "Read" >> read.with_output_types(pa.RecordBatch)
                | "Evaluate"
                >> tfma.ExtractEvaluateAndWriteResults(
                    eval_shared_model=one_or_all,
                    eval_config=config,
                    extractors=extractors,
                    evaluators=evaluators,
                    output_path=output_uri,
                    schema=schema,
                )
            )

    def _bless(self, blessing: Any, model: Any, baselines: list[Any], is_blessed: bool) -> None:
        """Marks the blessing exactly as TFX's executor does, for TFX's readers."""
        blessing.set_string_custom_property(
            constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri
        )
        blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
        for baseline in baselines:
            blessing.set_string_custom_property(
                constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, baseline.uri
            )
            blessing.set_int_custom_property(
                constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, baseline.id
            )
        name = constants.BLESSED_FILE_NAME if is_blessed else constants.NOT_BLESSED_FILE_NAME
        value = constants.BLESSED_VALUE if is_blessed else constants.NOT_BLESSED_VALUE
        with fileio.open(f"{blessing.uri}/{name}", "w") as file:
            file.write("")
        blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, value)


def _explain(error: Exception, baseline: str, model: Any, folders: list[tuple[str, int]]) -> None:
    """Raises a clear error if the cause is that the baseline cannot predict these rows.

    A version that requires a value in every row fails on a column that may now be empty; TFMA's
    error has only names of tensors.
    """
    predict = model.signatures[SERVING_TF_EXAMPLE]
    for folder, span in folders:
        for rows in read_records(split_files(folder)).batch(BATCH_ROWS):
            try:
                predict(**{EXAMPLES_INPUT: rows})
            except tf.errors.OpError as fault:
                raise NodeFailedError(
                    f"the baseline, {baseline}, cannot predict rows of span {span}: "
                    f"{brief_message(fault)}",
                    "to publish without a comparison: --set 'evaluate.baseline={none: REASON}'; "
                    "or name a version that can, in evaluate.baseline",
                ) from error


def _columns(config: Any, schema: Any, reads_features: bool) -> list[str]:
    """Columns of the data to decode; the model gets the serialized examples."""
    names = {feature.name for feature in schema.feature}
    if reads_features:
        return sorted(names)
    keys = slice_keys(config.slicing_specs)
    for spec in config.model_specs:
        # Labels, weights and predictions in the data; TFMA tries the transformed features first.
        keys |= {spec.label_key, spec.example_weight_key, spec.prediction_key}
        for several in (spec.label_keys, spec.example_weight_keys, spec.prediction_keys):
            keys |= set(several.values())
    return sorted(keys & names)


def lean(extractors: list[Any], features: frozenset[str] | None) -> list[Any]:
    """TFMA's extractors, with one more before batches are split into examples.

    It drops what no metric or slice reads: the serialized examples, all transformed features, and
    all other features except those named. Splitting them is a quarter of TFMA's time.

    Args:
        extractors: TFMA's default extractors.
        features: Features to keep; None for all.
    """
    names = [extractor.stage_name for extractor in extractors]
    trim = tfma.extractors.Extractor("Trim", beam.Map(_trim, features))
    place = names.index(UNBATCH_STAGE)
    return [*extractors[:place], trim, *extractors[place:]]


def _trim(extracts: dict[str, Any], names: frozenset[str] | None) -> dict[str, Any]:
    dropped = (
        tfma.constants.INPUT_KEY,
        tfma.constants.ARROW_RECORD_BATCH_KEY,
        tfma.constants.TRANSFORMED_FEATURES_KEY,
    )
    kept = {key: value for key, value in extracts.items() if key not in dropped}
    if names is not None:
        features = extracts[tfma.constants.FEATURES_KEY]
        kept[tfma.constants.FEATURES_KEY] = {k: v for k, v in features.items() if k in names}
    return kept
