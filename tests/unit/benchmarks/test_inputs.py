"""The peers' CSV: the rows that ordain takes, and the split that ordain makes."""

import csv
import datetime
from pathlib import Path

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


def test_csv_holds_the_labelled_rows_of_the_newest_months(tmp_path: Path) -> None:
    path = tmp_path / "flights.csv"
    inputs.write_csv(inputs.read_flights(FLIGHTS, 2), path)

    with path.open(encoding="utf-8", newline="") as file:
        header = file.readline().rstrip("\n")
        written = list(csv.DictReader(file, fieldnames=header.split(",")))
    assert header == COLUMNS
    expected = []
    for month in ("201311", "201312"):
        table = pq.read_table(FLIGHTS / month / "flights.parquet")
        expected += table.filter(pc.is_valid(table["late"])).to_pylist()
    assert len(written) == len(expected) == 26_971 + 27_020
    for row, original in zip(written, expected, strict=True):
        for name, value in original.items():
            if value is None:
                assert row[name] == ""
            else:
                assert type(value)(row[name]) == pytest.approx(value, rel=1e-6)


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
    on_train_days = [is_train(day) for day in flights["date"].to_pylist()]
    assert rows == inputs.Rows(sum(on_train_days), len(on_train_days) - sum(on_train_days))


def test_days_are_split_as_ordain_splits_them() -> None:
    from components.arrow_types import FeatureType
    from components.example_writer import WriteShards, _feature_key

    writer = WriteShards("", [("train", 2), ("eval", 1)], "date", {"date": FeatureType.BYTES}, None)
    first = datetime.date(2013, 1, 1)
    days = [(first + datetime.timedelta(days=i)).isoformat() for i in range(365)]
    sides = [writer._side(_feature_key(day.encode())) == 0 for day in days]
    assert [is_train(day) for day in days] == sides
    assert 0 < sum(sides) < 365


def test_a_text_too_long_for_the_short_form_is_refused() -> None:
    with pytest.raises(ValueError, match="is no date"):
        is_train("x" * 126)
