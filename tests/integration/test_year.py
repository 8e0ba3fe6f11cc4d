"""A year of scheduled retraining in a few minutes, with everything that may go wrong in one."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import ORDAIN, Warm
from replayed_year import Year, plan_kills, story
from sandbox import Sandbox, good_rows, write_csv
from year_checks import check_year, properties_of

from ordain.history.runs import History
from ordain.metadata.store import open_store

HEADER = ["x", "c", "y"]
CORRUPT, DRIFTED, NOISE = 6, 9, 12
#: From the drifted month on, x is larger by this, and so is what the label depends on.
SHIFT = 0.4
#: Months in which nothing but their data happens may have a kill.
QUIET = [month for month in range(2, 12) if month not in (CORRUPT, DRIFTED)]
#: A failure is repeated with `ORDAIN_TEST_SEED=<the seed that was printed>`.
SEED_VARIABLE = "ORDAIN_TEST_SEED"


@pytest.fixture
def warm() -> Iterator[Warm]:
    processes = Warm()
    yield processes
    processes.close()


def rows_of(month: int) -> list[list[Any]]:
    """A month's rows; those of the last month teach nothing."""
    rows = good_rows(300 + month, SHIFT if month >= DRIFTED else 0.0)
    if month == NOISE:
        rng = random.Random(month)
        return [[x, c, rng.randrange(2)] for x, c, _ in rows]
    return rows


def bring(sandbox: Sandbox, month: int, version: int = 1) -> Path:
    path = sandbox.data / str(month) / f"v{version}" / "rows.csv"
    return write_csv(path, rows_of(month), HEADER)


def bring_corrupt(sandbox: Sandbox, month: int) -> Path:
    """A column is missing."""
    path = sandbox.data / str(month) / "v1" / "rows.csv"
    return write_csv(path, [[x, y] for x, _, y in rows_of(month)], ["x", "y"])


def live_through(year: Year, sandbox: Sandbox) -> None:
    """The twelve months, and what people do in them."""
    for month in range(1, 13):
        if month == CORRUPT:
            bring_corrupt(sandbox, month)
            year.month(month, lambda: None, lambda: bring(sandbox, CORRUPT, version=2))
        elif month == DRIFTED:
            # From now on not each new month is a reason, but one that is different.
            sandbox.set(retrain={"new_spans": None, "drift": 0.2})
            bring(sandbox, month)
            year.month(month, lambda: year.run("run", "--to", "DataGate"))
            sandbox.set(retrain={"new_spans": 1, "drift": None})
        else:
            bring(sandbox, month)
            year.month(month)


def expected_story() -> list[tuple[str, tuple[str, ...], int | None]]:
    told: list[tuple[str, tuple[str, ...], int | None]] = [("run", ("first",), 1)]
    for month in range(2, 13):
        told.append(("run", ("drift" if month == DRIFTED else "new_span",), month))
        if month == CORRUPT:
            told.append(("wait", ("new_span", "blocked"), None))
            told.append(("run", ("new_span",), month))
    return told


def status_of(sandbox: Sandbox) -> tuple[str, dict[str, Any]]:
    """`ordain schedule status` as text and as JSON."""
    command = [ORDAIN, "schedule", "status", sandbox.folder, "--limit", "1000"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    raw = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout
    return text, json.loads(raw)


@pytest.mark.timeout(1800)  # four minutes alone; other tests may want the same cores
def test_a_year_of_months_with_three_kills(
    small: Callable[..., Sandbox], warm: Warm, tmp_path: Path
) -> None:
    seed = int(os.environ.get(SEED_VARIABLE, random.randrange(10**6)))
    print(f"{SEED_VARIABLE}={seed}")
    told = tmp_path / "told"
    sandbox = small(
        {},
        data={"pattern": "{SPAN}/v{VERSION}/*.csv"},
        train={"steps": 200, "parameters": {"learning_rate": 0.5}},
        gate={"drift": {"numeric": 0.2}},
        notify=[
            {
                "on": ["blocked", "failed", "published"],
                "command": ["/bin/sh", "-c", f"cat >> {told}; echo >> {told}"],
            }
        ],
    )
    sandbox.data.mkdir()
    kills = plan_kills(seed, QUIET)
    command = ["ordain", "retrain", str(sandbox.folder), "--json", "--wait", "--no-notify"]
    with Year(sandbox.folder, tmp_path, warm, command, kills).running() as year:
        live_through(year, sandbox)
    assert all(kill.after_s is not None for kill in kills.values())
    for kill in kills.values():
        print(kill)
    text, status = status_of(sandbox)
    print(text)
    print(year.tail())

    # The report: each month once, with its reason, and quiet weeks between.
    decisions = year.decisions()
    assert story(decisions) == expected_story()
    assert status["decisions"] == decisions[::-1]
    quiet = [line for line in decisions if line["action"] == "nothing"]
    assert sum(line["times"] for line in quiet) >= 12
    assert f"span {CORRUPT}, which has not changed since" in text
    assert f"span {DRIFTED} has drifted: x, " in text
    undisturbed = {month: 0 for month in range(1, 13) if month not in kills} | {NOISE: 4}
    ended = {line["windows"][-1][-1]: line["exit_code"] for line in decisions if line["windows"]}
    assert {month: ended[month] for month in undisturbed} == undisturbed
    (blocked,) = [line for line in decisions if line["exit_code"] == 3]
    assert blocked["windows"] == [[CORRUPT - 1, CORRUPT]]

    # What is served, and what it is made of.
    versions = check_year(year.project)
    windows = [(1,), *((month - 1, month) for month in range(2, NOISE))]
    assert list(versions.values()) == windows
    store = open_store(year.project.metadata, year.project.paths)
    assert _delivered(store, CORRUPT) == {1, 2}
    runs = History(year.project.metadata, "small", year.project.paths).list_runs()
    # A run that was killed before its first node has a folder and no more.
    assert status["outbox"] == [] and len(status["runs"]) >= len(runs)

    # Everybody was told; a run that was killed between its push and its end can tell nobody.
    notices = {n["id"]: n for n in map(json.loads, filter(None, told.read_text().splitlines()))}
    published = {n["run"]["version"] for n in notices.values() if n["event"] == "published"}
    killed = {version for version, spans in versions.items() if spans[-1] in kills}
    assert published | killed == set(versions)
    refused = [n["run"]["window"][-1] for n in notices.values() if n["event"] == "blocked"]
    assert sorted(refused) == [CORRUPT, NOISE]


def _delivered(store: Any, span: int) -> set[int]:
    """Versions of a span that were read."""
    told = map(properties_of, store.get_artifacts_by_type("Examples"))
    read = [one for one in told if "input_fingerprint" in one and int(one["span"]) == span]
    return {int(one["version"]) for one in read}
