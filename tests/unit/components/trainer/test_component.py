"""Training's callbacks, in a real Keras fit: losses on record, and an end to NaN."""

import json
import logging
import math
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from ordain.components.trainer.component import (
    PROGRESS_LOGGER,
    HistoryCallback,
    rows_seen,
    training_callbacks,
)
from ordain.errors import NodeFailedError


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


def test_every_epoch_is_in_the_history(tmp_path):
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


def test_progress_has_step_and_total(tmp_path, caplog):
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
def test_loss_that_is_not_finite_stops_the_training(tmp_path, poison, message):
    with pytest.raises(NodeFailedError) as caught:
        fit([HistoryCallback(str(tmp_path), 4)], poison=poison)
    assert message in caught.value.message
    assert "learning rate" in caught.value.hint


def test_a_run_has_history_and_tensorboard(tmp_path):
    folder = tmp_path / "model_run"
    fit(training_callbacks(str(folder), 4))
    assert (folder / "history.jsonl").exists()
    assert list(folder.rglob("events.out.tfevents.*"))


class Subclassed(keras.Model):
    """Makes its layers' variables when it is called first."""

    def __init__(self, **rest):
        super().__init__(**rest)
        self.hidden = keras.layers.Dense(4, activation="relu")
        self.last = keras.layers.Dense(1)

    def call(self, x):
        return self.last(self.hidden(x))


class HalfBuilt(Subclassed):
    """One layer has its variables, the other not yet."""

    def __init__(self, **rest):
        super().__init__(**rest)
        self.hidden.build((None, 1))


class Gan(keras.Model):
    """Its own training step, two optimizers, and no `optimizer` that Keras knows."""

    def __init__(self):
        super().__init__()
        self.last = keras.layers.Dense(1)
        self.one, self.two = keras.optimizers.SGD(0.01), keras.optimizers.Adam(0.01)

    def call(self, x):
        return self.last(x)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape(persistent=True) as tape:
            loss = tf.reduce_mean((self(x) - y) ** 2)
        for optimizer in (self.one, self.two):
            gradients = tape.gradient(loss, self.trainable_variables)
            optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"d_loss": loss, "per_row": tf.reshape(x, [-1])}


def functional():
    x = keras.Input((1,))
    return keras.Model(x, keras.layers.Dense(1)(x))


def frozen():
    model = functional()
    model.trainable = False
    return model


SCHEDULE = keras.optimizers.schedules.ExponentialDecay(0.01, 2, 0.5)
MODELS = {
    "functional": functional,
    "sequential": lambda: keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]),
    "sequential without Input": lambda: keras.Sequential([keras.layers.Dense(1)]),
    "subclassed": Subclassed,
    "half built": HalfBuilt,
    "nested": lambda: keras.Sequential([Subclassed(), keras.layers.Dense(1)]),
    "frozen": frozen,
}


def fit_any(model, folder, **compiled) -> list[dict]:
    keras.utils.set_random_seed(0)
    if not isinstance(model, Gan):
        model.compile(**{"loss": "mse", "optimizer": "adam", **compiled})
    else:
        model.compile(run_eagerly=compiled.get("run_eagerly", False))
    x = np.ones((8, 1), np.float32)
    data = tf.data.Dataset.from_tensor_slices((x, x)).repeat().batch(2)
    model.fit(
        data, steps_per_epoch=4, epochs=2, verbose=0, callbacks=training_callbacks(str(folder), 8)
    )
    return lines(folder)


SETTINGS = [
    {"run_eagerly": True},
    {"jit_compile": True},
    {"optimizer": "schedule"},
    {"optimizer": "scaled"},
    {"metrics": ["mae", "vector"]},
]


@pytest.mark.parametrize(
    ("name", "compiled"),
    [
        *((name, {}) for name in MODELS),
        *((name, chosen) for name in ("functional", "subclassed") for chosen in SETTINGS),
    ],
    ids=str,
)
def test_every_kind_of_keras_model_trains(tmp_path, name, compiled):
    compiled = dict(compiled)
    if compiled.get("optimizer") == "schedule":
        compiled["optimizer"] = keras.optimizers.SGD(SCHEDULE)
    if compiled.get("optimizer") == "scaled":
        compiled["optimizer"] = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01))
    if "metrics" in compiled:
        compiled["metrics"] = ["mae", keras.metrics.F1Score(average=None)]
    written = fit_any(MODELS[name](), tmp_path / "run", **compiled)
    epochs = [line for line in written if line["kind"] == "epoch"]
    assert [line["step"] for line in epochs] == [4, 8]
    assert all("loss" in line and line["learning_rate"] > 0 for line in epochs)


@pytest.mark.parametrize("is_eager", [False, True])
def test_a_model_with_a_training_step_of_its_own_trains(tmp_path, is_eager):
    written = fit_any(Gan(), tmp_path / "run", run_eagerly=is_eager)
    assert all("d_loss" in line and "per_row" not in line for line in written)


#: TensorFlow has one processor by then; logical ones are made before it begins.
MIRRORED = """
import json, sys
from pathlib import Path
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
sys.path.insert(0, sys.argv[2])
import test_component
devices = tf.config.list_logical_devices("CPU")
for kind in (tf.distribute.MirroredStrategy([d.name for d in devices]),
             tf.distribute.MirroredStrategy([devices[0].name]),
             tf.distribute.OneDeviceStrategy(devices[1].name)):
    for name in ("functional", "sequential without Input", "subclassed"):
        for rate in (0.25, test_component.SCHEDULE):
            folder = Path(sys.argv[1]) / f"{id(kind)}-{name}-{id(rate)}"
            with kind.scope():
                model = test_component.MODELS[name]()
                optimizer = keras.optimizers.SGD(rate)
            written = test_component.fit_any(model, folder, optimizer=optimizer)
            print(json.dumps([type(kind).__name__, kind.num_replicas_in_sync, name, rate == 0.25,
                              written[-1]["step"], written[-1].get("learning_rate")]))
"""


def test_models_on_several_devices_train(tmp_path):
    root = Path(__file__).resolve().parents[4]
    done = subprocess.run(
        [sys.executable, "-c", MIRRORED, tmp_path, Path(__file__).parent],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(root)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 18
    assert {replicas for _, replicas, *_ in found} == {1, 2}
    for *_, is_constant, step, rate in found:
        assert step == 8
        assert rate == 0.25 if is_constant else 0 < rate < 0.01


@pytest.mark.parametrize(
    ("train", "steps", "batch_size", "is_all", "text"),
    [
        ([60, 40], 10, 10, True, "training took 100 rows (10 steps of 10) of 100"),
        ([60, 41], 10, 10, False, "(10 steps of 10) of 101: some were never seen"),
        ([60, 41], 10, None, None, "seen is unknown: no batch size"),
        ([60, None], None, 10, None, "seen is unknown: no rows, no steps"),
    ],
)
def test_rows_seen(train, steps, batch_size, is_all, text):
    rows = [{} if count is None else {"splits": {"train": count, "eval": 9}} for count in train]
    seen = rows_seen(rows, steps, batch_size)
    assert seen["is_all"] is is_all
    assert seen["text"].endswith(text)
