"""The peers' CSV: the rows that ordain takes, and the split that ordain makes."""

import csv
import datetime
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmarks import inputs
from benchmarks.peers.day_split import is_train

FLIGHTS = Path(__file__).resolve().parents[3] / "data" / "flights"
# The columns of the peers' flights_csv.py, in its order, and the one the split is made by.
COLUMNS = (
    "month,day,weekday,hour,minute,carrier,origin,dest,distance,temp,dewp,humid,wind_dir,"
    "wind_speed,precip,pressure,visib,plane_year,seats,engine,manufacturer,late,date"
)
DECIMALS = (
    *("temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib"),
    *("plane_year", "seats"),
)


def test_csv_holds_the_labelled_rows_of_the_newest_month(tmp_path: Path) -> None:
    path = tmp_path / "flights.csv"
    inputs.write_csv(inputs.read_flights(FLIGHTS, 1), path)

    with path.open(encoding="utf-8", newline="") as file:
        header, *written = csv.reader(file)
    assert header == COLUMNS.split(",")
    december = pq.read_table(FLIGHTS / "201312" / "flights.parquet")
    expected = december.filter(pc.is_valid(december["late"]))
    assert len(written) == expected.num_rows == 27_020
    for name, texts in zip(header, zip(*written, strict=True), strict=True):
        column = expected[name].combine_chunks()
        parse = {pa.int64(): int, pa.float32(): float, pa.string(): str}[column.type]
        values = [parse(text) if text else None for text in texts]
        assert pa.array(values, column.type).equals(column), name


def test_whole_decimals_keep_their_point(tmp_path: Path) -> None:
    path = tmp_path / "flights.csv"
    inputs.write_csv(inputs.read_flights(FLIGHTS, 1), path)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            assert all("." in row[name] for name in DECIMALS if row[name]), row


def test_more_months_than_there_are_is_refused() -> None:
    with pytest.raises(FileNotFoundError, match="holds 12 monthly spans, 13 are wanted"):
        inputs.read_flights(FLIGHTS, 13)


def test_rows_by_side() -> None:
    flights = inputs.read_flights(FLIGHTS, 12)
    rows = inputs.count_rows(flights)
    assert rows.total == flights.num_rows == 327_346
    by_day = Counter(flights["date"].to_pylist())
    assert rows.train == sum(count for day, count in by_day.items() if is_train(day))


def test_months_are_the_newest() -> None:
    flights = inputs.read_flights(FLIGHTS, 2)
    assert flights.num_rows == 26_971 + 27_020
    assert set(flights["month"].to_pylist()) == {11, 12}


def test_days_are_split_as_ordain_splits_them() -> None:
    from ordain.common.commit import Staging
    from ordain.common.files import LocalFiles
    from ordain.components.examples.arrow_types import FeatureType
    from ordain.components.examples.writer import WriteShards, _feature_key

    staging, splits = Staging("", LocalFiles()), [("train", 2), ("eval", 1)]
    writer = WriteShards(staging, splits, "date", {"date": FeatureType.BYTES}, None)
    first = datetime.date(2013, 1, 1)
    days = [(first + datetime.timedelta(days=i)).isoformat() for i in range(365)]
    sides = [writer._side(_feature_key(day.encode())) == 0 for day in days]
    assert [is_train(day) for day in days] == sides
    assert 0 < sum(sides) < 365


def test_a_text_too_long_for_the_short_form_is_refused() -> None:
    with pytest.raises(ValueError, match="is no date"):
        is_train("x" * 126)
