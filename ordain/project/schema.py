"""Reads, writes and compares the frozen schema, without TensorFlow."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from ordain.common.atomic_files import write_file
from ordain.errors import ConfigError


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


def write_schema(schema: schema_pb2.Schema, path: Path) -> None:
    """Writes a `schema.pbtxt` atomically.

    Raises:
        InfrastructureError: It cannot be written.
    """
    write_file(path, text_format.MessageToString(schema))


def compare(frozen: schema_pb2.Schema, proposed: schema_pb2.Schema) -> list[str]:
    """Lists the differences of two schemas by feature; empty if there are none.

    Returns:
        `+ feature x` for an added feature, `- feature x` for a removed one, and for a changed
        one a headline followed by the lines of its entry that differ.
    """
    before, after = _entries(frozen), _entries(proposed)
    lines: list[str] = []
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            lines.append(f"- {name}")
        elif name not in before:
            lines.append(f"+ {name}")
            lines += [f"    {line}" for line in after[name]]
        elif before[name] != after[name]:
            lines.append(f"~ {name}")
            changed = difflib.ndiff(before[name], after[name])
            lines += [f"    {line}" for line in changed if line[0] in "+-"]
    return lines


def deprecated(schema: schema_pb2.Schema) -> set[str]:
    """Features that stay in the schema and that `preprocessing_fn` does not receive."""
    return {f.name for f in schema.feature if f.lifecycle_stage == schema_pb2.DEPRECATED}


def describe_columns(schema: schema_pb2.Schema) -> list[str]:
    """Lists the columns that the model never or not always receives."""
    unused = deprecated(schema)
    optional = [
        f.name
        for f in schema.feature
        if not (f.presence.min_fraction or f.presence.min_count) and f.name not in unused
    ]
    return [
        *(f"  {name} is DEPRECATED: not passed to preprocessing_fn" for name in sorted(unused)),
        *(f"  {name} is optional: some split has no value" for name in sorted(optional)),
    ]


def restrict(
    frozen: schema_pb2.Schema, proposed: schema_pb2.Schema, names: Collection[str]
) -> schema_pb2.Schema:
    """The frozen schema with the named features and their domains replaced by the proposed."""
    result = schema_pb2.Schema()
    result.CopyFrom(frozen)
    wanted = {feature.name: feature for feature in proposed.feature if feature.name in names}
    kept = [wanted.pop(f.name, f) if f.name in names else f for f in frozen.feature]
    del result.feature[:]
    result.feature.extend([*kept, *wanted.values()])
    used = {f.domain for f in proposed.feature if f.name in names and f.HasField("domain")}
    domains = {d.name: d for d in frozen.string_domain}
    domains |= {d.name: d for d in proposed.string_domain if d.name in used}
    del result.string_domain[:]
    result.string_domain.extend(domains.values())
    return result


def _entries(schema: schema_pb2.Schema) -> dict[str, list[str]]:
    """The lines of each feature's entry, including its string domain."""
    domains = {domain.name: domain for domain in schema.string_domain}
    entries = {}
    for feature in schema.feature:
        text = text_format.MessageToString(feature)
        if feature.HasField("domain") and feature.domain in domains:
            text += text_format.MessageToString(domains[feature.domain])
        entries[f"feature {feature.name}"] = text.splitlines()
    return entries
