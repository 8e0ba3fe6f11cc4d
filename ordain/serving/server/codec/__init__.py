"""Converts values of requests and responses between JSON, protobuf and arrays."""
