"""The Open Inference Protocol v2 over gRPC: `inference.GRPCInferenceService`."""

from __future__ import annotations

import struct
from typing import Any

import grpc
import numpy as np

from ordain.serving.server.codec import v2 as inference
from ordain.serving.server.codec.tensors import Array, Arrays, ElementType, TensorSpec
from ordain.serving.server.errors import invalid
from ordain.serving.server.grpc.common import Call, Method, answer
from ordain.serving.server.protocol import open_inference_pb2 as messages
from ordain.serving.server.service import Service

PROTOCOL = "grpc_v2"
SERVICE = "inference.GRPCInferenceService"
#: The field of `InferTensorContents` that holds the elements of a type.
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

    The handlers are put together here and not by generated code, of which one module less is
    kept: the definition names each method's messages `<method>Request` and `<method>Response`.
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
            answer(service, PROTOCOL, name, method, is_free),
            request_deserializer=getattr(messages, f"{name}Request").FromString,
            response_serializer=getattr(messages, f"{name}Response").SerializeToString,
        )
        for name, (method, is_free) in methods.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


async def _live(request: Any, call: Call) -> Any:
    del request
    return messages.ServerLiveResponse(live=call.service.is_live)


async def _ready(request: Any, call: Call) -> Any:
    del request
    return messages.ServerReadyResponse(ready=call.service.is_ready)


async def _model_ready(request: Any, call: Call) -> Any:
    version = inference.parse_version(request.version)
    is_ready = call.service.is_model_ready(call.named(request.name), version)
    return messages.ModelReadyResponse(ready=is_ready)


async def _server_metadata(request: Any, call: Call) -> Any:
    del request, call
    return messages.ServerMetadataResponse(
        name=inference.SERVER, version=inference.server_version()
    )


async def _model_metadata(request: Any, call: Call) -> Any:
    version = inference.parse_version(request.version)
    with call.service.lease(call.named(request.name), version, request_id=None) as served:
        call.version = str(served.version)
        inputs, outputs = inference.described(served.model)
        return messages.ModelMetadataResponse(
            name=request.name,
            versions=[str(v) for v in call.service.versions],
            platform=inference.PLATFORM,
            inputs=[_describe(spec) for spec in inputs],
            outputs=[_describe(spec) for spec in outputs],
        )


async def _infer(request: Any, call: Call) -> Any:
    parameters = {
        key: getattr(value, value.WhichOneof("parameter_choice") or "string_param")
        for key, value in request.parameters.items()
    }
    signature, label = inference.parameters_of(parameters)
    version = inference.parse_version(request.model_version)
    given = _decode(request)
    name = call.named(request.model_name)
    with call.service.lease(name, version, label, call.request_id or request.id) as served:
        call.version = str(served.version)
        outputs = await call.service.call(served, signature, given, call.timeout_s)
        wanted = inference.select_outputs(outputs, [output.name for output in request.outputs])
        response = messages.ModelInferResponse(
            model_name=name, model_version=call.version, id=request.id
        )
        # As it was asked, so it is answered; a 16-bit float has no field of its own.
        is_raw = bool(request.raw_input_contents) or any(
            array.dtype == np.float16 for array in wanted.values()
        )
        for output, array in wanted.items():
            _encode(response, output, array, is_raw)
        return response


def _describe(spec: TensorSpec) -> Any:
    return messages.ModelMetadataResponse.TensorMetadata(
        name=spec.name, datatype=spec.type.v2, shape=inference.shape_of(spec)
    )


def _decode(request: Any) -> Arrays:
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise invalid(f"{len(raw)} raw contents for {len(request.inputs)} inputs")
    arrays: Arrays = {}
    for position, tensor in enumerate(request.inputs):
        name = tensor.name
        if not name or name in arrays:
            raise invalid(f"input {position} has no name, or one that another has")
        kind = inference.element_type(name, tensor.datatype)
        shape = inference.check_shape(name, list(tensor.shape))
        if raw:
            if tensor.HasField("contents"):
                raise invalid(f"input {name!r} has contents beside the raw ones")
            flat = decode_raw(name, raw[position], kind)
        else:
            flat = _decode_contents(name, tensor.contents, kind)
        arrays[name] = inference.fit(name, flat, shape)
    return arrays


def _decode_contents(name: str, contents: Any, kind: ElementType) -> Array:
    field = _FIELDS.get(kind.v2)
    if field is None:
        raise invalid(f"input {name!r}: {kind.v2} has to be sent as raw contents")
    given = [descriptor.name for descriptor, _ in contents.ListFields()]
    if any(other != field for other in given):
        raise invalid(f"input {name!r} is {kind.v2} and has its elements in {given[0]}")
    values = getattr(contents, field)
    if kind.is_string:
        array = np.empty(len(values), dtype=object)
        array[:] = list(values)
        return array
    try:
        return np.array(values, dtype=kind.numpy)
    except OverflowError:
        raise invalid(f"input {name!r} holds a value that {kind.v2} does not") from None


def decode_raw(name: str, data: bytes, kind: ElementType) -> Array:
    """Elements of raw contents: little-endian; a byte string is its length and its bytes.

    Raises:
        RequestError: The bytes do not divide into elements.
    """
    if not kind.is_string:
        if len(data) % kind.numpy.itemsize:
            raise invalid(f"input {name!r}: {len(data)} bytes are no whole number of {kind.v2}")
        return np.frombuffer(data, dtype=kind.numpy.newbyteorder("<")).astype(kind.numpy)
    items: list[bytes] = []
    position = 0
    while position < len(data):
        start = position + 4
        if start > len(data):
            raise invalid(f"input {name!r}: the last length is cut off")
        (size,) = struct.unpack_from("<I", data, position)
        position = start + size
        if position > len(data):
            raise invalid(f"input {name!r}: an element is longer than what is left")
        items.append(data[start:position])
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def encode_raw(array: Array) -> bytes:
    """Raw contents of an output, as `decode_raw` reads them."""
    if array.dtype != object:
        return array.astype(array.dtype.newbyteorder("<")).tobytes()
    items = [bytes(item) for item in array.ravel()]
    return b"".join(struct.pack("<I", len(item)) + item for item in items)


def _encode(response: Any, name: str, array: Array, is_raw: bool) -> None:
    datatype = inference.datatype_of(name, array)
    tensor = response.outputs.add(name=name, datatype=datatype, shape=list(array.shape))
    if is_raw:
        response.raw_output_contents.append(encode_raw(array))
        return
    getattr(tensor.contents, _FIELDS[datatype]).extend(array.ravel().tolist())
