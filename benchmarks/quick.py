"""A quick guard against regressions: ordain beside the plain script, held against limits.

    make bench-quick
    .venv/bin/python benchmarks/quick.py [--repeat 2] [--results FOLDER]

One month of flights and 200 steps, alternating, in one run of the harness (`run.py`). The limits
are ratios to the plain script, which meets the same machine with the same load, and generous: what
breaks one is a node that reads its data twice or an import that came back, not a noisy minute. On
so little data imports are most of both; `make bench` measures what the year costs.

Exit code: 0; 1 if a limit is broken or a process failed; 2 for arguments.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import run

MONTHS, STEPS = 1, 200


@dataclass(frozen=True)
class Limit:
    """A ratio of ordain to the plain script that may not be exceeded.

    Attributes:
        key: Of the harness's medians.
        title: For the table.
        most: The largest ratio.
    """

    key: str
    title: str
    most: float


#: About 1.5 times what was measured (README.md); the machine's load moves wall time most.
LIMITS = (
    Limit("cpu_s", "CPU time", 4.4),
    Limit("wall_s", "wall time", 4.4),
    Limit("peak_rss_bytes", "peak memory (RSS)", 2.9),
)


def broken_limits(medians: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What is slower or larger than it may be, a line each.

    Args:
        medians: The harness's medians, by contestant.
    """
    broken = []
    for limit in LIMITS:
        ratio = medians["ordain"][limit.key] / medians["plain"][limit.key]
        verdict = "may be at most" if ratio <= limit.most else "BROKEN: may be at most"
        print(f"{limit.title:<18} {ratio:5.2f} times the plain script's, {verdict} {limit.most:g}")
        if ratio > limit.most:
            broken.append(f"{limit.title}: {ratio:.2f} > {limit.most:g}")
    return broken


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the harness and holds its ratios against the limits.

    Args:
        arguments: Of the command line; None for the process's own.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--repeat", type=int, default=2, help="processes of each (default: 2)")
    parser.add_argument("--results", type=Path, help="keep the harness's figures in this folder")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        results = options.results or Path(temporary)
        before = set(results.glob("*.json"))
        size = ["--months", str(MONTHS), "--steps", str(STEPS), "--repeat", str(options.repeat)]
        code = run.main([*size, "--only", "plain", "ordain", "--results", str(results)])
        if code != 0:
            return code
        (written,) = set(results.glob("*.json")) - before
        medians = json.loads(written.read_text(encoding="utf-8"))["medians"]
    print()
    return 1 if broken_limits(medians) else 0


if __name__ == "__main__":
    sys.exit(main())
