"""Minimal REST and gRPC clients that send and receive bytes.

They need no TensorFlow, so that a trial does not import it twice.
"""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Callable, Iterator

import grpc

#: Sends a request's body and returns the response's; raises an error with the reason.
Send = Callable[[bytes], bytes]
_PREDICT = "/tensorflow.serving.PredictionService/Predict"


@contextlib.contextmanager
def rest_client(url: str, timeout_s: float) -> Iterator[Send]:
    """A client of TensorFlow Serving's REST API, over one connection.

    Args:
        url: Base URL of the server.
        timeout_s: Time limit of a request.
    """
    host = url.removeprefix("http://").rstrip("/")
    connection = http.client.HTTPConnection(host, timeout=timeout_s)

    def send(body: bytes) -> bytes:
        connection.request("POST", "/v1/models/candidate:predict", body)
        response = connection.getresponse()
        text = response.read()
        if response.status != 200:
            raise OSError(f"{response.status} {text[:300].decode(errors='replace')}")
        return text

    try:
        yield send
    finally:
        connection.close()


@contextlib.contextmanager
def grpc_client(address: str, timeout_s: float) -> Iterator[Send]:
    """A client of TensorFlow Serving's PredictionService, over one channel.

    Args:
        address: `host:port`.
        timeout_s: Time limit of a request.
    """
    options = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(address, options) as channel:
        # Passes serialized messages through: their classes would need TensorFlow.
        call = channel.unary_unary(_PREDICT, lambda raw: raw, lambda raw: raw)

        def send(body: bytes) -> bytes:
            try:
                return bytes(call(body, timeout=timeout_s))
            except grpc.RpcError as error:
                raise OSError(f"{error.code().name} {error.details()}") from error

        yield send
