"""The flights model: what Transform does to the features, and how the model is trained."""

import math

import keras
import tensorflow as tf
import tensorflow_transform as tft
from tfx_bsl.public import tfxio

from ordain import export_model

LABEL = "late"
CLASSES = ["on time", "late"]
NUMERIC = [
    "distance",
    "temp",
    "dewp",
    "humid",
    "wind_dir",
    "wind_speed",
    "precip",
    "pressure",
    "visib",
    "plane_year",
    "seats",
    "minute",
]
TEXT = ["carrier", "origin", "dest", "engine", "manufacturer"]
# Not the day of the month: with the month it names the date, and whole dates are held out for
# eval, so the model would learn by heart what it is not asked.
CALENDAR = {"month": 13, "weekday": 7, "hour": 24}
BUCKETS, VOCABULARY, OOV_BUCKETS = 10, 200, 5


def _dense(feature, default):
    """`[batch, 1]` sparse or dense to `[batch]` dense, missing values replaced."""
    if isinstance(feature, tf.sparse.SparseTensor):
        shape = [feature.dense_shape[0], 1]
        sparse = tf.SparseTensor(feature.indices, feature.values, shape)
        feature = tf.sparse.to_dense(sparse, default)
    return tf.squeeze(feature, axis=1)


def preprocessing_fn(inputs):
    """Raw features to model inputs; every statistic comes from the train split only."""
    outputs = {}
    for key in NUMERIC:
        is_float = inputs[key].dtype == tf.float32
        value = tf.cast(_dense(inputs[key], 0.0 if is_float else 0), tf.float32)
        outputs[f"{key}_xf"] = tft.scale_to_z_score(value)
        outputs[f"{key}_bk"] = tft.bucketize(value, BUCKETS)
    for key in TEXT:
        outputs[f"{key}_xf"] = tft.compute_and_apply_vocabulary(
            _dense(inputs[key], ""), top_k=VOCABULARY, num_oov_buckets=OOV_BUCKETS
        )
    for key in CALENDAR:
        outputs[f"{key}_xf"] = _dense(inputs[key], 0)
    outputs[LABEL] = _dense(inputs[LABEL], 0)
    return outputs


def _build(learning_rate, steps, steps_per_call):
    inputs, parts = {}, []

    def embed(name, size, width):
        inputs[name] = keras.Input((1,), name=name, dtype="int64")
        parts.append(keras.layers.Flatten()(keras.layers.Embedding(size, width)(inputs[name])))

    for key in NUMERIC:
        inputs[f"{key}_xf"] = keras.Input((1,), name=f"{key}_xf")
        parts.append(inputs[f"{key}_xf"])
        embed(f"{key}_bk", BUCKETS + 1, 4)
    for key in TEXT:
        embed(f"{key}_xf", VOCABULARY + OOV_BUCKETS, 8)
    for key, size in CALENDAR.items():
        embed(f"{key}_xf", size, 4)
    hidden = keras.layers.Concatenate()(parts)
    for units in (128, 64):
        hidden = keras.layers.Dense(units, activation="relu")(hidden)
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))
    model.compile(
        loss="binary_crossentropy",
        optimizer=keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(learning_rate, steps)
        ),
        metrics=[keras.metrics.AUC(name="auc")],
        steps_per_execution=steps_per_call,
    )
    return model


def run_fn(fn_args):
    """Trains on the transformed examples and exports the model with its signatures."""
    parameters = fn_args.custom_config["parameters"]
    keras.utils.set_random_seed(parameters["seed"])
    transform = tft.TFTransformOutput(fn_args.transform_output)

    def dataset(files):
        # The spans are months, read one after another: without a buffer of about a year the model
        # would end on whatever month came last.
        options = tfxio.TensorFlowDatasetOptions(
            batch_size=parameters["batch_size"],
            label_key=LABEL,
            shuffle_buffer_size=parameters["shuffle_rows"],
            shuffle_seed=parameters["seed"],
        )
        schema = transform.transformed_metadata.schema
        return fn_args.data_accessor.tf_dataset_factory(files, options, schema).repeat()

    # The steps are short: many in one call, as many as divide both numbers, save Python's part.
    per_call = math.gcd(fn_args.train_steps, fn_args.eval_steps, 50)
    model = _build(parameters["learning_rate"], fn_args.train_steps, per_call)
    model.fit(
        dataset(fn_args.train_files),
        steps_per_epoch=fn_args.train_steps,
        validation_data=dataset(fn_args.eval_files),
        validation_steps=fn_args.eval_steps,
        callbacks=fn_args.custom_config["callbacks"],
        verbose=0,
    )
    export_model(model, transform, fn_args.serving_model_dir, label=LABEL, classes=CLASSES)
