"""Measurements of a meter, and its record after its process is killed."""

import json
import signal
import subprocess
import sys
import time

import pytest

from ordain.common.memory import Memory
from ordain.history.resource_usage import LastRecord, Meter, last_record

#: Large enough to stand out from what the test process does by itself.
SOME_BYTES = 60_000_000


def burn(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        sum(range(1000))


class TestMeter:
    def test_processor_time_is_that_of_this_process_and_its_children(self):
        with Meter() as meter:
            burn(0.1)
        alone = meter.cost().cpu_s
        assert alone >= 0.1
        code = "import time\nwhile time.process_time() < 0.5: pass"
        with Meter() as meter:
            subprocess.run([sys.executable, "-c", code], check=True)
        assert meter.cost().cpu_s >= 0.5

    def test_a_child_that_lives_on_counts_with_what_it_did_meanwhile(self):
        code = "import sys, time\nfor _ in sys.stdin:\n until = time.process_time() + 0.4\n"
        code += " while time.process_time() < until: pass\n print(1, flush=True)"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
        with subprocess.Popen([sys.executable, "-c", code], **pipes) as child:

            def work():
                child.stdin.write(b"\n")
                child.stdout.readline()

            work()
            with Meter() as meter:
                work()
            alive = meter.cost().cpu_s
            with Meter() as meter:
                work()
                child.stdin.close()
                child.wait()
        assert 0.35 < alive < 0.75
        assert 0.35 < meter.cost().cpu_s < 0.75

    def test_sleeping_costs_nothing(self):
        with Meter() as meter:
            time.sleep(0.3)
        assert meter.cost().cpu_s < 0.2

    def test_released_memory_stays_in_the_peak(self):
        with Meter() as meter:
            before = meter.cost().peak_rss_bytes
            held = bytearray(b"x") * SOME_BYTES
            until = time.monotonic() + 60
            while meter.cost().peak_rss_bytes < before + SOME_BYTES * 0.9:
                assert time.monotonic() < until
                time.sleep(0.1)
            del held
        assert meter.cost().peak_rss_bytes >= before + SOME_BYTES * 0.9

    def test_memory_of_a_child_counts(self):
        code = f"x = bytearray(b'x') * {SOME_BYTES}; print(1, flush=True); import time\n"
        code += "time.sleep(120)"
        with Meter() as meter:
            before = meter.cost().peak_rss_bytes
            child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
            child.stdout.readline()
            # Children are looked at every two seconds, later on a busy machine.
            until = time.monotonic() + 60
            while meter.cost().peak_rss_bytes < before + SOME_BYTES * 0.9:
                assert time.monotonic() < until
                time.sleep(0.1)
            child.kill()
            child.communicate()
        assert meter.cost().peak_rss_bytes >= before + SOME_BYTES * 0.9

    def test_the_record_is_gone_when_it_ends(self, tmp_path):
        record = tmp_path / "memory" / "Trainer.json"
        with Meter(record):
            assert set(json.loads(record.read_text())) == {
                "rss_bytes",
                "available_bytes",
                "total_bytes",
            }
        assert not record.parent.exists()

    def test_also_after_an_error(self, tmp_path):
        with pytest.raises(ValueError), Meter(tmp_path / "memory" / "Trainer.json"):
            raise ValueError
        assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_its_last_record(tmp_path):
    code = (
        "import sys, time; from pathlib import Path\n"
        "from ordain.history.resource_usage import Meter\n"
        "with Meter(Path(sys.argv[1])): print(1, flush=True); time.sleep(60)"
    )
    record = tmp_path / "memory" / "Trainer.json"
    child = subprocess.Popen([sys.executable, "-c", code, str(record)], stdout=subprocess.PIPE)
    child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.communicate()
    found = last_record(tmp_path, "Trainer")
    assert found.rss_bytes > 1_000_000
    assert 0 < found.memory.available_bytes < found.memory.total_bytes


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"rss_bytes": null}'])
def test_a_damaged_record_is_none(tmp_path, text):
    assert last_record(tmp_path, "Trainer") is None
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "Trainer.json").write_text(text)
    assert last_record(tmp_path, "Trainer") is None


@pytest.mark.parametrize(("left", "scarce"), [(9, True), (10, False), (50, False)])
def test_scarce_is_less_than_a_tenth(left, scarce):
    assert LastRecord(1, Memory(100, left)).was_scarce is scarce
