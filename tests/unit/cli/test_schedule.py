"""`ordain schedule`: its forms, its errors, and its status."""

import datetime as dt
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from ordain.cli.main import cli
from ordain.notifications.events import Notice
from ordain.notifications.outbox import Outbox
from ordain.scheduling.state import Check, State, StateFile
from ordain.scheduling.status import folder_of, read_status, registered

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
HEAVY = ("tensorflow", "tfx", "ml_metadata", "apache_beam", "watchfiles", "filelock")


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(cli, ["schedule", *arguments], prog_name="ordain")


def decision(number: int) -> dict[str, Any]:
    at = (NOW - dt.timedelta(hours=number)).isoformat(timespec="seconds")
    return {
        "at": at,
        "until": at,
        "times": 1,
        "action": "run",
        "reasons": [{"effect": "trigger", "kind": "new_span", "text": f"span {number} is new"}],
        "windows": [[number - 1, number]],
        "runs": [],
        "exit_code": 0,
    }


class TestForms:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["{}", "--cron", "0 3 * * *", "--emit", "systemd"],
            ["run", "{}", "--cron", "0 3 * * *", "--emit", "systemd"],
            ["--emit", "systemd", "{}", "--cron", "0 3 * * *"],
            ["--cron", "0 3 * * *", "--emit", "systemd", "{}"],
        ],
    )
    def test_run_need_not_be_named(self, make_folder, arguments):
        folder = make_folder()
        done = invoke(*[word.format(folder) for word in arguments])
        assert done.exit_code == 0, done.output
        assert f"schedule {folder} --once\n" in done.output

    def test_options_of_the_command_line_and_of_the_file(self, make_folder):
        folder = str(make_folder(schedule={"cron": "0 4 * * *", "timezone": "Europe/Berlin"}))
        raw = yaml.safe_load(invoke(folder, "--emit", "kubernetes").output)
        assert raw["spec"]["schedule"] == "0 4 * * *"
        assert raw["spec"]["timeZone"] == "Europe/Berlin"
        more = ["--emit", "kubernetes", "--cron", "5 5 * * *", "--timezone", "Asia/Tokyo"]
        raw = yaml.safe_load(invoke(folder, *more, "--image", "registry/it:2").output)
        assert raw["spec"]["schedule"] == "5 5 * * *"
        assert raw["spec"]["timeZone"] == "Asia/Tokyo"
        (container,) = raw["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        assert container["image"] == "registry/it:2"

    @pytest.mark.parametrize("kind", ["systemd", "cron", "kubernetes"])
    def test_what_is_printed_holds_no_value_of_a_variable(self, make_folder, kind, monkeypatch):
        monkeypatch.setenv("KEY", "s3cr3t")
        monkeypatch.delenv("HOOK", raising=False)
        folder = make_folder(
            train={"parameters": {"key": "${env:KEY}"}},
            notify=[{"on": ["failed"], "webhook": "${env:HOOK}"}],
        )
        done = invoke(str(folder), "--cron", "0 3 * * *", "--emit", kind)
        assert done.exit_code == 0, done.output
        assert "s3cr3t" not in done.output
        assert "KEY" in done.output and "HOOK" in done.output

    def test_the_same_overlay_and_settings_are_handed_on(self, make_folder):
        folder = make_folder()
        (folder / "pipeline.prod.yaml").write_text("train: {steps: 7}\n")
        more = ["--env", "prod", "--set", "train.eval_steps=3"]
        out = invoke(str(folder), "--cron", "0 3 * * *", "--emit", "cron", *more).output
        assert out.endswith("--once --env prod --set train.eval_steps=3\n")


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            ([], "has no schedule"),
            (["--emit", "cron"], "there is no cron expression"),
            (["--watch", "--emit", "cron"], "there is no cron expression"),
            (["--cron", "0 3 * *"], "must have five fields"),
            (["--cron", "0 3 * * *", "--timezone", "Europe/Berln"], "did you mean"),
            (["--watch", "--set", "data.path=nowhere"], "there is no folder"),
            (["--set", "schedule.cron=7", "--watch"], "schedule.cron"),
            (["--set", "schedule.timezone=Mars", "--watch"], "is not a time zone"),
            (["--set", "schedule.missed=no", "--watch"], "'run' or 'skip'"),
            (["--set", "schedule.crom=x"], "did you mean 'cron'"),
        ],
    )
    def test_what_cannot_be_meant_is_refused(self, make_folder, arguments, problem):
        done = invoke(str(make_folder()), *arguments)
        assert done.exit_code != 0
        assert problem in str(done.exception)
        assert getattr(done.exception, "exit_code", None) == 2

    def test_a_missing_variable_of_a_notification_is_met_at_the_start(
        self, make_folder, monkeypatch
    ):
        monkeypatch.delenv("HOOK", raising=False)
        folder = make_folder(notify=[{"on": ["failed"], "webhook": "${env:HOOK}"}])
        for how in (["--watch"], ["--once"]):
            done = invoke(str(folder), *how)
            assert "HOOK is not set" in str(done.exception)


class TestStatus:
    def write(self, project: Any) -> None:
        lines = [json.dumps(decision(number)) for number in (9, 8, 7)]
        project.home.mkdir(parents=True)
        (project.home / "decisions.jsonl").write_text("\n".join(lines) + '\n{"at": "2026')
        for name, code in (("20260601-090000-aaaa", 0), ("20260601-100000-bbbb", 3)):
            folder = project.runs / name
            folder.mkdir(parents=True)
            outcome = "blocked" if code else "passed"
            result = {
                "headline": f"it ended with {code}",
                "exit_code": code,
                "verdicts": [{"gate": "data", "outcome": outcome, "reasons": []}],
            }
            (folder / "result.json").write_text(json.dumps(result))
        (project.runs / "20260601-110000-cccc").mkdir()
        check = Check(NOW, "tick 2026-06-01 12:00 UTC", 1, 0.0, "", NOW, 3, "it ended with 3")
        StateFile(folder_of(project)).write(State(NOW, None, check))
        notice = Notice("run-1-failed", "failed", {"id": "run-1-failed", "event": "failed"})
        Outbox(folder_of(project) / "outbox", project.notify, print).add([notice])

    def test_all_of_it(self, make_project, make_folder):
        keys = {
            "schedule": {"cron": "30 2 * * *", "timezone": "Europe/Berlin"},
            "notify": [{"on": ["failed"], "webhook": "${env:HOOK}"}],
        }
        project = make_project(**keys)
        self.write(project)
        out = invoke("status", str(project.folder)).output
        lines = out.splitlines()
        assert lines[0] == "scheduler  none is running"
        assert lines[1].startswith("next tick  20") and " 02:30 CE" in lines[1]
        assert "last check 2026-06-01 14:00 CEST, tick 2026-06-01 12:00 UTC: it ended" in out
        assert lines.index("      span 7 is new") < lines.index("      span 9 is new")
        assert "  2026-06-01 07:00 CEST  run, spans 6 to 7" in lines
        assert "  20260601-110000-cccc  did not end (running, or killed)" in lines
        assert "  20260601-100000-bbbb  it ended with 3 (data gate blocked)" in lines
        assert "  failed  run-1-failed, 0 attempts" in lines

    def test_as_json(self, make_project):
        project = make_project(schedule={"cron": "30 2 * * *", "timezone": "Europe/Berlin"})
        self.write(project)
        raw = json.loads(invoke("status", str(project.folder), "--limit", "1", "--json").output)
        assert raw["project"] == "toy"
        assert [d["reasons"][0]["text"] for d in raw["decisions"]] == ["span 7 is new"]
        assert [run["run"] for run in raw["runs"]] == ["20260601-110000-cccc"]
        assert raw["last"]["exit_code"] == 3
        tick = dt.datetime.fromisoformat(raw["next_tick"])
        assert dt.timedelta(0) < tick - dt.datetime.now(dt.UTC) <= dt.timedelta(days=1, hours=1)

    def test_before_anything_happened(self, make_folder):
        done = invoke("status", str(make_folder()))
        assert done.exit_code == 0
        assert "no decision yet" in done.output and "no run yet" in done.output
        assert "next tick  none" in done.output

    def test_the_next_tick_is_that_of_a_scheduler_that_runs(self, make_project):
        project = make_project(schedule={"cron": "0 0 1 1 *"})
        with registered(project, "0 5 * * *", "UTC", True):
            found = read_status(project, 5, NOW)
        assert found["next_tick"] == "2026-06-02T05:00:00+00:00"
        assert found["schedulers"][0]["pid"] == os.getpid()
        assert found["watch"] is True
        assert read_status(project, 5, NOW)["next_tick"] == "2027-01-01T00:00:00+00:00"

    def test_one_that_was_killed_does_not_run(self, make_project):
        project = make_project()
        with registered(project, "0 5 * * *", "UTC", False) as path:
            about = json.loads(path.read_text())
            path.write_text(json.dumps(about | {"created": about["created"] - 1000}))
            assert read_status(project, 5, NOW)["schedulers"] == []

    def test_a_decision_whose_run_did_not_end_says_so(self, make_project):
        project = make_project()
        text = json.dumps(decision(7) | {"exit_code": None})
        project.home.mkdir(parents=True, exist_ok=True)
        (project.home / "decisions.jsonl").write_text(f"{text}\n")
        out = invoke("status", str(project.folder)).output
        assert "  run, spans 6 to 7: did not end (running, or killed)" in out

    def test_it_answers_in_a_second_and_imports_nothing_heavy(self, make_project):
        project = make_project(schedule={"cron": "30 2 * * *"})
        self.write(project)
        code = (
            "import sys; from ordain.cli.main import main\n"
            "try: main()\n"
            f"finally: print('HEAVY', *({set(HEAVY)!r} & set(sys.modules)))"
        )
        command = [sys.executable, "-c", code, "schedule", "status", str(project.folder)]
        # Processor time: it is the same on a machine that is busy with the tests beside this one.
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.stdout.splitlines()[-1] == "HEAVY"
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


def test_the_real_command_starts_logs_its_next_tick_and_ends_on_sigterm(make_folder):
    """The whole command, up to the first tick, which is years away."""
    folder = make_folder()
    process = subprocess.Popen(
        [Path(sys.executable).with_name("ordain"), "schedule", folder, "--cron", "0 0 29 2 *"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        line = process.stdout.readline()
        status = json.loads(invoke("status", str(folder), "--json").output)
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
    assert process.wait(240) == 0
    assert "toy: cron '0 0 29 2 *' in UTC; next tick " in line
    assert rest.endswith("stopped\n")
    assert [s["pid"] for s in status["schedulers"]] == [process.pid]
    assert json.loads(invoke("status", str(folder), "--json").output)["schedulers"] == []
