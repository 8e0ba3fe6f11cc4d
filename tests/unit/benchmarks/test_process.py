"""Measuring a real process from outside: its descendants' memory, its end, its time limit."""

import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.process import Measured, measure

pytestmark = pytest.mark.process

CHILD = "import time; data = bytearray(150_000_000); time.sleep(1)"
PARENT = f"""
import subprocess, sys
data = bytearray(100_000_000)
subprocess.run([sys.executable, "-c", {CHILD!r}], check=True)
print("out"); print("err", file=sys.stderr)
sys.exit(3)
"""


def _measure(folder: Path, code: str, timeout_s: float = 60) -> Measured:
    command = [sys.executable, "-c", code]
    return measure(command, folder, folder / "out", folder / "err", timeout_s=timeout_s)


def test_memory_is_the_sum_over_the_tree(tmp_path: Path) -> None:
    measured = _measure(tmp_path, PARENT)
    assert measured.exit_code == 3
    assert not measured.is_timed_out
    assert measured.processes == 2
    assert measured.peak_rss_bytes > 250_000_000 > measured.largest_rss_bytes > 150_000_000
    if measured.peak_pss_bytes is not None:
        assert 250_000_000 < measured.peak_pss_bytes <= measured.peak_rss_bytes
    assert measured.wall_s > 1
    assert 0 < measured.cpu_s < measured.wall_s * (psutil.cpu_count() or 1)
    assert (tmp_path / "out").read_text() == "out\n"
    assert (tmp_path / "err").read_text() == "err\n"


def test_time_limit_ends_the_whole_tree(tmp_path: Path) -> None:
    sleep = "import time; time.sleep(60)"
    code = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {sleep!r}])\n"
        "print(child.pid, flush=True)\n"
        "child.wait()"
    )
    measured = _measure(tmp_path, code, timeout_s=1)
    assert measured.is_timed_out
    assert measured.exit_code == -9
    assert measured.wall_s < 50
    child = int((tmp_path / "out").read_text())
    deadline = time.monotonic() + 60
    while _is_running(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_running(child)


def _is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
