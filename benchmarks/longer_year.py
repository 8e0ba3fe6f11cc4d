"""The flights with more rows: each month repeated with noise.

Every copy of a flight has its own weather and distance, moved by a hundredth of the column's
spread, so that no two rows are equal and vocabularies stay as they are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FLIGHTS = Path(__file__).resolve().parent.parent / "data" / "flights"
#: Of a column's standard deviation.
NOISE = 0.01
SEED = 2013


def repeat(table: pa.Table, times: int, generator: np.random.Generator) -> pa.Table:
    """A table so many times as long, with noise in its decimal numbers.

    Args:
        table: The rows.
        times: How often each comes.
        generator: Makes the noise.
    """
    longer = pa.concat_tables([table] * times)
    for place, field in enumerate(longer.schema):
        if not pa.types.is_floating(field.type):
            continue
        values = longer.column(place).to_numpy()
        spread = float(np.nanstd(values)) or 1.0
        moved = values + generator.normal(0.0, NOISE * spread, len(values))
        # NaN stands for null in `to_numpy`, and is one again here.
        column = pa.array(moved, field.type, from_pandas=True)
        longer = longer.set_column(place, field, column)
    return longer


def write_data(folder: Path, times: int) -> None:
    """Every month of the flights, so many times as long."""
    generator = np.random.default_rng(SEED)
    for source in sorted(FLIGHTS.glob("[0-9]*/*.parquet")):
        target = folder / source.parent.name / source.name
        target.parent.mkdir(parents=True)
        pq.write_table(repeat(pq.read_table(source), times, generator), target)
