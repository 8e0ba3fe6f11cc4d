"""The flights compiled for Kubeflow and simulated against a real PostgreSQL; how long it takes.

    python -m benchmarks.simulation [--parallel 2] [--folder FOLDER] [--json FILE]

Compiles examples/flights over spans 1 to 11 of the year, starts a PostgreSQL, and simulates: a cold
run with a killed Trainer, its repetition, the next month, and a month whose distances are words.
Each step is checked; the first that is not as expected ends the script with exit code 1. It takes
minutes: every task of a simulation imports TensorFlow and TFX by itself, as a pod does. Without
--folder all is written to a temporary folder, which is removed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import postgres  # noqa: E402  the path is set above
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import yaml  # noqa: E402
from metadata_contents import contents, differences  # noqa: E402  the path is set above

from benchmarks.machine import machine_facts  # noqa: E402
from ordain.config.loading import load_project  # noqa: E402
from ordain.history.runs import History  # noqa: E402
from ordain.metadata.store import open_store  # noqa: E402

DATABASE = "flights"
#: The project's own are for a window that ends in December: November alone is harder to tell.
THRESHOLDS = {"auc": {"min": 0.65, "max_drop": 0.02, "newest": {"min": 0.55}}}
#: Nodes that look up anew in each run, and are never cached.
LOOKED_UP = {"AnalyzerCache", "Baseline"}
#: TFX says so when ML Metadata has the execution and the executor is about to start.
AT_WORK = "Going to run a new execution"


def main() -> int:
    """Runs the steps and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--parallel", type=int, default=2, help="tasks at once")
    parser.add_argument("--months", type=int, default=11, help="months before the next one")
    parser.add_argument("--folder", type=Path, help="where everything is written, and stays")
    parser.add_argument("--json", type=Path, help="file that the figures are written to")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="ordain-flights-"))
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["ORDAIN_DB_PASSWORD"] = postgres.PASSWORD
    try:
        with postgres.serving() as server:
            server.make(DATABASE)
            server.make("local")
            figures = Flights(folder.resolve(), server, given.parallel, given.months).replay()
    finally:
        if given.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    if given.json:
        given.json.write_text(json.dumps({"machine": machine_facts(), "steps": figures}, indent=1))
    return 0


class Flights:
    """The flights in a folder that stands for a cluster's volume."""

    def __init__(self, volume: Path, server: postgres.Server, parallel: int, months: int) -> None:
        self._volume, self._server, self._parallel = volume, server, parallel
        self._months = sorted((ROOT / "data" / "flights").glob("2013*"))[: months + 1]
        self._project = volume / "flights"
        self._data = volume / "data"
        self._file = volume / "flights.yaml"
        self._figures: dict[str, Any] = {}

    def replay(self) -> dict[str, Any]:
        """Every step; returns the figures."""
        self._write_project()
        for month in self._months[:-1]:
            shutil.copytree(month, self._data / month.name)
        self._measure("compile", lambda: self._call("compile", self._project, "-o", self._file))

        first = self._simulate(
            "cold, Trainer killed", 0, "--inject", "trainer:kill@~Going to run a new execution"
        )
        trainer = next(task for task in first["tasks"] if task["name"] == "trainer")
        _check([a["exit_code"] for a in trainer["attempts"]] == [137, 0], "the Trainer's attempts")
        _check(set(self._launches(first).values()) == {1}, "one execution for each node and span")
        _check(self._result(first)["version"] == 1, "a blessed model is pushed")

        again = self._simulate("repeated", 0)
        states = {n["node"]: n["state"] for n in self._result(again)["nodes"] if n["node"]}
        uncached = {n for n, s in states.items() if s != "cached"}
        _check(uncached <= LOOKED_UP, f"cached throughout, but {uncached - LOOKED_UP}")
        self._compare([first["run_id"], again["run_id"]])

        shutil.copytree(self._months[-1], self._data / self._months[-1].name)
        result = self._result(self._simulate("next month", 0))
        _check(result["window"][-1] == int(self._months[-1].name), "the window moves")

        self._write_words(self._months[-1])
        blocked = self._simulate("distances are words", 3)
        failed = [task["name"] for task in blocked["tasks"] if task["state"] == "failed"]
        # Words where the schema asks for numbers: ExampleGen does not read them.
        _check(
            failed in (["result", "on-exit"], ["example-gen", "on-exit"]),
            f"blocked, but in {failed}",
        )
        return self._figures

    def _write_project(self) -> None:
        shutil.copytree(ROOT / "examples" / "flights", self._project)
        path = self._project / "pipeline.yaml"
        raw = yaml.safe_load(path.read_text())
        raw["workspace"] = str(self._volume / "workspace")
        raw["data"]["path"] = str(self._data)
        raw["metadata"] = self._server.address(DATABASE, "${env:ORDAIN_DB_PASSWORD}")
        raw["evaluate"]["thresholds"] = THRESHOLDS
        raw["kubeflow"] = {
            "image": "registry.example.org/flights:1",
            "project": str(self._project),
            "volumes": [{"claim": "all", "path": str(self._volume)}],
            "secrets": [{"name": "database", "key": "password", "env": "ORDAIN_DB_PASSWORD"}],
            "defaults": {"retries": {"count": 1, "backoff_s": 5}},
        }
        path.write_text(yaml.safe_dump(raw, sort_keys=False))

    def _write_words(self, month: Path) -> None:
        """The newest month once more, with distances that are words."""
        for file in (self._data / month.name).glob("*.parquet"):
            table = pq.read_table(file)
            words = pa.array([f"{distance} miles" for distance in table["distance"].to_pylist()])
            column = table.schema.get_field_index("distance")
            pq.write_table(table.set_column(column, "distance", words), file)

    def _simulate(self, step: str, expected: int, *options: str) -> dict[str, Any]:
        words = ["simulate", self._file, "--root", self._volume / "simulations", "--json"]
        words += ["--parallel", self._parallel, "--no-wait"]
        words += ["--secret", "database.password=ORDAIN_DB_PASSWORD", *options]
        done = self._measure(step, lambda: self._call(*words))
        report: dict[str, Any] = json.loads(done.stdout)
        slowest = max(report["tasks"], key=lambda task: sum(a["seconds"] for a in task["attempts"]))
        self._figures[step]["tasks"] = {
            task["name"]: round(sum(a["seconds"] for a in task["attempts"]), 1)
            for task in report["tasks"]
        }
        print(f"{step:<24} slowest {slowest['name']}, exit code {report['exit_code']}")
        _check(report["exit_code"] == expected, f"{step}: see {report['folder']}")
        return report

    def _compare(self, runs: list[str]) -> None:
        """A local run and its repetition leave the same in ML Metadata."""
        address = self._server.address("local", "${env:ORDAIN_DB_PASSWORD}")
        settings = [f"workspace={self._volume / 'local'}", f"metadata={address}"]
        words = ["run", self._project, "--json"]
        words += [word for setting in settings for word in ("--set", setting)]
        here = []
        for step in ("local run", "local run repeated"):
            done = self._measure(step, lambda: self._call(*words))
            here.append(json.loads(done.stdout)["run_id"])
        both = []
        for given, ids in (((), runs), (settings, here)):
            project = load_project(self._project, settings=tuple(given))
            paths = {str(project.workspace): "WORK"}
            store = open_store(project.metadata, project.paths)
            both.append([contents(store, run, paths, with_measured=False) for run in ids])
        for cluster_run, local_run in zip(*both, strict=True):
            found = differences(cluster_run, local_run)
            print("\n".join(line[:2000] for line in found[:20]))
            _check(not found, f"ML Metadata's contents equal local ones: {len(found)} lines differ")

    def _result(self, report: dict[str, Any]) -> dict[str, Any]:
        runs = load_project(self._project).runs
        result: dict[str, Any] = json.loads((runs / report["run_id"] / "result.json").read_text())
        return result

    def _launches(self, report: dict[str, Any]) -> Counter[tuple[str, int | None]]:
        project = load_project(self._project)
        run = History(project.metadata, project.name, project.paths).read_run(report["run_id"])
        return Counter((node.node, node.span) for node in run.nodes)

    def _measure(self, step: str, run: Any) -> Any:
        began = time.monotonic()
        done = run()
        seconds = round(time.monotonic() - began, 1)
        self._figures[step] = {"seconds": seconds}
        print(f"{step:<24} {seconds} s")
        return done

    def _call(self, *words: Any) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "ordain.cli.main", *map(str, words)],
            check=False,
            stdout=subprocess.PIPE,
            text=True,
        )
        _check(words[0] == "simulate" or done.returncode == 0, f"ordain {words[0]}")
        return done


def _check(is_so: bool, what: str) -> None:
    if not is_so:
        sys.exit(f"not as expected: {what}")


if __name__ == "__main__":
    sys.exit(main())
