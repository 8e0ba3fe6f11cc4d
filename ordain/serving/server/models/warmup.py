"""Warm-up of a version before it takes requests.

TensorFlow prepares a function at its first call, which takes up to seconds. A version is warmed
with the requests published beside it (`assets.extra/tf_serving_warmup_requests`, which TensorFlow
Serving replays too), and with a row of zeros for each signature they do not call.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from ordain.common.atomic_files import read_plain
from ordain.errors import InfrastructureError
from ordain.serving.export.description import WARMUP_FILE
from ordain.serving.server.codec.predict_json import DEFAULT_SIGNATURE
from ordain.serving.server.codec.tensor_protos import decode_proto
from ordain.serving.server.codec.tensors import Arrays, Signature, TensorSpec
from ordain.serving.server.errors import RequestError
from ordain.serving.server.models.loaded_model import LoadedModel

#: TensorFlow Serving's limit on the requests in the file.
MAX_REQUESTS = 1000
MAX_BYTES = 64_000_000

log = logging.getLogger("ordain.serve")


def warm_up(model: LoadedModel, folder: Path) -> int:
    """Calls each signature at least once.

    Returns:
        How many calls succeeded.
    """
    succeeded = 0
    called = set()
    for name, inputs in _recorded(folder):
        if name in model.signatures and _call(model, name, inputs):
            called.add(name)
            succeeded += 1
    for name, signature in model.signatures.items():
        # The model may reject a row of zeros; its first real request is slower then.
        if name not in called and _call(model, name, _zeros(signature)):
            succeeded += 1
    return succeeded


def _call(model: LoadedModel, name: str, inputs: Arrays) -> bool:
    try:
        complete, _ = model.signature(name).complete(inputs)
        model.run(name, complete)
    except RequestError as error:
        log.debug("warm-up of version %d, %s: %s", model.version, name, error.message)
        return False
    return True


def _recorded(folder: Path) -> Iterator[tuple[str, Arrays]]:
    path = folder / WARMUP_FILE
    try:
        for record in islice(_records(read_plain(folder, WARMUP_FILE, MAX_BYTES)), MAX_REQUESTS):
            entry = prediction_log_pb2.PredictionLog.FromString(record)
            if entry.WhichOneof("log_type") == "predict_log":
                request = entry.predict_log.request
                name = request.model_spec.signature_name or DEFAULT_SIGNATURE
                yield name, {n: decode_proto(p, n) for n, p in request.inputs.items()}
    except FileNotFoundError:
        return
    except (ValueError, InfrastructureError, DecodeError, RequestError) as error:
        log.warning("%s cannot be replayed: %s", path, str(error).partition("\n")[0])


def _records(data: bytes) -> Iterator[bytes]:
    """Reads the records of a TFRecord file, without its checksums: the manifest has digests.

    TensorFlow's own reader trusts a record's length without comparing it to the file's size.
    """
    position = 0
    while position < len(data):
        # Length, checksum of the length, content, checksum of the content.
        begin = position + 12
        (size,) = struct.unpack_from("<Q", data, position) if begin <= len(data) else (-1,)
        if size < 0 or begin + size + 4 > len(data):
            raise ValueError("a record is longer than the file")
        yield data[begin : begin + size]
        position = begin + size + 4


def _zeros(signature: Signature) -> Arrays:
    return {n: _zero(spec) for n, spec in signature.inputs.items() if spec.default is None}


def _zero(spec: TensorSpec) -> np.ndarray:
    shape = tuple(max(size, 1) if size != -1 else 1 for size in spec.shape or (1,))
    if spec.type.is_string:
        # An empty string is also a serialized tf.Example without features.
        return np.full(shape, b"", dtype=object)
    return np.zeros(shape, dtype=spec.type.numpy)
