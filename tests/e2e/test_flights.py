"""The flights project as a user runs it: a year of real flights, in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ordain.serving.registry.verification import verify
from ordain.serving.registry.versions import list_versions

ROOT = Path(__file__).parent.parent.parent
ORDAIN = Path(sys.executable).parent / "ordain"
MONTHS = [201300 + month for month in range(1, 13)]


def _run(workspace: Path, *arguments: str, offline: bool = False) -> tuple[int, dict[str, Any]]:
    command = [str(ORDAIN), "run", "examples/flights", "--json", *arguments]
    command += ["--set", f"workspace={workspace}"]
    if offline and _can_unshare():
        # A network namespace with nothing but loopback in it: whatever asks the outside fails.
        inside = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh", *command]
        command = ["unshare", "--net", *inside]
    temporary = workspace / "temporary"
    temporary.mkdir(exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(temporary)}
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment
    )
    assert done.stdout, done.stderr[-3000:]
    assert list(temporary.iterdir()) == [], "a run leaves nothing in the folder for temporary files"
    return done.returncode, json.loads(done.stdout)


def _with_text_for_numbers(folder: Path) -> Path:
    """The flights of December, their distances written as words."""
    table = pq.read_table(ROOT / "data/flights/201312")
    column = table.schema.get_field_index("distance")
    words = pa.array([f"{miles} miles" for miles in table["distance"].to_pylist()])
    (folder / "201312").mkdir(parents=True)
    pq.write_table(table.set_column(column, "distance", words), folder / "201312/flights.parquet")
    return folder


def _can_unshare() -> bool:
    if not (shutil.which("unshare") and shutil.which("ip")):
        return False
    probe = ["unshare", "--net", "ip", "link", "set", "lo", "up"]
    return subprocess.run(probe, check=False, capture_output=True).returncode == 0


@pytest.mark.e2e
def test_a_year_of_flights_becomes_a_blessed_model_and_then_is_cached(tmp_path: Path) -> None:
    code, first = _run(tmp_path, offline=True)

    assert (code, first["failure"]) == (0, None)
    assert first["window"] == MONTHS
    assert first["version"] == 1 and first["is_new_version"]
    served = tmp_path / "serving" / "flights"
    assert list_versions(served) == [1]
    assert (served / "1" / "saved_model.pb").stat().st_size > 0
    assert verify(served / "1") == []

    # Rows: what the files hold, less the flights that never arrived, reaches the trainer.
    columns = [pq.read_table(ROOT / f"data/flights/{m}", columns=["late"]) for m in MONTHS]
    labelled = sum(len(c) - c["late"].null_count for c in columns)
    rows = {node["node"]: node["rows"] for node in first["nodes"]}
    assert rows["ExampleGen"] == rows["Transform"] == labelled == 327_346

    evaluation = next(v for v in first["verdicts"] if v["gate"] == "evaluation")
    measured = {r.get("where", ""): r["measured"] for r in evaluation["reasons"] if "measured" in r}
    assert measured[""] >= 0.72
    assert measured["span=201312"] >= 0.68
    assert set(measured) >= {"origin=EWR", "origin=JFK", "origin=LGA"}

    code, again = _run(tmp_path)

    assert code == 0
    executed = [n["node"] for n in again["nodes"] if n["state"] != "cached"]
    assert executed == ["AnalyzerCache", "Baseline"]  # they only look up what to start from
    assert (again["version"], again["is_new_version"]) == (1, False)
    assert list_versions(served) == [1]

    code, rejected = _run(tmp_path, "--set", "evaluate.thresholds.auc.min=0.999")

    assert (code, rejected["version"]) == (4, None)
    evaluation = next(v for v in rejected["verdicts"] if v["gate"] == "evaluation")
    missed = [r for r in evaluation["reasons"] if r["outcome"] == "blocked"]
    assert [(r["limit"], r["measured"] >= 0.72) for r in missed] == [(0.999, True)]
    assert "0.999" in missed[0]["text"]

    broken = _with_text_for_numbers(tmp_path / "broken")
    code, blocked = _run(tmp_path, "--set", f"data.path={broken}", "--set", "data.window=1")

    assert (code, blocked["version"]) == (3, None)
    assert "distance" in json.dumps(blocked)
    assert "Trainer" not in [n["node"] for n in blocked["nodes"] if n["state"] == "complete"]
    assert list_versions(served) == [1]
