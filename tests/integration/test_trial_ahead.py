"""A server on trial that was started before there was a candidate: taken once, and never left over.

Whether it serves as one that is started when it is needed is seen in every whole run of the tests
(`test_chain.py`, the end-to-end test); here is what may go wrong before that.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from models import export_of_one_number, serialize

from ordain.components.server_gate.component import try_model
from ordain.components.server_gate.rules import Limits
from ordain.serving.sandbox import sandbox as trial

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = [serialize({"x": [i / 8.0], "y": [i % 2]}) for i in range(4)]
LIMITS = Limits(max_load_s=60, max_size_mb=10, max_memory_mb=1600, max_p99_ms=2000, tolerance=1e-4)
#: Starts a trial ahead, says where and which, and waits to be killed.
STARTS_ONE = """
import sys, time
from ordain.serving.sandbox import sandbox as trial
trial.start_ahead()
print(trial._ahead.folder, trial._ahead._process.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    trial.close_ahead()


def tree(pid: int) -> list[psutil.Process]:
    """A process and what it started, once it has started its server."""
    process = psutil.Process(pid)
    wait(process.children)
    return [process, *process.children(recursive=True)]


def wait(is_so: Callable[[], object]) -> None:
    end = time.monotonic() + 240
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_it_is_taken_once_and_a_dead_one_not_at_all(tmp_path: Path) -> None:
    export_of_one_number(tmp_path / "model")
    trial.start_ahead()
    ahead = trial._ahead
    trial.start_ahead()
    assert ahead is not None and trial._ahead is ahead
    for process in tree(ahead._process.pid):
        process.send_signal(signal.SIGKILL)
    wait(lambda: not ahead.is_waiting)

    verdict = try_model(tmp_path / "model", EXAMPLES, LIMITS, tmp_path / "kept")

    assert not verdict.is_blocked, verdict
    assert not ahead.folder.exists()
    assert trial._ahead is None


def test_one_that_waits_serves_the_candidate(tmp_path: Path) -> None:
    export_of_one_number(tmp_path / "model")
    trial.start_ahead()
    ahead = trial._ahead
    assert ahead is not None

    verdict = try_model(tmp_path / "model", EXAMPLES, LIMITS, tmp_path / "kept")

    assert not verdict.is_blocked, verdict
    assert not ahead.is_waiting and not ahead.folder.exists()


def test_nobody_takes_it() -> None:
    trial.start_ahead()
    ahead = trial._ahead
    assert ahead is not None
    processes = tree(ahead._process.pid)

    trial.close_ahead()

    wait(lambda: all(map(is_gone, processes)))
    assert not ahead.folder.exists()


def test_its_parent_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_ONE], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        folder, pid = parent.stdout.readline().split()
        processes = tree(int(pid))
        parent.kill()

        wait(lambda: all(map(is_gone, processes)))
        wait(lambda: not Path(folder).exists())
