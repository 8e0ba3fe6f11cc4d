"""The schedule for a clock that is there already: systemd, cron, Kubernetes.

Each of them starts `ordain schedule PROJECT --once` at every tick, which is one look with the same
lock, state and notifications as a scheduler of our own. Nothing printed holds a secret: variables
that the configuration refers to are named, and their values are for whoever installs it.
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
#: Seconds beyond the grace time before whoever started the scheduler kills it.
_SPARE_S = 30
#: Kubernetes counts the starts it missed within the deadline and gives up for good at 100.
_MOST_MISSED = 90


@dataclass(frozen=True)
class Wanted:
    """What is to be written down.

    Attributes:
        project: The project.
        cron: When to look.
        program: What starts ordain on this machine.
        arguments: What it is told, for one look.
        variables: Environment variables that the configuration refers to.
        image: Container image with ordain in it; for Kubernetes.
    """

    project: Project
    cron: Cron
    program: tuple[str, ...]
    arguments: tuple[str, ...]
    variables: tuple[str, ...]
    image: str

    @property
    def command(self) -> tuple[str, ...]:
        """The command of one look on this machine."""
        return (*self.program, *self.arguments)

    @property
    def grace_s(self) -> int:
        """How long an end may take."""
        return int(self.project.schedule.grace_s) + _SPARE_S


def emit_systemd(wanted: Wanted) -> str:
    """A service and a timer, each after a line with the name of its file.

    Raises:
        ConfigError: The cron expression says what systemd cannot.
    """
    name = f"ordain-{wanted.project.name}"
    calendar = "\n".join(f"OnCalendar={line}" for line in _on_calendar(wanted.cron))
    is_made_up = str(wanted.project.schedule.missed == "run").lower()
    environment = ""
    if wanted.variables:
        environment = (
            f"# holds {', '.join(f'{v}=...' for v in wanted.variables)}; mode 0600\n"
            f"EnvironmentFile=/etc/ordain/{wanted.project.name}.env\n"
        )
    return f"""# {name}.service
[Unit]
Description=ordain: look whether {wanted.project.name} has to be trained again
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={" ".join(_systemd_word(word) for word in wanted.command)}
{environment}# SIGTERM goes to the scheduler alone, which passes it on.
KillMode=mixed
TimeoutStartSec=infinity
TimeoutStopSec={wanted.grace_s}

# {name}.timer
[Unit]
Description=ordain: when to look at {wanted.project.name}

[Timer]
{calendar}
Persistent={is_made_up}

[Install]
WantedBy=timers.target
"""


def emit_cron(wanted: Wanted) -> str:
    """Lines for a crontab.

    Raises:
        ConfigError: The cron expression says what cron cannot.
    """
    _check_plain(wanted.cron, "cron")
    zone = wanted.cron.timezone
    command = shlex.join(wanted.command).replace("%", "\\%")
    lines = [f"# ordain: {wanted.project.name}; cron starts no tick later that it missed"]
    if wanted.variables:
        lines.append(f"# set above this line: {', '.join(f'{v}=...' for v in wanted.variables)}")
    lines += [
        f"# times of {zone}; Debian's cron knows no CRON_TZ and takes the machine's zone",
        f"CRON_TZ={zone}",
        f"{wanted.cron.expression} {command}",
    ]
    return "\n".join(lines) + "\n"


def emit_kubernetes(wanted: Wanted) -> str:
    """A CronJob.

    Project, data and workspace are folders of one volume claim and appear in the pod under the
    paths they have here, which pipeline.yaml and ML Metadata name.

    Raises:
        ConfigError: The cron expression says what Kubernetes cannot.
    """
    _check_plain(wanted.cron, "kubernetes")
    name = f"ordain-{wanted.project.name}"[:52].rstrip("-")
    folders = _outermost(_folders(wanted.project))
    mounts = [
        {"name": "ordain", "mountPath": str(folder), "subPath": role}
        for role, folder in folders.items()
    ]
    container: dict[str, Any] = {
        "name": "ordain",
        "image": wanted.image,
        "command": ["ordain", *wanted.arguments],
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    if wanted.variables:
        # A reference to a secret of the cluster, key by key; no value is in here.
        container["env"] = [
            {"name": v, "valueFrom": {"secretKeyRef": {"name": name, "key": v}}}
            for v in wanted.variables
        ]
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": wanted.grace_s,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "ordain", "persistentVolumeClaim": {"claimName": name}}],
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/name": "ordain"}},
        "spec": {
            "schedule": wanted.cron.expression,
            "timeZone": wanted.cron.timezone,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": _deadline_s(wanted),
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            # A second try of the same tick would meet the same data; the next tick looks again.
            "jobTemplate": {"spec": {"backoffLimit": 0, "template": {"spec": pod}}},
        },
    }
    return yaml.safe_dump(job, sort_keys=False)


def _check_plain(cron: Cron, kind: str) -> None:
    """Refuses what is cronsim's own: the last day, the last or the nth weekday."""
    _, _, day, _, weekday = cron.expression.upper().split()
    if "L" in day or "L" in weekday.replace("JUL", "") or "#" in weekday:
        raise ConfigError(
            f"--emit {kind}: {cron.expression!r} has an L or a #, which {kind} does not know",
            "use plain days, or let ordain schedule run itself",
        )


def _on_calendar(cron: Cron) -> list[str]:
    """The expression in systemd's form; two lines where cron means either day."""
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
    """A word of ExecStart: systemd expands %, $ and backslashes also between quotes."""
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
    """Without those that lie in another one, which brings them along."""
    kept: dict[str, Path] = {}
    for role, folder in sorted(folders.items(), key=lambda item: len(item[1].parts)):
        if not any(folder.is_relative_to(other) for other in kept.values()):
            kept[role] = folder
    return kept


def _deadline_s(wanted: Wanted) -> int:
    """How late a tick may still start: a minute, or nearly a day where missed ones are run."""
    if wanted.project.schedule.missed == "skip":
        return 60
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    ticks: list[datetime.datetime] = []
    for _ in range(20):
        moment = wanted.cron.next_after(moment)
        ticks.append(moment)
    shortest = min(later - earlier for earlier, later in itertools.pairwise(ticks))
    return int(min(23 * 3600, _MOST_MISSED * shortest.total_seconds()))
