"""Exports to systemd, cron and Kubernetes, checked with their own tools."""

import datetime as dt
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ordain.common.cron import Cron
from ordain.errors import ConfigError
from ordain.scheduling.exporters import Export, emit_cron, emit_kubernetes, emit_systemd

HAS_SYSTEMD = shutil.which("systemd-analyze") is not None
needs_systemd = pytest.mark.skipif(not HAS_SYSTEMD, reason="systemd-analyze is not here")
EMITTERS = {"systemd": emit_systemd, "cron": emit_cron, "kubernetes": emit_kubernetes}
ODD = ("--set", 'data.pattern="{SPAN}/100%.csv"', "--set", "train.parameters.k=${env:KEY}")


@pytest.fixture
def make_export(make_project):
    def make(
        cron: str = "0 3 * * *",
        timezone: str = "Europe/Berlin",
        extra: tuple[str, ...] = (),
        variables: tuple[str, ...] = (),
        **keys: Any,
    ) -> Export:
        project = make_project(**keys)
        return Export(
            project=project,
            cron=Cron(cron, timezone),
            program=("/bin/echo",),
            arguments=("schedule", str(project.folder), "--once", *extra),
            variables=variables,
            image="ordain:1",
        )

    return make


def split_units(text: str, folder: Path) -> list[Path]:
    """Writes each unit into the file that its first line names."""
    parts = re.split(r"^# (\S+\.(?:service|timer))\n", text, flags=re.MULTILINE)[1:]
    paths = []
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        paths.append(folder / name)
        paths[-1].write_text(body)
    return paths


@needs_systemd
@pytest.mark.parametrize("missed", ["run", "skip"])
def test_systemd_takes_the_units(make_export, tmp_path, missed):
    export = make_export("*/15 2 1 * MON", extra=ODD, variables=("KEY",), schedule__missed=missed)
    paths = split_units(emit_systemd(export), tmp_path)
    assert [path.name for path in paths] == ["ordain-toy.service", "ordain-toy.timer"]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if "ordain-toy" in line]
    assert (done.returncode, ours) == (0, []), done.stderr
    assert f"Persistent={'true' if missed == 'run' else 'false'}\n" in paths[1].read_text()
    assert "EnvironmentFile=/etc/ordain/toy.env\n" in paths[0].read_text()


@needs_systemd
def test_a_unit_with_a_mistake_is_noticed(make_export, tmp_path):
    text = emit_systemd(make_export()).replace("03:00:00", "33:00:00")
    paths = split_units(text, tmp_path)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, check=False
    )
    assert b"Failed to parse calendar" in done.stderr


@needs_systemd
@pytest.mark.parametrize(
    "expression",
    [
        "0 3 * * *",
        "*/20 * * * *",
        "5,35 6-8 * * MON-FRI",
        "0 0 1,15 * *",
        "0 12 1 * SUN",
        "0 4 * 2,12 7",
        "30 1 31 * *",
    ],
)
def test_systemd_has_the_same_ticks(make_export, expression):
    export = make_export(expression, "UTC")
    calendars = re.findall(r"^OnCalendar=(.*)$", emit_systemd(export), re.MULTILINE)
    start = dt.datetime(2026, 6, 1, 11, 7, tzinfo=dt.UTC)
    found = set()
    for calendar in calendars:
        done = subprocess.run(
            [
                "systemd-analyze",
                "calendar",
                "--iterations=12",
                "--base-time=2026-06-01 11:07 UTC",
                calendar,
            ],
            capture_output=True,
            text=True,
            check=True,
            env={"TZ": "UTC", "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        )
        texts = re.findall(r"(\d{4}-\d\d-\d\d \d\d:\d\d):\d\d UTC", done.stdout)
        found |= {dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC) for text in texts}
    expected = []
    moment = start
    for _ in range(6):
        moment = export.cron.next_after(moment)
        expected.append(moment)
    assert sorted(tick for tick in found if tick > start)[:6] == expected


def test_systemd_gets_the_words_of_the_command_unchanged(make_export):
    line = re.search(r"^ExecStart=(.*)$", emit_systemd(make_export(extra=ODD)), re.MULTILINE)
    assert line is not None
    words = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line[1])]
    assert tuple(words[-4:]) == ODD


def test_a_crontab_line_has_the_expression_the_zone_and_the_command(make_export):
    lines = emit_cron(make_export(extra=ODD, variables=("KEY",))).splitlines()
    told = [line for line in lines if not line.startswith("#")]
    assert told[0] == "CRON_TZ=Europe/Berlin"
    assert told[1].startswith("0 3 * * * ")
    command = told[1].removeprefix("0 3 * * * ")
    assert not re.search(r"(?<!\\)%", command), "cron takes % for the end of the line"
    done = subprocess.run(
        ["/bin/sh", "-c", command.replace("\\%", "%")], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith(" ".join(("--once", *ODD)) + "\n")
    assert any("KEY=" in line for line in lines if line.startswith("#"))


def test_kubernetes_own_models_take_the_cron_job_and_know_every_key(make_export):
    from kubernetes import client

    export = make_export(variables=("KEY",), push__directory="/srv/models")
    raw = yaml.safe_load(emit_kubernetes(export))
    api = client.ApiClient()
    job = api._ApiClient__deserialize(raw, "V1CronJob")
    # A key that the model does not know would be gone on the way back.
    assert api.sanitize_for_serialization(job) == raw
    spec = job.spec
    assert (spec.schedule, spec.time_zone) == ("0 3 * * *", "Europe/Berlin")
    assert spec.concurrency_policy == "Forbid"
    assert spec.starting_deadline_seconds == 23 * 3600
    pod = spec.job_template.spec.template.spec
    (container,) = pod.containers
    project = export.project
    assert container.command == ["ordain", "schedule", str(project.folder), "--once"]
    assert pod.termination_grace_period_seconds == project.schedule.grace_s + 30
    places = [mount.mount_path for mount in container.volume_mounts]
    for folder in (project.folder, project.data.path, project.workspace, Path("/srv/models")):
        assert any(folder.is_relative_to(place) for place in places), folder
    assert len(places) == len(set(places))
    (variable,) = container.env
    assert variable.value is None
    assert variable.value_from.secret_key_ref.key == "KEY"


@pytest.mark.parametrize(
    ("cron", "missed", "deadline"),
    [
        ("0 3 * * *", "run", 82800),
        ("0 3 * * *", "skip", 60),
        ("*/5 * * * *", "run", 27000),
        ("* * * * *", "run", 5400),
    ],
)
def test_kubernetes_never_counts_a_hundred_missed_starts(make_export, cron, missed, deadline):
    raw = yaml.safe_load(emit_kubernetes(make_export(cron, "UTC", schedule__missed=missed)))
    assert raw["spec"]["startingDeadlineSeconds"] == deadline


@pytest.mark.parametrize("kind", EMITTERS)
@pytest.mark.parametrize("expression", ["0 3 L * *", "0 3 * * 5L", "0 3 * * MON#2"])
def test_what_another_clock_does_not_know_is_refused(make_export, kind, expression):
    with pytest.raises(ConfigError, match=r"has an L or a #"):
        EMITTERS[kind](make_export(expression))


@pytest.mark.parametrize("kind", EMITTERS)
def test_july_is_no_last_day(make_export, kind):
    assert EMITTERS[kind](make_export("0 3 * JUL MON"))
