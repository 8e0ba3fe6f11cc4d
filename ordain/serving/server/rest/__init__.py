"""The REST protocols of the model server."""
