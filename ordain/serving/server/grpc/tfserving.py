"""TensorFlow Serving's gRPC services: `PredictionService` and `ModelService`."""

from __future__ import annotations

import contextlib
from typing import Any

import grpc
import tensorflow as tf
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    input_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from ordain.serving.server.codec import examples_json as examples
from ordain.serving.server.codec.predict_json import DEFAULT_SIGNATURE
from ordain.serving.server.codec.tensor_protos import decode_proto, encode_proto
from ordain.serving.server.codec.tensors import Arrays
from ordain.serving.server.errors import invalid
from ordain.serving.server.grpc.common import GrpcRequest, handler
from ordain.serving.server.models.routing import ServedVersion
from ordain.serving.server.service import Service

PROTOCOL = "grpc_tfserving"


def add_services(server: grpc.aio.Server, service: Service) -> None:
    """Adds both services to a gRPC server."""
    prediction = prediction_service_pb2_grpc.PredictionServiceServicer()
    for name, method in (
        ("Predict", _predict),
        ("Classify", _classify),
        ("Regress", _regress),
        ("GetModelMetadata", _metadata),
    ):
        setattr(prediction, name, handler(service, PROTOCOL, name, method))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(prediction, server)
    models = model_service_pb2_grpc.ModelServiceServicer()
    models.GetModelStatus = handler(service, PROTOCOL, "GetModelStatus", _status)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(models, server)


async def _predict(message: Any, request: GrpcRequest) -> Any:
    with _lease(message.model_spec, request, request.request_id) as served:
        name = message.model_spec.signature_name or DEFAULT_SIGNATURE
        given = {n: decode_proto(proto, n) for n, proto in message.inputs.items()}
        outputs = await request.service.call(served, name, given, request.timeout_s)
        wanted = list(message.output_filter) or sorted(outputs)
        unknown = [output for output in wanted if output not in outputs]
        if unknown:
            raise invalid(f"output_filter: there is no output {unknown[0]!r}")
        response = predict_pb2.PredictResponse()
        for output in wanted:
            response.outputs[output].CopyFrom(encode_proto(outputs[output]))
        _fill_spec(response.model_spec, message.model_spec, served)
        return response


async def _classify(message: Any, request: GrpcRequest) -> Any:
    response = classification_pb2.ClassificationResponse()
    outputs = await _call_examples(message, request, "classify", response.model_spec)
    for row in examples.classes_of(outputs):
        classes = response.result.classifications.add()
        for label, score in row:
            classes.classes.add(label=label, score=score)
    return response


async def _regress(message: Any, request: GrpcRequest) -> Any:
    response = regression_pb2.RegressionResponse()
    outputs = await _call_examples(message, request, "regress", response.model_spec)
    for value in examples.values_of(outputs):
        response.result.regressions.add(value=value)
    return response


async def _call_examples(
    message: Any, request: GrpcRequest, method: str, filled: model_pb2.ModelSpec
) -> Arrays:
    name = message.model_spec.signature_name or DEFAULT_SIGNATURE
    with _lease(message.model_spec, request, request.request_id) as served:
        signature = served.model.signature(name)
        inputs = examples.examples_input(signature, method, _serialize(message.input))
        _fill_spec(filled, message.model_spec, served)
        return await request.service.call(served, name, inputs, request.timeout_s)


def _serialize(given: input_pb2.Input) -> list[bytes]:
    kind = given.WhichOneof("kind")
    if kind is None:
        raise invalid("Input is empty.")
    found = getattr(given, kind)
    context = found.context if kind == "example_list_with_context" else None
    try:
        # Converted to TensorFlow's own Python class of the message, which `merge` needs.
        copies = [tf.train.Example.FromString(e.SerializeToString()) for e in found.examples]
    except DecodeError as error:
        raise invalid(f"invalid tf.Example: {error}") from None
    if not copies:
        raise invalid("Input is empty.")
    return [examples.merge(example, context) for example in copies]


async def _metadata(message: Any, request: GrpcRequest) -> Any:
    if list(message.metadata_field) != ["signature_def"]:
        raise invalid("metadata_field must be ['signature_def']")
    with _lease(message.model_spec, request) as served:
        definitions = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in served.model.signature_defs.items():
            definitions.signature_def[name].CopyFrom(definition)
        packed = any_pb2.Any()
        packed.Pack(definitions)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].CopyFrom(packed)
        response.model_spec.name = message.model_spec.name
        response.model_spec.version.value = served.version
        return response


async def _status(message: Any, request: GrpcRequest) -> Any:
    spec = message.model_spec
    name, version = request.set_model(spec.name), _version(spec)
    response = get_model_status_pb2.GetModelStatusResponse()
    states = get_model_status_pb2.ModelVersionStatus.State
    for found in request.service.status(name, version, spec.version_label):
        status = response.model_version_status.add()
        status.version = found.version
        status.state = states.Value(found.state.value)
        status.status.error_code = found.code.number
        status.status.error_message = found.message
    return response


def _lease(
    spec: model_pb2.ModelSpec, request: GrpcRequest, request_id: str | None = None
) -> contextlib.AbstractContextManager[ServedVersion]:
    if not spec.name:
        raise invalid("Missing ModelSpec")
    return request.lease(spec.name, _version(spec), spec.version_label, request_id)


def _version(spec: model_pb2.ModelSpec) -> int | None:
    return spec.version.value if spec.WhichOneof("version_choice") == "version" else None


def _fill_spec(spec: Any, wanted: Any, served: ServedVersion) -> None:
    spec.name = wanted.name
    spec.version.value = served.version
    spec.signature_name = wanted.signature_name or DEFAULT_SIGNATURE
