"""A year of scheduled retraining on the flights, with everything that may go wrong in one.

    python -m benchmarks.replayed_year [--seed N] [--week-s 2] [--keep FOLDER]

The months of `data/flights` come one by one into a copy of `examples/flights`. A scheduler checks
every Monday at three, on a clock that runs a week in `--week-s` seconds and waits for its runs;
each check is `ordain retrain` as a process of its own. June comes without its distances and is
repaired by a new version, the distances of September are four times as long, and the
scheduler, a run, and both are killed with -9 at moments that the seed decides. Afterwards the same
is checked as in `tests/integration/test_year.py`, and the year is told as Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from processes import ORDAIN, Whole  # noqa: E402  the path is set above
from replayed_year import Year, plan_kills  # noqa: E402
from sandbox import Sandbox  # noqa: E402
from year_checks import check_year  # noqa: E402

FLIGHTS = ROOT / "data" / "flights"
FILE = "flights.parquet"
CORRUPT, DRIFTED = 6, 9
#: The project's own are for a window of a year; the first months teach less.
STEPS, THRESHOLDS = 600, {"auc": {"min": 0.6, "max_drop": 0.02}}
#: Months in which nothing but their data happens may have a kill; the first has no time to go by.
QUIET = [month for month in range(2, 13) if month not in (CORRUPT, DRIFTED)]


def make_project(folder: Path) -> Sandbox:
    """The flights project with an empty data folder whose spans have versions."""
    shutil.copytree(
        ROOT / "examples" / "flights", folder, ignore=shutil.ignore_patterns("var", "__pycache__")
    )
    sandbox = Sandbox(folder)
    sandbox.set(
        data={"path": "data", "pattern": "{SPAN}/v{VERSION}/*.parquet"},
        workspace="var",
        retrain={"drift": 0.3},
        train={"steps": STEPS},
        evaluate={"thresholds": THRESHOLDS},
    )
    sandbox.data.mkdir()
    return sandbox


def bring(sandbox: Sandbox, month: int, version: int = 1, is_corrupt: bool = False) -> None:
    """Delivers a version of a month."""
    span = str(201300 + month)
    table = pq.read_table(FLIGHTS / span / FILE)
    at = table.schema.get_field_index("distance")
    if month == DRIFTED:
        longer = pc.multiply(table["distance"], pa.scalar(4, table.schema.field(at).type))
        table = table.set_column(at, "distance", longer)
    if is_corrupt:
        table = table.drop_columns("distance")
    folder = sandbox.data / span / f"v{version}"
    folder.mkdir(parents=True)
    staged = folder / f".{FILE}"
    pq.write_table(table, staged)
    staged.rename(folder / FILE)


def live_through(year: Year, sandbox: Sandbox) -> Iterator[tuple[int, float]]:
    """The twelve months; yields each with the seconds it took."""
    for month in range(1, 13):
        began = time.monotonic()
        bring(sandbox, month, is_corrupt=month == CORRUPT)
        if month == CORRUPT:
            year.month(month, lambda: None, lambda: bring(sandbox, CORRUPT, version=2))
        elif month == DRIFTED:
            sandbox.set(retrain={"new_spans": None})
            year.month(month, lambda: year.run("run", "--to", "DataGate", "--no-notify"))
            sandbox.set(retrain={"new_spans": 1})
        else:
            year.month(month)
        yield month, time.monotonic() - began


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=int(time.time()) % 10**6)
    parser.add_argument("--week-s", type=float, default=2.0, help="real seconds of a week")
    parser.add_argument("--keep", type=Path, help="leave the project in this folder, a new one")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with contextlib.ExitStack() as stack:
        scratch = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        scratch.mkdir(parents=True, exist_ok=True)
        sandbox = make_project(scratch / "flights")
        kills = plan_kills(arguments.seed, QUIET)
        words = ["retrain", str(sandbox.folder), "--json", "--wait", "--no-notify"]
        processes = Whole()
        stack.callback(processes.close)
        year = Year(
            sandbox.folder,
            scratch,
            processes,
            [str(ORDAIN), *words],
            kills,
            week_s=arguments.week_s,
        )
        with year.running():
            for month, seconds in live_through(year, sandbox):
                print(f"month {month}: {seconds:.0f} s", flush=True)
        print(_report(year, sandbox))
        versions = check_year(year.project)
        print(f"\nchecked: {len(versions)} versions, each whole, with its lineage, published once")


def _report(year: Year, sandbox: Sandbox) -> str:
    """The decisions as a table, the kills, and what `ordain schedule status` says."""
    lines = ["| decision | over | because | came to |", "|---|---|---|---|"]
    for line in year.decisions():
        reasons = "; ".join(reason["text"] for reason in line["reasons"])
        windows = [f"{window[0]} to {window[-1]}" for window in line["windows"]]
        came = [run["headline"] for run in line["runs"]]
        if line["exit_code"] is None:
            came = ["did not end"]
        times = f" ({line['times']} times)" if line["times"] > 1 else ""
        cells = (line["action"] + times, ", ".join(windows), reasons, "; ".join(came))
        lines.append(f"| {' | '.join(cells)} |")
    for kill in year.kills.values():
        lines.append(
            f"\nmonth {kill.month}: kill -9 of the {kill.victim}, {kill.after_s:.1f} s after the "
            f"check began, at {kill.node}"
        )
    command = [ORDAIN, "schedule", "status", sandbox.folder, "--limit", "100"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return "\n".join([*lines, "", done.stdout])


if __name__ == "__main__":
    main()
