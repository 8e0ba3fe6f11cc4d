"""How long the dashboard's pages take over a long history.

    python -m benchmarks.dashboard --runs 2000 [--folders] [--json FILE]

The small project of the tests gets a history as in `benchmarks.history`; with `--folders` each run
has its folder and `result.json` too, as if `ordain gc` had never run. Then `ordain dashboard` is
started, and each page is asked for, the first time and five times more. Nothing else should run.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.history import give_history, make_project
from benchmarks.machine import machine_facts
from ordain.config.loading import load_project
from ordain.history.runs import History

PAGES = {
    "first page": "/",
    "runs": "/runs",
    "runs, page 40": "/runs?page=40",
    "runs, filtered": "/runs?verdict=not+blessed",
    "project": "/projects/small",
    "models": "/projects/small/models",
    "drift": "/projects/small/drift",
}
TIMES = 5


def give_folders(folder: Path) -> None:
    """Gives every run a folder of its own, with the `result.json` of the newest real run."""
    project = load_project(folder)
    real = sorted(project.runs.iterdir())[-1] / "result.json"
    for run in History(project.metadata, project.name, project.paths).list_runs():
        made = project.runs / run.id
        if not made.is_dir():
            made.mkdir()
            shutil.copy(real, made)


def ask(port: int, path: str) -> float:
    """Seconds until a page is read to its end."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{path}: {answer.status}")
    return time.monotonic() - began


def measure(folder: Path) -> dict[str, Any]:
    """Starts the dashboard, and returns the figures of each page, in seconds."""
    command = [sys.executable, "-m", "ordain.cli.main", "dashboard", str(folder), "--port", "0"]
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None  # noqa: S101  it is a pipe
        found = re.search(r":(\d+)/", process.stdout.readline())
        figures: dict[str, Any] = {"start_s": round(time.monotonic() - began, 3)}
        port = int(found.group(1)) if found else 0
        for name, path in PAGES.items():
            first = ask(port, path)
            again = statistics.median(ask(port, path) for _ in range(TIMES))
            figures[name] = {"first_s": round(first, 3), "again_s": round(again, 3)}
        return figures
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--folders", action="store_true", help="every run has its folder")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ordain-dashboard-") as folder:
        sandbox = make_project(Path(folder) / "many", 2)
        give_history(sandbox, arguments.runs)
        if arguments.folders:
            give_folders(sandbox.folder)
        load = round(os.getloadavg()[0], 1)
        about = {"runs": arguments.runs, "folders": arguments.folders, "load": load}
        figures = about | measure(sandbox.folder)
    print(json.dumps(figures, indent=1))
    if arguments.json is not None:
        kept = {"machine": machine_facts(), **figures}
        arguments.json.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
