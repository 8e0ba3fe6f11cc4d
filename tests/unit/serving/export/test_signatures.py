"""Exported models: the signatures predict the same, with and without missing values."""

import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

pytest.importorskip("tensorflow_transform")

from models import LABEL, ROWS, export, make_model, serialize, write_transform
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from ordain import export_model
from ordain.errors import ConfigError, InfrastructureError
from ordain.serving.export.description import MISSING, Description, Tensor, read_description
from ordain.serving.export.samples import to_instance, to_tensors, write_samples

SERIALIZED = [serialize(row) for row in ROWS]


@pytest.fixture(scope="module")
def transform(tmp_path_factory):
    return write_transform(tmp_path_factory.mktemp("transform"))


@pytest.fixture(scope="module")
def exported(transform, tmp_path_factory):
    """The binary model with a signature of its own and sample requests."""
    folder = tmp_path_factory.mktemp("model") / "m"
    model, embed = make_model()
    export_model(
        model,
        transform,
        str(folder),
        label=LABEL,
        threshold=0.4,
        classes=["on time", "late"],
        signatures={"embed": embed, "twice": lambda features: {"age2": features["age_xf"] * 2}},
    )
    assert write_samples(folder, SERIALIZED)
    return folder


@pytest.fixture(scope="module")
def loaded(exported):
    return tf.saved_model.load(str(exported))


@pytest.fixture(scope="module")
def description(exported) -> Description:
    found = read_description(exported)
    assert found is not None
    return found


def by_json(loaded, description, rows, signature="serving_default"):
    tensors = to_tensors(description, [to_instance(description, row) for row in rows])
    feed = {
        f.name: tf.constant(tensors[f.name], tf.as_dtype(f.dtype)) for f in description.features
    }
    return {k: v.numpy() for k, v in loaded.signatures[signature](**feed).items()}


def by_example(loaded, rows, signature="serving_tf_example"):
    answers = loaded.signatures[signature](examples=tf.constant(rows))
    return {k: v.numpy() for k, v in answers.items()}


class TestInputs:
    def test_are_the_columns_with_their_own_types(self, loaded, exported):
        _, inputs = loaded.signatures["serving_default"].structured_input_signature
        found = {name: (spec.dtype.name, spec.shape.as_list()) for name, spec in inputs.items()}
        assert found == {
            "Age": ("float32", [None]),
            "carrier": ("string", [None]),
            "hour": ("int64", [None]),
            "wind dir": ("float32", [None]),
            "tags": ("string", [None, None]),
            "pair": ("float32", [None, 2]),
        }
        # And so a server that reads the protobuf sees them.
        saved = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
        definition = saved.meta_graphs[0].signature_def["serving_default"]
        assert set(definition.inputs) == set(found)
        assert set(definition.defaults) == {"Age", "carrier", "hour", "tags"}

    def test_of_the_other_signatures_are_serialized_examples(self, loaded):
        for name in ("serving_tf_example", "transform_features"):
            _, inputs = loaded.signatures[name].structured_input_signature
            assert list(inputs) == ["examples"]

    def test_without_a_value_answer_as_an_example_without_the_feature(self, loaded, description):
        whole = {**ROWS[11]}
        answers = [by_example(loaded, [serialize(whole)])["outputs"]]
        for name in ("Age", "carrier", "hour", "tags"):
            row = serialize(whole, name)
            expected = by_example(loaded, [row])["outputs"]
            assert (by_json(loaded, description, [row])["outputs"] == expected).all(), name
            answers.append(expected)
        # Each column is looked at, or the comparison would say nothing.
        assert len({float(answer[0, 0]) for answer in answers}) == 5

    def test_all_missing_in_a_whole_batch(self, loaded, description):
        rows = [serialize(row, "Age", "carrier", "hour", "tags") for row in ROWS[:3]]
        expected = by_example(loaded, rows)["outputs"]
        assert (by_json(loaded, description, rows)["outputs"] == expected).all()

    def test_a_required_column_has_no_marker(self, loaded, description):
        row = {**ROWS[11], "wind dir": [math.nan]}
        expected = by_example(loaded, [serialize(row)])["outputs"]
        found = by_json(loaded, description, [serialize(row)])["outputs"]
        assert np.isnan(expected).all() and np.isnan(found).all()


def test_both_signatures_predict_the_same(loaded, description):
    found, expected = by_json(loaded, description, SERIALIZED), by_example(loaded, SERIALIZED)
    assert set(found) == set(expected) == {"outputs"}
    assert (found["outputs"] == expected["outputs"]).all()
    assert expected["outputs"].std() > 0.01


def test_transform_features_returns_the_label(loaded):
    assert by_example(loaded, SERIALIZED, "transform_features")["y"].tolist() == [
        row["y"][0] for row in ROWS
    ]


def test_serving_needs_no_label(loaded):
    rows = [serialize(row, LABEL) for row in ROWS]
    expected = by_example(loaded, SERIALIZED)["outputs"]
    assert (by_example(loaded, rows)["outputs"] == expected).all()


class TestOwnSignatures:
    def test_a_keras_model_embeds_raw_rows(self, loaded, description, transform):
        found = by_json(loaded, description, SERIALIZED, "embed")["outputs"]
        features = by_example(loaded, SERIALIZED, "transform_features")
        _, embed = make_model()
        known = {t.name for t in embed.inputs}
        inputs = {k: v[:, None] if v.ndim == 1 else v for k, v in features.items() if k in known}
        assert found.shape == (40, 8)
        np.testing.assert_allclose(found, embed(inputs).numpy(), atol=1e-5)

    def test_a_function_names_its_outputs(self, loaded, description):
        assert set(by_json(loaded, description, SERIALIZED[:2], "twice")) == {"age2"}

    @pytest.mark.parametrize("name", ["serving_default", "transform_features", "no name"])
    def test_cannot_take_the_name_of_ours(self, transform, tmp_path, name):
        with pytest.raises(ConfigError, match="cannot be named"):
            export(transform, tmp_path / "m", signatures={name: make_model()[1]})


class TestDescription:
    def test_is_an_asset_that_tensorflow_keeps(self, exported, loaded, tmp_path):
        tf.saved_model.save(loaded, str(tmp_path / "copy"))
        assert (tmp_path / "copy" / "assets" / "ordain.json").read_bytes() == (
            exported / "assets" / "ordain.json"
        ).read_bytes()

    def test_contains_what_a_graph_does_not(self, description):
        assert description.task == "binary"
        assert description.classes == ("on time", "late")
        assert description.threshold == 0.4
        assert description.label == LABEL
        optional = {f.name for f in description.features if not f.is_required}
        assert optional == {"Age", "carrier", "hour", "tags"}
        assert set(description.signatures) == {
            "serving_default",
            "serving_tf_example",
            "transform_features",
            "embed",
            "twice",
        }
        shapes = description.signatures["embed"].outputs
        assert shapes == {"outputs": Tensor("float32", (None, 8))}
        assert {"MatMul", "LookupTableFindV2", "ParseExampleV2"} <= set(description.operations)

    def test_survives_a_round_trip_and_is_plain_json(self, description):
        assert Description.from_json(description.to_json()) == description
        json.loads(description.to_json(), parse_constant=pytest.fail)

    def test_is_none_for_a_model_of_another_exporter(self, tmp_path):
        assert read_description(tmp_path) is None

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99}', "[" * 100_000])
    def test_a_damaged_one_is_named(self, tmp_path, text):
        (tmp_path / "assets").mkdir()
        (tmp_path / "assets" / "ordain.json").write_text(text)
        with pytest.raises(InfrastructureError, match=r"assets/ordain\.json"):
            read_description(tmp_path)


class TestTasks:
    def task(self, transform, folder, **options):
        found = read_description(export(transform, folder, **options))
        return found.task, found.classes, found.threshold

    def test_multi_class(self, transform, tmp_path):
        found = self.task(
            transform, tmp_path / "m", units=3, activation="softmax", classes=[b"a", "b", "c"]
        )
        assert found == ("multiclass", ("a", "b", "c"), None)

    def test_a_number(self, transform, tmp_path):
        found = self.task(transform, tmp_path / "m", activation=None)
        assert found == ("regression", (), None)

    def test_a_threshold_makes_a_score_binary(self, transform, tmp_path):
        found = self.task(transform, tmp_path / "m", activation=None, threshold=0.0)
        assert found == ("binary", (0, 1), 0.0)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"classes": ["a", "b", "c"]}, "one output, and classes names 3"),
            ({"units": 3, "classes": ["a"]}, "3 outputs, and classes names 1"),
            ({"units": 3, "threshold": 0.5}, "threshold is for a model with one output"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, transform, tmp_path, options, message):
        with pytest.raises(ConfigError, match=message):
            export(transform, tmp_path / "m", **options)


class TestSamples:
    def test_warm_up_requests_are_ones_that_the_model_answers(self, exported, loaded):
        path = exported / "assets.extra" / "tf_serving_warmup_requests"
        met = []
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
            feed = {k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}
            answer = loaded.signatures[request.model_spec.signature_name](**feed)
            met.append((request.model_spec.signature_name, len(answer["outputs"])))
        assert sorted(met) == [
            ("serving_default", 1),
            ("serving_default", 32),
            ("serving_tf_example", 1),
            ("serving_tf_example", 32),
        ]

    def test_the_example_is_of_real_rows_with_every_value(self, exported, description):
        path = exported / "assets.extra" / "ordain" / "example.json"
        example = json.loads(path.read_text(), parse_constant=pytest.fail)
        assert example["signature_name"] == "serving_default"
        real = [to_instance(description, row) for row in SERIALIZED]
        assert len(example["instances"]) == 2
        assert all(instance in real for instance in example["instances"])
        assert all(i["carrier"] and i["tags"] for i in example["instances"])
        assert not any(LABEL in instance for instance in example["instances"])

    def test_bytes_that_are_no_text_go_as_base64_and_come_back(self, description):
        row = serialize({**ROWS[11], "carrier": [b"\xff\x00"]})
        instance = to_instance(description, row)
        assert instance["carrier"] == {"b64": "/wA="}
        assert to_tensors(description, [instance])["carrier"].tolist() == [b"\xff\x00"]

    def test_missing_values_are_the_markers(self, description):
        instance = to_instance(description, serialize(ROWS[0]))
        assert math.isnan(instance["Age"])
        assert (instance["carrier"], instance["hour"]) == (MISSING["string"], MISSING["int64"])
        assert instance["tags"] == []

    def test_there_are_none_without_rows_or_for_another_model(self, exported, tmp_path):
        assert not write_samples(exported, [])
        assert not write_samples(tmp_path, SERIALIZED)


def test_two_columns_that_differ_in_case_stay_apart(tmp_path):
    """TensorFlow itself would make them one; the smallest model with both."""

    class Transform:
        raw_metadata = type("Metadata", (), {"schema": type("Schema", (), {"feature": []})})

        def raw_feature_spec(self):
            one = tf.io.FixedLenFeature([1], tf.float32)
            return {"a": one, "A": one, "größe": one, "raw_00000": one, "y": one}

        def transform_features_layer(self):
            layer = keras.layers.Lambda(
                lambda raw: {
                    k: tf.squeeze(v, 1)
                    for k, v in zip(
                        ("x0", "x1", "x2", "x3"),
                        (raw["a"], raw["A"], raw["größe"], raw["raw_00000"]),
                        strict=True,
                    )
                }
            )
            return layer

    inputs = {f"x{i}": keras.Input((1,), name=f"x{i}") for i in range(4)}
    weighted = [x * 10.0**i for i, x in enumerate(inputs.values())]
    model = keras.Model(inputs, keras.layers.Add()(weighted))
    export_model(model, Transform(), str(tmp_path / "m"), label="y")
    signature = tf.saved_model.load(str(tmp_path / "m")).signatures["serving_default"]
    feed = {"a": 1.0, "A": 2.0, "größe": 3.0, "raw_00000": 4.0}
    answer = signature(**{name: tf.constant([value]) for name, value in feed.items()})
    assert answer["outputs"].numpy().tolist() == [[4321.0]]
