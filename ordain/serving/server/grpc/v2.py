"""The Open Inference Protocol v2 over gRPC: `inference.GRPCInferenceService`."""

from __future__ import annotations

import struct
from functools import partial
from typing import Any

import grpc
import numpy as np

from ordain.serving.server.codec import v2 as inference
from ordain.serving.server.codec.tensors import Array, Arrays, ElementType, strings
from ordain.serving.server.errors import invalid
from ordain.serving.server.grpc.common import GrpcRequest, Method, handler
from ordain.serving.server.protocol import open_inference_pb2 as messages
from ordain.serving.server.service import Service

PROTOCOL = "grpc_v2"
SERVICE = "inference.GRPCInferenceService"
#: Field of `InferTensorContents` by datatype.
_FIELDS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def add_services(server: grpc.aio.Server, service: Service) -> None:
    """Adds the service to a gRPC server.

    No generated service module is needed: each method's messages are named `<method>Request` and
    `<method>Response`.
    """
    methods: dict[str, tuple[Method, bool]] = {
        "ServerLive": (_live, True),
        "ServerReady": (_ready, True),
        "ModelReady": (_model_ready, True),
        "ServerMetadata": (_server_metadata, False),
        "ModelMetadata": (_model_metadata, False),
        "ModelInfer": (_infer, False),
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            handler(service, PROTOCOL, name, method, is_public),
            request_deserializer=getattr(messages, f"{name}Request").FromString,
            response_serializer=getattr(messages, f"{name}Response").SerializeToString,
        )
        for name, (method, is_public) in methods.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


async def _live(message: Any, request: GrpcRequest) -> Any:
    del message
    return messages.ServerLiveResponse(live=request.service.is_live)


async def _ready(message: Any, request: GrpcRequest) -> Any:
    del message
    return messages.ServerReadyResponse(ready=request.service.is_ready)


async def _model_ready(message: Any, request: GrpcRequest) -> Any:
    version = inference.parse_version(message.version)
    is_ready = request.service.is_model_ready(request.set_model(message.name), version)
    return messages.ModelReadyResponse(ready=is_ready)


async def _server_metadata(message: Any, request: GrpcRequest) -> Any:
    del message, request
    return messages.ServerMetadataResponse(**inference.server_metadata())


async def _model_metadata(message: Any, request: GrpcRequest) -> Any:
    version = inference.parse_version(message.version)
    with request.lease(message.name, version) as served:
        document = inference.model_metadata(message.name, request.service.versions, served.model)
        return messages.ModelMetadataResponse(**document)


async def _infer(message: Any, request: GrpcRequest) -> Any:
    parameters = {
        key: getattr(value, value.WhichOneof("parameter_choice") or "string_param")
        for key, value in message.parameters.items()
    }
    signature, label = inference.parameters_of(parameters)
    version = inference.parse_version(message.model_version)
    given = _decode(message)
    name, request_id = message.model_name, request.request_id or message.id
    with request.lease(name, version, label, request_id) as served:
        outputs = await request.service.call(served, signature, given, request.timeout_s)
        wanted = inference.select_outputs(outputs, [output.name for output in message.outputs])
        response = messages.ModelInferResponse(
            model_name=name, model_version=request.version, id=message.id
        )
        # Raw inputs get raw outputs; float16 has no field of its own and is always raw.
        is_raw = bool(message.raw_input_contents) or any(
            array.dtype == np.float16 for array in wanted.values()
        )
        for output, array in wanted.items():
            _encode(response, output, array, is_raw)
        return response


def _decode(message: Any) -> Arrays:
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise invalid(f"{len(raw)} raw contents for {len(message.inputs)} inputs")
    arrays: Arrays = {}
    for position, tensor in enumerate(message.inputs):
        if not tensor.name:
            raise invalid(f"input {position} has no name")
        if raw and tensor.HasField("contents"):
            raise invalid(f"input {tensor.name!r} has both contents and raw contents")
        decode = (
            partial(_decode_raw, tensor.name, raw[position])
            if raw
            else partial(_decode_contents, tensor.name, tensor.contents)
        )
        inference.add_input(arrays, tensor.name, tensor.datatype, list(tensor.shape), decode)
    return arrays


def _decode_contents(name: str, contents: Any, kind: ElementType) -> Array:
    field = _FIELDS.get(kind.v2)
    if field is None:
        raise invalid(f"input {name!r}: {kind.v2} must be sent as raw contents")
    given = [descriptor.name for descriptor, _ in contents.ListFields()]
    if any(other != field for other in given):
        raise invalid(f"input {name!r}: {kind.v2} elements belong in {field}, not in {given[0]}")
    values = getattr(contents, field)
    if kind.is_string:
        return strings(values)
    try:
        return np.array(values, dtype=kind.numpy)
    except OverflowError:
        raise invalid(f"input {name!r} holds a value out of range for {kind.v2}") from None


def _decode_raw(name: str, data: bytes, kind: ElementType) -> Array:
    """Decodes raw contents: little-endian elements; a byte string follows its 4-byte length."""
    if not kind.is_string:
        if len(data) % kind.numpy.itemsize:
            raise invalid(
                f"input {name!r}: {len(data)} bytes are not a whole number of {kind.v2} elements"
            )
        return np.frombuffer(data, dtype=kind.numpy.newbyteorder("<")).astype(kind.numpy)
    items: list[bytes] = []
    position = 0
    while position < len(data):
        start = position + 4
        if start > len(data):
            raise invalid(f"input {name!r}: the last length is truncated")
        (size,) = struct.unpack_from("<I", data, position)
        position = start + size
        if position > len(data):
            raise invalid(f"input {name!r}: an element exceeds the remaining bytes")
        items.append(data[start:position])
    return strings(items)


def _encode_raw(array: Array) -> bytes:
    """Encodes an output as raw contents, see `_decode_raw`."""
    if array.dtype != object:
        return array.astype(array.dtype.newbyteorder("<")).tobytes()
    items = [bytes(item) for item in array.ravel()]
    return b"".join(struct.pack("<I", len(item)) + item for item in items)


def _encode(response: Any, name: str, array: Array, is_raw: bool) -> None:
    datatype = inference.datatype_of(name, array)
    tensor = response.outputs.add(name=name, datatype=datatype, shape=list(array.shape))
    if is_raw:
        response.raw_output_contents.append(_encode_raw(array))
        return
    getattr(tensor.contents, _FIELDS[datatype]).extend(array.ravel().tolist())
