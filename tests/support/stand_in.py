"""Stands in for `ordain retrain --json`: holds the workspace's lock as that does, and logs when.

    stand_in.py WORKSPACE LOG SECONDS[,SECONDS...] [--stubborn | --polite]

Its nth start takes the nth number of seconds. At its end it logs a JSON object with the times of
its start, before it waits for the lock, and its end; a killed one does not. `--stubborn` ignores
SIGTERM; `--polite` logs it and ends at once with exit code 143.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from ordain.runner.workspace_lock import workspace_lock


def append(log: Path, **line: object) -> None:
    with log.open("a") as file:
        file.write(json.dumps({"pid": os.getpid(), **line}) + "\n")


def main() -> None:
    start = time.time()
    workspace, log, seconds, *rest = sys.argv[1:]
    path = Path(log)

    def polite(*_: object) -> None:
        append(path, stopped=time.time())
        sys.exit(143)

    if "--stubborn" in rest:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "--polite" in rest:
        signal.signal(signal.SIGTERM, polite)
    with workspace_lock(Path(workspace), "stand-in", True, lambda _: None):
        choices = [float(text) for text in seconds.split(",")]
        lines = path.read_text().splitlines() if path.exists() else []
        append(path, begun=time.time())
        time.sleep(choices[len(lines) // 2 % len(choices)])
        append(path, start=start, end=time.time())
    run = {
        "run_id": f"run-{os.getpid()}",
        "headline": "the model passed every gate and is version 1, stable",
        "exit_code": 0,
        "version": 1,
        "is_new_version": True,
        "verdicts": [{"gate": "evaluation", "outcome": "passed", "reasons": []}],
        "nodes": [{"node": "Evaluator", "state": "complete"}],
    }
    decision = {"action": "run", "reasons": [{"kind": "new_span", "text": "span 3 is new"}]}
    sys.stdout.write(json.dumps({"decision": decision, "runs": [run], "exit_code": 0}))


main()
