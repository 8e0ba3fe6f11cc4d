"""The gRPC protocols of the model server."""
