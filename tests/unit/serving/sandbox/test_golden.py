"""Golden requests: distance of responses from the expected outputs, and the requests made."""

import base64
import json
import math

import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2

from ordain.serving.export.description import Description, Feature
from ordain.serving.sandbox.golden import Golden, distance, make_requests, read_response
from ordain.serving.sandbox.sandbox import Request

import tensorflow as tf  # isort: skip  after the environment is set

DESCRIPTION = Description(
    (Feature("x", "float32"), Feature("tags", "string", (None, None), is_required=False)),
    "y",
    "binary",
)


def example(x: float, *tags: bytes) -> bytes:
    made = tf.train.Example()
    made.features.feature["x"].float_list.value.append(x)
    made.features.feature["tags"].bytes_list.value.extend(tags)
    return made.SerializeToString()


def array(*values):
    return np.array(values)


@pytest.mark.parametrize(
    ("expected", "found", "apart"),
    [
        ([0.5, 0.25], [0.5, 0.25], 0.0),
        ([0.5], [0.75], 0.25),
        ([1000.0], [1001.0], 0.001),
        ([math.nan, 1.0], [math.nan, 1.0], 0.0),
        ([math.nan], [1.0], math.inf),
        ([math.inf], [math.inf], 0.0),
        ([math.inf], [1.0], math.inf),
        ([1, 2], [1, 2], 0.0),
        ([0.5], [0.5, 0.5], math.inf),
        ([0.5], [[0.5]], math.inf),
        ([b"a"], ["a"], 0.0),
        ([b"a"], ["b"], math.inf),
    ],
)
def test_distance(expected, found, apart):
    assert distance({"o": np.array(expected)}, {"o": np.array(found)}) == pytest.approx(apart)


def test_a_single_output_may_have_no_name_and_several_need_theirs():
    assert distance({"o": array(1.0)}, {"": array(1.0)}) == 0.0
    assert distance({"o": array(1.0), "p": array(1.0)}, {"": array(1.0)}) == math.inf
    assert distance({"o": array(1.0)}, {"p": array(1.0)}) == math.inf


def test_requests_are_each_row_alone_and_all_at_once():
    examples = [example(0.5, b"a"), example(1.5, b"b")]
    instances, requests = make_requests(DESCRIPTION, examples)
    assert instances == [{"x": 0.5, "tags": ["a"]}, {"x": 1.5, "tags": ["b"]}]
    found = [(r.protocol, r.first, r.rows) for r in requests]
    groups = [(0, 1), (1, 1), (0, 2)]
    assert found == [
        *(("rest", *g) for g in groups),
        *(("grpc", *g) for g in groups),
        ("grpc", 0, 2),
    ]
    assert json.loads(requests[1].body)["instances"] == instances[1:]
    last = predict_pb2.PredictRequest.FromString(requests[-1].body)
    assert last.model_spec.signature_name == "serving_tf_example"
    assert tf.make_ndarray(last.inputs["examples"]).tolist() == examples


def test_rows_with_lists_of_different_lengths_are_not_batched_as_json():
    _, requests = make_requests(DESCRIPTION, [example(0.5, b"a"), example(1.5, b"b", b"c")])
    assert [r.rows for r in requests if r.protocol == "rest"] == [1, 1]
    batch = next(r for r in requests if r.protocol == "grpc" and r.rows == 2)
    tags = predict_pb2.PredictRequest.FromString(batch.body).inputs["tags"]
    assert tf.make_ndarray(tags).tolist() == [[b"a", b""], [b"b", b"c"]]


def test_model_without_description_gets_serialized_examples():
    instances, requests = make_requests(None, [b"one"])
    assert instances == []
    assert [r.protocol for r in requests] == ["rest", "grpc"]
    sent = json.loads(requests[0].body)
    assert sent["signature_name"] == "serving_tf_example"
    assert base64.b64decode(sent["instances"][0]["examples"]["b64"]) == b"one"


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"predictions": 3}', b"", b"\xff"])
def test_invalid_response_is_a_value_error(body):
    with pytest.raises(ValueError):
        read_response(Request("rest", b"", 0, 1), body)


def test_responses_with_several_outputs_are_read_by_name():
    body = json.dumps({"predictions": [{"a": 1.0, "b": [2, 3]}, {"a": 4.0, "b": [5, 6]}]})
    found = read_response(Request("rest", b"", 0, 2), body.encode())
    assert {k: v.tolist() for k, v in found.items()} == {"a": [1.0, 4.0], "b": [[2, 3], [5, 6]]}


def test_golden_requests_are_written_as_json(tmp_path):
    Golden((b"\x00",), ({"x": 1.5},), {"o": np.array([b"a"], object)}).write(tmp_path)
    assert json.loads((tmp_path / "golden.json").read_text()) == {
        "examples": ["AA=="],
        "instances": [{"x": 1.5}],
        "expected": {"o": [{"b64": "YQ=="}]},
    }
