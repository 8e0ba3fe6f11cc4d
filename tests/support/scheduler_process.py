"""A scheduler in a process of its own, with a fast clock and another command than the real one.

    scheduler_process.py PROJECT JSON

The object holds `origin` and `factor` of the clock, `cron`, `watch`, and `command`.
"""

import json
import sys

from fast_clock import FastClock

from pipeline.clock_service import Service
from pipeline.loading import load_project


def main() -> None:
    told = json.loads(sys.argv[2])
    service = Service(
        project=load_project(sys.argv[1]),
        command=tuple(told["command"]),
        cron=told.get("cron"),
        timezone="UTC",
        watch=told.get("watch", False),
    )
    clock = FastClock(told["origin"], told["factor"])

    def say(text: str) -> None:
        sys.stdout.write(f"{clock.now().isoformat()} {text}\n")
        sys.stdout.flush()

    service.run(say, clock)


main()
