"""Tasks of the entrypoint in processes that need not import: forked from one that has TFX.

    warm_pods.py

Each line of standard input is a JSON object, and each is answered by a number:

- `{"words": [WORD...], "environment": {...}, "log": FILE}` starts a task: its process. With
  `"pause": NODE, "mark": FILE` it stops in that node until it is killed, as in `paused_runs.py`;
- `{"wait": PROCESS}`: its exit code, below 0 for a signal.

The import is most of a task of the small project. All else is real: a task is a process of its own,
runs the entrypoint's `main` on the words that a pod is given, and can be killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from ordain.common.process_exit import exit_process


def start(asked: dict[str, Any]) -> int:
    """Forks a task; returns its process."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(asked["environment"])
        if "pause" in asked:
            from paused_runs import pause

            pause(asked["pause"], Path(asked["mark"]))
        from ordain.kubeflow.pod.entrypoint import main

        code = main(asked["words"])
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        exit_process(code)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    from ordain.kubeflow.pod import (
        node,  # noqa: F401  the tasks' imports
        prepare,  # noqa: F401  the tasks' imports
        registration,  # noqa: F401  the tasks' imports
        result,  # noqa: F401  the tasks' imports
    )
    from ordain.pipeline.ir_cache import load_graph

    load_graph()
    print(0, flush=True)
    for line in sys.stdin:
        told = json.loads(line)
        if "wait" in told:
            print(os.waitstatus_to_exitcode(os.waitpid(told["wait"], 0)[1]), flush=True)
        else:
            print(start(told), flush=True)
