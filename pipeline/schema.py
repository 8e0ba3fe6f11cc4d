"""The curated schema file beside a project: reading, comparing, without TensorFlow."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from contracts.errors import ConfigError


def read_schema(path: Path) -> schema_pb2.Schema:
    """Reads a `schema.pbtxt`.

    Raises:
        ConfigError: The file cannot be read or parsed; names the line.
    """
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), schema_pb2.Schema())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    except text_format.ParseError as error:
        raise ConfigError(f"{path}: not a schema in text form: {error}") from error


def feature_types(path: Path) -> dict[str, str]:
    """Type (`INT`, `FLOAT`, `BYTES`) by feature; empty if the schema is not frozen yet."""
    if not path.exists():
        return {}
    return {
        feature.name: schema_pb2.FeatureType.Name(feature.type)
        for feature in read_schema(path).feature
        if feature.type in (schema_pb2.INT, schema_pb2.FLOAT, schema_pb2.BYTES)
    }
