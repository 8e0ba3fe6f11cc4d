"""Stands in for `ordain retrain --json`: holds the workspace's lock as that does, and tells when.

    stand_in.py WORKSPACE LOG SECONDS[,SECONDS...] [--stubborn | --polite]

The nth start of it takes the nth number of seconds. A line of the log is a JSON object with the
times of start and end; one that is killed has none. `--stubborn` ignores SIGTERM; `--polite` ends
at once with exit code 143 and says so in the log.
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
        begun = time.time()
        choices = [float(text) for text in seconds.split(",")]
        lines = path.read_text().splitlines() if path.exists() else []
        append(path, begun=begun)
        time.sleep(choices[len(lines) // 2 % len(choices)])
        append(path, start=begun, end=time.time())
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
