"""SavedModels as people export them, each by a function that writes it into a folder."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from models import export, write_transform

v1 = tf.compat.v1
layers = keras.layers
Write = Callable[[Path], None]
HONEST: dict[str, Write] = {}


def honest(write: Write) -> Write:
    """Enters a model into the table under its function's name."""
    HONEST[write.__name__] = write
    return write


# Keras


def functional(inputs: Any, outputs: Any, folder: Path) -> None:
    keras.Model(inputs, outputs).export(str(folder), verbose=False)


def _add_functional() -> None:
    """One model for each kind of layer, with a shape and a type that it takes."""
    kinds: dict[str, tuple[tuple[int | None, ...], str, Callable[[], Any]]] = {
        "keras_dense": ((3,), "float32", lambda: layers.Dense(2, activation="gelu")),
        "keras_dropout": ((3,), "float32", lambda: layers.Dropout(0.5)),
        "keras_conv1d": ((8, 2), "float32", lambda: layers.Conv1D(2, 3)),
        "keras_conv2d": ((8, 8, 1), "float32", lambda: layers.Conv2D(2, 3, activation="relu")),
        "keras_depthwise": ((8, 8, 2), "float32", lambda: layers.SeparableConv2D(2, 3)),
        "keras_pooling": ((8, 8, 1), "float32", layers.MaxPooling2D),
        "keras_batch_normalization": ((3,), "float32", layers.BatchNormalization),
        "keras_layer_normalization": ((3,), "float32", layers.LayerNormalization),
        "keras_lstm": ((4, 2), "float32", lambda: layers.LSTM(2)),
        "keras_gru": ((None, 2), "float32", lambda: layers.Bidirectional(layers.GRU(2))),
        "keras_embedding": ((4,), "int64", lambda: layers.Embedding(10, 2)),
        "keras_hashing": ((1,), "string", lambda: layers.Hashing(8)),
        "keras_string_lookup": ((1,), "string", lambda: layers.StringLookup(vocabulary=["a"])),
        "keras_integer_lookup": ((1,), "int64", lambda: layers.IntegerLookup(vocabulary=[5, 9])),
        "keras_discretization": ((1,), "float32", lambda: layers.Discretization([0.0, 1.0])),
        "keras_category_encoding": ((2,), "int64", lambda: layers.CategoryEncoding(4, "multi_hot")),
        "keras_rescaling": ((8, 8, 3), "float32", lambda: layers.Rescaling(1 / 255)),
        "keras_resizing": ((8, 8, 3), "float32", lambda: layers.Resizing(4, 4)),
    }
    for name, (shape, dtype, make) in kinds.items():

        def write(folder: Path, shape: Any = shape, dtype: str = dtype, make: Any = make) -> None:
            inputs = keras.Input(shape, dtype=dtype)
            functional(inputs, make()(inputs), folder)

        HONEST[name] = write


_add_functional()


@honest
def keras_attention(folder: Path) -> None:
    inputs = keras.Input((4, 2))
    functional(inputs, layers.MultiHeadAttention(2, 2)(inputs, inputs), folder)


@honest
def keras_normalization(folder: Path) -> None:
    layer = layers.Normalization()
    layer.adapt(np.arange(6.0).reshape(3, 2))
    inputs = keras.Input((2,))
    functional(inputs, layer(inputs), folder)


@honest
def keras_text(folder: Path) -> None:
    layer = layers.TextVectorization(max_tokens=20, output_sequence_length=4)
    layer.adapt(["a late plane", "an early bird"])
    inputs = keras.Input((), dtype="string")
    functional(inputs, layers.Embedding(20, 2)(layer(inputs)), folder)


@honest
def keras_vocabulary_file(folder: Path) -> None:
    words = folder.with_suffix(".txt")
    words.write_text("red\ngreen\n")
    inputs = keras.Input((1,), dtype="string")
    functional(inputs, layers.StringLookup(vocabulary=str(words))(inputs), folder)


@honest
def keras_several_inputs_and_outputs(folder: Path) -> None:
    inputs = {"a": keras.Input((1,), name="a"), "b": keras.Input((2,), name="b")}
    joined = layers.Concatenate()(list(inputs.values()))
    functional(inputs, {"y": layers.Dense(1)(joined), "z": layers.Dense(2)(joined)}, folder)


@honest
def keras_trained(folder: Path) -> None:
    """Saved with the optimizer's variables."""
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(np.ones((4, 2)), np.ones(4), verbose=0)
    tf.saved_model.save(model, str(folder))


@honest
def keras_subclassed(folder: Path) -> None:
    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inner = layers.Dense(2)

        def call(self, x: Any, training: bool = False) -> Any:
            return tf.nn.softmax(self.inner(x))

    model = Model()
    model(np.ones((1, 3), np.float32))
    model.export(str(folder), verbose=False)


@honest
def keras_sequential_without_input(folder: Path) -> None:
    model = keras.Sequential([layers.Dense(2), layers.Dense(1)])
    model.build((None, 3))
    model.export(str(folder), verbose=False)


# Modules


def module(folder: Path, function: Any, *specs: tf.TensorSpec, **tracked: Any) -> None:
    """Saves a function as `serving_default`, with what it uses."""
    made = tf.Module()
    for name, value in tracked.items():
        setattr(made, name, value)
    made.function = tf.function(function, input_signature=specs)
    tf.saved_model.save(made, str(folder), signatures=made.function)


NUMBERS = tf.TensorSpec([None], tf.float32, name="x")
WORDS = tf.TensorSpec([None], tf.string, name="x")


def words_of(folder: Path) -> tf.lookup.TextFileInitializer:
    words = folder.with_suffix(".txt")
    words.write_text("red\ngreen\n")
    index = tf.lookup.TextFileIndex
    return tf.lookup.TextFileInitializer(
        str(words), tf.string, index.WHOLE_LINE, tf.int64, index.LINE_NUMBER
    )


@honest
def module_without_variables(folder: Path) -> None:
    module(folder, lambda x: {"y": x * 2.0}, NUMBERS)


@honest
def module_with_variables(folder: Path) -> None:
    w = tf.Variable([1.0, 2.0])
    module(folder, lambda x: {"y": tf.reduce_sum(x) * w}, NUMBERS, w=w)


@honest
def module_with_a_table_of_an_asset(folder: Path) -> None:
    table = tf.lookup.StaticHashTable(words_of(folder), -1)
    module(folder, lambda x: {"y": table.lookup(x)}, WORDS, table=table)


@honest
def module_with_two_tables_of_one_asset(folder: Path) -> None:
    words = words_of(folder)
    tables = [tf.lookup.StaticHashTable(words, -1), tf.lookup.StaticVocabularyTable(words, 2)]
    module(folder, lambda x: {"y": tables[0].lookup(x) + tables[1].lookup(x)}, WORDS, tables=tables)


@honest
def module_with_tables_in_memory(folder: Path) -> None:
    pairs = tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([1, 2], tf.int64))
    tables = [
        tf.lookup.StaticHashTable(pairs, -1),
        tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1),
        tf.lookup.experimental.DenseHashTable(tf.string, tf.int64, -1, "", "-"),
    ]
    module(folder, lambda x: {"y": tf.add_n([t.lookup(x) for t in tables])}, WORDS, tables=tables)


@honest
def module_with_an_asset_that_nothing_reads(folder: Path) -> None:
    words = folder.with_suffix(".txt")
    words.write_text("notes")
    module(folder, lambda x: {"y": x}, NUMBERS, notes=tf.saved_model.Asset(str(words)))


@honest
def module_with_branches_and_loops(folder: Path) -> None:
    def run(x: tf.Tensor) -> dict[str, tf.Tensor]:
        y = tf.cond(tf.reduce_sum(x) > 0, lambda: x + 1, lambda: x - 1)
        _, y = tf.while_loop(lambda i, _: i < 3, lambda i, v: (i + 1, v * 2), (0, y))
        return {"y": tf.map_fn(tf.sin, y), "z": tf.switch_case(tf.size(x) % 2, [lambda: 1] * 2)}

    module(folder, run, NUMBERS)


@honest
def module_with_a_custom_gradient(folder: Path) -> None:
    @tf.custom_gradient
    def clipped(x: tf.Tensor) -> Any:
        return x * 2.0, lambda dy: tf.clip_by_value(dy, -1.0, 1.0)

    made = tf.Module()
    made.function = tf.function(lambda x: {"y": clipped(x)}, input_signature=[NUMBERS])
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=True)
    tf.saved_model.save(made, str(folder), signatures=made.function, options=options)


@honest
def module_with_function_aliases(folder: Path) -> None:
    made = tf.Module()
    made.function = tf.function(lambda x: {"y": x + 1.0}, input_signature=[NUMBERS])
    options = tf.saved_model.SaveOptions(function_aliases={"answer": made.function})
    tf.saved_model.save(made, str(folder), signatures=made.function, options=options)


@honest
def module_with_ragged_and_sparse_parts(folder: Path) -> None:
    def run(x: tf.Tensor) -> dict[str, tf.Tensor]:
        split = tf.strings.split(x)
        sparse = split.to_sparse()
        return {"values": split.flat_values, "lengths": split.row_lengths(), "at": sparse.indices}

    module(folder, run, WORDS)


@honest
def module_that_parses_examples(folder: Path) -> None:
    spec = {"a": tf.io.FixedLenFeature([1], tf.float32), "b": tf.io.VarLenFeature(tf.string)}

    def run(x: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(x, spec)
        return {"a": parsed["a"], "b": tf.sparse.to_dense(parsed["b"])}

    module(folder, run, WORDS)


@honest
def module_with_several_signatures_and_methods(folder: Path) -> None:
    class Model(tf.Module):
        def __init__(self) -> None:
            self.w = tf.Variable(1.0)
            self.parts = [tf.Variable([1.0]), {"b": tf.Variable(2.0)}]

        @tf.function
        def __call__(self, x: Any, twice: bool = False) -> Any:
            return x * self.w * (2.0 if twice else 1.0)

        @tf.function(input_signature=[NUMBERS])
        def other(self, x: Any) -> Any:
            return {"y": x + self.parts[0]}

    model = Model()
    for twice in (False, True):
        model(tf.constant([1.0]), twice)
    one = model.__call__.get_concrete_function(NUMBERS)
    tf.saved_model.save(model, str(folder), signatures={"serving_default": one, "o": model.other})


@honest
def module_with_a_training_step(folder: Path) -> None:
    """A second signature learns: gradients only compute."""

    class Model(tf.Module):
        def __init__(self) -> None:
            self.w = tf.Variable(tf.ones([3, 3, 1, 2]))
            self.v = tf.Variable(tf.ones([2, 1]))

        def predict(self, x: tf.Tensor) -> tf.Tensor:
            y = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(x, self.w, 1, "SAME")), 2, 2, "SAME")
            return tf.sigmoid(tf.reduce_mean(y, [1, 2]) @ self.v)

        @tf.function(input_signature=[tf.TensorSpec([None, 4, 4, 1], tf.float32, name="x")])
        def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": self.predict(x)}

        @tf.function(input_signature=[tf.TensorSpec([None, 4, 4, 1], tf.float32, name="x")])
        def step(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(self.predict(x)[:, 0] ** 2)
            variables = [self.w, self.v]
            for variable, g in zip(variables, tape.gradient(loss, variables), strict=True):
                variable.assign_sub(0.1 * g)
            return {"loss": loss}

    model = Model()
    signatures = {"serving_default": model.serve, "step": model.step}
    tf.saved_model.save(model, str(folder), signatures=signatures)


@honest
def checkpoint_with_an_optimizer(folder: Path) -> None:
    optimizer = keras.optimizers.Adam()
    w = tf.Variable([1.0])
    optimizer.apply_gradients([(tf.constant([1.0]), w)])
    made = tf.train.Checkpoint(w=w, optimizer=optimizer)
    made.function = tf.function(lambda x: {"y": x * w}, input_signature=[NUMBERS])
    tf.saved_model.save(made, str(folder), signatures=made.function)


@honest
def module_of_a_loaded_model(folder: Path) -> None:
    """Exported, loaded, and exported again with another model around it, twice."""
    inner = folder.with_suffix(".inner")
    middle = folder.with_suffix(".middle")
    module_with_a_table_of_an_asset(inner)
    _export_again(inner, middle)
    _export_again(middle, folder)


def _export_again(source: Path, folder: Path) -> None:
    loaded = tf.saved_model.load(str(source))
    module(folder, lambda x: {"y": loaded.function(x)["y"]}, WORDS, loaded=loaded)


# TensorFlow 1


def write_v1(folder: Path, build: Callable[[], tuple[Any, Any]], **options: Any) -> None:
    """Builds a graph of TensorFlow 1 and saves it as its tutorials did."""
    with tf.Graph().as_default(), v1.Session() as session:
        x, y = build()
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        init = v1.tables_initializer() if options.pop("tables", False) else None
        v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": y}, legacy_init_op=init)


def v1_table(folder: Path) -> Any:
    index = tf.lookup.TextFileIndex
    words = folder.with_suffix(".txt")
    words.write_text("red\ngreen\n")
    return v1.lookup.StaticHashTable(
        v1.lookup.TextFileInitializer(
            str(words), tf.string, index.WHOLE_LINE, tf.int64, index.LINE_NUMBER
        ),
        -1,
    )


@honest
def tf1_with_variables(folder: Path) -> None:
    def build() -> tuple[Any, Any]:
        x = v1.placeholder(tf.float32, [None], name="x")
        return x, x * v1.get_variable("v", initializer=3.0, use_resource=False)

    write_v1(folder, build)


@honest
def tf1_with_resource_variables(folder: Path) -> None:
    def build() -> tuple[Any, Any]:
        x = v1.placeholder(tf.float32, [None], name="x")
        return x, x * v1.get_variable("v", initializer=3.0, use_resource=True)

    write_v1(folder, build)


@honest
def tf1_with_a_table_of_an_asset(folder: Path) -> None:
    def build() -> tuple[Any, Any]:
        x = v1.placeholder(tf.string, [None], name="x")
        v = v1.get_variable("v", initializer=tf.constant(3, tf.int64))
        return x, v1_table(folder).lookup(x) + v

    write_v1(folder, build, tables=True)


@honest
def tf1_with_loops_and_branches(folder: Path) -> None:
    def build() -> tuple[Any, Any]:
        x = v1.placeholder(tf.float32, [None], name="x")
        v = v1.get_variable("v", initializer=3.0)
        y = v1.cond(tf.reduce_sum(x) > 0, lambda: x * v, lambda: x)
        return x, v1.while_loop(lambda i, _: i < 3, lambda i, t: (i + 1, t + v), [0, y])[1]

    write_v1(folder, build)


@honest
def tf1_of_a_builder(folder: Path) -> None:
    """A saver that is not sharded, a main op, and no simple_save."""
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.string, [None], name="x")
        v = v1.get_variable("v", initializer=tf.constant(3, tf.int64), use_resource=True)
        y = v1_table(folder).lookup(x) + v
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"serving_default": v1.saved_model.predict_signature_def({"x": x}, {"y": y})},
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            main_op=v1.tables_initializer(),
            saver=v1.train.Saver([v]),
        )
        builder.save()


@honest
def tf1_loaded_and_exported_again(folder: Path) -> None:
    inner = folder.with_suffix(".inner")
    tf1_of_a_builder(inner)
    loaded = tf.saved_model.load(str(inner))
    signature = loaded.signatures["serving_default"]
    module(folder, lambda x: signature(x=x), WORDS, loaded=loaded)


# TFX and TensorFlow Transform


def _tfx(path: str) -> Write:
    def write(folder: Path) -> None:
        spec = importlib.util.find_spec("tfx")
        assert spec is not None and spec.submodule_search_locations
        shutil.copytree(
            Path(spec.submodule_search_locations[0], "components/testdata", path), folder
        )

    return write


HONEST["tfx_taxi_estimator"] = _tfx("pusher/model_push/1584391735")
HONEST["tfx_taxi_keras"] = _tfx("trainer/keras/Format-Serving")
HONEST["tfx_transform_graph"] = _tfx("transform/transform_graph/transform_fn")


@honest
def exported_by_export_model(folder: Path) -> None:
    export(write_transform(folder.with_suffix(".transform")), folder)


@honest
def transform_graph(folder: Path) -> None:
    write_transform(folder.with_suffix(".transform"))
    shutil.copytree(folder.with_suffix(".transform") / "transform_fn", folder)
