"""TFX components of our own, and our executors for TFX's."""

from typing import Any


def __getattr__(name: str) -> Any:
    """`components.GateVerdict`, the form of name that Vertex AI's containers import a type by."""
    if name == "GateVerdict":
        from components.artifacts import GateVerdict  # noqa: PLC0415  imports TFX

        return GateVerdict
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
