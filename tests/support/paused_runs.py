"""`ordain run` again and again, killed with -9 inside one node after the other.

    python paused_runs.py PROJECT FOLDER NODE...

Each run is a process of its own, forked from this one after TensorFlow and TFX are imported:
the import is most of a run of the small project. A run stops in its node until it is killed:
before the executor where the node's name ends in `-`, while it uploads what the executor left
where it ends in `^`, else between the executor and the record of what it did. The last run is not
killed. Standard output of run i goes to FOLDER/i.txt, and the exit codes are printed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

TIMEOUT_S = 300


def pause(node: str, mark: Path) -> None:
    """Stops this process in a node, with a mark beside it, for whoever kills it."""
    if node.endswith("^"):
        _pause_upload(mark)
        return
    from tfx.orchestration.portable import launcher

    run_executor = launcher.Launcher._run_executor

    def stopping(self, info):
        is_it = info.pipeline_node.node_info.id == node.rstrip("-")
        done = None if is_it and node.endswith("-") else run_executor(self, info)
        if is_it:
            mark.write_text(str(info.execution_id))
            time.sleep(TIMEOUT_S)
        return done

    launcher.Launcher._run_executor = stopping
    _pause_resolver(node, mark)


def _pause_resolver(node: str, mark: Path) -> None:
    """Stops in a resolver, which has no executor: before or after what it found is published."""
    from tfx.orchestration.portable import execution_publish_utils, resolver_node_handler

    run = resolver_node_handler.ResolverNodeHandler.run

    def running(self, mlmd_connection, pipeline_node, *others):
        if pipeline_node.node_info.id == node.rstrip("-"):
            publish = execution_publish_utils.publish_internal_execution

            def stopping(**told):
                if not node.endswith("-"):
                    publish(**told)
                mark.write_text(str(told["execution_id"]))
                time.sleep(TIMEOUT_S)

            execution_publish_utils.publish_internal_execution = stopping
        return run(self, mlmd_connection, pipeline_node, *others)

    resolver_node_handler.ResolverNodeHandler.run = running


def _pause_upload(mark: Path) -> None:
    """Stops when a pod has uploaded an artifact's files, and not yet what makes it whole."""
    from ordain.storage.bucket import Bucket

    def stopping(self, path, text):
        mark.write_text(str(path))
        time.sleep(TIMEOUT_S)

    Bucket.write = stopping


def fork(project: str, folder: Path, number: int, node: str) -> int:
    """One run; returns what the process ended with, negative for a signal."""
    mark = folder / f"{number}.mark"
    child = os.fork()
    if child == 0:
        from ordain.cli.main import main

        out = os.open(folder / f"{number}.txt", os.O_CREAT | os.O_WRONLY)
        os.dup2(out, 1)
        os.dup2(out, 2)
        if node:
            pause(node, mark)
        sys.argv = ["ordain", "run", project]
        main()
        os._exit(0)
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if mark.exists():
            break
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    from ordain.pipeline.ir_cache import load_graph

    load_graph()
    target, folder = sys.argv[1], Path(sys.argv[2])
    nodes = [*sys.argv[3:], ""]
    print(json.dumps([fork(target, folder, i, node) for i, node in enumerate(nodes)]))
