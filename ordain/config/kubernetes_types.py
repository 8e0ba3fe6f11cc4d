"""Types of keys that follow Kubernetes' syntax of names, labels, quantities and images.

A value of these types is valid for a cluster. Sources: Kubernetes' "Object Names and IDs",
"Labels and Selectors" and "Quantity"; for images the grammar of distribution/reference.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from ordain.config.base import Shown

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_SUBDOMAIN = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
_HOST = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*"
_FOLDERS = r"(/[A-Za-z0-9._@+-]+)"
#: Factors of a quantity's suffix. Neither `K`, which only the SDK accepts, nor `k`, which only
#: Kubernetes accepts.
_UNITS = {"": 1} | {unit: 1000**n for n, unit in enumerate(("M", "G", "T", "P", "E"), 2)}
_UNITS |= {unit: 1024**n for n, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)}


def _syntax(pattern: str, allowed: str) -> AfterValidator:
    """A validator of a text's syntax; `allowed` describes it for the error."""

    def check(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise ValueError(f"must be {allowed}")
        return value

    return AfterValidator(check)


def _is_normal(path: str) -> str:
    if {".", ".."} & set(path.split("/")):
        raise ValueError("must be a path without '.' and '..'")
    return path


def as_text(value: object) -> object:
    """Converts a number to text: YAML reads `cpu: 2` as a number."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return str(value) if is_number else value


Name = Annotated[
    str,
    Shown("name"),
    Field(max_length=253),
    _syntax(_SUBDOMAIN, "a Kubernetes name: lower-case letters, digits, '-' and '.'"),
]
Namespace = Annotated[
    str,
    Shown("name without `.`, at most 63"),
    _syntax(
        r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "lower-case letters, digits and '-', at most 63"
    ),
]
LabelKey = Annotated[
    str,
    Shown("label"),
    Field(max_length=317),
    _syntax(
        rf"({_SUBDOMAIN}/)?{_LABEL}",
        "a label's key: letters, digits, '-', '_' and '.', at most 63, such as team or "
        "example.org/team",
    ),
]
LabelValue = Annotated[
    str,
    Shown("value"),
    BeforeValidator(as_text),
    _syntax(rf"({_LABEL})?", "a label's value: letters, digits, '-', '_' and '.', at most 63"),
]
ResourceName = Annotated[
    str,
    Shown("resource"),
    Field(max_length=317),
    _syntax(rf"{_SUBDOMAIN}/{_LABEL}", "a resource's name, such as nvidia.com/gpu"),
]
EnvName = Annotated[
    str,
    Shown("variable"),
    Field(max_length=128),
    _syntax(r"[A-Za-z_][A-Za-z0-9_]*", "a variable's name: letters, digits and '_'"),
]
#: `[host[:port]/]name[:tag][@digest]`, as container runtimes read it.
Image = Annotated[
    str,
    Shown("image"),
    Field(max_length=512),
    _syntax(
        rf"({_HOST}(:[0-9]+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*"
        r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?",
        "an image, such as registry.example.org/team/flights:1.4",
    ),
]
#: An absolute path inside a container.
PodPath = Annotated[
    str,
    Shown("absolute path"),
    Field(max_length=1024),
    _syntax(rf"{_FOLDERS}+", "an absolute path of letters, digits and ._@+-"),
    AfterValidator(_is_normal),
]
#: Root of runs and artifacts.
Root = Annotated[
    str,
    Shown("absolute path on a volume, or `gs://bucket/folder`"),
    Field(max_length=1024),
    _syntax(
        rf"({_FOLDERS}+|gs://[a-z0-9][a-z0-9._-]{{1,220}}[a-z0-9]{_FOLDERS}*)",
        "an absolute path on a volume, or gs://bucket/folder",
    ),
    AfterValidator(_is_normal),
]
Cpu = Annotated[
    str,
    Shown("cores, such as `2`, `0.5`, `500m`"),
    BeforeValidator(as_text),
    Field(max_length=16),
    _syntax(r"[0-9]+(\.[0-9]{1,3})?|[0-9]+m", "cores, such as 2, 0.5 or 500m"),
]
Memory = Annotated[
    str,
    Shown("bytes, such as `4Gi`, `500M`"),
    BeforeValidator(as_text),
    Field(max_length=24),
    _syntax(
        r"[0-9]+([EPTGM]i?|Ki)?",
        "bytes: a whole number, alone or with Ki, M, Mi, G, Gi, T, Ti, P, Pi, E or Ei, such as 4Gi",
    ),
]


def quantity(text: str) -> float:
    """A CPU or memory quantity as a number: cores, or bytes."""
    if text.endswith("m"):
        return float(text[:-1]) / 1000
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text)
    assert found is not None  # noqa: S101  the syntax above holds
    return float(found[1]) * _UNITS[found[2]]
