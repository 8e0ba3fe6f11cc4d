"""Finds the spans in a data folder by TFX's pattern rules, without importing TFX.

A pattern such as `{SPAN}/v{VERSION}/*.parquet` or `{YYYY}-{MM}-{DD}/*.csv` names a span and
optionally a version; of a span's versions the highest counts. TFX's ExampleGen resolves one
span by the same rules (`tfx/components/example_gen/utils.py`); tests compare the two.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ordain.config.data import Data
from ordain.errors import ConfigError

_EPOCH = datetime.date(1970, 1, 1)
_SPEC = re.compile(r"\{(SPAN|VERSION)(?::(\d+))?\}|\{(YYYY|MM|DD)\}")
_DATE_WIDTH = {"YYYY": 4, "MM": 2, "DD": 2}


@dataclass(frozen=True)
class Span:
    """One span of the data: its number, its version if the pattern has one, its files."""

    number: int
    version: int | None
    files: tuple[Path, ...]
    size_bytes: int


@dataclass(frozen=True)
class Match:
    """A path that matches the pattern.

    Attributes:
        span: The span's number.
        version: The version, or -1 if the pattern has none.
        path: The path.
        texts: The path's text for `SPAN`, `VERSION`, `YYYY`, ...
        is_data: True for a file that ExampleGen reads.
    """

    span: int
    version: int
    path: Path
    texts: dict[str, str]
    is_data: bool


def match_paths(data: Data) -> Iterator[Match]:
    """Every path in the data folder that matches the pattern, also files that are not data.

    Raises:
        ConfigError: The folder does not exist, or a path holds no valid date.
    """
    if not data.path.is_dir():
        raise ConfigError(f"data.path: {data.path} is not a folder")
    matcher = _compile(data.pattern)
    # Specs side by side would become `**`, which is no part of a name to pathlib.
    wild = re.sub(r"\*{2,}", "*", _SPEC.sub("*", data.pattern))
    for path in sorted(data.path.glob(wild)):
        match = matcher.fullmatch(path.relative_to(data.path).as_posix())
        if match is None:
            continue
        is_data = not path.name.startswith((".", "_")) and path.is_file()
        texts = {name: text for name, text in match.groupdict().items() if text is not None}
        try:
            number = _span_number(match, path)
        except ConfigError:
            if is_data:
                raise
            continue
        yield Match(number, int(texts.get("VERSION") or -1), path, texts, is_data)


def find_spans(data: Data) -> list[Span]:
    """All spans in the data folder, oldest first, each at its highest version.

    Raises:
        ConfigError: The folder does not exist, or no file matches the pattern.
    """
    found: dict[int, dict[int, list[Path]]] = {}
    for match in match_paths(data):
        if match.is_data:
            found.setdefault(match.span, {}).setdefault(match.version, []).append(match.path)
    if not found:
        raise ConfigError(
            f"data.pattern: no file in {data.path} matches {data.pattern!r}",
            "check data.path and data.pattern in pipeline.yaml",
        )
    spans = []
    for number in sorted(found):
        version = max(found[number])
        files = tuple(found[number][version])
        size = sum(f.stat().st_size for f in files)
        spans.append(Span(number, version if version >= 0 else None, files, size))
    return spans


def select_window(spans: list[Span], window: int, newest: int | None = None) -> list[Span]:
    """The newest `window` spans, or those that end with span `newest`, oldest first.

    Raises:
        ConfigError: `newest` is not among the spans.
    """
    if newest is not None:
        if newest not in [s.number for s in spans]:
            have = ", ".join(str(s.number) for s in spans[-6:])
            raise ConfigError(f"--span {newest}: there is no such span", f"newest spans: {have}")
        spans = [s for s in spans if s.number <= newest]
    return spans[-window:]


def describe_span(number: int, data: Data) -> str:
    """A span's display name: a date if the pattern has dates, else its number."""
    if "{YYYY}" in data.pattern:
        return (_EPOCH + datetime.timedelta(days=number)).isoformat()
    return str(number)


def _compile(pattern: str) -> re.Pattern[str]:
    """The regular expression of a pattern.

    Without a width TFX looks for the plain number, so a zero-padded folder is not that span.
    """
    parts: list[str] = []
    position = 0
    for match in _SPEC.finditer(pattern):
        parts.append(_glob(pattern[position : match.start()]))
        name = match.group(1) or match.group(3)
        width = match.group(2) or _DATE_WIDTH.get(name)
        digits = rf"\d{{{width}}}" if width else r"0|[1-9]\d*"
        parts.append(f"(?P<{name}>{digits})")
        position = match.end()
    parts.append(_glob(pattern[position:]))
    return re.compile("".join(parts), re.ASCII)


def _glob(text: str) -> str:
    escaped = re.escape(text)
    return escaped.replace(r"\*", "[^/]*").replace(r"\?", "[^/]")


def _span_number(match: re.Match[str], path: Path) -> int:
    groups = match.groupdict()
    if "YYYY" in groups:
        try:
            day = datetime.date(int(groups["YYYY"]), int(groups["MM"]), int(groups["DD"]))
        except ValueError as error:
            raise ConfigError(f"{path}: the pattern reads no valid date there: {error}") from error
        return (day - _EPOCH).days
    return int(groups.get("SPAN") or 0)
