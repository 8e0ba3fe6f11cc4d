"""`ordain submit --wait` against a server on loopback: what is told, and the exit code."""

import json
import signal
import subprocess
import sys
import time

import pytest
from kubeflow_api import Fault
from kubeflow_forms import pod_of
from kubeflow_store import Script

from ordain.errors import InfrastructureError

LAUNCHER = "F0101 main.go:54] failed to execute component: exit status {}\nError: exit status {}\n"


def submit(ordain, api, folder, *words):
    return ordain("submit", folder, "--host", api.url, "--poll", 0.1, *words)


def wait_with_log(ordain, api, folder, log, *words):
    """Submits and waits; the pod of task `result` wrote `log`."""
    real = api.store.get_run

    def get_run(run_id):
        run = real(run_id)
        if run.state == "FAILED":
            api.logs[pod_of(run, "result")] = "rows 10\n" + log
        return run

    api.store.get_run = get_run
    return submit(ordain, api, folder, "--wait", *words)


class TestWaiting:
    def test_success(self, api, project, ordain):
        api.store.script = Script(
            [
                ("PENDING", {}),
                ("RUNNING", {"prepare": "RUNNING"}),
                ("RUNNING", {"prepare": "SUCCEEDED", "statistics-gen": "RUNNING"}),
                ("SUCCEEDED", {"prepare": "SUCCEEDED", "statistics-gen": "SUCCEEDED"}),
            ]
        )
        done = submit(ordain, api, project(), "--wait")
        assert done.exit_code == 0
        told = done.output.splitlines()
        assert told[2:] == [
            "run: pending",
            "prepare: running",
            "run: running",
            "prepare: succeeded",
            "statistics-gen: running",
            "statistics-gen: succeeded",
            "run: succeeded",
            told[-1],
        ]
        assert told[-1].endswith(": succeeded")

    @pytest.mark.parametrize(
        ("written", "exit_code", "says"),
        [
            (4, 4, "model not blessed (task result, exit code 4)"),
            (3, 3, "data blocked (task result, exit code 3)"),
            (5, 5, "publishing or infrastructure (task result, exit code 5)"),
            (1, 1, "task result failed (exit code 1)"),
            (137, 1, "task result failed (exit code 137)"),
        ],
    )
    def test_the_exit_code_is_the_failed_tasks(
        self, api, project, ordain, written, exit_code, says
    ):
        api.store.script = Script([("FAILED", {"prepare": "SUCCEEDED", "result": "FAILED"})])
        done = wait_with_log(ordain, api, project(), LAUNCHER.format(written, 1))
        assert done.exit_code == exit_code
        assert says in done.output
        assert "next: ordain cluster logs" in done.output

    def test_without_a_log_the_exit_code_is_1_and_says_so(self, api, project, ordain):
        api.store.script = Script([("FAILED", {"trainer": ["FAILED", "FAILED"]})])
        done = submit(ordain, api, project(), "--wait")
        assert done.exit_code == 1
        assert "failed in trainer; the exit code is not known" in done.output

    def test_a_canceled_run_is_not_done(self, api, project, ordain):
        api.store.script = Script([("CANCELED", {})])
        done = submit(ordain, api, project(), "--wait", "--json")
        assert done.exit_code == 1
        assert json.loads(done.stdout)["text"] == "ended as CANCELED"

    def test_one_document_with_what_came(self, api, project, ordain):
        api.store.script = Script(
            [("RUNNING", {"result": "RUNNING"}), ("FAILED", {"result": "FAILED"})]
        )
        done = wait_with_log(ordain, api, project(), LAUNCHER.format(4, 1), "--json")
        came = json.loads(done.stdout)
        assert (came["exit_code"], came["state"], came["failed"]) == (4, "FAILED", ["result"])
        assert "result: failed" in done.stderr

    def test_a_server_that_is_away_for_a_while(self, api, project, ordain):
        api.store.script = Script([("RUNNING", {})] * 2 + [("SUCCEEDED", {})])
        # More failures than one look repeats, so that a look as a whole fails.
        api.faults.append(Fault("away", path="/runs/", times=6))
        done = submit(ordain, api, project(), "--wait")
        assert done.exit_code == 0, done.output
        assert "retrying for 300 s" in done.output

    def test_a_server_that_stays_away(self, api, project, ordain, monkeypatch):
        monkeypatch.setattr("ordain.kubeflow.client.follow.OUTAGE_S", 0.5)
        api.faults.append(Fault("away", path="/runs/"))
        with pytest.raises(InfrastructureError, match="the run continues without being") as caught:
            submit(ordain, api, project(), "--wait")
        assert caught.value.hint.startswith("ordain cluster runs ")
        assert len(api.store.runs) == 1

    def test_the_next_command_names_the_server_as_this_one_did(
        self, api, project, ordain, monkeypatch
    ):
        folder = project(host=api.url)
        (folder / "pipeline.prod.yaml").write_text("kubeflow: {labels: {stage: prod}}\n")
        monkeypatch.chdir(folder.parent)
        told = ordain("submit", folder, "--env", "prod").output.splitlines()
        (run_id,) = api.store.runs
        assert told[-1] == f"  next: ordain cluster logs {run_id} --project toy --env prod"

    def test_ctrl_c_leaves_the_run_alone(self, api, project):
        api.store.script = Script([("RUNNING", {})])
        folder = project(host=api.url)
        words = ["submit", str(folder), "--wait", "--poll", "0.1"]
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "ordain.cli.main", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            while len(api.requests) < 12 and process.poll() is None:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate()
        assert process.returncode == 130
        (run_id,) = api.store.runs
        assert f"run {run_id} continues without being followed" in stderr
        assert f"next: ordain cluster cancel {run_id} --project {folder}" in stderr
        assert not api.sent("POST", ":terminate")
