"""A linear model of a price."""

import keras
import tensorflow as tf
import tensorflow_transform as tft
from tfx_bsl.public import tfxio

from ordain import export_model

LABEL = "price"


def preprocessing_fn(inputs):
    kind = tft.compute_and_apply_vocabulary(tf.squeeze(inputs["kind"], axis=1))
    return {
        "size_xf": tft.scale_to_z_score(tf.squeeze(inputs["size"], axis=1)),
        "kind_xf": tf.cast(kind, tf.float32),
        LABEL: tf.squeeze(inputs[LABEL], axis=1),
    }


def run_fn(fn_args):
    keras.utils.set_random_seed(1)
    transform = tft.TFTransformOutput(fn_args.transform_output)
    inputs = {name: keras.Input((1,), name=name) for name in ("size_xf", "kind_xf")}
    joined = keras.layers.Concatenate()(list(inputs.values()))
    model = keras.Model(inputs, keras.layers.Dense(1)(joined))
    rate = float(fn_args.custom_config["parameters"]["learning_rate"])
    model.compile(loss="mse", optimizer=keras.optimizers.SGD(rate))
    options = tfxio.TensorFlowDatasetOptions(batch_size=32, label_key=LABEL)
    train = fn_args.data_accessor.tf_dataset_factory(
        fn_args.train_files, options, transform.transformed_metadata.schema
    )
    model.fit(
        train.repeat(),
        steps_per_epoch=fn_args.train_steps,
        callbacks=fn_args.custom_config["callbacks"],
        verbose=0,
    )
    export_model(model, transform, fn_args.serving_model_dir, label=LABEL)
