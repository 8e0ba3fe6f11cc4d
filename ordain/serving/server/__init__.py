"""The model server: TF Serving's REST and gRPC, the Open Inference Protocol, hot reload."""
