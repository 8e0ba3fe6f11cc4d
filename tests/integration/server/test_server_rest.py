"""TF Serving's documented REST API, case by case.

https://www.tensorflow.org/tfx/serving/api_rest
"""

import json

import pytest

ROW = {"x": 1.5, "s": "abc"}
PREDICT = "/v1/models/toy:predict"

#: What is sent, and what has to come back: field names, types and nesting included.
ANSWERED = {
    "rows, several inputs and outputs": (
        {"instances": [ROW, {"x": 2, "s": "é"}]},
        {"predictions": [{"n": 3, "v": 3, "y": 6.0}, {"n": 2, "v": 3, "y": 7.0}]},
    ),
    "columns, several inputs and outputs": (
        {"inputs": {"x": [1.5, 2], "s": ["abc", ""]}},
        {"outputs": {"n": [3, 0], "v": [3, 3], "y": [6.0, 7.0]}},
    ),
    "rows, one input and one output, both bare": (
        {"signature_name": "pair", "instances": [[1, 2], [3, 4.5]]},
        {"predictions": [3.0, 7.5]},
    ),
    "rows, one input by name": (
        {"signature_name": "pair", "instances": [{"x": [1, 2]}]},
        {"predictions": [3.0]},
    ),
    "columns, one input and one output, both bare": (
        {"signature_name": "pair", "inputs": [[1, 2], [3, 4]]},
        {"outputs": [3.0, 7.0]},
    ),
    "columns, one input by name": (
        {"signature_name": "pair", "inputs": {"x": [[1, 2]]}},
        {"outputs": [3.0]},
    ),
    "bytes in as base64, out as base64 where the name ends in _bytes": (
        {"signature_name": "text", "instances": [{"b64": "aGk="}, {"s": {"b64": "aGk="}}["s"]]},
        {"predictions": [{"raw_bytes": {"b64": "aGk="}, "text": "hi"}] * 2},
    ),
    "bytes by name": (
        {"signature_name": "text", "instances": [{"s": {"b64": "aGk="}}]},
        {"predictions": [{"raw_bytes": {"b64": "aGk="}, "text": "hi"}]},
    ),
    "bytes in a column": (
        {"signature_name": "text", "inputs": {"s": [{"b64": "AAH/"}]}},
        {"outputs": {"raw_bytes": [{"b64": "AAH/"}], "text": [{"b64": "AAH/"}]}},
    ),
    "integers and booleans": (
        {"signature_name": "whole", "instances": [{"i": -(2**63), "b": True}]},
        {"predictions": [{"b": False, "i": -(2**63)}]},
    ),
    "a signature without a batch dimension, by column": (
        {"signature_name": "fixed", "inputs": {"m": [[1, 2], [3, 4]]}},
        {"outputs": 5.0},
    ),
    "shortest text of a float32": (
        {"signature_name": "pair", "instances": [[0.1, 0.2]]},
        {"predictions": [0.3]},
    ),
    "an empty signature name is the default one": (
        {"signature_name": "", "instances": [ROW]},
        {"predictions": [{"n": 3, "v": 3, "y": 6.0}]},
    ),
}


@pytest.mark.parametrize("case", ANSWERED)
def test_predict_answers(server, case):
    document, expected = ANSWERED[case]
    status, answer = server.ask(PREDICT, document)
    assert status == 200, answer
    assert _equal(answer, expected), answer


def _equal(got, want):
    if isinstance(want, float):
        return isinstance(got, float) and abs(got - want) < 1e-6
    if isinstance(want, dict):
        return (
            isinstance(got, dict)
            and got.keys() == want.keys()
            and all(_equal(got[key], want[key]) for key in want)
        )
    if isinstance(want, list):
        same = isinstance(got, list) and len(got) == len(want)
        return same and all(map(_equal, got, want))
    return type(got) is type(want) and got == want


def test_not_a_number_goes_in_and_out_as_a_bare_word(server):
    body = b'{"signature_name": "pair", "instances": [[NaN, 1], [Infinity, 1], [-Infinity, 1]]}'
    status, answer = server.ask(PREDICT, body)
    assert status == 200
    assert json.dumps(answer) == '{"predictions": [NaN, Infinity, -Infinity]}'


#: What is sent, the status, and words that the error has to hold.
REFUSED = {
    "no document": (b"", 400, "JSON Parse error: The document is empty"),
    "no JSON": (b"{", 400, "JSON Parse error"),
    "no object": ([1], 400, "Is not object"),
    "neither rows nor columns": ({}, 400, "Missing 'inputs' or 'instances' key"),
    "rows and columns": ({"instances": [ROW], "inputs": {}}, 400, "only one of"),
    "no list of rows": ({"instances": {}}, 400, "to be an list/array"),
    "no rows": ({"instances": []}, 400, "No values in 'instances' array"),
    "bare rows for several inputs": ({"instances": [1, 2]}, 400, "expecting list of objects"),
    "bare columns for several inputs": ({"inputs": [1]}, 400, "expecting an object"),
    "an input is missing in a row": ({"instances": [{"x": 1}]}, 400, "keys must be equal to: s,x"),
    "an input too many in a row": (
        {"instances": [{**ROW, "z": 1}]},
        400,
        "keys must be equal to: s,x",
    ),
    "an input is missing in the columns": (
        {"inputs": {"x": [1]}},
        400,
        "Missing named input: s in 'inputs' object.",
    ),
    "text for a number": (
        {"instances": [{"x": "1", "s": "a"}]},
        400,
        'JSON Value: "1" Type: String is not of expected type: float',
    ),
    "null for a number": ({"instances": [{"x": None, "s": "a"}]}, 400, "Type: Null"),
    "a number for a text": ({"instances": [{"x": 1, "s": 1}]}, 400, "expected type: string"),
    "a fraction for an integer": (
        {"signature_name": "whole", "instances": [{"i": 1.0, "b": True}]},
        400,
        "expected type: int64",
    ),
    "an integer for a boolean": (
        {"signature_name": "whole", "instances": [{"i": 1, "b": 1}]},
        400,
        "expected type: bool",
    ),
    "an integer too large": (
        {"signature_name": "whole", "instances": [{"i": 2**63, "b": True}]},
        400,
        "expected type: int64",
    ),
    "a number too large for a float32": (
        {"instances": [{"x": 1e39, "s": "a"}]},
        400,
        "without loss of precision",
    ),
    "a number too large for anything": (
        b'{"instances": [{"x": 1e999, "s": "a"}]}',
        400,
        "Number too big to be stored in double",
    ),
    "no base64": ({"signature_name": "text", "instances": [{"b64": "%"}]}, 400, "base64 decode"),
    "lists of different lengths": (
        {"signature_name": "pair", "instances": [[1, 2], [3]]},
        400,
        "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
    ),
    "another shape": (
        {"signature_name": "pair", "instances": [[1, 2, 3]]},
        400,
        "has shape [1, 3], expected [-1, 2]",
    ),
    "columns of different lengths": (
        {"inputs": {"x": [1, 2], "s": ["a"]}},
        400,
        "rows",
    ),
    "no such signature": (
        {"signature_name": "nope", "instances": [1]},
        400,
        'Serving signature name: "nope" not found in signature def',
    ),
    "a signature name that is no text": (
        {"signature_name": 1, "instances": [1]},
        400,
        "'signature_name' key must be a string value",
    ),
    "rows of an output without them": (
        {"signature_name": "fixed", "instances": [[1, 2], [3, 4]]},
        400,
        "request by column",
    ),
    "what the model itself refuses": (
        {"signature_name": "examples", "instances": [{"b64": "AAAA"}]},
        400,
        "parse",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_predict_refuses(server, case):
    document, status, words = REFUSED[case]
    got, answer = server.ask(PREDICT, document)
    assert got == status, answer
    assert list(answer) == ["error"]
    assert words in answer["error"]


#: Paths with their method, the status, and words of the error.
PATHS = {
    "GET /v1/models/nope": (404, "Could not find any versions of model nope"),
    "GET /v1/models/toy/versions/9": (404, "Could not find version 9 of model toy"),
    "GET /v1/models/toy/versions/two": (400, "Failed to convert version: two to numeric."),
    "GET /v1/models/toy/labels/nope": (400, "Unrecognized servable version label: nope"),
    "GET /v1/models/nope/metadata": (404, "Servable not found for request: Latest(nope)"),
    "POST /v1/models/nope:predict": (404, "Servable not found for request: Latest(nope)"),
    "POST /v1/models/toy/versions/9:predict": (
        404,
        "Servable not found for request: Specific(toy, 9)",
    ),
    "POST /v1/models/toy/labels/nope:predict": (400, "Unrecognized servable version label: nope"),
    "GET /v1/models/toy:predict": (400, "Malformed request: GET /v1/models/toy:predict"),
    "POST /v1/models/toy": (400, "Malformed request: POST /v1/models/toy"),
    "POST /v1/models/toy:guess": (400, "Malformed request"),
    "POST /v1/models/toy/versions/99999999999999999999:predict": (400, "Failed to convert version"),
    "GET /nothing": (404, "Malformed request"),
}


@pytest.mark.parametrize("line", PATHS)
def test_paths_that_mean_nothing(server, line):
    method, path = line.split()
    status, words = PATHS[line]
    got, answer = server.ask(path, {"instances": [ROW]} if method == "POST" else None, method)
    assert (got, list(answer)) == (status, ["error"])
    assert words in answer["error"]


@pytest.mark.parametrize("at", ["", "/versions/3", "/labels/stable"])
def test_status_metadata_and_predictions_are_the_same_by_version_and_label(server, at):
    assert server.ask(f"/v1/models/toy{at}")[1]["model_version_status"][0] == {
        "version": "3",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    assert server.ask(f"/v1/models/toy{at}:predict", {"instances": [ROW]})[0] == 200
    status, answer = server.ask(f"/v1/models/toy{at}/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": "toy", "signature_name": "", "version": "3"}
    pair = answer["metadata"]["signature_def"]["signature_def"]["pair"]
    assert pair["method_name"] == "tensorflow/serving/predict"
    assert pair["inputs"] == {
        "x": {
            "name": "pair_x:0",
            "dtype": "DT_FLOAT",
            "tensor_shape": {
                "dim": [{"size": "-1", "name": ""}, {"size": "2", "name": ""}],
                "unknown_rank": False,
            },
        }
    }


def test_classify_and_regress(server):
    document = {"signature_name": "classify", "examples": [{"x": 0.25}, {"x": [1.0]}]}
    assert server.ask("/v1/models/toy:classify", document) == (
        200,
        {"results": [[["no", 0.75], ["yes", 0.25]], [["no", 0.0], ["yes", 1.0]]]},
    )
    document = {"signature_name": "regress", "context": {"x": 2.0}, "examples": [{}, {"x": 0.5}]}
    assert server.ask("/v1/models/toy:regress", document) == (200, {"results": [2.0, 0.5]})


@pytest.mark.parametrize("method", ["classify", "regress"])
def test_classify_and_regress_of_a_model_without(server, method):
    status, answer = server.ask(f"/v1/models/toy:{method}", {"examples": [{"x": 1.0}]})
    assert status == 400
    assert f"signature method_name to be tensorflow/serving/{method}" in answer["error"]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"examples": []}, "is an empty array"),
        ({}, "key 'examples' is expected"),
        ({"examples": [{"x": None}]}, "unexpected JSON type"),
        ({"examples": [{"x": [1.0, "a"]}]}, "Unexpected element type in feature"),
        ({"examples": [1]}, "must be JSON object"),
    ],
)
def test_examples_that_are_none(server, document, words):
    status, answer = server.ask("/v1/models/toy:regress", {"signature_name": "regress", **document})
    assert status == 400
    assert words in answer["error"]


def test_metrics_tell_what_was_asked(server):
    import urllib.request

    with urllib.request.urlopen(server.rest + "/metrics") as page:
        text = page.read().decode()
    for part in (
        'ordain_requests_total{code="OK",method="predict",model="toy",protocol="v1",version="3"}',
        'ordain_version_loaded{version="3"} 1.0',
        'ordain_label_version{label="stable"} 3.0',
        "ordain_batch_rows_count",
        "ordain_queue_depth 0.0",
        'ordain_request_seconds_bucket{le="0.005",method="predict",protocol="v1"}',
    ):
        assert part in text
