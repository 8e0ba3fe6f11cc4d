"""One number and one text column; a single dense unit."""

import keras
import tensorflow as tf
import tensorflow_transform as tft
from tfx_bsl.public import tfxio

from ordain import export_model


def _dense(feature, default):
    if isinstance(feature, tf.sparse.SparseTensor):
        shape = [feature.dense_shape[0], 1]
        sparse = tf.SparseTensor(feature.indices, feature.values, shape)
        feature = tf.sparse.to_dense(sparse, default)
    return tf.squeeze(feature, axis=1)


def preprocessing_fn(inputs):
    x = tf.cast(_dense(inputs["x"], 0.0), tf.float32)
    return {
        "x_xf": tft.scale_to_z_score(x),
        "c_xf": tf.cast(tft.compute_and_apply_vocabulary(_dense(inputs["c"], "")), tf.float32),
        "y": _dense(inputs["y"], 0),
    }


def run_fn(fn_args):
    # Thirty steps do not make up for first weights that point the wrong way.
    keras.utils.set_random_seed(1)
    transform = tft.TFTransformOutput(fn_args.transform_output)
    inputs = {name: keras.Input((1,), name=name) for name in ("x_xf", "c_xf")}
    hidden = keras.layers.Concatenate()(list(inputs.values()))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))
    rate = float(fn_args.custom_config["parameters"]["learning_rate"])
    model.compile(loss="binary_crossentropy", optimizer=keras.optimizers.SGD(rate))
    options = tfxio.TensorFlowDatasetOptions(batch_size=32, label_key="y")
    train = fn_args.data_accessor.tf_dataset_factory(
        fn_args.train_files, options, transform.transformed_metadata.schema
    )
    model.fit(
        train.repeat(),
        steps_per_epoch=fn_args.train_steps,
        callbacks=fn_args.custom_config["callbacks"],
        verbose=0,
    )
    export_model(model, transform, fn_args.serving_model_dir, label="y")
