"""Training's callbacks, in a real Keras fit: losses on record, and an end to NaN."""

import json
import logging
import math

import keras
import numpy as np
import pytest

from components.trainer import PROGRESS_LOGGER, HistoryCallback, training_callbacks
from contracts.errors import NodeFailedError


def fit(
    callbacks, steps: int = 4, epochs: int = 1, poison: str = "", per_call: int = 1
) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(
        loss="mse", optimizer=keras.optimizers.SGD(0.01, momentum=0.1), steps_per_execution=per_call
    )
    x = np.ones((steps, 1), np.float32)
    validation = x.copy()
    if poison == "train":
        x[2] = math.nan
    if poison == "eval":
        validation[0] = math.inf
    model.fit(
        x,
        x,
        batch_size=1,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
        validation_data=(validation, x),
    )
    return model


def lines(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_every_epoch_is_on_record(tmp_path):
    fit([HistoryCallback(str(tmp_path), 8)], epochs=2)
    epochs = [line for line in lines(tmp_path) if line["kind"] == "epoch"]
    assert [(line["epoch"], line["step"]) for line in epochs] == [(0, 4), (1, 8)]
    assert epochs[1]["loss"] < epochs[0]["loss"]
    assert epochs[0]["learning_rate"] == pytest.approx(0.01)
    assert "val_loss" in epochs[0]
    assert 0 <= epochs[0]["elapsed_s"] <= epochs[1]["elapsed_s"]


def test_several_steps_in_one_call_are_counted(tmp_path):
    fit([HistoryCallback(str(tmp_path), 8)], epochs=2, per_call=2)
    first, *_ = written = lines(tmp_path)
    assert (first["kind"], first["step"]) == ("batch", 2)
    assert [line["step"] for line in written if line["kind"] == "epoch"] == [4, 8]


def test_the_training_step_is_traced_once(tmp_path, monkeypatch):
    """Without the callback Keras traces it twice; when it does not, `on_train_begin` can go."""
    traced = []
    original = keras.Model.train_step

    def train_step(model, data):
        traced.append(model)
        return original(model, data)

    monkeypatch.setattr(keras.Model, "train_step", train_step)
    fit([HistoryCallback(str(tmp_path), 4)])
    assert len(traced) == 1
    fit([])
    assert len(traced) == 1 + 2


def test_progress_is_told_with_step_and_total(tmp_path, caplog):
    with caplog.at_level(logging.INFO, PROGRESS_LOGGER):
        fit([HistoryCallback(str(tmp_path), 4)])
    told = [r for r in caplog.records if r.name == PROGRESS_LOGGER]
    assert told[0].progress["step"] == 1
    assert told[0].progress["steps"] == 4
    assert told[0].getMessage().startswith("step 1 of 4: loss ")


@pytest.mark.parametrize(
    ("poison", "message"),
    [("train", "training: loss became nan at step 3"), ("eval", "val_loss became inf at step 4")],
)
def test_a_loss_that_is_no_number_ends_the_training(tmp_path, poison, message):
    with pytest.raises(NodeFailedError) as caught:
        fit([HistoryCallback(str(tmp_path), 4)], poison=poison)
    assert message in caught.value.message
    assert "learning rate" in caught.value.hint


def test_a_run_has_history_and_tensorboard(tmp_path):
    folder = tmp_path / "model_run"
    fit(training_callbacks(str(folder), 4))
    assert (folder / "history.jsonl").exists()
    assert list(folder.rglob("events.out.tfevents.*"))
