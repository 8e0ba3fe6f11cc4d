"""A scheduler in a process of its own, with a fast clock and another command than the real one.

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


def schedule(folder: str, told: dict[str, Any]) -> None:
    """Schedules until SIGTERM; says what happens on standard output."""
    service = Service(
        project=load_project(folder),
        command=tuple(told["command"]),
        cron=told.get("cron"),
        timezone=told.get("timezone", "UTC"),
        watch=told.get("watch", False),
    )
    if "clock" in told:
        clock = HeldClock(Path(told["clock"]), told["factor"])
    else:
        clock = FastClock(told["origin"], told["factor"])

    def say(text: str) -> None:
        sys.stdout.write(f"{clock.now().isoformat()} {text}\n")
        sys.stdout.flush()

    service.run(say, clock)


if __name__ == "__main__":
    schedule(sys.argv[1], json.loads(sys.argv[2]))
