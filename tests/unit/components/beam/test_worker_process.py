"""The worker process, really forked: order, errors, its death and its parent's, no worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[4]

#: What each test's process begins with: TensorFlow is imported and has not run yet.
BEGIN = """
import os, signal, sys, time
import apache_beam as beam
from ordain.components.beam import worker_process
from ordain.errors import DataBlockedError, NodeFailedError

class Work(beam.DoFn):
    def __init__(self, what): self.what = what
    def setup(self): self.made = os.getpid()
    def process(self, element):
        assert self.made == os.getpid()
        yield from self.what(element)

def pid_of(element):
    time.sleep(0.2)
    yield element, os.getpid()
"""


def run(code: str, *, processors: int = 2) -> subprocess.CompletedProcess[str]:
    """Runs a program that sees a number of processors; returns how it ended."""
    begin = BEGIN + f"worker_process._processors = lambda: {processors}\n"
    return subprocess.run(
        [sys.executable, "-c", begin + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )


def test_two_processes_share_the_pieces_and_the_order_stays() -> None:
    done = run("""
        worker_process.start()
        found = worker_process.run(Work(pid_of), list(range(12)))
        assert [number for number, _ in found] == list(range(12)), found
        assert len({pid for _, pid in found}) == 2, found
        worker_process.stop()
        assert worker_process._pool is None
    """)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("where", ["here", "there"])
def test_error_is_reraised_and_no_piece_is_started(where: str) -> None:
    done = run(f"""
        parent = os.getpid()
        def fail(element):
            time.sleep(0.1)
            if (os.getpid() == parent) == ({where!r} == "here"):
                raise DataBlockedError("bad row", "mend it")
            sys.stderr.write("piece\\n")
            yield element
        worker_process.start()
        try:
            worker_process.run(Work(fail), list(range(50)))
        except DataBlockedError as error:
            assert (error.message, error.hint) == ("bad row", "mend it")
        else:
            raise AssertionError("no error")
    """)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("piece") < 10


def test_an_error_that_cannot_be_pickled_keeps_its_text() -> None:
    done = run("""
        parent = os.getpid()
        class Odd(Exception):
            def __init__(self, one, two): super().__init__(one + two)
        def fail(element):
            time.sleep(0.1)
            if os.getpid() != parent:
                raise Odd("a", "b")
            yield element
        worker_process.start()
        try:
            worker_process.run(Work(fail), list(range(20)))
        except RuntimeError as error:
            assert str(error) == "Odd: ab", error
        else:
            raise AssertionError("no error")
    """)
    assert done.returncode == 0, done.stderr


def test_killed_worker_fails_the_node_and_later_work_runs_here() -> None:
    done = run("""
        parent = os.getpid()
        def die(element):
            time.sleep(0.1)
            if os.getpid() != parent:
                os.kill(os.getpid(), signal.SIGKILL)
            yield element
        worker_process.start()
        try:
            worker_process.run(Work(die), list(range(20)))
        except NodeFailedError as error:
            assert "worker process was killed" in error.message
        else:
            raise AssertionError("no error")
        assert worker_process._pool is None
        found = worker_process.run(Work(pid_of), [1, 2])
        assert found == [(1, parent), (2, parent)]
    """)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_the_worker_ends_with_its_parent(ending: signal.Signals) -> None:
    code = """
        worker_process.start()
        print(worker_process._pool.submit(os.getpid).result(), flush=True)
        worker_process.run(Work(lambda element: [time.sleep(60)]), [1, 2])
    """
    begin = BEGIN + "worker_process._processors = lambda: 2\n"
    with subprocess.Popen(
        [sys.executable, "-c", begin + textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    ) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        assert worker.ppid() == parent.pid
        time.sleep(0.5)
        parent.send_signal(ending)
        parent.wait(240)
        worker.wait(240)


@pytest.mark.parametrize("why", ["one processor", "TensorFlow runs"])
def test_without_a_worker_the_work_is_done_here(why: str) -> None:
    first = "import tensorflow as tf; tf.constant(1)" if why == "TensorFlow runs" else ""
    done = run(
        f"""
        {first}
        worker_process.start()
        assert worker_process._pool is None
        found = worker_process.run(Work(pid_of), [1, 2, 3])
        assert found == [(n, os.getpid()) for n in (1, 2, 3)]
        """,
        processors=1 if why == "one processor" else 2,
    )
    assert done.returncode == 0, done.stderr


def test_output_of_the_worker_goes_to_the_log_of_the_running_node(tmp_path: Path) -> None:
    done = run(f"""
        import logging
        logging.basicConfig()
        parent = os.getpid()
        def write(element):
            time.sleep(0.1)
            if os.getpid() != parent:
                logging.error("logged in %s", element)
                os.write(2, b"printed")
            yield element
        worker_process.start()
        for node in ("one", "two"):
            path = {str(tmp_path)!r} + "/" + node
            os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND), 2)
            worker_process.run(Work(write), [node] * 6)
    """)
    assert done.returncode == 0, done.stderr
    for node in ("one", "two"):
        text = (tmp_path / node).read_text()
        assert f"logged in {node}" in text
        assert "printed" in text
    assert "two" not in (tmp_path / "one").read_text()
