"""Trainer component: TFX's, with callbacks for the project's training and sample requests.

The project's `run_fn` gets Keras callbacks in `fn_args.custom_config["callbacks"]` and passes them
to `model.fit`. They write `history.jsonl` and TensorBoard logs into the model run, report progress,
and stop the training when the loss is not finite. The exported model gets warm-up requests and an
example request of real rows, for which the Trainer also takes the raw examples.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from tfx import types
from tfx.components.trainer import executor as trainer_executor
from tfx.dsl.components.base import base_component, executor_spec
from tfx.dsl.io import fileio
from tfx.proto import trainer_pb2
from tfx.types import standard_artifacts, standard_component_specs
from tfx.types.component_spec import ChannelParameter
from tfx.utils import json_utils, path_utils

from ordain.common.env_references import resolve_references
from ordain.components.artifacts.served_model import private_inputs
from ordain.components.artifacts.types import Artifacts
from ordain.components.beam import worker_process
from ordain.components.examples.example_gen import read_rows
from ordain.components.examples.sample_rows import read_raw_rows
from ordain.components.trainer.dataset import faster, release
from ordain.errors import NodeFailedError
from ordain.serving.export.samples import WARMUP_BATCHES, write_samples

#: Logger of progress messages; the values are in `record.progress` (a dict).
PROGRESS_LOGGER = "ordain.progress"
#: Seconds between progress messages and between lines of history.
PROGRESS_INTERVAL_S = 0.5
#: Key of the additional input: examples before Transform.
RAW_EXAMPLES_KEY = "raw_examples"
#: Custom property of the ModelRun artifact: the result of `rows_seen` as JSON.
SEEN_PROPERTY = "training_rows"


class TrainerSpec(standard_component_specs.TrainerSpec):
    """TFX's spec, with the raw examples."""

    INPUTS: ClassVar[dict[str, Any]] = {
        **standard_component_specs.TrainerSpec.INPUTS,
        RAW_EXAMPLES_KEY: ChannelParameter(type=standard_artifacts.Examples),
    }


class Executor(trainer_executor.GenericExecutor):
    """Runs the project's `run_fn`."""

    def _GetFnArgs(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]
    ) -> Any:
        arguments = super()._GetFnArgs(input_dict, output_dict, exec_properties)
        config = dict(arguments.custom_config or {})
        config["parameters"] = resolve_references(config.get("parameters", {}), "train.parameters")
        config["callbacks"] = training_callbacks(arguments.model_run_dir, arguments.train_steps)
        self._history = config["callbacks"][0]
        arguments.custom_config = config
        accessor = arguments.data_accessor
        self._batch_size: int | None = None

        def note(files: list[str], options: Any) -> None:
            if any("/Split-train/" in file for file in files):
                self._batch_size = options.batch_size

        arguments.data_accessor = accessor._replace(
            tf_dataset_factory=faster(accessor.tf_dataset_factory, note)
        )
        return arguments

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Any) -> None:
        """See `tfx.components.trainer.executor`."""
        worker_process.stop()  # training needs its memory
        try:
            base_model = standard_component_specs.BASE_MODEL_KEY
            with private_inputs(input_dict, base_model) as inputs:
                super().Do(inputs, output_dict, exec_properties)
        finally:
            release()
        (run,) = output_dict["model_run"]
        if not fileio.exists(f"{run.uri}/{HistoryCallback.FILE}"):
            logging.getLogger(__name__).warning(
                "no training history: run_fn does not pass custom_config['callbacks'] to fit()"
            )
        seen = rows_seen(
            rows=[read_rows(artifact) for artifact in input_dict["examples"]],
            steps=self._history.step or None,
            batch_size=self._batch_size,
        )
        run.set_string_custom_property(SEEN_PROPERTY, json.dumps(seen, sort_keys=True))
        logging.getLogger(__name__).log(
            logging.INFO if seen["is_all"] else logging.WARNING, "%s", seen["text"]
        )
        (model,) = output_dict["model"]
        raw = input_dict[RAW_EXAMPLES_KEY]
        # No metric is computed on them, so that eval rows may be used.
        rows = read_raw_rows(raw, "eval", max(WARMUP_BATCHES)) or read_raw_rows(
            raw, "train", max(WARMUP_BATCHES)
        )
        if not write_samples(path_utils.serving_model_dir(model.uri), rows):
            logging.getLogger(__name__).warning(
                "no warm-up requests: run_fn did not export the model with "
                "ordain.serving.export.signatures"
            )


class Trainer(base_component.BaseComponent):
    """The component, with the arguments and properties of TFX's Trainer."""

    SPEC_CLASS = TrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        module_file: str,
        train_steps: int,
        eval_steps: int,
        custom_config: dict[str, Any],
        **channels: Any,
    ) -> None:
        """Takes the training settings, and the channels of `TrainerSpec.INPUTS`."""
        super().__init__(
            TrainerSpec(
                module_file=module_file,
                train_args=trainer_pb2.TrainArgs(num_steps=train_steps),
                eval_args=trainer_pb2.EvalArgs(num_steps=eval_steps),
                custom_config=json_utils.dumps(custom_config),
                model=types.Channel(type=standard_artifacts.Model),
                model_run=types.Channel(type=standard_artifacts.ModelRun),
                **channels,
            )
        )


def rows_seen(
    rows: Sequence[Mapping[str, Any]], steps: int | None, batch_size: int | None
) -> dict[str, Any]:
    """Compares the rows that a training took with the training rows.

    Args:
        rows: Row counts of each Examples artifact
            (`ordain.components.examples.example_gen.read_rows`).
        steps: Number of steps; None if the callbacks were not used.
        batch_size: Rows in a step; None if `run_fn` did not use `tf_dataset_factory`.

    Returns:
        `rows`, `steps`, `batch_size` (None if unknown); `is_all`, False if some row cannot have
        been seen (None if unknown); and a `text`.
    """
    counts = [counted.get("splits", {}).get("train") for counted in rows]
    total = None if None in counts else sum(counts)
    known = {"rows": total, "steps": steps, "batch_size": batch_size}
    if total is None or steps is None or batch_size is None:
        missing = [f"no {name.replace('_', ' ')}" for name, value in known.items() if value is None]
        why = f"the number of training rows that were seen is unknown: {', '.join(missing)}"
        return {**known, "is_all": None, "text": why}
    taken = steps * batch_size
    text = f"training took {taken:,} rows ({steps:,} steps of {batch_size:,}) of {total:,}"
    is_all = taken >= total
    return {**known, "is_all": is_all, "text": text if is_all else f"{text}: some were never seen"}


def training_callbacks(run_dir: str, total_steps: int | None) -> list[keras.callbacks.Callback]:
    """The callbacks that a `run_fn` passes to `model.fit`.

    Args:
        run_dir: Folder of the ModelRun artifact.
        total_steps: Steps of the whole training, for the progress; None if unknown.
    """
    fileio.makedirs(run_dir)
    board = _TensorBoard(log_dir=run_dir, write_graph=False, update_freq=100)
    return [HistoryCallback(run_dir, total_steps), board]


def _numbers(logs: dict[str, Any] | None) -> dict[str, float]:
    """The scalars in a callback's logs; a metric may be a vector or a text."""
    found = ((name, _number(value)) for name, value in (logs or {}).items())
    return {name: value for name, value in found if value is not None}


def _number(value: Any) -> float | None:
    """A Python, NumPy, Keras or TensorFlow scalar (also on several devices) as float, or None."""
    try:
        array = np.asarray(keras.ops.convert_to_numpy(value))
        return float(array.reshape(())) if array.size == 1 else None
    except (TypeError, ValueError, AttributeError, NotImplementedError, RuntimeError):
        return None


class _TensorBoard(keras.callbacks.TensorBoard):
    """Keras' callback, without metrics that are not scalars, on which it fails."""

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Passes scalars on."""
        super().on_train_batch_end(batch, _numbers(logs))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Passes scalars on."""
        super().on_epoch_end(epoch, _numbers(logs))

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Passes scalars on."""
        super().on_test_end(_numbers(logs))


class HistoryCallback(keras.callbacks.Callback):
    """Writes losses and metrics as JSON lines, reports progress, and stops on NaN or infinity."""

    FILE = "history.jsonl"

    def __init__(self, run_dir: str, total_steps: int | None) -> None:
        super().__init__()
        self._path = f"{run_dir}/{self.FILE}"
        self._total = total_steps
        #: Number of steps so far.
        self.step = self._steps_before = 0
        self._reported = 0.0
        self._began = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remembers the steps of earlier epochs: an epoch counts from 0."""
        del epoch, logs
        self._steps_before = self.step

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Counts one step, or several if the model makes them in one call."""
        self.step = self._steps_before + batch + 1
        now = time.monotonic()
        values = _numbers(logs)
        self._check(values)
        if now - self._reported >= PROGRESS_INTERVAL_S:
            self._reported = now
            self._write("batch", values)
            progress = {"step": self.step, "steps": self._total, **values}
            text = ", ".join(f"{k} {v:.4g}" for k, v in values.items())
            logging.getLogger(PROGRESS_LOGGER).info(
                "step %s of %s: %s", self.step, self._total, text, extra={"progress": progress}
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the epoch's values, including validation."""
        values = _numbers(logs)
        self._check(values)
        self._write("epoch", {"epoch": epoch, **values})

    def _check(self, values: dict[str, float]) -> None:
        bad = [
            name for name, value in values.items() if "loss" in name and not math.isfinite(value)
        ]
        if bad:
            raise NodeFailedError(
                f"training: {bad[0]} became {values[bad[0]]} at step {self.step}",
                "lower the learning rate, or check for infinite or huge inputs: "
                "`ordain runs logs PROJECT --node Trainer` shows the earlier losses",
            )

    def _write(self, kind: str, values: dict[str, float]) -> None:
        rate = getattr(getattr(self.model, "optimizer", None), "learning_rate", None)
        line = {"kind": kind, "step": self.step, "elapsed_s": time.monotonic() - self._began}
        line |= values
        if (number := _number(rate)) is not None:
            line["learning_rate"] = number
        # Append, so that a killed training keeps its history.
        with fileio.open(self._path, "a") as file:
            file.write(json.dumps(line) + "\n")
