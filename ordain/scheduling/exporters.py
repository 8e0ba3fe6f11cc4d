"""Exports of a schedule to systemd, cron and Kubernetes.

Each starts `ordain schedule PROJECT --once` at every tick: one check with the same lock, state and
notifications as the scheduler. The output holds no secret: variables that the configuration refers
to are named, and their values are set where it is installed.
"""

from __future__ import annotations

import datetime
import itertools
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cronsim import CronSim

from ordain.common.cron import Cron
from ordain.config.project import Project
from ordain.errors import ConfigError

_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
#: Seconds added to the grace time before the service manager kills the scheduler.
_SPARE_S = 30
#: Kubernetes counts the starts missed within the deadline and stops for good at 100.
_MOST_MISSED = 90


@dataclass(frozen=True)
class Export:
    """Schedule to export.

    Attributes:
        project: The project.
        cron: When to check.
        program: Command that starts ordain on this machine.
        arguments: Its arguments for one check.
        variables: Environment variables that the configuration refers to.
        image: Container image with ordain, for Kubernetes.
    """

    project: Project
    cron: Cron
    program: tuple[str, ...]
    arguments: tuple[str, ...]
    variables: tuple[str, ...]
    image: str

    @property
    def command(self) -> tuple[str, ...]:
        """Command of one check on this machine."""
        return (*self.program, *self.arguments)

    @property
    def grace_s(self) -> int:
        """Seconds that a check may take to end after SIGTERM."""
        return int(self.project.schedule.grace_s) + _SPARE_S


def emit_systemd(export: Export) -> str:
    """Formats a service and a timer, each after a line with its file name.

    Raises:
        ConfigError: systemd cannot express the cron expression.
    """
    name = f"ordain-{export.project.name}"
    calendar = "\n".join(f"OnCalendar={line}" for line in _on_calendar(export.cron))
    is_persistent = str(export.project.schedule.missed == "run").lower()
    environment = ""
    if export.variables:
        environment = (
            f"# holds {', '.join(f'{v}=...' for v in export.variables)}; mode 0600\n"
            f"EnvironmentFile=/etc/ordain/{export.project.name}.env\n"
        )
    return f"""# {name}.service
[Unit]
Description=ordain: retrain {export.project.name} if due
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={" ".join(_systemd_word(word) for word in export.command)}
{environment}# SIGTERM goes only to the scheduler, which passes it on.
KillMode=mixed
TimeoutStartSec=infinity
TimeoutStopSec={export.grace_s}

# {name}.timer
[Unit]
Description=ordain: schedule of {export.project.name}

[Timer]
{calendar}
Persistent={is_persistent}

[Install]
WantedBy=timers.target
"""


def emit_cron(export: Export) -> str:
    """Formats lines for a crontab.

    Raises:
        ConfigError: cron cannot express the cron expression.
    """
    _check_plain(export.cron, "cron")
    zone = export.cron.timezone
    command = shlex.join(export.command).replace("%", "\\%")
    lines = [f"# ordain: {export.project.name}; cron skips missed ticks"]
    if export.variables:
        lines.append(f"# set above this line: {', '.join(f'{v}=...' for v in export.variables)}")
    lines += [
        f"# times of {zone}; Debian's cron ignores CRON_TZ and uses the machine's zone",
        f"CRON_TZ={zone}",
        f"{export.cron.expression} {command}",
    ]
    return "\n".join(lines) + "\n"


def emit_kubernetes(export: Export) -> str:
    """Formats a CronJob.

    Project, data and workspace are folders of one volume claim, mounted under their paths on this
    machine, which pipeline.yaml and ML Metadata contain.

    Raises:
        ConfigError: Kubernetes cannot express the cron expression.
    """
    _check_plain(export.cron, "kubernetes")
    name = f"ordain-{export.project.name}"[:52].rstrip("-")
    folders = _outermost(_folders(export.project))
    mounts = [
        {"name": "ordain", "mountPath": str(folder), "subPath": role}
        for role, folder in folders.items()
    ]
    container: dict[str, Any] = {
        "name": "ordain",
        "image": export.image,
        "command": ["ordain", *export.arguments],
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    if export.variables:
        # References to keys of a secret in the cluster, without values.
        container["env"] = [
            {"name": v, "valueFrom": {"secretKeyRef": {"name": name, "key": v}}}
            for v in export.variables
        ]
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": export.grace_s,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "ordain", "persistentVolumeClaim": {"claimName": name}}],
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/name": "ordain"}},
        "spec": {
            "schedule": export.cron.expression,
            "timeZone": export.cron.timezone,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": _deadline_s(export),
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            # A second attempt at the same tick would see the same data; the next tick checks again.
            "jobTemplate": {"spec": {"backoffLimit": 0, "template": {"spec": pod}}},
        },
    }
    return yaml.safe_dump(job, sort_keys=False)


def _check_plain(cron: Cron, kind: str) -> None:
    """Refuses extensions of cronsim: the last day, the last or the nth weekday."""
    _, _, day, _, weekday = cron.expression.upper().split()
    if "L" in day or "L" in weekday.replace("JUL", "") or "#" in weekday:
        raise ConfigError(
            f"--emit {kind}: {cron.expression!r} has an L or a #, which {kind} does not support",
            "use plain days, or ordain schedule without --emit",
        )


def _on_calendar(cron: Cron) -> list[str]:
    """Translates to OnCalendar; two lines if cron matches either kind of day."""
    _check_plain(cron, "systemd")
    parsed = CronSim(cron.expression, datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
    fields = cron.expression.split()
    months = _numbers(parsed.months, fields[3] == "*")
    clock = f"{_numbers(parsed.hours, fields[1] == '*')}:{_numbers(parsed.minutes, False)}:00"
    days = _numbers(parsed.days, fields[2] == "*")
    numbers = {n for n in parsed.weekdays if isinstance(n, int)}
    names = list(dict.fromkeys(_DAYS[n] for n in sorted(numbers)))
    weekdays = "" if len(names) == len(set(_DAYS)) else ",".join(names) + " "
    if parsed.day_and:
        return [f"{weekdays}*-{months}-{days} {clock} {cron.timezone}"]
    return [
        f"*-{months}-{days} {clock} {cron.timezone}",
        f"{weekdays}*-{months}-* {clock} {cron.timezone}",
    ]


def _numbers(values: set[int], is_any: bool) -> str:
    return "*" if is_any else ",".join(f"{value:02d}" for value in sorted(values))


def _systemd_word(word: str) -> str:
    """Quotes a word of ExecStart; systemd expands %, $ and backslashes even inside quotes."""
    escaped = word.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$")
    if re.fullmatch(r"[\w@%+=:,./$-]+", escaped):
        return escaped
    return '"' + escaped.replace('"', '\\"') + '"'


def _folders(project: Project) -> dict[str, Path]:
    folders = {
        "project": project.folder,
        "data": project.data.path,
        "workspace": project.workspace,
        "module": project.train.module.parent,
    }
    if isinstance(project.metadata, Path):
        folders["metadata"] = project.metadata.parent
    if project.push.directory is not None and not project.is_pushed_away:
        folders["serving"] = Path(project.push.directory)
    return folders


def _outermost(folders: dict[str, Path]) -> dict[str, Path]:
    """Drops folders inside another one, which is mounted with its content."""
    kept: dict[str, Path] = {}
    for role, folder in sorted(folders.items(), key=lambda item: len(item[1].parts)):
        if not any(folder.is_relative_to(other) for other in kept.values()):
            kept[role] = folder
    return kept


def _deadline_s(export: Export) -> int:
    """Seconds by which a tick may be late: a minute, or most of a day if missed ones are run."""
    if export.project.schedule.missed == "skip":
        return 60
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    ticks: list[datetime.datetime] = []
    for _ in range(20):
        moment = export.cron.next_after(moment)
        ticks.append(moment)
    shortest = min(later - earlier for earlier, later in itertools.pairwise(ticks))
    return int(min(23 * 3600, _MOST_MISSED * shortest.total_seconds()))
