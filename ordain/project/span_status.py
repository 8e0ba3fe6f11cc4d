"""State of the data folder: each span at its highest version, and whether it is complete.

Fingerprints of spans are those of TFX's ExampleGen (number of files, size, modification times), so
that they can be compared with the fingerprint of the examples in ML Metadata.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ordain.config.data import Data
from ordain.config.schedule import Complete
from ordain.project.spans import Match, newest_versions

#: Name that TFX gives the one split of an input configuration without splits.
_SPLIT = "single_split"
_SPEC = re.compile(r"\{(SPAN|VERSION|YYYY|MM|DD)(?::\d+)?\}")


@dataclass(frozen=True)
class Delivery:
    """A span's files at its highest version.

    Attributes:
        span: The span's number.
        version: Its version, or None if the pattern has none.
        fingerprint: As TFX's ExampleGen computes it.
        modified: When the content of its newest file changed, in seconds since 1970.
        changed: Last change by the file system's clock, including renamed, copied and removed
            files, in seconds since 1970.
        missing: The condition of a complete span that does not hold; empty if all hold.
    """

    span: int
    version: int | None
    fingerprint: str
    modified: float
    changed: float
    missing: str = ""


def find_deliveries(data: Data, complete: Complete) -> list[Delivery]:
    """Lists the deliveries in the data folder, oldest span first.

    Args:
        data: Where the data is.
        complete: Conditions of a complete span, except `age_minutes`, which the retraining
            decision checks.

    Raises:
        ConfigError: The folder does not exist, or a path holds no valid date.
    """
    found = (_deliver(data, complete, *span) for span in newest_versions(data))
    return [delivery for delivery in found if delivery is not None]


def _deliver(data: Data, complete: Complete, span: int, matches: list[Match]) -> Delivery | None:
    try:
        states = [(m, m.path.stat()) for m in matches]
        # A removed file changes the time of its folder only. A folder that spans share does not
        # show which of them changed.
        folders = {m.path.parent for m in matches} if _has_own_folder(data.pattern) else set()
        traces = [folder.stat().st_ctime for folder in folders]
    except FileNotFoundError:  # a file is being replaced
        return None
    return Delivery(
        span=span,
        version=matches[0].version,
        fingerprint=fingerprint_of(state for _, state in states),
        modified=max(state.st_mtime for m, state in states if m.is_data),
        changed=max([*traces, *(state.st_ctime for _, state in states)]),
        missing=_missing(complete, [m for m in matches if m.is_data]),
    )


def fingerprint_of(states: Iterable[os.stat_result]) -> str:
    """The fingerprint of files, by `tfx.utils.io_utils.generate_fingerprint`."""
    count = size = total = mixed = 0
    for state in states:
        seconds = int(state.st_mtime)
        count, size = count + 1, size + state.st_size
        total, mixed = total + seconds, mixed ^ seconds
    return (
        f"split:{_SPLIT},num_files:{count},total_bytes:{size},"
        f"xor_checksum:{mixed},sum_checksum:{total}"
    )


def _has_own_folder(pattern: str) -> bool:
    """True if no other span has files in the folder of a span's files."""
    return _SPEC.search(pattern.rpartition("/")[2]) is None and _SPEC.search(pattern) is not None


def _missing(complete: Complete, files: list[Match]) -> str:
    """The condition of a complete span that does not hold; empty if all hold."""
    folders = sorted({m.path.parent for m in files})
    if complete.unfinished is not None:
        wanted = _fill(complete.unfinished, files[0].texts)
        for folder in folders:
            for name in _names(folder):
                if fnmatch.fnmatchcase(name, wanted):
                    return f"{folder / name} is still being written"
    if complete.marker is not None:
        wanted = _fill(complete.marker, files[0].texts)
        for folder in folders:
            if not any(fnmatch.fnmatchcase(name, wanted) for name in _names(folder)):
                return f"there is no {folder / wanted}"
    return ""


def _fill(name: str, texts: Mapping[str, str]) -> str:
    """Replaces `{SPAN}` and the like in a name by their text in the paths of this span."""
    return _SPEC.sub(lambda spec: texts.get(spec[1], spec[0]), name)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except FileNotFoundError:
        return []
