"""`ordain schedule` with the real command: stopped in the middle of a run, and resumed."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

ORDAIN = Path(sys.executable).with_name("ordain")


def test_a_run_that_sigterm_stops_is_resumed_and_notified(small, tmp_path):
    told = tmp_path / "told"
    sandbox = small()
    script = f"cat >> {told}; echo >> {told}"
    sandbox.set(
        notify=[{"on": ["blessed", "published", "failed"], "command": ["/bin/sh", "-c", script]}],
        schedule={"grace_s": 120},
    )
    log = tmp_path / "log"
    with log.open("w") as file:
        scheduler = subprocess.Popen(
            [ORDAIN, "schedule", sandbox.folder, "--watch"], stdout=file, stderr=file
        )
        end = time.time() + 240
        while "StatisticsGen " not in log.read_text():
            assert scheduler.poll() is None and time.time() < end, log.read_text()
            time.sleep(0.1)
        scheduler.send_signal(signal.SIGTERM)
        assert scheduler.wait(130) == 0
    assert "the check was stopped; the next one resumes its run" in log.read_text()
    assert sandbox.versions == []
    assert not told.exists()

    done = subprocess.run(
        [ORDAIN, "schedule", sandbox.folder, "--once"], capture_output=True, text=True, check=True
    )
    states = dict(line.split()[:2] for line in done.stderr.splitlines() if len(line.split()) > 1)
    assert states["ExampleGen"] == states["StatisticsGen"] == "cached"
    assert states["Trainer"] == states["Pusher"] == "complete"
    assert sandbox.versions == ["1"]
    notices = [json.loads(line) for line in told.read_text().splitlines() if line]
    assert [notice["event"] for notice in notices] == ["blessed", "published"]

    status = subprocess.run(
        [ORDAIN, "schedule", "status", sandbox.folder, "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(status.stdout)
    assert found["last"]["exit_code"] == 0
    assert found["decisions"][0]["action"] == "run"
    assert found["runs"][0]["verdicts"] == {"data": "passed", "evaluation": "passed"}
    assert found["outbox"] == found["schedulers"] == []
