"""Handwritten digits: 64 pixels, ten classes."""

import features
import keras
import keras_tuner
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.v1.components import TunerFnResult
from tfx_bsl.public import tfxio

from ordain import export_model

LABEL = "digit"


def preprocessing_fn(inputs):
    pixels = [tf.cast(features.dense(inputs[name]), tf.float32) for name in features.PIXELS]
    # One analyzer over all pixels, not one each: they share their scale.
    scaled = tft.scale_by_min_max(tf.stack(pixels, axis=1))
    return {"pixels": scaled, LABEL: features.dense(inputs[LABEL])}


def _build(units, learning_rate):
    inputs = {"pixels": keras.Input((len(features.PIXELS),), name="pixels")}
    hidden = keras.layers.Dense(units, activation="relu")(inputs["pixels"])
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(hidden))
    model.compile(
        loss="sparse_categorical_crossentropy",
        optimizer=keras.optimizers.Adam(learning_rate),
        metrics=["accuracy"],
    )
    return model


def _dataset(fn_args: FnArgs, files, batch_size):
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    options = tfxio.TensorFlowDatasetOptions(batch_size=batch_size, label_key=LABEL)
    schema = transform.transformed_metadata.schema
    return fn_args.data_accessor.tf_dataset_factory(files, options, schema).repeat()


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    parameters = fn_args.custom_config["parameters"]

    def build(hp):
        return _build(hp.Choice("units", [4, 32]), parameters["learning_rate"])

    tuner = keras_tuner.GridSearch(
        build, objective="val_accuracy", max_trials=2, directory=fn_args.working_dir
    )
    batch = parameters["batch_size"]
    return TunerFnResult(
        tuner=tuner,
        fit_kwargs={
            "x": _dataset(fn_args, fn_args.train_files, batch),
            "validation_data": _dataset(fn_args, fn_args.eval_files, batch),
            "steps_per_epoch": fn_args.train_steps,
            "validation_steps": fn_args.eval_steps,
        },
    )


def run_fn(fn_args: FnArgs):
    parameters = dict(fn_args.custom_config["parameters"])
    if fn_args.hyperparameters:
        parameters |= keras_tuner.HyperParameters.from_config(fn_args.hyperparameters).values
    model = _build(parameters["units"], parameters["learning_rate"])
    model.fit(
        _dataset(fn_args, fn_args.train_files, parameters["batch_size"]),
        validation_data=_dataset(fn_args, fn_args.eval_files, parameters["batch_size"]),
        steps_per_epoch=fn_args.train_steps,
        validation_steps=fn_args.eval_steps,
        callbacks=fn_args.custom_config["callbacks"],
        verbose=0,
    )
    transform = tft.TFTransformOutput(fn_args.transform_output)
    export_model(model, transform, fn_args.serving_model_dir, label=LABEL)
