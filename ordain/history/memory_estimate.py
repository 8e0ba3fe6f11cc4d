"""Estimates the memory that a run needs, and reads the memory that this machine has.

The first source that exists is used:

1. the newest run of this project that trained and was measured: its memory beyond the imported
   libraries, scaled by the number of rows; unscaled if there are up to half fewer rows, because
   buffers and batches keep their size;
2. constants that were measured on the flights project, by rows and columns.

It is an estimate, not a limit: the size of a model or of a shuffle buffer is known only after the
first run.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ordain.common.memory import read_memory
from ordain.common.node_id import NodeId
from ordain.config.project import Project
from ordain.project.spans import Span

#: TensorFlow, TFX and Beam imported, before the first row.
LIBRARIES_BYTES = 1_000_000_000
#: The trial server, its driver, and memory that the run still has from the training.
SERVER_BYTES = 1_050_000_000
#: Before that: flights, 336,776 rows of 23 columns with a shuffle buffer of 250,000.
BYTES_PER_CELL = 100
#: Run folders that are read, newest first.
_RUNS = 20
_SAMPLE_BYTES = 65_536


@dataclass(frozen=True)
class MemoryEstimate:
    """Estimated memory of a run.

    Attributes:
        needed_bytes: Resident memory of the run and its children, at its peak.
        available_bytes: Available memory of the machine or the container.
        total_bytes: Its memory.
        rows: Rows of the window: exact for Parquet, estimated from a sample for CSV, None for
            TFRecord.
        columns: Columns, or None.
        measured_in: The past run that was measured; None if constants were used.
    """

    needed_bytes: int
    available_bytes: int
    total_bytes: int
    rows: int | None
    columns: int | None
    measured_in: str | None

    @property
    def is_enough(self) -> bool:
        """True if the free memory is enough."""
        return self.needed_bytes <= self.available_bytes

    @property
    def text(self) -> str:
        """A line for the console."""
        rows = "rows unknown" if self.rows is None else f"{self.rows:,} rows"
        if self.measured_in is not None:
            why = f"{rows}; measured in run {self.measured_in}"
        else:
            why = (
                f"{rows}; nothing measured yet"
                if self.columns is None
                else (f"{rows} of {self.columns} columns; nothing measured yet")
            )
        left = f"{self.available_bytes / 1e9:.1f} of {self.total_bytes / 1e9:.1f} GB"
        return f"about {self.needed_bytes / 1e9:.1f} GB ({why}); {left} are free"


def estimate_memory(project: Project, window: Iterable[Span]) -> MemoryEstimate:
    """Estimates the memory of a run over a window.

    Args:
        project: The project.
        window: Its spans.
    """
    rows, columns = _size(project, [path for span in window for path in span.files])
    memory = read_memory()
    past = measured_run(project)
    if past is not None:
        run_id, peak, past_rows = past
        needed = scaled(peak, past_rows, rows if rows is not None else past_rows)
    else:
        run_id = None
        serving = SERVER_BYTES if project.gate.server.none is None else 0
        cells = (rows or 0) * (columns or 0)
        needed = LIBRARIES_BYTES + max(serving, cells * BYTES_PER_CELL)
    return MemoryEstimate(needed, memory.available_bytes, memory.total_bytes, rows, columns, run_id)


def scaled(peak_bytes: int, past_rows: int, rows: int) -> int:
    """Scales the memory of a past run to another number of rows.

    Args:
        peak_bytes: Its peak memory.
        past_rows: Its rows.
        rows: The number of rows now.
    """
    fixed = min(peak_bytes, LIBRARIES_BYTES)
    share = rows / past_rows
    if 0.5 <= share <= 1:
        return peak_bytes
    return round(fixed + (peak_bytes - fixed) * share)


def measured_run(project: Project) -> tuple[str, int, int] | None:
    """The newest run that trained: its id, memory in bytes, and rows of its window."""
    folders = sorted(project.runs.glob("*/result.json"), reverse=True)
    for path in folders[:_RUNS]:
        try:
            result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            nodes = {node["node"]: node for node in result["nodes"]}
            rows, peak = nodes[NodeId.EXAMPLE_GEN]["rows"], result["peak_rss_bytes"]
            has_trained = nodes[NodeId.TRAINER]["state"] == "complete" and result["failure"] is None
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if has_trained and rows and peak:
            return path.parent.name, int(peak), int(rows)
    return None


def _size(project: Project, files: list[Path]) -> tuple[int | None, int | None]:
    """Rows and columns of the files; None if they cannot be determined."""
    kind = project.data.format
    rows, columns = 0, 0
    for path in files:
        name = path.name
        if kind == "parquet" or (kind is None and name.endswith((".parquet", ".pq"))):
            found = _parquet_size(path)
        elif kind == "csv" or (kind is None and name.endswith((".csv", ".csv.gz"))):
            found = _csv_size(path)
        else:
            return None, None
        if found is None:
            return None, None
        rows, columns = rows + found[0], max(columns, found[1])
    return rows, columns


def _parquet_size(path: Path) -> tuple[int, int] | None:
    import pyarrow as pa  # noqa: PLC0415  only this needs it, and not every project is Parquet
    from pyarrow import parquet  # noqa: PLC0415

    try:
        footer = parquet.read_metadata(path)
    except (OSError, pa.ArrowException):  # ExampleGen reports what is wrong with it
        return None
    return footer.num_rows, footer.num_columns


def _csv_size(path: Path) -> tuple[int, int] | None:
    """Rows and columns, from the beginning of the file: quoted line breaks count as rows."""
    try:
        with path.open("rb") as file:
            read = file.read(_SAMPLE_BYTES)
        total = path.stat().st_size
    except OSError:
        return None
    sample = read
    if path.name.endswith(".gz"):
        try:
            sample = zlib.decompressobj(wbits=31).decompress(read)
        except zlib.error:
            return None
    lines = sample.count(b"\n")
    if not lines:
        return None
    return max(0, round(lines * total / len(read)) - 1), sample.partition(b"\n")[0].count(b",") + 1
