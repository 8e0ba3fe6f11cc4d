"""Trainer's executor: TFX's own, with progress, a record of the losses, and an end to NaN.

The project's `run_fn` gets Keras callbacks in `fn_args.custom_config["callbacks"]` and passes
them to `model.fit`. They write `history.jsonl` and TensorBoard logs beside the model run, tell
the console how far training is, and stop it when the loss is no number any more.
"""

from __future__ import annotations

import json
import logging
import math
import time
from typing import Any

import keras
from tfx.components.trainer import executor as trainer_executor
from tfx.dsl.io import fileio

from contracts.errors import NodeFailedError
from contracts.references import resolve_references

#: Progress goes to this logger as `record.progress` (a dict), for whoever draws it.
PROGRESS_LOGGER = "ordain.progress"
#: Seconds between two progress messages and two lines of history.
PROGRESS_INTERVAL_S = 0.5


class Executor(trainer_executor.GenericExecutor):
    """Runs the project's `run_fn`."""

    def _GetFnArgs(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> Any:
        arguments = super()._GetFnArgs(input_dict, output_dict, exec_properties)
        config = dict(arguments.custom_config or {})
        config["parameters"] = resolve_references(config.get("parameters", {}), "train.parameters")
        config["callbacks"] = training_callbacks(arguments.model_run_dir, arguments.train_steps)
        arguments.custom_config = config
        return arguments

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See `tfx.components.trainer.executor`."""
        super().Do(input_dict, output_dict, exec_properties)
        (run,) = output_dict["model_run"]
        if not fileio.exists(f"{run.uri}/{HistoryCallback.FILE}"):
            logging.getLogger(__name__).warning(
                "no training history: run_fn does not pass custom_config['callbacks'] to fit()"
            )


def training_callbacks(run_dir: str, total_steps: int | None) -> list[keras.callbacks.Callback]:
    """The callbacks a `run_fn` should pass to `model.fit`.

    Args:
        run_dir: Folder of the ModelRun artifact.
        total_steps: Steps of the whole training, for the progress; None if unknown.
    """
    fileio.makedirs(run_dir)
    board = keras.callbacks.TensorBoard(log_dir=run_dir, write_graph=False, update_freq=100)
    return [HistoryCallback(run_dir, total_steps), board]


class HistoryCallback(keras.callbacks.Callback):
    """Writes losses and metrics as JSON lines, reports progress, and stops on a bad loss."""

    FILE = "history.jsonl"

    def __init__(self, run_dir: str, total_steps: int | None) -> None:
        super().__init__()
        self._path = f"{run_dir}/{self.FILE}"
        self._total = total_steps
        self._step = 0
        self._told = 0.0
        self._began = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """One step is done."""
        del batch
        self._step += 1
        now = time.monotonic()
        values = {k: float(v) for k, v in (logs or {}).items()}
        self._check(values)
        if now - self._told >= PROGRESS_INTERVAL_S:
            self._told = now
            self._write("batch", values)
            progress = {"step": self._step, "steps": self._total, **values}
            text = ", ".join(f"{k} {v:.4g}" for k, v in values.items())
            logging.getLogger(PROGRESS_LOGGER).info(
                "step %s of %s: %s", self._step, self._total, text, extra={"progress": progress}
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """One epoch is done, validation included."""
        values = {k: float(v) for k, v in (logs or {}).items()}
        self._check(values)
        self._write("epoch", {"epoch": epoch, **values})

    def _check(self, values: dict[str, float]) -> None:
        bad = [
            name for name, value in values.items() if "loss" in name and not math.isfinite(value)
        ]
        if bad:
            raise NodeFailedError(
                f"training: {bad[0]} became {values[bad[0]]} at step {self._step}",
                "lower the learning rate, or look for infinite or huge inputs: "
                "`ordain runs logs PROJECT --node Trainer` shows the losses before",
            )

    def _write(self, kind: str, values: dict[str, float]) -> None:
        rate = getattr(getattr(self.model, "optimizer", None), "learning_rate", None)
        line = {"kind": kind, "step": self._step, "elapsed_s": time.monotonic() - self._began}
        line |= values
        if rate is not None and not callable(rate):
            line["learning_rate"] = float(rate)
        # Appending: a training killed half-way leaves what it had measured.
        with fileio.open(self._path, "a") as file:
            file.write(json.dumps(line) + "\n")
