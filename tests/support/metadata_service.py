"""ML Metadata's gRPC service over a real store, on loopback: what metadata-grpc is in a cluster.

    metadata_service.py FILE

No registry has the server of ml-metadata as a program. Its service is a thin layer: each method
takes a request, hands it to the store's own method of that name, and returns the response.
"""

from __future__ import annotations

import sys
from concurrent import futures
from typing import Any

import grpc
import ml_metadata as mlmd
from ml_metadata import errors
from ml_metadata.proto import metadata_store_pb2 as pb
from ml_metadata.proto import metadata_store_service_pb2 as service

_NAME = "ml_metadata.MetadataStoreService"


class _Service(grpc.GenericRpcHandler):
    def __init__(self, store: Any) -> None:
        self._store = store
        described = service.DESCRIPTOR.services_by_name["MetadataStoreService"]
        self._methods = {method.name: method for method in described.methods}

    def service(self, details: Any) -> Any:
        method = self._methods.get(details.method.removeprefix(f"/{_NAME}/"))
        if method is None:
            return None
        asked, answered = (
            getattr(service, kind.name) for kind in (method.input_type, method.output_type)
        )

        def call(request: Any, context: Any) -> Any:
            response = answered()
            try:
                self._store._call(method.name, request, response)
            except errors.StatusError as error:
                codes = {code.value[0]: code for code in grpc.StatusCode}
                context.abort(codes[error.error_code], str(error))
            return response

        return grpc.unary_unary_rpc_method_handler(
            call,
            request_deserializer=asked.FromString,
            response_serializer=answered.SerializeToString,
        )


if __name__ == "__main__":
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = sys.argv[1]
    config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    # One thread: a SQLite file has one writer.
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    server.add_generic_rpc_handlers((_Service(mlmd.MetadataStore(config)),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()
