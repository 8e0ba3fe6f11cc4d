"""Messages of the Open Inference Protocol: the definition, and what protoc made of it."""
