"""The flame graph of a process, and the reason if there is none."""

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from ordain.common.profiler import FILE, Profiler

pytestmark = pytest.mark.process


def burn_in_a_thread(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(1000))


def burn_in_the_main_thread(seconds):
    burn_in_a_thread(seconds)


CHILD = """
import time
def burn_in_a_child():
    until = time.monotonic() + 3
    while time.monotonic() < until: sum(range(1000))
burn_in_a_child()
"""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "run" / FILE


def spies():
    return [p for p in psutil.Process().children() if "py-spy" in " ".join(p.cmdline())]


def test_threads_and_children_are_in_the_picture(file):
    with Profiler(file) as profiler:
        child = subprocess.Popen([sys.executable, "-c", CHILD])
        thread = threading.Thread(target=burn_in_a_thread, args=(2,))
        thread.start()
        burn_in_the_main_thread(2)
        thread.join()
        child.wait()
    assert not spies()
    found = profiler.profile
    assert (found.file, found.note) == (str(file), "")
    assert found.text == f"flame graph: {file}"
    assert found.samples > 20
    assert 0 < found.cpu_s < 4
    picture = file.read_text()
    for name in ("burn_in_the_main_thread", "burn_in_a_thread", "burn_in_a_child"):
        assert name in picture


def test_py_spys_message_is_the_reason_for_no_graph(file):
    with Profiler(file, rate_hz=-1) as profiler:
        time.sleep(0.5)
    assert profiler.profile.file is None
    assert profiler.profile.note
    assert profiler.profile.text == f"no flame graph: {profiler.profile.note}"
    assert not file.exists()


def test_a_py_spy_that_was_killed_ends_nothing(file):
    with Profiler(file) as profiler:
        time.sleep(0.5)
        (spy,) = spies()
        os.kill(spy.pid, signal.SIGKILL)
    assert profiler.profile.file is None
    assert profiler.profile.note


def test_an_error_of_the_run_goes_its_way(file):
    with pytest.raises(ValueError, match="of the run"), Profiler(file):
        burn_in_the_main_thread(0.5)
        raise ValueError("of the run")
    assert not spies()
    assert file.exists()
