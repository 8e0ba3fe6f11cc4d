"""Ten times the rows: what a cold run over them takes, beside one over the year as it is.

    .venv/bin/python benchmarks/scale.py [--times 10] [--json FILE]

Each month is repeated with noise (`longer_year.py`). Steps of training stay the same; ingest,
statistics, transformation and evaluation see all rows.

Exit code: 0; 1 if a run failed or took other rows than it was to; 2 for arguments.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.incremental import (  # noqa: E402  the path is set above
    RunError,
    Taken,
    ratio,
    take,
    write_measured,
)
from benchmarks.longer_year import write_data  # noqa: E402


def table(one: Taken, many: Taken, times: int) -> list[str]:
    """Both as a Markdown table, rows first."""
    figures = [
        ("rows", one.rows, many.rows),
        ("wall time, s", one.measured.wall_s, many.measured.wall_s),
        ("CPU time, s", one.measured.cpu_s, many.measured.cpu_s),
    ]
    if one.measured.peak_pss_bytes and many.measured.peak_pss_bytes:
        both = (one.measured.peak_pss_bytes / 1e6, many.measured.peak_pss_bytes / 1e6)
        figures.append(("peak memory (PSS), MB", *both))
    both = (one.measured.peak_rss_bytes / 1e6, many.measured.peak_rss_bytes / 1e6)
    figures.append(("peak memory (RSS), MB", *both))
    figures += [(f"{name}, s", one.nodes[name], many.nodes[name]) for name in one.nodes]
    lines = [f"| | the year | {times} times | ratio |", "|---|---:|---:|---:|"]
    for title, small, large in figures:
        lines.append(f"| {title} | {small:,.1f} | {large:,.1f} | {ratio(large, small)} |")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark.

    Args:
        arguments: Of the command line; None for the process's own.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--times", type=int, default=10, help="copies of each row (default: 10)")
    parser.add_argument("--json", type=Path, help="write everything measured into this file")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="ordain-scale-") as name:
        folder = Path(name)
        write_data(folder / "data", options.times)
        try:
            one = take(folder / "one")
            many = take(folder / "many", "--set", f"data.path={folder / 'data'}")
        except RunError as error:
            print(f"FAILED: {error}")
            return 1
    if many.rows != options.times * one.rows:
        print(f"FAILED: {many.rows} rows, not {options.times} times {one.rows}")
        return 1
    print("\n".join(table(one, many, options.times)))
    if options.json is not None:
        write_measured(options.json, times=options.times, runs=[asdict(one), asdict(many)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
