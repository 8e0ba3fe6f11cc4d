"""Warm start: weights matched by name, by order, and not at all."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ordain.errors import ConfigError
from ordain.serving.export.warm_start import load_weights


def make(units: int = 4, named: bool = False, extra: bool = False, vocabulary: int = 6):
    """A compiled model with an embedding and two or three dense layers."""
    names = iter(["embed", "hidden", "more", "score"]) if named else None

    def name():
        return next(names) if names is not None else None

    value = keras.Input((1,), name="value")
    word = keras.Input((1,), name="word", dtype="int64")
    embedded = keras.layers.Flatten()(keras.layers.Embedding(vocabulary, 3, name=name())(word))
    x = keras.layers.Concatenate()([value, embedded])
    x = keras.layers.Dense(units, activation="relu", name=name())(x)
    more = name()
    if extra:
        x = keras.layers.Dense(units, name=more)(x)
    output = keras.layers.Dense(1, activation="sigmoid", name=name())(x)
    model = keras.Model({"value": value, "word": word}, output)
    model.compile(loss="binary_crossentropy", optimizer="adam")
    return model


@pytest.fixture
def publish(tmp_path):
    """Trains a model a little, and saves it where `export_model` puts it in a SavedModel."""

    def save(model) -> str:
        inputs = {"value": np.ones((8, 1), "float32"), "word": np.ones((8, 1), "int64")}
        model.fit(inputs, np.ones((8, 1)), epochs=2, verbose=0)
        module = tf.Module()
        module.model = model
        spec = {
            "value": tf.TensorSpec([None, 1], tf.float32),
            "word": tf.TensorSpec([None, 1], tf.int64),
        }
        predict = tf.function(lambda value, word: {"p": model({"value": value, "word": word})})
        folder = str(tmp_path / "saved")
        tf.saved_model.save(module, folder, signatures=predict.get_concrete_function(**spec))
        return folder

    return save


def values(model) -> list[np.ndarray]:
    return [np.array(weight) for weight in model.weights]


@pytest.mark.parametrize("named", [True, False], ids=["named by us", "named by Keras"])
def test_all_weights_of_the_same_model_are_taken(publish, named):
    published = make(named=named)
    folder = publish(published)
    make(named=named)  # Keras counts on: the next one's layers have other names
    model = make(named=named)
    loaded = load_weights(model, folder)
    assert loaded.fresh == ()
    assert len(loaded.taken) == len(model.weights) == 5
    for ours, theirs in zip(values(model), values(published), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_vocabulary_that_has_grown_keeps_its_fresh_values(publish):
    published = make(named=True)
    folder = publish(published)
    model = make(named=True, vocabulary=7)
    before = values(model)
    loaded = load_weights(model, folder)
    assert loaded.fresh == ("embed/embeddings",)
    np.testing.assert_array_equal(values(model)[0], before[0])
    np.testing.assert_array_equal(values(model)[1], values(published)[1])


def test_a_new_layer_is_fresh_and_the_named_others_are_found(publish):
    folder = publish(make(named=True))
    loaded = load_weights(make(named=True, extra=True), folder)
    assert loaded.fresh == ("more/kernel", "more/bias")


def test_among_layers_without_names_none_is_guessed(publish):
    folder = publish(make())
    model = make(extra=True)
    loaded = load_weights(model, folder)
    assert [path.partition("/")[2] for path in loaded.taken] == ["embeddings"]
    assert len(loaded.fresh) == 6


def test_training_goes_on_from_them(publish):
    published = make(named=True)
    folder = publish(published)
    inputs = {"value": np.ones((8, 1), "float32"), "word": np.ones((8, 1), "int64")}
    cold, warm = make(named=True), make(named=True)
    load_weights(warm, folder)
    expected = published.evaluate(inputs, np.ones((8, 1)), verbose=0)
    assert warm.evaluate(inputs, np.ones((8, 1)), verbose=0) == pytest.approx(expected)
    assert cold.evaluate(inputs, np.ones((8, 1)), verbose=0) != pytest.approx(expected)


def test_a_folder_without_weights_is_named(tmp_path):
    with pytest.raises(ConfigError, match=f"{tmp_path} has no weights for a warm start"):
        load_weights(make(), str(tmp_path))
