"""What a run with one new span in a window of twelve costs, beside a cold run over the same window.

    .venv/bin/python benchmarks/incremental.py [--repeat 1] [--times 1] [--json FILE]

For each repetition two workspaces. In one, the year is run cold. In the other, the eleven months to
November are run first, which is not measured, and then the year, of which only December is new.
Both runs end with a model of the same twelve months. A run is a process of its own, imports
included; the harness's `process.py` measures it from outside. Wall time suffers from whatever else
the machine does, processor time hardly, so both are told. `--times 10` repeats each month ten times
with noise (`longer_year.py`); steps of training stay the same.

Exit code: 0; 1 if a run failed or took other spans than it was to; 2 for arguments.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.longer_year import write_data  # noqa: E402  the path is set above
from benchmarks.machine import machine_facts, source_state  # noqa: E402  the path is set above
from benchmarks.process import Measured, measure  # noqa: E402

PROJECT = "examples/flights"
WINDOW = 12
#: The span before the newest: a window that ends with it holds all but one.
LAST_BUT_ONE = "201311"
DONE, NOT_BLESSED = 0, 4
#: What works on the data of single spans.
DATA_NODES = ("ExampleGen", "StatisticsGen", "ExampleValidator")


@dataclass(frozen=True)
class Taken:
    """What one run took.

    Attributes:
        measured: From outside.
        nodes: Wall seconds by node, as its `result.json` says.
        spans: Spans that ExampleGen read anew.
        rows: Rows of the window.
        auc: Over the whole window.
    """

    measured: Measured
    nodes: dict[str, float]
    spans: int
    rows: int
    auc: float


class RunError(Exception):
    """A run did not do the work."""


def take(workspace: Path, *arguments: str) -> Taken:
    """Runs the flights project in a workspace.

    Args:
        workspace: Its workspace.
        *arguments: Further arguments of `ordain run`.

    Raises:
        RunError: It failed.
    """
    workspace.mkdir(parents=True, exist_ok=True)
    output, errors = workspace / "stdout", workspace / "stderr"
    program = str(Path(sys.executable).with_name("ordain"))
    command = [program, "run", PROJECT, "--json", "--set", f"workspace={workspace}", *arguments]
    measured = measure(command, ROOT, output, errors)
    if measured.exit_code not in (DONE, NOT_BLESSED):
        raise RunError(f"exit code {measured.exit_code}: {errors.read_text()[-1000:]}")
    result = json.loads(output.read_text(encoding="utf-8"))
    nodes = {node["node"]: node for node in result["nodes"]}
    ingest = nodes["ExampleGen"]
    states = ingest["spans"] or {ingest["state"]: 1}
    return Taken(
        measured,
        {name: node["seconds"] for name, node in nodes.items()},
        states.get("complete", 0),
        int(ingest["rows"]),
        _auc(result),
    )


def _auc(result: dict[str, Any]) -> float:
    for verdict in result["verdicts"]:
        for reason in verdict["reasons"]:
            if reason["kind"] == "auc.min" and "where" not in reason:
                return float(reason["measured"])
    raise RunError("no evaluation verdict names an AUC over all rows")


def compare(work: Path, times: int = 1) -> tuple[Taken, Taken]:
    """A cold run over the window, and one in which only its newest span is new.

    Args:
        work: Folder for both workspaces.
        times: How often each month's rows come.

    Raises:
        RunError: One of them failed, or took other spans than it was to.
    """
    data = []
    if times > 1:
        write_data(work / "data", times)
        data = ["--set", f"data.path={work / 'data'}"]
    cold = take(work / "cold", *data)
    take(work / "grown", "--span", LAST_BUT_ONE, *data)
    grown = take(work / "grown", *data)
    if (cold.spans, grown.spans) != (WINDOW, 1):
        raise RunError(f"read {cold.spans} and {grown.spans} spans, not {WINDOW} and 1")
    return cold, grown


def ratio(larger: float, base: float) -> str:
    """A ratio as a cell of a table; of what took no time it would be noise."""
    return f"{larger / base:.2f}" if base >= 0.05 else "-"


def write_measured(path: Path, **measured: Any) -> None:
    """Writes what was measured, with the machine and the commit it was measured on."""
    report = {"machine": machine_facts(), "source": source_state(ROOT), **measured}
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def table(pairs: Sequence[tuple[Taken, Taken]]) -> list[str]:
    """The medians as a Markdown table.

    Args:
        pairs: Cold and grown, of each repetition.
    """

    def median(place: int, figure: Any) -> float:
        return statistics.median(figure(pair[place]) for pair in pairs)

    def of_data(taken: Taken) -> float:
        return sum(taken.nodes.get(name, 0.0) for name in DATA_NODES)

    figures: list[tuple[str, Any]] = [
        ("CPU time, s", lambda taken: taken.measured.cpu_s),
        ("wall time, s", lambda taken: taken.measured.wall_s),
        ("peak memory (RSS), MB", lambda taken: taken.measured.peak_rss_bytes / 1e6),
    ]
    figures.append((f"{', '.join(DATA_NODES)} together, s", of_data))
    names = list(dict.fromkeys(name for pair in pairs for name in pair[0].nodes))
    figures += [(f"{name}, s", lambda taken, n=name: taken.nodes[n]) for name in names]
    lines = ["| median | cold | one new span | ratio |", "|---|---:|---:|---:|"]
    for title, figure in figures:
        cold, grown = median(0, figure), median(1, figure)
        lines.append(f"| {title} | {cold:.1f} | {grown:.1f} | {ratio(grown, cold)} |")
    cold, grown = (median(place, lambda taken: taken.auc) for place in (0, 1))
    return [*lines, f"| AUC | {cold:.4f} | {grown:.4f} | - |"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark.

    Args:
        arguments: Of the command line; None for the process's own.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--repeat", type=int, default=1, help="pairs of runs (default: 1)")
    parser.add_argument("--times", type=int, default=1, help="copies of each row (default: 1)")
    parser.add_argument("--json", type=Path, help="write everything measured into this file")
    options = parser.parse_args(arguments)
    pairs = []
    for number in range(options.repeat):
        with tempfile.TemporaryDirectory(prefix="ordain-incremental-") as folder:
            try:
                pairs.append(compare(Path(folder), options.times))
            except RunError as error:
                print(f"FAILED: repetition {number + 1}: {error}")
                return 1
    print("\n".join(table(pairs)))
    if options.json is not None:
        write_measured(
            options.json,
            times=options.times,
            pairs=[[asdict(taken) for taken in pair] for pair in pairs],
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
