"""Runs stock TFX, a plain script and ordain over the same flights, and prints how they compare.

    .venv/bin/python benchmarks/run.py                                        # the year, 3 times
    .venv/bin/python benchmarks/run.py --months 1 --steps 100 --repeat 1      # a quick look
    .venv/bin/python benchmarks/run.py --only plain ordain                    # without stock TFX

Every process starts cold: a folder and a metadata store of its own, nothing cached from an earlier
run. They alternate, and each repetition starts with another one. `benchmarks/README.md` says what
is equal among them and what is not.

Exit code: 0; 1 if any process failed or worked on other rows than it was given; 2 for arguments.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import figures, inputs
from benchmarks.contestants import (
    CONTESTANTS,
    ROOT,
    Contestant,
    ContestantError,
    Job,
    Outcome,
    check_rows,
)
from benchmarks.figures import Run
from benchmarks.machine import machine_facts, source_state, without_paths
from benchmarks.process import SAMPLE_INTERVAL_S, Measured, measure

MONTHS = 12
#: More of the machine's time than this taken by others, and the figures say little.
QUIET_SHARE = 0.05
TAIL_LINES = 15


def main(
    arguments: Sequence[str] | None = None, everyone: Sequence[Contestant] = CONTESTANTS
) -> int:
    """Runs the benchmark.

    Args:
        arguments: Of the command line; None for the process's own.
        everyone: The contestants to choose from.

    Returns:
        The exit code.
    """
    options = _parse(arguments, everyone)
    chosen = [c for c in everyone if c.name in options.only]
    started = datetime.datetime.now(datetime.UTC)
    work = Path(tempfile.mkdtemp(prefix="ordain-bench-"))
    try:
        job = _prepare(work, options)
        print(
            f"{job.rows.total} rows of {options.months} month(s), {job.rows.train} to train and"
            f" {job.rows.eval} to evaluate; {options.steps} steps; {options.repeat} repetition(s)"
        )
        runs = _run_all(chosen, job, work, options)
    finally:
        if options.keep:
            print(f"kept: {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    summaries = figures.summarize(runs)
    titles = {c.name: c.title for c in chosen}
    for table in (figures.main_table, figures.seconds_table):
        print("", *table(titles, summaries), sep="\n")
    report = {
        "started": started.isoformat(timespec="seconds"),
        "settings": _settings(options, job),
        "machine": machine_facts(),
        "source": source_state(ROOT),
        **figures.as_json(summaries),
        "runs": [asdict(run) for run in runs],
    }
    print(f"\nwritten: {_write(report, options.results, started)}")
    failed = [run for run in runs if run.error is not None]
    for run in failed:
        print(f"FAILED: {run.contestant}, repetition {run.repetition}: {run.error}")
    return 1 if failed else 0


def _parse(arguments: Sequence[str] | None, everyone: Sequence[Contestant]) -> argparse.Namespace:
    names = [c.name for c in everyone]
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n", maxsplit=1)[0],
        epilog="benchmarks/README.md says what is measured and how",
    )
    parser.add_argument(
        "--repeat", type=_positive, default=3, help="processes of each (default: 3)"
    )
    parser.add_argument(
        "--steps", type=_positive, default=2000, help="training steps of 256 rows (default: 2000)"
    )
    parser.add_argument(
        "--months",
        type=int,
        choices=range(1, MONTHS + 1),
        default=MONTHS,
        metavar=f"1..{MONTHS}",
        help="the newest months of data (default: all)",
    )
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="run only these")
    parser.add_argument(
        "--timeout",
        type=_positive,
        default=3600,
        metavar="SECONDS",
        help="a process that takes longer is killed and has failed (default: 3600)",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=ROOT / "benchmarks" / "results",
        metavar="FOLDER",
        help="where DATE.json goes (default: benchmarks/results)",
    )
    parser.add_argument("--keep", action="store_true", help="keep what the processes wrote")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _prepare(work: Path, options: argparse.Namespace) -> Job:
    flights = inputs.read_flights(ROOT / "data" / "flights", options.months)
    csv = work / "csv" / "flights.csv"
    csv.parent.mkdir()
    inputs.write_csv(flights, csv)
    return Job(csv, options.months, inputs.count_rows(flights), options.steps)


def _run_all(
    chosen: Sequence[Contestant], job: Job, work: Path, options: argparse.Namespace
) -> list[Run]:
    runs = []
    for repetition in range(1, options.repeat + 1):
        first = (repetition - 1) % len(chosen)
        for contestant in [*chosen[first:], *chosen[:first]]:
            print(f"{repetition} of {options.repeat}: {contestant.title} ...", flush=True)
            run = _run_one(contestant, repetition, job, work, options)
            print(f"  {_describe(run)}", flush=True)
            runs.append(run)
    return runs


def _run_one(
    contestant: Contestant, repetition: int, job: Job, work: Path, options: argparse.Namespace
) -> Run:
    """Runs and reads one process; whatever goes wrong in it becomes the run's error."""
    folder = work / f"{contestant.name}-{repetition}"
    out, temporary = folder / "out", folder / "tmp"
    for path in (out, temporary):
        path.mkdir(parents=True)
    names = {"<work>": work, "<repository>": ROOT, "<home>": Path.home()}
    command = contestant.command(job, out)
    shown = without_paths(shlex.join(command), names)
    os.sync()  # what one wrote is not written back on the next one's time
    try:
        measured = measure(
            command,
            ROOT,
            folder / "stdout",
            folder / "stderr",
            environment={**os.environ, "TMPDIR": str(temporary)},
            timeout_s=options.timeout,
        )
    except OSError as error:
        return Run(contestant.name, repetition, shown, None, error=without_paths(str(error), names))
    run = Run(contestant.name, repetition, shown, measured)
    try:
        run = replace(run, outcome=_outcome(contestant, job, folder, measured, options.timeout))
    except ContestantError as error:
        run = replace(run, error=without_paths(str(error), names))
    if not options.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return run


def _outcome(
    contestant: Contestant, job: Job, folder: Path, measured: Measured, timeout_s: int
) -> Outcome:
    output = (folder / "stdout").read_text(encoding="utf-8", errors="replace")
    if measured.is_timed_out:
        raise ContestantError(f"killed after {timeout_s} s, the limit of --timeout")
    if measured.exit_code not in contestant.completes_with:
        errors = (folder / "stderr").read_text(encoding="utf-8", errors="replace")
        tail = "\n    ".join((errors.strip() or output.strip()).splitlines()[-TAIL_LINES:])
        raise ContestantError(f"ended with exit code {measured.exit_code}:\n    {tail}")
    try:
        outcome = contestant.read(job, folder / "out", output)
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise ContestantError(f"its result cannot be read: {error!r}") from error
    check_rows(job, outcome)
    return outcome


def _describe(run: Run) -> str:
    if run.error is not None or run.outcome is None or run.measured is None:
        return f"FAILED: {run.error}"
    measured, outcome = run.measured, run.outcome
    peak = measured.peak_pss_bytes or measured.peak_rss_bytes
    text = f"{measured.wall_s:.1f} s, {peak / 1e6:.0f} MB, AUC {outcome.auc:.4f}"
    if outcome.is_blessed is False:
        text += ", not blessed and so not pushed"
    share = measured.foreign_cpu_s / (measured.wall_s * (os.cpu_count() or 1))
    if share > QUIET_SHARE:
        text += f"; NOT QUIET: other processes had {share:.0%} of the machine meanwhile"
    return text


def _settings(options: argparse.Namespace, job: Job) -> dict[str, Any]:
    return {
        "repeat": options.repeat,
        "steps": options.steps,
        "months": options.months,
        "only": list(options.only),
        "rows": asdict(job.rows),
        "sample_interval_s": SAMPLE_INTERVAL_S,
    }


def _write(report: dict[str, Any], folder: Path, started: datetime.datetime) -> str:
    """Writes `DATE.json`, or `DATE-2.json` if there is one of that day, and returns its name."""
    folder.mkdir(parents=True, exist_ok=True)
    day, number = started.date().isoformat(), 1
    path = folder / f"{day}.json"
    while path.exists():
        number += 1
        path = folder / f"{day}-{number}.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


if __name__ == "__main__":
    sys.exit(main())
