"""Values of requests and answers, between JSON, protos and arrays."""
