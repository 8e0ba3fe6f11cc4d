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
        version: The version; None if the pattern has none.
        path: The path.
        texts: The path's text for `SPAN`, `VERSION`, `YYYY`, ...
        is_data: True for a file that ExampleGen reads.
    """

    span: int
    version: int | None
    path: Path
    texts: dict[str, str]
    is_data: bool


def match_paths(data: Data) -> Iterator[Match]:
    """Yields the paths in the data folder that match the pattern, also files that are not data.

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
        version = int(texts["VERSION"]) if "VERSION" in texts else None
        yield Match(number, version, path, texts, is_data)


def newest_versions(data: Data) -> Iterator[tuple[int, list[Match]]]:
    """Yields each span's number and the matches at its highest version with data, oldest first.

    Raises:
        ConfigError: The folder does not exist, or a path holds no valid date.
    """
    found: dict[int, dict[int | None, list[Match]]] = {}
    for match in match_paths(data):
        found.setdefault(match.span, {}).setdefault(match.version, []).append(match)
    for span in sorted(found):
        versions = [v for v, matches in found[span].items() if any(m.is_data for m in matches)]
        if versions:
            # A pattern with versions gives every match one.
            yield span, found[span][max(versions, key=lambda version: version or 0)]


def find_spans(data: Data) -> list[Span]:
    """Lists the spans in the data folder, oldest first, each at its highest version.

    Raises:
        ConfigError: The folder does not exist, or no file matches the pattern.
    """
    spans = []
    for number, matches in newest_versions(data):
        files = tuple(match.path for match in matches if match.is_data)
        size = sum(file.stat().st_size for file in files)
        spans.append(Span(number, matches[0].version, files, size))
    if not spans:
        raise ConfigError(
            f"data.pattern: no file in {data.path} matches {data.pattern!r}",
            "check data.path and data.pattern in pipeline.yaml",
        )
    return spans


def select_window(spans: list[Span], window: int, newest: int | None = None) -> list[Span]:
    """Returns the last `window` spans up to `newest` (by default the last), oldest first.

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
            raise ConfigError(f"{path}: not a valid date by data.pattern: {error}") from error
        return (day - _EPOCH).days
    return int(groups.get("SPAN") or 0)
