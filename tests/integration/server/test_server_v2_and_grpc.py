"""The Open Inference Protocol over REST and gRPC, and TF Serving's gRPC with its own stubs only."""

import struct

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from ordain.serving.server.protocol import open_inference_pb2 as v2

INFER = "/v2/models/toy/infer"
X = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2.5]}
S = {"name": "s", "shape": [2], "datatype": "BYTES", "data": ["a", "bc"]}


class TestRest:
    def test_health_and_metadata(self, server):
        assert server.ask("/v2/health/live") == (200, {"live": True})
        assert server.ask("/v2/health/ready") == (200, {"ready": True})
        status, answer = server.ask("/v2")
        assert (status, answer["name"], answer["extensions"]) == (200, "ordain", [])
        for at in ("", "/versions/3"):
            assert server.ask(f"/v2/models/toy{at}/ready") == (200, {"name": "toy", "ready": True})
            status, answer = server.ask(f"/v2/models/toy{at}")
            assert answer["versions"][0] == "3"
            assert answer["platform"] == "tensorflow_savedmodel"
            assert {"name": "x", "datatype": "FP32", "shape": [-1]} in answer["inputs"]
            assert {"name": "n", "datatype": "INT32", "shape": [-1]} in answer["outputs"]

    def test_infer(self, server):
        document = {"id": "42", "inputs": [X, S], "outputs": [{"name": "y"}, {"name": "n"}]}
        assert server.ask(INFER, document) == (
            200,
            {
                "model_name": "toy",
                "model_version": "3",
                "id": "42",
                "outputs": [
                    {"name": "y", "shape": [2], "datatype": "FP32", "data": [5.0, 8.0]},
                    {"name": "n", "shape": [2], "datatype": "INT32", "data": [1, 2]},
                ],
            },
        )

    @pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]]], ids=["flat", "nested"])
    def test_another_signature_is_a_parameter(self, server, data):
        tensor = {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": data}
        document = {"parameters": {"signature_name": "pair"}, "inputs": [tensor]}
        status, answer = server.ask("/v2/models/toy/versions/3/infer", document)
        assert (status, answer["outputs"][0]["data"]) == (200, [3.0, 7.0])

    def test_bytes_that_are_no_text_are_base64(self, server):
        base64 = {"content_type": "base64"}
        tensor = {**S, "shape": [1], "data": ["AAH/"], "parameters": base64}
        document = {"parameters": {"signature_name": "text"}, "inputs": [tensor]}
        status, answer = server.ask(INFER, document)
        assert status == 200
        assert answer["outputs"][0]["data"] == ["AAH/"]
        assert answer["outputs"][0]["parameters"] == base64

    @pytest.mark.parametrize(
        ("document", "words"),
        [
            ({"inputs": [X]}, "Missing named input: s"),
            ({"inputs": [X, {**S, "shape": [3]}]}, "does not match shape"),
            ({"inputs": [X, {**S, "shape": [-1]}]}, "non-negative"),
            ({"inputs": [X, {**S, "shape": [10**30]}]}, "too many elements"),
            ({"inputs": [{**X, "shape": [1] * 65}, S]}, "at most 64"),
            ({"inputs": [{**X, "datatype": "FLOAT"}, S]}, "datatype 'FLOAT' is not one of"),
            ({"inputs": [{**X, "datatype": "FP64"}, S]}, "is DT_DOUBLE, expected"),
            ({"inputs": [{**X, "data": ["1", "2"]}, S]}, "is not of expected type: float"),
            ({"inputs": [X, X]}, "given twice"),
            ({"inputs": [X, S], "outputs": [{"name": "z"}]}, "there is no output 'z'"),
            ({"inputs": {}}, "'inputs' must be a list"),
            ({"id": 1, "inputs": []}, "'id' must be a string"),
            ({"parameters": {"signature_name": "z"}, "inputs": [X]}, '"z" not found'),
        ],
    )
    def test_refuses(self, server, document, words):
        status, answer = server.ask(INFER, document)
        assert (status, list(answer)) == (400, ["error"])
        assert words in answer["error"]

    def test_what_is_not_there(self, server):
        assert server.ask("/v2/models/nope/infer", {"inputs": []})[0] == 404
        assert server.ask("/v2/models/toy/versions/9/infer", {"inputs": []})[0] == 404
        assert server.ask("/v2/models/toy/versions/9/ready")[0] == 503
        assert server.ask("/v2/models/nope/ready")[0] == 404
        assert server.ask("/v2/nothing")[0] == 404
        assert server.ask(INFER, method="GET")[0] == 405


class TestTFServingGrpc:
    @pytest.fixture
    def channel(self, server):
        with grpc.insecure_channel(server.grpc) as channel:
            yield channel

    @pytest.fixture
    def stub(self, channel):
        return prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def request(self, signature="", **inputs):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "toy"
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        return request

    def test_predict(self, stub):
        answer = stub.Predict(self.request(x=[1.0, 2.5], s=[b"a", b"bc"]), timeout=120)
        assert tf.make_ndarray(answer.outputs["y"]).tolist() == [5.0, 8.0]
        assert tf.make_ndarray(answer.outputs["n"]).dtype == "int32"
        assert (answer.model_spec.name, answer.model_spec.version.value) == ("toy", 3)
        assert answer.model_spec.signature_name == "serving_default"

    def test_predict_filters_outputs_and_keeps_bytes(self, stub):
        request = self.request("text", s=[b"\x00\xff"])
        request.output_filter.append("text")
        request.model_spec.version_label = "stable"
        answer = stub.Predict(request, timeout=120)
        assert list(answer.outputs) == ["text"]
        assert tf.make_ndarray(answer.outputs["text"]).tolist() == [b"\x00\xff"]

    def test_one_value_stands_for_all_elements_of_a_tensor(self, stub):
        request = self.request(x=[1.0], s=[b"a", b"bc", b"d"])
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(2.0, shape=[3]))
        answer = stub.Predict(request, timeout=120)
        assert tf.make_ndarray(answer.outputs["y"]).tolist() == [7.0, 7.0, 7.0]

    def test_classify_and_regress(self, stub):
        request = classification_pb2.ClassificationRequest()
        request.model_spec.name = "toy"
        request.model_spec.signature_name = "classify"
        example = request.input.example_list.examples.add()
        example.features.feature["x"].float_list.value.append(0.25)
        found = stub.Classify(request, timeout=120).result.classifications[0].classes
        assert [(c.label, c.score) for c in found] == [("no", 0.75), ("yes", 0.25)]
        request = regression_pb2.RegressionRequest()
        request.model_spec.name = "toy"
        request.model_spec.signature_name = "regress"
        both = request.input.example_list_with_context
        both.context.features.feature["x"].float_list.value.append(2.0)
        both.examples.add()
        assert stub.Regress(request, timeout=120).result.regressions[0].value == 2.0

    def test_metadata_and_status(self, stub, channel):
        request = get_model_metadata_pb2.GetModelMetadataRequest()
        request.model_spec.name = "toy"
        request.metadata_field.append("signature_def")
        packed = stub.GetModelMetadata(request, timeout=120).metadata["signature_def"]
        found = get_model_metadata_pb2.SignatureDefMap()
        assert packed.Unpack(found)
        assert found.signature_def["pair"].inputs["x"].tensor_shape.dim[1].size == 2
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "toy"
        statuses = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request)
        newest = statuses.model_version_status[0]
        assert (newest.version, newest.state, newest.status.error_code) == (3, 30, 0)

    @pytest.mark.parametrize(
        ("change", "code", "words"),
        [
            (lambda r: r.model_spec.ClearField("name"), "INVALID_ARGUMENT", "Missing ModelSpec"),
            (lambda r: setattr(r.model_spec, "name", "no"), "NOT_FOUND", "Latest(no)"),
            (lambda r: setattr(r.model_spec.version, "value", 9), "NOT_FOUND", "Specific(toy, 9)"),
            (lambda r: setattr(r.model_spec, "version_label", "no"), "INVALID_ARGUMENT", "label"),
            (lambda r: setattr(r.model_spec, "signature_name", "z"), "INVALID_ARGUMENT", '"z"'),
            (lambda r: r.inputs.pop("s"), "INVALID_ARGUMENT", "Missing named input: s"),
            (lambda r: setattr(r.inputs["x"], "dtype", 2), "INVALID_ARGUMENT", "x"),
            (lambda r: setattr(r.inputs["x"], "dtype", 999), "INVALID_ARGUMENT", "not supported"),
            (
                lambda r: setattr(r.inputs["x"].tensor_shape.dim[0], "size", 1 << 40),
                "INVALID_ARGUMENT",
                "x",
            ),
            (lambda r: r.output_filter.append("z"), "INVALID_ARGUMENT", "no output 'z'"),
        ],
    )
    def test_refuses(self, stub, change, code, words):
        request = self.request(x=[1.0], s=[b"a"])
        change(request)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(request, timeout=120)
        assert caught.value.code().name == code
        assert words in caught.value.details()


class TestInferenceGrpc:
    @pytest.fixture
    def call(self, server):
        with grpc.insecure_channel(server.grpc) as channel:

            def call(method, request):
                return channel.unary_unary(
                    f"/inference.GRPCInferenceService/{method}",
                    request_serializer=type(request).SerializeToString,
                    response_deserializer=getattr(v2, f"{method}Response").FromString,
                )(request, timeout=120)

            yield call

    def test_health_and_metadata(self, call):
        assert call("ServerLive", v2.ServerLiveRequest()).live
        assert call("ServerReady", v2.ServerReadyRequest()).ready
        assert call("ModelReady", v2.ModelReadyRequest(name="toy")).ready
        assert not call("ModelReady", v2.ModelReadyRequest(name="toy", version="9")).ready
        assert call("ServerMetadata", v2.ServerMetadataRequest()).name == "ordain"
        answer = call("ModelMetadata", v2.ModelMetadataRequest(name="toy"))
        assert [(t.name, t.datatype, list(t.shape)) for t in answer.inputs if t.name == "x"] == [
            ("x", "FP32", [-1])
        ]

    def request(self):
        request = v2.ModelInferRequest(model_name="toy", id="7")
        request.inputs.add(name="x", datatype="FP32", shape=[2])
        request.inputs.add(name="s", datatype="BYTES", shape=[2])
        return request

    def test_infer_typed(self, call):
        request = self.request()
        request.inputs[0].contents.fp32_contents.extend([1, 2.5])
        request.inputs[1].contents.bytes_contents.extend([b"a", b"\xff\xff"])
        answer = call("ModelInfer", request)
        found = {tensor.name: tensor for tensor in answer.outputs}
        assert (answer.id, answer.model_version) == ("7", "3")
        assert list(found["y"].contents.fp32_contents) == [5.0, 8.0]
        assert list(found["n"].contents.int_contents) == [1, 2]

    def test_infer_raw(self, call):
        request = self.request()
        request.raw_input_contents.append(struct.pack("<2f", 1, 2.5))
        request.raw_input_contents.append(struct.pack("<I1sI2s", 1, b"a", 2, b"bc"))
        answer = call("ModelInfer", request)
        names = [tensor.name for tensor in answer.outputs]
        assert struct.unpack("<2f", answer.raw_output_contents[names.index("y")]) == (5.0, 8.0)

    @pytest.mark.parametrize(
        ("raw", "words"),
        [
            ([b"1234567", b""], "not a whole number of FP32"),
            ([b"12345678", b"\xff\xff\xff\xff"], "exceeds the remaining bytes"),
            ([b"12345678", b"\x01"], "the last length is truncated"),
            ([b"12345678"], "1 raw contents for 2 inputs"),
            ([b"1234", b"\x00\x00\x00\x00"], "does not match shape"),
        ],
    )
    def test_refuses(self, call, raw, words):
        request = self.request()
        request.raw_input_contents.extend(raw)
        with pytest.raises(grpc.RpcError) as caught:
            call("ModelInfer", request)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert words in caught.value.details()
