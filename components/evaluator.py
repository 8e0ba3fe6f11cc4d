"""Evaluator's executor: TFMA over the whole window, with the data span as a slice key.

TFX's own reads all examples as one heap. This one adds to every batch the span it came from, as
a feature that only slicing sees (the model never does), and answers with a verdict that names,
for every threshold, the slice, the measured value, the limit and the baseline. Spec, artifacts
and properties are TFX's.
"""

from __future__ import annotations

from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.extractors import unbatch_extractor
from tfx.components.evaluator import constants
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, json_utils, path_utils, proto_utils

from components.artifacts import keep_verdict
from components.beam_errors import restored
from components.evaluation_verdict import judge
from components.example_reader import ReadBatches, tfxio_for
from contracts.errors import DataBlockedError

#: Feature that carries the span during evaluation.
SPAN_FEATURE = "span"
BASELINE_NAME = "baseline"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Evaluates a candidate, beside a baseline if there is one, and blesses it or not."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See `tfx.components.evaluator.executor` for the contract."""
        (model,) = input_dict["model"]
        baselines = input_dict.get("baseline_model", [])
        config = tfma.EvalConfig()
        proto_utils.json_to_proto(exec_properties["eval_config"], config)
        config = tfma.utils.update_eval_config_with_defaults(
            config, has_baseline=bool(baselines), rubber_stamp=True
        )
        tfma.utils.verify_eval_config(config)
        splits = json_utils.loads(exec_properties.get("example_splits") or "null") or ["eval"]
        schema = io_utils.SchemaReader().read(
            io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(input_dict["schema"]))
        )
        if any(feature.name == SPAN_FEATURE for feature in schema.feature):
            raise DataBlockedError(
                f"the data has a column {SPAN_FEATURE!r}, the name under which evaluation slices "
                "by data span",
                "rename the column",
            )
        models = [self._load(config, spec, model, baselines) for spec in config.model_specs]
        (evaluation,) = output_dict[standard_component_specs.EVALUATION_KEY]
        self._evaluate(input_dict["examples"], splits, schema, models, config, evaluation.uri)

        newest = max(artifact.span for artifact in input_dict["examples"])
        verdict = judge(config, tfma.load_metrics(evaluation.uri), newest)
        (blessing,) = output_dict[standard_component_specs.BLESSING_KEY]
        self._bless(blessing, model, baselines, is_blessed=not verdict.is_blocked)
        keep_verdict(verdict, evaluation)

    def _load(self, config: Any, spec: Any, model: Any, baselines: list[Any]) -> Any:
        artifact = baselines[0] if spec.is_baseline else model
        path = path_utils.serving_model_path(
            artifact.uri, path_utils.is_old_model_artifact(artifact)
        )
        return tfma.default_eval_shared_model(
            eval_saved_model_path=path, model_name=spec.name, eval_config=config
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
        # Only slice keys are decoded: the model gets the serialized examples, and hands back the
        # label with the transformed features.
        keys = {key for spec in config.slicing_specs for key in spec.feature_keys}
        keys |= {key for spec in config.slicing_specs for key in spec.feature_values}
        columns = sorted(keys & {feature.name for feature in schema.feature})
        with restored(), self._make_beam_pipeline() as pipeline:
            batches = []
            for artifact in examples:
                for split in splits:
                    uri = artifact_utils.get_split_uri([artifact], split)
                    tfxio = tfxio_for(uri, schema, columns, tfma.ARROW_INPUT_COLUMN)
                    name = f"{artifact.id}-{split}"
                    batches.append(
                        pipeline
                        | f"Read[{name}]" >> ReadBatches(tfxio)
                        | f"AddSpan[{name}]" >> beam.Map(add_span, span=artifact.span)
                    )
            _ = (
                batches
                | "Window" >> beam.Flatten()
                | "Evaluate"
                >> tfma.ExtractEvaluateAndWriteResults(
                    eval_shared_model=models[0] if len(models) == 1 else models,
                    eval_config=config,
                    extractors=lean_extractors(models, config, keys, tfxio.TensorAdapterConfig()),
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


def lean_extractors(
    models: list[Any], config: Any, slice_keys: set[str], adapter: Any
) -> list[Any]:
    """TFMA's own extractors, with one more before batches are split into examples.

    It drops what neither a metric nor a slice looks at: the serialized examples and all
    transformed features. Splitting those is a quarter of TFMA's time.
    """
    extractors = tfma.default_extractors(
        eval_shared_model=models[0] if len(models) == 1 else models,
        eval_config=config,
        tensor_adapter_config=adapter,
    )
    names = [extractor.stage_name for extractor in extractors]
    trim = tfma.extractors.Extractor("Trim", beam.Map(_trim, frozenset(slice_keys)))
    extractors.insert(names.index(unbatch_extractor.UNBATCH_EXTRACTOR_STAGE_NAME), trim)
    return extractors


def _trim(extracts: dict[str, Any], slice_keys: frozenset[str]) -> dict[str, Any]:
    dropped = (
        tfma.constants.INPUT_KEY,
        tfma.constants.ARROW_RECORD_BATCH_KEY,
        tfma.constants.TRANSFORMED_FEATURES_KEY,
    )
    kept = {key: value for key, value in extracts.items() if key not in dropped}
    features = extracts[tfma.constants.FEATURES_KEY]
    kept[tfma.constants.FEATURES_KEY] = {k: v for k, v in features.items() if k in slice_keys}
    return kept


def add_span(batch: pa.RecordBatch, span: int) -> pa.RecordBatch:
    """A batch with one more column: its span, `[rows] list<int64>` of one value each."""
    rows = batch.num_rows
    column = pa.ListArray.from_arrays(
        pa.array(range(rows + 1), pa.int32()), pa.array([span] * rows, pa.int64())
    )
    return pa.RecordBatch.from_arrays([*batch.columns, column], [*batch.schema.names, SPAN_FEATURE])
