"""A scheduler in a process of its own, with a fast clock and a stand-in for the command.

    scheduler_process.py PROJECT JSON

The object holds `command`, `cron`, `timezone` and `watch`, and of the clock either `origin` and
`factor`, or `clock`, the file of a held one, and `factor`.
"""

import json
import sys
from pathlib import Path
from typing import Any

from fast_clock import FastClock, HeldClock

from ordain.config.loading import load_project
from ordain.scheduling.service import Service


def schedule(folder: str, settings: dict[str, Any]) -> None:
    """Schedules until SIGTERM; logs to standard output."""
    service = Service(
        project=load_project(folder),
        command=tuple(settings["command"]),
        cron=settings.get("cron"),
        timezone=settings.get("timezone", "UTC"),
        watch=settings.get("watch", False),
    )
    if "clock" in settings:
        clock = HeldClock(Path(settings["clock"]), settings["factor"])
    else:
        clock = FastClock(settings["origin"], settings["factor"])

    def log(text: str) -> None:
        sys.stdout.write(f"{clock.now().isoformat()} {text}\n")
        sys.stdout.flush()

    service.run(log, clock)


if __name__ == "__main__":
    schedule(sys.argv[1], json.loads(sys.argv[2]))
